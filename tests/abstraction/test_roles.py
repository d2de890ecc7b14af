"""What a role means on a map: fitting keys and doors, what stands before a door, colours of the mission, what others
must have been seen for."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.abstraction.scene import Scene
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import BALL, BLUE, BOX, DOOR_CLOSED, DOOR_LOCKED, EMPTY_CODE, GREEN, KEY, RED, code
from l4t_jax.envs.roles import FITTING_DOORS, FITTING_KEYS, OBSTACLES
from l4t_jax.envs.state import MemoryMap
from l4t_jax.envs.task import Role
from l4t_jax.kernels import PORTABLE

SIZE = 9


def cells_of(role, things, task=None, carrying=0, mission=None, targets=None):
    """The cells that a role means on a map with things (x, y, code) on it; the agent stands at (1, 1)."""
    cells = np.full((SIZE, SIZE), EMPTY_CODE, np.uint8)
    for x, y, what in things:
        cells[x, y] = what
    marks = None
    if targets is not None:
        marks = np.zeros((SIZE, SIZE), np.uint8)
        for x, y, bits in targets:
            marks[x, y] = bits
    memory = MemoryMap(
        cells=jnp.asarray(cells), agent=jnp.array([1, 1, 0], jnp.int8), carrying=jnp.uint8(carrying),
        pickup_position=jnp.full(2, -1, jnp.int8), mission=None if mission is None else jnp.array(mission, jnp.int8),
        targets=None if marks is None else jnp.asarray(marks),
    )  # fmt: skip
    task = task or dataclasses.replace(get_task("ObstructedMaze-Full"), width=SIZE, height=SIZE)
    return {tuple(at) for at in np.argwhere(np.asarray(Scene.of(task, memory, PORTABLE).matching(role))).tolist()}


RED_KEY, BLUE_KEY = (3, 3, code(KEY, RED)), (5, 5, code(KEY, BLUE))
RED_DOOR, BLUE_DOOR = (0, 4, code(DOOR_LOCKED, RED)), (8, 6, code(DOOR_LOCKED, BLUE))


def test_a_fitting_key_opens_a_locked_door_seen():
    assert cells_of(FITTING_KEYS, [RED_KEY, BLUE_KEY]) == set()
    assert cells_of(FITTING_KEYS, [RED_KEY, BLUE_KEY, BLUE_DOOR]) == {(5, 5)}
    assert cells_of(FITTING_KEYS, [RED_KEY, BLUE_KEY, BLUE_DOOR, RED_DOOR]) == {(3, 3), (5, 5)}
    assert cells_of(FITTING_KEYS, [RED_KEY, (0, 4, code(DOOR_CLOSED, RED))]) == set()


def test_a_fitting_door_is_one_that_the_held_key_opens():
    doors = [RED_DOOR, BLUE_DOOR]
    assert cells_of(FITTING_DOORS, doors) == {(0, 4), (8, 6)}
    assert cells_of(FITTING_DOORS, doors, carrying=code(KEY, BLUE)) == {(8, 6)}
    assert cells_of(FITTING_DOORS, doors, carrying=code(BALL, BLUE)) == {(0, 4), (8, 6)}


@pytest.mark.parametrize("kind", [KEY, BALL, BOX])
def test_an_obstacle_stands_right_before_a_locked_door(kind):
    thing = code(kind, GREEN)
    things = [(1, 4, thing), (1, 5, thing), (2, 4, thing), (7, 6, thing), RED_DOOR]  # one before the door
    assert cells_of(OBSTACLES, things) == {(1, 4)}
    assert cells_of(OBSTACLES, [*things, BLUE_DOOR]) == {(1, 4), (7, 6)}
    assert cells_of(OBSTACLES, [*things[:-1], (0, 4, code(DOOR_CLOSED, RED))]) == set()


def test_a_colour_of_the_mission():
    task = dataclasses.replace(get_task("LockedRoom"), width=SIZE, height=SIZE)
    role = next(role for role in task.objects if role.mission_colour is not None)
    doors = [(0, 4, code(DOOR_CLOSED, RED)), (8, 6, code(DOOR_CLOSED, BLUE)), (0, 6, code(DOOR_LOCKED, GREEN))]
    assert cells_of(role, doors, task, mission=[GREEN, BLUE]) == {(8, 6)}
    assert cells_of(role, doors, task, mission=[GREEN, RED]) == {(0, 4)}


def test_the_matching_object_is_known_once_the_first_was_seen():
    task = get_task("MemoryS9")
    task = dataclasses.replace(task, width=SIZE, height=SIZE)
    match, cue = (7, 2, code(BALL, GREEN)), (1, 3, code(BALL, GREEN))
    role = next(role for role in task.objects if role.needs)
    assert cells_of(role, [match], task, targets=[(7, 2, 1)]) == set()
    assert cells_of(role, [match, cue], task, targets=[(7, 2, 1), (1, 3, 4)]) == {(7, 2)}


def test_a_role_that_the_task_cannot_give_is_refused():
    task = get_task("ObstructedMaze-1Dl")
    with pytest.raises(ValueError, match="ball needs map, which is no other object"):
        dataclasses.replace(task, objects=(Role("ball", (BALL,), needs="map"),))
    with pytest.raises(ValueError, match="ball takes its colour from the mission, but the task draws none"):
        dataclasses.replace(task, objects=(Role("ball", (BALL,), mission_colour=0),))
