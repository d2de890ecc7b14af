"""The ladder's tables, from its parts alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ladder_rows import COMPARED, HARD, ROWS, WAYS, Row

Parts = dict[tuple[str, str], dict[str, Any]]  # (task, way) -> part


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
        "so it is the harder problem. *Code* is the start of a digest of the package's files that made the row.",
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
            rows.append((task, f"{part['total_steps']:,}", f"{part['teacher_alone']['success']:.3f}",
                         f"{part['success']['value']:.3f}", _greedy(part), _steps(part), _others(row)))  # fmt: skip
    return [f"| {' | '.join(row)} |" for row in rows]


def hardest(parts: Parts) -> list[str]:
    """The table of the README: the hardest rows, PPO alone at equal steps beside them."""
    rows = [("task", "environment steps", "teacher alone", "L4T student", "PPO alone, as many steps",
             "what others report"), ("---", *["---:"] * 4, "---")]  # fmt: skip
    for task in HARD:
        part, ppo = parts[task, "l4t"], parts.get((task, "ppo"))
        alone = f"{ppo['success']['value']:.3f}" if ppo else "not run"
        rows.append((task, f"{part['total_steps']:,}", f"{part['teacher_alone']['success']:.3f}",
                     f"**{part['success']['value']:.3f}**", alone,
                     _others(ROWS[task])))  # fmt: skip
    return [f"| {' | '.join(row)} |" for row in rows]


def compared(parts: Parts) -> list[str]:
    """The rows that were learned in several ways, for pages: success at the end and area of each."""
    ways = [way for way in WAYS if way != "l4t" and set(COMPARED) <= set(WAYS[way].rows)]
    rows = [
        ("task, success (area)", *(WAYS[way].label for way in ("l4t", *ways))),
        ("---", *["---:"] * (len(ways) + 1)),
    ]
    for task in COMPARED:
        found = [parts.get((task, way)) for way in ("l4t", *ways)]
        rows.append((task, *(f"{part['success']['value']:.3f} ({part['area']['value']:.3f})" if part else "not run"
                             for part in found)))  # fmt: skip
    return [f"| {' | '.join(row)} |" for row in rows]


def put(page: Path, table: list[str]) -> None:
    """Puts a table into a page, in place of the one with the same head."""
    text = page.read_text(encoding="utf-8")
    start = text.index(table[0])
    page.write_text(text[:start] + "\n".join(table) + text[text.index("\n\n", start) :], encoding="utf-8")


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
            task,
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
            part["label"], f"{part['total_steps']:,}", part["observation"], _cell(part["success"]),
            _greedy(part), _cell(part["area"]), _steps(part), f"{part['env_steps_per_s']:,}",
            f"{sum(part['seconds'].values()):.0f}", part["code"][:6],
        ))  # fmt: skip
    return [f"| {' | '.join(row)} |" for row in rows]


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
