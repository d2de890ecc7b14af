"""The plain-Python teacher against traces recorded by running the reference system, and cases by hand.

The traces, `tests/data/golden/TASK.npz`, and the plans, `tests/data/recorded_plans.json` (its "source" says
whose), come from LLM4Teach (arXiv 2311.13373). Some rules never decide anything in the traces: an object
ahead of explore, what lies just behind, skills but go_to on objects never seen, open doors. There the cases
by hand hold the oracle to the description's words.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from oracles import teacher as oracle
from oracles.teacher import COLORS, DONE, DROP, FORWARD, LEFT, PICK_UP, RIGHT, TOGGLE, Memory

DATA = Path(__file__).parents[1] / "data"
GOLDEN = DATA / "golden"
PLANS = DATA / "recorded_plans.json"
TASKS = tuple(oracle.OBJECTS)
SATISFIED, UNREACHABLE, NEVER_SEEN = 8, 16, 32  # bits beside 1 left, 2 right, 4 forward


@cache
def trace(task: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{task}.npz", allow_pickle=False) as file:
        return dict(file)


def replay(task: str) -> Iterator[tuple[int, np.ndarray, Memory]]:
    """(row, memory map, memory with that map taken in) of every step."""
    recorded = trace(task)
    starts = set(recorded["ep_start"].tolist())
    memory = Memory(task)
    for row, obs in enumerate(recorded["obs"]):
        if row in starts:
            memory = Memory(task)
        memory.update(obs)
        yield row, obs, memory


# Against the recorded traces


@pytest.mark.parametrize("task", TASKS)
def test_every_sentence_agrees_with_the_recorded_one(task):
    recorded = trace(task)
    assert len(recorded["obs"]) > 0
    for row, obs, _ in replay(task):
        assert oracle.sentence(task, obs) == recorded["sentences"][recorded["sentence"][row]], row


@pytest.mark.parametrize("task", TASKS)
def test_every_remembered_place_agrees_with_the_recorded_one(task):
    recorded = trace(task)
    assert tuple(recorded["objects"].tolist()) == oracle.OBJECTS[task]
    for row, _, memory in replay(task):
        places = [memory.places.get(name, (-1, -1)) for name in oracle.OBJECTS[task]]
        np.testing.assert_array_equal(places, recorded["place"][row], err_msg=f"row {row}")


@pytest.mark.parametrize("task", TASKS)
def test_every_go_to_has_the_recorded_optimal_first_actions(task):
    recorded = trace(task)
    for row, obs, memory in replay(task):
        masks = []
        for name in oracle.OBJECTS[task]:
            if name not in memory.places:
                masks.append(NEVER_SEEN)
                continue
            actions, distance = oracle.go_to(obs, memory.places[name])
            if distance is None:
                masks.append(UNREACHABLE)
            elif distance == 0:
                masks.append(SATISFIED)
            else:
                masks.append(sum(1 << action for action in actions))
        np.testing.assert_array_equal(masks, recorded["go_to"][row], err_msg=f"row {row}")


@pytest.mark.parametrize("task", TASKS)
def test_every_recorded_distribution_is_one_that_some_tie_break_gives(task):
    recorded = trace(task)
    table = oracle.load_tables(PLANS)[task]
    for row, obs, memory in replay(task):
        attainable = oracle.teacher_distributions(task, obs, memory, table)
        recorded_here = recorded["teacher"][row]
        assert any(np.allclose(one, recorded_here, rtol=0, atol=1e-6) for one in attainable), (
            row,
            attainable,
            recorded_here,
        )


# By hand: mostly what the traces never decide


def known_map(picture: str, facing: int, carried: str = "") -> np.ndarray:
    """A memory map from rows of signs, y downwards: `?` unseen, `.` empty, `A` the agent, `~` lava."""
    signs = {"?": (0, 0, 0), ".": (1, 0, 0), "A": (1, 0, 0), "#": (2, 5, 0), "~": (9, 0, 0)}
    signs |= {"D": (4, 2, 2), "/": (4, 2, 0), "k": (5, 2, 0), "r": (5, 0, 0)}  # blue unless `r`
    rows = picture.split()
    obs = np.zeros((len(rows[0]), len(rows), 4), np.uint8)
    for y, row in enumerate(rows):
        for x, sign in enumerate(row):
            obs[x, y] = (*signs[sign], 4)
            if sign == "A":
                obs[x, y, 3] = facing
                if carried:
                    obs[x, y, :3] = signs[carried]
    return obs


def test_explore_turns_left_where_an_object_is_ahead():
    obs = known_map("##### #...# #.Ak# #...# #####", facing=0)
    assert oracle.explore(obs) == LEFT


@pytest.mark.parametrize("beside", ["#", "D", "/", "k"])
def test_explore_turns_right_where_an_object_is_ahead_and_the_left_is_taken(beside):
    obs = known_map(f"##### #.{beside}.# #.Ak# #...# #####", facing=0)
    assert oracle.explore(obs) == RIGHT


@pytest.mark.parametrize("beside", ["?", ".", "~"])
def test_explore_turns_left_where_an_object_is_ahead_and_the_left_is_free_or_unseen(beside):
    obs = known_map(f"##### #.{beside}.# #.Ak# #...# #####", facing=0)
    assert oracle.explore(obs) == LEFT


def test_explore_is_satisfied_where_the_unseen_rest_is_near_or_beyond_the_walls():
    # The right and the lower wall end the room at x = 5, y = 5. Inside, one unseen cell on either hand.
    obs = known_map("#####?? #.?.#?? #.A.#?? #.?.#?? #####?? ???????", facing=0)
    assert oracle.room_bounds(obs) == (5, 5)
    assert oracle.explore(obs) is None


def test_explore_measures_what_is_behind_from_the_cell_ahead():
    # One unseen cell directly behind: 1 from the agent, 2 from the cell ahead, which is more than h = 1.
    obs = known_map("##### #...# #?A.# #...# #####", facing=0)
    assert oracle.explore(obs) == LEFT
    assert oracle.explore(obs, h=2) is None


def test_explore_prefers_ahead_then_left_then_right():
    assert oracle.explore(known_map("##?## #...# #.A.# #...# ##?##", facing=3)) == FORWARD
    assert oracle.explore(known_map("##?## #...# #.A.# #...# ##?##", facing=0)) == LEFT
    assert oracle.explore(known_map("##### #...# #.A.# #...# ##?##", facing=0)) == RIGHT


def test_go_to_walks_through_an_open_door_and_not_through_a_locked_one():
    through = "####### #A.{}..# ####### "
    assert oracle.go_to(known_map(through.format("/"), facing=0), (5, 1)) == ({FORWARD}, 3)
    assert oracle.go_to(known_map(through.format("D"), facing=0), (5, 1)) == (set(), None)


def test_go_to_lists_every_tied_first_action():
    # Directly behind: two turns either way, then the place is ahead.
    assert oracle.go_to(known_map("##### #kA.# #####", facing=0), (1, 1)) == ({LEFT, RIGHT}, 2)


def test_go_to_the_own_cell_steps_off_it_and_turns_back():
    assert oracle.go_to(known_map("##### #.A.# #####", facing=0, carried="k"), (2, 1)) == ({FORWARD}, 3)
    assert oracle.go_to(known_map("### #A# ###", facing=0, carried="k"), (1, 1)) == (set(), None)


@pytest.mark.parametrize("skill", ["go_to", "pick_up", "drop", "open"])
def test_a_skill_on_an_object_never_seen_ends_the_walk_with_done(skill):
    obs = known_map("##### #.A.# #####", facing=0)
    assert oracle.walk(obs, [[skill, "door"], ["pick_up", "key"]], {"key": (3, 1)}) == ({DONE}, None)


@pytest.mark.parametrize(("skill", "action"), [("pick_up", PICK_UP), ("drop", DROP), ("open", TOGGLE)])
def test_a_skill_on_an_object_once_seen_acts_from_anywhere(skill, action):
    obs = known_map("##### #.A.# #####", facing=0)
    assert oracle.walk(obs, [[skill, "key"]], {"key": (1, 1)}) == ({action}, None)


def test_a_noop_an_unreachable_target_and_an_exhausted_plan_give_done():
    obs = known_map("####### #.A#k.# #######", facing=0)
    places = {"key": (4, 1), "wall": (3, 1)}
    assert oracle.walk(obs, [["noop"], ["pick_up", "key"]], places) == ({DONE}, None)
    assert oracle.walk(obs, [["go_to", "key"], ["pick_up", "key"]], places) == ({DONE}, None)
    assert oracle.walk(obs, [["go_to", "wall"]], places) == ({DONE}, None)
    assert oracle.walk(obs, [["go_to", "wall"], ["pick_up", "key"]], places) == ({PICK_UP}, None)


def test_colours_are_renamed_by_first_appearance_and_back():
    (sees, holds), colors = oracle.rename(("red key", "blue door"), "blue key")
    assert (sees, holds) == (("color1 key", "color2 door"), "color2 key")
    assert colors == {"color1": COLORS[0], "color2": COLORS[2]}
    assert oracle.rename(("key", "door1"), None) == ((("key", "door1"), None), {})


def test_a_tie_is_broken_alike_in_every_plan_that_walks_to_the_same_place():
    obs = known_map("##### #kA.# #####", facing=0)
    memory = Memory("SimpleDoorKey")
    memory.update(obs)
    table = {(("key",), None): [(0.5, [["go_to", "key"]]), (0.3, [["go_to", "key"]]), (0.2, [["pick_up", "key"]])]}
    attainable = oracle.teacher_distributions("SimpleDoorKey", obs, memory, table)
    np.testing.assert_allclose(attainable, [[0.8, 0, 0, 0.2, 0, 0, 0], [0, 0.8, 0, 0.2, 0, 0, 0]])
