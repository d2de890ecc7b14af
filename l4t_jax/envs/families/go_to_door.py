"""MiniGrid's GoToDoor: a room of random size, a door in each wall; say done beside the one that the mission names.

Device module. Source: Farama `minigrid/envs/gotodoor.py`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import COLOURS, DOOR_CLOSED, LEFT
from l4t_jax.envs.layout import between, interior, pick, pose, walled
from l4t_jax.envs.missions import Mission
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.roles import TARGET_DOOR
from l4t_jax.envs.scatter import distinct, marks, paint
from l4t_jax.envs.state import Layout
from l4t_jax.envs.targets import done_beside, toggled_or_done_elsewhere
from l4t_jax.envs.task import Task


def go_to_door(size: int, key: jax.Array) -> Layout:
    """Doors of four colours, in the top, bottom, left and right wall, none within two cells of a corner."""
    words = jax.random.bits(key, (15,), jnp.uint32)
    width, height = between(words[0], 5, size + 1), between(words[1], 5, size + 1)
    top, bottom = between(words[2], 2, width - 2), between(words[3], 2, width - 2)
    left, right = between(words[4], 2, height - 2), between(words[5], 2, height - 2)
    colours = distinct(words[6:12], 4)
    nought = jnp.int32(0)
    x = jnp.stack([top, bottom, nought, width - 1])
    y = jnp.stack([nought, height - 1, left, right])
    cells = paint(walled(size, width, height), x, y, (DOOR_CLOSED | colours << 4).astype(jnp.uint8))
    agent = pick(words[12], interior(size, width, height))
    target = between(words[14], 0, 4)
    return Layout(
        cells,
        pose(*agent, between(words[13], 0, 4)),
        mission=colours[target][None].astype(jnp.int8),
        targets=marks((size, size), x, y, jnp.arange(4) == target),
    )


MISSION = Mission(fields=(("colour", COLOURS),), text=lambda words: f"go to the {words[0]} door")

for _size in (5, 6, 8):
    register_task(
        Task(
            name=f"GoToDoor-{_size}x{_size}",
            family="GoToDoor",
            minigrid_id=f"MiniGrid-GoToDoor-{_size}x{_size}-v0",
            width=_size,
            height=_size,
            max_steps=4 * _size**2,
            layout=partial(go_to_door, _size),
            success=partial(done_beside, 0),
            failure=partial(toggled_or_done_elsewhere, 0),
            mission=MISSION,
            objects=(TARGET_DOOR,),
            skills=("search", "go_to", "say_done"),
            description="The agent must go to the target door and say done beside it; done elsewhere ends the episode.",
            teacher="GoToDoor.json",
            idle=LEFT,
            see_through=True,
        )
    )
