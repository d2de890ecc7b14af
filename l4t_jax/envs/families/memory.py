"""MiniGrid's Memory: an object in the first room; at the far end of a hallway, go to the one of two that is like it.

Targets: bit 0 is the matching object at the end of the hallway, bit 1 the other one there, bit 2 the object in the
first room. What is said of the matching one is known once that has been seen. Those at the end lie behind walls but
for one cell each, so that standing beside one is standing on the cell that MiniGrid ends the episode on.

Device module. Source: Farama `minigrid/envs/memory.py`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import BALL, GREEN, KEY, WALL_CODE, code
from l4t_jax.envs.layout import between, draws, pose, walled
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.scatter import marks, paint
from l4t_jax.envs.state import Layout, Transition
from l4t_jax.envs.targets import beside
from l4t_jax.envs.task import Role, Task


def memory(size: int, random_length: bool, key: jax.Array) -> Layout:
    """The hallway ends two cells before the wall, or anywhere; the agent looks along it, from any of its cells."""
    for_length, for_agent, for_first, for_upper = draws(key, 4)
    middle = size // 2
    end = between(for_length, 4, size - 2) if random_length else jnp.int32(size - 3)
    x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    away = abs(y - middle)  # from the hallway's row
    room = (x >= 1) & (x <= 4) & ((away == 2) | ((x == 4) & (away == 1)))
    hallway = (x >= 5) & (x < end) & (away == 1)
    split = ((x == end) & (away > 0)) | (x == end + 2)
    side = jnp.int32(size)
    cells = jnp.where(room | hallway | split, jnp.uint8(WALL_CODE), walled(size, side, side))

    objects = jnp.array([code(KEY, GREEN), code(BALL, GREEN)], jnp.uint8)
    first, upper = between(for_first, 0, 2), between(for_upper, 0, 2)
    at_x = jnp.stack([jnp.int32(1), end + 1, end + 1])
    at_y = jnp.array([middle - 1, middle - 2, middle + 2])
    cells = paint(cells, at_x, at_y, objects[jnp.stack([first, upper, 1 - upper])])
    match = jnp.stack([jnp.where(upper == first, 1, 2), jnp.where(upper == first, 2, 1)])
    return Layout(
        cells,
        pose(between(for_agent, 1, end + 1), jnp.int32(middle), jnp.int32(0)),
        targets=marks((size, size), at_x, at_y, jnp.concatenate([jnp.array([4]), match])),
    )


def match_reached(transition: Transition) -> jax.Array:
    """The agent stands before the object that matches."""
    return beside(transition.next_state, 0)


def other_reached(transition: Transition) -> jax.Array:
    """The agent stands before the object that does not match."""
    return beside(transition.next_state, 1)


for _name, _size, _levels in (
    ("S17Random", 17, 396),
    ("S13Random", 13, 196),
    ("S13", 13, 40),
    ("S11", 11, 32),
    ("S9", 9, 24),
    ("S7", 7, 16),
):
    register_task(
        Task(
            name=f"Memory{_name}",
            family="Memory",
            minigrid_id=f"MiniGrid-Memory{_name}-v0",
            width=_size,
            height=_size,
            max_steps=5 * _size**2,
            layout=partial(memory, _size, _name.endswith("Random")),
            success=match_reached,
            failure=other_reached,
            text="go to the matching object at the end of the hallway",
            objects=(
                Role("sample", (KEY, BALL), target=2),
                Role("match", (KEY, BALL), target=0, needs="sample"),
            ),
            skills=("search", "go_to"),
            description=(
                "The agent must see the sample in the first room, then go to its match at the far end of the hallway; "
                "to go to the other object there ends the episode."
            ),
            teacher="Memory.json",
            pickup_toggles=True,
            distinct_levels=_levels,
        )
    )
