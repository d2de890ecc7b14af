"""MiniGrid's LavaCrossing and SimpleCrossing: rivers of lava, or walls, from side to side, with one opening each.

Device module. Source: Farama `minigrid/envs/crossing.py`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import EMPTY_CODE, GOAL_CODE, LAVA_CODE, WALL_CODE
from l4t_jax.envs.layout import between, interior, put, walled
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.roles import GOAL_SKILLS, GOALS
from l4t_jax.envs.scatter import distinct
from l4t_jax.envs.state import Layout
from l4t_jax.envs.success import goal_reached
from l4t_jax.envs.task import Task


def crossing(size: int, rivers: int, obstacle: int, key: jax.Array) -> Layout:
    """`rivers` of the even columns and rows, and a path of openings through them from corner to corner.

    MiniGrid shuffles all columns and rows, takes the first few, then shuffles in which order the path crosses columns
    and rows. The order in which the rivers themselves were drawn is such a shuffle, so that one is enough. Each
    opening is uniform over the side of the room that the path has come to.
    """
    words = jax.random.bits(key, (size - 3 + rivers,), jnp.uint32)
    a_side = (size - 3) // 2  # columns, and as many rows, that may be a river: 2, 4, ...
    order = distinct(words[: 2 * a_side], rivers)
    is_column, place = order < a_side, 2 + 2 * (order % a_side)

    def limits(chosen: jax.Array) -> jax.Array:
        """The walls of the rooms along one axis, in order: `int32[rivers + 2]`, the last repeated."""
        inner = jnp.sort(jnp.where(chosen, place, size - 1))
        return jnp.concatenate([jnp.zeros(1, inner.dtype), inner, jnp.full(1, size - 1, inner.dtype)])

    columns, rows = limits(is_column), limits(~is_column)
    crossed = jnp.cumsum(is_column) - is_column  # columns crossed before
    room_x, room_y = crossed, jnp.arange(rivers) - crossed
    within = jnp.where(is_column, rows[room_y], columns[room_x])
    until = jnp.where(is_column, rows[room_y + 1], columns[room_x + 1])
    along = within + between(words[2 * a_side :], 1, until - within)
    gap_x = jnp.where(is_column, columns[room_x + 1], along)
    gap_y = jnp.where(is_column, along, rows[room_y + 1])

    x, y = jnp.arange(size)[:, None, None], jnp.arange(size)[None, :, None]
    side = jnp.int32(size)
    river = jnp.any(jnp.where(is_column, x == place, y == place), axis=-1) & interior(size, side, side)
    gap = jnp.any((x == gap_x) & (y == gap_y), axis=-1)
    cells = put(walled(size, side, side), side - 2, side - 2, GOAL_CODE)
    cells = jnp.where(river, jnp.where(gap, jnp.uint8(EMPTY_CODE), jnp.uint8(obstacle)), cells)
    return Layout(cells, jnp.array([1, 1, 0], jnp.int8))


for _family, _obstacle, _text, _rivers_are in (
    ("LavaCrossing", LAVA_CODE, "avoid the lava and get to the green goal square", "lava, which ends the episode"),
    ("SimpleCrossing", WALL_CODE, "find the opening and get to the green goal square", "walls"),
):
    for _size, _rivers in ((9, 1), (9, 2), (9, 3), (11, 5)):
        register_task(
            Task(
                name=f"{_family}S{_size}N{_rivers}",
                family=_family,
                minigrid_id=f"MiniGrid-{_family}S{_size}N{_rivers}-v0",
                width=_size,
                height=_size,
                max_steps=4 * _size**2,
                layout=partial(crossing, _size, _rivers, _obstacle),
                success=goal_reached,
                text=_text,
                objects=(GOALS,),
                skills=GOAL_SKILLS,
                description=f"The agent must walk onto the goal through openings in rivers of {_rivers_are}.",
                teacher="find-goal.json",
            )
        )
