"""MiniGrid's Fetch: pick up a key or ball of the kind and colour that the mission names; any other ends the episode.

Device module. Source: Farama `minigrid/envs/fetch.py`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import COLOURS, KEY, colour_of, kind_of
from l4t_jax.envs.layout import between, interior, pose, walled
from l4t_jax.envs.missions import Mission
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.roles import TARGET_OBJECT
from l4t_jax.envs.scatter import distinct_cells, marks, paint, portable
from l4t_jax.envs.state import Layout, State, Transition
from l4t_jax.envs.task import Task

PHRASES = ("get a", "go get a", "fetch a", "go fetch a", "you must fetch a")


def fetch(size: int, number: int, key: jax.Array) -> Layout:
    """`number` keys and balls and the agent on different cells. Two objects may be alike: then both are targets."""
    words = jax.random.bits(key, (number + 3 + size**2,), jnp.uint32)
    side = jnp.int32(size)
    x, y = distinct_cells(words[number + 3 :], interior(size, side, side), number + 1)
    codes = portable(between(words[:number], 0, 12))
    target = codes[between(words[number], 0, number)]
    return Layout(
        paint(walled(size, side, side), x[:-1], y[:-1], codes),
        pose(x[-1], y[-1], between(words[number + 1], 0, 4)),
        mission=jnp.stack(
            [between(words[number + 2], 0, len(PHRASES)), colour_of(target), kind_of(target) - KEY]
        ).astype(jnp.int8),
        targets=marks((size, size), x[:-1], y[:-1], codes == target),
    )


def wanted(state: State) -> jax.Array:
    """The code of what the mission names, `uint8[]`."""
    assert state.mission is not None
    return (KEY + state.mission[2] | state.mission[1] << 4).astype(jnp.uint8)


def fetched(transition: Transition) -> jax.Array:
    """What is carried now is what the mission names: another object like the target counts as well."""
    return transition.next_state.carrying == wanted(transition.state)


def other_fetched(transition: Transition) -> jax.Array:
    """Something else is carried now."""
    carrying = transition.next_state.carrying
    return (carrying != 0) & (carrying != wanted(transition.state))


MISSION = Mission(
    fields=(("phrase", PHRASES), ("colour", COLOURS), ("kind", ("key", "ball"))),
    text=" ".join,
)

for _size, _number in ((5, 2), (6, 2), (8, 3)):
    register_task(
        Task(
            name=f"Fetch-{_size}x{_size}-N{_number}",
            family="Fetch",
            minigrid_id=f"MiniGrid-Fetch-{_size}x{_size}-N{_number}-v0",
            width=_size,
            height=_size,
            max_steps=5 * _size**2,
            layout=partial(fetch, _size, _number),
            success=fetched,
            failure=other_fetched,
            mission=MISSION,
            objects=(TARGET_OBJECT,),
            skills=("search", "go_to", "pick_up"),
            description="The agent must pick up the target; to pick up any other thing ends the episode.",
            teacher="Fetch.json",
            see_through=True,
        )
    )
