"""Saved runs: evaluated again, from the last and the best parameters, and refused where they do not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from small_runs import EARNED, Spy, saved_run

import l4t_jax
from l4t_jax import __main__ as l4t
from l4t_jax import api, errors
from l4t_jax.config import ConfigError
from l4t_jax.envs.navix import make_env
from l4t_jax.evaluate import main
from l4t_jax.training import checkpoint

pytestmark = pytest.mark.usefixtures("compiled_once")


def test_evaluating_again_gives_the_numbers_of_the_summary(tiny: tuple[api.Result, Spy]) -> None:
    result, _ = tiny
    found = l4t_jax.evaluate(result.run_dir)
    student = result.summary["heldout"]["student"]
    assert found["levels"] == 24
    assert found["seeds"] == {name: student[name] for name in ("success", "return", "length")}
    assert found["greedy"] == student["greedy"]
    for name in ("success", "return", "length"):
        assert found[name] == pytest.approx(np.mean(student[name]))
        assert found["intervals"][name][0] <= found[name] <= found["intervals"][name][1]


def test_fewer_levels_are_the_first_ones(tiny: tuple[api.Result, Spy]) -> None:
    found = l4t_jax.evaluate(tiny[0].run_dir, levels=16)
    heldout = tiny[0].heldout["student"]
    assert found["seeds"]["length"] == pytest.approx(heldout.length[:, :16].mean(axis=1).tolist())
    assert found["seeds"]["success"] == pytest.approx(heldout.success[:, :16].mean(axis=1).tolist())


def test_the_last_checkpoint_is_what_the_run_ended_with(tiny: tuple[api.Result, Spy]) -> None:
    result, _ = tiny
    jax.tree.map(np.testing.assert_array_equal, checkpoint.restore_params(result.run_dir, "last"), result.params)


def test_the_best_checkpoint_holds_the_parameters_that_earned_it(tiny: tuple[api.Result, Spy]) -> None:
    best = checkpoint.restore_params(tiny[0].run_dir, "best")
    for leaf, first, second in zip(*(jax.tree.leaves(tree) for tree in (best, EARNED[0], EARNED[1])), strict=True):
        np.testing.assert_array_equal(leaf[0], second[0])
        np.testing.assert_array_equal(leaf[1], first[1])
    assert any(np.any(a[0] != b[0]) for a, b in zip(jax.tree.leaves(best), jax.tree.leaves(EARNED[0]), strict=True))


@pytest.mark.parametrize("env", ["LavaDoorKey", "ColoredDoorKey"])
def test_a_student_plays_a_task_with_other_objects(
    env: str, tiny: tuple[api.Result, Spy], capfd: pytest.CaptureFixture[str]
) -> None:
    """It reads the objects of the task that it learned: lava is among what every student tells apart."""
    found = l4t_jax.evaluate(tiny[0].run_dir, env=env, levels=16)
    assert (found["task"], found["levels"]) == (env, 16) and 0 < found["length"] <= 150
    assert main([str(tiny[0].run_dir), "--env", env, "--levels", "16", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["seeds"] == found["seeds"]
    assert l4t_jax.load_student(tiny[0].run_dir, env=env).task.name == env


@pytest.mark.slow
def test_a_student_plays_maps_of_other_sizes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small = dict(env="DoorKey-8x8", hidden=8, validation_levels=4)
    saved_run(tmp_path / "ego", "ego", **small)
    for env in ("DoorKey-6x6", "DoorKey-16x16"):
        assert main([str(tmp_path / "ego"), "--env", env, "--levels", "4", "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["task"] == env
    student = l4t_jax.load_student(tmp_path / "ego", env="DoorKey-6x6")
    assert 0 <= student.act(known_map(student)) < 7
    saved_run(tmp_path / "cnn", "cnn", **small)
    with pytest.raises(ConfigError, match="cannot play DoorKey-6x6: its network is made for maps of 8 x 8, not 6 x 6"):
        l4t_jax.evaluate(tmp_path / "cnn", env="DoorKey-6x6")


def known_map(student: l4t_jax.Student) -> Any:
    return student.observe(make_env(student.task).initial(jax.random.key(0)))


def test_tasks_that_a_student_cannot_read_are_refused(tiny: tuple[api.Result, Spy], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the missions of GoToDoor-5x5 are not those of SimpleDoorKey"):
        l4t_jax.evaluate(tiny[0].run_dir, env="GoToDoor-5x5")
    saved_run(tmp_path / "run", "ego", hidden=8, algo="hrl")
    with pytest.raises(ConfigError, match="cannot play ColoredDoorKey: it chooses skills of SimpleDoorKey"):
        l4t_jax.evaluate(tmp_path / "run", env="ColoredDoorKey")


@pytest.mark.parametrize("make", [lambda path: path, lambda path: (path / "config.json").write_text("{}") and path])
def test_a_folder_that_is_no_run_is_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(errors.Refusal):
        l4t_jax.evaluate(make(tmp_path))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--resume", "old"], "old was left by l4t_jax 0.1, which this version cannot read; train it anew"),
        (["evaluate", "old"], "old was left by l4t_jax 0.1"),
        (["export", "old"], "old was left by l4t_jax 0.1"),
        (
            ["evaluate", "old/student.jaxexport"],
            "old/student.jaxexport is a file, not a run folder; an exported student",
        ),
        (["export", "old/student.jaxexport"], "old/student.jaxexport is a file, not a run folder"),
        (["run", "--resume", "old/student.jaxexport"], "old/student.jaxexport is a file, not a run folder"),
    ],
)
def test_what_version_0_1_left_is_refused(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old").mkdir()
    shutil.copy(Path(__file__).parent / "data" / "config-0.1.json", tmp_path / "old" / "config.json")
    (tmp_path / "old" / "student.jaxexport").write_bytes(b"StableHLO")
    monkeypatch.chdir(tmp_path)
    assert l4t.main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"error: {said}") and err.count("\n") == 1
