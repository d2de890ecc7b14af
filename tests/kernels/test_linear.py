"""The tuned linear layer against its plain reference, values and gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.students.layers import affine_reference
from l4t_jax.kernels import CPU, GPU, TPU, linear, planes
from l4t_jax.kernels.planes import Group, Planes


@pytest.mark.parametrize("tuning", [CPU, GPU, TPU], ids=lambda tuning: tuning.name)
@pytest.mark.parametrize("inputs, outputs, batch", [(4, 3, 6), (1, 5, 2), (7, 1, 1)])
def test_values_and_gradients_are_the_references(key, inputs, outputs, batch, tuning):
    affine = partial(linear.affine, tuning=tuning)
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


def test_bits_of_words_are_multiplied_as_if_they_were_unpacked(rng):
    """Two groups of several words and two of one; the unpacked features are put together one by one."""
    groups = (Group(4, 2), Group(3, 5), Group(1, 3), Group(1, 7))
    words = rng.integers(0, 2**16, (9, 11)).astype(np.uint16)
    x, first = [], 0
    for number, bits in groups:
        x += [words[first + i] >> bit & 1 for bit in range(bits) for i in range(number)]
        first += number
    x = jnp.asarray(np.stack(x), jnp.float32)
    packed = Planes(jnp.asarray(words), groups)
    assert packed.features == len(x) == 33
    kernel, bias, slope = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((33, 6), (6,), (6, 11)))

    def both(layer):
        return jax.value_and_grad(lambda kernel, bias: jnp.sum(layer(kernel, bias) * slope), (0, 1))(kernel, bias)

    got, expected = both(partial(planes.affine, packed)), both(partial(affine_reference, x))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), got, expected)
