"""KeyInBox, RandomBoxKey and DynamicDoorKey: their levels, what is hidden in them, and the door that moves."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.farama import drawn

from l4t_jax.abstraction.symbolic import enumerate_states
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import (
    BOX,
    DOOR_LOCKED,
    DOOR_OPEN,
    EMPTY,
    EMPTY_CODE,
    FORWARD,
    KEY,
    LEFT,
    NUM_ACTIONS,
    PICKUP,
    TOGGLE,
    WALL,
    WALL_CODE,
    code,
    kind_of,
    one_of,
)
from l4t_jax.envs.dynamics import front_of
from l4t_jax.envs.families import unshipped
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.registry import is_brought_in
from l4t_jax.envs.state import Layout, State
from l4t_jax.envs.visibility import know, see, visible
from l4t_jax.evaluation.teachers import evaluate_teacher
from l4t_jax.skills.actions import symbolic_states
from l4t_jax.teacher import file

NAMES = ("KeyInBox", "RandomBoxKey", "DynamicDoorKey")
LEVELS = 2_000


def meddle(key: jax.Array, state: State) -> jax.Array:
    """An action by chance; every other time where a thing is ahead, it is picked up or toggled."""
    walk, whether = jax.random.split(key)
    action = jax.random.choice(walk, NUM_ACTIONS, p=jnp.asarray([2, 2, 6, 1, 1, 1, 0]) / 13)
    draw = jax.random.randint(whether, (), 0, 4)
    thing = one_of(kind_of(front_of(state)[1]), KEY, BOX) & (draw < 2)
    return jnp.where(thing, jnp.asarray([PICKUP, TOGGLE])[draw % 2], action)


def five_sigma(share: float, number: int) -> float:
    return 5 * (share * (1 - share) / number) ** 0.5


@pytest.mark.parametrize("name", NAMES)
def test_a_name_means_the_task_and_none_of_babyais(name: str) -> None:
    task = get_task(name.lower())
    assert (task.name, task.minigrid_id, task.max_steps, task.view) == (name, None, 150, 3)
    assert not is_brought_in(name) and is_brought_in("BabyAI-KeyInBox-v0")


@pytest.mark.parametrize("name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])])
def test_the_teacher_alone_opens_the_door(name: str) -> None:
    task = get_task(name)
    found = evaluate_teacher(task, file.shipped(task), 256)
    assert found["success"] >= 0.99 and found["unguided"] == []


@pytest.mark.parametrize(("name", "least"), [("RandomBoxKey", 13), ("DynamicDoorKey", 6)])
def test_every_state_that_is_met_is_one_of_the_tables(name: str, least: int) -> None:
    env, number = make_env(get_task(name)), 64

    def step(state: State, key: jax.Array) -> Any:
        state = env.transition(state, jnp.int32(0), meddle(key, state), jax.random.fold_in(key, 1))[0]
        return state, know(state)

    @jax.jit
    def met(keys: jax.Array) -> jax.Array:
        start = jax.vmap(env.initial)(keys)
        steps = jax.vmap(partial(jax.random.split, num=100))(keys)
        return symbolic_states(env.task, jax.vmap(lambda *given: jax.lax.scan(step, *given)[1])(start, steps))

    found = set(np.unique(met(jax.random.split(jax.random.key(2), number))).tolist())
    assert found <= set(enumerate_states(env.task)) and len(found) >= least


# Boxes


def beside_the_door(cells: np.ndarray) -> np.ndarray:
    """`bool[N, W, H]`: the four cells around the door."""
    door = np.pad((cells & 15) == DOOR_LOCKED, [(0, 0), (1, 1), (1, 1)])
    return door[:, 2:, 1:-1] | door[:, :-2, 1:-1] | door[:, 1:-1, 2:] | door[:, 1:-1, :-2]


@pytest.mark.parametrize(("name", "share"), [("KeyInBox", 1.0), ("RandomBoxKey", 0.5)])
def test_the_key_is_in_the_box_or_lies_elsewhere(name: str, share: float) -> None:
    levels = drawn(get_task(name).layout, LEVELS)
    kinds, contents = levels.cells & 15, np.asarray(levels.contents)
    keys, boxes, doors = (kinds == kind for kind in (KEY, BOX, DOOR_LOCKED))
    inside = contents > 0
    assert (boxes.sum(axis=(1, 2)) == 1).all() and (doors.sum(axis=(1, 2)) == 1).all()
    assert (keys.sum(axis=(1, 2)) + inside.sum(axis=(1, 2)) == 1).all()
    assert (inside <= boxes).all() and not (boxes & beside_the_door(np.asarray(levels.cells))).any()
    assert (kinds[np.arange(LEVELS), levels.agent[:, 0], levels.agent[:, 1]] == EMPTY).all()
    key_codes = np.where(inside, contents, np.where(keys, levels.cells, 0)).max(axis=(1, 2))
    door_colours = levels.cells[doors] >> 4
    np.testing.assert_array_equal(key_codes, KEY | door_colours << 4)
    assert inside.any(axis=(1, 2)).mean() == pytest.approx(share, abs=five_sigma(share, LEVELS))
    # A box's colour tells nothing of the key's.
    alike = (levels.cells[boxes] >> 4 == door_colours).mean()
    assert alike == pytest.approx(1 / 6, abs=five_sigma(1 / 6, LEVELS))
    assert len(np.unique(door_colours)) == len(np.unique(levels.cells[boxes])) == 6


@pytest.mark.parametrize("name", ["KeyInBox", "RandomBoxKey"])
def test_what_is_in_a_box_is_seen_only_once_it_is_opened(name: str) -> None:
    """Two states of one level, in one of which boxes are empty, look alike until a box is opened, and not after."""
    env, number = make_env(get_task(name)), 48
    full = jax.vmap(env.initial)(jax.random.split(jax.random.key(0), number))
    empty = full.replace(contents=jnp.zeros_like(full.cells))

    def step(carry: Any, key: jax.Array) -> Any:
        pair, t, opened = carry
        box = kind_of(front_of(pair[0])[1]) == BOX
        action = meddle(key, pair[0])
        opened = opened | (box & (action == TOGGLE))
        pair = tuple(env.transition(one, t, action)[0] for one in pair)
        leaves = zip(*(jax.tree.leaves((know(one), see(one, env.task.view))) for one in pair), strict=True)
        alike = jnp.stack([jnp.all(one == other) for one, other in leaves]).all()
        return (pair, t + 1, opened), (opened, alike)

    @jax.jit
    @jax.vmap
    def play(key: jax.Array, *pair: State) -> Any:
        return jax.lax.scan(step, (pair, jnp.int32(0), jnp.bool_(False)), jax.random.split(key, 60))[1]

    opened, alike = (np.asarray(rows) for rows in play(jax.random.split(jax.random.key(1), number), full, empty))
    assert alike[~opened].all() and (~opened[:, -1]).any()
    assert (~alike[opened]).any()


# The door that moves


def room(door: tuple[int, int], seen: bool) -> State:
    """A room of 6 x 8 cells with a door, all of it seen or nothing."""
    cells = np.full((unshipped.MAP, unshipped.MAP), EMPTY_CODE, np.uint8)
    cells[:6, :8] = WALL_CODE
    cells[1:5, 1:7] = EMPTY_CODE
    cells[door] = code(DOOR_LOCKED, 3)
    agent = jnp.array([2, 3, 0], jnp.int8)
    state = make_env(get_task("DynamicDoorKey")).begin(Layout(jnp.asarray(cells), agent))
    known = jnp.full(cells.shape, seen)
    return state.replace(seen=known, last_seen=jnp.where(known, state.cells, jnp.uint8(0)))


def shown(state: State) -> jax.Array:
    assert state.last_seen is not None
    return state.last_seen


@pytest.fixture(scope="module")
def moved() -> Any:
    """A state and a number -> that many states a step later, before the agent acts."""
    step = jax.jit(jax.vmap(unshipped.door_moves, in_axes=(0, None)))
    return lambda state, number: step(jax.random.split(jax.random.key(0), number), state)


@pytest.mark.parametrize(
    ("door", "wall"),
    [
        ((0, 4), [(0, y) for y in range(1, 7)]),
        ((5, 1), [(5, y) for y in range(1, 7)]),
        ((1, 0), [(x, 0) for x in range(1, 5)]),
        ((4, 7), [(x, 7) for x in range(1, 5)]),
    ],
)
def test_now_and_then_the_door_is_at_another_place_of_its_wall(moved: Any, door: Any, wall: list[Any]) -> None:
    number, state = 8_000, room(door, seen=False)
    cells = np.array(moved(state, number).cells)
    where = np.argwhere((cells & 15) == DOOR_LOCKED)
    assert len(where) == number and (cells[(cells & 15) == DOOR_LOCKED] == code(DOOR_LOCKED, 3)).all()
    places = [tuple(int(v) for v in place[1:]) for place in where]
    share = 1 / unshipped.MOVES_EVERY
    assert np.mean([place != door for place in places]) == pytest.approx(share, abs=five_sigma(share, number))
    each = share / (len(wall) - 1)
    for place in set(wall) - {door}:
        assert places.count(place) / number == pytest.approx(each, abs=five_sigma(each, number))
    assert set(places) == set(wall)
    cells[(cells & 15) == DOOR_LOCKED] = WALL_CODE
    as_before = np.array(state.cells)
    as_before[door] = WALL_CODE
    assert (cells == as_before).all()


def test_an_open_door_stays(moved: Any) -> None:
    state = room((0, 4), seen=False)
    state = state.replace(cells=state.cells.at[0, 4].set(code(DOOR_OPEN, 3)))
    assert (moved(state, 200).cells == state.cells).all()


def test_walls_are_forgotten_where_all_are_seen_without_a_door(moved: Any) -> None:
    state = room((0, 4), seen=True)
    assert (moved(state, 64).last_seen == shown(state)).all()  # the door is known
    gone = state.replace(last_seen=shown(state).at[0, 4].set(WALL_CODE))
    after = moved(gone, 64)
    walls = np.asarray(shown(gone)) & 15 == WALL
    assert (after.last_seen == np.where(walls, 0, shown(gone))).all()
    assert (after.seen == ~walls).all()
    unfinished = gone.replace(last_seen=shown(gone).at[5, 2].set(0))  # it may be there
    assert (moved(unfinished, 64).last_seen == shown(unfinished)).all()
    corner = gone.replace(last_seen=shown(gone).at[0, 0].set(0))  # no door is ever in a corner
    assert (moved(corner, 64).last_seen[:, 1, 0] == 0).all()


def test_where_the_door_is_changes_nothing_that_is_known_unless_it_is_seen(moved: Any) -> None:
    doors = ((0, 4), (0, 6), (3, 0), (5, 5))
    room_without = shown(room(doors[0], seen=True)).at[doors[0]].set(WALL_CODE)
    for known, forgotten in (
        (room_without, True),
        (room_without.at[5, 5].set(0), False),  # the last of the doors stands where nobody has looked
        (room_without.at[0, 4].set(code(DOOR_LOCKED, 3)), False),
    ):
        maps = [np.asarray(moved(room(door, seen=True).replace(last_seen=known), 64).last_seen) for door in doors]
        assert all((one == maps[0]).all() for one in maps)
        assert (maps[0] != np.asarray(known)).any() == forgotten


def test_the_map_shows_the_door_where_it_was_last_seen() -> None:
    """The map that is kept step by step in NumPy from the cells seen now, and no more, is what the agent knows."""
    env = make_env(get_task("DynamicDoorKey"))
    step, in_view = jax.jit(env.transition), jax.jit(partial(visible, view=3))
    stale = 0
    for seed in range(4):
        state = env.initial(jax.random.key(seed))
        remembered = np.zeros(state.cells.shape, np.uint8)
        for t in range(60):
            cells, (x, y, _) = np.asarray(state.cells), state.agent.tolist()
            walls = np.isin(cells & 15, (WALL, DOOR_LOCKED))
            now = np.asarray(in_view(~walls, state.agent))
            remembered[now] = cells[now]
            expected = remembered.copy()
            expected[x, y] = EMPTY_CODE
            np.testing.assert_array_equal(know(state).cells, expected)
            stale += int(((remembered & 15 == DOOR_LOCKED) & (cells & 15 == WALL)).any())
            last = np.argwhere(walls).max(axis=0)
            walls[np.ix_((0, last[0]), (0, last[1]))] = False  # the corners
            if (remembered[walls] != 0).all() and not (remembered & 15 == DOOR_LOCKED).any():
                remembered[remembered == WALL_CODE] = 0
            state, _ = step(state, jnp.int32(t), jnp.int32(LEFT if t % 4 == 3 else FORWARD), jax.random.key(t))
    assert stale > 10


def test_a_step_without_a_random_key_is_refused() -> None:
    env = make_env(get_task("DynamicDoorKey"))
    with pytest.raises(ValueError, match="move by themselves"):
        env.transition(env.initial(jax.random.key(0)), jnp.int32(0), jnp.int32(LEFT))
