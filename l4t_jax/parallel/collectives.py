"""Sums, means, shards and all-gathers over the devices of a mesh, for programs that run on each of them.

Device module without imports from `l4t_jax`. `axis` is the mesh axis that the environments are sharded over; None on a
single device.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree


def mean(tree: Any, axis: str | None) -> Any:
    """The mean over devices of arrays of one dtype, in one reduction; without an axis the arrays unchanged."""
    if axis is None:
        return tree
    flat, back = ravel_pytree(tree)
    return back(jax.lax.pmean(flat, axis))


def sum_of(tree: Any, axis: str | None) -> Any:
    """The sum over devices of arrays, in one reduction, `float32`."""
    tree = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)
    if axis is None:
        return tree
    flat, back = ravel_pytree(tree)
    return back(jax.lax.psum(flat, axis))


def shard(rows: Any, axis: str | None) -> Any:
    """This device's shard of rows that every device has, along the leading axis.

    If the devices do not divide the rows, the last shard repeats the last row.
    """
    if axis is None:
        return rows
    total = jax.tree.leaves(rows)[0].shape[0]
    own = -(-total // jax.lax.axis_size(axis))
    index = jnp.minimum(jax.lax.axis_index(axis) * own + jnp.arange(own), total - 1)
    return jax.tree.map(lambda leaf: leaf[index], rows)


def all_gather(parts: Any, total: int, axis: str | None, rows: int = 0) -> Any:
    """Inverse of `shard`, on every device: joins the shards along axis `rows` and keeps the first `total` rows."""
    if axis is None:
        return parts

    def join(leaf: jax.Array) -> jax.Array:
        at = rows % leaf.ndim
        return jax.lax.slice_in_dim(jax.lax.all_gather(leaf, axis, axis=at, tiled=True), 0, total, axis=at)

    return jax.tree.map(join, parts)
