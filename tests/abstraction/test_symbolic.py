"""Symbolic states: how many there are, ids and sentences in both directions, and what is met is among them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.scene import Scene
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import BLUE, DOOR_LOCKED, EMPTY_CODE, KEY, RED, code
from l4t_jax.envs.state import MemoryMap
from l4t_jax.kernels import PORTABLE
from l4t_jax.skills.actions import symbolic_states
from l4t_jax.teacher import file


@pytest.mark.parametrize(
    "name, number", [("SimpleDoorKey", 6), ("LavaDoorKey", 6), ("ColoredDoorKey", 14), ("DivergedDoorKey", 9)]
)
def test_there_are_as_many_states_as_the_paper_says(name, number):
    task = get_task(name)
    states = {symbolic.rename(task, symbolic.decode(task, i))[0] for i in symbolic.enumerate_states(task)}
    assert len(states) == number
    assert len({state.sentence for state in states}) == number


def test_simple_states_written_out():
    task = get_task("SimpleDoorKey")
    assert {symbolic.decode(task, i).sentence for i in symbolic.enumerate_states(task)} == {
        "Agent sees <nothing>, holds <nothing>.",
        "Agent sees <key>, holds <nothing>.",
        "Agent sees <door>, holds <nothing>.",
        "Agent sees <key>, <door>, holds <nothing>.",
        "Agent sees <nothing>, holds <key>.",
        "Agent sees <door>, holds <key>.",
    }


def test_ids_and_states_are_a_round_trip(task_name):
    task = get_task(task_name)
    states = symbolic.enumerate_states(task)
    assert len(states) == len(set(states)) and all(0 <= i < symbolic.num_states(task) for i in states)
    for i in states:
        state = symbolic.decode(task, i)
        assert symbolic.encode(task, state) == i
        assert symbolic.decode(task, symbolic.encode(task, state)) == state
    for i in range(symbolic.num_states(task)):  # what cannot occur comes back as a state too
        state = symbolic.decode(task, i)
        assert symbolic.decode(task, symbolic.encode(task, state)) == state


def test_every_state_is_in_the_shipped_file_and_nothing_else(task_name):
    task = get_task(task_name)
    content = file.shipped(task)
    mine = {symbolic.rename(task, symbolic.decode(task, i))[0] for i in symbolic.enumerate_states(task)}
    assert {Symbolic(tuple(s["sees"]), s["holds"]) for s in content["states"]} == mine


def test_what_is_met_in_play_is_enumerated(task_name, play, draw, key):
    task = get_task(task_name)
    played = play(task_name, draw(task_name, key, 48), jax.random.key(1), 100)
    memory = jax.tree.map(lambda leaf: leaf[:-1][played.live()], played.memory)
    found = symbolic_states(task, jax.tree.map(jnp.asarray, memory))
    met = set(np.unique(found).tolist())
    states = symbolic.enumerate_states(task)
    assert met <= set(states)
    at_least = {"SimpleDoorKey": 6, "LavaDoorKey": 6, "ColoredDoorKey": 12, "DivergedDoorKey": 4}.get(task_name, 6)
    assert len(met) >= at_least
    assert found.dtype == jnp.int32


def known_with(*things, carrying=0, pickup_position=(-1, -1), agent=(1, 1, 0)):
    """A known 10 x 10 map with things (x, y, code) on it."""
    cells = np.full((10, 10), EMPTY_CODE, np.uint8)
    for x, y, what in things:
        cells[x, y] = what
    cells[agent[0], agent[1]] = carrying or EMPTY_CODE
    return MemoryMap(
        cells=jnp.asarray(cells), agent=jnp.array(agent, jnp.int8), carrying=jnp.uint8(carrying),
        pickup_position=jnp.array(pickup_position, jnp.int8),
    )  # fmt: skip


def places(task, memory):
    """Where each object was last known to be; None where it was never seen."""
    found = [np.argwhere(np.asarray(mask)).tolist() for mask in Scene.of(task, memory, PORTABLE).remembered]
    return [at[0] if at else None for at in found]


BLUE_KEY, RED_KEY, BLUE_DOOR = code(KEY, BLUE), code(KEY, RED), code(DOOR_LOCKED, BLUE)


@pytest.mark.parametrize(
    "things, holding, sentence, renamed",
    [
        (
            [(2, 2, BLUE_KEY), (3, 1, RED_KEY), (0, 4, BLUE_DOOR)], {},
            "Agent sees <blue key>, <red key>, <blue door>, holds <nothing>.",
            "Agent sees <color1 key>, <color2 key>, <color1 door>, holds <nothing>.",
        ),
        (
            [(2, 2, BLUE_KEY), (1, 8, RED_KEY), (0, 4, BLUE_DOOR)], {},  # x-major: the red one comes first
            "Agent sees <red key>, <blue key>, <blue door>, holds <nothing>.",
            "Agent sees <color1 key>, <color2 key>, <color2 door>, holds <nothing>.",
        ),
        (
            [(0, 4, BLUE_DOOR)], {"carrying": RED_KEY, "pickup_position": (5, 5)},
            "Agent sees <blue door>, holds <red key>.",
            "Agent sees <color1 door>, holds <color2 key>.",
        ),
        (
            [(4, 4, RED_KEY)], {"carrying": BLUE_KEY, "pickup_position": (5, 5)},
            "Agent sees <red key>, holds <blue key>.",
            "Agent sees <color1 key>, holds <color2 key>.",
        ),
        ([], {}, "Agent sees <nothing>, holds <nothing>.", "Agent sees <nothing>, holds <nothing>."),
    ],
)  # fmt: skip
def test_sentences_written_out(things, holding, sentence, renamed):
    task = get_task("ColoredDoorKey")
    state = symbolic.decode(task, int(symbolic_states(task, known_with(*things, **holding))))
    assert state.sentence == sentence
    assert symbolic.rename(task, state)[0].sentence == renamed


def test_places_are_where_things_lie_or_were_carried_off_from():
    task = get_task("ColoredDoorKey")
    memory = known_with((4, 7, RED_KEY), carrying=BLUE_KEY, pickup_position=(5, 6))
    assert places(task, memory) == [[5, 6], [4, 7], None]


def test_doors_are_numbered_in_scan_order():
    task = get_task("DivergedDoorKey")
    door = code(DOOR_LOCKED, RED)
    memory = known_with((7, 0, door), (3, 9, door))
    assert places(task, memory) == [None, [3, 9], [7, 0]]
    state = symbolic.decode(task, int(symbolic_states(task, memory)))
    assert state.sentence == "Agent sees <door1>, <door2>, holds <nothing>."


@pytest.mark.parametrize(
    "state, reason",
    [
        (Symbolic(("ball",), None), "key, door"),
        (Symbolic((), "door"), "cannot be held"),
        (Symbolic((), "x"), "no object"),
    ],
)
def test_what_the_task_has_not_is_refused(state, reason):
    with pytest.raises(ValueError, match=reason):
        symbolic.encode(get_task("SimpleDoorKey"), state)
