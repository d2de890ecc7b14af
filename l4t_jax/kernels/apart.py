"""Searches for accelerators: each word of a map is an array of its own, so a step of a search is elementwise.

Device module. The same results as `kernels.ways` and `kernels.search`, which a CPU runs faster. There a step shifts
whole columns of an array, which a GPU does in several kernels and a TPU with padding and copies. Here several steps
are one kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import DIR_X, DIR_Y

Words = list[jax.Array]  # one array a column (a column and direction), each of the same shape
Some = Callable[[jax.Array], jax.Array]

STEPS = 4  # of a search in one turn of its loop


def columns(words: jax.Array) -> Words:
    """The columns of a set `[W, *B]`, each flat."""
    return [words[x].reshape(-1) for x in range(words.shape[0])]


def cell(x: jax.Array, y: jax.Array, width: int, height: int, word: Any) -> Words:
    """The single cell (x, y), `int32[...]` each, as columns of words; no bit where it is off the map."""
    bit = jnp.left_shift(jnp.ones((), word), jnp.clip(y, 0, height - 1).astype(word))
    bit = jnp.where((y >= 0) & (y < height), bit, jnp.zeros((), word))
    return [jnp.where(x == column, bit, jnp.zeros((), word)) for column in range(width)]


def meets(one: Words, other: Words) -> jax.Array:
    """Whether two sets have a cell in common, `bool[...]`."""
    common = (a & b for a, b in zip(one, other, strict=True))
    return functools.reduce(jnp.bitwise_or, common) != 0


def moved(words: Words, dx: int, dy: int) -> Words:
    """`bits.shift` on columns."""
    none = jnp.zeros_like(words[0])
    if dx > 0:
        words = [none, *words[:-1]]
    elif dx < 0:
        words = [*words[1:], none]
    return [one << 1 if dy > 0 else one >> 1 if dy < 0 else one for one in words]


def flooded(
    start: Words, goal: Words, grow: Callable[[Words], Words], steps: int = STEPS, some: Some = jnp.any
) -> tuple[Words, jax.Array]:
    """Grows sets until nothing changes; each stops one step before it would hold a cell of its goal.

    Args:
        start, goal: sets.
        grow: one step.
        steps: in one turn of the loop.
        some: whether any of the elements of an array is true, `bool[]`.

    Returns:
        The sets, and how many steps led to them, plus 1, `int32[...]`.
    """

    def turn(state: tuple[Words, jax.Array, jax.Array]) -> tuple[Words, jax.Array, jax.Array]:
        reached, distance, _ = state
        before = reached
        for _ in range(steps):
            before, grown = reached, grow(reached)
            joins = meets(grown, goal)
            reached = [jnp.where(joins, old, new) for old, new in zip(reached, grown, strict=True)]
            distance = jnp.where(joins, distance, distance + 1)
        changed = functools.reduce(jnp.bitwise_or, (a ^ b for a, b in zip(before, reached, strict=True)))
        return reached, distance, some(changed != 0)

    first = (start, jnp.ones(start[0].shape, jnp.int32), jnp.bool_(True))
    with jax.named_scope(f"search_{steps}_steps_a_turn"):
        reached, distance, _ = jax.lax.while_loop(lambda state: state[2], turn, first)
    return reached, distance


def ways(
    passable: jax.Array, targets: jax.Array, agent: jax.Array, height: int, long: bool
) -> tuple[jax.Array, jax.Array]:
    """`kernels.ways.ways`: bits `[W, B]`, `[W, P, B]`, `int32[3, B]` -> `int32[P, B]`, `bool[4, P, B]`.

    With `long` all maps and targets lie along one axis.
    """
    width, number, batch = targets.shape

    def repeated(one: jax.Array) -> jax.Array:
        """`[B]`, once for each target: a long axis for a TPU (`jnp.tile` is slow there), `[1, B]` for a GPU."""
        return jnp.concatenate([one] * number) if long else one[None]

    shape = (number * batch,) if long else (number, batch)
    free = [repeated(passable[column]) for column in range(width)]
    aims = [targets[column].reshape(shape) for column in range(width)]
    steps, first = first_steps(free, aims, repeated(agent[0]), repeated(agent[1]), height, flooded)
    return steps.reshape(number, batch), jnp.stack(first).reshape(4, number, batch)


def first_steps(
    free: Words, aims: Words, x: jax.Array, y: jax.Array, height: int, flood: Callable[..., tuple[Words, jax.Array]]
) -> tuple[jax.Array, list[jax.Array]]:
    """First steps of shortest ways from (x, y) over free cells.

    Arguments broadcast: what all targets share may have an axis of length 1.

    Args:
        free, aims: sets.
        x, y: `int32[...]`.
        height: of the map.
        flood: `flooded`.

    Returns:
        Steps `int32[...]`, 0 where there is no way; and whether a shortest way starts right, down, left or up, four
        `bool[...]`.
    """
    width, word = len(aims), aims[0].dtype
    here = cell(x, y, width, height, word)
    open_cells = [one | own for one, own in zip(free, here, strict=True)]

    def grow(reached: Words) -> Words:
        beside = [moved(reached, dx, dy) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))]
        return [
            one | (functools.reduce(jnp.bitwise_or, around) & free)
            for one, free, *around in zip(reached, open_cells, *beside, strict=True)
        ]

    reached, distance = flood(aims, here, grow)
    found = meets(grow(reached), here)
    first = [meets(reached, cell(x + DIR_X[k], y + DIR_Y[k], width, height, word)) & found for k in range(4)]
    return jnp.where(found, distance, 0), first


def shortest_paths(
    passable: jax.Array, targets: jax.Array, agent: jax.Array, height: int, far: int
) -> tuple[jax.Array, ...]:
    """`kernels.search.shortest_paths` with a single batch axis; `far` is the distance where there is no path."""
    x, y, d = agent
    return first_actions(columns(passable), columns(targets), x, y, d, height, far, flooded)


def first_actions(
    free: Words, aims: Words, x: jax.Array, y: jax.Array, d: jax.Array, height: int, far: int,
    flood: Callable[..., tuple[Words, jax.Array]],
) -> tuple[jax.Array, ...]:  # fmt: skip
    """`shortest_paths`, element by element: sets, `int32[...]` x, y, direction; `flood` is `flooded`."""
    width, word = len(aims), aims[0].dtype
    open_cells = [one | own for one, own in zip(free, cell(x, y, width, height, word), strict=True)]

    def pose(x: jax.Array, y: jax.Array, d: jax.Array) -> Words:
        """A pose as columns, those of direction 0 first."""
        place = cell(x, y, width, height, word)
        return [jnp.where(d & 3 == k, one, jnp.zeros((), word)) for k in range(4) for one in place]

    def grow(reached: Words) -> Words:
        """`reached`, and all poses from which one action leads into it."""
        planes = [reached[k * width : (k + 1) * width] for k in range(4)]
        after = Words()
        for k, plane in enumerate(planes):
            steps = moved(plane, -DIR_X[k], -DIR_Y[k])
            turns = zip(planes[(k + 1) % 4], planes[(k + 3) % 4], strict=True)
            after += [
                own | ((left | right | step) & free)
                for own, (left, right), step, free in zip(plane, turns, steps, open_cells, strict=True)
            ]
        return after

    start = [
        one & free for k in range(4) for one, free in zip(moved(aims, -DIR_X[k], -DIR_Y[k]), open_cells, strict=True)
    ]
    own = pose(x, y, d)
    ahead = meets(start, own)
    reached, distance = flood(start, own, grow)
    found = meets(grow(reached), own)
    leads = found & ~ahead
    dx, dy = (sum(jnp.where(d == k, by[k], 0) for k in range(4) if by[k]) for by in (DIR_X, DIR_Y))
    return (
        jnp.where(ahead, 0, jnp.where(found, distance, far)),
        leads & meets(reached, pose(x, y, d + 3)),
        leads & meets(reached, pose(x, y, d + 1)),
        leads & meets(reached, pose(x + dx, y + dy, d)),
    )
