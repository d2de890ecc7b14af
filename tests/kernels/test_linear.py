"""The tuned linear layer against its plain reference, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.students.layers import affine_reference
from l4t_jax.kernels.linear import affine


@pytest.mark.parametrize("inputs, outputs, batch", [(4, 3, 6), (1, 5, 2), (7, 1, 1)])
def test_values_and_gradients_are_the_references(key, inputs, outputs, batch):
    shapes = [(inputs, batch), (inputs, outputs), (outputs,)]
    keys = jax.random.split(key, 3)
    args = [jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)]

    def both(layer):
        return jax.jit(jax.value_and_grad(lambda *args: jnp.sum(jnp.sin(layer(*args))), (0, 1, 2)))(*args)

    (value, slopes), (expected, expected_slopes) = both(affine), both(affine_reference)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    for got, wanted, arg in zip(slopes, expected_slopes, args, strict=True):
        assert got.shape == arg.shape
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    np.testing.assert_allclose(affine(*args), affine_reference(*args), atol=1e-5)
