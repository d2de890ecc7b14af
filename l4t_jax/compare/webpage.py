"""The page and the picture of a comparison of runs.

Host module; matplotlib and jinja2 are imported where they are used. The page is filled from
`templates/compare.html.jinja`; its pictures are inlined, and it needs no network and no script.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import l4t_jax
from l4t_jax import files
from l4t_jax.agents.algorithms import get_algorithm
from l4t_jax.compare.runs import Comparison, Line, algorithm_label
from l4t_jax.errors import ConfigError, RunFolderError
from l4t_jax.reporting import curves
from l4t_jax.reporting.webpage import inlined, template

TEMPLATE = "compare.html.jinja"
AGAINST = {"steps": "environment steps of a seed", "seconds": "seconds of training, all seeds together"}
LEVEL = "0.90"  # the success that the table tells the steps to
PALETTE = ("#E69F00", "#56B4E9", "#6A3D9A", "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7")


def write(page: Path, picture: Path, found: Comparison) -> bool:
    """Writes the page and the picture.

    Returns:
        Whether there is a picture: at least one run has a curve.

    Raises:
        RunFolderError: one cannot be written.
    """
    try:
        figure = _figure(found)
        if figure is not None:
            files.write_whole(picture, curves.as_png(figure))
        files.write_whole(page, text(found))
        return figure is not None
    except OSError as error:
        raise RunFolderError(f"{error.filename or page} cannot be written: {error.strerror}") from error


def text(found: Comparison) -> str:
    """The page."""
    several = len(found.tasks) > 1
    return template(TEMPLATE, "l4t_jax.compare").render(
        title=", ".join(found.tasks),
        notes=found.notes,
        several=several,
        tasks=[dict(name=task, rows=_rows(found, task), curves=_curves(found, task)) for task in found.tasks],
        names=[f"{line.label} ({line.task})" if several else line.label for line in found.lines],
        differences=found.differences,
        folders=[(line.label, line.task, [str(run.folder) for run in line.runs]) for line in found.lines],
        made=f"Made by python -m l4t_jax.compare, l4t_jax {l4t_jax.__version__}.",
    )


def _rows(found: Comparison, task: str) -> list[dict[str, Any]]:
    """One row a line, everything as text; a dash is what was not measured, or never reached."""
    colours, rows = _colours(found.of_task(task)), []
    for line in found.of_task(task):
        one = line.figures
        reached, seeds = one["steps_to_success"][LEVEL], one["seeds"]
        success = one["success"]
        spread = "" if success is None or seeds == 1 else f"{min(success['seeds']):.3f} to {max(success['seeds']):.3f}"
        rows.append(
            dict(
                name=line.label, colour=colours[line.label],
                about=algorithm_label(line.settings["algo"]), seeds=seeds,
                steps=f"{one['steps']:,}" + ("" if line.finished else f" of {one['total_steps']:,}"),
                finished=line.finished,
                success=_with_interval(success), spread=spread, greedy=_with_interval(one["greedy"]),
                reached="-" if reached["median"] is None else f"{reached['median']:,}",
                how_many=f"{reached['reached']} of {seeds} seeds" if seeds > 1 else "",
                area="-" if one["area"] is None else f"{one['area']['mean']:.3f}",
                seconds="-" if one["seconds"] is None else f"{one['seconds']:,.1f}",
                rate="" if one["env_steps_per_s"] is None else f"{one['env_steps_per_s']:,.0f} steps/s",
            )
        )  # fmt: skip
    teachers = {f"{line.figures['teacher']:.3f}" for line in found.of_task(task) if line.figures["teacher"] is not None}
    randoms = {f"{line.figures['random']:.3f}" for line in found.of_task(task) if line.figures["random"] is not None}
    for name, values in (("teacher", teachers), ("random policy", randoms)):
        if values:
            rows.append(dict(name=name, other=" / ".join(sorted(values))))
    return rows


def _with_interval(figure: dict[str, Any] | None) -> dict[str, str]:
    if figure is None:
        return dict(mean="-", interval="")
    return dict(mean=f"{figure['mean']:.3f}", interval=f"{figure['low']:.3f} to {figure['high']:.3f}")


# --- Pictures -----------------------------------------------------------------------------------------------------


def _colours(lines: Sequence[Line]) -> dict[str, str]:
    """A colour for each line's name: its algorithm's own for the first line of an algorithm, then those left."""
    colours: dict[str, str] = {}
    for line in lines:
        try:
            own = get_algorithm(line.settings["algo"]).colour
        except ConfigError:  # of a file of the user's that is not loaded
            continue
        if own not in colours.values():
            colours.setdefault(line.label, own)
    for line in lines:
        if line.label not in colours:
            left = [colour for colour in PALETTE if colour not in colours.values()]
            colours[line.label] = left[0] if left else PALETTE[len(colours) % len(PALETTE)]
    return colours


def _drawn(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Lines that have a curve, as `curves.lines` takes them."""
    return [
        dict(
            variant=line.label, label=line.label + ("" if line.finished else ", not finished"),
            curve=line.figures["curve"],
            random=None if line.figures["random"] is None else {"success": line.figures["random"]},
        )
        for line in lines
        if line.figures["curve"] is not None
    ]  # fmt: skip


def _panel(panel: Any, lines: Sequence[Line], against: str) -> None:
    drawn, colours = _drawn(lines), _colours(lines)
    curves.lines(panel, drawn, "success", against, colours)
    named = curves.ends(drawn, "success", colours)
    levels: dict[float, list[str]] = {}
    for line in lines:
        if line.figures["teacher"] is not None:
            levels.setdefault(round(line.figures["teacher"], 3), []).append(line.label)
    for height, labels in levels.items():
        curves.level(panel, height)
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        named.append((height, "teacher" if len(levels) == 1 else f"teacher of {labels[0]}{more}", curves.TEACHER))
    curves.say(panel, named)
    panel.set_xlabel(AGAINST[against])


def _figure(found: Comparison) -> Any:
    """Every task's curves in one picture; None where no line has a curve."""
    tasks = [task for task in found.tasks if _drawn(found.of_task(task))]
    if not tasks:
        return None
    figure, axes = curves.panels(len(tasks), len(AGAINST), (12.5, 0.7 + 3.4 * len(tasks)))
    for row, task in zip(axes, tasks, strict=True):
        for panel, against in zip(row, AGAINST, strict=True):
            _panel(panel, found.of_task(task), against)
        row[0].set_ylabel("success, validation levels")
        row[0].set_title(task, loc="left", fontsize=10)
    return figure


def _curves(found: Comparison, task: str) -> list[tuple[str, str]]:
    """One task's curves, each a picture of its own: (words, data)."""
    if not _drawn(found.of_task(task)):
        return []
    made = []
    for against, words in AGAINST.items():
        figure, axes = curves.panels(1, 1, (5.2, 3.4))
        _panel(axes[0][0], found.of_task(task), against)
        axes[0][0].set_ylabel("success, validation levels")
        made.append((f"success on {task} against {words}", inlined(curves.as_png(figure), "png")))
    return made
