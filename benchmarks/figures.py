"""The pictures of `reproduce`, drawn from its results alone.

Host module; matplotlib is imported where it is used. Lines carry their names, so that no picture needs its colours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from l4t_jax.agents.algorithms import algorithm_names, get_algorithm
from l4t_jax.reporting.curves import DPI, FAINT, TEACHER, ends, level, lines, panels, save, say

__all__ = ["COLOURS", "DPI", "FAINT", "TEACHER", "curves_of", "draw", "panels", "save"]

COLOURS = {
    **{name: get_algorithm(name).colour for name in algorithm_names()},
    "frugal": "#6A3D9A", "clock": "#56B4E9", "hard": "#E69F00", "constant": "#CC79A7",
}  # fmt: skip

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
    if any(run["group"] == "ablation" for run in runs):
        drawn.append(_ablations(folder / "ablations.png", runs))
    if any(run["group"] == "corruption" for run in runs):
        drawn.append(_corruption(folder / "corruption.png", runs))
    return drawn


def _curves(path: Path, task: str, runs: list[Run], teachers: dict[str, Any]) -> Path:
    figure, axes = panels(2, 2, (10.5, 6.6))
    for row, name in enumerate(("success", "return")):
        for column, against in enumerate(("steps", "seconds")):
            panel = axes[row][column]
            curves_of(panel, runs, teachers["drawn"][name] if "drawn" in teachers else None, name, against)
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
    """A panel for each task: how the teacher is used."""
    tasks = list(dict.fromkeys(run["task"] for run in runs if run["group"] == "ablation"))
    figure, axes = panels(1, len(tasks), (0.5 + 5.0 * len(tasks), 3.6))
    for panel, task in zip(axes[0], tasks, strict=True):
        mine = [run for run in runs if run["task"] == task]
        teaching = [run for run in mine if run["group"] == "ablation" or run["variant"] in ("l4t", "clock", "ppo")]
        whole = f"{get_algorithm('l4t').label}: soft, annealed"
        named = {"l4t": whole, "clock": "annealed by the clock", "ppo": "no distillation"}
        teaching = [{**run, "label": named.get(run["variant"], run["label"])} for run in teaching]
        panel.set_title(f"{task}: use of the teacher", loc="left", fontsize=10)
        lines(panel, teaching, "success", "steps", COLOURS)
        say(panel, ends(teaching, "success", COLOURS))
        panel.set_xlabel("environment steps of a seed")
    axes[0][0].set_ylabel("success, validation levels")
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
            say(row[1], [(alone["success"]["value"], alone["label"], COLOURS["ppo"])])
        colours = {**COLOURS, **shades}
        lines(row[0], curves, "success", "steps", colours)
        say(row[0], ends(curves, "success", colours))
        row[0].set(ylabel="success, validation levels", xlabel="environment steps of a seed")
        row[1].set(ylabel="final held-out success", xlabel="probability that a state's plans are random",
                   ylim=(-0.02, 1.03), xlim=(-0.06, 1.06))  # fmt: skip
        row[0].set_title(task, loc="left", fontsize=10)
    return save(figure, path)


def curves_of(
    panel: Any, runs: list[Run], teacher: float | None, name: str = "success", against: str = "steps"
) -> None:
    """Draws a figure of runs against their steps or seconds, and the teacher's own, each with its name at its end."""
    lines(panel, runs, name, against, COLOURS)
    named = ends(runs, name, COLOURS)
    if teacher is not None:
        level(panel, teacher)
        named.append((teacher, "teacher", TEACHER))
    say(panel, named)


def _seeds(runs: list[Run]) -> int:
    return len(runs[0]["success"]["seeds"])


def _dot(panel: Any, figure: dict[str, Any], at: float, colour: str, upright: bool = False) -> None:
    ends = [figure["low"], figure["high"]]
    if upright:
        panel.plot([at, at], ends, color=colour, linewidth=2.2, solid_capstyle="round")
        panel.plot([at], [figure["value"]], "o", color=colour, markersize=6)
    else:
        panel.plot(ends, [at, at], color=colour, linewidth=2.2, solid_capstyle="round")
        panel.plot([figure["value"]], [at], "o", color=colour, markersize=6)
