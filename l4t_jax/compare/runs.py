"""Runs set beside each other, from their folders alone: figures with intervals, and the settings in which they differ.

Host module: numpy. Runs whose settings differ in their seed alone are one line, with the seeds of all of them. Nothing
of a run is loaded but its figures, so runs of tasks and algorithms that are not registered can be compared too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from l4t_jax.agents.algorithms import get_algorithm
from l4t_jax.config import MAY_CHANGE
from l4t_jax.errors import ConfigError, RunFolderError
from l4t_jax.evaluation import intervals
from l4t_jax.reporting import run_folder

SEEDS = ("seed", "num_seeds")
NEEDED = {"env", "algo", "total_steps", "validation_levels", "imports", *SEEDS}
UNKNOWN = "not known"  # of a run that is not finished
WIDE = 24  # characters of a setting's value within a line's name
NAMED = 2  # settings within a line's name, at most


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder, read.

    Attributes:
        folder: of the run.
        settings: in `config.json`.
        records: the lines of `metrics.jsonl`; none before the first evaluation.
        summary: the content of `summary.json`; None of a run that is not finished.
        teacher: a hash of its teacher file; None without one.
    """

    folder: Path
    settings: dict[str, Any]
    records: list[dict[str, Any]]
    summary: dict[str, Any] | None
    teacher: str | None

    @property
    def decides(self) -> str:
        """All that decides what the run comes to but its seed, and at which steps it was evaluated."""
        kept = {name: value for name, value in self.settings.items() if name not in (*MAY_CHANGE, *SEEDS)}
        steps = [record["steps"] for record in self.records]
        return json.dumps([kept, self.teacher, steps, self.summary is None], sort_keys=True)


@dataclasses.dataclass(frozen=True)
class Line:
    """One run, or several that differ in their seed alone.

    Attributes:
        runs: at least one.
        label: its name in pictures and tables; unlike those of the others.
        figures: what it came to, as strict JSON; see `_figures`.
    """

    runs: tuple[Run, ...]
    label: str
    figures: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """Those of its first run."""
        return self.runs[0].settings

    @property
    def task(self) -> str:
        """The name of the task."""
        return self.settings["env"]

    @property
    def finished(self) -> bool:
        """Whether its runs are."""
        return self.runs[0].summary is not None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs beside each other.

    Attributes:
        lines: in the order in which the runs were given.
        differences: what differs -> the value of each line, in words.
        notes: what has to be known to read the figures, a sentence each.
    """

    lines: tuple[Line, ...]
    differences: dict[str, list[str]]
    notes: tuple[str, ...]

    @property
    def tasks(self) -> list[str]:
        """The tasks, each once."""
        return list(dict.fromkeys(line.task for line in self.lines))

    def of_task(self, task: str) -> list[Line]:
        """The lines of a task."""
        return [line for line in self.lines if line.task == task]


def read(folder: Path) -> Run:
    """Reads a run folder.

    Raises:
        RunFolderError: it is none, or a file of it cannot be read.
    """
    settings = run_folder.read_values(folder)
    if not isinstance(settings, dict) or not set(settings) >= NEEDED:
        raise RunFolderError(f"{folder / run_folder.CONFIG} does not hold a run's settings")
    summary, teacher = folder / run_folder.SUMMARY, folder / run_folder.TEACHER
    return Run(
        folder, settings,
        run_folder.read_records(folder) if (folder / run_folder.METRICS).is_file() else [],
        run_folder.read(summary) if summary.is_file() else None,
        hashlib.sha256(teacher.read_bytes()).hexdigest()[:8] if teacher.is_file() else None,
    )  # fmt: skip


def compare(folders: Sequence[Path], group: bool = True) -> Comparison:
    """Compares runs.

    Args:
        folders: of the runs; one that is named twice counts once.
        group: take runs whose settings differ in their seed alone as one line; else every run is a line.

    Raises:
        RunFolderError: one is no run folder.
        ConfigError: there is none.
    """
    if not folders:
        raise ConfigError("a comparison needs at least one run folder")
    runs = [read(folder) for folder in {folder.resolve(): folder for folder in folders}.values()]
    groups = _grouped(runs) if group else [(run,) for run in runs]
    labels = _labels(groups)
    until = {task: _common_steps(run for run in runs if run.settings["env"] == task) for task in _tasks(runs)}
    lines = tuple(
        Line(one, label, _figures(one, until[one[0].settings["env"]]))
        for one, label in zip(groups, labels, strict=True)
    )
    return Comparison(lines, _differences(lines), _notes(lines))


def _tasks(runs: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run.settings["env"] for run in runs))


def _grouped(runs: list[Run]) -> list[tuple[Run, ...]]:
    """Runs with equal settings together; of two runs with the same seed, the second begins a group of its own."""
    groups: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        number = 0
        while any(run.settings["seed"] == other.settings["seed"] for other in groups.get((run.decides, number), ())):
            number += 1
        key = (run.decides, number) if run.summary is not None else (str(run.folder), number)
        groups.setdefault(key, []).append(run)
    return [tuple(group) for group in groups.values()]


# --- Figures ------------------------------------------------------------------------------------------------------


def _common_steps(runs: Iterable[Run]) -> int | None:
    """The steps that all finished runs have done; None without any."""
    return min((run.records[-1]["steps"] for run in runs if run.summary is not None and run.records), default=None)


def _figures(runs: tuple[Run, ...], until: int | None) -> dict[str, Any]:
    """What a line comes to.

    Args:
        runs: of the line.
        until: the steps that areas are taken up to.

    Returns:
        `steps` done and `total_steps` wanted, `seeds`, `levels` that `success` and `greedy` (None where not measured)
        are of and `measured_on` ("held-out" or "validation" levels), each with `mean`, `low`, `high` (Wilson's 95 %
        interval over the levels of all seeds) and `seeds`; `teacher` and `random`, their success; `area` (mean and
        seeds) up to `area_until` steps; `steps_to_success`, by level `median`, `reached` (how many seeds) and `seeds`;
        `seconds` of training (mean over the runs) and `env_steps_per_s`; `curve`, against `steps` and `seconds`, the
        mean over seeds and its lowest and highest seed.
    """
    first = runs[0]
    steps = [record["steps"] for record in first.records]
    curves = [np.asarray([record["validation"]["success"] for record in run.records], float) for run in runs]
    curve = np.concatenate(curves, axis=1) if steps else np.zeros((0, 0))  # (evaluations, seeds)
    finished = [run.summary for run in runs if run.summary is not None]
    found: dict[str, Any] = dict(
        steps=steps[-1] if steps else 0,
        total_steps=finished[0]["total_steps"] if finished else first.settings["total_steps"],
        seeds=sum(run.settings["num_seeds"] for run in runs),
        measured_on="held-out" if finished else "validation",
        levels=finished[0]["heldout"]["levels"] if finished else first.settings["validation_levels"],
        success=None, greedy=None, teacher=None, random=None, area=None, area_until=until,
        seconds=None, env_steps_per_s=None, curve=None,
        steps_to_success=_reached(steps, curve, first.settings["validation_levels"]),
    )  # fmt: skip
    if finished:
        students = [summary["heldout"]["student"] for summary in finished]
        found["success"] = _over_levels([x for one in students for x in one["success"]], found["levels"])
        if all("greedy" in one for one in students):
            found["greedy"] = _over_levels([x for one in students for x in one["greedy"]["success"]], found["levels"])
        teacher = finished[0]["heldout"]["teacher"]
        found["teacher"] = None if teacher is None else teacher["success"]
        found["random"] = finished[0]["heldout"]["random"]["success"]
    elif steps:
        found["success"] = _over_levels(curve[-1].tolist(), found["levels"])
    if not steps:
        return found
    if finished:
        areas = intervals.area(np.asarray(steps), curve, found["random"], until)
        found["area"] = dict(mean=float(areas.mean()), seeds=areas.tolist())
    clocks = [[record["time"]["train_s"] for record in run.records] for run in runs]
    seconds = np.mean(clocks, axis=0)
    found["seconds"] = float(seconds[-1])
    found["env_steps_per_s"] = float(np.mean([run.records[-1]["time"]["env_steps_per_s"] for run in runs]))
    band = dict(value=curve.mean(axis=1), low=curve.min(axis=1), high=curve.max(axis=1))
    found["curve"] = dict(
        steps=steps, seconds=seconds.tolist(), success={name: values.tolist() for name, values in band.items()}
    )
    return found


def _over_levels(seeds: list[float], levels: int) -> dict[str, Any]:
    """The mean of proportions of so many levels each, with Wilson's interval over all levels together."""
    low, high = intervals.wilson(sum(round(share * levels) for share in seeds), levels * len(seeds))
    return dict(mean=float(np.mean(seeds)), low=low, high=high, seeds=list(seeds))


def _reached(steps: list[int], curve: np.ndarray, levels: int) -> dict[str, Any]:
    found = intervals.steps_to_success(steps, curve.tolist(), levels)
    return {
        level: dict(
            median=intervals.median_steps(seeds) if seeds else None,
            reached=sum(one is not None for one in seeds), seeds=seeds,
        )
        for level, seeds in found.items()
    }  # fmt: skip


# --- Words --------------------------------------------------------------------------------------------------------


def algorithm_label(name: str) -> str:
    """How tables name an algorithm; its name where it is not registered."""
    try:
        return get_algorithm(name).label
    except ConfigError:
        return name


def _value(settings: dict[str, Any], name: str) -> str:
    value = settings.get(name)
    if name == "imports":
        return ", ".join(f"{Path(one['name']).name} {one['sha256'][:6]}" for one in value or ()) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _differing(settings: Sequence[dict[str, Any]]) -> list[str]:
    """The settings that decide what a run comes to and are not the same in all."""
    names = dict.fromkeys(name for one in settings for name in one if name not in (*MAY_CHANGE, *SEEDS, "env"))
    return [name for name in names if len({_value(one, name) for one in settings}) > 1]


def _labels(groups: list[tuple[Run, ...]]) -> list[str]:
    """A name for each line: its algorithm, the settings that tell it apart if they are few, else its folder."""
    labels = []
    for group in groups:
        settings = group[0].settings
        rivals = [other[0].settings for other in groups if other[0].settings["env"] == settings["env"]]
        same = [one for one in rivals if one["algo"] == settings["algo"]]
        words = [algorithm_label(settings["algo"])]
        differing = [name for name in _differing(same) if name != "algo"]
        if len(same) > 1 and 0 < len(differing) <= NAMED:
            words += [f"{name} {_short(_value(settings, name))}" for name in differing]
        labels.append(", ".join(words))
    for part in (lambda folder: folder.name, str):  # only where they are still alike
        pairs = [(group[0].settings["env"], label) for group, label in zip(groups, labels, strict=True)]
        labels = [
            label if pairs.count(pair) == 1 else f"{label.partition(' in ')[0]} in {part(group[0].folder)}"
            for pair, label, group in zip(pairs, labels, groups, strict=True)
        ]
    return labels


def _short(value: str) -> str:
    return value if len(value) <= WIDE else f"…{value[1 - WIDE :]}"


def _differences(lines: Sequence[Line]) -> dict[str, list[str]]:
    settings = [line.settings for line in lines]
    found = {name: [_value(one, name) for one in settings] for name in _differing(settings)}
    found["teacher file"] = [_joined(run.teacher or "none" for run in line.runs) for line in lines]
    for name, key in (("l4t_jax", "versions"), ("jax", "versions"), ("device", "device")):
        summaries = [[run.summary for run in line.runs if run.summary is not None] for line in lines]
        found[name] = [
            _joined(one[key] if key == name else one[key].get(name, "") for one in mine) or UNKNOWN
            for mine in summaries
        ]
    return {name: values for name, values in found.items() if len({*values} - {UNKNOWN}) > 1}


def _joined(words: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(words))


def _notes(lines: Sequence[Line]) -> tuple[str, ...]:
    notes = []
    tasks = list(dict.fromkeys(line.task for line in lines))
    if len(tasks) > 1:
        notes.append(
            f"The runs learned different tasks ({', '.join(tasks)}): figures of different tasks cannot be set against "
            "each other."
        )
    for line in lines:
        if not line.finished:
            found = line.figures
            done = f"{found['steps']:,} of {found['total_steps']:,} steps" if found["steps"] else "no evaluation so far"
            tail = "; its success is that of its last evaluation, on validation levels" if found["steps"] else ""
            notes.append(f"{line.label} ({line.runs[0].folder}) is not finished: {done}{tail}.")
    for task in tasks:
        mine = [line for line in lines if line.task == task]
        measured = {(line.figures["levels"], line.settings.get("levels_from")) for line in mine if line.finished}
        if len(measured) > 1:
            notes.append(f"The runs of {task} were not measured on the same held-out levels.")
    for task in tasks:
        notes += _verdict(task, [line for line in lines if line.task == task and line.finished])
    return tuple(notes)


def _verdict(task: str, lines: list[Line]) -> list[str]:
    """Who ends highest, in a sentence; none for a single line."""
    if len(lines) < 2:
        return []
    best, second, *_ = sorted(lines, key=lambda line: -line.figures["success"]["mean"])
    a, b = best.figures["success"], second.figures["success"]
    apart = "do not overlap" if a["low"] > b["high"] else "overlap"
    return [
        f"On {task}, {best.label} ends highest, at {a['mean']:.3f}; then comes {second.label}, at {b['mean']:.3f}. "
        f"Their 95 % intervals {apart}."
    ]


def as_json(found: Comparison) -> dict[str, Any]:
    """The comparison for programs: `tasks`, `lines`, `differences` (by setting, then by line) and `notes`."""
    labels = [line.label if len(found.tasks) == 1 else f"{line.label} ({line.task})" for line in found.lines]
    return dict(
        tasks=found.tasks,
        lines=[
            dict(
                label=line.label, task=line.task, algo=line.settings["algo"], finished=line.finished,
                runs=[str(run.folder) for run in line.runs], **line.figures,
            )
            for line in found.lines
        ],
        differences={
            name: dict(zip(labels, values, strict=True)) for name, values in found.differences.items()
        },
        notes=list(found.notes),
    )  # fmt: skip
