"""MiniGrid's RedBlueDoors: open the red door, then, while it is open, the blue one.

Device module. Source: Farama `minigrid/envs/redbluedoors.py`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import BLUE, DOOR_CLOSED, DOOR_OPEN, RED, WALL_CODE, code
from l4t_jax.envs.layout import between, draws, pick, pose, put, walled
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.state import Layout, State, Transition
from l4t_jax.envs.task import Role, Task


def red_blue_doors(size: int, key: jax.Array) -> Layout:
    """A square room in the middle of a map twice as wide, with a red door on the left and a blue one on the right."""
    for_agent, direction, for_red, for_blue = draws(key, 4)
    left, right = size // 2, size // 2 + size - 1
    x, y = jnp.arange(2 * size)[:, None], jnp.arange(size)[None, :]
    # `walled` gives a square map: of twice the room's height, the lower half is cut off and the wall drawn here.
    cells = walled(2 * size, jnp.int32(2 * size), jnp.int32(size))[:, :size]
    cells = jnp.where((x == left) | (x == right), jnp.uint8(WALL_CODE), cells)
    cells = put(cells, jnp.int32(left), between(for_red, 1, size - 1), code(DOOR_CLOSED, RED))
    cells = put(cells, jnp.int32(right), between(for_blue, 1, size - 1), code(DOOR_CLOSED, BLUE))
    agent = pick(for_agent, (x > left) & (x < right) & (y > 0) & (y < size - 1))
    return Layout(cells, pose(*agent, between(direction, 0, 4)))


def _open(state: State, colour: int) -> jax.Array:
    return jnp.any(state.cells == code(DOOR_OPEN, colour))


def red_then_blue(transition: Transition) -> jax.Array:
    """The blue door is open, and the red one was before this step. Its state before is all the memory it takes."""
    return _open(transition.next_state, BLUE) & _open(transition.state, RED)


def wrong_order(transition: Transition) -> jax.Array:
    """The blue door is open and the red one was not, never opened or shut again; or blue is shut with red open."""
    before, after = transition.state, transition.next_state
    blue = _open(after, BLUE)
    return (blue & ~_open(before, RED)) | (~blue & _open(after, RED) & _open(before, BLUE))


OBJECTS = (
    Role("closed red door", (DOOR_CLOSED,), RED, is_same_as="red door"),
    Role("open red door", (DOOR_OPEN,), RED, is_same_as="red door"),
    Role("closed blue door", (DOOR_CLOSED,), BLUE),
)

for _size in (6, 8):
    register_task(
        Task(
            name=f"RedBlueDoors-{_size}x{_size}",
            family="RedBlueDoors",
            minigrid_id=f"MiniGrid-RedBlueDoors-{_size}x{_size}-v0",
            width=2 * _size,
            height=_size,
            max_steps=20 * _size**2,
            layout=partial(red_blue_doors, _size),
            success=red_then_blue,
            failure=wrong_order,
            text="open the red door then the blue door",
            objects=OBJECTS,
            skills=("search", "go_to", "open"),
            description=(
                "The agent must open the red door and then, with the red one still open, the blue door; to open the "
                "blue one first ends the episode."
            ),
            teacher="RedBlueDoors.json",
        )
    )
