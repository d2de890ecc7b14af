"""Maps as bits: one word a column of the map (x), bit y of it the cell (x, y); the batch comes last.

Device module: pure, jittable. `[W, *B]` puts the batch on the fast axis, where every operation of the skills is a plain
vector operation. A word is `uint8` for maps up to 8 cells high, `uint16` up to 16 and `uint32` up to 32:
the smaller, the more of them go into a vector.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint


def word_type(height: int) -> Any:
    """The word that holds a column of `height` cells."""
    return jnp.uint8 if height <= 8 else jnp.uint16 if height <= 16 else jnp.uint32


def batch_last(cells: jax.Array) -> jax.Array:
    """Maps `[*B, W, H]` -> `[W, H, *B]`, in memory too: what `pack` reads.

    The layout must be asked for: left alone, XLA keeps the batch in front and reads it from afar in every `pack`
    (10 x 10 maps, three masks: 114 ns a map; so, 21).
    """
    return _as_written(jnp.moveaxis(cells, (-2, -1), (0, 1)))


def features_first(rows: jax.Array) -> jax.Array:
    """Rows `[*B, n]` -> `[n, *B]`, in memory too; inverse of `batch_first`.

    Between barriers: by itself it runs in blocks, merged with what makes the rows three times as long.
    """
    rows = jax.lax.optimization_barrier(rows)
    return jax.lax.optimization_barrier(_as_written(jnp.moveaxis(rows, -1, 0)))


def batch_first(words: jax.Array) -> jax.Array:
    """Words `[n, *B]` -> `[*B, n]`, found batch last and then turned, in memory too."""
    return _as_written(jnp.moveaxis(_as_written(words), 0, -1))


_tuned = [True]


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """Traces a program that is to be kept and to run anywhere: no layouts asked for, no parts for a CPU's caches."""
    _tuned.append(False)
    try:
        yield
    finally:
        _tuned.pop()


def _as_written(array: jax.Array) -> jax.Array:
    return with_layout_constraint(array, Layout(tuple(range(array.ndim)))) if _tuned[-1] else array


@jax.jit  # traced once for each shape
def pack(mask: jax.Array) -> jax.Array:
    """`bool[W, H, *B]` -> bits `[W, *B]`."""
    word = word_type(mask.shape[1])
    columns = mask[:, 0].astype(word)
    for y in range(1, mask.shape[1]):  # a sum over the axis takes up to twice as long
        columns = columns | mask[:, y].astype(word) << y
    return jax.lax.optimization_barrier(columns)  # else XLA packs anew wherever a column is read


def in_parts(function: Callable[[Any], Any], size: int, tree: Any, axis: int = 0) -> Any:
    """A function on a batch, on a CPU `size` maps at a time: what it reads and writes then stays in the first caches.

    Args:
        function: of a batch; its results have the batch first.
        size: of a part.
        tree: arrays.
        axis: of the batch in each of them.
    """
    number = jax.tree.leaves(tree)[0].shape[axis]
    if not _tuned[-1] or jax.default_backend() != "cpu" or number <= size:
        return function(tree)
    parts = -(-number // size)
    index = jnp.minimum(jnp.arange(parts * size), number - 1)  # the last map again, to fill the last part

    def cut(leaf: jax.Array) -> jax.Array:
        full = leaf if parts * size == number else jnp.take(leaf, index, axis=axis)
        return jnp.moveaxis(full.reshape(*full.shape[:axis], parts, size, *full.shape[axis + 1 :]), axis, 0)

    done = jax.lax.map(function, jax.tree.map(cut, tree))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:number], done)


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
    return jax.lax.optimization_barrier(any_bit(bits & cell(x, y, bits.shape[0], height)))  # found once, as in `pack`


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
