"""Maps as bits: one word a column of the map (x), bit y of it the cell (x, y); the batch comes last.

Device module: pure, jittable. `[W, *B]` puts the batch on the fast axis, where every operation of the skills is a plain
vector operation. A word is `uint16` for maps up to 16 cells high (twice as many to a vector), `uint32` up to 32.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def word_type(height: int) -> Any:
    """The word that holds a column of `height` cells."""
    return jnp.uint16 if height <= 16 else jnp.uint32


def pack(mask: jax.Array) -> jax.Array:
    """`bool[*B, W, H]` -> bits `[W, *B]`."""
    word = word_type(mask.shape[-1])
    weight = jnp.left_shift(jnp.asarray(1, word), jnp.arange(mask.shape[-1], dtype=word))
    columns = jnp.sum(jnp.where(mask, weight, jnp.asarray(0, word)), axis=-1, dtype=word)  # (*B, W)
    return jnp.moveaxis(columns, -1, 0)


def unpack(bits: jax.Array, height: int) -> jax.Array:
    """Bits `[W, *B]` -> `bool[*B, W, H]`."""
    columns = jnp.moveaxis(bits, 0, -1)[..., None]
    return (columns >> jnp.arange(height, dtype=bits.dtype)) & 1 == 1


def one_bit(y: jax.Array, height: int) -> jax.Array:
    """The word with bit y set, `int32[*B]` -> `[*B]`; 0 where y is off the map."""
    word = word_type(height)
    bit = jnp.left_shift(jnp.asarray(1, word), jnp.clip(y, 0, height - 1).astype(word))
    return jnp.where((y >= 0) & (y < height), bit, jnp.asarray(0, word))


def cell(x: jax.Array, y: jax.Array, width: int, height: int) -> jax.Array:
    """The single cell (x, y), `int32[*B]` each, as bits `[W, *B]`; no bit where it is off the map."""
    columns = jnp.arange(width).reshape(width, *([1] * x.ndim))
    bit = one_bit(y, height)
    return jnp.where(columns == x, bit, jnp.zeros_like(bit))


def at(bits: jax.Array, x: jax.Array, y: jax.Array, height: int) -> jax.Array:
    """Whether the cell (x, y) is set, `bool[*B]`; not where it is off the map."""
    width = bits.shape[0]
    column = jnp.take_along_axis(bits, jnp.clip(x, 0, width - 1)[None], axis=0)[0]
    return (x >= 0) & (x < width) & ((column & one_bit(y, height)) != 0)


def any_bit(bits: jax.Array) -> jax.Array:
    """Whether any cell is set, `bool[*B]`."""
    return jnp.any(bits != 0, axis=0)


def lowest_bit(word: jax.Array) -> jax.Array:
    """The index of the lowest bit set, `int32[...]`; the word's size where there is none."""
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
