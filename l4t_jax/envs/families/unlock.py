"""MiniGrid's Unlock, UnlockPickup and BlockedUnlockPickup: two rooms with a locked door between them.

Device module. Source: Farama `minigrid/envs/{unlock,unlockpickup,blockedunlockpickup}.py`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import BALL, BOX, COLOURS, DOOR_LOCKED, KEY
from l4t_jax.envs.layout import between, draws, pick, put
from l4t_jax.envs.missions import Mission
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.roles import (
    ANY_BOX,
    FITTING_DOORS,
    FITTING_KEYS,
    KEYS,
    LOCKED_DOORS,
    MAZE_SKILLS,
    OBSTACLES,
    ROOM_SKILLS,
)
from l4t_jax.envs.room_grid import RoomGrid
from l4t_jax.envs.state import Layout
from l4t_jax.envs.success import door_opened, picked
from l4t_jax.envs.task import Task

ROOMS = RoomGrid(room_size=6, cols=2, rows=1)


def unlock(key: jax.Array, box: bool = False, blocked: bool = False) -> Layout:
    """A key and the agent in the left room; with `box`, a box in the right one; with `blocked`, a ball by the door."""
    for_door, for_colour, for_key, for_agent, for_box, box_colour, ball_colour = draws(key, 7)
    colour = between(for_colour, 0, 6) << 4
    door_x, door_y = (place[0] for place in ROOMS.door_places(for_door[None]))
    cells = put(ROOMS.cells(), door_x, door_y, DOOR_LOCKED | colour)
    mission = None
    if box:
        which = between(box_colour, 0, 6)
        cells = put(cells, *pick(for_box, ROOMS.free(cells, 1, 0)), BOX | which << 4)
        mission = which[None].astype(jnp.int8)
    if blocked:
        cells = put(cells, door_x - 1, door_y, BALL | between(ball_colour, 0, 6) << 4)
    cells = put(cells, *pick(for_key, ROOMS.free(cells, 0, 0)), KEY | colour)
    return Layout(cells, ROOMS.agent(for_agent, cells, 0, 0), mission)


BOX_MISSION = Mission(fields=(("colour", COLOURS),), text=lambda words: f"pick up the {words[0]} box")

register_task(
    Task(
        name="Unlock",
        family="Unlock",
        minigrid_id="MiniGrid-Unlock-v0",
        width=ROOMS.width,
        height=ROOMS.height,
        max_steps=288,
        layout=unlock,
        success=door_opened,
        objects=(KEYS, LOCKED_DOORS),
        skills=ROOM_SKILLS,
        description="The agent must find the key and open the locked door.",
        teacher="Unlock.json",
        text="open the door",
    )
)
for name, blocked, max_steps in (("UnlockPickup", False, 288), ("BlockedUnlockPickup", True, 576)):
    register_task(
        Task(
            name=name,
            family=name,
            minigrid_id=f"MiniGrid-{name}-v0",
            width=ROOMS.width,
            height=ROOMS.height,
            max_steps=max_steps,
            layout=partial(unlock, box=True, blocked=blocked),
            success=partial(picked, BOX),
            objects=(FITTING_KEYS, ANY_BOX, OBSTACLES, FITTING_DOORS),
            skills=MAZE_SKILLS,
            description=(
                "The agent must find the key, unlock the locked door and pick up the box behind it. What stands right "
                "before the door is an obstacle and must be carried away first."
            ),
            teacher="UnlockPickup.json",
            mission=BOX_MISSION,
        )
    )
