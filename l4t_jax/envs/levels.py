"""Levels: environments at the start of an episode, split into training, validation and test by a hash of the layout.

Device module. A level's split is a function of its layout (grid and agent's place and direction) alone, so it is the
same for every seed, student and teacher: students train on levels of the training split, curves and the choice of a
best checkpoint look at validation, tables and summaries at test.
"""

from __future__ import annotations

from operator import itemgetter
from typing import cast

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
NAMES = tuple(SPLITS)


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


def in_split(level: State, split: str | jax.Array, task: Task | None = None) -> jax.Array:
    """Whether a level belongs to `split` ("training", "validation" or "test"), `bool[...]`.

    Args:
        level: at the start of an episode; leading axes are batch axes.
        split: which; or its number in `NAMES`, `int32[]`.
        task: whose level it is; every level of a task whose splits share them belongs to each.
    """
    first, last = SPLITS[split] if isinstance(split, str) else jnp.asarray(list(SPLITS.values()))[split]
    bucket = (level_hash(level) % BUCKETS).astype(jnp.int32)
    mine = (bucket >= first) & (bucket < last)
    return jnp.ones_like(mine) if task is not None and shares_levels(task) else mine


def shares_levels(task: Task) -> bool:
    """Whether a task has so few levels that training, validation and test share them."""
    return task.distinct_levels is not None


def draw_levels(env: GridTask, key: jax.Array, number: int, split: str, axis: str | None = None) -> State:
    """`number` levels of a split, drawn as the task draws them; `State` with a leading axis.

    Candidates are drawn in rounds until enough of them belong to the split, at most a half more than it needs on
    average. If these are too few (a task with a handful of layouts), the levels found are repeated in turn. A task with
    fewer than 1,000 levels (`Task.distinct_levels`) has the same in all splits. Of a `pools.LevelPool` none is drawn
    twice. The first levels are the same however many are drawn. Within a program on many devices (`axis` of their mesh)
    each draws its share, and all get them all.
    """
    return _draw(env, key, number, split, number, axis)


def heldout_levels(env: GridTask, number: int, split: str) -> State:
    """The first `number` levels of "validation" or "test", the same for every run and seed; leading axis `number`."""
    return heldout_splits(env, {split: number})[split]


def heldout_splits(env: GridTask, numbers: dict[str, int]) -> dict[str, State]:
    """`heldout_levels` of each split, so many. All are drawn by the same code, which is compiled once."""
    most = max(numbers.values())

    def draw(which: tuple[jax.Array, jax.Array]) -> State:
        split, number = which
        key = jax.random.fold_in(jax.random.key(HELDOUT_KEY), split - NAMES.index("validation"))
        return _draw(env, key, most, split, number)

    which = jnp.asarray([(NAMES.index(split), number) for split, number in numbers.items()], jnp.int32)
    drawn = cast(State, jax.lax.map(draw, (which[:, 0], which[:, 1])))

    def first(i: int, number: int) -> State:
        return jax.tree.map(itemgetter((i, slice(number))), drawn)

    return {split: first(i, number) for i, (split, number) in enumerate(numbers.items())}


def _draw(
    env: GridTask, key: jax.Array, most: int, split: str | jax.Array, number: jax.Array | int, axis: str | None = None
) -> State:
    """`draw_levels` with room for `most` levels, of which the first `number` are drawn; `split` as in `in_split`."""
    first, last = SPLITS[split if isinstance(split, str) else "validation"]  # the splits held out are alike
    candidates = 3 * BUCKETS * number // (2 * (last - first)) + 64
    pool = env.task.layout if isinstance(env.task.layout, LevelPool) else None
    if pool is None:
        at_once, rounds = BUCKETS * most // (4 * (last - first)) + 16, 6  # four rounds are enough on average
        sources = jax.random.split(key, (rounds, at_once))
    else:
        sources = pool.some(key, 3 * BUCKETS * most // (2 * (last - first)) + 64)[None]
        rounds, at_once = sources.shape

    def begin(source: jax.Array) -> State:
        return env.initial(source) if pool is None else env.begin(pool.at(source))

    def drawn_from(sources: jax.Array) -> State:
        # In parts, as a loop that draws anew until a level fits runs as long as the slowest of its batch.
        return parallel.all_gather(
            env.kernel.in_parts(jax.vmap(begin), PART, parallel.shard(sources, axis)), at_once, axis
        )

    def another_round(state: tuple[jax.Array, jax.Array, State]) -> tuple[jax.Array, jax.Array, State]:
        done, count, levels = state
        drawn = drawn_from(sources[done])
        mine = in_split(drawn, split, env.task) & (done * at_once + jnp.arange(at_once) < candidates)
        order = jnp.argsort(~mine, stable=True)  # mine first; what follows them is written over

        def put(whole: jax.Array, part: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice_in_dim(whole, part[order], count, 0)

        return done + 1, count + jnp.sum(mine, dtype=jnp.int32), jax.tree.map(put, levels, drawn)

    def too_few(state: tuple[jax.Array, jax.Array, State]) -> jax.Array:
        return (state[0] < rounds) & (state[1] < number)

    def room(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.zeros((most + at_once, *leaf.shape[1:]), leaf.dtype)

    start = jnp.int32(0), jnp.int32(0), jax.tree.map(room, jax.eval_shape(drawn_from, sources[0]))
    _, count, levels = jax.lax.while_loop(too_few, another_round, start)
    return jax.tree.map(itemgetter(jnp.arange(most) % jnp.maximum(count, 1)), levels)
