"""Tasks by MiniGrid's and navix's ids: each that the installed packages register leads to its task or is refused."""

import warnings

import gymnasium
import minigrid  # noqa: F401  registers the ids
import navix
import pytest

from l4t_jax import __main__ as l4t
from l4t_jax.envs import get_task, list_tasks, register_task
from l4t_jax.envs.families import obstructed_maze, wfc
from l4t_jax.errors import NavixName, UnknownTask
from l4t_jax.evaluation.farama import make

MINIGRID_IDS = [name for name in gymnasium.registry if name.startswith("MiniGrid-")]
WFC_IDS = [name for name in MINIGRID_IDS if "-WFC-" in name]
ROOM_IDS = [name for name in MINIGRID_IDS if name not in WFC_IDS]
NAVIX_IDS = [name for name in navix.registry() if name.startswith("Navix-")]
# navix's own sizes, which MiniGrid does not have
WITHOUT_COUNTERPART = {
    *(f"Navix-DoorKey-Random-{size}x{size}-v0" for size in (5, 6, 8, 16)),
    *(f"Navix-FourRooms-{size}x{size}-v0" for size in (7, 9, 11, 13, 15, 17)),
    "Navix-Empty-Random-8x8-v0",
    "Navix-Empty-Random-16x16-v0",
}


def is_one_sentence(error: UnknownTask) -> bool:
    return "\n" not in str(error) and ". " not in str(error)


def test_there_are_as_many_ids_as_are_known_here():
    assert (len(ROOM_IDS), len(WFC_IDS), len(NAVIX_IDS)) == (76, 6, 83)
    refused = obstructed_maze.REFUSED.keys()
    assert {get_task(name).minigrid_id for name in list_tasks()} - {None} == set(ROOM_IDS) - refused


@pytest.mark.parametrize("minigrid_id", ROOM_IDS)
def test_a_minigrid_id_leads_to_its_task_or_is_refused(minigrid_id):
    if minigrid_id in obstructed_maze.REFUSED:
        for name in (minigrid_id, minigrid_id.lower(), minigrid_id.removeprefix("MiniGrid-")):
            with pytest.raises(UnknownTask, match=minigrid_id.replace("-v0", "-v1")) as error:
                get_task(name)
            assert is_one_sentence(error.value)
        return
    task, env = get_task(minigrid_id), make(minigrid_id)
    assert task.minigrid_id == minigrid_id
    assert (task.width, task.height, task.max_steps) == (env.width, env.height, env.max_steps)
    assert get_task(minigrid_id.lower()) is get_task(minigrid_id.removeprefix("MiniGrid-")) is task
    stem = minigrid_id[:-3]
    highest = max(other for other in ROOM_IDS if other[:-3] == stem)
    assert get_task(stem).minigrid_id == highest
    if stem != "MiniGrid-DoorKey":  # the paper's DoorKey
        assert get_task(stem.removeprefix("MiniGrid-")).minigrid_id == highest


@pytest.mark.parametrize("minigrid_id", WFC_IDS)
def test_wfc_is_refused_with_the_reason(minigrid_id):
    with pytest.raises(UnknownTask, match="wave function collapse") as error:
        get_task(minigrid_id)
    assert is_one_sentence(error.value) and minigrid_id in str(error.value)
    assert minigrid_id in {f"MiniGrid-WFC-{name}-v0" for name in wfc.NAMES}


def test_a_short_name_means_the_highest_version():
    assert get_task("MultiRoom-N4-S5").minigrid_id == "MiniGrid-MultiRoom-N4-S5-v1"
    for old in ("MultiRoom-N4-S5-v0", "MiniGrid-MultiRoom-N4-S5-v0"):
        assert get_task(old).layout.args[0] == 6  # rooms
    for new in ("MultiRoom-N4-S5-v1", "MiniGrid-MultiRoom-N4-S5-v1", "MiniGrid-MultiRoom-N4-S5", "multiroom-n4-s5"):
        assert get_task(new).layout.args[0] == 4
    assert get_task("ObstructedMaze-Full").minigrid_id == "MiniGrid-ObstructedMaze-Full-v1"


@pytest.mark.parametrize("navix_id", NAVIX_IDS)
def test_a_navix_id_leads_to_minigrids_task_and_says_so_or_is_refused(navix_id):
    if navix_id in WITHOUT_COUNTERPART:
        with pytest.raises(UnknownTask, match="no counterpart among MiniGrid's") as error:
            get_task(navix_id)
        assert is_one_sentence(error.value) and navix_id in str(error.value)
        assert navix_id.split("-")[1] in str(error.value).split("did you mean")[1]
        return
    with pytest.warns(NavixName, match=f"{navix_id} runs as .* with MiniGrid's rules") as told:
        task = get_task(navix_id)
    assert len(told) == 1 and f"limit of {task.max_steps} " in str(told[0].message)
    # The same words, in another order where obstacles move.
    assert sorted(task.name.split("-")) == sorted(navix_id.removeprefix("Navix-").removesuffix("-v0").split("-"))
    assert task.minigrid_id is not None


def test_of_two_versions_navix_has_the_higher():
    with pytest.warns(NavixName):
        assert get_task("Navix-MultiRoom-N4-S5-v0").minigrid_id == "MiniGrid-MultiRoom-N4-S5-v1"
    with pytest.warns(NavixName):
        assert get_task("Navix-ObstructedMaze-Full-v0").minigrid_id == "MiniGrid-ObstructedMaze-Full-v1"
    with pytest.warns(NavixName):
        assert get_task("navix-dynamic-obstacles-5x5-random-v0").name == "Dynamic-Obstacles-Random-5x5"


@pytest.mark.parametrize(
    "name, near",
    [
        ("MiniGrid-KeyCoridorS3R3-v0", "did you mean KeyCorridorS3R3,"), ("MiniGrid-DoorKey", "DoorKey-"),
        ("MiniGrid-DoorKey-v0", "DoorKey-"), ("MiniGrid-KeyCorridorS3R3-v7", "did you mean KeyCorridorS3R3,"),
        ("Navix-DoorKey-v0", "no counterpart"), ("Navix-KeyCoridorS3R3-v0", "did you mean KeyCorridorS3R3,"),
        ("MiniGrid-", "lists all"), ("Navix-", "lists all"), ("", "lists all"), ("Nope", "l4t_jax.tasks` lists all"),
    ],
)  # fmt: skip
def test_a_wrong_id_is_answered_with_short_names(name, near):
    """`DoorKey` alone is the paper's; with MiniGrid's prefix it is none of MiniGrid's."""
    with pytest.raises(UnknownTask, match=near) as error:
        get_task(name)
    assert is_one_sentence(error.value)
    assert "MiniGrid-" not in str(error.value).split("; ")[1]


@pytest.mark.usefixtures("own_tasks")
def test_an_id_belongs_to_the_first_task_that_has_it():
    import dataclasses

    stock = get_task("DoorKey-8x8")
    mine = register_task(dataclasses.replace(stock, name="MyDoorKey"))
    assert get_task("MiniGrid-DoorKey-8x8-v0") is stock and get_task("mydoorkey") is mine
    with pytest.raises(ValueError, match="already a task"):
        register_task(dataclasses.replace(stock, name="DoorKey-8x8-v0"))


def test_the_commands_take_them_and_say_so_once(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert l4t.main(["run", "--env", "Navix-DoorKey-8x8-v0", "--print-config", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err.count("warning: Navix-DoorKey-8x8-v0 runs as DoorKey-8x8") == 1 and err.count("\n") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert l4t.main(["teacher", "show", "MiniGrid-DoorKey-8x8-v0"]) == 0
    shown, err = capsys.readouterr()
    assert err == "" and "DoorKey" in shown
    for words in (["run", "--env", "MiniGrid-ObstructedMaze-1Q-v0"], ["teacher", "show", "Navix-FourRooms-7x7-v0"]):
        assert l4t.main(words) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1
