"""Layers with the batch last, against jax's and flax's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.students.layers import Dense, PatchConv


def test_the_patch_convolution_is_a_convolution(key):
    x = jax.random.normal(key, (4, 10, 7, 2, 3))
    layer = PatchConv(5)
    params = layer.init(key, x)
    (dense,) = jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, dict) and "kernel" in node)
    kernel = dense["kernel"].reshape(3, 3, 4, 5)
    flat = jnp.moveaxis(x.reshape(4, 10, 7, 6), (3, 0), (0, 3))
    expected = jax.lax.conv_general_dilated(flat, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    got = jnp.moveaxis(layer.apply(params, x).reshape(5, 10, 7, 6), (3, 0), (0, 3))
    np.testing.assert_allclose(got, expected + dense["bias"], atol=1e-5)
    # PyTorch's default: uniform in +-1/sqrt(fan in), fan in 3 * 3 * 4 = 36
    assert float(jnp.abs(kernel).max()) <= 1 / 6 and float(jnp.abs(kernel).max()) > 0.15
    assert float(jnp.abs(dense["bias"]).max()) <= 1 / 6
    assert float(jnp.std(kernel)) == pytest.approx(1 / 6 / 3**0.5, rel=0.15)


def test_a_linear_layer_is_flaxs(key):
    x = jax.random.normal(key, (6, 5, 4))  # flax has the batch first
    theirs = nn.Dense(3)
    params = theirs.init(key, x)
    got = Dense(3).apply(params, jnp.moveaxis(x, -1, 0))
    np.testing.assert_allclose(jnp.moveaxis(got, 0, -1), theirs.apply(params, x), atol=1e-5)
