"""An LSTM over time that leaves to each step only what depends on the step before.

Device module. The products with the input depend on nothing earlier, so they are computed for all steps at once; so
are the gradients of all weights. Only the products with the LSTM's own state are left to the scan over time. With the
cell of flax in a scan, a CPU reads and writes the gradient of all weights at every step.
"""

from __future__ import annotations

from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.recurrent import DenseParams

State = tuple[jax.Array, jax.Array]  # c, h: float32[B, F] each
_Saved = tuple[jax.Array, ...]


class LSTM(nn.Module):
    """One layer; its state is zeroed where an episode starts.

    Source: Hochreiter and Schmidhuber 1997, with the equations, the parameters and their names of
    `flax.linen.OptimizedLSTMCell`.

    Attributes:
        features: F, the width of its state.
    """

    features: int

    @nn.compact
    def __call__(self, state: State, x: jax.Array, reset: jax.Array) -> tuple[State, jax.Array]:
        """The state after the last step, and h after each.

        Args:
            state: before the first step.
            x: `float32[T, B, in]`.
            reset: `bool[T, B]` the step starts an episode: the state before it is zeros.

        Returns:
            The state, and `float32[T, B, F]`.
        """
        orthogonal = nn.initializers.orthogonal()
        of_input = [DenseParams(self.features, use_bias=False, name=f"i{gate}")(x)[0] for gate in "ifgo"]
        of_state = [DenseParams(self.features, kernel_init=orthogonal, name=f"h{gate}")(state[1]) for gate in "ifgo"]
        bias = jnp.concatenate([cast(jax.Array, bias) for _, bias in of_state])
        given = x @ jnp.concatenate(of_input, axis=1) + bias
        return recurrence(jnp.concatenate([kernel for kernel, _ in of_state], axis=1), given, reset, state)


@jax.custom_vjp
def recurrence(kernel: jax.Array, given: jax.Array, reset: jax.Array, state: State) -> tuple[State, jax.Array]:
    """The part of an LSTM that goes from step to step.

    Args:
        kernel: `float32[F, 4 F]` of the state, for the gates i, f, g, o.
        given: `float32[T, B, 4 F]` what the input and the biases give each gate.
        reset: `bool[T, B]` the state before the step is zeros.
        state: before the first step.

    Returns:
        The state after the last step, and h after each, `float32[T, B, F]`.
    """
    state, _, h = _forward(kernel, given, reset, state)
    return state, h


def _forward(
    kernel: jax.Array, given: jax.Array, reset: jax.Array, state: State
) -> tuple[State, _Saved, jax.Array]:  # fmt: skip
    def step(state: State, row: tuple[jax.Array, jax.Array]) -> tuple[State, tuple[_Saved, jax.Array]]:
        given, reset = row
        c, h = (jnp.where(reset[:, None], 0.0, part) for part in state)
        i, f, g, o = jnp.split(given + h @ kernel, 4, axis=-1)
        i, f, g, o = nn.sigmoid(i), nn.sigmoid(f), nn.tanh(g), nn.sigmoid(o)
        new = f * c + i * g
        after = o * nn.tanh(new)
        return (new, after), ((i, f, g, o, c, new, h), after)

    state, (saved, h) = jax.lax.scan(step, state, (given, reset), unroll=len(reset) == 1)
    return state, saved, h


def _with_saved(kernel: jax.Array, given: jax.Array, reset: jax.Array, state: State) -> tuple[Any, Any]:
    state, saved, h = _forward(kernel, given, reset, state)
    return (state, h), (kernel, reset, saved)


def _backward(kept: tuple[jax.Array, jax.Array, _Saved], found: tuple[State, jax.Array]) -> tuple[Any, ...]:
    kernel, reset, saved = kept
    (last_c, last_h), by_step = found

    def step(later: State, row: tuple[Any, ...]) -> tuple[State, jax.Array]:
        (to_c, to_h), (reset, (i, f, g, o, c, new, _), of_h) = later, row
        to_h = to_h + of_h
        squashed = nn.tanh(new)
        to_c = to_c + to_h * o * (1 - squashed**2)
        gates = jnp.concatenate(
            [to_c * g * i * (1 - i), to_c * c * f * (1 - f), to_c * i * (1 - g**2), to_h * squashed * o * (1 - o)],
            axis=-1,
        )
        earlier = to_c * f, gates @ kernel.T
        return cast(State, tuple(jnp.where(reset[:, None], 0.0, part) for part in earlier)), gates

    state, gates = jax.lax.scan(step, (last_c, last_h), (reset, saved, by_step), reverse=True)
    h = saved[-1]
    return jnp.einsum("tbf,tbg->fg", h, gates), gates, None, state


recurrence.defvjp(_with_saved, _backward)
