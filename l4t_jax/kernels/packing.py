"""Many arrays as one for each size of number, so that a loop stores what it keeps of a turn in few kernels: for GPUs.

Device module. Nothing is rounded: numbers keep their bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from l4t_jax.kernels import Kernels

WORDS = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64"}


def scan(step: Callable[[Any, Any], tuple[Any, Any]], start: Any, xs: Any, kernel: Kernels) -> tuple[Any, Any]:
    """`jax.lax.scan` of a step whose rows have a leading axis N; they are packed on the way if `kernel.packs`."""
    if not kernel.packs:
        return jax.lax.scan(step, start, xs)
    shapes: list[Any] = []  # of a row, once it is known

    def packing(state: Any, x: Any) -> tuple[Any, Any]:
        state, row = step(state, x)
        shapes.append(jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), row))
        return state, packed(row)

    state, groups = jax.lax.scan(packing, start, xs)
    return state, unpacked(groups, shapes[0])


def packed(tree: Any) -> dict[int, jax.Array]:
    """Arrays with a leading axis N: bytes of a number -> `uint[K, N]` of all arrays whose numbers have as many."""
    groups: dict[int, list[jax.Array]] = {}
    for leaf in jax.tree.leaves(tree):
        rows = jnp.moveaxis(leaf, 0, -1).reshape(-1, leaf.shape[0])
        size = rows.dtype.itemsize
        if rows.dtype == jnp.bool_:
            rows = rows.astype(WORDS[size])
        groups.setdefault(size, []).append(jax.lax.bitcast_convert_type(rows, jnp.dtype(WORDS[size])))
    return {size: jnp.concatenate(parts) for size, parts in groups.items()}


def unpacked(groups: dict[int, jax.Array], shapes: Any) -> Any:
    """Inverse of `packed`, for groups with one more leading axis T: arrays with leading axes (T, N).

    Args:
        groups: `uint[T, K, N]` each.
        shapes: the tree that was packed, or its shapes.
    """
    at = dict.fromkeys(groups, 0)

    def leaf(shape: jax.ShapeDtypeStruct) -> jax.Array:
        size, number = jnp.dtype(shape.dtype).itemsize, math.prod(shape.shape[1:])
        rows = groups[size][:, at[size] : at[size] + number]
        at[size] += number
        rows = rows != 0 if shape.dtype == jnp.bool_ else jax.lax.bitcast_convert_type(rows, shape.dtype)
        return jnp.moveaxis(rows.reshape(rows.shape[0], *shape.shape[1:], shape.shape[0]), -1, 1)

    return jax.tree.map(leaf, shapes)
