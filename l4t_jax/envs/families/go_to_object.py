"""MiniGrid's GoToObject: say done beside the place where the object that the mission names lay at the start.

The object may be picked up, which ends nothing; what counts is its first cell, wherever it is by then. So bit 0 of
the targets follows the object, and bit `PLACE` marks the cell.

Device module. Source: Farama `minigrid/envs/gotoobject.py`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import COLOURS, KEY, LEFT, colour_of, kind_of
from l4t_jax.envs.layout import between, interior, pose, walled
from l4t_jax.envs.missions import Mission
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.roles import TARGET_OBJECT
from l4t_jax.envs.scatter import distinct, distinct_cells, marks, paint, portable
from l4t_jax.envs.state import Layout
from l4t_jax.envs.targets import PLACE, done_beside, toggled_or_done_elsewhere
from l4t_jax.envs.task import Task

KINDS = ("key", "ball", "box")


def go_to_object(size: int, number: int, key: jax.Array) -> Layout:
    """`number` different objects and the agent on different cells; one of the objects is the target."""
    words = jax.random.bits(key, (20 + size**2,), jnp.uint32)
    side = jnp.int32(size)
    x, y = distinct_cells(words[20:], interior(size, side, side), number + 1)
    codes = portable(distinct(words[:18], number))
    target = between(words[18], 0, number)
    chosen = (jnp.arange(number) == target) * jnp.uint8(1 | 1 << PLACE)
    return Layout(
        paint(walled(size, side, side), x[:-1], y[:-1], codes),
        pose(x[-1], y[-1], between(words[19], 0, 4)),
        mission=jnp.stack([colour_of(codes[target]), kind_of(codes[target]) - KEY]).astype(jnp.int8),
        targets=marks((size, size), x[:-1], y[:-1], chosen),
    )


MISSION = Mission(
    fields=(("colour", COLOURS), ("kind", KINDS)),
    text=lambda words: f"go to the {words[0]} {words[1]}",
)

for _size in (6, 8):
    register_task(
        Task(
            name=f"GoToObject-{_size}x{_size}-N2",
            family="GoToObject",
            minigrid_id=f"MiniGrid-GoToObject-{_size}x{_size}-N2-v0",
            width=_size,
            height=_size,
            max_steps=5 * _size**2,
            layout=partial(go_to_object, _size, 2),
            success=partial(done_beside, PLACE),
            failure=partial(toggled_or_done_elsewhere, PLACE),
            mission=MISSION,
            objects=(TARGET_OBJECT,),
            skills=("search", "go_to", "say_done"),
            description=("The agent must go to the target and say done beside it; done elsewhere ends the episode."),
            teacher="GoToObject.json",
            idle=LEFT,
            see_through=True,
        )
    )
