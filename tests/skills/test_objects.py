"""Skills on objects and things in the way, on maps drawn as text."""

import dataclasses

import jax
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
    DROP,
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


WIDTH, HEIGHT = 8, 6
TASK = dataclasses.replace(
    get_task("KeyCorridorS3R3"), name="Drawn", width=WIDTH, height=HEIGHT, mission=None,
    objects=(KEYS, BALLS, LOCKED_DOORS),
)  # fmt: skip


@jax.jit
def all_actions(memory):
    return skill_actions(TASK, memory).actions


def does(text, *step, holds=0, taken_from=(-1, -1)):
    """What a step of a plan does on a map; the agent is one of > v < ^, beyond the map there are walls."""
    cells = np.full((WIDTH, HEIGHT), WALL_CODE, np.uint8)
    for y, row in enumerate(text.split()):
        for x, mark in enumerate(row):
            cells[x, y] = CODES.get(mark, EMPTY_CODE)
            if mark in ">v<^":
                cells[x, y], agent = holds or EMPTY_CODE, (x, y, ">v<^".index(mark))
    memory = MemoryMap(
        cells=jnp.asarray(cells), agent=jnp.array(agent, jnp.int8), carrying=jnp.uint8(holds),
        pickup_position=jnp.array(taken_from, jnp.int8),
    )  # fmt: skip
    return int(all_actions(memory)[encode_step(TASK, step)])


@pytest.mark.parametrize(
    "text, step, action",
    [
        ("#####\n#>oL#\n#..##\n#####", ("clear", "locked door"), PICKUP),  # the only cell before the door is taken
        ("#####\n#>kL#\n#..##\n#####", ("clear", "locked door"), PICKUP),
        ("#######\n#>o..L#\n#.....#\n#######", ("clear", "locked door"), RIGHT),  # a free way round
        ("#######\n#>oo.L#\n#o....#\n#######", ("clear", "locked door"), PICKUP),  # enclosed
        ("#######\n#>o.oL#\n#...###\n#######", ("clear", "locked door"), RIGHT),  # blocked, but not by what is ahead
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


BALL_HELD = {"holds": code(BALL, GREEN)}


@pytest.mark.parametrize(
    "text, action, held",
    [
        ("#####\n#>.##\n#..##\n#####", DROP, {}),
        ("######\n#>..L#\n###..#\n######", FORWARD, {}),  # not in a corridor
        ("#####\n#>.##\n#..##\n#####", RIGHT, {"taken_from": (2, 1)}),  # not where it came from
        ("####\n#>.#\n####", DROP, {"taken_from": (2, 1)}),  # if there is another place
        ("#####\n#ko.#\n#.<.#\n#####", LEFT, {}),  # not on the only cell beside the key
        ("#####\n#>..#\n#...#\n#####", DROP, {}),
    ],
)
def test_what_is_put_down_is_in_nobodys_way(text, action, held):
    assert does(text, "put_down", **BALL_HELD, **held) == action
    assert does(text, "put_down") == SATISFIED
