"""All code that is tuned for a processor. `Kernels` selects the tuning that a program is compiled with.

Device package. It imports only `envs.cells` from `l4t_jax`. `envs`, `skills`, `abstraction` and `agents` call it. The
plain reference of each kernel is in one of these packages. Here maps are packed into words, one word per column of the
map, with the batch axis last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint


@dataclasses.dataclass(frozen=True)
class Kernels:
    """How a program is computed. A static argument, so two tunings never share a compiled program.

    Attributes:
        name: in settings and results.
        reference: use the plain code: batch axis first, no packed words.
        layouts: constrain the memory layout too, with the batch axis last, where maps are read.
        barriers: keep XLA from computing a value again for each of its readers.
        chunks: work on a few hundred maps at a time, so that they fit a CPU's L1 and L2 caches.
        apart: search on maps whose words are arrays of their own (`kernels.apart`).
        few: rather few, large operations than little arithmetic: each costs an accelerator a fixed time.
        plain_layers: leave the gradient of linear layers to jax: on a GPU a fifth fewer kernels in an update.
        bit_planes: multiply the bits of packed features one bit after the other (`kernels.planes`).
        packs: pack what a rollout keeps of a step into few arrays (`kernels.packing`).
        convolves: leave convolutions to XLA: a CPU is many times slower so.
        turned: pick rows in row-major layout and transpose them afterwards (`by_row`); needs `layouts`.
        triton: where the program is compiled for CUDA, search in kernels of the package's own (`kernels.triton`).
        wide: search on words of 32 bits: a TPU widens smaller ones for each operation.
    """

    name: str
    reference: bool = False
    layouts: bool = False
    barriers: bool = False
    chunks: bool = False
    apart: bool = False
    turned: bool = False
    triton: bool = False
    wide: bool = False
    few: bool = False
    plain_layers: bool = False
    bit_planes: bool = False
    packs: bool = False
    convolves: bool = False

    def as_written(self, array: jax.Array) -> jax.Array:
        """The array, laid out in memory in the order of its axes if `layouts` is set."""
        return with_layout_constraint(array, Layout(tuple(range(array.ndim)))) if self.layouts else array

    def once(self, tree: Any) -> Any:
        """The same arrays; if `barriers` is set, they are computed once for all readers."""
        return jax.lax.optimization_barrier(tree) if self.barriers else tree

    def by_row(self, pick: Callable[[jax.Array], jax.Array], rows: jax.Array, axes: int) -> jax.Array:
        """`pick(rows)`, which picks some of the rows along the first `axes` axes.

        If `turned` is set, the elements of a row are adjacent in memory while rows are picked, and the result has the
        batch last again. With the batch last throughout, a GPU reads a few bytes at a time and takes much longer.
        """
        if not self.turned or rows.ndim <= axes:
            return pick(rows)
        order = range(rows.ndim)
        return with_layout_constraint(
            self.as_written(pick(self.as_written(rows))), Layout((*order[axes:], *order[:axes]))
        )

    def in_parts(self, function: Callable[[Any], Any], size: int, tree: Any, axis: int = 0) -> Any:
        """Applies a function to a batch; if `chunks` is set, to `size` maps at a time.

        Args:
            function: takes a batch; its results have the batch axis first.
            size: maps per chunk.
            tree: arrays.
            axis: the batch axis of each array.
        """
        number = jax.tree.leaves(tree)[0].shape[axis]
        if not self.chunks or number <= size:
            return function(tree)
        parts = -(-number // size)
        index = jnp.minimum(jnp.arange(parts * size), number - 1)  # repeats the last map to fill the last chunk

        def cut(leaf: jax.Array) -> jax.Array:
            full = leaf if parts * size == number else jnp.take(leaf, index, axis=axis)
            return jnp.moveaxis(full.reshape(*full.shape[:axis], parts, size, *full.shape[axis + 1 :]), axis, 0)

        done = jax.lax.map(function, jax.tree.map(cut, tree))
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:number], done)


def select(conditions: Sequence[jax.Array], values: Sequence[Any], default: Any) -> jax.Array:
    """`jnp.select`, the value of the first condition that holds, element by element.

    jnp's own finds the number of that condition by a reduction first: on a GPU a kernel more.
    """
    for condition, value in zip(reversed(conditions), reversed(values), strict=True):
        default = jnp.where(condition, value, default)
    return default


REFERENCE = Kernels("reference", reference=True)
PORTABLE = Kernels("portable")  # for exported programs
CPU = Kernels("cpu", layouts=True, barriers=True, chunks=True)
# No layouts: a third more kernel launches; barriers: a quarter more.
GPU = Kernels(
    "gpu", layouts=True, apart=True, turned=True, triton=True, few=True, plain_layers=True, packs=True, convolves=True
)
# The compiler's own layouts are best on a TPU.
TPU = Kernels("tpu", apart=True, wide=True, few=True, bit_planes=True, convolves=True)
BY_NAME = {one.name: one for one in (REFERENCE, PORTABLE, CPU, GPU, TPU)}


def for_platform(platform: str) -> Kernels:
    """The tuning for programs compiled for a platform ("cpu", "gpu", "cuda", "rocm", "tpu", ...)."""
    return {"cpu": CPU, "gpu": GPU, "cuda": GPU, "rocm": GPU, "tpu": TPU}.get(platform, PORTABLE)
