"""How long a user waits: from the main command to a student measured on held-out levels, with an empty compilation
cache and with a filled one, and what importing takes: `python benchmarks/time_to_result.py [--json]`.

The result is `results/time-to-result-TASK-cpu.json` with a table beside it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import timing
import tyro

RESULTS = Path(__file__).parent / "results"
STARTS = {
    "jax": ["-c", "import jax"],
    "jax and navix": ["-c", "import jax, navix"],
    "l4t_jax": ["-c", "import l4t_jax"],
    "l4t_jax, all that a run needs": ["-c", "import l4t_jax.api"],
    "l4t_jax.run --list-tasks": ["-m", "l4t_jax.run", "--list-tasks"],
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure."""

    env: str = "SimpleDoorKey"
    """Task."""
    repeats: int = 3
    """Runs with an empty cache, each followed by one with what it left there; the medians are reported."""
    more: str = ""
    """Further options of the command, as in --more="--devices 1"."""
    out: str | None = None
    """Folder for the JSON file and the table; benchmarks/results by default, none with --json."""
    json: bool = False
    """Print one JSON object and nothing else on standard output."""


def seconds_of(words: list[str], **environment: str) -> float:
    """Seconds by the clock of a Python process with these arguments, from its start to its end."""
    around = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"} | environment
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *words], check=True, env=around, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def one_run(settings: Settings, folder: Path, cache: str) -> dict[str, Any]:
    """The main command once: its seconds, where they went, and what its student came to."""
    words = ["-m", "l4t_jax.run", "--env", settings.env, "--run-dir", str(folder), *settings.more.split()]
    wall = seconds_of(words, XDG_CACHE_HOME=cache, JAX_ENABLE_COMPILATION_CACHE="true")
    summary = json.loads((folder / "summary.json").read_text())
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    there = summary["steps_to_success"]["0.95"][0]
    return dict(
        whole=wall,
        **summary["seconds"],
        rest=wall - sum(summary["seconds"].values()),  # starting, importing, drawing, writing
        train_to_095=next((r["time"]["train_s"] for r in records if r["steps"] == there), None),
        steps_to_095=there,
        heldout_success=summary["heldout"]["student"]["success"][0],
        env_steps_per_s=summary["env_steps_per_s"],
        device=summary["device"],
        versions=summary["versions"],
    )


def measured(settings: Settings) -> dict[str, Any]:
    """The whole result, as it is printed and kept."""
    load = timing.load()
    runs: dict[str, list[dict[str, Any]]] = {"cold": [], "warm": []}
    for number in range(settings.repeats):
        with tempfile.TemporaryDirectory() as place:
            for kind in runs:
                timing.say(f"{kind}, {number + 1} of {settings.repeats} ...")
                runs[kind].append(one_run(settings, Path(place) / kind, place))
    starts = {name: [seconds_of(words) for _ in range(settings.repeats)] for name, words in STARTS.items()}
    last = runs["warm"][-1]
    device, versions = last["device"], last["versions"]
    for one in runs["cold"] + runs["warm"]:
        del one["device"], one["versions"]
    numbers = [name for name, value in last.items() if isinstance(value, (int, float))]
    return dict(
        task=settings.env, more=settings.more, device=device, versions=versions, load_average=[load, timing.load()],
        repeats=settings.repeats,
        median={
            kind: {name: statistics.median(one[name] for one in several if one[name] is not None) for name in numbers}
            for kind, several in runs.items()
        },
        start_s={name: statistics.median(several) for name, several in starts.items()},
        runs=runs,
    )  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    load = timing.load_words(result)
    lines = [
        f"# From command to result: {result['task']}, {result['device']}",
        "",
        f"`python -m l4t_jax.run --env {result['task']}`, seconds by the clock, median of {result['repeats']}; load "
        f"average before and after: {load}. {versions}.",
        "",
        "| compilation cache | whole command | compiling | training | until 0.95 | evaluating | starting, drawing "
        "| held-out success | steps a second |",
        "|---" * 9 + "|",
    ]
    for kind, one in result["median"].items():
        names = ("whole", "compile", "train", "train_to_095", "evaluate", "rest")
        lines.append(
            f"| {'empty' if kind == 'cold' else 'filled'} | "
            + " | ".join(f"{one[name]:.1f}" if name in one else "never" for name in names)
            + f" | {one['heldout_success']:.3f} | {timing.thousands(one['env_steps_per_s'])} |"
        )  # fmt: skip
    lines += ["", "| start of a process, and | seconds |", "|---|---|"]
    lines += [f"| {name} | {value:.2f} |" for name, value in result["start_s"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    settings = tyro.cli(Settings, description=__doc__)
    result = measured(settings)
    if settings.out is not None or not settings.json:
        folder = Path(settings.out) if settings.out is not None else RESULTS
        stem = folder / f"time-to-result-{settings.env}-cpu"
        timing.keep(result, table(result), stem)
        timing.say(f"wrote {stem}.json and .md")
    print(json.dumps(result) if settings.json else table(result))


if __name__ == "__main__":
    main()
