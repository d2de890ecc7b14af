"""Grids of rooms beside Farama's `RoomGrid`, and the doors that connect all rooms beside doors added one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from minigrid.core.mission import MissionSpace
from minigrid.core.roomgrid import RoomGrid as TheirRoomGrid

from l4t_jax.envs.cells import DOOR_LOCKED, EMPTY_CODE, KEY, WALL, code
from l4t_jax.envs.room_grid import DOWN_SIDE, LEFT_SIDE, RIGHT_SIDE, UP_SIDE, RoomGrid, paint, shuffled
from l4t_jax.evaluation.farama import code_of

GRID = RoomGrid(room_size=5, cols=3, rows=2)


@pytest.fixture
def theirs():
    env = TheirRoomGrid(5, num_rows=2, num_cols=3, mission_space=MissionSpace(lambda: "none"))
    env.reset(seed=0)
    return env


def codes(env):
    return np.reshape([code_of(cell) for cell in env.grid.grid], (env.height, env.width)).T


def test_walls_and_start_are_minigrids(theirs):
    assert (GRID.width, GRID.height) == (theirs.width, theirs.height)
    np.testing.assert_array_equal(GRID.cells(), codes(theirs))
    assert GRID.start == tuple(theirs.agent_pos)


@pytest.mark.parametrize(
    "room, side", [((0, 0), RIGHT_SIDE), ((1, 0), DOWN_SIDE), ((2, 1), LEFT_SIDE), ((0, 1), UP_SIDE)]
)
def test_a_removed_wall_is_minigrids(theirs, room, side):
    theirs.remove_wall(*room, side)
    np.testing.assert_array_equal(GRID.remove_wall(GRID.cells(), *room, side), codes(theirs))


def test_a_wall_has_one_number_from_both_of_its_rooms():
    assert GRID.wall(0, 1, RIGHT_SIDE) == GRID.wall(1, 1, LEFT_SIDE)
    assert GRID.wall(2, 0, DOWN_SIDE) == GRID.wall(2, 1, UP_SIDE)
    assert sorted(GRID.wall(i, j, RIGHT_SIDE) for i in (0, 1) for j in (0, 1)) == [0, 1, 2, 3]
    assert GRID.num_walls == 7
    np.testing.assert_array_equal(GRID.ends[GRID.wall(1, 0, DOWN_SIDE)], [1, 4])
    with pytest.raises(ValueError):
        GRID.wall(2, 0, RIGHT_SIDE)


def test_doors_are_inside_their_walls():
    x, y = map(np.asarray, jax.vmap(GRID.door_places)(jax.random.bits(jax.random.key(0), (500, GRID.num_walls))))
    right, down = GRID.wall(1, 1, RIGHT_SIDE), GRID.wall(2, 0, DOWN_SIDE)
    assert set(x[:, right]) == {8} and set(y[:, right]) == {5, 6, 7}
    assert set(x[:, down]) == {9, 10, 11} and set(y[:, down]) == {4}


def connected(ends, doors, rooms):
    reach = {0}
    for _ in range(rooms):
        reach |= {b for a, b in [*ends[doors], *ends[doors][:, ::-1]] if a in reach}
    return len(reach) == rooms


@pytest.mark.parametrize("grid", (RoomGrid(4, 3, 3), RoomGrid(4, 3, 2), RoomGrid(4, 2, 1)))
def test_doors_are_added_in_a_random_order_until_all_rooms_are_connected(grid):
    rng = np.random.default_rng(0)
    connect = jax.jit(grid.connect_all)
    rooms, number = grid.cols * grid.rows, grid.num_walls
    for _ in range(50):
        words = rng.integers(0, 2**32, number, dtype=np.uint32)
        passages, allowed = rng.random(number) < 0.2, rng.random(number) < 0.8
        if not connected(grid.ends, passages | allowed, rooms):
            continue
        doors = np.zeros(number, bool)
        for wall in np.argsort(words):
            if connected(grid.ends, passages | doors, rooms):
                break
            doors[wall] = allowed[wall] and not passages[wall]
        np.testing.assert_array_equal(connect(words, jnp.asarray(passages), jnp.asarray(allowed)), doors)


def test_the_agent_is_where_neither_an_object_nor_a_door_is_ahead():
    grid = RoomGrid(room_size=4, cols=2, rows=1)  # rooms of 2 x 2 cells
    cells = grid.cells().at[3, 1].set(code(DOOR_LOCKED, 0)).at[1, 2].set(code(KEY, 0))
    drawn = jax.vmap(lambda word: grid.agent(word, cells, 0, 0))(jax.random.bits(jax.random.key(0), (2_000,)))
    poses, counts = np.unique(drawn, axis=0, return_counts=True)
    # (1, 1) has the key below it, (2, 1) the door to its right, (2, 2) the key to its left.
    places = {(1, 1): {0, 2, 3}, (2, 1): {1, 2, 3}, (2, 2): {0, 1, 3}}
    assert {tuple(pose) for pose in poses.tolist()} == {(*at, d) for at, looks in places.items() for d in looks}
    assert counts.min() > 150  # 222 on average, 14 is the standard deviation


def test_things_are_free_of_walls_things_and_the_start():
    cells = GRID.cells().at[5, 1].set(code(KEY, 0))
    assert GRID.start == (6, 6)
    free = np.asarray(GRID.free(cells, 1, 1))
    assert {tuple(at) for at in np.argwhere(free).tolist()} == {(5, 5), (5, 7), (7, 5), (7, 7)}
    assert {tuple(at) for at in np.argwhere(np.asarray(GRID.free(cells, 1, 0))).tolist()} == {
        (x, y) for x in (5, 6, 7) for y in (1, 2, 3)
    } - {(5, 1)}


def test_painted_things_lie_where_they_are_put_and_nothing_else_changes():
    cells = GRID.cells()
    painted = paint(cells, jnp.array([1, 2, 0]), jnp.array([1, 3, 0]), jnp.array([code(KEY, 2), code(KEY, 4), 0]))
    expected = np.array(cells)
    expected[1, 1], expected[2, 3] = code(KEY, 2), code(KEY, 4)
    np.testing.assert_array_equal(painted, expected)
    assert painted[0, 0] & 15 == WALL and painted[1, 2] == EMPTY_CODE


def test_shuffled_numbers_are_each_words_rank():
    np.testing.assert_array_equal(shuffled(jnp.array([7, 1, 9, 3], jnp.uint32)), [2, 0, 3, 1])
