"""A run whose LLM is asked while it learns: killed, and resumed to the same end."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l4t_jax.abstraction import symbolic
from l4t_jax.envs import get_task
from l4t_jax.teacher import file
from l4t_jax.training import checkpoint

KILLS = [  # those while an answer is under way come first: later blocks meet no new state
    ("answer", 1), ("checkpoint", 0), ("answer", 2), ("end", 0), ("line", 1), ("answer", 0), ("line", 0), ("end", 1),
    ("checkpoint", 1), ("end", 0),
]  # fmt: skip


BABYAI = "BabyAI-PutNextLocal-v0"  # 1,458 states, of which a run meets few


def process(task: str, run: Path, programs: Path, *kill: str) -> int:
    """Starts the run or goes on with it, without the answers that an earlier process kept; the exit code."""
    shutil.rmtree(run.parent / "cache", ignore_errors=True)
    here = Path(__file__).parent
    path = os.pathsep.join([str(here.parent), str(here.parents[1])])
    env = os.environ | {
        "PYTHONPATH": path, "JAX_COMPILATION_CACHE_DIR": str(programs), "JAX_PLATFORMS": "cpu",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }  # fmt: skip
    examples = Path(file.__file__).parent / "data" / "examples"
    teacher = "shipped" if task != BABYAI else str(examples / "BabyAI-PutNextLocal.json")
    words = [sys.executable, str(here / "killed_run.py"), task, teacher, str(run), str(run.parent / "cache"), *kill]
    done = subprocess.run(words, env=env, timeout=900, capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def end(run: Path) -> dict[str, Any]:
    """What a run came to, without times."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        del record["time"]
    teacher = json.loads((run / "teacher.json").read_text())
    summary = json.loads((run / "summary.json").read_text())
    return {"records": records, "states": teacher["states"], "heldout": summary["heldout"]}


def killed_and_whole(task: str, folder: Path, kills: list[tuple[str, int]]) -> set[str]:
    """Kills a run and resumes it, and runs another through; asserts the same end. The states that were asked about."""
    whole, killed, programs = folder / "whole" / "run", folder / "killed" / "run", folder / "programs"
    whole.parent.mkdir()
    killed.parent.mkdir()
    assert process(task, whole, programs) == 0
    codes = [process(task, killed, programs, moment, str(number)) for moment, number in kills]
    assert codes == [-signal.SIGKILL] * len(kills)
    assert process(task, killed, programs) == 0
    assert end(killed) == end(whole)
    for mine, other in zip(
        *([np.asarray(x) for x in _leaves(checkpoint.restore_params(run))] for run in (killed, whole)), strict=True
    ):
        np.testing.assert_array_equal(mine, other)
    asked, once = (Counter((run.parent / "calls").read_text().splitlines()) for run in (killed, whole))
    assert set(asked) == set(once)
    assert set(once.values()) == {2}
    assert sum(asked.values()) - sum(once.values()) <= 2 * len(kills)  # two answers a state
    return set(once)


@pytest.mark.slow
def test_a_run_killed_ten_times_comes_to_the_same_end_and_asks_again_only_what_was_under_way(tmp_path: Path) -> None:
    killed_and_whole("ColoredDoorKey", tmp_path, KILLS)


@pytest.mark.slow
def test_a_killed_run_on_a_task_of_babyais_with_a_thousand_states_comes_to_the_same_end(tmp_path: Path) -> None:
    pytest.importorskip("minigrid")
    asked = killed_and_whole(BABYAI, tmp_path, [("answer", 3), ("line", 0), ("checkpoint", 0)])
    assert 10 < len(asked) < symbolic.num_states(get_task(BABYAI)) / 5


def _leaves(tree: Any) -> list[Any]:
    import jax

    return jax.tree.leaves(tree)
