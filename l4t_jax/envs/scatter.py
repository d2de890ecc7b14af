"""Many things drawn at once: distinct cells, distinct things, and the map with them on it.

Device module: pure, jittable. The families of levels import it.

MiniGrid draws one thing after the other and draws again what is taken. What that leaves is a random order of all that
is allowed, cut after the first few; here it is drawn as such, by one sort.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import COLOURS, KEY


def distinct(words: jax.Array, number: int) -> jax.Array:
    """The first `number` of a random order of 0..N-1, `int32[number]`, from random words `uint32[N]`."""
    return jax.lax.top_k(words, number)[1]


def distinct_cells(words: jax.Array, allowed: jax.Array, number: int) -> tuple[jax.Array, jax.Array]:
    """`number` different cells of `allowed` (`bool[W, H]`) in a random order: x and y, `int32[number]` each.

    It takes a random word a cell, `uint32[W * H]`. At least `number` cells must be allowed.
    """
    words = jnp.where(allowed.reshape(-1), words, 0)
    return jnp.divmod(distinct(words, number), allowed.shape[1])


def portable(index: jax.Array) -> jax.Array:
    """The codes of keys, balls and boxes by number: 0..5 keys of the six colours, 6..11 balls, 12..17 boxes."""
    kind, colour = jnp.divmod(index, len(COLOURS))
    return (KEY + kind | colour << 4).astype(jnp.uint8)


def marks(shape: tuple[int, ...], x: jax.Array, y: jax.Array, values: jax.Array) -> jax.Array:
    """`uint8[W, H]` of that shape: `values` (`uint8[N]`) on the cells (x, y), added up, and 0 elsewhere."""
    at = (jnp.arange(shape[0])[:, None, None] == x) & (jnp.arange(shape[1])[None, :, None] == y)  # (W, H, N)
    return jnp.sum(jnp.where(at, values.astype(jnp.uint8), jnp.uint8(0)), axis=-1, dtype=jnp.uint8)


def paint(cells: jax.Array, x: jax.Array, y: jax.Array, codes: jax.Array) -> jax.Array:
    """The map with `codes` (`uint8[N]`, none of them 0) on the cells (x, y), `int[N]` each, all different."""
    new = marks(cells.shape, x, y, codes)
    return jnp.where(new > 0, new, cells)
