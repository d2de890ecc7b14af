"""The ladder's pictures, from its parts alone: success against environment steps.

Host module; matplotlib is imported where it is used.
"""

from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path
from typing import Any

import figures
import numpy as np
from ladder_rows import COMPARED, HARD, ROWS, WAYS

Parts = dict[tuple[str, str], dict[str, Any]]  # (task, way) -> part
FIRST = 4_000  # steps at the left edge of the pictures: the first update
LAST = 150_000_000  # at the right edge of `hard.png`
DRAWN = ("l4t", "ppo")  # the ways in `hard.png`
# A kind of published result -> marker and words.
KINDS = {
    "ppo": ("o", "published: PPO"),
    "explores": ("s", "published: PPO or MuZero that explores"),
    "taught": ("D", "published: PPO with the rules of an LLM"),
}


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours of a page's background, of its text, and of what is drawn."""

    suffix: str
    paper: str
    ink: str
    grid: str
    lines: tuple[str, ...]  # of `DRAWN`


THEMES = (
    Theme("", "#ffffff", "#1f2328", "#d1d9e0", ("#0072B2", "#D55E00")),
    Theme("-dark", "#0d1117", "#e6edf3", "#30363d", ("#58B4F0", "#F5874F")),
)


def draw(folder: Path, parts: Parts) -> list[Path]:
    """Success against steps: `ladder.png` for every row, `compared.png` for those that were learned in several ways,
    `hard.png` and `hard-dark.png` for the hardest, for pages with a light and with a dark background.
    """
    every = [task for task in ROWS if any((task, way) in parts for way in WAYS)]
    several = [task for task in COMPARED if sum((task, way) in parts for way in WAYS) > 1]
    named = {"ladder.png": every, "compared.png": several}
    made = [_panels(folder / name, parts, tasks) for name, tasks in named.items() if tasks]
    if hard := [task for task in HARD if task in every]:
        made += [_hard(folder / f"hard{theme.suffix}.png", parts, hard, theme) for theme in THEMES]
    return made


def _panels(path: Path, parts: Parts, tasks: list[str]) -> Path:
    columns = 4 if len(tasks) > 4 else len(tasks)
    lines = -(-len(tasks) // columns)
    figure, axes = figures.panels(lines, columns, (3.3 * columns, 0.9 + 2.3 * lines), share=True)
    shown: dict[str, Any] = {}
    for panel, task in zip(axes.flat, tasks, strict=False):
        shown |= _panel(panel, task, parts)
    for panel in axes.flat[len(tasks) :]:
        panel.set_visible(False)
    for line in axes:
        line[0].set_ylabel("success")
    figure.supxlabel("environment steps of a seed", fontsize=10)
    figure.legend(
        shown.values(), shown, loc="outside upper left", ncols=min(len(shown), columns), frameon=False, fontsize=9
    )
    return figures.save(figure, path)


def _panel(panel: Any, task: str, parts: Parts) -> dict[str, Any]:
    """One task's curves; gives what its legend needs."""
    from matplotlib.ticker import EngFormatter

    row, shown = ROWS[task], {}
    panel.axhline(row.wanted, color=figures.FAINT, linewidth=0.8, zorder=1)
    last = FIRST
    for way, one in WAYS.items():
        if (task, way) not in parts:
            continue
        steps = _curve(panel, parts[task, way], one.colour, shown, f"{one.label} (map)")
        last = max(last, steps)
        teacher = parts[task, way]["teacher_alone"]
        if way == "l4t" and teacher:
            shown["teacher alone"] = panel.axhline(
                teacher["success"], color=figures.TEACHER, linestyle=(0, (4, 3)), linewidth=1.1, zorder=2
            )
    for point in row.others:
        shown["published (view of 7 x 7)"] = panel.scatter(
            [point.steps], [point.success], marker="D", s=22, color=figures.TEACHER, zorder=4, clip_on=False
        )
        last = max(last, point.steps)
    panel.set_xscale("log")
    panel.set(xlim=(FIRST, last * 1.25), ylim=(-0.02, 1.03))
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panel.set_title(task, loc="left", fontsize=10)
    return shown


def _curve(panel: Any, part: dict[str, Any], colour: str, shown: dict[str, Any], label: str, width: float = 1.7) -> int:
    """Draws a part's curve, from the random policy's success on; gives its last step."""
    curve, first = part["curve"]["success"], part["random"]["success"]  # it has learned nothing yet
    steps = np.asarray([FIRST, *part["curve"]["steps"]], float)
    low, high, success = ([first, *curve[name]] for name in ("low", "high", "value"))
    panel.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    (shown[label],) = panel.plot(steps, success, color=colour, linewidth=width, zorder=3)
    return int(steps[-1])


# --- The picture of the README ------------------------------------------------------------------------------------


def _hard(path: Path, parts: Parts, tasks: list[str], theme: Theme) -> Path:
    """Panels with the same steps below each other, so that the distance to what others report is seen."""
    columns = min(3, len(tasks))
    lines = -(-len(tasks) // columns)
    figure, axes = figures.panels(lines, columns, (9.0, 0.9 + 1.75 * lines), share=True, dpi=2 * figures.DPI)
    figure.set_facecolor(theme.paper)
    shown: dict[str, Any] = {}
    for panel, task in zip(axes.flat, tasks, strict=False):
        _hard_panel(panel, task, parts, theme, shown)
    for panel in axes.flat[len(tasks) :]:
        panel.set_visible(False)
    for line in axes:
        line[0].set_ylabel("success", color=theme.ink)
    figure.supxlabel("environment steps of a seed (logarithmic)", fontsize=10, color=theme.ink)
    labels = [label for label in (*(WAYS[way].label for way in DRAWN), *(words for _, words in KINDS.values()))
              if label in shown]  # fmt: skip
    figure.legend(
        [shown[label] for label in labels], labels, loc="outside upper left", ncols=3, frameon=False, fontsize=9,
        labelcolor=theme.ink,
    )  # fmt: skip
    return figures.save(figure, path)


def _hard_panel(panel: Any, task: str, parts: Parts, theme: Theme, shown: dict[str, Any]) -> None:
    for way, colour in zip(DRAWN, theme.lines, strict=True):
        if (task, way) in parts:
            _curve(panel, parts[task, way], colour, shown, WAYS[way].label, 2.2)
    for point in ROWS[task].others:
        marker, words = KINDS[point.kind]
        (shown[words],) = panel.plot(
            [point.steps], [point.success], marker=marker, markersize=6, linestyle="", color=theme.ink, zorder=4,
            markeredgecolor=theme.paper, markeredgewidth=0.8, clip_on=False,
        )  # fmt: skip
    if said := ROWS[task].said:
        panel.text(0.98, 0.5, textwrap.fill(said, 22), transform=panel.transAxes, ha="right", va="center", fontsize=8.5,
                   color=theme.ink)  # fmt: skip
    panel.set_facecolor(theme.paper)
    panel.set_xscale("log")
    panel.set(xlim=(FIRST, LAST), ylim=(-0.03, 1.04))
    panel.set_xticks([1e4, 1e5, 1e6, 1e7, 1e8], ["10k", "100k", "1M", "10M", "100M"])
    panel.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    panel.minorticks_off()
    panel.grid(color=theme.grid, alpha=1, linewidth=0.6)
    panel.tick_params(colors=theme.ink, labelsize=9, length=0)
    panel.spines[["left", "bottom"]].set_color(theme.grid)
    panel.set_title(task, loc="left", fontsize=10, color=theme.ink)
