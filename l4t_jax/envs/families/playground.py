"""MiniGrid's Playground: nine rooms, twelve doors, twelve objects and nothing to achieve.

Device module. Source: Farama `minigrid/envs/playground.py`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.envs.cells import DOOR_CLOSED, EMPTY, EMPTY_CODE, WALL_CODE, kind_of
from l4t_jax.envs.layout import between, pose
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.scatter import distinct_cells, paint, portable
from l4t_jax.envs.state import Layout, Transition
from l4t_jax.envs.task import Task

SIZE, ROOM, OBJECTS = 19, 6, 12


def playground(key: jax.Array) -> Layout:
    """A closed door in each wall between two rooms, never in a wall's last cell; agent and objects anywhere."""
    words = jax.random.bits(key, (25 + OBJECTS + SIZE**2,), jnp.uint32)
    line = np.arange(SIZE) % ROOM == 0
    cells = jnp.asarray(np.where(line[:, None] | line, WALL_CODE, EMPTY_CODE).astype(np.uint8))
    across, start = np.divmod(np.arange(6), 3)  # six walls along y, then six along x: which line, which part of it
    across, along = (across + 1) * ROOM, start * ROOM + between(words[:12].reshape(2, 6), 1, ROOM - 1)
    door_x = jnp.concatenate([across, along[1]])
    door_y = jnp.concatenate([along[0], across])
    colours = between(words[12:24], 0, 6)
    cells = paint(cells, door_x, door_y, (DOOR_CLOSED | colours << 4).astype(jnp.uint8))
    x, y = distinct_cells(words[25 + OBJECTS :], kind_of(cells) == EMPTY, OBJECTS + 1)
    cells = paint(cells, x[1:], y[1:], portable(between(words[25 : 25 + OBJECTS], 0, 18)))
    return Layout(cells, pose(x[0], y[0], between(words[24], 0, 4)))


def never(transition: Transition) -> jax.Array:
    """Nothing counts as a success here, and nothing as a failure."""
    del transition
    return jnp.array(False)


register_task(
    Task(
        name="Playground",
        family="Playground",
        minigrid_id="MiniGrid-Playground-v0",
        width=SIZE,
        height=SIZE,
        max_steps=100,
        layout=playground,
        success=never,
        failure=never,
        text="",
    )
)
