"""MiniGrid's DistShift: two strips of lava between the agent and the goal, the second near or far.

Each of the two tasks has a single level: students train on one and are tried on the other.

Device module. Source: Farama `minigrid/envs/distshift.py`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.envs.cells import EMPTY_CODE, GOAL_CODE, LAVA_CODE, WALL_CODE
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.roles import GOAL_SKILLS, GOALS
from l4t_jax.envs.state import Layout
from l4t_jax.envs.success import goal_reached
from l4t_jax.envs.task import Task

WIDTH, HEIGHT = 9, 7


def dist_shift(second_row: int, key: jax.Array) -> Layout:
    """The first strip is in row 1, the second in `second_row`. The key decides nothing."""
    del key
    cells = np.full((WIDTH, HEIGHT), WALL_CODE, np.uint8)
    cells[1:-1, 1:-1] = EMPTY_CODE
    cells[3 : WIDTH - 3, [1, second_row]] = LAVA_CODE
    cells[WIDTH - 2, 1] = GOAL_CODE
    return Layout(jnp.asarray(cells), jnp.array([1, 1, 0], jnp.int8))


for _name, _row in (("DistShift1", 2), ("DistShift2", 5)):
    register_task(
        Task(
            name=_name,
            family="DistShift",
            minigrid_id=f"MiniGrid-{_name}-v0",
            width=WIDTH,
            height=HEIGHT,
            max_steps=4 * WIDTH * HEIGHT,
            layout=partial(dist_shift, _row),
            success=goal_reached,
            text="get to the green goal square",
            objects=(GOALS,),
            skills=GOAL_SKILLS,
            description="The agent must walk onto the goal, around strips of lava, which ends the episode.",
            teacher="find-goal.json",
            see_through=True,
            distinct_levels=1,
        )
    )
