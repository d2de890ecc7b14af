"""The page of a run: it stands alone, and says what the run found."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from reading_pages import read

from l4t_jax import files
from l4t_jax.config import Config
from l4t_jax.evaluation.playing import Episodes
from l4t_jax.reporting import run_folder, webpage
from l4t_jax.reporting.result import Result


def episodes(success: Any) -> Episodes:
    success = np.asarray(success, bool)
    reward = success * np.float32(0.5)
    return Episodes(success=success, reward=reward, length=np.full(success.shape, 4))  # pyright: ignore


@pytest.fixture
def result(tmp_path: Path) -> Result:
    """Of a run with a teacher, two seeds and a name that HTML must not take for an element."""
    for who in ("student", "teacher"):
        Image.new("P", (38, 38)).save(tmp_path / f"{who}.gif")
    plans = [{"p": 0.25, "skills": [["explore"]]}, {"p": 0.75, "skills": [["go_to", "key"], ["pick_up", "key"]]}]
    states = [{"sees": ["key"], "holds": None, "plans": plans}, {"sees": [], "holds": "key", "plans": []}]
    files.write_json(tmp_path / run_folder.TEACHER, {"about": "Made <by hand>", "states": states})
    records = [
        dict(steps=n, train=dict(distill_weight=1 / n), validation=dict(success=[0.5, 0.7], **{"return": [0.3, 0.4]}))
        for n in (100, 200)
    ]
    summary: dict[str, Any] = dict(
        task="SimpleDoorKey", algo="l4t", teacher="file:<mine>.json", device="cpu: two & two", versions={"jax": "1.2"},
        total_steps=200, env_steps_per_s=1234.5, seconds=dict(compile=1.0, train=2.0, evaluate=3.0),
        steps_to_success={"0.50": [100, 200], "0.90": [200, None], "0.95": [None, None]},
        heldout=dict(levels=4, student=dict(success=[0.75, 1.0]), teacher=dict(success=0.5), random=dict(success=0.0)),
    )  # fmt: skip
    heldout = {
        "student": episodes([[1, 1, 1, 0], [1] * 4]), "student, greedy": episodes([[1] * 4] * 2),
        "teacher": episodes([1, 1, 0, 0]), "random": episodes([0] * 4),
    }  # fmt: skip
    config = Config(num_seeds=2, seed=7).resolved(150)
    return Result(
        summary=summary, run_dir=tmp_path, config=config, params=None, records=records, heldout=heldout
    )  # fmt: skip


def test_a_notebook_shows_a_result_in_one_line(result: Result) -> None:
    said = f"success 0.750, 1.000 on 4 held-out levels; {result.run_dir})"
    assert repr(result) == f"Result(SimpleDoorKey, l4t: {said}"
    assert "not evaluated" in repr(dataclasses.replace(result, summary={}))


def test_the_page_says_what_the_run_found(result: Result) -> None:
    _, words = read(webpage.write(result, {"success": 0.5, "return": 0.2}))
    assert (
        "The 2 students succeed on 87.5% of held-out levels, the teacher on 50.0%, the random policy on 0.0%." in words
    )
    assert "student 0.875 0.529 to 0.978" in words  # Wilson, 7 of 8
    assert "at least 50% after 100 / 200 steps." in words and "90% after" not in words
    assert "Agent sees <key>, holds <nothing>. 0.75 go to key, then pick up key 0.25 explore" in words
    assert "Agent sees <nothing>, holds <key>. no guidance" in words
    assert "teacher file:<mine>.json" in words and "Made <by hand>" in words and "cpu: two & two" in words
    assert "--seed 7" in words


def test_the_page_says_what_to_try_and_how_far_episodes_came(result: Result) -> None:
    _, words = read(webpage.write(result, None))
    assert "what to try" not in words and "How far the episodes came" not in words
    done = {
        "student": {"sees the <key>": [0.5, 1.0]},
        "teacher": {"sees the <key>": 0.25},
        "random": {"sees the <key>": 0.125},
    }
    summary = {
        **result.summary, "guidance": [dict(rule="still_rising", said="Try `total_steps=400` & <more>.")],
        "heldout": {**result.summary["heldout"], "parts": done},
    }  # fmt: skip
    _, words = read(webpage.write(dataclasses.replace(result, summary=summary), None))
    assert "what to try Try --total-steps 400 & <more>. How far the episodes came" in words
    assert "student teacher random policy sees the <key> 0.750 0.250 0.125" in words


def test_the_page_stands_alone(result: Result) -> None:
    reader, _ = read(webpage.write(result, {"success": 0.5, "return": 0.2}))
    assert len(reader.sources) == 4  # two animations, two curves
    assert all(source.startswith("data:image/") for source in reader.sources)
    text = (result.run_dir / webpage.NAME).read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|<script|url\(", text)
    assert 'name="viewport" content="width=device-width' in text


def test_a_run_without_a_teacher_has_a_page_too(result: Result) -> None:
    for name in ("teacher.gif", run_folder.TEACHER):
        (result.run_dir / name).unlink()
    heldout = {name: found for name, found in result.heldout.items() if name != "teacher"}
    summary = {**result.summary, "teacher": "none", "heldout": {**result.summary["heldout"], "teacher": None}}
    _, words = read(webpage.write(dataclasses.replace(result, heldout=heldout, summary=summary), None))
    assert "no teacher" in words and "The teacher's plans" not in words
    assert "The 2 students succeed on 87.5% of held-out levels, the random policy on 0.0%." in words
