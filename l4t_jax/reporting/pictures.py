"""The pictures of a run: the results table, the curves, the animations.

Host module. matplotlib and pillow are imported where they are used.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from l4t_jax.abstraction import symbolic
from l4t_jax.envs import Task
from l4t_jax.envs.cells import ACTIONS
from l4t_jax.evaluation.heldout import Trace
from l4t_jax.evaluation.intervals import intervals
from l4t_jax.evaluation.playing import Episodes
from l4t_jax.skills import plan_codes
from l4t_jax.teacher.policy import TeacherTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

STUDENT_RGB, TEACHER_RGB, FAINT_RGB = "#2f6fd0", "#d0632f", "#8a8f98"


def table(heldout: dict[str, Episodes], title: str) -> Table:
    """A table of success, return and length with 95 % intervals, one row per name.

    Args:
        heldout: name -> episodes; with several seeds, leading axis seeds.
        title: of the table.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    seeds = max(np.asarray(e.success).shape[0] if np.asarray(e.success).ndim > 1 else 1 for e in heldout.values())
    made = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold")
    made.caption = "95 % intervals: Wilson's for success, normal for return and length" + (
        f"; students: mean over {seeds} seeds, interval over the levels of all seeds" if seeds > 1 else ""
    )
    made.caption_justify = "left"
    made.add_column("", no_wrap=True, min_width=max(map(len, heldout)))
    for name in ("success", "return", "length"):
        made.add_column(name, justify="right")
    for name, episodes in heldout.items():
        found = intervals(episodes)
        made.add_row(name, *(_interval(*found[column], column) for column in ("success", "return", "length")))
    return made


def _interval(mean: float, low: float, high: float, column: str) -> str:
    digits = 1 if column == "length" else 3
    if not math.isfinite(low):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [dim]({low:.{digits}f}-{high:.{digits}f})[/dim]"


def plan_words(task: Task, codes: np.ndarray) -> str:
    """A plan in words, such as "go to key, then pick up key"."""
    steps = [plan_codes.decode_step(task, int(code)) for code in codes]
    while steps and steps[-1] == ("noop",):  # plans are padded with it
        steps.pop()
    said = [
        " ".join(word.replace("_", " ") for word in step) if step != ("noop",) else "unknown step" for step in steps
    ]
    return ", then ".join(said) or "no known step"


def pictures(folder: Path, task: Task, table: TeacherTable | None, student: Trace, teacher: Trace | None) -> None:
    """Writes `student.gif` and, if there is a teacher, `teacher.gif`, both on the same held-out level."""
    animate(folder / "student.gif", task, table, student, "student")
    if teacher is not None:
        animate(folder / "teacher.gif", task, table, teacher, "teacher")


def animate(path: Path, task: Task, table: TeacherTable | None, trace: Trace, who: str) -> None:
    """Writes one episode as an animation: the environment, the symbolic state, and the teacher's best plan for it."""
    from l4t_jax.reporting import render

    plans, probability = (None, None) if table is None else (np.asarray(table.plans), np.asarray(table.probability))
    steps = len(trace.action)
    images, captions = [], []
    for t in render.frames(steps + 1):
        env_state, state = trace.env_state, int(trace.state[t])
        lines = [("sees", symbolic.decode(task, state).sentence)]
        if table is not None and plans is not None and probability is not None:
            row = int(table.row[state])
            best = int(probability[row].argmax())
            p = float(probability[row, best])
            label = "plan" if who == "teacher" else "teacher"
            lines.append((label, f"{plan_words(task, plans[row, best])} ({p:.2f})" if p else "has no plan here"))
        if t < steps:
            title = f"{who}, step {t}"
            lines.append(("action", ACTIONS[int(trace.action[t])]))
        else:
            title = f"{who}: {'succeeded' if trace.success else 'failed'} after {steps} steps"
        images.append(
            render.world_image(
                np.asarray(env_state.cells[t]),
                np.asarray(env_state.agent[t]),
                np.asarray(env_state.seen[t]),
                int(env_state.carrying[t]),
            )
        )
        captions.append(render.Caption(title, lines))
    render.save_gif(path, images, captions)


def curves(folder: Path, task: Task, records: list[dict[str, Any]], teacher: dict[str, Any] | None) -> None:
    """Writes `curves.png`: validation success and return against environment steps.

    Args:
        folder: the run folder.
        task: of the run.
        records: the lines of `metrics.jsonl`.
        teacher: the teacher's averages on the validation levels, drawn as dashed lines; None without a teacher.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained", dpi=110)
    for place, name in enumerate(("success", "return")):
        panel(figure.add_subplot(1, 2, place + 1), records, teacher, name)
    figure.suptitle(task.name)
    figure.savefig(folder / "curves.png")


def panel(
    axes: Axes, records: list[dict[str, Any]], teacher: dict[str, Any] | None, name: str, columns: int = 3
) -> None:
    """Draws one of the curves.

    Args:
        axes: to draw on.
        records, teacher: see `curves`.
        name: "success" (with the distillation weight) or "return".
        columns: of the legend.
    """
    from matplotlib.ticker import EngFormatter

    steps = np.asarray([record["steps"] for record in records])
    values = np.array([record["validation"][name] for record in records], float)  # (evaluations, seeds)
    seeds = values.shape[1]
    if seeds > 1:
        axes.plot(steps, values, color=STUDENT_RGB, alpha=0.25, linewidth=1)
    marker = "o" if len(steps) < 40 else None
    label = "student" if seeds == 1 else f"student, mean of {seeds} seeds"
    lines = axes.plot(steps, values.mean(axis=1), color=STUDENT_RGB, marker=marker, markersize=3, label=label)
    if teacher is not None:
        lines.append(axes.axhline(teacher[name], color=TEACHER_RGB, linestyle="--", linewidth=1.4, label="teacher"))
    axes.set(xlabel="environment steps", ylabel=f"{name} on validation levels", ylim=(-0.02, 1.02), xlim=(0, None))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.25)
    axes.spines[["top"]].set_visible(False)
    weight = np.asarray([record["train"]["distill_weight"] for record in records], float)
    if name == "success" and weight.any():
        right = axes.twinx()
        lines += right.plot(steps, weight, color=FAINT_RGB, linestyle=":", label="distillation weight (right)")
        right.set_ylabel("distillation weight", color=FAINT_RGB)
        right.tick_params(axis="y", colors=FAINT_RGB)
        right.set_ylim(-0.02 * weight.max(), 1.02 * weight.max())
        right.spines[["top"]].set_visible(False)
    else:
        axes.spines[["right"]].set_visible(False)
    axes.legend(
        handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=columns, frameon=False, fontsize=9
    )
