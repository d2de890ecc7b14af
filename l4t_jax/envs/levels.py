"""Levels: environments at the start of an episode, split into training, validation and test by a hash of the layout.

Device module. A level's split is a function of its layout (grid and agent's place and direction) alone, so it is the
same for every seed, student and teacher: students train on levels of the training split, curves and the choice of a
best checkpoint look at validation, tables and summaries at test.
"""

from __future__ import annotations

from operator import itemgetter

import jax
import jax.numpy as jnp

from l4t_jax import parallel
from l4t_jax.envs.navix import GridTask
from l4t_jax.envs.pools import LevelPool
from l4t_jax.envs.state import State
from l4t_jax.envs.task import Task

HELDOUT_KEY = 20231113  # seed of the levels of validation and test
BUCKETS = 16
PART = 64  # levels drawn side by side: 84 us a level of MultiRoom-N6 for all 4,160 at once, 48 for 64
SPLITS = {"training": (0, 12), "validation": (12, 14), "test": (14, 16)}  # buckets of the hash, from - to


def level_hash(level: State) -> jax.Array:
    """A hash of a level, `uint32[...]`: polynomial over all that was drawn, then a strong final mix (murmur3's).

    Args:
        level: at the start of an episode; leading axes are batch axes.
    """
    batch = level.cells.shape[:-2]
    drawn = [level.cells, level.agent]
    drawn += [extra for extra in (level.mission, level.targets, level.contents) if extra is not None]
    if level.contents is not None:
        drawn.append(level.carrying)
    values = jnp.concatenate([part.astype(jnp.uint32).reshape(*batch, -1) for part in drawn], axis=-1) + jnp.uint32(1)
    power = jnp.cumprod(jnp.full((values.shape[-1],), 2654435761, jnp.uint32))  # odd: no two places weigh the same
    h = jnp.sum(values * power, axis=-1, dtype=jnp.uint32)
    h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


def in_split(level: State, split: str, task: Task | None = None) -> jax.Array:
    """Whether a level belongs to `split` ("training", "validation" or "test"), `bool[...]`.

    Args:
        level: at the start of an episode; leading axes are batch axes.
        split: which.
        task: whose level it is; every level of a task whose splits share them belongs to each.
    """
    first, last = SPLITS[split]
    bucket = (level_hash(level) % BUCKETS).astype(jnp.int32)
    mine = (bucket >= first) & (bucket < last)
    return jnp.ones_like(mine) if task is not None and shares_levels(task) else mine


def shares_levels(task: Task) -> bool:
    """Whether a task has so few levels that training, validation and test share them."""
    return task.distinct_levels is not None


def draw_levels(env: GridTask, key: jax.Array, number: int, split: str, axis: str | None = None) -> State:
    """`number` levels of a split, drawn as the task draws them; `State` with a leading axis.

    Candidates are drawn a half more than the split needs on average, and those of other splits left out. Should too
    few remain (a task with a handful of layouts), those that remain are repeated in turn. A task with fewer than 1,000
    levels (`Task.distinct_levels`) has the same in all splits. Of a `pools.LevelPool` none is drawn twice. Within a
    program on many devices (`axis` of their mesh) each draws its share, and all get them all.
    """
    first, last = SPLITS[split]
    candidates = int(number * BUCKETS / (last - first) * 1.5) + 64
    pool = env.task.layout if isinstance(env.task.layout, LevelPool) else None
    if pool is None:
        keys = parallel.shard(jax.random.split(key, candidates), axis)
        # In parts, as a loop that draws anew until a level fits runs as long as the slowest of its batch.
        levels = env.kernel.in_parts(jax.vmap(env.initial), PART, keys)
    else:
        indices = pool.some(key, candidates)
        candidates = len(indices)

        def begin(index: jax.Array) -> State:
            return env.begin(pool.at(index))

        levels = jax.vmap(begin)(parallel.shard(indices, axis))
    levels = parallel.all_gather(levels, candidates, axis)
    mine = in_split(levels, split, env.task)
    order = jnp.argsort(~mine, stable=True)  # mine first
    count = jnp.maximum(jnp.sum(mine), 1)
    chosen = order[jnp.arange(number) % count]
    return jax.tree.map(itemgetter(chosen), levels)


def heldout_levels(env: GridTask, number: int, split: str) -> State:
    """The first `number` levels of "validation" or "test", the same for every run and seed; leading axis `number`."""
    key = jax.random.fold_in(jax.random.key(HELDOUT_KEY), ["validation", "test"].index(split))
    return draw_levels(env, key, number, split)
