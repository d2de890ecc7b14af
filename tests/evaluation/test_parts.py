"""Parts of a task on hand-made steps: which object a step was about. Whole episodes: test_playing.py."""

import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.envs import get_task
from l4t_jax.envs.cells import BALL, BLUE, BOX, DOOR_CLOSED, DOOR_LOCKED, DOOR_OPEN, EMPTY_CODE, GREEN, KEY, RED, code
from l4t_jax.envs.state import State
from l4t_jax.envs.task import Task
from l4t_jax.evaluation import parts
from l4t_jax.evaluation.parts import Watched


def state(task: Task, things: dict[tuple[int, int], int], carrying: int = 0, **more: int) -> State:
    """One environment whose agent stands at (1, 1) and faces (2, 1).

    Args:
        task: that it is of.
        things: cell -> code.
        carrying: code of what it carries.
        **more: `target` and `carried_target`, bits of what lies at (2, 1) and of what is carried; `contents` at (2, 1).
    """
    cells = np.full((1, task.width, task.height), EMPTY_CODE, np.uint8)
    for (x, y), thing in things.items():
        cells[0, x, y] = thing
    at = np.zeros_like(cells)
    at[0, 2, 1] = 1
    return State(
        cells=jnp.asarray(cells), seen=jnp.ones(cells.shape, bool), agent=jnp.asarray([[1, 1, 0]], jnp.int8),
        carrying=jnp.asarray([carrying], jnp.uint8), pickup_position=jnp.full((1, 2), -1, jnp.int8),
        targets=jnp.asarray(at * more.get("target", 0)), contents=jnp.asarray(at * more.get("contents", 0)),
        carried_targets=jnp.asarray([more.get("carried_target", 0)], jnp.uint8),
    )  # fmt: skip


def did(task: Task, before: State, now: State) -> list[str]:
    """The parts that one step did."""
    watched = parts.after(task, Watched(jnp.zeros(1, jnp.uint32)), before, now)
    return [name for name, share in parts.shares(task, watched).items() if share == 1]


FRONT, BESIDE = (2, 1), (3, 1)
BLUE_DOOR, BLUE_KEY, RED_KEY = code(DOOR_LOCKED, BLUE), code(KEY, BLUE), code(KEY, RED)


def test_a_key_is_picked_up_once_it_is_carried_and_only_of_its_own_colour() -> None:
    task = get_task("ColoredDoorKey")
    for key, name in ((BLUE_KEY, "blue key"), (RED_KEY, "red key")):
        before, now = state(task, {FRONT: key}), state(task, {}, carrying=key)
        assert did(task, before, now) == [f"picks up the {name}"]
        assert did(task, now, before) == []  # put down again
        assert did(task, now, now) == []


def test_a_door_is_opened_when_it_was_shut_before() -> None:
    task = get_task("ColoredDoorKey")
    doors = {
        kind: state(task, {FRONT: code(kind, BLUE)}, carrying=BLUE_KEY)
        for kind in (DOOR_LOCKED, DOOR_CLOSED, DOOR_OPEN)
    }
    for before in (DOOR_LOCKED, DOOR_CLOSED):
        assert did(task, doors[before], doors[DOOR_OPEN]) == ["opens the blue door"]
    assert did(task, doors[DOOR_OPEN], doors[DOOR_OPEN]) == did(task, doors[DOOR_OPEN], doors[DOOR_CLOSED]) == []
    green = [state(task, {FRONT: code(kind, GREEN)}) for kind in (DOOR_CLOSED, DOOR_OPEN)]
    assert did(task, *green) == []


def test_objects_that_only_a_number_tells_apart_are_one() -> None:
    assert list(parts.objects_of(get_task("DivergedDoorKey")).values()) == ["key", "door1 or door2"]
    assert [part.verb for part in parts.parts_of(get_task("DivergedDoorKey"))] == ["pick up", "open"]


def test_what_stands_before_a_locked_door_is_told_by_its_place() -> None:
    task = get_task("ObstructedMaze-1Dlhb")
    ball = code(BALL, BLUE)
    stood, lay = state(task, {FRONT: ball, BESIDE: BLUE_DOOR}), state(task, {FRONT: ball})
    after = {True: state(task, {BESIDE: BLUE_DOOR}, carrying=ball), False: state(task, {}, carrying=ball)}
    assert "picks up the obstacle" in did(task, stood, after[True])
    assert "picks up the obstacle" not in did(task, lay, after[False])


def test_a_box_is_opened_when_its_contents_stand_in_its_place() -> None:
    task = get_task("ObstructedMaze-1Dlhb")
    box = code(BOX, GREEN)
    before = state(task, {FRONT: box}, contents=BLUE_KEY)
    assert did(task, before, state(task, {FRONT: BLUE_KEY})) == ["opens the box"]
    assert "opens the box" not in did(task, before, state(task, {}, carrying=box))


@pytest.mark.parametrize(("bit", "wanted"), [(1, True), (2, False)])
def test_a_target_is_told_by_its_mark(bit: int, wanted: bool) -> None:
    task = get_task("Fetch-5x5-N2")
    before, now = state(task, {FRONT: RED_KEY}, target=bit), state(task, {}, carrying=RED_KEY, carried_target=bit)
    assert ("picks up the target" in did(task, before, now)) == wanted


def test_what_was_used_had_been_seen() -> None:
    """A key that is carried is on no map; the door is on one, and the map of 600 episodes is read in pieces."""
    task = get_task("SimpleDoorKey")
    door = state(task, {FRONT: BLUE_DOOR}, carrying=BLUE_KEY)
    held = door.replace(targets=None, contents=None, carried_targets=None)
    one = parts.ended(parts.after(task, Watched(jnp.zeros(1, jnp.uint32)), state(task, {FRONT: BLUE_KEY}), door), held)
    many = Watched(*(np.repeat(np.asarray(x), 600, axis=-1) for x in (one.done,)), ends=_repeated(one.ends, 600))
    assert parts.shares(task, parts.looked_back(task, many)) == {
        "sees the key": 1.0, "picks up the key": 1.0, "sees the door": 1.0, "opens the door": 0.0
    }  # fmt: skip
    never = many.replace(done=np.zeros_like(many.done))
    assert parts.shares(task, parts.looked_back(task, never))["sees the key"] == 0.0


def _repeated(ends, times):
    import jax

    return jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf), times, axis=-1), ends)
