"""The examples in docs/extending: each is short, and runs as its first lines say, by the command and from Python.

A run that was made with a file of the user's: what it keeps, and how it is resumed, evaluated and exported.
"""

import ast
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import forgetting
from docs_commands import ROOT, SIZES, TINY
from small_runs import timeless

import l4t_jax
from l4t_jax import errors, extensions, run
from l4t_jax.envs import get_task
from l4t_jax.envs.navix import make_env
from l4t_jax.evaluate import main as evaluate
from l4t_jax.evaluation.teachers import evaluate_teacher
from l4t_jax.export import main as export
from l4t_jax.reporting import run_folder
from l4t_jax.teacher import file

FOLDER = ROOT / "docs" / "extending"
FILES = sorted(path.name for path in FOLDER.glob("*.py"))
MOST_LINES = 60
# Run in the full tier; others test parts of them.
LATER = {
    "own_algorithm.py",
    "own_backend.py",
    "own_minigrid_env.py",
    "own_observation.py",
    "own_skill.py",
    "own_student.py",
}
BY_PROCESS = "own_task.py"  # the one whose command is run in a process of its own


@pytest.fixture(autouse=True)
def place(own_tasks: None, compiled_once: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples are called as from a clone's root; answers of LLMs are kept for the test alone."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("L4T_CACHE", str(tmp_path / "cache"))


def told(name: str) -> tuple[str, str]:
    """The command and the call that the first lines of an example say."""
    said = ast.get_docstring(ast.parse((FOLDER / name).read_text(encoding="utf-8"))) or ""
    path = re.escape(f"docs/extending/{name}")
    (command,) = re.findall(rf"^ *(python -m l4t_jax\.run --import {path} .+)$", said, re.MULTILINE)
    (call,) = re.findall(rf'^ *(l4t_jax\.train\(imports="{path}", .+\))$', said, re.MULTILINE)
    return command, call


def test_the_examples_of_the_page_are_there() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    assert len(FILES) == 7  # task, skill, student, observation, algorithm, backend, MiniGrid environment
    assert [name for name in FILES if f"](extending/{name})" not in page] == []


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LATER)) for name in FILES])
def test_an_example_is_short_and_runs_by_the_command_and_from_python(name: str, tmp_path: Path) -> None:
    path = FOLDER / name
    assert path.read_text(encoding="utf-8").count("\n") <= MOST_LINES
    command, call = told(name)
    by_command, by_call = tmp_path / "command", tmp_path / "call"
    words = shlex.split(f"{command} {TINY} --run-dir {by_command}")[3:]
    if name == BY_PROCESS:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "2"}  # as many as here
        done = subprocess.run([sys.executable, "-m", "l4t_jax.run", *words], env=environment, timeout=300)
        assert done.returncode == 0
    else:
        assert run.main(words) == 0

    def train(**settings: Any) -> l4t_jax.Result:
        return l4t_jax.train(**settings, **SIZES, run_dir=by_call)

    result = eval(call, {"l4t_jax": SimpleNamespace(train=train)})
    assert len(result.records) == SIZES["evaluations"]
    for folder in (by_command, by_call):
        kept = json.loads((folder / run_folder.CONFIG).read_text())["imports"]
        assert kept == [{"name": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}]
    assert timeless(by_command) == timeless(by_call)
    assert run_folder.read(by_command / run_folder.SUMMARY)["task"] == result.summary["task"]


# What each comes to


@pytest.mark.slow
def test_the_missions_of_the_task_are_drawn_and_its_teacher_carries_them_out() -> None:
    extensions.load_extension(FOLDER / "own_task.py")
    task = get_task("PickBall")
    found = evaluate_teacher(task, file.shipped(task), levels=128)
    assert found["success"] == 1.0
    assert found["unguided"] == ["Agent sees <nothing>, holds <wanted ball>."]  # the episode is over then
    import jax

    missions = jax.vmap(make_env(task).initial)(jax.random.split(jax.random.key(0), 64)).mission
    assert {task.say(mission.tolist()) for mission in missions} == {
        f"pick up the {colour} ball" for colour in ("red", "green", "blue", "purple", "yellow", "grey")
    }


def test_plans_with_the_skill_open_the_door() -> None:
    extensions.load_extension(FOLDER / "own_skill.py")
    task = get_task("FetchDoorKey")
    found = evaluate_teacher(task, file.shipped(task), levels=128)
    assert (found["success"], found["unguided"]) == (1.0, [])


def test_the_backends_answers_are_the_teacher(tmp_path: Path) -> None:
    extensions.load_extension(FOLDER / "own_backend.py")
    from l4t_jax.teacher import open_teacher
    from l4t_jax.teacher.recording import Ask

    task = get_task("SimpleDoorKey")
    content, _ = open_teacher("program:echo go to the key", task, Ask(samples=2), cache=tmp_path)
    assert content is not None
    plans = {tuple(state["sees"]): state["plans"] for state in content["states"] if state["holds"] is None}
    assert plans["key",] == [{"p": 1.0, "skills": [["go_to", "key"]]}]
    with pytest.raises(errors.BackendError, match=r"the program no-such-program does not answer: .*No such file"):
        open_teacher("program:no-such-program", task, Ask(samples=1), cache=tmp_path)


# A run with a file of the user's


@pytest.fixture(scope="module")
def made(compiled_once: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A run folder, and the file that the run was made with."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("own_skill.py", "fetch_door_key.json"):
        (folder / name).write_bytes((FOLDER / name).read_bytes())
    with forgetting():
        l4t_jax.train(imports=folder / "own_skill.py", env="FetchDoorKey", run_dir=folder / "run", **SIZES)
    yield folder / "run", folder / "own_skill.py"


def test_a_run_with_a_users_file_is_evaluated_exported_and_loaded(
    made: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, _ = made
    assert evaluate([str(folder), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    kept = run_folder.read(folder / run_folder.SUMMARY)["heldout"]["student"]["success"]
    assert (found["task"], found["seeds"]["success"]) == ("FetchDoorKey", kept)
    assert export([str(folder), "--out", str(tmp_path / "student.bin"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["task"] == "FetchDoorKey"
    assert l4t_jax.load_student(folder).task.skills[1] == "fetch"
    assert "FetchDoorKey" in (folder / "report.html").read_text()


def test_a_run_whose_file_has_changed_is_evaluated_with_a_warning_and_not_resumed(
    made: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    folder, path = made
    before = path.read_bytes()
    path.write_bytes(before + b"# changed\n")
    try:
        assert run.main(["--resume", str(folder)]) == 2
        assert f"error: the extension {path} has changed since the run began" in capfd.readouterr().err
        assert evaluate([str(folder), "--levels", "8"]) == 0
        assert f"warning: the extension {path} has changed since the run began" in capfd.readouterr().err
    finally:
        path.write_bytes(before)
    assert run.main(["--resume", str(folder)]) == 0
    assert "is finished" in capfd.readouterr().err
