"""Trained students to take: they play, they are what their cards say, and what is not one of them is refused."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import students
from ladder_rows import ROWS
from small_runs import saved_run

import l4t_jax
from l4t_jax import __main__ as l4t
from l4t_jax import errors, files, saved, trained
from l4t_jax.config import Config
from l4t_jax.evaluation.intervals import wilson
from l4t_jax.reporting import run_folder

ROOT = Path(__file__).parents[1]
PARTS = ROOT / "benchmarks" / "results" / "ladder" / "parts"
SMALL = "KeyCorridorS3R3"


def test_the_pages_program_solves_a_level() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "students.md").read_text(), flags=re.DOTALL)
    found: dict[str, Any] = {}
    exec(compile(code, "docs/students.md", "exec"), found)
    assert found["student"].task.name == SMALL
    assert found["total"] == pytest.approx(1 - 0.9 * found["t"] / found["env"].max_steps) and found["t"] < 60


def test_every_row_of_the_ladder_has_a_student_of_the_run_that_made_its_part() -> None:
    assert set(l4t_jax.list_students()) == set(ROWS)
    assert sum(path.stat().st_size for path in trained.DATA.rglob("*") if path.is_file()) < 9.5e6
    for name in l4t_jax.list_students():
        card = trained.card(name)
        part = json.loads((PARTS / f"{name}-l4t.json").read_text())
        assert card["seed"] == 0 and card["name"] == name
        assert [card["task"], card["total_steps"]] == [part["settings"]["env"], part["total_steps"]]
        assert [card["made"][what] for what in ("code", "date", "device")] == [
            part[what] for what in ("code", "date", "device")
        ]
        heldout = card["heldout"]
        assert heldout["levels"] == part["levels"] == 1000 and heldout["teacher"] == part["teacher_alone"]
        for how, figures in (("sampled", part["success"]), ("greedy", part["greedy"])):
            assert round(heldout[how]["success"], 4) == figures["seeds"][0]
            assert heldout[how]["interval"] == list(wilson(round(1000 * heldout[how]["success"]), 1000))


@pytest.mark.parametrize("name", l4t_jax.list_students())
def test_a_students_files_agree_with_its_card_and_hold_no_path(name: str) -> None:
    folder, card = trained.find(name), trained.card(name)
    content = (folder / card["file"]).read_bytes()
    assert [len(content), hashlib.sha256(content).hexdigest()] == [card["bytes"], card["sha256"]]
    assert sum(leaf.size for leaf in jax.tree.leaves(trained.params(folder))) == card["parameters"]
    settings = run_folder.read_values(folder)
    assert settings["num_seeds"] == 1 and settings["total_steps"] <= card["total_steps"]
    assert [settings[name] for name in ("env", "algo", "student", "observation")] == [
        card[name] for name in ("task", "algo", "student", "observation")
    ]
    for path in folder.glob("*.json"):
        assert not re.search(r'"(file:)?/', path.read_text()), path.name


def test_the_page_is_made_from_the_cards() -> None:
    assert "\n".join(students.table(students.cards())) in (ROOT / "docs" / "students.md").read_text()


def test_capitals_and_ids_are_names_too_and_a_folder_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (SMALL, SMALL.lower(), f"MiniGrid-{SMALL}-v0"):
        assert trained.find(name) == trained.DATA / SMALL
        assert trained.spelled(name) == SMALL
        assert trained.card(name)["name"] == SMALL
    monkeypatch.chdir(tmp_path)
    (tmp_path / SMALL).mkdir()
    assert trained.find(SMALL) == Path(SMALL) and trained.spelled(SMALL) == str(tmp_path / SMALL)
    assert trained.find("runs/KeyCorridor") == Path("runs/KeyCorridor")  # a path is no name


def test_a_new_run_starts_from_a_trained_student_and_keeps_its_name() -> None:
    config, run = saved.inherit(Config(env=SMALL, student_from=SMALL.lower(), num_seeds=2))
    assert run is not None and config.student_from == SMALL and config.student == "ego"
    assert {leaf.shape[0] for leaf in jax.tree.leaves(run.params)} == {1}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "KeyCoridorS3R3"], "no trained student of that name; did you mean KeyCorridorS3R3"),
        (["play", "MultiRoomN6"], "did you mean MultiRoom-N6"),
        (["export", "nobody"], "there is no folder nobody, and no trained student of that name; `list_students`"),
        (["run", "--student-from", "DoorKey16", "--env", "DoorKey-8x8"], "did you mean DoorKey-16x16"),
        (["evaluate", SMALL, "--checkpoint", "best"], "has its last parameters alone"),
        (["export", SMALL, "--seed", "1"], "the run has 1 students"),
    ],
)
def test_what_is_no_student_is_refused_in_one_sentence(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert l4t.main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and said in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_card_is_asked_for_by_name() -> None:
    with pytest.raises(
        errors.RunFolderError, match="there is no trained student named 'KeyCorridorS3'; did you mean Key"
    ):
        trained.card("KeyCorridorS3")


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained.DATA / SMALL, folder)
    assert saved.open_run(folder, "last").task.name == SMALL
    content = bytearray((folder / trained.PARAMS).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / trained.PARAMS).write_bytes(content)
    with pytest.raises(errors.CheckpointError, match=r"student.npz is damaged or another student's: its hash is not"):
        l4t_jax.load_student(folder)
    (folder / trained.PARAMS).unlink()
    with pytest.raises(errors.CheckpointError, match="cannot be read: No such file"):
        l4t_jax.load_student(folder)


@pytest.mark.slow
def test_a_run_is_packed_as_its_first_student(tmp_path: Path) -> None:
    saved_run(tmp_path / "run", "ego", env="DoorKey-5x5", hidden=8, run_dir=str(tmp_path / "run"))
    shutil.copy(ROOT / "l4t_jax" / "teacher" / "data" / "DoorKey-stock.json", tmp_path / "run" / "teacher.json")
    one = dict(success=[0.25, 0.5], length=[7.0, 8.0]) | {"return": [0.2, 0.4]}
    alone = dict(success=1.0, length=9.0) | {"return": 0.9}
    heldout = dict(levels=1000, student={**one, "greedy": one}, teacher=alone, random=alone)
    summary = dict(algo="l4t", teacher="shipped (hand-written)", total_steps=32, heldout=heldout)
    files.write_json(tmp_path / "run" / "summary.json", summary)
    part = dict(success=dict(seeds=[0.25, 0.5]), date="2026-01-01", code="abc", device="cpu", versions={})
    card = students.pack(tmp_path / "run", part, "Mine", tmp_path)
    assert card["heldout"]["sampled"] == {
        "success": 0.25, "return": 0.2, "length": 7.0, "interval": list(wilson(250, 1000))
    }  # fmt: skip
    run, packed = (saved.open_run(tmp_path / name, "last") for name in ("run", "Mine"))
    jax.tree.map(np.testing.assert_array_equal, saved.one_student(run, 0), saved.one_student(packed, 0))
    assert not (tmp_path / "Mine" / "teacher.json").exists()  # the task has one of its own
    assert str(tmp_path) not in (tmp_path / "Mine" / "config.json").read_text()
    again = students.pack(tmp_path / "run", part, "Again", tmp_path)
    assert again["sha256"] == card["sha256"]
    with pytest.raises(errors.RunFolderError, match="is not the run that the part of Mine was made by"):
        students.pack(tmp_path / "run", {**part, "success": dict(seeds=[0.5, 0.25])}, "Mine", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", l4t_jax.list_students())
def test_evaluating_a_student_gives_the_figures_of_its_card(name: str) -> None:
    """On the kind of processor that measured them to the last digit; elsewhere sums round differently."""
    found, heldout = l4t_jax.evaluate(name), trained.card(name)["heldout"]
    assert found["levels"] == 1000
    for how, figures in (("sampled", found["seeds"]), ("greedy", found["greedy"])):
        assert figures["success"][0] == pytest.approx(heldout[how]["success"], abs=0.003)
        assert figures["return"][0] == pytest.approx(heldout[how]["return"], abs=0.003)
        assert figures["length"][0] == pytest.approx(heldout[how]["length"], rel=0.01)
