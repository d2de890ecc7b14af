"""What the default student remembers of where it has been: the last situations that it was in.

Device module. A situation is what the agent knows of the map, what it carries, where it stands and how it is turned. A
student that is in the same one again, with the same input, would do the same again, for ever if it acts greedily. So it
reads how often it has been in this one lately, and in those that a turn or a step ahead would lead to if they show
nothing new. This is no learned memory: nothing in it depends on the student's parameters.

A situation is kept as a number of 24 bits, which a `float32` holds exactly. Two of them have the same with a chance of
6e-8.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax.abstraction.scene import Scene
from l4t_jax.envs.cells import EMPTY, ENTERABLE, one_of

KEPT = 128  # situations
NONE = -1.0
OFTEN = (1, 2, 4)  # how often a situation was met that are told apart: at least so many times
RECALLED = 4 * len(OFTEN)  # bits: of this situation, and after turning left, turning right, a step ahead
# Odd numbers without a pattern, by which the parts of a situation are multiplied.
_X, _Y, _D, _CARRIED, _CELL, _MIX = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1, 0xCC9E2D51


def nothing(batch: int) -> jax.Array:
    """What is remembered before the first step, `float32[B, KEPT]`."""
    return jnp.full((batch, KEPT), NONE, jnp.float32)


def recall(situations: jax.Array, kept: jax.Array, reset: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One step of B agents: what each remembers after it, and its `RECALLED` bits as a word.

    Args:
        situations: `float32[B, 4]` of `situations`.
        kept: `float32[B, KEPT]` the last situations, the newest first.
        reset: `bool[B]` an episode starts: all is forgotten first.

    Returns:
        `float32[B, KEPT]`, and `uint16[B]`: for this situation, and those after turning left, turning right and a step
        ahead, whether it was met at least once, twice and four times.
    """
    kept = jnp.where(reset[:, None], NONE, kept)
    met = jnp.sum(kept[:, None] == situations[:, :, None], axis=-1, dtype=jnp.uint16)  # (B, 4)
    bits = (met[:, :, None] >= jnp.asarray(OFTEN, jnp.uint16)).reshape(-1, RECALLED)
    word = jnp.sum(bits.astype(jnp.uint16) << jnp.arange(RECALLED, dtype=jnp.uint16), axis=1, dtype=jnp.uint16)
    return jnp.concatenate([situations[:, :1], kept[:, :-1]], axis=1), word


def situations(scene: Scene, free: jax.Array) -> jax.Array:
    """The numbers of the situation and of those after a turn left, a turn right, a step ahead: `float32[B, 4]`.

    Those ahead are as they would be if nothing new were seen. A step ahead that is blocked leads to this one.

    Args:
        scene: what B agents know.
        free: `bool[B]` whether each can step ahead.
    """
    width, height, _ = scene.kinds.shape
    # All that can be walked on counts alike: an agent that stands on an open door does not see it.
    walkable = one_of(scene.kinds, *ENTERABLE)
    place = jnp.arange(1, width * height + 1, dtype=jnp.uint32)
    weights = (place * jnp.uint32(_CELL) ^ place * jnp.uint32(_MIX) >> 13) | 1
    cells = jnp.where(walkable | scene.here, jnp.uint8(EMPTY), scene.kinds | scene.colours << 4)
    known = jnp.sum(cells.astype(jnp.uint32) * weights.reshape(width, height, 1), axis=(0, 1), dtype=jnp.uint32)
    known = known + scene.memory.carrying.astype(jnp.uint32) * jnp.uint32(_CARRIED)
    (x, y, d), (ahead_x, ahead_y) = scene.agent, scene.ahead

    def number(x: jax.Array, y: jax.Array, d: jax.Array) -> jax.Array:
        pose = x.astype(jnp.uint32) * jnp.uint32(_X) + y.astype(jnp.uint32) * jnp.uint32(_Y)
        pose = pose + (d & 3).astype(jnp.uint32) * jnp.uint32(_D)
        mixed = (known + pose) * jnp.uint32(_MIX)
        return ((mixed ^ mixed >> 15) * jnp.uint32(_CELL) >> 8).astype(jnp.float32)

    step = number(jnp.where(free, ahead_x, x), jnp.where(free, ahead_y, y), d)
    return jnp.stack([number(x, y, d), number(x, y, d - 1), number(x, y, d + 1), step], axis=1)
