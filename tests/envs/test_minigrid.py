"""The twin on Farama's `minigrid`: every step against the recorded reference, and its rules by hand."""

from collections import Counter
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from l4t_jax.envs import minigrid as twin

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
PAPER_TASKS = ("SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "DivergedDoorKey")
ROOM_TASKS = PAPER_TASKS[:3]
STOCK_SIZES = (5, 6, 8, 16)
ALL_TASKS = PAPER_TASKS + tuple(f"DoorKey-{size}x{size}" for size in STOCK_SIZES)
EMPTY, WALL, DOOR, KEY, GOAL, LAVA = 1, 2, 4, 5, 8, 9  # MiniGrid's object indices
RED, GREEN, BLUE, YELLOW, GREY = 0, 1, 2, 4, 5  # and its colours
OPEN, LOCKED = 0, 2
LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)


# The recorded reference


@pytest.mark.parametrize("task", PAPER_TASKS)
def test_every_recorded_step_comes_out_the_same(task):
    with np.load(GOLDEN / f"{task}.npz") as file:
        golden = {name: file[name] for name in file.files}
    env = twin.make(task)
    starts = golden["ep_start"]
    ends = np.append(starts[1:], len(golden["action"]))
    assert len(starts) >= 36 and starts[0] == 0 and (ends > starts).all()
    for episode, (start, end) in enumerate(zip(starts, ends, strict=True)):
        obs = env.load_layout(golden["layout"][episode], golden["agent"][episode])
        for row in range(start, end):
            where = f"{task}, episode {episode}, t = {row - start}"
            np.testing.assert_array_equal(obs, golden["obs"][row], err_msg=where)
            obs, reward, terminated, truncated, _ = env.step(int(golden["action"][row]))
            assert reward == pytest.approx(golden["reward"][row], abs=1e-6), where
            assert (terminated, truncated) == (golden["terminated"][row], golden["truncated"][row]), where
            assert (terminated or truncated) == (row == end - 1), where
        np.testing.assert_array_equal(obs, golden["final_obs"][episode], err_msg=f"{task}, {episode}, final")


# Layouts: one set of rules, asked of the recorded levels and of the twin's own


def recorded_levels(task):
    with np.load(GOLDEN / f"{task}.npz") as file:
        return list(zip(file["layout"], (tuple(agent) for agent in file["agent"].tolist()), strict=True))


def drawn_levels(task, count=500):
    env = twin.make(task)
    levels = []
    for i in range(count):
        env.reset(seed=0 if i == 0 else None)
        levels.append(env.layout())
    return levels


def room_of(cells):
    """Width and height of the room at (0, 0); fails if the walls and doors are not exactly its ring."""
    ring = (cells[..., 0] == WALL) | (cells[..., 0] == DOOR)
    w, h = np.argwhere(ring).max(axis=0) + 1
    expected = np.zeros_like(ring)
    expected[:w, :h] = True
    expected[1 : w - 1, 1 : h - 1] = False
    np.testing.assert_array_equal(ring, expected)
    return int(w), int(h)


def side_and_inside(door, room):
    """The wall a door is in, and the cell just inside it; fails on a corner."""
    (x, y), (w, h) = door, room
    if x in (0, w - 1):
        assert 0 < y < h - 1, "a door in a corner"
        return ("left", (1, y)) if x == 0 else ("right", (w - 2, y))
    return ("top", (x, 1)) if y == 0 else ("bottom", (x, h - 2))


def find(cells, kind):
    return [tuple(xy) for xy in np.argwhere(cells[..., 0] == kind).tolist()]


@pytest.mark.parametrize("levels", [recorded_levels, drawn_levels])
@pytest.mark.parametrize("task", PAPER_TASKS)
def test_layouts_keep_the_rules(task, levels):
    for cells, (x, y, direction) in levels(task):
        room = room_of(cells)
        doors, keys, lava = find(cells, DOOR), find(cells, KEY), find(cells, LAVA)
        sides, insides = zip(*(side_and_inside(door, room) for door in doors), strict=True)
        colour = int(cells[doors[0]][1])
        assert set(np.unique(cells[..., 0])) <= {EMPTY, WALL, DOOR, KEY, LAVA}
        assert all(tuple(cells[door]) == (DOOR, colour, LOCKED) for door in doors)
        assert all(0 < a < room[0] - 1 and 0 < b < room[1] - 1 for a, b in [(x, y), *keys, *lava])
        assert cells[x, y, 0] == EMPTY and 0 <= direction < 4
        assert len(lava) == (task == "LavaDoorKey")
        assert not set(lava) & set(insides)
        if task == "DivergedDoorKey":
            assert room == (20, 20)
            assert sorted(sides) in (["left", "right"], ["bottom", "top"])
            assert keys[0] in {(9, 9), (9, 10), (10, 9), (10, 10)}
        else:
            assert len(doors) == 1 and set(room) <= set(range(5, 11))
        if task == "ColoredDoorKey":
            assert colour == BLUE and sorted(cells[key][1] for key in keys) == [RED, BLUE]
            assert not set(keys) & set(insides)
        else:
            assert [cells[key][1] for key in keys] == [colour]


@pytest.mark.parametrize("task", ROOM_TASKS)
def test_every_room_wall_and_place_is_drawn(task):
    levels = drawn_levels(task, 1000)
    rooms = [room_of(cells) for cells, _ in levels]
    doors = [find(cells, DOOR)[0] for cells, _ in levels]
    sides, insides = zip(*(side_and_inside(d, r) for d, r in zip(doors, rooms, strict=True)), strict=True)
    # Four standard deviations: 4 sqrt(1000 / 6 * 5 / 6) = 47.1, 4 sqrt(1000 / 4 * 3 / 4) = 54.8.
    for dimension in zip(*rooms, strict=True):
        assert sorted(Counter(dimension)) == [5, 6, 7, 8, 9, 10]
        assert all(abs(n - 1000 / 6) < 48 for n in Counter(dimension).values())
    assert all(abs(Counter(sides)[side] - 250) < 55 for side in ("left", "right", "top", "bottom"))
    # Corner to corner: a door beside either corner, the agent in any row and column.
    along = [
        (y, h) if side in ("left", "right") else (x, w)
        for side, (x, y), (w, h) in zip(sides, doors, rooms, strict=True)
    ]
    assert sum(at == 1 for at, _ in along) > 100 and sum(at == length - 2 for at, length in along) > 100
    assert all({agent[axis] for _, agent in levels} == set(range(1, 9)) for axis in (0, 1))
    # The agent may start just inside the door: 1000 (mean of 1/3 .. 1/8)^2 = 41 times, four deviations 25.
    assert abs(sum(agent[:2] == inside for (_, agent), inside in zip(levels, insides, strict=True)) - 41) < 26
    assert {agent[2] for _, agent in levels} == {0, 1, 2, 3}
    colours = {int(cells[door][1]) for (cells, _), door in zip(levels, doors, strict=True)}
    assert colours == ({BLUE} if task == "ColoredDoorKey" else set(range(6)))


def test_diverged_draws_both_pairs_of_walls_and_each_door_by_itself():
    levels = drawn_levels("DivergedDoorKey", 1000)
    doors = [find(cells, DOOR) for cells, _ in levels]
    left_right = [(a[1], b[1]) for a, b in doors if a[0] == 0 and b[0] == 19]
    assert abs(len(left_right) - 500) < 64  # four standard deviations
    for positions in zip(*left_right, strict=True):
        assert set(positions) == set(range(1, 19))
    assert sum(a == b for a, b in left_right) < len(left_right) / 4  # by chance 1 in 18
    assert {find(cells, KEY)[0] for cells, _ in levels} == {(9, 9), (9, 10), (10, 9), (10, 10)}


@pytest.mark.parametrize("size", STOCK_SIZES)
def test_stock_tasks_are_faramas_own(size):
    ours, theirs = (
        twin.make(f"DoorKey-{size}x{size}"),
        gym.make(f"MiniGrid-DoorKey-{size}x{size}-v0").unwrapped,
    )
    assert ours.unwrapped.agent_view_size == 7
    assert ours.unwrapped.max_steps == 10 * size**2
    rng = np.random.default_rng(0)
    for seed in range(5):
        ours.reset(seed=seed)
        theirs.reset(seed=seed)
        for action in rng.integers(0, 7, 50).tolist():
            memory, *outcome = ours.step(action)
            window, *expected = theirs.step(action)
            assert outcome == expected
            cells, agent = ours.layout()
            np.testing.assert_array_equal(cells, theirs.grid.encode())
            assert agent == (*theirs.agent_pos, theirs.agent_dir)
            # What MiniGrid shows in its window is on the map, where the window says it is.
            for xy in np.ndindex(size, size):
                spot = theirs.relative_coords(*xy)
                if spot is not None and window["image"][spot][0] > 0:
                    assert (memory[xy][:3] == window["image"][spot]).all()
            if outcome[1] or outcome[2]:
                break


# Rules by hand, on a level of one's own


def level(size=10, room=(6, 6), **objects):
    """An empty room; `objects` are `name=(x, y, object, colour, state)`."""
    cells = np.zeros((size, size, 3), np.uint8)
    cells[..., 0] = EMPTY
    w, h = room
    cells[:w, :h] = (WALL, GREY, 0)
    cells[1 : w - 1, 1 : h - 1] = (EMPTY, 0, 0)
    for x, y, *cell in objects.values():
        cells[x, y] = cell
    return cells


def door_key_level(key_colour=BLUE, **more):
    """A blue door right in row 2, a key on (2, 2): at (1, 2), looking right, the agent faces the key."""
    return level(door=(5, 2, DOOR, BLUE, LOCKED), key=(2, 2, KEY, key_colour, 0), **more)


def play(env, actions):
    """The results of `actions`, each (obs, reward, terminated, truncated); all but the last must go on."""
    results = [env.step(action)[:4] for action in actions]
    assert not any(terminated or truncated for _, _, terminated, truncated in results[:-1])
    return results


FETCH_AND_GO = [
    PICKUP,
    FORWARD,
    FORWARD,
    FORWARD,
]  # from (1, 2), with the key of (2, 2), to the door's inside


@pytest.mark.parametrize("task", ROOM_TASKS)
def test_opening_the_door_pays_by_the_step_count(task):
    env = twin.make(task)
    env.load_layout(door_key_level(), (1, 2, 0))
    obs, reward, terminated, truncated = play(env, [*FETCH_AND_GO, TOGGLE])[-1]
    assert reward == pytest.approx(0.97)  # 1 - 0.9 * 5 / 150
    assert (terminated, truncated) == (True, False)
    assert tuple(obs[5, 2]) == (DOOR, BLUE, OPEN, 4)
    assert tuple(obs[4, 2]) == (KEY, BLUE, 0, 0)  # its own cell: the key it carries, the way it looks


@pytest.mark.parametrize("door", [(0, 7), (19, 12)])
def test_either_door_ends_a_diverged_episode(door):
    env = twin.make("DivergedDoorKey")
    cells = level(20, (20, 20), a=(0, 7, DOOR, RED, LOCKED), b=(19, 12, DOOR, RED, LOCKED))
    step = 1 if door[0] == 0 else -1
    cells[door[0] + step, door[1]] = (KEY, RED, 0)
    env.load_layout(cells, (door[0] + 2 * step, door[1], 2 if step == 1 else 0))
    _, reward, terminated, _ = play(env, [PICKUP, FORWARD, TOGGLE])[-1]
    assert reward == pytest.approx(0.982) and terminated


@pytest.mark.parametrize("last, reward", [(DONE, 0.0), (TOGGLE, 0.1)])
def test_at_step_150_an_episode_is_truncated_and_may_be_won_as_well(last, reward):
    env = twin.make("SimpleDoorKey")
    env.load_layout(door_key_level(), (1, 2, 0))
    results = play(env, [*FETCH_AND_GO, *[DONE] * 145, last])
    assert len(results) == 150
    assert results[-1][1] == pytest.approx(reward)
    assert results[-1][2:] == (last == TOGGLE, True)


@pytest.mark.parametrize("wait", [0, 148])
def test_lava_ends_the_episode_with_nothing(wait):
    env = twin.make("LavaDoorKey")
    env.load_layout(door_key_level(lava=(1, 3, LAVA, RED, 0)), (1, 2, 0))
    obs, reward, terminated, truncated = play(env, [*[DONE] * wait, RIGHT, FORWARD])[-1]
    assert (reward, terminated, truncated) == (0.0, True, wait == 148)
    assert tuple(obs[1, 3]) == (EMPTY, 0, 0, 1)  # its own cell hides the lava


@pytest.mark.parametrize("task", ROOM_TASKS)
def test_a_locked_door_stays_shut_without_its_own_key(task):
    env = twin.make(task)
    env.load_layout(door_key_level(key_colour=RED), (4, 2, 0))
    obs, reward, terminated, _ = play(env, [TOGGLE])[-1]
    assert (reward, terminated) == (0.0, False) and tuple(obs[5, 2, :3]) == (DOOR, BLUE, LOCKED)
    env.load_layout(door_key_level(key_colour=RED), (1, 2, 0))
    obs, reward, terminated, _ = play(env, [*FETCH_AND_GO, TOGGLE])[-1]
    assert (reward, terminated) == (0.0, False) and tuple(obs[5, 2, :3]) == (DOOR, BLUE, LOCKED)


def test_full_hands_pick_nothing_up_and_nothing_drops_on_an_object():
    env = twin.make("ColoredDoorKey")
    env.load_layout(door_key_level(red=(3, 2, KEY, RED, 0)), (1, 2, 0))
    for obs, *_ in play(env, [PICKUP, FORWARD, PICKUP, DROP])[1:]:
        assert tuple(obs[2, 2]) == (KEY, BLUE, 0, 0)  # still carried
        assert tuple(obs[3, 2]) == (KEY, RED, 0, 4)  # still there
    obs, *_ = play(env, [RIGHT, DROP])[-1]
    assert tuple(obs[2, 2]) == (EMPTY, 0, 0, 1) and tuple(obs[2, 3, :3]) == (KEY, BLUE, 0)


def test_the_map_starts_unknown_and_keeps_what_was_seen():
    env = twin.make("SimpleDoorKey")
    obs = env.load_layout(door_key_level(), (2, 4, 3))  # looking up: columns 1..3, rows 2..4
    assert obs.dtype == np.uint8 and obs.shape == (10, 10, 4)
    memory = np.zeros((10, 10), bool)
    memory[1:4, 2:5] = True
    np.testing.assert_array_equal(obs[..., 0] > 0, memory)
    assert tuple(obs[2, 2]) == (KEY, BLUE, 0, 4) and tuple(obs[2, 4]) == (EMPTY, 0, 0, 3)
    assert (obs[..., 3] == 4).sum() == 99
    obs, *_ = env.step(RIGHT)  # columns 2..4, rows 3..5
    memory[2:5, 3:6] = True
    np.testing.assert_array_equal(obs[..., 0] > 0, memory)
    obs = env.load_layout(door_key_level(), (4, 4, 3))
    assert not obs[:3].any(where=np.array([True, True, True, False]))  # a new episode knows nothing of the last


def test_walls_and_shut_doors_block_sight_and_an_open_door_does_not():
    for state, beyond in ((LOCKED, False), (OPEN, True)):
        env = twin.make("SimpleDoorKey")
        obs = env.load_layout(level(door=(5, 2, DOOR, BLUE, state)), (4, 2, 0))
        assert (obs[5, 1:4, 0] > 0).all()
        assert obs[6, 2, 0] == (EMPTY if beyond else 0)


# The interface


@pytest.mark.parametrize("task", ALL_TASKS)
def test_gymnasium_makes_each_task_and_a_seed_fixes_the_episode(task):
    env = gym.make(f"L4T-{task}-v0")
    first, _ = env.reset(seed=3)
    assert first in env.observation_space and env.action_space == gym.spaces.Discrete(7)
    cells, agent = env.get_wrapper_attr("layout")()
    trace = [env.step(action)[0] for action in (LEFT, FORWARD, RIGHT)]
    again, _ = env.reset(seed=3)
    np.testing.assert_array_equal(first, again)
    loaded, _ = env.reset(options={"layout": cells, "agent": agent})
    np.testing.assert_array_equal(first, loaded)
    np.testing.assert_array_equal(trace, [env.step(action)[0] for action in (LEFT, FORWARD, RIGHT)])


def test_layout_and_load_layout_are_inverse_at_any_time():
    env, copy = twin.make("ColoredDoorKey"), twin.make("ColoredDoorKey")
    rng = np.random.default_rng(0)
    for seed in range(30):
        env.reset(seed=seed)
        for action in rng.integers(0, 7, 20).tolist():
            env.step(action)
        cells, agent = env.layout()
        copy.load_layout(cells, agent)
        np.testing.assert_array_equal(copy.layout()[0], cells)
        assert copy.layout()[1] == agent


def test_the_stock_goal_pays_through_the_open_door():
    env = twin.make("DoorKey-5x5")
    cells = level(5, (5, 5), key=(1, 2, KEY, YELLOW, 0), goal=(3, 3, GOAL, GREEN, 0))
    cells[2] = (WALL, GREY, 0)
    cells[2, 1] = (DOOR, YELLOW, LOCKED)
    env.load_layout(cells, (1, 1, 1))
    results = play(env, [PICKUP, LEFT, TOGGLE, FORWARD, FORWARD, RIGHT, FORWARD, FORWARD])
    assert tuple(results[3][0][2, 1]) == (KEY, YELLOW, 0, 0)  # in the doorway: the key it carries
    assert tuple(results[4][0][2, 1]) == (DOOR, YELLOW, OPEN, 4)
    assert results[-1][1] == pytest.approx(1 - 0.9 * 8 / 250) and results[-1][2:] == (True, False)


def test_doorkey_is_short_for_simpledoorkey_and_a_wrong_name_gets_near_matches():
    assert type(twin.make("DoorKey").unwrapped) is type(twin.make("SimpleDoorKey").unwrapped)
    with pytest.raises(ValueError, match="LavaDoorKey"):
        twin.make("LavaDorKey")


@pytest.mark.parametrize(
    "shape, agent, reason",
    [((9, 10, 3), (1, 2, 0), "shape"), ((10, 10, 3), (1, 2, 4), "place"), ((10, 10, 3), (0, 0, 0), "wall")],
)
def test_an_impossible_level_is_refused(shape, agent, reason):
    cells = door_key_level()[: shape[0]]
    with pytest.raises(ValueError, match=reason):
        twin.make("SimpleDoorKey").load_layout(cells, agent)


@pytest.mark.parametrize("task", ["SimpleDoorKey", "DoorKey-5x5"])
def test_it_draws_pictures(task):
    env = twin.make(task, render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert frame.dtype == np.uint8 and frame.shape[-1] == 3 and len(np.unique(frame)) > 5
