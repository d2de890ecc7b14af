"""Levels: environments at the start of an episode, split into training, validation and test by a hash of the layout.

Device module. A level's split is a function of its layout (grid and agent's place and direction) alone, so it is the
same for every seed, student and teacher: students train on levels of the training split, curves and the choice of a
best checkpoint look at validation, tables and summaries at test.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax import parallel
from l4t_jax.envs.state import State
from l4t_jax.envs.task import GridTask

HELDOUT_KEY = 20231113  # seed of the levels of validation and test
BUCKETS = 16
SPLITS = {"training": (0, 12), "validation": (12, 14), "test": (14, 16)}  # buckets of the hash, from - to


def level_hash(env_state: State) -> jax.Array:
    """A hash of the layout, `uint32[...]`: polynomial over cells and agent, then a strong final mix (murmur3's).

    Args:
        environment: at the start of an episode; leading axes are batch axes.
    """
    cells = env_state.cells.reshape(*env_state.cells.shape[:-2], -1)
    values = jnp.concatenate([cells.astype(jnp.uint32), env_state.agent.astype(jnp.uint32)], axis=-1) + jnp.uint32(1)
    power = jnp.cumprod(jnp.full((values.shape[-1],), 2654435761, jnp.uint32))  # odd: no two places weigh the same
    h = jnp.sum(values * power, axis=-1, dtype=jnp.uint32)
    h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


def in_split(env_state: State, split: str) -> jax.Array:
    """Whether a level belongs to `split` ("training", "validation" or "test"), `bool[...]`."""
    first, last = SPLITS[split]
    bucket = (level_hash(env_state) % BUCKETS).astype(jnp.int32)
    return (bucket >= first) & (bucket < last)


def draw_levels(env: GridTask, key: jax.Array, number: int, split: str, axis: str | None = None) -> State:
    """`number` levels of a split, drawn as the task draws them; `State` with a leading axis.

    Candidates are drawn a half more than the split needs on average, and those of other splits left out. Should too
    few remain (a task with a handful of layouts), those that remain are repeated in turn. Within a program on many
    devices (`axis` of their mesh) each draws its share, and all get them all.
    """
    first, last = SPLITS[split]
    candidates = int(number * BUCKETS / (last - first) * 1.5) + 64
    keys = parallel.shard(jax.random.split(key, candidates), axis)
    env_states = parallel.all_gather(jax.vmap(env.initial)(keys), candidates, axis)
    mine = in_split(env_states, split)
    order = jnp.argsort(~mine, stable=True)  # mine first
    count = jnp.maximum(jnp.sum(mine), 1)
    chosen = order[jnp.arange(number) % count]
    return jax.tree.map(lambda leaf: leaf[chosen], env_states)


def heldout_levels(env: GridTask, number: int, split: str) -> State:
    """The first `number` levels of "validation" or "test", the same for every run and seed; leading axis `number`."""
    key = jax.random.fold_in(jax.random.key(HELDOUT_KEY), ["validation", "test"].index(split))
    return draw_levels(env, key, number, split)
