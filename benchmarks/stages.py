"""The stages of an update as programs of their own: rollout, labels, update.

Host module of `throughput.py` and `aot.py`. A stage compiles in seconds where the block takes minutes, and tells which
part of it a change helped. A block does besides what is small: it draws levels, counts successes, weighs the labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from l4t_jax import parallel
from l4t_jax.agents.algorithms.ppo import batch_of, learn
from l4t_jax.envs import draw_levels
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.teacher.policy import TeacherTable, teacher_output
from l4t_jax.training.trainer import Trainer

STAGES = ("rollout", "labels", "update")


def functions(trainer: Trainer) -> dict[str, Callable[..., Any]]:
    """The stages of one seed by their names; the update may be on a mesh.

    They are `rollout(params, key, envs, pool)`, as `Trainer.collect`; `labels(table, memory)`, of the memory maps that
    a rollout kept; `update(params, opt_state, key, rows, labels, env_id)`, with the state of the trainer's optimizer
    and both losses at full weight.
    """

    def labels(table: TeacherTable, memory: Any) -> jax.Array:
        return teacher_output(trainer.task, table, memory, trainer.kernel).distribution

    def update(params: Any, opt_state: Any, key: jax.Array, rows: Any, labels: jax.Array, env_id: jax.Array) -> Any:
        axis = None if trainer.mesh is None else parallel.AXIS
        batch = batch_of(trainer.setup, rows, labels, env_id, axis)
        return learn(trainer.setup, key, params, opt_state, batch, 1.0, jnp.float32(1), axis)

    return dict(zip(STAGES, (trainer.collect, labels, update), strict=True))


def stage(trainer: Trainer, table: TeacherTable, name: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """One of `STAGES`, jitted, and its arguments' shapes."""
    config = trainer.config
    key = jax.random.key(0)
    state = jax.eval_shape(trainer.init, key)
    pool = jax.eval_shape(lambda key: draw_levels(trainer.env, key, config.level_pool, "training"), key)
    function = functions(trainer)[name]
    args = state.params, key, state.envs, pool
    if name == "rollout":
        return jax.jit(function), args
    rows = jax.eval_shape(trainer.collect, *args)[1]
    if name == "labels":
        return jax.jit(function), (table, rows.memory)
    labels = jax.ShapeDtypeStruct((config.steps, config.num_envs, NUM_ACTIONS), jnp.float32)
    opt_state = jax.eval_shape(trainer.optimizer.init, state.params)
    given = state.params, opt_state, key, rows, labels, state.envs.env_id
    by_step, by_env = PartitionSpec(None, parallel.AXIS), PartitionSpec(parallel.AXIS)
    places = jax.tree.map(lambda _: by_step, rows).replace(carry=jax.tree.map(lambda _: by_env, rows.carry))
    spread = (*[PartitionSpec()] * 3, places, by_step, by_env)
    placed = tuple(parallel.specs(trainer.mesh, one, place) for one, place in zip(given, spread, strict=True))
    return jax.jit(parallel.on_each(trainer.mesh, function, spread)), placed
