"""Arrays packed by the size of their numbers keep every bit."""

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.kernels.packing import packed, unpacked


def test_what_is_packed_in_a_loop_comes_back_as_it_was(rng):
    steps, number = 5, 3
    tree = {
        "cells": rng.integers(0, 256, (steps, number, 2, 4)).astype(np.uint8),
        "agent": rng.integers(-128, 128, (steps, number, 3)).astype(np.int8),
        "done": rng.random((steps, number)) < 0.5,
        "words": rng.integers(0, 2**16, (steps, number, 7)).astype(np.uint16),
        "value": np.where(rng.random((steps, number)) < 0.3, np.nan, rng.normal(size=(steps, number))).astype(
            np.float32
        ),
        "action": rng.integers(-9, 9, (steps, number)).astype(np.int32),
        "nothing": None,
    }
    rows = jax.tree.map(jnp.asarray, tree)
    _, groups = jax.lax.scan(lambda carry, row: (carry, packed(row)), 0, rows)
    assert {size: (words.dtype.itemsize, words.shape[1]) for size, words in groups.items()} == {
        1: (1, 8 + 3 + 1), 2: (2, 7), 4: (4, 2)
    }  # fmt: skip
    back = unpacked(groups, jax.tree.map(lambda leaf: leaf[0], rows))
    assert back["nothing"] is None
    for name in tree.keys() - {"nothing"}:
        assert back[name].dtype == tree[name].dtype, name
        np.testing.assert_array_equal(back[name], tree[name], err_msg=name)
