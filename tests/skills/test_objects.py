"""Skills on objects and things in the way, on maps drawn as text."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.envs import get_task
from l4t_jax.envs.cells import (
    BALL,
    BLUE,
    DONE,
    DOOR_CLOSED,
    DOOR_LOCKED,
    EMPTY_CODE,
    FORWARD,
    GREEN,
    KEY,
    LEFT,
    PICKUP,
    RED,
    RIGHT,
    TOGGLE,
    WALL_CODE,
    code,
)  # fmt: skip
from l4t_jax.envs.roles import BALLS, KEYS, LOCKED_DOORS
from l4t_jax.envs.state import MemoryMap
from l4t_jax.skills.actions import skill_actions
from l4t_jax.skills.base import SATISFIED
from l4t_jax.skills.plan_codes import encode_step

CODES = {
    "#": WALL_CODE, ".": EMPTY_CODE, "?": 0, "k": code(KEY, RED), "o": code(BALL, GREEN), "+": code(DOOR_CLOSED, BLUE),
    "L": code(DOOR_LOCKED, RED),
}  # fmt: skip


def does(text, *step):
    """What a step of a plan does on a map; the agent is one of > v < ^."""
    rows = text.split()
    cells = np.array([[CODES.get(mark, EMPTY_CODE) for mark in row] for row in rows], np.uint8).T
    x, y, mark = next((x, y, mark) for y, row in enumerate(rows) for x, mark in enumerate(row) if mark in ">v<^")
    memory = MemoryMap(
        cells=jnp.asarray(cells), agent=jnp.array([x, y, ">v<^".index(mark)], jnp.int8), carrying=jnp.uint8(0),
        pickup_position=jnp.full(2, -1, jnp.int8),
    )  # fmt: skip
    task = dataclasses.replace(
        get_task("KeyCorridorS3R3"), name="Drawn", width=cells.shape[0], height=cells.shape[1], mission=None,
        objects=(KEYS, BALLS, LOCKED_DOORS),
    )  # fmt: skip
    return int(skill_actions(task, memory).actions[encode_step(task, step)])


@pytest.mark.parametrize(
    "text, step, action",
    [
        ("#####\n#>oL#\n#..##\n#####", ("clear", "locked door"), PICKUP),  # the door's cell in front is taken
        ("#####\n#>kL#\n#..##\n#####", ("clear", "locked door"), PICKUP),
        ("#######\n#>o..L#\n#.....#\n#######", ("clear", "locked door"), RIGHT),  # a free way round
        ("#######\n#>oo.L#\n#o....#\n#######", ("clear", "locked door"), PICKUP),  # enclosed
        ("#######\n#>....L\n#######", ("clear", "locked door"), FORWARD),
        ("####\n#>L#\n####", ("clear", "locked door"), SATISFIED),
        ("#####\n#>+k#\n#####", ("clear", "key"), TOGGLE),
        ("#####\n#>#k#\n#####", ("clear", "key"), DONE),
        ("#####\n#>..#\n#####", ("clear", "key"), DONE),  # none was seen
        ("######\n#>o.?#\n#....#\n######", ("find",), RIGHT),  # round the ball, though that is longer
        ("######\n#>o.?#\n######", ("find",), PICKUP),
        ("######\n?.>o.?\n######", ("find",), LEFT),  # the free way, though it is behind
        ("######\n#>+.?#\n######", ("find",), TOGGLE),
        ("#####\n#>..#\n#####", ("find",), SATISFIED),
    ],
)
def test_things_are_picked_up_only_where_there_is_no_free_way(text, step, action):
    assert does(text, *step) == action
