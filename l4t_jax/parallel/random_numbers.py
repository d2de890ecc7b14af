"""Random numbers that depend on the environment's id, not on the device that it runs on.

Device module without imports from `l4t_jax`.
"""

from __future__ import annotations

import jax


def per_env_keys(key: jax.Array, env_id: jax.Array) -> jax.Array:
    """A random key for each environment, derived from its id: `int32[N]` -> `key[N]`."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, env_id)


def per_env_bits(key: jax.Array, env_id: jax.Array, words: int) -> jax.Array:
    """Random 32-bit words for each environment, derived from its id: `int32[N]` -> `uint32[N, words]`."""
    return jax.vmap(lambda own: jax.random.bits(own, (words,)))(per_env_keys(key, env_id))
