"""The ladder's table and pictures, from its parts alone.

Host module; matplotlib is imported where it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import figures
import numpy as np
from ladder_rows import COMPARED, ROWS, WAYS, Row

Parts = dict[tuple[str, str], dict[str, Any]]  # (task, way) -> part
HARD = ("KeyCorridorS3R3", "KeyCorridorS6R3", "MultiRoom-N6", "LockedRoom")  # of the README
FIRST = 4_000  # steps at the left edge of the pictures: the first update


def markdown(parts: Parts, command: str) -> str:
    """The table: a row a task, then the ways that were compared."""
    made = list(parts.values())
    devices = sorted({part["device"] for part in made})
    versions = made[0]["versions"]
    dates = sorted({part["date"] for part in made})
    text = [
        "# The ladder",
        "",
        f"Made by `{command}` on {' and '.join(devices)}, {dates[0]} to {dates[-1]}: "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}.",
        "",
        f"Success on {made[0]['levels']:,} held-out levels, mean over {_seeds(made[0])} seeds with the 95 % bootstrap "
        "interval over seeds; *lowest* is the lowest seed, *greedy* takes the most probable action. Steps to 0.90: "
        "until success on validation levels was at least 0.90 twice in a row, median over seeds; - is never. Steps/s "
        "and seconds are those of all seeds in one program on one core, beside other work. Every student reads the map "
        "of what it has seen, unless the table says otherwise; what others report is of MiniGrid's own view of 7 x 7, "
        "so it is the harder problem. *Code* is the start of a digest of the package's files that made the row; "
        "† marks an earlier default student.",
        "",
        *_ladder(parts),
    ]
    for task in ROWS:
        ways = [way for way in WAYS if (task, way) in parts]
        if len(ways) > 1:
            text += ["", f"## {task}: ways to learn", "",
                     *_ways([parts[task, way] for way in ways])]  # fmt: skip
    return "\n".join(text) + "\n"


def headline(parts: Parts) -> list[str]:
    """The ladder in a small table, for pages: what the students come to, in how many steps, and what others report."""
    rows = [("task", "steps", "teacher", "L4T", "greedy", "steps to 0.90", "what others report"),
            ("---", *["---:"] * 5, "---")]  # fmt: skip
    for task, row in ROWS.items():
        if (part := parts.get((task, "l4t"))) is not None:
            rows.append((task + _earlier(part), f"{part['total_steps']:,}", f"{part['teacher_alone']['success']:.3f}",
                         f"{part['success']['value']:.3f}", _greedy(part), _steps(part), _others(row)))  # fmt: skip
    return [f"| {' | '.join(row)} |" for row in rows]


def _ladder(parts: Parts) -> list[str]:
    rows = [("task", "wanted", "steps", "teacher alone", "L4T, sampled", "lowest", "greedy", "steps to 0.90", "steps/s",
             "seconds", "code", "what others report"),
            ("---", *["---:"] * 9, "---", "---")]  # fmt: skip
    for task, row in ROWS.items():
        part = parts.get((task, "l4t"))
        if part is None:
            rows.append((task, f"{row.wanted:.2f}", f"{row.steps:,}", *["not measured"] + [""] * 7, _others(row)))
            continue
        teacher = part["teacher_alone"] and part["teacher_alone"]["success"]
        goal = row.goal(teacher)
        there = part["success"]["value"] >= goal - 5e-5
        rows.append((
            task + _earlier(part),
            f"{row.wanted:.2f}" if goal == row.wanted else f"{goal:.3f} (0.01 below the teacher)",
            f"{part['total_steps']:,}",
            "" if teacher is None else f"{teacher:.3f}",
            _cell(part["success"]) + ("" if there else ", **short**"),
            f"{min(part['success']['seeds']):.3f}",
            _greedy(part),
            _steps(part),
            f"{part['env_steps_per_s']:,}",
            f"{sum(part['seconds'].values()):.0f}",
            part["code"][:6],
            _others(row),
        ))  # fmt: skip
    return [f"| {' | '.join(row)} |" for row in rows]


def _ways(parts: list[dict[str, Any]]) -> list[str]:
    rows = [("way", "steps", "reads", "success, sampled", "greedy", "area", "steps to 0.90", "steps/s", "seconds",
             "code"),
            ("---", "---:", "---", *["---:"] * 6, "---")]  # fmt: skip
    if teacher := parts[0]["teacher_alone"]:
        rows.append(("the teacher alone", "", "map", f"{teacher['success']:.3f}", *[""] * 6))
    for part in parts:
        rows.append((
            part["label"] + _earlier(part), f"{part['total_steps']:,}", part["observation"], _cell(part["success"]),
            _greedy(part), _cell(part["area"]), _steps(part), f"{part['env_steps_per_s']:,}",
            f"{sum(part['seconds'].values()):.0f}", part["code"][:6],
        ))  # fmt: skip
    return [f"| {' | '.join(row)} |" for row in rows]


def _earlier(part: dict[str, Any]) -> str:
    """Marks what was made before environments acted greedily in training, with another input of the default student."""
    return "" if "greedy_share" in part["settings"] else " †"


def _cell(figure: dict[str, Any]) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f}, {figure['high']:.3f})"


def _greedy(part: dict[str, Any]) -> str:
    return f"{part['greedy']['value']:.3f}" if part["greedy"] else ""


def _steps(part: dict[str, Any]) -> str:
    median = part["steps_to_success"]["0.90"]["median"]
    return "-" if median is None else f"{median:,}"


def _others(row: Row) -> str:
    points = [f"{one.success:g} at {_short(one.steps)} ({one.method})" for one in row.others]
    return "; ".join([*points, *([row.said] if row.said else [])])


def _short(steps: int) -> str:
    return f"{steps / 1e6:g} M" if steps >= 1e6 else f"{steps / 1e3:g} k"


def _seeds(part: dict[str, Any]) -> int:
    return len(part["success"]["seeds"])


# --- Pictures -----------------------------------------------------------------------------------------------------


def draw(folder: Path, parts: Parts) -> list[Path]:
    """Success against steps: `ladder.png` for every row, `hard.png` for four of the hardest, `compared.png` for those
    that were learned in several ways.
    """
    every = [task for task in ROWS if any((task, way) in parts for way in WAYS)]
    several = [task for task in COMPARED if sum((task, way) in parts for way in WAYS) > 1]
    named = {"ladder.png": every, "hard.png": [task for task in HARD if task in every], "compared.png": several}
    return [_panels(folder / name, parts, tasks) for name, tasks in named.items() if tasks]


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
        curve, first = parts[task, way]["curve"]["success"], parts[task, way]["random"]["success"]
        steps = np.asarray([FIRST, *parts[task, way]["curve"]["steps"]], float)
        low, high, success = ([first, *curve[name]] for name in ("low", "high", "value"))  # it has learned nothing yet
        panel.fill_between(steps, low, high, color=one.colour, alpha=0.18, linewidth=0)
        (shown[f"{one.label} (map)"],) = panel.plot(steps, success, color=one.colour, linewidth=1.7, zorder=3)
        last = max(last, steps[-1])
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
