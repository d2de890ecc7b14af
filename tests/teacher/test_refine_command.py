"""`teacher refine` as a user calls it, and the trials behind it."""

import json
from pathlib import Path

import numpy as np
import pytest

from l4t_jax.envs import get_task
from l4t_jax.evaluation.trials import Trials
from l4t_jax.teacher import corrupt, file, refine
from l4t_jax.teacher.__main__ import main

TASK = get_task("SimpleDoorKey")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The task's own table with half of its states wrong."""
    file.save(corrupt.corrupt(file.shipped(TASK), TASK, 0.5, seed=0), tmp_path / "t.json")
    return tmp_path / "t.json"


@pytest.mark.slow
def test_a_table_with_half_of_its_states_wrong_is_mended_by_an_llm_that_knows(
    broken: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["refine", str(broken), "--teacher", "file:shipped", "--ask", "sample", "--samples", "4", "--levels", "64",
             "--cache", str(broken.parent / "cache"), "--price", "1", "2"]  # fmt: skip
    assert main(words) == 0
    out, err = capfd.readouterr()
    mended = broken.with_name("t-refined.json")
    assert out.startswith(f"{mended}: ") and "dollars" in out
    assert "before: success 0." in err and "lost 0." in err
    (how,) = file.load(mended)["source"]["refined"]
    assert how["success"][0] < 0.3 and how["success"][1] > 0.95
    assert how["confirmed"][0] < 0.3 and how["confirmed"][1] > 0.95
    assert any(one["kept"] for one in how["states"])
    again = broken.with_name("again.json")
    assert main([*words, "--out", str(again)]) == 0  # from the answers that were kept, to the same teacher
    assert file.load(again)["states"] == file.load(mended)["states"]
    assert file.load(again)["source"]["refined"][0]["ledger"]["calls"] == 0


@pytest.mark.slow
def test_trials_of_one_teacher_agree_and_tell_what_it_met() -> None:
    trials = Trials(TASK, 64)
    good = trials.decide(file.shipped(TASK))
    same = trials.decide(file.shipped(TASK))
    assert (good.success == same.success).all() and (good.states == same.states).all()
    assert good.success.mean() > 0.95 and good.noisy.mean() > 0.95
    assert trials.confirm(file.shipped(TASK)).states.tolist() != good.states.tolist()
    for episode, steps in enumerate(good.length):
        assert (good.states[:steps, episode] >= 0).all()
    bad = trials.decide(corrupt.corrupt(file.shipped(TASK), TASK, 1.0, seed=1))
    assert bad.success.mean() < 0.5 <= bad.noisy.mean() + 0.5
    assert sum(refine.lost(TASK, bad).values()) == pytest.approx(1 - bad.success.mean())
    assert np.asarray(bad.length).max() <= bad.max_steps


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--questions", "0"], "--questions must be from 1 to 10000, not 0"),
        (["--levels", "5"], "--levels must be from 16"),
        (["--least", "0"], "--least must be above 0"),
        (["--run", "nowhere"], "nowhere is not the folder of a run with a teacher"),
        (["--env", "KeyCorridorS3R3"], "is not a step of KeyCorridorS3R3"),
        (["--out", "nowhere/t.json"], "cannot be written"),
        (["--max-cost", "1"], "--max-cost needs --price"),
        (["--teacher", "gpt"], "there is no backend"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_asked(
    words: list[str], said: str, broken: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(broken.parent)
    assert main(["refine", str(broken), "--teacher", "file:shipped", *words]) == 2
    out, err = capfd.readouterr()
    assert out == "" and "Traceback" not in err
    assert said in err.strip().splitlines()[-1]
    assert sorted(path.name for path in broken.parent.iterdir()) == ["t.json"]


def test_the_worth_that_a_run_measured_is_read_in_the_order_of_its_teacher(tmp_path: Path) -> None:
    from l4t_jax.teacher.commands import _worth

    file.save(file.shipped(TASK), tmp_path / "teacher.json")
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"steps": 1}) + "\n")
    assert _worth(tmp_path) is None
    worth = [0.1, None, -0.2, 0.3, 0.4, 0.5]
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"advice": {"worth": worth}}) + "\n")
    found = _worth(tmp_path)
    states = file.shipped(TASK)["states"]
    assert found is not None and len(found) == 5
    assert found[file.state_of(states[2])] == -0.2
