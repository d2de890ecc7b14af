"""Searches for a GPU, each a single kernel, in which each map's search is a thread and ends with those beside it.

Device module. XLA runs a loop whose end depends on the data from the host, which waits for the GPU in every turn: that
takes longer than the turn itself. Here the loop is within the kernel, written in Triton by `jax.experimental.pallas`.
The searches are those of `kernels.apart`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from l4t_jax.kernels import Kernels, apart

MAPS = 128  # of a block: they are searched until the last of them is done
BACKEND = "jax.experimental.pallas.triton"
WORD = jnp.uint32  # a GPU's registers have 32 bits


def on_cuda(kernel: Kernels, own: Callable[..., Any], plain: Callable[..., Any], *arrays: jax.Array) -> Any:
    """`own(*arrays)` where `kernel.triton` is set and the program is compiled for CUDA, otherwise `plain(*arrays)`.

    Always `plain` where jax has no Triton: jax 0.12 warns that a later version will be without it.

    Raises:
        RuntimeError: when it is lowered for a GPU that jax does not know.
    """
    if not kernel.triton or not _there():
        return plain(*arrays)
    return jax.lax.platform_dependent(*arrays, cuda=own, default=plain)


def _there() -> bool:
    try:
        return hasattr(importlib.import_module(BACKEND), "CompilerParams")
    except ImportError:
        return False


def ways(
    passable: jax.Array, targets: jax.Array, agent: jax.Array, height: int, interpret: bool = False
) -> tuple[jax.Array, jax.Array]:
    """`kernels.apart.ways`; with `interpret` the kernel is run by jax, wherever that is."""
    from jax.experimental import pallas as pl  # only here: on a CPU it would make each start longer
    from jax.experimental.pallas.triton import CompilerParams

    def kernel(passable: Any, targets: Any, agent: Any, steps: Any, first: Any) -> None:
        free = [passable[x, :].astype(WORD) for x in range(width)]
        aims = [targets[x, 0, :].astype(WORD) for x in range(width)]
        steps[0, :], found = apart.first_steps(free, aims, agent[0, :], agent[1, :], height, _flooded)
        for k, one in enumerate(found):
            first[k, 0, :] = one.astype(jnp.uint8)

    width, number, batch = targets.shape
    passable, targets, agent = (_whole_blocks(leaf) for leaf in (passable, targets, agent))
    size = targets.shape[-1]
    steps, first = pl.pallas_call(
        kernel,
        grid=(number, size // MAPS),
        in_specs=[
            pl.BlockSpec((width, MAPS), lambda target, block: (0, block)),
            pl.BlockSpec((width, 1, MAPS), lambda target, block: (0, target, block)),
            pl.BlockSpec((3, MAPS), lambda target, block: (0, block)),
        ],
        out_specs=[
            pl.BlockSpec((1, MAPS), lambda target, block: (target, block)),
            pl.BlockSpec((4, 1, MAPS), lambda target, block: (0, target, block)),
        ],
        out_shape=[
            jax.ShapeDtypeStruct((number, size), jnp.int32),
            jax.ShapeDtypeStruct((4, number, size), jnp.uint8),
        ],
        compiler_params=CompilerParams(num_warps=MAPS // 32),
        interpret=interpret,
    )(passable, targets, agent)
    return steps[:, :batch], first[..., :batch] != 0


def shortest_paths(
    passable: jax.Array, targets: jax.Array, agent: jax.Array, height: int, far: int, interpret: bool = False
) -> tuple[jax.Array, ...]:
    """`kernels.apart.shortest_paths`; `interpret` as for `ways`."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas.triton import CompilerParams

    def kernel(passable: Any, targets: Any, agent: Any, distance: Any, starts: Any) -> None:
        free, aims = ([words[x, :].astype(WORD) for x in range(width)] for words in (passable, targets))
        x, y, d = (agent[i, :] for i in range(3))
        distance[:], *found = apart.first_actions(free, aims, x, y, d, height, far, _flooded)
        for k, one in enumerate(found):
            starts[k, :] = one.astype(jnp.uint8)

    width, batch = targets.shape
    passable, targets, agent = (_whole_blocks(leaf) for leaf in (passable, targets, agent))
    size = targets.shape[-1]

    def rows(number: int) -> Any:
        return pl.BlockSpec((number, MAPS), lambda block: (0, block))

    distance, starts = pl.pallas_call(
        kernel,
        grid=(size // MAPS,),
        in_specs=[rows(width), rows(width), rows(3)],
        out_specs=[pl.BlockSpec((MAPS,), lambda block: (block,)), rows(3)],
        out_shape=[jax.ShapeDtypeStruct((size,), jnp.int32), jax.ShapeDtypeStruct((3, size), jnp.uint8)],
        compiler_params=CompilerParams(num_warps=MAPS // 32),
        interpret=interpret,
    )(passable, targets, agent)
    return (distance[:batch], *(one[:batch] != 0 for one in starts))


def _some(found: jax.Array) -> jax.Array:
    """`jnp.any`, by what a Triton kernel has."""
    return jnp.max(found.astype(jnp.int32)) > 0


_flooded: Callable[..., Any] = functools.partial(apart.flooded, steps=1, some=_some)


def _whole_blocks(leaf: jax.Array) -> jax.Array:
    """Padded along the batch, with maps that have no cells and no targets, so that blocks divide it."""
    missing = -leaf.shape[-1] % MAPS
    return leaf if not missing else jnp.pad(leaf, [(0, 0)] * (leaf.ndim - 1) + [(0, missing)])
