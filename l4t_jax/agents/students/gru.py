"""A recurrent student for views: what the default student reads, one hidden layer and a GRU.

Device module. What it reads does not depend on its parameters and is found once (`features`), as bits. The hidden layer
and the GRU's products with it depend on nothing earlier, so they are computed for all steps at once. Only the products
with the GRU's own state are left to the scan over time.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l4t_jax.agents.students.base import Carry, StudentNetwork
from l4t_jax.agents.students.features import ego_words, spread, word_groups
from l4t_jax.agents.students.layers import Dense
from l4t_jax.envs.state import MemoryMap
from l4t_jax.kernels import CPU, Kernels, bits
from l4t_jax.kernels.linear import affine
from l4t_jax.kernels.planes import Planes


class GRU(nn.Module):
    """A gated recurrent unit over time, the batch last; its state is zeroed where an episode starts.

    Source: Cho et al. 2014, arXiv 1406.1078, as cuDNN and `flax.linen.GRUCell` have it: the reset gate multiplies the
    state after its product with the weights. With r, z and n from the parts of `inputs` and of `state`, n' is
    tanh(n_x + r * n_h) and the new state (1 - z) * n' + z * h.

    Attributes:
        features: width of its state.
        longest: steps that it keeps things for at first, at most (`_biases`).
        tuning: how its products are computed.
    """

    features: int
    longest: int
    tuning: Kernels = CPU

    @nn.compact
    def __call__(self, state: jax.Array, x: jax.Array, reset: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The state after the last step, and those after each.

        Args:
            state: `float32[F, B]` before the first step.
            x: `float32[in, T, B]`.
            reset: `bool[T, B]` the step starts an episode: the state before it is zeros.

        Returns:
            `float32[F, B]` and `float32[F, T, B]`.
        """
        starts = _biases(self.longest)
        inputs = Dense(3 * self.features, bias_init=starts, tuning=self.tuning, name="inputs")(x)
        kernel = self.param("kernel", _three_orthogonal, (self.features, 3 * self.features))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        biases = jnp.concatenate([jnp.zeros(2 * self.features), bias])  # the gates have theirs from the inputs

        def step(state: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            given, begins = row
            state = jnp.where(begins, 0.0, state)
            given_r, given_z, given_n = jnp.split(given, 3)
            own_r, own_z, own_n = jnp.split(affine(state, kernel, biases, self.tuning), 3)
            reset_gate, update = nn.sigmoid(given_r + own_r), nn.sigmoid(given_z + own_z)
            new = nn.tanh(given_n + reset_gate * own_n)
            state = new + update * (state - new)
            return state, state

        state, states = jax.lax.scan(step, state, (jnp.moveaxis(inputs, 1, 0), reset), unroll=len(reset) == 1)
        return state, jnp.moveaxis(states, 0, 1)


def _biases(longest: int) -> nn.initializers.Initializer:
    """How the biases of a GRU's gates start, `[3 F]`: each unit with a time for which it keeps its state.

    The times are drawn evenly from 1 to `longest` steps (Tallec and Ollivier 2018, arXiv 1804.11188). With biases of 0
    a state is halved at every step, and what was seen ten steps ago leaves no gradient to learn from.
    """

    def init(key: jax.Array, shape: tuple[int], dtype: Any = jnp.float32) -> jax.Array:
        kept = jax.random.uniform(key, (shape[0] // 3,), dtype, 1.0, float(longest))
        zeros = jnp.zeros_like(kept)
        return jnp.concatenate([zeros, jnp.log(kept), zeros])

    return init


def _three_orthogonal(key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> jax.Array:
    """Three orthogonal matrices `[F, F]` next to each other: `[F, 3 F]`."""
    draw = nn.initializers.orthogonal()
    return jnp.concatenate([draw(own, (shape[0], shape[1] // 3), dtype) for own in jax.random.split(key, 3)], axis=1)


class EgoGRU(StudentNetwork):
    """A recurrent student for `observation=view`; it reads maps as well.

    Its input is the default student's, but for two things. The window of cells is the agent's field of view, which lies
    ahead of it: a view has nothing of what lies behind. And it does not count the situations that it was in: on a view
    a situation is what is seen now, and what was before is for the GRU to remember. Ways lead over what is shown.

    Its carry is the GRU's state, `float32[B, hidden]`.
    """

    longest: int = 32  # steps, as `num_steps` of the preset is: the gradient reaches no further

    def initial_carry(self, batch: int) -> Carry:
        return jnp.zeros((batch, self.hidden), jnp.float32)

    def prepare(self, carry: Carry, observation: MemoryMap, reset: jax.Array) -> tuple[Carry, jax.Array]:
        view = self.task.view
        return carry, ego_words(self.task, observation, view, self.kernel, view // 2)[0]

    @nn.compact
    def __call__(
        self, carry: Carry, memory: MemoryMap | jax.Array, reset: jax.Array
    ) -> tuple[Carry, jax.Array, jax.Array]:
        words = self.prepare(carry, memory, reset)[1] if isinstance(memory, MemoryMap) else memory
        words = bits.features_first(words, self.kernel)
        x: jax.Array | Planes
        if self.kernel.bit_planes:
            x = Planes(words, word_groups(self.task, self.task.view))
        else:
            x = spread(self.task, words, self.task.view).astype(self.dtype)
        x = nn.relu(Dense(self.hidden, self.dtype, nn.initializers.orthogonal(2**0.5), tuning=self.kernel)(x))
        state, states = GRU(self.hidden, self.longest, self.kernel)(carry.T, x.astype(jnp.float32), reset)
        logits = Dense(self.outputs, kernel_init=nn.initializers.orthogonal(0.01), tuning=self.kernel)(states)
        value = Dense(1, kernel_init=nn.initializers.orthogonal(1.0), tuning=self.kernel)(states)
        return state.T, jnp.moveaxis(logits, 0, -1), value[0]
