"""What the families of open rooms end on: success and failure of transitions, with the values of Farama's steps."""

import numpy as np
import pytest
from minigrid.core.world_object import Ball, Box, Key
from oracles.open_families import Episode

from l4t_jax.envs.cells import DONE, DROP, FORWARD, LEFT, PICKUP, RIGHT, TOGGLE
from l4t_jax.evaluation.farama import Targets

SEED = 20231113
EAST, SOUTH, WEST, NORTH = range(4)


def judged(episode):
    """Asserts that our success and failure are Farama's endings; then "good", "bad" or "" for each step."""
    success, failure = episode.judged()
    rewards, ended = np.array(episode.rewards), np.array(episode.ended)
    np.testing.assert_array_equal(success, rewards > 0)
    np.testing.assert_array_equal(success | failure, ended)
    np.testing.assert_array_equal(np.where(failure, episode.task.penalty, 0), np.where(success, 0, rewards))
    assert not (success & failure).any()
    return np.select([success, failure], ["good", "bad"], "").tolist()


# Levels laid out by hand: what a random walk hardly meets


def scene(name, agent, things=(), **settings):
    """An episode of an otherwise empty room: the agent's x, y and direction, things by cell, the mission's places."""
    episode = Episode(name, SEED)
    env = episode.env
    for x in range(1, env.width - 1):
        for y in range(1, env.height - 1):
            env.grid.set(x, y, None)
    for (x, y), thing in dict(things).items():
        env.put_obj(thing, x, y)
    for setting, value in settings.items():
        assert hasattr(env, setting)
        setattr(env, setting, value)
    stand(episode, *agent)
    episode.marks = Targets(env, episode.task.family)
    return episode


def stand(episode, x, y, direction):
    episode.env.agent_pos, episode.env.agent_dir = (x, y), direction


def play(episode, *actions):
    for action in actions:
        episode.step(action)
    return judged(episode)[-len(actions) :]


def ball_wanted(agent):
    """GoToObject's red ball lies at (2, 2), a blue key at (4, 4)."""
    return scene(
        "GoToObject-6x6-N2", agent, {(2, 2): Ball("red"), (4, 4): Key("blue")},
        target_pos=(2, 2), targetType="ball", target_color="red", mission="go to the red ball",
    )  # fmt: skip


def test_done_beside_the_object_is_good_and_looking_away_does_not_matter():
    assert play(ball_wanted((2, 3, SOUTH)), DONE) == ["good"]


@pytest.mark.parametrize("agent", [(3, 3, NORTH), (2, 4, NORTH), (3, 4, EAST)], ids=["diagonal", "two off", "key"])
def test_done_elsewhere_is_bad(agent):
    assert play(ball_wanted(agent), DONE) == ["bad"]


def test_any_toggle_is_bad():
    assert play(ball_wanted((3, 3, EAST)), TOGGLE) == ["bad"]


def test_picking_the_object_up_ends_nothing_and_its_first_cell_still_counts():
    assert play(ball_wanted((2, 3, NORTH)), PICKUP, DONE) == ["", "good"]


def test_where_the_object_was_put_does_not_count():
    episode = ball_wanted((2, 3, NORTH))
    play(episode, PICKUP)
    stand(episode, 4, 1, WEST)
    assert play(episode, DROP, DONE) == ["", "bad"]
    stand(episode, 1, 2, WEST)
    assert play(episode, DONE) == ["good"]


def move_the_key(target, agent):
    """PutNear's green key lies at (1, 1), to be put near a target at (4, 4)."""
    kind = type(target).__name__.lower()
    return scene(
        "PutNear-6x6-N2", agent, {(1, 1): Key("green"), (4, 4): target},
        move_pos=(1, 1), move_type="key", moveColor="green", target_pos=(4, 4), target_type=kind, target_color="red",
        mission=f"put the green key near the red {kind}",
    )  # fmt: skip


@pytest.mark.parametrize(
    "at, ending",
    [((4, 2, SOUTH), "good"), ((2, 3, EAST), "good"), ((4, 1, SOUTH), "bad"), ((3, 4, EAST), "bad")],
    ids=["beside", "diagonal", "two off", "on the target, in vain"],
)
def test_the_first_drop_decides(at, ending):
    episode = move_the_key(Ball("red"), (2, 1, WEST))
    assert play(episode, PICKUP) == [""]
    stand(episode, *at)
    assert play(episode, DROP) == [ending]


def test_a_drop_against_the_wall_is_bad_and_one_with_empty_hands_nothing():
    assert play(move_the_key(Ball("red"), (2, 1, WEST)), DROP, PICKUP, RIGHT, PICKUP, DROP) == ["", "", "", "", "bad"]


def test_picking_up_the_wrong_object_is_bad():
    assert play(move_the_key(Ball("red"), (4, 3, SOUTH)), PICKUP) == ["bad"]


def test_near_a_box_that_was_toggled_away_is_good():
    episode = move_the_key(Box("red"), (4, 3, SOUTH))
    assert play(episode, TOGGLE) == [""]
    stand(episode, 2, 1, WEST)
    play(episode, PICKUP)
    stand(episode, 4, 3, SOUTH)
    assert play(episode, DROP) == ["good"]


def test_fetching_one_of_two_alike_is_good_whichever_it_is():
    things = {(1, 1): Key("red"), (3, 3): Key("red"), (3, 1): Ball("red")}
    for agent, ending in (((2, 1, WEST), "good"), ((3, 2, SOUTH), "good"), ((2, 1, EAST), "bad")):
        episode = scene(
            "Fetch-5x5-N2", agent, things, targetType="key", targetColor="red", mission="go fetch a red key"
        )
        assert play(episode, PICKUP) == [ending]
        assert episode.transitions[0].state.targets.sum() == 2


def before_doors(episode, colour):
    env = episode.env
    door, x, direction = {"red": (env.red_door, 4, WEST), "blue": (env.blue_door, 7, EAST)}[colour]
    y = next(i // env.width for i, cell in enumerate(env.grid.grid) if cell is door)
    stand(episode, x, y, direction)


@pytest.mark.parametrize(
    "toggled, endings",
    [("red blue", ["", "good"]), ("blue", ["bad"]), ("red red blue", ["", "", "bad"]),
     ("red red red blue", ["", "", "", "good"])],
)  # fmt: skip
def test_the_red_door_must_be_open_before_the_blue_one(toggled, endings):
    episode = Episode("RedBlueDoors-6x6", SEED)
    for colour in toggled.split():
        before_doors(episode, colour)
        episode.step(TOGGLE)
    assert judged(episode) == endings


@pytest.mark.parametrize("red_open", [True, False])
@pytest.mark.parametrize("door", ["red", "blue"])
def test_blue_open_already_is_judged_as_farama_does(red_open, door):
    """No episode goes on with blue open; a level laid out so still ends as Farama's."""
    episode = Episode("RedBlueDoors-6x6", SEED)
    episode.env.red_door.is_open, episode.env.blue_door.is_open = red_open, True
    before_doors(episode, door)
    play(episode, LEFT)
    before_doors(episode, door)
    play(episode, TOGGLE)


@pytest.mark.parametrize("end, ending", [("success_pos", "good"), ("failure_pos", "bad")])
@pytest.mark.parametrize("seed", range(4))
def test_memory_ends_on_the_cell_before_an_object(end, ending, seed):
    episode = Episode("MemoryS9", seed)
    x, y = getattr(episode.env, end)
    up = y < 4
    stand(episode, x, 4, NORTH if up else SOUTH)
    assert play(episode, LEFT, RIGHT, FORWARD) == ["", "", ending]


def test_pickup_toggles_in_memory_so_that_nothing_is_taken():
    episode = Episode("MemoryS9", SEED)
    stand(episode, 1, 4, NORTH)
    assert play(episode, PICKUP) == [""]
    assert episode.env.carrying is None and episode.task.pickup_toggles


def test_go_to_door_counts_the_door_of_the_mission_alone():
    """Done before each of the four doors; the smallest room has them all in the middle of its walls."""
    episode = Episode("GoToDoor-5x5", SEED)
    before = {(2, 0): (2, 1), (2, 4): (2, 3), (0, 2): (1, 2), (4, 2): (3, 2)}
    for door, cell in before.items():
        stand(episode, *cell, EAST)
        assert play(episode, DONE) == ["good" if door == tuple(episode.env.target_pos) else "bad"]
    stand(episode, 1, 1, EAST)
    assert play(episode, FORWARD, PICKUP, DROP) == ["", "", ""]
