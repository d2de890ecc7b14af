"""Measuring students, teacher and chance on held-out levels, in programs compiled once.

Host module around `evaluation`. Levels are played in chunks of one size, so that the validation levels and any number
of test levels, sampled or greedy, are one program. A number of levels means the first so many of the split, the same
for everyone.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax import parallel
from l4t_jax.abstraction.symbolic import observe_symbolic
from l4t_jax.envs.state import State
from l4t_jax.envs.task import observe
from l4t_jax.evaluation import playing
from l4t_jax.evaluation.playing import Episodes
from l4t_jax.reporting.run_folder import normal, wilson
from l4t_jax.teacher.policy import TeacherTable
from l4t_jax.training.trainer import Trainer

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
        environment: a `State`, leading axis T + 1: the start, then the environment after each step.
        state: `int[T + 1]` the symbolic state before each step, and at the end.
        action: `int[T]`.
        success: whether it ended well.
    """

    def __init__(self, env_state: State, state: np.ndarray, action: np.ndarray, done: np.ndarray, reward: np.ndarray):
        steps = int(np.argmax(done)) + 1 if done.any() else done.size
        self.env_state: State = jax.tree.map(lambda leaf: np.asarray(leaf)[: steps + 1], env_state)
        self.state, self.action = state[: steps + 1], action[:steps]
        self.success = bool(reward[:steps].sum() > 0)


class Measure:
    """The programs that measure, for one task, one architecture and one teacher.

    Args:
        trainer: the run's.
        table: the teacher; None without one.
        seeds: students side by side.
        chunk: levels played at a time.
    """

    def __init__(self, trainer: Trainer, table: TeacherTable | None, seeds: int, chunk: int) -> None:
        self.trainer, self.table, self.seeds, self.chunk = trainer, table, seeds, chunk
        self._compiled: dict[str, Any] = {}
        self._levels: dict[str, State] = {}

    def programs(self, params: Any, levels: dict[str, int], pictures: bool) -> dict[str, tuple[Callable, tuple]]:
        """What to compile (`programs.compile_all`) and then to give to `use`.

        Args:
            params: the students' parameters or their shapes, leading axis seeds.
            levels: split -> how many levels will be asked for.
            pictures: whether `traces` will be called.
        """
        trainer, table, env, mesh = self.trainer, self.table, self.trainer.env, self.trainer.mesh
        axis = None if mesh is None else parallel.AXIS
        padded = {split: -(-number // self.chunk) * self.chunk for split, number in levels.items()}

        def draw() -> dict[str, State]:
            return {split: trainer.levels(number, split) for split, number in padded.items()}

        def student(params: Any, seed: Any, purpose: Any, at: Any, levels: State, greedy: Any) -> Episodes:
            key = jax.random.fold_in(jax.random.fold_in(_purpose_key(seed, purpose), at[0]), at[1])
            keys = jax.random.split(key, self.seeds)
            own, index = parallel.shard((levels, jnp.arange(self.chunk)), axis)
            found = jax.vmap(lambda p, k: trainer.evaluate(p, k, own, greedy, index))(params, keys)
            return parallel.all_gather(found, self.chunk, axis, rows=-1)

        def others(table: TeacherTable | None, seed: Any, purpose: Any, index: Any, levels: State) -> tuple[Any, ...]:
            key = jax.random.fold_in(_purpose_key(seed, purpose), index)
            own, number = parallel.shard((levels, jnp.arange(self.chunk)), axis)

            def play(policy: playing.Policy) -> Episodes:
                return parallel.all_gather(
                    playing.play(env, policy, (), key, own, index=number), self.chunk, axis, rows=-1
                )

            chance = play(playing.random_policy)
            return chance, None if table is None else play(playing.teacher_policy(trainer.task, table))

        def picture(params: Any, table: TeacherTable | None, seed: Any, levels: State, index: Any) -> tuple[Any, ...]:
            level = jax.tree.map(lambda leaf: leaf[index], levels)
            one = jax.tree.map(lambda leaf: leaf[0], params)
            key = run_key(seed, "picture")
            carry, policy = trainer.policy(one, key, jnp.zeros(1, jnp.int32))
            shown = _trace(trainer, policy, carry, key, level)
            if table is None:
                return shown, None
            return shown, _trace(trainer, playing.teacher_policy(trainer.task, table), (), key, level)

        def on_each(function: Callable) -> Callable:
            return jax.jit(parallel.on_each(mesh, function))

        env_state = jax.eval_shape(draw)
        chunked = {
            split: jax.tree.map(lambda x: jax.ShapeDtypeStruct((self.chunk, *x.shape[1:]), x.dtype), levels)
            for split, levels in env_state.items()
        }
        some = next(iter(chunked.values()))
        number = jnp.int32(0)
        greedy = jnp.bool_(False)
        params, table = trainer.specs(params), trainer.specs(table)
        made: dict[str, tuple[Callable, tuple]] = {
            "levels": (jax.jit(draw), ()),
            "student": (on_each(student), (params, number, number, jnp.zeros(2, jnp.int32), some, greedy)),
            "others": (on_each(others), (table, number, number, number, some)),
        }
        if pictures:
            made["picture"] = (on_each(picture), (params, table, number, some, number))
        return made

    def use(self, compiled: dict[str, Any]) -> None:
        """Takes the compiled `programs` and draws the levels."""
        self._compiled = compiled
        self._levels = jax.device_get(compiled["levels"]())

    def _chunks(self, split: str, number: int) -> list[State]:
        whole, size = self._levels[split], self.chunk
        return [jax.tree.map(operator.itemgetter(slice(at, at + size)), whole) for at in range(0, number, size)]

    def students(
        self, params: Any, seed: int, split: str, number: int, index: int = 0, greedy: bool = False
    ) -> Episodes:
        """Every student on the first `number` levels of a split.

        Args:
            params: leading axis seeds.
            seed: the run's.
            split: "validation" or "test".
            number: of levels.
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
                levels,
                np.bool_(greedy),
            )
            for i, levels in enumerate(self._chunks(split, number))
        ]
        return _join(jax.device_get(parts), number)

    def others(self, seed: int, split: str, number: int) -> tuple[Episodes, Episodes | None]:
        """Chance and, where there is one, the teacher, likewise; leading axis `number`."""
        parts = [
            self._compiled["others"](self.table, np.int32(seed), np.int32(KEYS.index(split)), np.int32(i), levels)
            for i, levels in enumerate(self._chunks(split, number))
        ]
        parts = jax.device_get(parts)
        teacher = None if parts[0][1] is None else _join([part[1] for part in parts], number)
        return _join([part[0] for part in parts], number), teacher

    def traces(self, params: Any, seed: int, split: str, level: int) -> tuple[Trace, Trace | None]:
        """The first seed's student and the teacher, each playing one and the same level of a split."""
        chunk = self._chunks(split, level + 1)[-1]
        shown = self._compiled["picture"](params, self.table, np.int32(seed), chunk, np.int32(level % self.chunk))
        student, teacher = jax.device_get(shown)
        return Trace(*student), None if teacher is None else Trace(*teacher)


def _join(parts: list[Episodes], number: int) -> Episodes:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=-1)[..., :number], *parts)


def _trace(trainer: Trainer, policy: playing.Policy, carry: Any, key: jax.Array, level: State) -> tuple[Any, ...]:
    """One episode on one level, with `max_steps` rows; those after the end mean nothing."""
    env = trainer.env

    def step(state: tuple[State, Any], t: jax.Array) -> tuple[tuple[State, Any], tuple[Any, ...]]:
        env_state, carry = state
        memory = jax.tree.map(lambda leaf: leaf[None], observe(env_state))
        carry, logits = policy(carry, memory, t[None] == 0)
        action = jax.random.categorical(jax.random.fold_in(key, t), logits[0]).astype(jnp.int32)
        after, reward, terminated, truncated = env.transition(env_state, t, action)
        return (after, carry), (after, action, terminated | truncated, reward)

    _, (env_states, action, done, reward) = jax.lax.scan(
        step, (level, carry), jnp.arange(env.max_steps, dtype=jnp.int32)
    )
    env_states = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), level, env_states)
    state = observe_symbolic(trainer.task, jax.vmap(observe)(env_states)).state
    return env_states, state, action, done, reward


def averages(episodes: Episodes) -> dict[str, Any]:
    """Mean success, return and length over levels: numbers, or a list of them, one a seed."""
    named = {"success": episodes.success, "return": episodes.reward, "length": episodes.length}
    return {name: np.asarray(values, np.float64).mean(axis=-1).tolist() for name, values in named.items()}


def better(one: Episodes, other: Episodes) -> bool:
    """Whether one succeeds more often than another beyond doubt: their 95 % intervals have no point in common."""
    return intervals(one)["success"][1] > intervals(other)["success"][2]


def intervals(episodes: Episodes) -> dict[str, tuple[float, float, float]]:
    """(mean, low, high) of success, return and length, 95 %, over all levels of all seeds taken together.

    Wilson's interval for success, the normal one for the others.
    """
    success = np.asarray(episodes.success, np.float64).reshape(-1)
    found = {"success": (float(success.mean()), *wilson(float(success.sum()), success.size))}
    for name, values in (("return", episodes.reward), ("length", episodes.length)):
        flat = np.asarray(values, np.float64).reshape(-1)
        found[name] = (float(flat.mean()), *normal(flat))
    return found
