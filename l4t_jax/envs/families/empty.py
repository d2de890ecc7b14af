"""MiniGrid's Empty: a bare room with the goal in its far corner.

Device module. Source: Farama `minigrid/envs/empty.py`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import GOAL_CODE
from l4t_jax.envs.layout import between, draws, free, interior, pick, pose, put, walled
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.roles import GOAL_SKILLS, GOALS
from l4t_jax.envs.state import Layout
from l4t_jax.envs.success import goal_reached
from l4t_jax.envs.task import Task


def empty(size: int, anywhere: bool, key: jax.Array) -> Layout:
    """The agent in the corner opposite to the goal; with `anywhere`, on any free cell, looking anywhere."""
    side = jnp.int32(size)
    cells = put(walled(size, side, side), side - 2, side - 2, GOAL_CODE)
    if not anywhere:
        return Layout(cells, jnp.array([1, 1, 0], jnp.int8))
    for_agent, direction = draws(key, 2)
    agent = pick(for_agent, free(cells, interior(size, side, side)))
    return Layout(cells, pose(*agent, between(direction, 0, 4)))


for _name, _size, _anywhere, _levels in (
    ("Empty-5x5", 5, False, 1),
    ("Empty-Random-5x5", 5, True, 32),
    ("Empty-6x6", 6, False, 1),
    ("Empty-Random-6x6", 6, True, 60),
    ("Empty-8x8", 8, False, 1),
    ("Empty-16x16", 16, False, 1),
):
    register_task(
        Task(
            name=_name,
            family="Empty",
            minigrid_id=f"MiniGrid-{_name}-v0",
            width=_size,
            height=_size,
            max_steps=4 * _size**2,
            layout=partial(empty, _size, _anywhere),
            success=goal_reached,
            text="get to the green goal square",
            objects=(GOALS,),
            skills=GOAL_SKILLS,
            description="The agent must walk onto the goal in the far corner of a bare room.",
            teacher="find-goal.json",
            see_through=True,
            distinct_levels=_levels,
        )
    )
