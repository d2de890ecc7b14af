"""MiniGrid's LavaGap: a strip of lava from wall to wall, with one gap in it.

Device module. Source: Farama `minigrid/envs/lavagap.py`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import GOAL_CODE, LAVA_CODE
from l4t_jax.envs.layout import between, draws, interior, put, walled
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.roles import GOAL_SKILLS, GOALS
from l4t_jax.envs.state import Layout
from l4t_jax.envs.success import goal_reached
from l4t_jax.envs.task import Task


def lava_gap(size: int, key: jax.Array) -> Layout:
    """The strip's column and the gap's row are uniform; agent and goal are in opposite corners."""
    for_column, for_row = draws(key, 2)
    column, row = between(for_column, 2, size - 2), between(for_row, 1, size - 1)
    side = jnp.int32(size)
    cells = put(walled(size, side, side), side - 2, side - 2, GOAL_CODE)
    x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    lava = interior(size, side, side) & (x == column) & (y != row)
    return Layout(jnp.where(lava, jnp.uint8(LAVA_CODE), cells), jnp.array([1, 1, 0], jnp.int8))


for _size in (5, 6, 7):
    register_task(
        Task(
            name=f"LavaGapS{_size}",
            family="LavaGap",
            minigrid_id=f"MiniGrid-LavaGapS{_size}-v0",
            width=_size,
            height=_size,
            max_steps=4 * _size**2,
            layout=partial(lava_gap, _size),
            success=goal_reached,
            text="avoid the lava and get to the green goal square",
            objects=(GOALS,),
            skills=GOAL_SKILLS,
            description="The agent must walk onto the goal through the gap in a strip of lava, which ends the episode.",
            teacher="find-goal.json",
            distinct_levels=(_size - 4) * (_size - 2),
        )
    )
