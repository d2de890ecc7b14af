"""MiniGrid's LockedRoom: six rooms along a hall, the goal in a locked one and its key in another.

Device module. Source: Farama `minigrid/envs/lockedroom.py`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.envs.cells import COLOURS, DOOR_CLOSED, DOOR_LOCKED, EMPTY_CODE, GOAL, GOAL_CODE, KEY, WALL_CODE
from l4t_jax.envs.layout import between, pick, pose, put
from l4t_jax.envs.missions import Mission
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.room_grid import paint, shuffled, split_draws
from l4t_jax.envs.state import Layout
from l4t_jax.envs.success import goal_reached
from l4t_jax.envs.task import Role, Task

SIZE = 19
LEFT_WALL, RIGHT_WALL = 7, 11  # of the hall
ROOM_HEIGHT = 6  # with one of its walls


def _walls() -> np.ndarray:
    x, y = np.arange(SIZE)[:, None], np.arange(SIZE)[None, :]
    upright = (x == 0) | (x == LEFT_WALL) | (x == RIGHT_WALL) | (x == SIZE - 1)
    level = (y == 0) | (y == SIZE - 1) | ((y % ROOM_HEIGHT == 0) & ((x < LEFT_WALL) | (x > RIGHT_WALL)))
    return np.where(upright | level, WALL_CODE, EMPTY_CODE).astype(np.uint8)


def _inside(room: jax.Array) -> jax.Array:
    """`bool[SIZE, SIZE]`: the floor of room 0..5; even ones are left of the hall, and they are counted downwards."""
    left, top = room % 2 * RIGHT_WALL, room // 2 * ROOM_HEIGHT
    x, y = jnp.arange(SIZE)[:, None] - left, jnp.arange(SIZE)[None, :] - top
    return (x > 0) & (x < LEFT_WALL) & (y > 0) & (y < ROOM_HEIGHT)


def locked_room(key: jax.Array) -> Layout:
    """All doors have different colours; the agent is in the hall."""
    for_colours, rest = split_draws(key, 6, 7)
    for_locked, for_goal, for_key_room, for_key, for_x, for_y, direction = rest
    rooms = jnp.arange(6)
    locked = between(for_locked, 0, 6)
    key_room = (locked + between(for_key_room, 1, 6)) % 6
    colours = shuffled(for_colours)
    doors = jnp.where(rooms == locked, DOOR_LOCKED, DOOR_CLOSED) | colours << 4
    cells = jnp.asarray(_walls())
    cells = paint(cells, jnp.where(rooms % 2 == 0, LEFT_WALL, RIGHT_WALL), rooms // 2 * ROOM_HEIGHT + 3, doors)
    cells = put(cells, *pick(for_goal, _inside(locked)), GOAL_CODE)
    cells = put(cells, *pick(for_key, _inside(key_room)), KEY | colours[locked] << 4)
    agent = pose(between(for_x, LEFT_WALL + 1, RIGHT_WALL), between(for_y, 1, SIZE - 1), between(direction, 0, 4))
    return Layout(cells, agent, jnp.stack([colours[locked], colours[key_room]]).astype(jnp.int8))


def mission_text(words: tuple[str, ...]) -> str:
    """MiniGrid's sentence for the colours of the locked room and of the key's room."""
    locked, key_room = words
    return f"get the {locked} key from the {key_room} room, unlock the {locked} door and go to the goal"


register_task(
    Task(
        name="LockedRoom",
        family="LockedRoom",
        minigrid_id="MiniGrid-LockedRoom-v0",
        width=SIZE,
        height=SIZE,
        max_steps=10 * SIZE,
        layout=locked_room,
        success=goal_reached,
        objects=(
            Role("key", (KEY,)),
            Role("key room door", (DOOR_CLOSED,), mission_colour=1),
            Role("locked door", (DOOR_LOCKED,)),
            Role("goal", (GOAL,)),
        ),
        skills=("search", "find", "go_to", "reach", "pick_up", "open"),
        description=(
            "Six rooms lie along a hall. The agent must open the door of the room with the key, fetch the key, unlock "
            "the locked door and walk onto the goal."
        ),
        teacher="LockedRoom.json",
        mission=Mission(fields=(("colour", COLOURS), ("key_room", COLOURS)), text=mission_text),
    )
)
