"""Maps as bits: one `uint32` a column of the map (x), bit y of it the cell (x, y); the batch comes last.

Device module: pure, jittable. `uint32[W, *B]` puts the batch on the fast axis, where every operation of the skills is a
plain vector operation; a map is at most 32 cells high for it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def pack(mask: jax.Array) -> jax.Array:
    """`bool[*B, W, H]` -> bits `uint32[W, *B]`."""
    weight = jnp.uint32(1) << jnp.arange(mask.shape[-1], dtype=jnp.uint32)
    columns = jnp.sum(jnp.where(mask, weight, jnp.uint32(0)), axis=-1, dtype=jnp.uint32)  # (*B, W)
    return jnp.moveaxis(columns, -1, 0)


def unpack(bits: jax.Array, height: int) -> jax.Array:
    """Bits `uint32[W, *B]` -> `bool[*B, W, H]`."""
    columns = jnp.moveaxis(bits, 0, -1)[..., None]
    return (columns >> jnp.arange(height, dtype=jnp.uint32)) & 1 == 1


def cell(x: jax.Array, y: jax.Array, width: int, height: int) -> jax.Array:
    """The single cell (x, y), `int32[*B]` each, as bits `uint32[W, *B]`; no bit where it is off the map."""
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    bit = jnp.where(inside, jnp.uint32(1) << (y.astype(jnp.uint32) & 31), jnp.uint32(0))
    columns = jnp.arange(width).reshape(width, *([1] * x.ndim))
    return jnp.where(columns == x, bit, jnp.uint32(0))


def any_bit(bits: jax.Array) -> jax.Array:
    """Whether any cell is set, `bool[*B]`."""
    return jnp.any(bits != 0, axis=0)


def lowest_bit(word: jax.Array) -> jax.Array:
    """The index of the lowest bit set, `int32[...]`; 32 where there is none."""
    return jax.lax.population_count((word & -word) - 1).astype(jnp.int32)


def shift(bits: jax.Array, dx: int, dy: int) -> jax.Array:
    """The set moved by (dx, dy), each -1, 0 or 1; cells moved off the columns or below row 0 are lost.

    A cell moved past the last row stays set above it: callers mask with a map.
    """
    if dx > 0:
        bits = jnp.concatenate([jnp.zeros_like(bits[:1]), bits[:-1]])
    elif dx < 0:
        bits = jnp.concatenate([bits[1:], jnp.zeros_like(bits[:1])])
    if dy > 0:
        bits = bits << 1
    elif dy < 0:
        bits = bits >> 1
    return bits
