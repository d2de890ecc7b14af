"""Layers that the package's own students are built from, all with the batch last.

Device module. A layer takes `[in, *B]` and gives `[out, *B]`: with the batch last every operation of a student is a
plain vector operation on a CPU. Students built from flax's own layers (batch first) work as well.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l4t_jax.kernels import CPU, Kernels, planes
from l4t_jax.kernels.linear import Windows, affine, convolved
from l4t_jax.kernels.planes import Planes


def torch_linear_init(fan_in: int) -> nn.initializers.Initializer:
    """PyTorch's default for linear and convolution layers, weights and biases: uniform in +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def affine_reference(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """What `kernels.linear.affine` computes, in plain terms: `[in, B]`, `[in, out]`, `[out]` -> `[out, B]`."""
    return (x.T @ kernel + bias).T


def number_of_features(x: jax.Array | Planes | Windows) -> int:
    """How many numbers a layer reads of each element of a batch that comes last."""
    return x.shape[0] if isinstance(x, jax.Array) else x.features


class Dense(nn.Module):
    """A linear layer on a batch that comes last: `[in, *B]` -> `[features, *B]`.

    What it reads may be packed, as `Planes` or `Windows`; the parameters are the same.
    """

    features: int
    dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros_init()
    tuning: Kernels = CPU

    @nn.compact
    def __call__(self, x: jax.Array | Planes | Windows) -> jax.Array:
        inputs = number_of_features(x)
        kernel = self.param("kernel", self.kernel_init, (inputs, self.features))
        bias = self.param("bias", self.bias_init, (self.features,))
        if isinstance(x, Planes):
            flat = x._replace(words=x.words.reshape(x.words.shape[0], -1))
            found = planes.affine(flat, kernel.astype(self.dtype), bias.astype(self.dtype))
            return found.reshape(self.features, *x.words.shape[1:])
        if isinstance(x, Windows):
            maps = Windows(x.maps.astype(self.dtype))
            return convolved(maps, kernel.astype(self.dtype), bias.astype(self.dtype))
        flat, kernel, bias = (leaf.astype(self.dtype) for leaf in (x.reshape(x.shape[0], -1), kernel, bias))
        return affine(flat, kernel, bias, self.tuning).reshape(self.features, *x.shape[1:])


class TorchDense(nn.Module):
    """`Dense` with PyTorch's default initialisation."""

    features: int
    dtype: Any = jnp.float32
    tuning: Kernels = CPU

    @nn.compact
    def __call__(self, x: jax.Array | Windows) -> jax.Array:
        init = torch_linear_init(number_of_features(x))
        return Dense(self.features, self.dtype, init, init, self.tuning)(x)


class PatchConv(nn.Module):
    """A 3 x 3 convolution, stride 1, padding 1; on a CPU as one matrix product on patches.

    `[C, W, H, *B]` -> `[features, W, H, *B]`.

    XLA's own convolution inside a compiled loop is many times slower on CPU; the arithmetic is the same.
    """

    features: int
    dtype: Any = jnp.float32
    tuning: Kernels = CPU

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.tuning.convolves:
            return TorchDense(self.features, self.dtype, self.tuning)(Windows(x))
        width, height = x.shape[1:3]
        padded = jnp.pad(x, [(0, 0), (1, 1), (1, 1)] + [(0, 0)] * (x.ndim - 3))
        patches = [padded[:, i : i + width, j : j + height] for i in range(3) for j in range(3)]
        return TorchDense(self.features, self.dtype, self.tuning)(jnp.concatenate(patches))


class Heads(nn.Module):
    """Separate policy and value heads, one hidden ReLU layer each, as in the paper.

    `[F, *B]` -> logits `[*B, outputs]` and values `[*B]`.
    """

    hidden: int
    outputs: int
    dtype: Any = jnp.float32
    tuning: Kernels = CPU

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        policy = nn.relu(TorchDense(self.hidden, self.dtype, self.tuning)(x))
        value = nn.relu(TorchDense(self.hidden, self.dtype, self.tuning)(x))
        logits = TorchDense(self.outputs, tuning=self.tuning)(policy.astype(jnp.float32))
        return jnp.moveaxis(logits, 0, -1), TorchDense(1, tuning=self.tuning)(value.astype(jnp.float32))[0]
