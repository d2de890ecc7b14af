"""Drawing levels: what the generators of the families share.

Device module: pure, jittable. Maps are `uint8[W, H]` cell codes, x first.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import EMPTY, EMPTY_CODE, WALL_CODE, kind_of


def walled(size: int, width: jax.Array, height: jax.Array) -> jax.Array:
    """`uint8[size, size]`: a ring of walls around a `width` x `height` room at (0, 0), empty floor elsewhere."""
    x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    ring = (x < width) & (y < height) & ((x == 0) | (x == width - 1) | (y == 0) | (y == height - 1))
    return jnp.where(ring, jnp.uint8(WALL_CODE), jnp.uint8(EMPTY_CODE))


def interior(size: int, width: jax.Array, height: jax.Array) -> jax.Array:
    """`bool[size, size]`: the cells inside the ring of `_walled`."""
    x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    return (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)


def draws(key: jax.Array, number: int) -> list[jax.Array]:
    """`number` independent random words, `uint32[]` each, from one call of the generator.

    A call a draw took five times as long to compile, and levels are drawn in three programs of a run.
    """
    return list(jax.random.bits(key, (number,), jnp.uint32))


def between(draw: jax.Array, first: int, end: jax.Array | int) -> jax.Array:
    """A whole number from `first` up to, not including, `end`, uniform but for parts in 2^26."""
    span = (jnp.asarray(end, jnp.int32) - first).astype(jnp.uint32)
    return first + (draw % span).astype(jnp.int32)


def pick(draw: jax.Array, allowed: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A cell (x, y) uniform over `allowed`, `bool[W, H]`; (0, 0) where none is."""
    count = jnp.cumsum(allowed.reshape(-1).astype(jnp.int32))
    nth = between(draw, 1, jnp.maximum(count[-1], 1) + 1)
    return jnp.divmod(jnp.argmax(count >= nth), allowed.shape[1])


def put(cells: jax.Array, x: jax.Array, y: jax.Array, what: jax.Array | int) -> jax.Array:
    return cells.at[x, y].set(jnp.asarray(what, jnp.uint8))


def pose(x: jax.Array, y: jax.Array, direction: jax.Array) -> jax.Array:
    return jnp.stack([x, y, direction]).astype(jnp.int8)


def free(cells: jax.Array, room: jax.Array, *taken: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Empty cells of the room, but for the `taken` places."""
    free = room & (kind_of(cells) == EMPTY)
    for x, y in taken:
        free = free.at[x, y].set(False)
    return free
