"""The paper's students: convolutions over the memory map, feed-forward or with an LSTM.

Device module. Source: LLM4Teach, arXiv 2311.13373, and its reference code.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l4t_jax.agents.students.base import Carry, StudentNetwork
from l4t_jax.agents.students.layers import Heads, PatchConv, TorchDense
from l4t_jax.agents.students.lstm import LSTM
from l4t_jax.envs.state import MemoryMap, as_observation
from l4t_jax.kernels import CPU, Kernels


class PaperEncoder(nn.Module):
    """The paper's map encoder: the map as raw numbers, three convolutions of 16, 32 and 64 channels, ReLU.

    The paper's tasks have no drawn mission; where there is one, its values are added, one-hot.

    Attributes:
        sizes: how many values each field of the mission has.
        dtype: number type of its matrix products.
        tuning: how they are computed.
    """

    sizes: tuple[int, ...] = ()
    dtype: Any = jnp.float32
    tuning: Kernels = CPU

    @nn.compact
    def __call__(self, memory: MemoryMap) -> jax.Array:  # (*B,) -> (W * H * 64 + sum of sizes, *B)
        x = as_observation(memory)
        x = jnp.moveaxis(x, (-1, -3, -2), (0, 1, 2)).astype(self.dtype)
        for features in (16, 32, 64):
            x = nn.relu(PatchConv(features, self.dtype, self.tuning)(x))
        x = jnp.moveaxis(x, 0, 2).reshape(-1, *x.shape[3:])
        if not self.sizes:
            return x
        assert memory.mission is not None
        asked = [jax.nn.one_hot(memory.mission[..., i], size, axis=0) for i, size in enumerate(self.sizes)]
        return jnp.concatenate([x, *(one.astype(self.dtype) for one in asked)])


def _encoder(student: StudentNetwork) -> PaperEncoder:
    return PaperEncoder(student.task.mission.sizes if student.task.mission else (), student.dtype, student.kernel)


class PaperCNN(StudentNetwork):
    """The paper's student, feed-forward."""

    @nn.compact
    def __call__(self, carry: Carry, memory: MemoryMap, reset: jax.Array) -> tuple[Carry, jax.Array, jax.Array]:
        return carry, *Heads(self.hidden, self.outputs, self.dtype, self.kernel)(_encoder(self)(memory))


class PaperLSTM(StudentNetwork):
    """The paper's recurrent student: after the convolutions a ReLU layer and a two-layer LSTM, 256 units each.

    The carry is zeroed where an episode starts, inside the scan over time.
    """

    layers: int = 2

    def initial_carry(self, batch: int) -> Carry:
        zeros = jnp.zeros((batch, self.hidden), jnp.float32)
        return tuple((zeros, zeros) for _ in range(self.layers))

    @nn.compact
    def __call__(self, carry: Carry, memory: MemoryMap, reset: jax.Array) -> tuple[Carry, jax.Array, jax.Array]:
        x = nn.relu(TorchDense(self.hidden, self.dtype, self.kernel)(_encoder(self)(memory)))
        x = jnp.moveaxis(x, 0, -1).astype(jnp.float32)
        new: list[tuple[jax.Array, jax.Array]] = []
        for i, state in enumerate(carry):
            state, x = LSTM(self.hidden, name=f"lstm_{i}")(state, x, reset)
            new.append(state)
        return tuple(new), *Heads(64, self.outputs, self.dtype, self.kernel)(jnp.moveaxis(x, -1, 0))
