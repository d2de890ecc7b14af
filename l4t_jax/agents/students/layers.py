"""Layers that the package's own students are built from, all with the batch last.

Device module. A layer takes `[in, *B]` and gives `[out, *B]`: with the batch last every operation of a student is a
plain vector operation on a CPU. Students built from flax's own layers (batch first) work as well.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l4t_jax.kernels.linear import affine


def torch_linear_init(fan_in: int) -> nn.initializers.Initializer:
    """PyTorch's default for linear and convolution layers, weights and biases: uniform in +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def affine_reference(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """What `kernels.linear.affine` computes, in plain terms: `[in, B]`, `[in, out]`, `[out]` -> `[out, B]`."""
    return (x.T @ kernel + bias).T


class Dense(nn.Module):
    """A linear layer on a batch that comes last: `[in, *B]` -> `[features, *B]`."""

    features: int
    dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (x.shape[0], self.features))
        bias = self.param("bias", self.bias_init, (self.features,))
        flat, kernel, bias = (leaf.astype(self.dtype) for leaf in (x.reshape(x.shape[0], -1), kernel, bias))
        return affine(flat, kernel, bias).reshape(self.features, *x.shape[1:])


class TorchDense(nn.Module):
    """`Dense` with PyTorch's default initialisation."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = torch_linear_init(x.shape[0])
        return Dense(self.features, kernel_init=init, bias_init=init, dtype=self.dtype)(x)


class PatchConv(nn.Module):
    """A 3 x 3 convolution, stride 1, padding 1, as one matrix product on patches.

    `[C, W, H, *B]` -> `[features, W, H, *B]`.

    XLA's own convolution inside a compiled loop is many times slower on CPU; the arithmetic is the same.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width, height = x.shape[1:3]
        padded = jnp.pad(x, [(0, 0), (1, 1), (1, 1)] + [(0, 0)] * (x.ndim - 3))
        patches = [padded[:, i : i + width, j : j + height] for i in range(3) for j in range(3)]
        return TorchDense(self.features, dtype=self.dtype)(jnp.concatenate(patches))


class Heads(nn.Module):
    """Separate policy and value heads, one hidden ReLU layer each, as in the paper.

    `[F, *B]` -> logits `[*B, outputs]` and values `[*B]`.
    """

    hidden: int
    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        policy = nn.relu(TorchDense(self.hidden, dtype=self.dtype)(x))
        value = nn.relu(TorchDense(self.hidden, dtype=self.dtype)(x))
        logits = TorchDense(self.outputs)(policy.astype(jnp.float32))
        return jnp.moveaxis(logits, 0, -1), TorchDense(1)(value.astype(jnp.float32))[0]
