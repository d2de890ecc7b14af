"""`train` from Python: one tiny run, looked at from every side, and the refusals."""

import dataclasses
import json
import math
import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from small_runs import TINY, Spy, lines, timeless

import l4t_jax
from l4t_jax import api, errors
from l4t_jax.config import ConfigError
from l4t_jax.errors import UnknownTask
from l4t_jax.teacher.backends import BackendError
from l4t_jax.teacher.file import TeacherFileError

pytestmark = pytest.mark.usefixtures("compiled_once")


def reject_constants(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_summary_has_the_fields_of_the_design(tiny: tuple[api.Result, Spy]) -> None:
    result, _ = tiny
    summary = reject_constants((result.run_dir / "summary.json").read_text())
    assert summary == result.summary
    assert list(summary) == [
        "task", "algo", "teacher", "device", "versions", "total_steps", "env_steps_per_s", "seconds", "heldout",
        "steps_to_success", "ledger", "guidance",
    ]  # fmt: skip
    assert (summary["task"], summary["algo"], summary["teacher"]) == ("SimpleDoorKey", "l4t", "shipped (recorded)")
    assert summary["total_steps"] == 8 * 16 * 5
    assert set(summary["seconds"]) == {"compile", "train", "evaluate"}
    assert all(seconds > 0 for seconds in summary["seconds"].values())
    assert summary["env_steps_per_s"] == pytest.approx(2 * 8 * 16 * 5 / summary["seconds"]["train"])
    heldout = summary["heldout"]
    assert heldout["levels"] == 24
    for name in ("success", "return", "length"):
        assert len(heldout["student"][name]) == len(heldout["student"]["greedy"][name]) == 2
        assert isinstance(heldout["teacher"][name], float) and isinstance(heldout["random"][name], float)
    assert heldout["teacher"]["success"] > 0.9 > 0.5 > heldout["random"]["success"]
    assert summary["steps_to_success"] == {level: [None, None] for level in ("0.50", "0.90", "0.95")}


def test_the_run_folder_is_complete(tiny: tuple[api.Result, Spy]) -> None:
    names = {path.name for path in tiny[0].run_dir.iterdir()}
    events = {name for name in names if name.startswith("events.out.tfevents")}
    assert len(events) == 1
    assert names - events == {
        "config.json", "metrics.jsonl", "checkpoints", "curves.png", "student.gif", "teacher.gif", "summary.json",
        "teacher.json", "report.html",
    }  # fmt: skip


def test_every_block_leaves_a_line_and_the_progress_hears_it(tiny: tuple[api.Result, Spy]) -> None:
    result, spy = tiny
    written = lines(result.run_dir)
    assert written == spy.records == result.records
    assert [line["updates"] for line in written] == [2, 3, 5]  # 5 updates in 3 blocks, as even as can be
    assert [line["steps"] for line in written] == [256, 384, 640]
    assert spy.began[0][0] == 640 and spy.began[0][1] > 0.9
    assert spy.phases[0] == "compiling" and spy.closed == 1
    for line in written:
        assert set(line) == {"steps", "updates", "train", "validation", "parts", "time"}
        assert all(np.isfinite(line["train"]["loss"])) and len(line["train"]["loss"]) == 2


def test_the_averages_of_a_short_block_leave_out_updates_that_did_not_run(tiny: tuple[api.Result, Spy]) -> None:
    weights = [line["train"]["distill_weight"] for line in lines(tiny[0].run_dir)]
    # 5 updates; the weight falls from 1 at the start to 0 at half of the run: 1, 0.6, 0.2, 0, 0.
    assert weights == pytest.approx([0.8, 0.2, 0.0], abs=1e-6)


def test_the_same_run_twice_differs_in_time_alone_even_in_another_thread(
    tiny: tuple[api.Result, Spy], tmp_path: Path
) -> None:
    found: list[api.Result] = []
    thread = threading.Thread(target=lambda: found.append(l4t_jax.train(TINY, run_dir=str(tmp_path / "again"))))
    thread.start()
    thread.join()

    assert timeless(found[0].run_dir) == timeless(tiny[0].run_dir)
    assert found[0].summary["heldout"] == tiny[0].summary["heldout"]


def test_seeds_of_one_run_differ(tiny: tuple[api.Result, Spy]) -> None:
    assert any(np.any(leaf[0] != leaf[1]) for leaf in jax.tree.leaves(tiny[0].params))
    loss = lines(tiny[0].run_dir)[0]["train"]["loss"]
    assert loss[0] != loss[1]


def test_ppo_runs_without_a_teacher(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, algo="ppo", run_dir=str(tmp_path / "ppo"))
    result = l4t_jax.train(config)
    assert result.summary["teacher"] == "none"
    assert result.summary["heldout"]["teacher"] is None
    assert all(line["train"]["distill_weight"] == 0 for line in lines(result.run_dir))
    names = {path.name for path in result.run_dir.iterdir()}
    assert not names & {"teacher.gif", "teacher.json"} and "student.gif" in names


def test_an_infinite_learning_rate_is_refused(tmp_path: Path) -> None:
    for bad in (math.inf, math.nan):
        with pytest.raises(ConfigError, match="`learning_rate` must be a number of at most"):
            l4t_jax.train(TINY, learning_rate=bad, run_dir=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        (dict(env="DorKey"), UnknownTask, "DoorKey"),
        (
            dict(teacher="shiped"),
            BackendError,
            "must be shipped, skills, none, transformers:MODEL, openai:MODEL, file:PATH, not",
        ),
        (dict(teacher="file:/nowhere.json"), TeacherFileError, "/nowhere.json cannot be read"),
        (dict(teacher="none"), ConfigError, "needs a teacher"),
        (dict(num_env=3), ConfigError, "did you mean num_envs"),
        (dict(run_dir="/proc/nowhere"), errors.RunFolderError, "cannot be made"),
    ],
)
def test_a_wrong_setting_is_refused_in_a_sentence(
    settings: dict[str, Any], kind: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as error:
        l4t_jax.train(TINY, **settings)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert isinstance(error.value, errors.Refusal)
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())
