"""Progress of a run: a live bar in a terminal, occasional lines elsewhere.

Host module. A run calls the methods of a `Progress`. A user can pass their own to `train`.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, TextIO

import numpy as np

WIDE = 110  # columns that the live bar needs on one line


class Progress:
    """Callbacks of a run. This class shows nothing; override the methods you need."""

    def phase(self, words: str) -> None:
        """A new phase starts, such as "compiling"."""

    def counted(self, words: str, done: int, total: int) -> None:
        """So much of a phase is done, such as "drawing levels of MyEnv-v0"; called often."""

    def begin(self, total_steps: int, teacher: float | None, run_dir: str) -> None:
        """Training starts.

        Args:
            total_steps: environment steps of one seed.
            teacher: the teacher's success on the validation levels, None without one.
            run_dir: the run folder.
        """

    def evaluated(self, record: dict[str, Any]) -> None:
        """A block of updates and its evaluation are done; `record` is the line of `metrics.jsonl`."""

    def asked(self, met: int, asked: int, waiting: int) -> None:
        """Symbolic states so far, if an LLM is asked while a student learns.

        Args:
            met: by the students.
            asked: of these, those that the LLM was asked about.
            waiting: of these, those without an answer yet.
        """

    def notice(self, words: str) -> None:
        """A message for the user."""

    def close(self) -> None:
        """The run is over: finished, stopped or failed."""


class Lines(Progress):
    """Plain lines, for pipes, logs and CI: one per phase, and one every `every` seconds of training."""

    def __init__(self, stream: TextIO | None = None, every: float = 10.0) -> None:
        self._stream = stream or sys.stderr
        self._every, self._last, self._total = every, 0.0, 0
        self._counted = time.monotonic()
        self._teacher: float | None = None
        self._asked: tuple[int, int, int] | None = None

    def phase(self, words: str) -> None:
        self.notice(words)

    def counted(self, words: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._counted >= self._every:
            self._counted = now
            self.notice(f"{words}: {done:,} of {total:,}")

    def notice(self, words: str) -> None:
        print(words, file=self._stream, flush=True)

    def asked(self, met: int, asked: int, waiting: int) -> None:
        self._asked = met, asked, waiting

    def begin(self, total_steps: int, teacher: float | None, run_dir: str) -> None:
        self._total, self._teacher, self._last = total_steps, teacher, time.monotonic()
        self.notice(f"training for {total_steps:,} steps; results go to {run_dir}")

    def evaluated(self, record: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self._last < self._every and record["steps"] < self._total:
            return
        self._last = now
        success = float(np.mean(record["validation"]["success"]))
        beside = "" if self._teacher is None else f" (teacher {self._teacher:.3f})"
        self.notice(
            f"{record['steps']:,} of {self._total:,} steps, {record['time']['env_steps_per_s']:,.0f} steps/s, "
            f"validation success {success:.3f}{beside}, distillation weight {record['train']['distill_weight']:.3g}"
            + ("" if self._asked is None else f", {_states(*self._asked)}")
        )


class Bar(Progress):
    """A live bar in a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._console = Console(file=stream or sys.stderr)
        narrow = self._console.width < WIDE
        self._gap = "\n" if narrow else "  "  # two lines if one would be cut off
        self._bar = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=16 if narrow else 24),
            TextColumn("{task.fields[right]}"),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, right="")
        self._teacher: float | None = None
        self._total, self._counting = 0, False
        self._asked: tuple[int, int, int] | None = None
        self._bar.start()

    def phase(self, words: str) -> None:
        if self._counting:  # how long the new phase takes is not known
            self._counting, self._bar.tasks[0].total = False, None
            self._bar.update(self._task, completed=0, right="")
        self._bar.update(self._task, description=words)

    def counted(self, words: str, done: int, total: int) -> None:
        self._counting = True
        self._bar.update(self._task, description=words, completed=done, total=total, right=f"{done:,} of {total:,}")

    def notice(self, words: str) -> None:
        self._bar.console.print(words, markup=False, highlight=False)

    def asked(self, met: int, asked: int, waiting: int) -> None:
        self._asked = met, asked, waiting
        self._bar.update(self._task, description="asking" if waiting else "training")

    def begin(self, total_steps: int, teacher: float | None, run_dir: str) -> None:
        self._teacher, self._total, self._counting = teacher, total_steps, False
        self._bar.update(self._task, description="training", total=total_steps, completed=0)
        self.notice(f"results go to {run_dir}")

    def evaluated(self, record: dict[str, Any]) -> None:
        steps, clock = record["steps"], record["time"]
        left = (clock["train_s"] + clock["evaluate_s"]) / steps * (self._total - steps)
        beside = "" if self._teacher is None else f" [dim](teacher {self._teacher:.3f})[/dim]"
        success = float(np.mean(record["validation"]["success"]))
        weight = record["train"]["distill_weight"]
        self._bar.update(
            self._task,
            completed=steps,
            right=f"{_short(steps)} of {_short(self._total)} steps  {_short(clock['env_steps_per_s'])}/s  "
            f"{_clock(left)} left{self._gap}success [bold]{success:.3f}[/bold]{beside}  distillation {weight:.2g}"
            + ("" if self._asked is None else f"\n{_states(*self._asked)}"),
        )

    def close(self) -> None:
        self._bar.stop()


def make(stream: TextIO | None = None) -> Progress:
    """A `Bar` in a terminal, `Lines` in a pipe or under CI."""
    out = stream or sys.stderr
    live = out.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
    return Bar(out) if live else Lines(out)


def _states(met: int, asked: int, waiting: int) -> str:
    return f"{met} states met, {asked} asked about, {waiting} waiting"


def _short(number: float) -> str:
    for unit in ("", "k"):
        if number < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g}M"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
