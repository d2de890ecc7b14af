"""Runs that start from the students of another run: what they take over, and whom they refuse."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from small_runs import TINY, Spy, Stopper, lines, saved_run, timeless

import l4t_jax
from l4t_jax import api, errors
from l4t_jax.config import Config, ConfigError
from l4t_jax.reporting import run_folder
from l4t_jax.saved import first_params, inherit, open_run
from l4t_jax.training import checkpoint
from l4t_jax.training.trainer import Trainer

SMALL: dict[str, Any] = dict(num_envs=2, num_steps=8, minibatches=2)


def start(student_from: Path, **settings: Any) -> tuple[Trainer, Any]:
    """The trainer of a run that starts from another, and its first parameters."""
    config, saved = inherit(Config(student_from=str(student_from), **{**SMALL, **settings}))
    assert saved is not None
    trainer = Trainer.create(config)
    return trainer, first_params(trainer, saved)


@pytest.fixture(scope="module")
def key_corridor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two untrained students of KeyCorridorS3R3, 24 wide."""
    folder = tmp_path_factory.mktemp("saved") / "run"
    saved_run(folder, "ego", env="KeyCorridorS3R3", hidden=24)
    return folder


def test_the_network_is_the_saved_one_and_each_seed_starts_from_a_saved_student_in_turn(key_corridor: Path) -> None:
    trainer, params = start(key_corridor, env="KeyCorridorS6R3", num_seeds=3)
    assert (trainer.config.student, trainer.config.hidden) == ("ego", 24)
    saved = open_run(key_corridor, "last").params
    for ours, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(saved), strict=True):
        np.testing.assert_array_equal(ours, theirs[np.array([0, 1, 0])])
    state = trainer.init_seeds(jax.random.split(jax.random.key(0), 3), params)
    jax.tree.map(np.testing.assert_array_equal, state.params, params)
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(state.opt_state))


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(env="MultiRoom-N6"), "the missions of MultiRoom-N6 are not those of KeyCorridorS3R3"),
        (dict(env="KeyCorridorS3R3", algo="hrl", teacher="none"), "it chooses actions, and `algo=hrl` is for students"),
        (dict(env="KeyCorridorS3R3", hidden=32), "`hidden=32` contradicts the students of .*, which have 24"),
        (dict(env="KeyCorridorS3R3", student="cnn"), "`student=cnn` contradicts the students of .*, which have ego"),
    ],
)
def test_students_that_do_not_fit_are_refused(key_corridor: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        start(key_corridor, **settings)


def test_a_task_with_other_objects_is_refused(tmp_path: Path) -> None:
    saved_run(tmp_path / "ego", "ego", env="SimpleDoorKey", hidden=8)
    with pytest.raises(ConfigError, match="it tells apart key, door, and ColoredDoorKey has "):
        start(tmp_path / "ego", env="ColoredDoorKey")
    start(tmp_path / "ego", env="LavaDoorKey")


def test_a_network_for_maps_of_another_size_is_refused(tmp_path: Path) -> None:
    saved_run(tmp_path / "cnn", "cnn", env="DoorKey-5x5", hidden=8)
    with pytest.raises(ConfigError, match="its network is made for maps of 5 x 5, not 6 x 6"):
        start(tmp_path / "cnn", env="DoorKey-6x6")


def test_a_folder_without_a_student_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.RunFolderError, match="is not a run folder"):
        l4t_jax.train(student_from=str(tmp_path))
    with pytest.raises(ConfigError, match="`student_from` must be a word, not 3"):
        l4t_jax.train(student_from=3)


@pytest.mark.usefixtures("compiled_once")
def test_a_run_starts_from_the_students_of_another_and_goes_on_without_it(
    tiny: tuple[api.Result, Spy], tmp_path: Path
) -> None:
    other, mine = tmp_path / "other", tmp_path / "mine"
    shutil.copytree(tiny[0].run_dir, other)
    config = dataclasses.replace(TINY, student_from=str(other), run_dir=str(mine), save_every=0)
    with pytest.raises(errors.Interrupted):
        l4t_jax.train(config, progress=Stopper(2, after=2))
    first = checkpoint._arrays(mine / checkpoint.FOLDER / "0")
    jax.tree.map(np.testing.assert_array_equal, first["last"], checkpoint.restore_params(other, "last"))
    assert run_folder.read(mine / run_folder.CONFIG)["student_from"] == str(other)
    before = timeless(mine)
    assert len(before) == 2 and before[0] != timeless(other)[0]

    shutil.rmtree(other)  # and all checkpoints but the first: it goes on from there
    for step in checkpoint._steps(mine / checkpoint.FOLDER):
        if step:
            shutil.rmtree(mine / checkpoint.FOLDER / str(step))
    with pytest.raises(errors.Interrupted):
        l4t_jax.train(resume=mine, progress=Stopper(2, after=1))
    assert timeless(mine) == before[:1] and len(lines(mine)) == 1
