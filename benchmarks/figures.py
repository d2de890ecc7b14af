"""The pictures of `reproduce`, drawn from its results alone.

Host module; matplotlib is imported where it is used. Colours are Okabe and Ito's, which people with any kind of colour
vision can tell apart; lines carry their names, so that no picture needs its colours.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from l4t_jax.agents.algorithms import algorithm_names, get_algorithm

COLOURS = {
    **{name: get_algorithm(name).colour for name in algorithm_names()},
    "frugal": "#6A3D9A", "clock": "#56B4E9", "hard": "#E69F00", "constant": "#CC79A7", "lstm": "#E69F00",
    "map": get_algorithm("l4t").colour, "paper": "#009E73",
}  # fmt: skip
TEACHER, FAINT = "#333333", "#8a8f98"
DPI = 100

Run = dict[str, Any]


def draw(folder: Path, results: dict[str, Any]) -> list[Path]:
    """Draws what the results hold enough for.

    Args:
        folder: where to.
        results: of `reproduce`.

    Returns:
        The pictures: `curves-TASK.png`, `areas.png`, `ablations.png`, `corruption.png`.
    """
    runs: list[Run] = results["runs"]
    drawn = []
    for task in dict.fromkeys(run["task"] for run in runs):
        mine = [run for run in runs if run["task"] == task and run["group"] == "compared"]
        if mine:
            drawn.append(_curves(folder / f"curves-{task}.png", task, mine, results["teachers"].get(task, {})))
    compared = [run for run in runs if run["group"] == "compared" and run["variant"] != "frugal"]
    if compared:
        drawn.append(_areas(folder / "areas.png", compared))
    if any(run["group"] in ("ablation", "memory") for run in runs):
        drawn.append(_ablations(folder / "ablations.png", runs))
    if any(run["group"] == "corruption" for run in runs):
        drawn.append(_corruption(folder / "corruption.png", runs))
    return drawn


def _curves(path: Path, task: str, runs: list[Run], teachers: dict[str, Any]) -> Path:
    figure, axes = panels(2, 2, (10.5, 6.6))
    for row, name in enumerate(("success", "return")):
        for column, against in enumerate(("steps", "seconds")):
            panel = axes[row][column]
            _lines(panel, runs, name, against)
            if "drawn" in teachers:
                level = teachers["drawn"][name]
                panel.axhline(level, color=TEACHER, linestyle=(0, (4, 3)), linewidth=1.1, zorder=1)
                _say(panel, [*_ends(runs, name), (level, "teacher", TEACHER)])
            else:
                _say(panel, _ends(runs, name))
            if column == 0:
                panel.set_ylabel(f"{name}, validation levels")
        axes[row][0].set_xlabel("environment steps of a seed")
        axes[row][1].set_xlabel(f"seconds of training, all {_seeds(runs)} seeds side by side")
    figure.suptitle(f"{task}: interquartile mean over {_seeds(runs)} seeds, 95 % bootstrap interval", x=0.01, ha="left")
    return save(figure, path)


def _areas(path: Path, runs: list[Run]) -> Path:
    """A row of dots with intervals for each task."""
    tasks = list(dict.fromkeys(run["task"] for run in runs))
    variants = list(dict.fromkeys(run["variant"] for run in runs))
    labels = {run["variant"]: run["label"] for run in runs}
    figure, axes = panels(1, len(tasks), (1.6 + 1.9 * len(tasks), 0.9 + 0.34 * len(variants)), share=True)
    for panel, task in zip(axes[0], tasks, strict=True):
        for run in (run for run in runs if run["task"] == task):
            at = variants.index(run["variant"])
            _dot(panel, run["area"], at, COLOURS[run["variant"]])
        panel.set(title=task, xlim=(0, 1), ylim=(len(variants) - 0.4, -0.6))
        panel.set_yticks(range(len(variants)), [labels[variant] for variant in variants])
        panel.tick_params(axis="y", length=0)
        panel.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        panel.title.set_size(10)
        panel.grid(axis="y", visible=False)
    figure.supxlabel("area under the success curve, at equal environment steps", fontsize=10)
    return save(figure, path)


def _ablations(path: Path, runs: list[Run]) -> Path:
    """A row for each task: how the teacher is used, and what remembers."""
    tasks = list(dict.fromkeys(run["task"] for run in runs if run["group"] in ("ablation", "memory")))
    figure, axes = panels(len(tasks), 2, (10.5, 0.6 + 3.0 * len(tasks)))
    for row, task in zip(axes, tasks, strict=True):
        mine = [run for run in runs if run["task"] == task]
        teaching = [run for run in mine if run["group"] == "ablation" or run["variant"] in ("l4t", "clock", "ppo")]
        memory = [run for run in mine if run["group"] == "memory"]
        whole = f"{get_algorithm('l4t').label}: soft, annealed"
        named = {"l4t": whole, "clock": "annealed by the clock", "ppo": "no distillation"}
        teaching = [{**run, "label": named.get(run["variant"], run["label"])} for run in teaching]
        for panel, shown, title in ((row[0], teaching, "use of the teacher"), (row[1], memory, "memory")):
            panel.set_title(f"{task}: {title}", loc="left", fontsize=10)
            if not shown:
                panel.set_visible(False)
                continue
            _lines(panel, shown, "success", "steps")
            _say(panel, _ends(shown, "success"))
        row[0].set_ylabel("success, validation levels")
    for panel in axes[-1]:
        panel.set_xlabel("environment steps of a seed")
    return save(figure, path)


def _corruption(path: Path, runs: list[Run]) -> Path:
    """Final success against the share of states whose plans are random, with PPO alone as the yardstick."""
    tasks = list(dict.fromkeys(run["task"] for run in runs if run["group"] == "corruption"))
    figure, axes = panels(len(tasks), 2, (10.5, 0.6 + 3.0 * len(tasks)))
    for row, task in zip(axes, tasks, strict=True):
        mine = [run for run in runs if run["task"] == task]
        spoiled = [run for run in mine if run["variant"] == "l4t" or run["corruption"] is not None]
        shares = {run["corruption"] or 0.0: run for run in spoiled}
        shades = dict(zip(shares, (COLOURS["l4t"], "#4D9FCC", "#A58A3C", "#B0413E"), strict=False))
        alone = next((run for run in mine if run["variant"] == "ppo"), None)
        for share, run in shares.items():
            _dot(row[1], run["success"], share, shades[share], upright=True)
        if all(run["teacher_alone"] for run in shares.values()):
            taught = [run["teacher_alone"]["success"] for run in shares.values()]
            row[1].plot(list(shares), taught, "x", color=TEACHER, markersize=7)
            row[1].annotate("the teacher itself", (list(shares)[-1], taught[-1]), (-8, 8), textcoords="offset points",
                            ha="right", fontsize=9, color=TEACHER)  # fmt: skip
        curves = [{**run, "variant": share, "label": f"corruption {share:g}"} for share, run in shares.items()]
        if alone:
            row[1].axhspan(alone["success"]["low"], alone["success"]["high"], color=COLOURS["ppo"], alpha=0.2)
            row[1].axhline(alone["success"]["value"], color=COLOURS["ppo"], linewidth=1.2)
            curves.append(alone)
            _say(row[1], [(alone["success"]["value"], alone["label"], COLOURS["ppo"])])
        colours = {**COLOURS, **shades}
        _lines(row[0], curves, "success", "steps", colours)
        _say(row[0], _ends(curves, "success", colours))
        row[0].set(ylabel="success, validation levels", xlabel="environment steps of a seed")
        row[1].set(ylabel="final held-out success", xlabel="probability that a state's plans are random",
                   ylim=(-0.02, 1.03), xlim=(-0.06, 1.06))  # fmt: skip
        row[0].set_title(task, loc="left", fontsize=10)
    return save(figure, path)


# --- Parts --------------------------------------------------------------------------------------------------------


def panels(rows: int, columns: int, size: tuple[float, float], share: bool = False, dpi: int = DPI) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained", dpi=dpi)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=share)
    for panel in axes.flat:
        panel.grid(alpha=0.25, linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def curves_of(panel: Any, runs: list[Run], teacher: float) -> None:
    """Draws the success of runs against their steps, and the teacher's own, each with its name at its end."""
    _lines(panel, runs, "success", "steps")
    panel.axhline(teacher, color=TEACHER, linestyle=(0, (4, 3)), linewidth=1.1, zorder=1)
    _say(panel, [*_ends(runs, "success"), (teacher, "teacher", TEACHER)])


def save(figure: Any, path: Path) -> Path:
    """Writes a picture with a palette, a third of the size of full colour and as good to look at."""
    from PIL import Image

    whole = io.BytesIO()
    figure.savefig(whole, format="png")
    Image.open(whole).convert("RGB").quantize(128).save(path, optimize=True)
    return path


def _seeds(runs: list[Run]) -> int:
    return len(runs[0]["success"]["seeds"])


def _lines(panel: Any, runs: list[Run], name: str, against: str, colours: dict[Any, str] = COLOURS) -> None:
    from matplotlib.ticker import EngFormatter

    for run in runs:
        x, curve = np.asarray(run["curve"][against], float), run["curve"][name]
        colour = colours[run["variant"]]
        first = run["random"][name]  # a student that has learned nothing
        x = np.concatenate([[0.0], x])
        band = (np.concatenate([[first], curve[end]]) for end in ("low", "high"))
        panel.fill_between(x, *band, color=colour, alpha=0.18, linewidth=0)
        panel.plot(x, [first, *curve["value"]], color=colour, linewidth=1.7)
    panel.set(xlim=(0, None), ylim=(-0.02, 1.03))
    if against == "steps":
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))


def _ends(runs: list[Run], name: str, colours: dict[Any, str] = COLOURS) -> list[tuple[float, str, str]]:
    """(height, words, colour) of each line's end."""
    return [(run["curve"][name]["value"][-1], run["label"], colours[run["variant"]]) for run in runs]


def _say(panel: Any, ends: list[tuple[float, str, str]]) -> None:
    """Names lines at the right edge, as near to their ends as they can stand without covering each other."""
    gap = 0.085 * 2.6 / max(panel.figure.get_size_inches()[1] / panel.get_gridspec().nrows - 0.6, 1.0)
    ends = sorted(ends)
    heights = np.asarray([end[0] for end in ends])
    for _ in range(200):  # push neighbours apart, evenly, until they stand clear
        short = gap - np.diff(heights)
        if (short < 1e-3).all():
            break
        push = np.maximum(short, 0) / 2
        heights[:-1] -= push
        heights[1:] += push
    heights[-1] = min(heights[-1], 1.03)
    for i in reversed(range(len(heights) - 1)):  # those that the top pushes back
        heights[i] = min(heights[i], heights[i + 1] - gap)
    for height, (_, words, colour) in zip(heights, ends, strict=True):
        panel.annotate(words, (1.0, height), (5, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                       va="center", fontsize=9, color=colour, annotation_clip=False)  # fmt: skip


def _dot(panel: Any, figure: dict[str, Any], at: float, colour: str, upright: bool = False) -> None:
    ends = [figure["low"], figure["high"]]
    if upright:
        panel.plot([at, at], ends, color=colour, linewidth=2.2, solid_capstyle="round")
        panel.plot([at], [figure["value"]], "o", color=colour, markersize=6)
    else:
        panel.plot(ends, [at, at], color=colour, linewidth=2.2, solid_capstyle="round")
        panel.plot([figure["value"]], [at], "o", color=colour, markersize=6)
