"""Trials of a teacher alone on held-out levels: one program for any table of a task.

Host module around `playing`, for `teacher.refine`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.abstraction import symbolic
from l4t_jax.envs import Task
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.levels import heldout_levels
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import State
from l4t_jax.envs.visibility import know
from l4t_jax.evaluation import playing
from l4t_jax.skills.plan_codes import NOOP_CODE
from l4t_jax.teacher import file
from l4t_jax.teacher.parser import MOST_STEPS
from l4t_jax.teacher.policy import TeacherTable, teacher_output
from l4t_jax.teacher.refine import Trial

NOISE = 0.3  # share of random actions of the noisy episodes
LEAST_PLANS = 16  # plans a state that any table has room for


class Trials:
    """Plays teachers of a task on its held-out levels.

    Args:
        task: the task.
        levels: number of levels of a trial.
        seed: of the actions; every trial on the same levels uses the same random numbers.
        plans: plans a state that tables have room for; the least probable of others are left out.
    """

    def __init__(self, task: Task, levels: int, seed: int = 0, plans: int = LEAST_PLANS) -> None:
        self.task, self.levels = task, levels
        self._plans = max(plans, LEAST_PLANS)
        self._key = jax.random.key(seed)
        with jax.enable_x64(False):
            self._env = make_env(task)
            self._play = jax.jit(self._episodes)
        self._parts = self._levels("validation", 2)

    def _levels(self, split: str, parts: int) -> list[State]:
        """The first levels of a split, in parts of the size of a trial; each level twice, for the noisy episode."""
        with jax.enable_x64(False):
            drawn = heldout_levels(self._env, parts * self.levels, split)
        size = self.levels
        each = [jax.tree.map(lambda leaf, at=at: leaf[at : at + size], drawn) for at in range(0, parts * size, size)]
        return [jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), part) for part in each]

    def _episodes(self, table: TeacherTable, key: jax.Array, levels: State) -> tuple[jax.Array, playing.Episodes]:
        """(states `int32[T, 2 N]`, episodes) of N levels: with the teacher's own actions, then with noise."""
        task, number = self.task, levels.agent.shape[0]
        noise = jnp.where(jnp.arange(number) < number // 2, 0.0, NOISE)[:, None]

        def policy(carry: Any, env_state: State, reset: jax.Array) -> tuple[Any, jax.Array]:
            t, states = carry
            found = teacher_output(task, table, jax.vmap(know)(env_state), self._env.kernel)
            mixed = (1 - noise) * playing.or_uniform(found.distribution) + noise / NUM_ACTIONS
            return (t + 1, states.at[t].set(found.state)), jnp.log(mixed)

        start = (jnp.int32(0), jnp.full((self._env.max_steps, number), -1, jnp.int32))
        (_, states), episodes = playing.play_with_carry(self._env, policy, start, key, levels)
        return states, episodes

    def _table(self, content: dict[str, Any]) -> TeacherTable:
        """The teacher's table, of the same shape for every teacher."""
        table = file.to_table(self.task, content)
        rows = len(symbolic.enumerate_states(self.task)) + 1
        plans, probability, row = np.asarray(table.plans), np.asarray(table.probability), np.asarray(table.row)
        order = np.argsort(-probability, axis=1, kind="stable")[:, : self._plans]
        plans = np.take_along_axis(plans, order[..., None], axis=1)
        probability = np.take_along_axis(probability, order, axis=1)
        probability = probability / np.maximum(probability.sum(axis=1, keepdims=True), 1e-9)
        have, most, longest = plans.shape
        codes = np.full((rows, self._plans, MOST_STEPS), NOOP_CODE, np.int32)
        codes[: have - 1, :most, :longest] = plans[:-1, :, :MOST_STEPS]
        weights = np.zeros((rows, self._plans), np.float32)
        weights[: have - 1, :most] = probability[:-1]
        row = np.where(row == have - 1, rows - 1, row)
        return table.replace(plans=jnp.asarray(codes), probability=jnp.asarray(weights), row=jnp.asarray(row))

    def _trial(self, table: TeacherTable, number: int, levels: State) -> Trial:
        with jax.enable_x64(False):
            key = jax.random.fold_in(self._key, number)
            states, episodes = jax.device_get(self._play(table, key, levels))
        own = slice(0, self.levels)
        return Trial(
            success=episodes.success[own],
            noisy=episodes.success[self.levels :],
            length=episodes.length[own],
            states=states[:, own],
            max_steps=self._env.max_steps,
        )

    def decide(self, content: dict[str, Any]) -> Trial:
        """The teacher on the first validation levels."""
        return self._trial(self._table(content), 0, self._parts[0])

    def confirm(self, content: dict[str, Any]) -> Trial:
        """The teacher on as many further validation levels."""
        return self._trial(self._table(content), 1, self._parts[1])

    def test(self, content: dict[str, Any], parts: int) -> float:
        """The teacher's success on the first `parts` times as many test levels, which play no part in refining."""
        table = self._table(content)
        played = [self._trial(table, i, levels) for i, levels in enumerate(self._levels("test", parts))]
        return float(np.mean([trial.success.mean() for trial in played]))
