"""Measuring students, teacher and chance on held-out boards, in programs compiled once.

Host module around `evaluation`. Boards are played in chunks of one size, so that the validation boards and any number
of test boards, sampled or greedy, are one program. A number of boards means the first so many of the split, the same
for everyone.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax import devices, evaluation
from l4t_jax.evaluation import Episodes
from l4t_jax.metrics import normal, wilson
from l4t_jax.symbolic import sight
from l4t_jax.tasks.task import observe
from l4t_jax.teacher.policy import TeacherTable
from l4t_jax.trainer import Trainer
from l4t_jax.types import World

# What a run's random keys are for; each is split from the run's seed by its place in this list.
KEYS = ("training", "validation", "test", "picture")


def run_key(seed: jax.Array | int, purpose: str) -> jax.Array:
    """The random key of a run for one of `KEYS`."""
    return jax.random.split(jax.random.key(seed), len(KEYS))[KEYS.index(purpose)]


def _purpose_key(seed: jax.Array, purpose: jax.Array) -> jax.Array:
    return jax.random.split(jax.random.key(seed), len(KEYS))[purpose]


class Trace:
    """One episode, step by step, as numpy arrays.

    Attributes:
        world: a `World`, leading axis T + 1: the start, then the world after each step.
        state: `int[T + 1]` the symbolic state before each step, and at the end.
        action: `int[T]`.
        success: whether it ended well.
    """

    def __init__(self, world: World, state: np.ndarray, action: np.ndarray, done: np.ndarray, reward: np.ndarray):
        steps = int(np.argmax(done)) + 1 if done.any() else done.size
        self.world: World = jax.tree.map(lambda leaf: np.asarray(leaf)[: steps + 1], world)
        self.state, self.action = state[: steps + 1], action[:steps]
        self.success = bool(reward[:steps].sum() > 0)


class Measure:
    """The programs that measure, for one task, one architecture and one teacher.

    Args:
        trainer: the run's.
        table: the teacher; None without one.
        seeds: students side by side.
        chunk: boards played at a time.
    """

    def __init__(self, trainer: Trainer, table: TeacherTable | None, seeds: int, chunk: int) -> None:
        self.trainer, self.table, self.seeds, self.chunk = trainer, table, seeds, chunk
        self._compiled: dict[str, Any] = {}
        self._boards: dict[str, World] = {}

    def programs(self, params: Any, boards: dict[str, int], pictures: bool) -> dict[str, tuple[Callable, tuple]]:
        """What to compile (`programs.compile_all`) and then to give to `use`.

        Args:
            params: the students' parameters or their shapes, leading axis seeds.
            boards: split -> how many boards will be asked for.
            pictures: whether `traces` will be called.
        """
        trainer, table, env, mesh = self.trainer, self.table, self.trainer.env, self.trainer.mesh
        axis = None if mesh is None else devices.AXIS
        padded = {split: -(-number // self.chunk) * self.chunk for split, number in boards.items()}

        def draw() -> dict[str, World]:
            return {split: trainer.boards(number, split) for split, number in padded.items()}

        def student(params: Any, seed: Any, purpose: Any, at: Any, boards: World, greedy: Any) -> Episodes:
            key = jax.random.fold_in(jax.random.fold_in(_purpose_key(seed, purpose), at[0]), at[1])
            keys = jax.random.split(key, self.seeds)
            own, index = devices.share((boards, jnp.arange(self.chunk)), axis)
            found = jax.vmap(lambda p, k: trainer.evaluate(p, k, own, greedy, index))(params, keys)
            return devices.whole(found, self.chunk, axis, rows=-1)

        def others(table: TeacherTable | None, seed: Any, purpose: Any, index: Any, boards: World) -> tuple[Any, ...]:
            key = jax.random.fold_in(_purpose_key(seed, purpose), index)
            own, number = devices.share((boards, jnp.arange(self.chunk)), axis)

            def play(policy: evaluation.Policy) -> Episodes:
                return devices.whole(
                    evaluation.play(env, policy, (), key, own, index=number), self.chunk, axis, rows=-1
                )

            chance = play(evaluation.random_policy)
            return chance, None if table is None else play(evaluation.teacher_policy(trainer.task, table))

        def picture(params: Any, table: TeacherTable | None, seed: Any, boards: World, index: Any) -> tuple[Any, ...]:
            board = jax.tree.map(lambda leaf: leaf[index], boards)
            one = jax.tree.map(lambda leaf: leaf[0], params)
            key = run_key(seed, "picture")
            carry, policy = trainer.policy(one, key, jnp.zeros(1, jnp.int32))
            shown = _trace(trainer, policy, carry, key, board)
            if table is None:
                return shown, None
            return shown, _trace(trainer, evaluation.teacher_policy(trainer.task, table), (), key, board)

        def on_each(function: Callable) -> Callable:
            return jax.jit(devices.on_each(mesh, function))

        world = jax.eval_shape(draw)
        chunked = {
            split: jax.tree.map(lambda x: jax.ShapeDtypeStruct((self.chunk, *x.shape[1:]), x.dtype), boards)
            for split, boards in world.items()
        }
        some = next(iter(chunked.values()))
        number = jnp.int32(0)
        greedy = jnp.bool_(False)
        params, table = trainer.specs(params), trainer.specs(table)
        made: dict[str, tuple[Callable, tuple]] = {
            "boards": (jax.jit(draw), ()),
            "student": (on_each(student), (params, number, number, jnp.zeros(2, jnp.int32), some, greedy)),
            "others": (on_each(others), (table, number, number, number, some)),
        }
        if pictures:
            made["picture"] = (on_each(picture), (params, table, number, some, number))
        return made

    def use(self, compiled: dict[str, Any]) -> None:
        """Takes the compiled `programs` and draws the boards."""
        self._compiled = compiled
        self._boards = jax.device_get(compiled["boards"]())

    def _chunks(self, split: str, number: int) -> list[World]:
        whole, size = self._boards[split], self.chunk
        return [jax.tree.map(operator.itemgetter(slice(at, at + size)), whole) for at in range(0, number, size)]

    def students(
        self, params: Any, seed: int, split: str, number: int, index: int = 0, greedy: bool = False
    ) -> Episodes:
        """Every student on the first `number` boards of a split.

        Args:
            params: leading axis seeds.
            seed: the run's.
            split: "validation" or "test".
            number: of boards.
            index: of this evaluation among those of the run; each draws other actions.
            greedy: take the most probable action.

        Returns:
            numpy arrays, leading axes (seeds, number).
        """
        parts = [
            self._compiled["student"](
                params,
                np.int32(seed),
                np.int32(KEYS.index(split)),
                np.asarray([index, i], np.int32),
                boards,
                np.bool_(greedy),
            )
            for i, boards in enumerate(self._chunks(split, number))
        ]
        return _join(jax.device_get(parts), number)

    def others(self, seed: int, split: str, number: int) -> tuple[Episodes, Episodes | None]:
        """Chance and, where there is one, the teacher, likewise; leading axis `number`."""
        parts = [
            self._compiled["others"](self.table, np.int32(seed), np.int32(KEYS.index(split)), np.int32(i), boards)
            for i, boards in enumerate(self._chunks(split, number))
        ]
        parts = jax.device_get(parts)
        teacher = None if parts[0][1] is None else _join([part[1] for part in parts], number)
        return _join([part[0] for part in parts], number), teacher

    def traces(self, params: Any, seed: int, split: str, board: int) -> tuple[Trace, Trace | None]:
        """The first seed's student and the teacher, each playing one and the same board of a split."""
        chunk = self._chunks(split, board + 1)[-1]
        shown = self._compiled["picture"](params, self.table, np.int32(seed), chunk, np.int32(board % self.chunk))
        student, teacher = jax.device_get(shown)
        return Trace(*student), None if teacher is None else Trace(*teacher)


def _join(parts: list[Episodes], number: int) -> Episodes:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=-1)[..., :number], *parts)


def _trace(trainer: Trainer, policy: evaluation.Policy, carry: Any, key: jax.Array, board: World) -> tuple[Any, ...]:
    """One episode on one board, with `max_steps` rows; those after the end mean nothing."""
    env = trainer.env

    def step(state: tuple[World, Any], t: jax.Array) -> tuple[tuple[World, Any], tuple[Any, ...]]:
        world, carry = state
        known = jax.tree.map(lambda leaf: leaf[None], observe(world))
        carry, logits = policy(carry, known, t[None] == 0)
        action = jax.random.categorical(jax.random.fold_in(key, t), logits[0]).astype(jnp.int32)
        after, reward, terminated, truncated = env.transition(world, t, action)
        return (after, carry), (after, action, terminated | truncated, reward)

    _, (worlds, action, done, reward) = jax.lax.scan(step, (board, carry), jnp.arange(env.max_steps, dtype=jnp.int32))
    worlds = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), board, worlds)
    state = sight(trainer.task, jax.vmap(observe)(worlds)).state
    return worlds, state, action, done, reward


def averages(episodes: Episodes) -> dict[str, Any]:
    """Mean success, return and length over boards: numbers, or a list of them, one a seed."""
    named = {"success": episodes.success, "return": episodes.reward, "length": episodes.length}
    return {name: np.asarray(values, np.float64).mean(axis=-1).tolist() for name, values in named.items()}


def better(one: Episodes, other: Episodes) -> bool:
    """Whether one succeeds more often than another beyond doubt: their 95 % intervals have no point in common."""
    return intervals(one)["success"][1] > intervals(other)["success"][2]


def intervals(episodes: Episodes) -> dict[str, tuple[float, float, float]]:
    """(mean, low, high) of success, return and length, 95 %, over all boards of all seeds taken together.

    Wilson's interval for success, the normal one for the others.
    """
    success = np.asarray(episodes.success, np.float64).reshape(-1)
    found = {"success": (float(success.mean()), *wilson(float(success.sum()), success.size))}
    for name, values in (("return", episodes.reward), ("length", episodes.length)):
        flat = np.asarray(values, np.float64).reshape(-1)
        found[name] = (float(flat.mean()), *normal(flat))
    return found
