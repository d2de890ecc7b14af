"""Arrays that everything else passes around: cell codes, the environment, and what an agent knows of it.

Device module: pure, jittable, imports nothing of the package. Every module may import it.

A *cell code* is one byte that stands for MiniGrid's three (object, colour, state): `kind | colour << 4`, where
`kind` is MiniGrid's object index, except that a door that is not open has a kind of its own. So a map is one byte
a cell, and the pair `encode_cells` / `decode_cells` is exact for everything MiniGrid's grid can hold.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

# Kinds: MiniGrid's OBJECT_TO_IDX, then the two further states of a door.
UNSEEN, EMPTY, WALL, FLOOR, DOOR_OPEN, KEY, BALL, BOX, GOAL, LAVA, AGENT, DOOR_CLOSED, DOOR_LOCKED = range(13)
NUM_KINDS = 13

# MiniGrid's COLOR_TO_IDX.
RED, GREEN, BLUE, PURPLE, YELLOW, GREY = range(6)
COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")

# MiniGrid's Actions.
LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
NUM_ACTIONS = 7
ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")

# The step that each direction (0 right, 1 down, 2 left, 3 up) takes in x and in y.
DIR_X = (1, 0, -1, 0)
DIR_Y = (0, 1, 0, -1)


def code(kind: int, colour: int = 0) -> int:
    """The cell code of an object of `kind` and `colour`, a Python int in 0..255."""
    return kind | colour << 4


EMPTY_CODE = code(EMPTY)
WALL_CODE = code(WALL, GREY)
GOAL_CODE = code(GOAL, GREEN)
LAVA_CODE = code(LAVA)


# What an agent can step on.
ENTERABLE = (EMPTY, FLOOR, DOOR_OPEN, GOAL, LAVA)


def kind_of(cells: jax.Array) -> jax.Array:
    """The kind in each cell code, same shape and dtype."""
    return cells & 15


def colour_of(cells: jax.Array) -> jax.Array:
    """The colour in each cell code, same shape and dtype."""
    return cells >> 4


def one_of(kinds: jax.Array, *which: int) -> jax.Array:
    """Where `kinds` is one of `which`: a boolean array of the same shape."""
    hit = kinds == which[0]
    for kind in which[1:]:
        hit = hit | (kinds == kind)
    return hit


def decode_cells(cells: jax.Array) -> jax.Array:
    """Cell codes `uint8[...]` -> MiniGrid's (object, colour, state) `uint8[..., 3]`."""
    kind = kind_of(cells)
    door = kind >= DOOR_CLOSED
    obj = jnp.where(door, DOOR_OPEN, kind)
    state = jnp.where(door, kind - (DOOR_CLOSED - 1), 0)
    return jnp.stack([obj, colour_of(cells), state], axis=-1).astype(jnp.uint8)


def encode_cells(symbolic: jax.Array) -> jax.Array:
    """MiniGrid's (object, colour, state) `uint8[..., 3]` -> cell codes `uint8[...]`. Inverse of `decode_cells`."""
    obj, colour, state = symbolic[..., 0], symbolic[..., 1], symbolic[..., 2]
    kind = jnp.where((obj == DOOR_OPEN) & (state > 0), state + (DOOR_CLOSED - 1), obj)
    return (kind | colour << 4).astype(jnp.uint8)
