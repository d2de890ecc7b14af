"""One game of a page: a run's student and its teacher on their task, as data that JSON can hold.

Host module.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.abstraction import symbolic
from l4t_jax.envs import Task
from l4t_jax.envs.levels import heldout_levels, shares_levels
from l4t_jax.envs.state import State
from l4t_jax.play import stablehlo
from l4t_jax.play.programs import environment, layout_of, programs
from l4t_jax.reporting import run_folder
from l4t_jax.reporting.pictures import plan_words
from l4t_jax.saved import measured
from l4t_jax.student import Student, load_student
from l4t_jax.teacher import file
from l4t_jax.teacher.policy import TeacherTable
from l4t_jax.trained import find
from l4t_jax.training.checkpoint import Which

Precision = Literal["float32", "float16"]
MOST_MISSIONS = 5000  # of more, the page shows the drawn words instead of the sentence
MOST_SENTENCES = 5000


@dataclasses.dataclass(frozen=True)
class Game:
    """What a page plays.

    Attributes:
        student: with the parameters that the page has.
        table: the teacher; None without one.
        content: of the teacher's file.
        summary: of the run; None if the page shows parameters that it does not speak of.
        precision: how the page keeps the parameters.
    """

    student: Student
    table: TeacherTable | None
    content: dict[str, Any] | None
    summary: dict[str, Any] | None
    precision: Precision


def open_game(
    run_dir: str | Path, *, seed: int = 0, checkpoint: Which = "last", precision: Precision = "float32",
    imports: tuple[Any, ...] = (),
) -> Game:  # fmt: skip
    """Reads a run's student and teacher; the task's own teacher, if the run had none.

    Args:
        run_dir: the run folder, or the name of a trained student.
        seed: which of the run's students, counted from 0.
        checkpoint: "last", or "best" by success on the validation levels.
        precision: "float16" rounds the parameters.
        imports: extensions to load beside those of the run.

    Raises:
        RunFolderError, CheckpointError, ConfigError, TeacherFileError: as `load_student` and `teacher.file.load`.
    """
    student = load_student(run_dir, seed=seed, checkpoint=checkpoint, imports=imports)
    if precision == "float16":
        student.params = jax.tree.map(lambda leaf: leaf.astype(jnp.float16).astype(leaf.dtype), student.params)
    folder, task = find(run_dir), student.task
    content = None
    if (folder / run_folder.TEACHER).is_file():
        content = file.load(folder / run_folder.TEACHER)
    elif task.teacher is not None:
        content = file.shipped(task)
    summary = None
    if checkpoint == "last" and (found := measured(folder, seed)) is not None:
        heldout = found["heldout"]
        summary = dict(
            steps=found["total_steps"], algo=found["algo"], levels=heldout["levels"], student=heldout["sampled"],
            teacher=heldout["teacher"], own_teacher=found["teacher"] != "none",
        )  # fmt: skip
    return Game(student, None if content is None else file.to_table(task, content), content, summary, precision)


def as_data(game: Game, levels: int) -> dict[str, Any]:
    """A game as the page reads it.

    Args:
        game: to write down.
        levels: how many held-out levels go with it, the first of those that everyone is measured on.

    Raises:
        ConfigError: a program of it does something that the page cannot.
    """
    student, task = game.student, game.student.task
    written = {name: stablehlo.lower(*program) for name, program in programs(student, game.table).items()}
    needed = {name for name, _, used in written["observe"]["inputs"] if used}
    weights = stablehlo.named_leaves(dict(weights=student.params))
    carry = stablehlo.named_leaves(dict(carry=student.network.initial_carry(1)))
    return dict(
        name=task.name,
        about=task.description,
        width=task.width,
        height=task.height,
        max_steps=task.max_steps,
        summary=game.summary,
        teacher=None if game.content is None else dict(about=game.content.get("about", ""), made=game.content["made"]),
        programs=written,
        weights={name: _parameter(leaf, game.precision) for name, leaf in weights.items() if name in needed},
        carry={name: stablehlo.encoded(leaf) for name, leaf in carry.items()},
        levels=dict(number=levels, shared=shares_levels(task), parts=_parts(held_out(task, levels))),
        mission=_mission(task),
        sentences=_sentences(task, game.table),
        plans=[] if game.table is None else _plans(task, game.table),
        targets=sorted({role.target for role in task.objects if role.target is not None}),
    )


@functools.cache
def held_out(task: Task, number: int) -> State:
    """The first held-out levels of a task, those that everyone is measured on; leading axis `number`."""
    return jax.jit(lambda: heldout_levels(environment(task), number, "test"))()


def _parts(levels: State) -> dict[str, str]:
    return {
        name: stablehlo.encoded(part) for name, part in stablehlo.named_leaves(dict(level=layout_of(levels))).items()
    }


def _parameter(leaf: Any, precision: Precision) -> dict[str, str]:
    return dict(element=precision.replace("float", "f"), data=stablehlo.encoded(np.asarray(leaf).astype(precision)))


def _mission(task: Task) -> dict[str, Any]:
    """The words of an episode's mission: one text, or the fields of a drawn one and what each combination says."""
    if task.mission is None:
        return dict(text=task.text)
    mission = task.mission
    combinations = itertools.product(*map(range, mission.sizes))
    says = [mission.say(values) for values in combinations] if math.prod(mission.sizes) <= MOST_MISSIONS else []
    return dict(fields=[[name.replace("_", " "), list(words)] for name, words in mission.fields], says=says)


def _sentences(task: Task, table: TeacherTable | None) -> dict[int, str]:
    """The sentence of each symbolic state; where those are too many to list, of those with plans."""
    if table is None:
        return {}
    number = symbolic.num_states(task)
    known = np.flatnonzero(np.asarray(table.row) < len(table.plans) - 1).tolist()
    states = range(number) if number <= MOST_SENTENCES else known
    return {state: symbolic.decode(task, state).sentence for state in states}


def _plans(task: Task, table: TeacherTable) -> list[list[tuple[float, str]]]:
    """The plans of each row of the table, the most probable first: probability and words."""
    rows = []
    for plans, probabilities in zip(np.asarray(table.plans), np.asarray(table.probability), strict=True):
        order = np.argsort(-probabilities, kind="stable")
        likely = [i for i in order if probabilities[i]]
        rows.append([(round(float(probabilities[i]), 4), plan_words(task, plans[i])) for i in likely])
    return rows
