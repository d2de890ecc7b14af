"""A linear layer and a convolution with the batch axis last, as suits the processor.

Device module. The plain reference is `agents.students.layers.affine_reference`. A test checks that values and
gradients of the two agree.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from l4t_jax.kernels import CPU, Kernels


def affine(x: jax.Array, kernel: jax.Array, bias: jax.Array, tuning: Kernels = CPU) -> jax.Array:
    """`kernel^T x + bias` with the batch axis last: `[in, B]`, `[in, out]`, `[out]` -> `[out, B]`."""
    if tuning.plain_layers:
        return _product(kernel, x, (0, 0)) + bias[:, None]
    return _affine(tuning.few, x, kernel, bias)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _affine(few: bool, x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """`affine` with a written-out gradient.

    The gradient is written out because a CPU runs some forms of a product at full speed and others at half speed. The
    gradient of the weights contracts the batch axis, which is fast where that axis is last in both operands (128 x 128:
    0.17 µs per row, 0.24 where it is first). The barriers keep XLA from swapping the operands to save the transpose of
    a few weights. Only reverse-mode differentiation is supported.
    """
    if few:
        return _product(kernel, x, (0, 0)) + bias[:, None]
    return _product(jax.lax.optimization_barrier(kernel.T), x, (1, 0)) + bias[:, None]


def _product(a: jax.Array, b: jax.Array, contract: tuple[int, int]) -> jax.Array:
    """The product of two matrices, contracted over one axis of each."""
    return jax.lax.dot_general(a, b, (((contract[0],), (contract[1],)), ((), ())))


def _affine_forward(
    few: bool, x: jax.Array, kernel: jax.Array, bias: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _affine(few, x, kernel, bias), (x, kernel)


def _affine_backward(
    few: bool, kept: tuple[jax.Array, jax.Array], slope: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, kernel = kept
    if not few:
        slope = jax.lax.optimization_barrier(slope)
    return _product(kernel, slope, (1, 0)), _product(x, slope, (1, 1)), jnp.sum(slope, axis=1)


_affine.defvjp(_affine_forward, _affine_backward)


class Windows(NamedTuple):
    """The 3 x 3 windows around all cells of maps, as features for `convolved`.

    Attributes:
        maps: `[C, W, H, *B]`.
    """

    maps: jax.Array

    @property
    def features(self) -> int:
        return 9 * self.maps.shape[0]


def convolved(windows: Windows, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """XLA's own convolution, stride 1, padding 1: `[9 * C, out]`, `[out]` -> `[out, W, H, *B]`."""
    maps = windows.maps
    channels, width, height = maps.shape[:3]
    found = jax.lax.conv_general_dilated(
        maps.reshape(channels, width, height, -1), kernel.reshape(3, 3, channels, -1), (1, 1), "SAME",
        dimension_numbers=("CHWN", "HWIO", "CHWN"),
    )  # fmt: skip
    return (found + bias[:, None, None, None]).reshape(-1, width, height, *maps.shape[3:])
