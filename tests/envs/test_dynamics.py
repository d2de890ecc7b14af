"""MiniGrid's rules by hand, where navix has others; parity with MiniGrid itself is in test_world_parity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.envs import dynamics
from l4t_jax.envs.cells import (
    BALL,
    BLUE,
    DONE,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    DROP,
    EMPTY_CODE,
    FORWARD,
    GOAL_CODE,
    KEY,
    LAVA_CODE,
    LEFT,
    PICKUP,
    RED,
    RIGHT,
    TOGGLE,
    WALL_CODE,
    code,
)
from l4t_jax.envs.state import Layout
from l4t_jax.envs.success import door_opened, goal_reached, lava_entered
from l4t_jax.envs.visibility import know, look

pytestmark = pytest.mark.usefixtures("no_silent_broadcast")
BLUE_KEY, RED_KEY, BLUE_BALL = code(KEY, BLUE), code(KEY, RED), code(BALL, BLUE)
BLUE_DOOR = code(DOOR_LOCKED, BLUE)


@pytest.fixture(scope="module")
def act():
    step = jax.jit(lambda state, action: dynamics.act(state, action, jnp.int32(0)))
    return lambda state, action: ((found := step(state, action)).next_state, found)


def start(cells, agent):
    return look(dynamics.start(Layout(cells, agent)), 3)


def world_with(ahead, carrying=0, agent=(2, 2, 0)):
    """A 6 x 5 room; the agent stands at (2, 2), looks right, and `ahead` lies before it."""
    cells = np.full((6, 5), EMPTY_CODE, np.uint8)
    cells[[0, -1], :] = WALL_CODE
    cells[:, [0, -1]] = WALL_CODE
    cells[3, 2] = ahead
    env_state = start(jnp.asarray(cells), jnp.array(agent, jnp.int8))
    pickup_position = jnp.array([1, 1] if carrying else [-1, -1], jnp.int8)
    return env_state.replace(carrying=jnp.uint8(carrying), pickup_position=pickup_position)


@pytest.mark.parametrize(
    "ahead, carrying, action, then_ahead, then_carrying",
    [
        (BLUE_KEY, 0, PICKUP, EMPTY_CODE, BLUE_KEY),
        (BLUE_BALL, 0, PICKUP, EMPTY_CODE, BLUE_BALL),
        (BLUE_KEY, RED_KEY, PICKUP, BLUE_KEY, RED_KEY),  # full hands: nothing (navix swaps)
        (BLUE_DOOR, 0, PICKUP, BLUE_DOOR, 0),
        (EMPTY_CODE, BLUE_KEY, DROP, BLUE_KEY, 0),
        (EMPTY_CODE, 0, DROP, EMPTY_CODE, 0),
        (GOAL_CODE, BLUE_KEY, DROP, GOAL_CODE, BLUE_KEY),  # occupied: nothing (navix pays, kills, drops on doors)
        (LAVA_CODE, BLUE_KEY, DROP, LAVA_CODE, BLUE_KEY),
        (code(DOOR_OPEN, RED), BLUE_KEY, DROP, code(DOOR_OPEN, RED), BLUE_KEY),
        (BLUE_DOOR, BLUE_KEY, TOGGLE, code(DOOR_OPEN, BLUE), BLUE_KEY),  # the key stays (navix eats it)
        (BLUE_DOOR, RED_KEY, TOGGLE, BLUE_DOOR, RED_KEY),
        (BLUE_DOOR, BLUE_BALL, TOGGLE, BLUE_DOOR, BLUE_BALL),
        (BLUE_DOOR, 0, TOGGLE, BLUE_DOOR, 0),
        (code(DOOR_CLOSED, BLUE), 0, TOGGLE, code(DOOR_OPEN, BLUE), 0),
        (code(DOOR_OPEN, BLUE), 0, TOGGLE, code(DOOR_CLOSED, BLUE), 0),  # open doors close (navix: never)
        (BLUE_KEY, 0, TOGGLE, BLUE_KEY, 0),
        (BLUE_KEY, 0, DONE, BLUE_KEY, 0),
    ],
)
def test_what_an_action_does_to_what_is_ahead(act, ahead, carrying, action, then_ahead, then_carrying):
    before = world_with(ahead, carrying)
    after, outcome = act(before, jnp.int32(action))
    assert int(after.cells[3, 2]) == then_ahead and int(after.carrying) == then_carrying
    others = np.ones((6, 5), bool)
    others[3, 2] = False
    np.testing.assert_array_equal(after.cells[others], before.cells[others])
    np.testing.assert_array_equal(after.agent, before.agent)
    opened = action == TOGGLE and then_ahead & 15 == DOOR_OPEN
    ends = [bool(predicate(outcome)) for predicate in (door_opened, lava_entered, goal_reached)]
    assert ends == [opened, False, False]
    expected = {(0, True): [3, 2], (1, False): [-1, -1]}.get((int(carrying > 0), then_carrying > 0))
    np.testing.assert_array_equal(after.pickup_position, before.pickup_position if expected is None else expected)


@pytest.mark.parametrize(
    "ahead, walks",
    [
        (EMPTY_CODE, True), (GOAL_CODE, True), (LAVA_CODE, True), (code(DOOR_OPEN, RED), True),
        (WALL_CODE, False), (BLUE_KEY, False), (BLUE_DOOR, False), (code(DOOR_CLOSED, RED), False),
    ],
)  # fmt: skip
def test_where_forward_leads(act, ahead, walks):
    after, outcome = act(world_with(ahead), jnp.int32(FORWARD))
    np.testing.assert_array_equal(after.agent, [3, 2, 0] if walks else [2, 2, 0])
    assert bool(lava_entered(outcome)) == (ahead == LAVA_CODE) and bool(goal_reached(outcome)) == (ahead == GOAL_CODE)


@pytest.mark.parametrize("action, then", [(LEFT, (3, 0, 1, 2)), (RIGHT, (1, 2, 3, 0))])
def test_turns_keep_the_place(act, action, then):
    for direction in range(4):
        after, _ = act(world_with(EMPTY_CODE, agent=(2, 2, direction)), jnp.int32(action))
        np.testing.assert_array_equal(after.agent, [2, 2, then[direction]])


def test_the_edge_of_the_map_stands_for_a_wall(act):
    open_map = jnp.full((3, 3), EMPTY_CODE, jnp.uint8)
    for x, y, d in ((2, 1, 0), (1, 2, 1), (0, 1, 2), (1, 0, 3)):
        env_state = start(open_map, jnp.array([x, y, d], jnp.int8))
        for action in (FORWARD, PICKUP, DROP, TOGGLE):
            after, _ = act(env_state, jnp.int32(action))
            np.testing.assert_array_equal(after.agent, [x, y, d])
            np.testing.assert_array_equal(after.cells, open_map)


def test_what_is_seen_is_a_window_ahead_that_walls_cut_and_it_is_remembered(act):
    env_state = world_with(EMPTY_CODE)  # looks right, from (2, 2): columns 2, 3, 4 and rows 1, 2, 3
    expected = np.zeros((6, 5), bool)
    expected[2:5, 1:4] = True
    np.testing.assert_array_equal(env_state.seen, expected)
    blocked = start(env_state.cells.at[3, 1:4].set(WALL_CODE), env_state.agent)
    expected[4] = False  # behind a wall
    np.testing.assert_array_equal(blocked.seen, expected)
    turned = look(act(blocked, jnp.int32(LEFT))[0], 3)
    expected[1:4, 0:3] = True  # up: rows 0, 1, 2 and columns 1, 2, 3
    np.testing.assert_array_equal(turned.seen, expected)


def test_what_was_seen_is_known_as_it_is_now_and_the_own_cell_shows_the_carried_object(act):
    env_state = world_with(BLUE_KEY)
    assert int(know(env_state).cells[3, 2]) == BLUE_KEY
    after, _ = act(env_state, jnp.int32(PICKUP))
    memory = know(after)
    assert int(memory.cells[3, 2]) == EMPTY_CODE and int(memory.cells[2, 2]) == BLUE_KEY
    assert int(memory.carrying) == BLUE_KEY and memory.pickup_position.tolist() == [3, 2]
    assert int(memory.cells[0, 0]) == 0  # never seen
    assert {leaf.dtype for leaf in jax.tree.leaves(memory)} == {jnp.dtype("uint8"), jnp.dtype("int8")}
