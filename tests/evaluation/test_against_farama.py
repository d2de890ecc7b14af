"""Every task beside Farama's own environment: no step differs, and a rule that is changed is noticed."""

import dataclasses
import math

import pytest
from reporting import row_of

from l4t_jax.envs import Task, get_task, list_tasks, register_task
from l4t_jax.envs.families.playground import never
from l4t_jax.errors import ConfigError
from l4t_jax.evaluation.parity import EPISODES, Comparison, compare

# MiniGrid's tasks, and the four that the paper has on it.
TASKS = [n for n in list_tasks() if get_task(n).minigrid_id or (get_task(n).teacher and not get_task(n).family)]
# One id a family, the one that compiles fastest; the slow tier has all.
ONE_EACH = (
    "SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "DivergedDoorKey", "DoorKey-6x6", "Empty-Random-5x5",
    "DistShift1", "LavaGapS5", "LavaCrossingS9N1", "SimpleCrossingS9N2", "FourRooms", "MultiRoom-N2-S4", "LockedRoom",
    "Unlock", "UnlockPickup", "BlockedUnlockPickup", "KeyCorridorS3R1", "ObstructedMaze-1Dlhb", "GoToDoor-5x5",
    "GoToObject-6x6-N2", "Fetch-5x5-N2", "PutNear-6x6-N2", "RedBlueDoors-6x6", "MemoryS7",
    "Dynamic-Obstacles-Random-5x5", "Playground",
)  # fmt: skip
TAUGHT = ("SimpleDoorKey", "BlockedUnlockPickup")  # driven by their teachers in the default tier too
WITHOUT_FAILURE = (
    "SimpleDoorKey", "ColoredDoorKey", "DivergedDoorKey", "DoorKey", "Empty", "SimpleCrossing", "FourRooms",
    "MultiRoom", "LockedRoom", "Unlock", "UnlockPickup", "BlockedUnlockPickup", "KeyCorridor", "ObstructedMaze",
    "Playground",
)  # fmt: skip
WON_BY_CHANCE = ("Empty-Random-5x5", "GoToDoor-5x5", "Fetch-5x5-N2", "MemoryS7", "Dynamic-Obstacles-Random-5x5")
FAMILIES = [get_task(name).family for name in TASKS]  # of each task; the paper's are together one
STEPS = 100_000  # of a family, shared among its ids
# What a comparison is decided by.
DEPENDS = ("envs", "kernels/visibility.py", "evaluation/farama.py", "evaluation/parity.py")


def agreed(name: str, steps: int, teacher: bool) -> Comparison:
    found = compare(get_task(name), steps, teacher=teacher)
    assert found.first is None and found.differences == 0
    assert steps <= found.steps < steps + EPISODES and found.episodes > EPISODES and found.truncations > 0
    return found


def test_the_default_tier_has_every_family() -> None:
    assert {get_task(name).family for name in ONE_EACH} == set(FAMILIES)


@pytest.mark.parametrize("name", ONE_EACH)
def test_no_step_of_a_family_differs_from_minigrids(name: str) -> None:
    found = agreed(name, 2_000, teacher=name in TAUGHT)
    family = get_task(name).family or name
    assert (found.failures == 0) == (family in WITHOUT_FAILURE)
    if name in (*TAUGHT, *WON_BY_CHANCE):
        assert found.successes > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_no_step_of_a_family_differs_from_minigrids_over_a_hundred_thousand(name: str) -> None:
    task = get_task(name)
    with row_of("parity", name, DEPENDS) as row:
        found = agreed(name, math.ceil(STEPS / FAMILIES.count(task.family)), teacher=True)
        assert (found.failures == 0) == ((task.family or name) in WITHOUT_FAILURE)
        assert found.successes > 0 or task.teacher is None
        row.update(family=task.family or "LLM4Teach", seed=0, **dataclasses.asdict(found))


CHANGES = {  # what is changed -> the first fields that must differ
    "limit": (dict(max_steps=143), {"truncated", "reward"}),
    "success": (dict(success=never), {"reward", "terminated", "success"}),
    "failure": (dict(failure=never), {"terminated"}),
    "walls block the sight": (dict(see_through=False), {"memory", "view"}),
    "pickup toggles": (dict(pickup_toggles=True), {"map", "carrying", "terminated"}),
    "too few actions": (dict(num_actions=6), {"agent", "terminated", "success", "reward"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_rule_is_noticed(change: str) -> None:
    changes, fields = CHANGES[change]
    found = compare(dataclasses.replace(get_task("GoToDoor-6x6"), **changes), 640, teacher=False)
    assert found.differences > 0 and found.first is not None
    assert set(found.first.fields) & fields


@pytest.mark.usefixtures("own_tasks")
def test_what_cannot_be_compared_is_refused() -> None:
    stock = get_task("Empty-5x5")
    mine = dataclasses.replace(stock, name="Mine", minigrid_id=None)
    for task, said in (
        (register_task(mine), "Mine is none of MiniGrid's"),
        (dataclasses.replace(stock, minigrid_id="MiniGrid-Nowhere-v0"), "does not have"),
        (dataclasses.replace(stock, view=5), "view of 5, but MiniGrid-Empty-5x5-v0 one of 5 x 5 and a view of 7"),
        (dataclasses.replace(stock, width=6), "6 x 5 cells"),
        (
            dataclasses.replace(get_task("Fetch-5x5-N2"), mission=get_task("GoToObject-6x6-N2").mission),
            "no mission that",
        ),
    ):
        assert isinstance(task, Task)
        with pytest.raises(ConfigError, match=said):
            compare(task, 100)


def test_another_mission_is_noticed() -> None:
    found = compare(dataclasses.replace(get_task("Empty-5x5"), text="find the goal"), 64)
    assert found.first is not None and found.first.step == 0
    assert found.first.fields == {"mission": ("find the goal", "get to the green goal square")}
