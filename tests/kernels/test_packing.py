"""Arrays packed by the size of their numbers keep every bit."""

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.kernels import GPU, PORTABLE
from l4t_jax.kernels.packing import packed, scan


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
    groups = packed(jax.tree.map(lambda leaf: leaf[0], rows))
    assert {size: (words.dtype.itemsize, *words.shape) for size, words in groups.items()} == {
        1: (1, 8 + 3 + 1, number), 2: (2, 7, number), 4: (4, 2, number)
    }  # fmt: skip
    turns, back = scan(lambda turns, row: (turns + 1, row), 0, rows, GPU)
    assert (turns, back["nothing"]) == (steps, None)
    assert GPU.packs and not PORTABLE.packs
    for name in tree.keys() - {"nothing"}:
        assert back[name].dtype == tree[name].dtype, name
        np.testing.assert_array_equal(back[name], tree[name], err_msg=name)
