"""Evaluates students, teacher and random policy on held-out levels, with programs that are compiled once.

Host module around `playing`. Levels are played in chunks of one size. So one program serves the validation levels and
any number of test levels, sampled or greedy. `number` levels are always the first `number` of the split.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from l4t_jax import parallel
from l4t_jax.agents.rollout import step_envs
from l4t_jax.envs.levels import heldout_splits
from l4t_jax.envs.navix import GridTask
from l4t_jax.envs.state import State
from l4t_jax.envs.visibility import know
from l4t_jax.evaluation import playing
from l4t_jax.evaluation.playing import Episodes, Players
from l4t_jax.skills.actions import symbolic_states
from l4t_jax.teacher.policy import TeacherTable

# The purposes of a run's random keys. The key of a purpose is split from the run's seed by its index here.
KEYS = ("training", "validation", "test", "picture")


def run_key(seed: jax.Array | int, purpose: str) -> jax.Array:
    """The random key of a run for one of `KEYS`."""
    return jax.random.split(jax.random.key(seed), len(KEYS))[KEYS.index(purpose)]


def _purpose_key(seed: jax.Array, purpose: jax.Array) -> jax.Array:
    return jax.random.split(jax.random.key(seed), len(KEYS))[purpose]


class Trace:
    """One episode, step by step, as numpy arrays.

    Attributes:
        env_state: a `State`, leading axis T + 1: the start, then the state after each step.
        state: `int[T + 1]` the symbolic state before each step, and at the end.
        action: `int[T]`.
        success: whether the episode succeeded.
    """

    def __init__(self, env_state: State, state: np.ndarray, action: np.ndarray, done: np.ndarray, success: np.ndarray):
        steps = int(np.argmax(done)) + 1 if done.any() else done.size
        self.env_state: State = jax.tree.map(lambda leaf: np.asarray(leaf)[: steps + 1], env_state)
        self.state, self.action = state[: steps + 1], action[:steps]
        self.success = bool(success[:steps].any())


class Evaluator:
    """The evaluation programs for one task, one architecture and one teacher.

    Args:
        players: the students.
        table: the teacher; None without one.
        chunk: number of levels played at a time.
        given: levels that are played for those of the test split, such as a file's; leading axis levels.
        watch: find out how far each episode came too (`Episodes.watched`).
    """

    def __init__(
        self, players: Players, table: TeacherTable | None, chunk: int, given: State | None = None, watch: bool = False
    ) -> None:  # fmt: skip
        self.players, self.table, self.chunk, self.given, self.watch = players, table, chunk, given, watch
        self._compiled: dict[str, Any] = {}
        self._levels: dict[str, State] = {}

    def programs(self, params: Any, levels: dict[str, int], pictures: bool) -> dict[str, tuple[Callable, tuple]]:
        """The programs to compile (`compilation.compile_all`) and then to pass to `use`: name -> (function, arguments).

        Args:
            params: the students' parameters or their shapes, leading axis seeds.
            levels: split -> the largest number of levels that will be needed.
            pictures: whether `traces` will be called.
        """
        env, mesh = self.players.env, self.players.mesh
        padded = {split: -(-number // self.chunk) * self.chunk for split, number in levels.items()}
        if self.given is not None:
            padded.pop("test", None)

        def draw() -> dict[str, State]:
            return heldout_splits(env, padded) if padded else {}

        def on_each(function: Callable) -> Callable:
            return jax.jit(parallel.on_each(mesh, function))

        def chunk(x: Any) -> Any:
            return jax.ShapeDtypeStruct((self.chunk, *x.shape[1:]), x.dtype)

        some = jax.tree.map(chunk, next(iter(jax.eval_shape(draw).values()), self.given))
        number, greedy = jnp.int32(0), jnp.bool_(False)
        everywhere = PartitionSpec()
        params, table = parallel.specs(mesh, params, everywhere), parallel.specs(mesh, self.table, everywhere)
        made: dict[str, tuple[Callable, tuple]] = {
            "levels": (jax.jit(draw), ()),
            "student": (on_each(self._play_students), (params, number, number, jnp.zeros(2, jnp.int32), some, greedy)),
            "others": (on_each(self._play_others), (table, number, number, number, some)),
        }
        if pictures:
            made["picture"] = (on_each(self._picture), (params, table, number, some, number))
        return made

    # The programs. Each runs on every device of the mesh, on its own shard of the levels.

    @property
    def _axis(self) -> str | None:
        return None if self.players.mesh is None else parallel.AXIS

    def _play_students(self, params: Any, seed: Any, purpose: Any, at: Any, levels: State, greedy: Any) -> Episodes:
        key = jax.random.fold_in(jax.random.fold_in(_purpose_key(seed, purpose), at[0]), at[1])
        keys = jax.random.split(key, self.players.seeds)
        own, level_id = parallel.shard((levels, jnp.arange(self.chunk)), self._axis)

        def play(params: Any, key: jax.Array) -> Episodes:
            return playing.play_student(self.players, params, key, own, greedy, level_id, self.watch)

        return parallel.all_gather(jax.vmap(play)(params, keys), self.chunk, self._axis, rows=-1)

    def _play_others(
        self, table: TeacherTable | None, seed: Any, purpose: Any, index: Any, levels: State
    ) -> tuple[Episodes, Episodes | None]:
        env, key = self.players.env, jax.random.fold_in(_purpose_key(seed, purpose), index)
        own, level_id = parallel.shard((levels, jnp.arange(self.chunk)), self._axis)

        def played(policy: playing.Policy) -> Episodes:
            found = playing.play(
                env, policy, (), key, own, level_id=level_id, policy_of=lambda _: policy, watch=self.watch
            )
            return parallel.all_gather(found, self.chunk, self._axis, rows=-1)

        if table is None:
            return played(playing.random_policy), None

        def one(taught: jax.Array) -> Episodes:
            return played(playing.teacher_or_random(env.task, table, taught, env.kernel))

        both = jax.lax.map(one, jnp.asarray([False, True]))
        return jax.tree.map(operator.itemgetter(0), both), jax.tree.map(operator.itemgetter(1), both)

    def _picture(
        self, params: Any, table: TeacherTable | None, seed: Any, levels: State, index: Any
    ) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
        env, key = self.players.env, run_key(seed, "picture")
        level = jax.tree.map(lambda leaf: leaf[index], levels)
        one = jax.tree.map(lambda leaf: leaf[0], params)
        carry, policy = self.players.policy(one, key, jnp.zeros(1, jnp.int32), False)
        shown = _trace(env, policy, carry, key, level)
        if table is None:
            return shown, None
        return shown, _trace(env, playing.teacher_policy(env.task, table, env.kernel), (), key, level)

    # Their results on the host

    def use(self, compiled: dict[str, Any]) -> None:
        """Stores the compiled `programs` and draws the levels."""
        self._compiled = compiled
        self._levels = jax.device_get(compiled["levels"]())
        if self.given is not None:
            number = self.given.agent.shape[0]
            whole = np.arange(-(-number // self.chunk) * self.chunk) % number
            self._levels["test"] = jax.tree.map(lambda leaf: leaf[whole], self.given)

    def _chunks(self, split: str, number: int) -> list[State]:
        whole, size = self._levels[split], self.chunk
        return [jax.tree.map(operator.itemgetter(slice(at, at + size)), whole) for at in range(0, number, size)]

    def students(
        self, params: Any, seed: int, split: str, number: int, index: int = 0, greedy: bool = False
    ) -> Episodes:
        """Plays every student on the first `number` levels of a split.

        Args:
            params: leading axis seeds.
            seed: the run's.
            split: "validation" or "test".
            number: of levels.
            index: of this evaluation in the run; each index samples different actions.
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
        return join(jax.device_get(parts), number)

    def others(
        self, seed: int, split: str, number: int, table: TeacherTable | None = None
    ) -> tuple[Episodes, Episodes | None]:
        """Plays the random policy and the teacher (None without one) in the same way; leading axis `number`.

        Args:
            seed, split, number: as for `students`.
            table: of the teacher, if it is not the evaluator's own; of the same shapes.
        """
        table = self.table if table is None else table
        parts = [
            self._compiled["others"](table, np.int32(seed), np.int32(KEYS.index(split)), np.int32(i), levels)
            for i, levels in enumerate(self._chunks(split, number))
        ]
        parts = jax.device_get(parts)
        teacher = None if parts[0][1] is None else join([part[1] for part in parts], number)
        return join([part[0] for part in parts], number), teacher

    def traces(self, params: Any, seed: int, split: str, level: int) -> tuple[Trace, Trace | None]:
        """One episode each of the first seed's student and of the teacher, on the same level of a split."""
        chunk = self._chunks(split, level + 1)[-1]
        shown = self._compiled["picture"](params, self.table, np.int32(seed), chunk, np.int32(level % self.chunk))
        student, teacher = jax.device_get(shown)
        return Trace(*student), None if teacher is None else Trace(*teacher)


def join(parts: list[Episodes], number: int) -> Episodes:
    """The first `number` episodes of several lots, one after the other."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=-1)[..., :number], *parts)


def _trace(env: GridTask, policy: playing.Policy, carry: Any, key: jax.Array, level: State) -> tuple[Any, ...]:
    """One episode on one level, with `max_steps` rows; the rows after its end are meaningless."""

    def step(state: tuple[State, Any], t: jax.Array) -> tuple[tuple[State, Any], tuple[Any, ...]]:
        env_state, carry = state
        one = jax.tree.map(lambda leaf: leaf[None], env_state)
        carry, logits = policy(carry, one, t[None] == 0)
        action = jax.random.categorical(jax.random.fold_in(key, t), logits[0]).astype(jnp.int32)
        step_key = jax.random.fold_in(key, t)
        after, outcome = step_envs(env, step_key, jnp.zeros(1, jnp.int32), one, t[None], action[None])
        after, outcome = jax.tree.map(lambda leaf: leaf[0], (after, outcome))
        return (after, carry), (after, action, outcome.terminated | outcome.truncated, outcome.success)

    _, (env_states, action, done, success) = jax.lax.scan(
        step, (level, carry), jnp.arange(env.max_steps, dtype=jnp.int32)
    )
    env_states = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), level, env_states)
    state = symbolic_states(env.task, jax.vmap(know)(env_states), env.kernel)
    return env_states, state, action, done, success
