"""The LSTM of the paper's recurrent student beside flax's cell: parameters, values and gradients."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.students.lstm import LSTM

STEPS, BATCH, IN, F = 6, 3, 5, 4


class Plain(nn.Module):
    """flax's cell, one step after the other."""

    @nn.compact
    def __call__(self, state: Any, x: jax.Array, reset: jax.Array) -> tuple[Any, jax.Array]:
        cell, found = nn.OptimizedLSTMCell(F), list[jax.Array]()
        for t in range(len(x)):
            c, h = (jnp.where(reset[t][:, None], 0.0, part) for part in state)
            state, h = cell((c, h), x[t])
            found.append(h)
        return state, jnp.stack(found)


@pytest.mark.parametrize("steps", [1, STEPS])
def test_it_is_flaxs_cell_over_time_with_states_zeroed_at_resets(steps: int, key: jax.Array) -> None:
    keys = jax.random.split(key, 6)
    x = jax.random.normal(keys[0], (steps, BATCH, IN))
    state = tuple(jax.random.normal(one, (BATCH, F)) for one in keys[1:3])
    reset = jnp.zeros((steps, BATCH), bool).at[steps // 2, 1].set(True).at[0, 2].set(True)
    ours, plain = LSTM(F), Plain()
    theirs: Any = plain.init(keys[3], state, x, reset)
    shapes: Any = jax.eval_shape(ours.init, keys[3], state, x, reset)
    cell = theirs["params"]["OptimizedLSTMCell_0"]
    assert jax.tree.map(jnp.shape, shapes["params"]) == jax.tree.map(jnp.shape, cell)

    def moved(leaf: jax.Array) -> jax.Array:
        return leaf + 0.1 * jax.random.normal(keys[4], leaf.shape)  # biases that are not zeros

    params = jax.tree.map(moved, cell)

    def total(which: nn.Module, wrap: Any, params: Any, state: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        found: Any = which.apply({"params": wrap(params)}, state, x, reset)
        (c, h), states = found
        return jnp.sum(jnp.sin(3 * states)) + jnp.sum(c**2) + jnp.sum(h * jnp.arange(F)), found

    def of(which: nn.Module, wrap: Any) -> Any:
        return jax.jit(jax.value_and_grad(lambda *args: total(which, wrap, *args), (0, 1, 2), has_aux=True))(
            params, state, x
        )

    mine, expected = of(ours, lambda params: params), of(plain, lambda params: {"OptimizedLSTMCell_0": params})
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), mine, expected)
