"""Environments of users brought in: their levels, their rules, and the proof that they are what they were."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from imported import environments

from l4t_jax import errors
from l4t_jax import imported as bringing
from l4t_jax.imported import store

FEW = dict(levels=40, steps=400)
ENDINGS = {
    "MyRoom-v0": ("goal_reached", "lava_entered", 0),
    "MyLava-v0": ("goal_reached", "lava_entered", 0),
    "MyBurningLava-v0": ("goal_reached", "lava_entered", -1),
    "MyTwoRooms-v0": ("goal_reached", "lava_entered", 0),
    "MyKeyInBox-v0": ("target_opened", "lava_entered", 0),
    "MyPickUp-v0": ("target_picked", "lava_entered", 0),
    "MyPickUpStrict-v0": ("target_picked", "other_picked", 0),
    "MySayDone-v0": ("done_facing_target", "done_not_facing", 0),
    "MyDoors-v0": ("target_opened", "lava_entered", 0),
    "MyManyRooms-v0": ("goal_reached", "lava_entered", 0),
    "MyTiles-v0": ("floor_reached", "lava_entered", 0),
    "MyThreeActions-v0": ("goal_reached", "lava_entered", 0),
    "MyOneLevel-v0": ("goal_reached", "lava_entered", 0),
}
QUICK = ("MyBurningLava-v0", "MyKeyInBox-v0", "MyPickUpStrict-v0")  # the others are of the slow tier


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("L4T_LEVELS", str(tmp_path / "levels"))
    monkeypatch.setattr(bringing, "_OPEN", {})
    yield tmp_path / "levels"


def test_every_environment_has_its_ending() -> None:
    assert ENDINGS.keys() == environments.WITHIN.keys()


def brought_in(gym_id: str) -> None:
    task = bringing.import_environment(gym_id, **FEW)
    success, failure, penalty = ENDINGS[gym_id]
    assert (str(task.success), str(task.failure), task.penalty) == (success, failure, penalty)
    facts = store.newest(gym_id, bringing._source(bringing.Original(gym_id)))
    assert facts is not None and facts[0].proven >= 400 and facts[1] == task
    level = task.layout(jax.random.key(0))
    assert level.cells.shape == (task.width, task.height)


@pytest.mark.parametrize("gym_id", QUICK)
def test_within_the_rules_it_is_proven(gym_id: str) -> None:
    brought_in(gym_id)


@pytest.mark.slow
@pytest.mark.parametrize("gym_id", sorted(set(environments.WITHIN) - set(QUICK)))
def test_within_the_rules_it_is_proven_too(gym_id: str) -> None:
    brought_in(gym_id)


@pytest.mark.parametrize("gym_id", environments.REFUSED)
def test_what_no_rule_here_does_is_refused_in_one_sentence(gym_id: str, own_folder: Path) -> None:
    with pytest.raises(errors.ConfigError, match=environments.REFUSED[gym_id][2]) as refused:
        bringing.import_environment(gym_id, **FEW)
    assert "\n" not in str(refused.value)
    assert not own_folder.exists()
