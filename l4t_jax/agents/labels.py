"""The teacher's labels of a rollout.

Device module. Labels are a function of the memory maps of the rollout, so they are made afterwards, all at once, and
not at all in updates that give the teacher no weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from l4t_jax import parallel
from l4t_jax.agents import losses
from l4t_jax.agents.trees import zeros_of
from l4t_jax.agents.trust import OTHERS, Advice
from l4t_jax.envs.state import MemoryMap
from l4t_jax.envs.task import Task
from l4t_jax.kernels import Kernels
from l4t_jax.teacher.policy import Advised, TeacherTable, advise, mixture, teacher_output

PART = 16  # rows of every environment whose labels are found at a time, where it is not known how many there are


def teacher_labels(
    task: Task,
    table: TeacherTable,
    memory: MemoryMap,
    weight: jax.Array,
    hard_key: jax.Array | None,
    env_id: jax.Array,
    kernel: Kernels,
    mesh_axis: str | None = None,
    seed_axis: str | None = None,
    valid: jax.Array | None = None,
    advice: Advice | None = None,
) -> tuple[jax.Array, Advised | None, dict[str, jax.Array]]:
    """Labels for every step of a rollout, and what there is to report.

    Args:
        task: that the teacher knows.
        table: the teacher.
        memory: memory maps, leading axes (T, N).
        weight: `float32[]` of the labels in the loss; where it is 0 (for every seed) the teacher is not asked.
        hard_key: random key to draw one action a step from the teacher's distribution; None for the distribution.
        env_id: `int32[N]` the environments' own numbers.
        kernel: how they are computed.
        mesh_axis, seed_axis: names of the axes this runs under (`algorithms.Axes`).
        valid: `bool[T, N]` which rows are steps; the others have no label, and nobody is asked for them. None: all.
            Not together with `advice`.
        advice: what following each step has been worth so far, by which the labels are weighted; None: all alike.

    Returns:
        Labels `float32[T, N, 7]`, rows of zeros where the teacher knows nothing or was not asked; with `advice`, what
        the labels were made of (zeros where the teacher was not asked), else None; and metrics: `unguided` `float32[]`,
        the share of steps without a label, and, for a table that grows, `met` `bool[S]`.
    """
    # The same for all seeds: under `vmap` a condition that differs between them would run both branches.
    most = weight if seed_axis is None else cast(jax.Array, jax.lax.pmax(weight, seed_axis))

    def soft(memory: MemoryMap) -> tuple[jax.Array, jax.Array, Advised | None]:
        if advice is None:
            said = teacher_output(task, table, memory, kernel)
            return said.distribution, said.state, None
        advised = advise(task, table, memory, kernel, others=OTHERS)
        return mixture(advised.action, advice.weights(advised)), advised.state, advised

    def ask() -> tuple[jax.Array, Advised | None, jax.Array | None]:
        if valid is None:
            labels, state, advised = soft(memory)
        else:
            labels, state, advised = in_used_parts(soft, PART, memory, jnp.any(valid, axis=1))
            labels = jnp.where(valid[..., None], labels, 0.0)
        met = None
        if table.grows:
            met = jnp.zeros(table.row.shape[0], bool).at[state].max(True if valid is None else valid)
        return labels if hard_key is None else one_action(hard_key, labels, env_id), advised, met

    labels, advised, met = cast(
        tuple[jax.Array, Advised | None, jax.Array | None], jax.lax.cond(most > 0, ask, lambda: zeros_of(ask))
    )
    without = jnp.sum(labels, axis=-1) < 0.5
    share = jnp.mean(without) if valid is None else losses.mean(without, valid)
    unguided = parallel.mean(share, mesh_axis)
    metrics = {"unguided": jnp.where(weight > 0, unguided, 0.0)}
    if met is not None:
        metrics["met"] = parallel.sum_of(met, mesh_axis) > 0
    return labels, advised, metrics


def in_used_parts(function: Callable[[Any], Any], size: int, tree: Any, used: jax.Array) -> Any:
    """A function of rows, found for `size` rows at a time, up to the last row that is used; zeros after that part.

    Args:
        function: takes rows and gives as many.
        size: rows of a part.
        tree: arrays, leading axis T.
        used: `bool[T]`.
    """
    number = used.shape[0]
    size = min(size, number)
    rows = jnp.max(jnp.where(used, jnp.arange(number) + 1, 0))

    def part(index: jax.Array, made: Any) -> Any:
        first = jnp.minimum(index * size, number - size)  # the last part overlaps the one before it

        def cut(leaf: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice_in_dim(leaf, first, size)

        def put(whole: jax.Array, some: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice_in_dim(whole, some, first, 0)

        return jax.tree.map(put, made, function(jax.tree.map(cut, tree)))

    return cast(Any, jax.lax.fori_loop(0, -(-rows // size), part, zeros_of(function, tree)))


def one_action(key: jax.Array, distribution: jax.Array, env_id: jax.Array) -> jax.Array:
    """One action drawn from each row of `float32[T, N, 7]`, as a one-hot row; rows of zeros stay zero.

    Args:
        key: random key.
        distribution: over actions.
        env_id: `int32[N]` the environments' own numbers.
    """
    keys = parallel.per_env_keys(key, env_id)
    action = jax.vmap(jax.random.categorical, in_axes=(0, 1), out_axes=1)(keys, jnp.log(distribution))
    return jax.nn.one_hot(action, distribution.shape[-1]) * jnp.sum(distribution, axis=-1, keepdims=True)
