"""What the default student remembers of where it has been: the last situations that it was in.

Device module. A situation is what the agent knows of the map, what it carries, where it stands and how it is turned. A
student that is in the same one again, with the same input, would do the same again, for ever if it acts greedily. So it
reads how often it has been in this one lately, and in those that a turn or a step ahead would lead to if they show
nothing new. Where an action leads back to one it has been in very often, its logit is lowered (`lowered`). This is no
learned memory: nothing in it depends on the student's parameters.

A situation is kept as a number of 24 bits, which a `float32` holds exactly. Two of them have the same with a chance of
6e-8.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp

from l4t_jax.abstraction.scene import Scene
from l4t_jax.envs.cells import (
    DONE,
    DOOR_CLOSED,
    DOOR_OPEN,
    DROP,
    EMPTY,
    ENTERABLE,
    FORWARD,
    LEFT,
    NUM_ACTIONS,
    PICKUP,
    RIGHT,
    TOGGLE,
    one_of,
)
from l4t_jax.kernels import select

KEPT = 128  # situations
NONE = -1.0
READ = (DONE, LEFT, RIGHT, FORWARD)  # actions of which it reads how often it has been where they lead; DONE: here
OFTEN = (1, 2, 4)  # how often a situation was met that are told apart: at least so many times
RECALLED = len(READ) * len(OFTEN)  # bits
# An action that leads where the agent has been at least so many times of the last `KEPT` steps loses so much of its
# logit. The last is more than any student is sure by.
REPEATED, LOWERED = (8, 16, 32), (2.0, 6.0, 20.0)
LEVEL_BITS = 2
# Odd numbers without a pattern, by which the parts of a situation are multiplied.
_X, _Y, _D, _CARRIED, _CELL, _MIX = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1, 0xCC9E2D51


def nothing(batch: int) -> jax.Array:
    """What is remembered before the first step, `float32[B, KEPT]`."""
    return jnp.full((batch, KEPT), NONE, jnp.float32)


def recall(situations: jax.Array, kept: jax.Array, reset: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One step of B agents: what each remembers after it, and what it recalls, as two words.

    Args:
        situations: `float32[B, NUM_ACTIONS]` of `situations`.
        kept: `float32[B, KEPT]` the last situations, the newest first.
        reset: `bool[B]` an episode starts: all is forgotten first.

    Returns:
        `float32[B, KEPT]`, and `uint16[B, 2]`. The first word has `RECALLED` bits: for the situation that each action
        of `READ` leads to, whether it was met at least once, twice and four times. The second is for `lowered`.
    """
    kept = jnp.where(reset[:, None], NONE, kept)
    same = (kept[:, None] == situations[:, :, None]).astype(jnp.int32)
    # A sum of 32: one of all 128 takes a CPU twice as long.
    quarters = functools.reduce(jnp.add, jnp.split(same, 4, axis=-1))
    met = jnp.sum(quarters, axis=-1, dtype=jnp.int32).astype(jnp.uint16)  # (B, NUM_ACTIONS)
    by_action = [met[:, action] for action in range(NUM_ACTIONS)]

    def word(values: Iterable[jax.Array], bits: int) -> jax.Array:
        shifted = [value.astype(jnp.uint16) << i * bits for i, value in enumerate(values)]
        return functools.reduce(jnp.bitwise_or, shifted)

    often = [by_action[action] >= least for action in READ for least in OFTEN]
    level = [functools.reduce(jnp.add, [(one >= least).astype(jnp.uint16) for least in REPEATED]) for one in by_action]
    words = jnp.stack([word(often, 1), word(level, LEVEL_BITS)], axis=1)
    return jnp.concatenate([situations[:, DONE, None], kept[:, :-1]], axis=1), words


def lowered(logits: jax.Array, word: jax.Array) -> jax.Array:
    """Logits `float32[NUM_ACTIONS, *B]` without what an action loses that leads where the agent has been very often.

    No input leads a greedy student out of a loop in which all that it reads stays the same. This does: the oftener, the
    more an action loses that leads on along the loop, or that changes nothing.

    Args:
        logits: of the student.
        word: `[*B]` the second of `recall`, an unsigned integer.
    """
    shifts = jnp.arange(NUM_ACTIONS, dtype=word.dtype).reshape(-1, *[1] * word.ndim) * LEVEL_BITS
    level = word >> shifts & (1 << LEVEL_BITS) - 1
    return logits - select([level == number for number in range(1, len(LOWERED) + 1)], LOWERED, 0.0)


def situations(scene: Scene, changes: dict[int, jax.Array]) -> jax.Array:
    """The numbers of the situations that each action leads to: `float32[B, NUM_ACTIONS]`. Done leads to this one.

    They are as they would be if nothing new were seen. An action that changes nothing leads to this one. A box that is
    opened is taken to be empty.

    Args:
        scene: what B agents know.
        changes: action -> `bool[B]` whether it would change anything, as far as the agent knows; for `FORWARD`,
            `PICKUP`, `DROP` and `TOGGLE`.
    """
    width, height, _ = scene.kinds.shape
    # All that can be walked on counts alike: an agent that stands on an open door does not see it.
    walkable = one_of(scene.kinds, *ENTERABLE)
    weights = _weight(jnp.arange(width * height, dtype=jnp.uint32)).reshape(width, height, 1)
    cells = jnp.where(walkable | scene.here, jnp.uint8(EMPTY), scene.kinds | scene.colours << 4)
    known = jnp.sum(cells.astype(jnp.uint32) * weights, axis=(0, 1), dtype=jnp.uint32)
    held = scene.memory.carrying.astype(jnp.uint32)
    known = known + held * jnp.uint32(_CARRIED)
    (x, y, d), (ahead_x, ahead_y) = scene.agent, scene.ahead

    def number(known: jax.Array, x: jax.Array, y: jax.Array, d: jax.Array) -> jax.Array:
        pose = x.astype(jnp.uint32) * jnp.uint32(_X) + y.astype(jnp.uint32) * jnp.uint32(_Y)
        pose = pose + (d & 3).astype(jnp.uint32) * jnp.uint32(_D)
        mixed = (known + pose) * jnp.uint32(_MIX)
        return ((mixed ^ mixed >> 15) * jnp.uint32(_CELL) >> 8).astype(jnp.float32)

    place, kind, colour = scene.cell_ahead
    empty, weight = jnp.uint32(EMPTY), _weight(place.astype(jnp.uint32))
    there = jnp.where(one_of(kind, *ENTERABLE), empty, (kind | colour << 4).astype(jnp.uint32))
    shut = (jnp.uint8(DOOR_CLOSED) | colour << 4).astype(jnp.uint32)

    def with_change(action: int, ahead: jax.Array, carried: jax.Array) -> jax.Array:
        change = (ahead - there) * weight + (carried - held) * jnp.uint32(_CARRIED)
        return number(jnp.where(changes[action], known + change, known), x, y, d)

    free = changes[FORWARD]
    leads_to = {
        LEFT: number(known, x, y, d - 1),
        RIGHT: number(known, x, y, d + 1),
        FORWARD: number(known, jnp.where(free, ahead_x, x), jnp.where(free, ahead_y, y), d),
        PICKUP: with_change(PICKUP, empty, there),
        DROP: with_change(DROP, held, jnp.zeros_like(held)),
        TOGGLE: with_change(TOGGLE, jnp.where(kind == DOOR_OPEN, shut, empty), held),
        DONE: number(known, x, y, d),
    }
    # Left alone, XLA on a CPU finds each number anew for each situation that it is compared with (eight times slower).
    return scene.kernel.once(jnp.stack([leads_to[action] for action in range(NUM_ACTIONS)], axis=1))


def _weight(place: jax.Array) -> jax.Array:
    """What the cell of that number counts in the number of a situation, `uint32`, odd."""
    own = place + 1
    return (own * jnp.uint32(_CELL) ^ own * jnp.uint32(_MIX) >> 13) | 1
