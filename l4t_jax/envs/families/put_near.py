"""MiniGrid's PutNear: pick up the object that the mission names first and drop it near the one that it names second.

The object to move is bit 0 of the targets. What counts as near is told from the cell where the second object lay at
the start, even if it was a box that is toggled away: bit `PLACE` marks that cell, bit 1 the object.

Device module. Source: Farama `minigrid/envs/putnear.py`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import COLOURS, DROP, KEY, PICKUP, colour_of, kind_of
from l4t_jax.envs.layout import between, free, interior, pick, pose, walled
from l4t_jax.envs.missions import Mission
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.scatter import distinct, marks, paint, portable
from l4t_jax.envs.state import Layout, Transition
from l4t_jax.envs.targets import PLACE, marked
from l4t_jax.envs.task import PORTABLE, Role, Task

KINDS = ("key", "ball", "box")


def put_near(size: int, number: int, key: jax.Array) -> Layout:
    """`number` different objects, no two of them within a king's move, and the agent on a free cell."""
    words = jax.random.bits(key, (18 + 2 * number + 2,), jnp.uint32)
    for_agent, direction = words[18 + 2 * number :]
    side = jnp.int32(size)
    room = interior(size, side, side)
    codes = portable(distinct(words[:18], number))
    allowed = room
    places: list[tuple[jax.Array, jax.Array]] = []
    for word in words[18 : 18 + number]:
        x, y = pick(word, allowed)
        places.append((x, y))
        allowed &= (abs(jnp.arange(size)[:, None] - x) > 1) | (abs(jnp.arange(size)[None, :] - y) > 1)
    x, y = (jnp.stack(axis) for axis in zip(*places, strict=True))
    cells = paint(walled(size, side, side), x, y, codes)
    agent = pick(for_agent, free(cells, room))
    moved, near = distinct(words[18 + number : 18 + 2 * number], 2)
    numbers = jnp.arange(number)
    return Layout(
        cells,
        pose(*agent, between(direction, 0, 4)),
        mission=jnp.stack(
            [colour_of(codes[moved]), kind_of(codes[moved]) - KEY, colour_of(codes[near]), kind_of(codes[near]) - KEY]
        ).astype(jnp.int8),
        targets=marks((size, size), x, y, (numbers == moved) * 1 + (numbers == near) * (2 | 1 << PLACE)),
    )


def _near(transition: Transition) -> jax.Array:
    """Whether the cell ahead is within a king's move of the marked place, `bool[]`."""
    place = marked(transition.state, PLACE)
    near_x = abs(jnp.arange(place.shape[0]) - transition.front[0]) <= 1
    near_y = abs(jnp.arange(place.shape[1]) - transition.front[1]) <= 1
    return jnp.any(near_x[:, None] & near_y[None, :] & place)


def put_near_target(transition: Transition) -> jax.Array:
    """The carried object was dropped, near the target's first cell."""
    before, after = transition.state.carrying, transition.next_state.carrying
    return (transition.action == DROP) & (before != 0) & (after == 0) & _near(transition)


def put_elsewhere(transition: Transition) -> jax.Array:
    """A wrong object is carried after a pickup, or a drop was tried with something in hand and did not succeed."""
    state, action = transition.state, transition.action
    assert state.mission is not None
    to_move = (KEY + state.mission[1] | state.mission[0] << 4).astype(jnp.uint8)
    carrying = transition.next_state.carrying
    wrong = (action == PICKUP) & (carrying != 0) & (carrying != to_move)
    return wrong | ((action == DROP) & (state.carrying != 0) & ~put_near_target(transition))


MISSION = Mission(
    fields=(
        ("colour to move", COLOURS),
        ("kind to move", KINDS),
        ("colour of the target", COLOURS),
        ("kind of the target", KINDS),
    ),
    text=lambda words: "put the {} {} near the {} {}".format(*words),
)

for _size, _number in ((6, 2), (8, 3)):
    register_task(
        Task(
            name=f"PutNear-{_size}x{_size}-N{_number}",
            family="PutNear",
            minigrid_id=f"MiniGrid-PutNear-{_size}x{_size}-N{_number}-v0",
            width=_size,
            height=_size,
            max_steps=5 * _size,
            layout=partial(put_near, _size, _number),
            success=put_near_target,
            failure=put_elsewhere,
            mission=MISSION,
            objects=(Role("load", PORTABLE, target=0, reach=True), Role("target", PORTABLE, target=1, reach=True)),
            skills=("search", "go_to", "pick_up", "put_beside"),
            description=(
                "The agent must pick up the load and drop it right beside the target; to pick up another thing "
                "or to drop it elsewhere ends the episode."
            ),
            teacher="PutNear.json",
            see_through=True,
        )
    )
