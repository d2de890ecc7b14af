"""The accuracy dial: `python benchmarks/dial.py`. What students make of teachers that are right in some states only.

Each state of a task's own teacher is right with probability 1, 0.75, 0.5, 0.25 or 0; else it has one random plan
(`teacher.corrupt`). Beside these are a placebo (the plans permuted among the states) and a teacher that is right half
of the way (with a key in hand it only explores), and one without plans, whose skills are followed at random. The
students of all teachers of a task are trained in one program, each with a table of its own: with each setting of
`trust`, and without a teacher. Every part is written to the result file when it is done, and not measured again.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from l4t_jax import files
from l4t_jax.config import Config
from l4t_jax.envs import Task
from l4t_jax.envs.levels import heldout_levels
from l4t_jax.evaluation import intervals, playing
from l4t_jax.evaluation.playing import Episodes
from l4t_jax.skills.plan_codes import NOOP_CODE
from l4t_jax.teacher import file
from l4t_jax.teacher.corrupt import corrupt, permuted
from l4t_jax.teacher.policy import TeacherTable
from l4t_jax.training.first_trust import FirstTrust, first_trust
from l4t_jax.training.trainer import SEED_AXIS, SEEDS, Trainer

RESULTS = Path(__file__).parent / "results"
ACCURACIES = (1.0, 0.75, 0.5, 0.25, 0.0)
Way = Literal["state", "part", "whole", "ppo"]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure."""

    tasks: str = "SimpleDoorKey,DoorKey-8x8,ColoredDoorKey"
    """Tasks, with commas between them."""
    ways: str = "state,part,whole,ppo"
    """state, part, whole: the setting `trust`; ppo: without a teacher."""
    draws: int = 3
    """Corrupted teachers of each accuracy; as many students of each of the others."""
    total_steps: int = 200_000
    """Environment steps of each student."""
    evaluations: int = 10
    """Points of each curve."""
    levels: int = 256
    """Validation levels of each point."""
    out: str = str(RESULTS / "dial.json")
    """The result file; a table is written beside it."""


def half_way(content: dict[str, Any]) -> dict[str, Any]:
    """The teacher that only explores once it holds a key."""

    def lost(state: dict[str, Any]) -> dict[str, Any]:
        holds_key = state["holds"] is not None and "key" in state["holds"]
        return {**state, "plans": [{"p": 1.0, "skills": [["explore"]]}]} if holds_key else state

    return {**content, "states": [lost(state) for state in content["states"]]}


def teachers(task: Task, draws: int) -> list[tuple[str, dict[str, Any]]]:
    """(label, content of a teacher file), `draws` of each label."""
    own = file.shipped(task)
    found = [
        (f"{accuracy:g}", corrupt(own, task, 1 - accuracy, draw)) for accuracy in ACCURACIES for draw in range(draws)
    ]
    found += [("placebo", permuted(own, task, draw)) for draw in range(draws)]
    return found + [("half way", half_way(own))] * draws + [("skills alone", file.skills_alone(task))] * draws


def stacked(task: Task, contents: list[dict[str, Any]]) -> TeacherTable:
    """The tables, padded to one shape, with a leading axis."""
    tables = [file.to_table(task, content) for content in contents]
    most = [max(table.plans.shape[axis] for table in tables) for axis in (1, 2)]

    def padded(table: TeacherTable) -> TeacherTable:
        plans = [(0, wanted - size) for wanted, size in zip(most, table.plans.shape[1:], strict=True)]
        return table.replace(
            plans=jnp.pad(table.plans, [(0, 0), *plans], constant_values=NOOP_CODE),
            probability=jnp.pad(table.probability, [(0, 0), plans[0]]),
        )

    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(padded, tables))


class Part:
    """One task in one way: all its students side by side.

    Args:
        settings: of the command.
        task_name: of the task.
        way: how the teachers are trusted.
    """

    def __init__(self, settings: Settings, task_name: str, way: Way) -> None:
        how: dict[str, Any] = dict(algo="ppo", teacher="none") if way == "ppo" else dict(trust=way)
        config = Config(env=task_name, total_steps=settings.total_steps, **how)
        self.settings, self.way, self.trainer = settings, way, Trainer.create(config)
        self.task, self.env = self.trainer.task, self.trainer.env
        self.levels = heldout_levels(self.env, settings.levels, "validation")
        named = teachers(self.task, settings.draws)
        if way == "ppo":
            named = named[: 2 * settings.draws]
        self.labels = [label if way != "ppo" else "none" for label, _ in named]
        self.table = stacked(self.task, [content for _, content in named])
        self._play_teachers = jax.jit(jax.vmap(self._play_teacher, in_axes=(0, None)))
        self._play_students = jax.jit(jax.vmap(self._play_student))

    def _play_teacher(self, table: TeacherTable, follow: jax.Array) -> Episodes:
        policy = playing.teacher_policy(self.task, table.replace(follow=follow), self.env.kernel)
        return playing.play(self.env, policy, (), jax.random.key(0), self.levels)

    def _play_student(self, params: Any, key: jax.Array) -> jax.Array:
        return jnp.mean(playing.play_student(self.trainer.players, params, key, self.levels).success)

    def first(self, random: Episodes) -> list[FirstTrust]:
        """How each teacher is followed at first, as a run decides it, but for playing the weakest again."""
        known: dict[float, Episodes] = {}

        def played(share: float, index: int) -> Episodes:
            if share not in known:
                known[share] = jax.device_get(self._play_teachers(self.table, jnp.float32(share)))
            return jax.tree.map(lambda leaf: leaf[index], known[share])

        return [
            first_trust(lambda share, _, i=i: (random, played(share, i)), whole, mix=self.way != "whole", more=1)
            for i, whole in enumerate(np.asarray(self.table.follow).tolist())
        ]

    def run(self) -> list[dict[str, Any]]:
        """The figures of each student."""
        play = jax.jit(lambda: playing.play(self.env, playing.random_policy, (), jax.random.key(0), self.levels))
        random = jax.device_get(play())
        number, table = np.arange(len(self.labels)), None
        first = [FirstTrust(1.0, 0.0)] * len(number)
        if self.way != "ppo":
            first, number = self.first(random), number % self.settings.draws
            success = jnp.asarray([one.compared for one in first], jnp.float32)
            table = self.table.replace(success=success, follow=jnp.asarray([one.follow for one in first], jnp.float32))
        state = jax.jit(self.trainer.init_seeds)(jax.vmap(jax.random.key)(1000 + number))
        updates = -(-self.trainer.total_updates // self.settings.evaluations)

        def one(state: Any, table: TeacherTable | None) -> Any:
            return self.trainer.train_block(state, table, updates, seeds=SEED_AXIS)[0]

        block = jax.jit(jax.vmap(one, in_axes=(SEEDS, 0), out_axes=SEEDS, axis_name=SEED_AXIS))
        curve = []
        for point in range(self.settings.evaluations):
            state = block(state, table)
            keys = jax.random.split(jax.random.key(point), len(number))
            curve.append(np.asarray(self._play_students(state.params, keys)))
        steps = updates * self.trainer.steps_per_update * np.arange(1, len(curve) + 1)
        curves = np.stack(curve)
        area = intervals.area(steps, curves, float(np.mean(random.success)))
        return [
            dict(teacher=label, success=float(curves[-2:, i].mean()), area=float(area[i]), follow=how.follow,
                 followed_alone=how.success)
            for i, (label, how) in enumerate(zip(self.labels, first, strict=True))
        ]  # fmt: skip


def table_of(parts: dict[str, Any]) -> str:
    """The mean of each kind of teacher: success at the end and area, with and without trust by state."""
    lines = []
    for task in dict.fromkeys(name.partition(" ")[0] for name in parts):
        by_way = {name.partition(" ")[2]: part for name, part in parts.items() if name.startswith(f"{task} ")}
        ways = list(by_way)
        lines += [f"{task}:", "", "| teacher | " + " | ".join(f"{way}: success, area" for way in ways) + " |"]
        lines.append("|---" * (len(ways) + 1) + "|")
        labels = dict.fromkeys(one["teacher"] for part in by_way.values() for one in part["students"])
        for label in labels:
            cells = []
            for way in ways:
                rows = [one for one in by_way[way]["students"] if one["teacher"] == label]
                figures = [np.mean([one[name] for one in rows]) for name in ("success", "area")] if rows else []
                cells.append(", ".join(f"{figure:.3f}" for figure in figures))
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main(settings: Settings) -> None:
    out = Path(settings.out)
    how = {name: value for name, value in dataclasses.asdict(settings).items() if name not in ("tasks", "ways", "out")}
    parts: dict[str, Any] = json.loads(out.read_text())["parts"] if out.is_file() else {}
    for task in settings.tasks.split(","):
        for way in settings.ways.split(","):
            name = f"{task} {way}"
            if parts.get(name, {}).get("settings") == how:
                continue
            began = time.perf_counter()
            students = Part(settings, task, way).run()  # pyright: ignore[reportArgumentType]
            parts[name] = dict(settings=how, seconds=round(time.perf_counter() - began), students=students)
            files.write_json(out, dict(command="python benchmarks/dial.py", parts=parts))
            out.with_suffix(".md").write_text(table_of(parts), encoding="utf-8")
            print(table_of({name: parts[name]}), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
