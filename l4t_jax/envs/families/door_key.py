"""The door-key tasks: the paper's four, and MiniGrid's DoorKey.

Device module. Distributions of levels: LLM4Teach's released tasks; Farama `minigrid/envs/doorkey.py` for the last.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import (
    BLUE,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    GOAL,
    GOAL_CODE,
    KEY,
    LAVA_CODE,
    RED,
    WALL_CODE,
    YELLOW,
    code,
)  # fmt: skip
from l4t_jax.envs.layout import between, draws, free, interior, pick, pose, put, walled
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.state import Layout
from l4t_jax.envs.success import door_opened, goal_reached
from l4t_jax.envs.task import DOORS, Role, Task

MAP = 10  # the paper's map; DivergedDoorKey's is twice that
TWO_DOOR_MAP = 20

STOCK_OBJECTS = (
    Role("key", (KEY,)),
    Role("locked door", (DOOR_LOCKED,), is_same_as="door"),
    Role("closed door", (DOOR_CLOSED,), is_same_as="door"),
    Role("open door", (DOOR_OPEN,), is_same_as="door"),
    Role("goal", (GOAL,)),
)
STOCK_SKILLS = ("explore", "search", "go_to", "reach", "pick_up", "drop", "open")


def room_with_door(
    words: list[jax.Array], door_code: jax.Array
) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array]]:
    """The paper's room: cells, interior, and the cell just inside the door; takes five draws."""
    width, height = between(words[0], 5, MAP + 1), between(words[1], 5, MAP + 1)
    wall = between(words[2], 0, 4)  # right, bottom, left, top
    along_x = between(words[3], 1, width - 1)
    along_y = between(words[4], 1, height - 1)
    door_x = jnp.select([wall == 0, wall == 2], [width - 1, 0], along_x)
    door_y = jnp.select([wall == 1, wall == 3], [height - 1, 0], along_y)
    inside_x = jnp.clip(door_x, 1, width - 2)
    inside_y = jnp.clip(door_y, 1, height - 2)
    cells = put(walled(MAP, width, height), door_x, door_y, door_code)
    return cells, interior(MAP, width, height), (inside_x, inside_y)


def simple_door_key(key: jax.Array) -> Layout:
    """SimpleDoorKey: one locked door and its key, of one random colour."""
    *room_draws, for_colour, for_agent, for_direction, for_key = draws(key, 9)
    colour = between(for_colour, 0, 6) << 4
    cells, room, _ = room_with_door(room_draws, DOOR_LOCKED | colour)
    x, y = pick(for_agent, room)
    key_x, key_y = pick(for_key, free(cells, room, (x, y)))
    cells = put(cells, key_x, key_y, KEY | colour)
    return Layout(cells, pose(x, y, between(for_direction, 0, 4)))


def lava_door_key(key: jax.Array) -> Layout:
    """LavaDoorKey: SimpleDoorKey with one cell of lava, never just inside the door."""
    *room_draws, for_colour, for_agent, for_direction, for_key, for_lava = draws(key, 10)
    colour = between(for_colour, 0, 6) << 4
    cells, room, inside = room_with_door(room_draws, DOOR_LOCKED | colour)
    x, y = pick(for_agent, room)
    key_x, key_y = pick(for_key, free(cells, room, (x, y)))
    cells = put(cells, key_x, key_y, KEY | colour)
    lava_x, lava_y = pick(for_lava, free(cells, room, (x, y), inside))
    cells = put(cells, lava_x, lava_y, LAVA_CODE)
    return Layout(cells, pose(x, y, between(for_direction, 0, 4)))


def colored_door_key(key: jax.Array) -> Layout:
    """ColoredDoorKey: a blue door, a blue key and a red one, no key just inside the door."""
    *room_draws, for_agent, for_direction, for_blue, for_red = draws(key, 9)
    cells, room, inside = room_with_door(room_draws, jnp.asarray(code(DOOR_LOCKED, BLUE)))
    x, y = pick(for_agent, room)
    blue_x, blue_y = pick(for_blue, free(cells, room, (x, y), inside))
    cells = put(cells, blue_x, blue_y, code(KEY, BLUE))
    red_x, red_y = pick(for_red, free(cells, room, (x, y), inside))
    cells = put(cells, red_x, red_y, code(KEY, RED))
    return Layout(cells, pose(x, y, between(for_direction, 0, 4)))


def diverged_door_key(key: jax.Array) -> Layout:
    """DivergedDoorKey: a 20 x 20 room, two locked doors on opposite walls, the key in its central 2 x 2."""
    for_axis, for_first, for_second, for_colour, for_agent, for_direction, *for_key = draws(key, 8)
    size = TWO_DOOR_MAP
    colour = between(for_colour, 0, 6) << 4
    left_right = between(for_axis, 0, 2) == 1
    first = between(for_first, 1, size - 1)
    second = between(for_second, 1, size - 1)
    cells = walled(size, jnp.int32(size), jnp.int32(size))
    door = DOOR_LOCKED | colour
    cells = put(cells, jnp.where(left_right, 0, first), jnp.where(left_right, first, 0), door)
    cells = put(cells, jnp.where(left_right, size - 1, second), jnp.where(left_right, second, size - 1), door)
    key_x, key_y = (between(draw, size // 2 - 1, size // 2 + 1) for draw in for_key)
    cells = put(cells, key_x, key_y, KEY | colour)
    room = interior(size, jnp.int32(size), jnp.int32(size))
    x, y = pick(for_agent, free(cells, room))
    return Layout(cells, pose(x, y, between(for_direction, 0, 4)))


def stock_door_key(size: int, key: jax.Array) -> Layout:
    """MiniGrid's own DoorKey, `size` x `size`: two rooms, a locked yellow door between, the goal in the far corner."""
    for_split, for_door, for_agent, for_direction, for_key = draws(key, 5)
    split = between(for_split, 2, size - 2)
    door_y = between(for_door, 1, size - 2)
    cells = walled(size, jnp.int32(size), jnp.int32(size))
    cells = jnp.where(jnp.arange(size)[:, None] == split, jnp.uint8(WALL_CODE), cells)
    cells = put(cells, jnp.int32(size - 2), jnp.int32(size - 2), GOAL_CODE)
    cells = put(cells, split, door_y, code(DOOR_LOCKED, YELLOW))
    near = interior(size, jnp.int32(size), jnp.int32(size)) & (jnp.arange(size)[:, None] < split)
    x, y = pick(for_agent, free(cells, near))
    key_x, key_y = pick(for_key, free(cells, near, (x, y)))
    cells = put(cells, key_x, key_y, code(KEY, YELLOW))
    return Layout(cells, pose(x, y, between(for_direction, 0, 4)))


_OPEN_THE_DOOR = "An agent in a small walled room must find the key, pick it up, go to the locked door and open it."

register_task(
    Task(
        name="SimpleDoorKey",
        aliases=("DoorKey",),
        width=MAP,
        height=MAP,
        max_steps=150,
        view=3,
        avoid_lava=False,
        layout=simple_door_key,
        success=door_opened,
        text="use the key to open the door",
        objects=(Role("key", (KEY,)), Role("door", DOORS)),
        description=_OPEN_THE_DOOR,
        teacher="SimpleDoorKey.json",
    )
)
register_task(
    Task(
        name="LavaDoorKey",
        width=MAP,
        height=MAP,
        max_steps=150,
        view=3,
        avoid_lava=False,
        layout=lava_door_key,
        success=door_opened,
        text="use the key to open the door",
        objects=(Role("key", (KEY,)), Role("door", DOORS)),
        description=_OPEN_THE_DOOR + " One cell of the room is lava, which ends the episode.",
        teacher="LavaDoorKey.json",
    )
)
register_task(
    Task(
        name="ColoredDoorKey",
        width=MAP,
        height=MAP,
        max_steps=150,
        view=3,
        avoid_lava=False,
        layout=colored_door_key,
        success=door_opened,
        text="use the key of the door's colour to open the door",
        objects=(
            Role("blue key", (KEY,), BLUE),
            Role("red key", (KEY,), RED),
            Role("blue door", DOORS, BLUE),
        ),
        rename_colours=True,
        description=_OPEN_THE_DOOR + " There are two keys; only the key of the door's colour opens it.",
        teacher="ColoredDoorKey.json",
    )
)
register_task(
    Task(
        name="DivergedDoorKey",
        width=TWO_DOOR_MAP,
        height=TWO_DOOR_MAP,
        max_steps=150,
        view=3,
        avoid_lava=False,
        layout=diverged_door_key,
        success=door_opened,
        text="use the key to open either door",
        objects=(Role("key", (KEY,)), Role("door1", DOORS, nth=0), Role("door2", DOORS, nth=1)),
        description=_OPEN_THE_DOOR + " There are two such doors; opening either will do.",
        teacher="DivergedDoorKey.json",
    )
)
for _size in (5, 6, 8, 16):
    register_task(
        Task(
            name=f"DoorKey-{_size}x{_size}",
            width=_size,
            height=_size,
            max_steps=10 * _size**2,
            view=7,
            family="DoorKey",
            minigrid_id=f"MiniGrid-DoorKey-{_size}x{_size}-v0",
            text="use the key to open the door and then get to the goal",
            layout=partial(stock_door_key, _size),
            success=goal_reached,
            objects=STOCK_OBJECTS,
            skills=STOCK_SKILLS,
            description=(
                "An agent in two rooms must find the key, open the locked door between them, walk through it and "
                "step onto the goal."
            ),
            teacher="DoorKey-stock.json",
        )
    )
