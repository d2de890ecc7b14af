"""Saved runs: evaluated again, from the last and the best parameters, and refused where they do not fit."""

import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from small_runs import EARNED, Spy

import l4t_jax
from l4t_jax import __main__ as l4t
from l4t_jax import api, errors
from l4t_jax.config import ConfigError
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


def test_a_student_for_other_maps_cannot_play(tiny: tuple[api.Result, Spy]) -> None:
    with pytest.raises(ConfigError, match="cannot play ColoredDoorKey"):
        l4t_jax.evaluate(tiny[0].run_dir, env="ColoredDoorKey")


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
