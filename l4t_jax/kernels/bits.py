"""Bitboards: one word per column x of the map; bit y of the word is the cell (x, y). The batch axis is last.

Device module: pure, jittable. With `[W, *B]` the batch is contiguous in memory, so every operation of the skills is a
plain vector operation. A word is `uint8` for maps up to 8 cells high, `uint16` up to 16 and `uint32` up to 32. More of
the small words fit into one vector.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from l4t_jax.kernels import Kernels


def word_type(height: int) -> Any:
    """The dtype of a word that holds a column of `height` cells."""
    return jnp.uint8 if height <= 8 else jnp.uint16 if height <= 16 else jnp.uint32


def features_first(rows: jax.Array, kernel: Kernels) -> jax.Array:
    """Rows `[*B, n]` -> `[n, *B]`, in memory too; inverse of `batch_first`.

    The barriers keep XLA from fusing it with the code that makes the rows: fused, it takes three times as long.
    """
    return kernel.once(kernel.as_written(jnp.moveaxis(kernel.once(rows), -1, 0)))


def batch_first(words: jax.Array, kernel: Kernels) -> jax.Array:
    """Words `[n, *B]` -> `[*B, n]`: computed with the batch axis last, then transposed in memory too."""
    return kernel.as_written(jnp.moveaxis(kernel.as_written(words), 0, -1))


@functools.partial(jax.jit, static_argnames="kernel")  # traced once for each shape
def pack(mask: jax.Array, kernel: Kernels) -> jax.Array:
    """`bool[W, H, *B]` -> bits `[W, *B]`."""
    word = word_type(mask.shape[1])
    columns = mask[:, 0].astype(word)
    for y in range(1, mask.shape[1]):  # a sum over the axis takes up to twice as long
        columns = columns | mask[:, y].astype(word) << y
    return kernel.once(columns)  # without it XLA packs again for every reader


def transposed(bits: jax.Array, height: int) -> jax.Array:
    """The same cells, a word a row: `[W, *B]` a word a column of `height` cells -> `[H, *B]`."""
    y = jnp.arange(height, dtype=bits.dtype).reshape(-1, *[1] * (bits.ndim - 1))
    word = word_type(len(bits))
    cells = [(column[None] >> y & 1).astype(word) << x for x, column in enumerate(bits)]
    return functools.reduce(jnp.bitwise_or, cells)


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


def at(bits: jax.Array, x: jax.Array, y: jax.Array, height: int, kernel: Kernels) -> jax.Array:
    """Whether the cell (x, y) is set, `bool[*B]`; not where it is off the map."""
    return kernel.once(any_bit(bits & cell(x, y, bits.shape[0], height)))  # computed once, as in `pack`


def any_bit(bits: jax.Array) -> jax.Array:
    """Whether any cell is set, `bool[*B]`."""
    return jnp.any(bits != 0, axis=0)


def lowest_bit(word: jax.Array) -> jax.Array:
    """The index of the lowest bit set, `int32[...]`; the word's size where there is none."""
    return jax.lax.population_count((word & -word) - 1).astype(jnp.int32)


def first_cell(bits: jax.Array, height: int) -> jax.Array:
    """The first cell set, column by column, as `int32[*B]` x * height + y; W * height where there is none."""
    column = jnp.arange(bits.shape[0], dtype=jnp.int32).reshape(-1, *([1] * (bits.ndim - 1)))
    return jnp.min(jnp.where(bits != 0, column * height + lowest_bit(bits), bits.shape[0] * height), axis=0)


def shift(bits: jax.Array, dx: int, dy: int) -> jax.Array:
    """The set moved by (dx, dy), each -1, 0 or 1. Cells that leave the columns or go below row 0 are dropped.

    A cell moved past the last row stays set in a higher bit, so callers must mask the result.
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
