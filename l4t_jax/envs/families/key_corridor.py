"""MiniGrid's KeyCorridor: a ball behind a locked door, its key in a room on the other side of the corridor.

Device module. Source: Farama `minigrid/envs/keycorridor.py`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.envs.cells import BALL, COLOURS, DOOR_CLOSED, DOOR_LOCKED, KEY
from l4t_jax.envs.layout import between, pick, put
from l4t_jax.envs.missions import Mission
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.roles import BALLS, CLOSED_DOORS, KEYS, LOCKED_DOORS, ROOM_SKILLS
from l4t_jax.envs.room_grid import LEFT_SIDE, UP_SIDE, RoomGrid, paint, split_draws
from l4t_jax.envs.state import Layout
from l4t_jax.envs.success import picked
from l4t_jax.envs.task import Task


def key_corridor(room_size: int, rows: int, key: jax.Array) -> Layout:
    """Three columns of rooms, the middle one without walls between its rooms; the agent is in it."""
    grid = RoomGrid(room_size, cols=3, rows=rows)
    rest, *of_walls = split_draws(key, 7, *3 * (grid.num_walls,))
    for_locked, for_key_room, colour, ball_colour, for_ball, for_key, for_agent = rest
    for_places, for_order, for_colours = of_walls
    x, y = grid.door_places(for_places)
    cells = grid.cells()
    for j in range(1, rows):
        cells = grid.remove_wall(cells, 1, j, UP_SIDE)
    gone = np.isin(np.arange(grid.num_walls), [grid.wall(1, j, UP_SIDE) for j in range(1, rows)])

    locked_row = between(for_locked, 0, rows)
    locked_wall = jnp.asarray([grid.wall(2, j, LEFT_SIDE) for j in range(rows)])[locked_row]
    locked = jnp.arange(grid.num_walls) == locked_wall
    door = DOOR_LOCKED | between(colour, 0, 6) << 4
    cells = paint(cells, x, y, jnp.where(locked, door, 0))
    mission = between(ball_colour, 0, 6)
    cells = put(cells, *pick(for_ball, grid.free(cells, 2, locked_row)), BALL | mission << 4)
    key_at = pick(for_key, grid.free(cells, 0, between(for_key_room, 0, rows)))
    cells = put(cells, *key_at, KEY | door & 0xF0)
    agent = grid.agent(for_agent, cells, 1, rows // 2)  # drawn before the further doors, so it may face one

    closed = grid.connect_all(for_order, locked | gone, jnp.all(grid.ends != locked_row * 3 + 2, axis=1))
    doors = DOOR_CLOSED | between(for_colours, 0, 6) << 4
    return Layout(paint(cells, x, y, jnp.where(closed, doors, 0)), agent, mission[None].astype(jnp.int8))


for room_size, rows in ((3, 1), (3, 2), (3, 3), (4, 3), (5, 3), (6, 3)):
    name, grid = f"KeyCorridorS{room_size}R{rows}", RoomGrid(room_size, cols=3, rows=rows)
    register_task(
        Task(
            name=name,
            family="KeyCorridor",
            minigrid_id=f"MiniGrid-{name}-v0",
            width=grid.width,
            height=grid.height,
            max_steps=30 * room_size**2,
            layout=partial(key_corridor, room_size, rows),
            success=partial(picked, BALL),
            objects=(KEYS, BALLS, LOCKED_DOORS, CLOSED_DOORS),
            skills=ROOM_SKILLS,
            description="The agent must find the key, unlock the locked door and pick up the ball behind it.",
            teacher="KeyCorridor.json",
            mission=Mission(fields=(("colour", COLOURS),), text=lambda words: f"pick up the {words[0]} ball"),
        )
    )
