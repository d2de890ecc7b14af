"""Level files: what is written is read again, a run on them comes to the same, odd files are refused."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from small_runs import TINY, Spy

from l4t_jax import api, tasks
from l4t_jax.envs import get_task
from l4t_jax.envs.levels import heldout_levels
from l4t_jax.envs.navix import make_env
from l4t_jax.errors import ConfigError, LevelFileError
from l4t_jax.evaluation import level_file


@pytest.mark.parametrize("name", ["Fetch-5x5-N2", "ObstructedMaze-1Dlhb", "RedBlueDoors-6x6"])
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    """A task with missions and targets, one with box contents, one with a map that is not square."""
    task = get_task(name)
    path = tmp_path / "levels.json"
    level_file.save(level_file.export(task, 5, "test"), path)
    found = level_file.read(path, task)
    drawn = jax.device_get(jax.jit(lambda: heldout_levels(make_env(task), 5, "test"))())
    assert jax.tree.structure(found) == jax.tree.structure(drawn)
    jax.tree.map(np.testing.assert_array_equal, found, drawn)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many test levels as `TINY` plays, as the command writes them."""
    path = tmp_path_factory.mktemp("levels") / "levels.json"
    assert tasks.main(["export", TINY.env, "--levels", str(TINY.heldout_levels), "--out", str(path)]) == 0
    return path


@pytest.mark.slow
def test_a_saved_run_on_the_files_levels_comes_to_the_same(tiny: tuple[api.Result, Spy], exported: Path) -> None:
    run_dir = tiny[0].run_dir
    built_in, from_file = api.evaluate(run_dir), api.evaluate(run_dir, levels_from=exported)
    assert from_file == built_in
    assert api.evaluate(run_dir, levels_from=exported, levels=5)["levels"] == 5
    with pytest.raises(ConfigError, match="`levels` must be from 1 to 24, not 25"):
        api.evaluate(run_dir, levels_from=exported, levels=25)
    with pytest.raises(ConfigError, match="MiniGrid draws its own"):
        api.evaluate(run_dir, levels_from=exported, simulator="minigrid")


@pytest.mark.slow
def test_a_run_on_the_files_levels_comes_to_the_same_and_keeps_them(
    tiny: tuple[api.Result, Spy], exported: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(TINY, levels_from=str(exported), run_dir=str(tmp_path / "run"))
    found = api.train(config)
    assert found.summary["heldout"] == tiny[0].summary["heldout"]
    again = api.evaluate(found.run_dir)
    assert again["seeds"]["length"] == found.summary["heldout"]["student"]["length"]
    few = json.loads(exported.read_text())
    few["levels"] = few["levels"][:3]
    (found.run_dir / "levels.json").write_text(json.dumps(few))  # it plays those of its folder, not its own
    assert api.evaluate(found.run_dir, levels=3)["levels"] == 3
    with pytest.raises(ConfigError, match="from 1 to 3"):
        api.evaluate(found.run_dir, levels=4)


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return level_file.export(get_task("DoorKey-5x5"), 2, "test")


def changed(content: dict[str, Any], change: Any) -> dict[str, Any]:
    made = copy.deepcopy(content)
    change(made)
    return made


ODD = {
    "another format": (lambda c: c.update(format="l4t-teacher"), "is not a level file of version 1"),
    "a later version": (lambda c: c.update(version=2), "is not a level file of version 1"),
    "no levels": (lambda c: c.update(levels=[]), "is not a level file of version 1: levels"),
    "no task": (lambda c: c.pop("task"), "is not a level file"),
    "agent of two": (lambda c: c["levels"][1].update(agent=[1, 2]), r"levels\[1\].agent"),
    "agent off the map": (lambda c: c["levels"][1].update(agent=[9, 2, 0]), "level 1: \"agent\" must be"),
    "agent in a wall": (lambda c: c["levels"][1].update(agent=[0, 0, 0]), "stands where nobody can"),
    "a column short": (lambda c: c["levels"][0]["cells"].pop(), "level 0: \"cells\" must be 5 columns"),
    "no digits": (lambda c: c["levels"][0]["cells"].__setitem__(0, "zz" * 5), "must be hexadecimal digits"),
    "a code of nothing": (lambda c: c["levels"][0]["cells"].__setitem__(0, "0f" * 5), "stands for nothing"),
    "values without a mission": (lambda c: c["levels"][0].update(mission_values=[1]), "must be 0 numbers"),
    "targets": (lambda c: c["levels"][0].update(targets=["00" * 5] * 5), "is not for levels of DoorKey-5x5"),
    "another goal": (lambda c: c["levels"][1].update(agent=[1, 1, 0], hash="00000000"), "level 1 has changed"),
    "another task": (lambda c: c.update(task="DoorKey-6x6"), "holds levels of DoorKey-6x6"),
    "an unknown task": (lambda c: c.update(task="Mine"), "holds levels of Mine"),
    "validation": (lambda c: c.update(split="validation"), "of the validation split"),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_an_odd_file_is_refused_in_one_sentence(what: str, content: dict[str, Any], tmp_path: Path) -> None:
    change, said = ODD[what]
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(changed(content, change)))
    with pytest.raises(LevelFileError, match=said) as error:
        level_file.read(path, get_task("DoorKey-5x5"))
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_levels_that_students_train_on_are_refused(tmp_path: Path) -> None:
    """Levels of another split under the name of the test split, hashes and all."""
    made = level_file.export(get_task("DoorKey-5x5"), 2, "validation")
    made["split"] = "test"
    with pytest.raises(LevelFileError, match="level 0 is not of the test split"):
        level_file.to_levels(made, get_task("DoorKey-5x5"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("[]", "is not a level file"),
        ("7", "is not a level file"),
    ],
)
def test_what_is_no_level_file_is_refused(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "levels.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(LevelFileError, match=said):
        level_file.load(path)
