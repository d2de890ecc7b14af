"""MiniGrid's FourRooms: four rooms with a gap in each wall between them; the agent and the goal are anywhere.

Device module. Source: Farama `minigrid/envs/fourrooms.py`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import EMPTY_CODE, GOAL_CODE
from l4t_jax.envs.layout import between, free, pick, pose, put
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.roles import GOAL_SKILLS, GOALS
from l4t_jax.envs.room_grid import RoomGrid, paint, split_draws
from l4t_jax.envs.state import Layout
from l4t_jax.envs.success import goal_reached
from l4t_jax.envs.task import Task

ROOMS = RoomGrid(room_size=10, cols=2, rows=2)


def four_rooms(key: jax.Array) -> Layout:
    """The gaps, the agent and the goal are uniform; agent and goal may stand in a gap."""
    for_gaps, (for_agent, direction, for_goal) = split_draws(key, ROOMS.num_walls, 3)
    x, y = ROOMS.door_places(for_gaps)
    cells = paint(ROOMS.cells(), x, y, jnp.full(ROOMS.num_walls, EMPTY_CODE))
    anywhere = jnp.ones(cells.shape, bool)
    agent = pick(for_agent, free(cells, anywhere))
    cells = put(cells, *pick(for_goal, free(cells, anywhere, agent)), GOAL_CODE)
    return Layout(cells, pose(*agent, between(direction, 0, 4)))


register_task(
    Task(
        name="FourRooms",
        family="FourRooms",
        minigrid_id="MiniGrid-FourRooms-v0",
        width=ROOMS.width,
        height=ROOMS.height,
        max_steps=100,
        layout=four_rooms,
        success=goal_reached,
        text="reach the goal",
        objects=(GOALS,),
        skills=GOAL_SKILLS,
        description="The agent must find the goal in one of four rooms with gaps between them, and walk onto it.",
        teacher="find-goal.json",
    )
)
