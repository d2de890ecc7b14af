"""Everything that is tuned for a processor, behind one door: `Kernels` says which tuning a program is compiled with.

Device package. It imports nothing of the package but `envs.cells`; `envs`, `skills`, `abstraction` and `agents` ask it,
and each holds the plain reference of what is tuned here. Maps are packed into words here, a column of the map each,
with the batch on the last axis.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint


@dataclasses.dataclass(frozen=True)
class Kernels:
    """How a program is computed; static, so that programs of two kinds never share a compilation.

    Attributes:
        name: as settings and results name it.
        reference: the plain form of everything, batch first, without packed words.
        layouts: ask for the batch on the last axis in memory too, where maps are read.
        barriers: keep XLA from computing again what several readers share.
        chunks: work on some hundred maps at a time, so that they stay in a CPU's first caches.
    """

    name: str
    reference: bool = False
    layouts: bool = False
    barriers: bool = False
    chunks: bool = False

    def as_written(self, array: jax.Array) -> jax.Array:
        """The array in memory in the order of its axes, where layouts are asked for."""
        return with_layout_constraint(array, Layout(tuple(range(array.ndim)))) if self.layouts else array

    def once(self, tree: Any) -> Any:
        """The same arrays, computed once however many read them, where barriers are used."""
        return jax.lax.optimization_barrier(tree) if self.barriers else tree

    def in_parts(self, function: Callable[[Any], Any], size: int, tree: Any, axis: int = 0) -> Any:
        """A function on a batch, `size` maps at a time where chunks are used.

        Args:
            function: of a batch; its results have the batch first.
            size: of a part.
            tree: arrays.
            axis: of the batch in each of them.
        """
        number = jax.tree.leaves(tree)[0].shape[axis]
        if not self.chunks or number <= size:
            return function(tree)
        parts = -(-number // size)
        index = jnp.minimum(jnp.arange(parts * size), number - 1)  # the last map again, to fill the last part

        def cut(leaf: jax.Array) -> jax.Array:
            full = leaf if parts * size == number else jnp.take(leaf, index, axis=axis)
            return jnp.moveaxis(full.reshape(*full.shape[:axis], parts, size, *full.shape[axis + 1 :]), axis, 0)

        done = jax.lax.map(function, jax.tree.map(cut, tree))
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:number], done)


REFERENCE = Kernels("reference", reference=True)
PORTABLE = Kernels("portable")  # runs anywhere: exported programs, and TPUs, where the compiler's own layouts are best
CPU = Kernels("cpu", layouts=True, barriers=True, chunks=True)
GPU = Kernels("gpu", layouts=True)  # without layouts a third more launches, with barriers a quarter more
BY_NAME = {one.name: one for one in (REFERENCE, PORTABLE, CPU, GPU)}


def for_platform(platform: str) -> Kernels:
    """The tuning for programs compiled for a platform ("cpu", "gpu", "cuda", "rocm", "tpu", ...)."""
    return {"cpu": CPU, "gpu": GPU, "cuda": GPU, "rocm": GPU}.get(platform, PORTABLE)
