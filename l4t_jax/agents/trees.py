"""Trees of arrays: zeros to begin a loop with.

Device module, imports nothing of the package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def zeros_of(function: Callable[..., Any], *arguments: Any) -> Any:
    """Zeros in the shapes and dtypes of what a function gives for these arguments; it is not computed."""

    def zeros(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.zeros(leaf.shape, leaf.dtype)

    return jax.tree.map(zeros, jax.eval_shape(function, *arguments))
