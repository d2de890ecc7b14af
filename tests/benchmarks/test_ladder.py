"""The ladder: what it runs, what it takes over from a part, how it refuses, and what its table says."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import comparison
import ladder
import ladder_report
import made_up_runs
import numpy as np
import pytest
from ladder import Command, Experiment, experiments
from ladder_rows import COMPARED, ROWS, WAYS, Row
from PIL import Image

from l4t_jax import errors, files
from l4t_jax.config import TOTAL_STEPS
from l4t_jax.envs import get_task
from l4t_jax.envs.registry import is_brought_in
from l4t_jax.reporting import run_folder
from l4t_jax.training.trainer import Trainer

pytest.importorskip("rliable")
COMMITTED = Path(__file__).parents[2] / "benchmarks" / "results" / "ladder"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of the runs that `api.train` was asked for, instead of training; each is there afterwards."""
    ran: list[str] = []

    def train(
        config: Any = None, *, resume: Path | None = None, progress: Any = None, devices: int | None = None
    ) -> None:
        if resume is not None:
            ran.append(f"resumed {resume.name}")
            settings = json.loads((resume / run_folder.CONFIG).read_text())
            (resume / run_folder.CONFIG).unlink()
            resume.rmdir()
            config = dataclasses.replace(_of(settings["env"], settings["algo"]).config, run_dir=str(resume))
        else:
            ran.append(Path(config.run_dir).name)
        made_up_runs.write(config, f"{config.env}-{config.algo}", 0.9, 0.3)

    monkeypatch.setattr("l4t_jax.api.train", train)
    return ran


def _of(task: str, way: str) -> Experiment:
    return next(one for one in experiments(Command()) if one.name == f"{task}-{way}")


def test_every_row_is_learned_and_the_ways_are_compared_at_equal_steps() -> None:
    every = experiments(Command())
    assert [one.row.task for one in every if one.way == "l4t"] == list(ROWS)
    for task in COMPARED:
        assert {"l4t", "ppo", "bonus", "hrl", "distill"} <= {one.way for one in every if one.row.task == task}
        assert len({Trainer.create(one.config).total_updates for one in every if one.row.task == task}) == 1
    assert all(one.config.num_seeds == 3 and one.config.heldout_levels == 1000 for one in every)


def test_a_run_by_default_takes_as_many_steps_as_the_ladder_gives_it() -> None:
    assert all(get_task(name).name == name for name in TOTAL_STEPS)
    for row in ROWS.values():
        if not is_brought_in(row.task):
            assert TOTAL_STEPS[row.task]["fast"] >= row.steps


def test_where_the_teacher_falls_short_a_hundredth_below_it_is_wanted() -> None:
    row = Row("KeyCorridorS3R3", 0.99, 200_000)
    assert row.goal(1.0) == row.goal(0.99) == row.goal(None) == 0.99
    assert row.goal(0.97) == pytest.approx(0.96)


def test_a_part_is_not_made_again_and_needs_no_run_folder(tmp_path: Path, trained: list[str]) -> None:
    one = _of("KeyCorridorS3R3", "l4t")
    assert not ladder.finished(tmp_path, one, again=False)
    ladder.make(tmp_path, tmp_path / "runs", one)
    part = ladder.read_part(tmp_path, one)
    assert part is not None and part["settings"]["env"] == "KeyCorridorS3R3" and part["observation"] == "map"
    summary = run_folder.read(tmp_path / "runs" / trained[0] / run_folder.SUMMARY)["heldout"]["student"]
    assert part["success"]["value"] == pytest.approx(np.mean(summary["success"]), abs=1e-4)
    assert part["greedy"]["value"] == pytest.approx(np.mean(summary["greedy"]["success"]), abs=1e-4)
    assert str(tmp_path) not in files.dumps(part)  # no path of the machine that it ran on
    assert ladder.finished(tmp_path, one, again=False) and ladder.finished(tmp_path, one, again=True)


def test_an_interrupted_run_goes_on(tmp_path: Path, trained: list[str]) -> None:
    one = _of("GoToDoor-8x8", "l4t")
    ladder.make(tmp_path, tmp_path / "runs", one)
    (name,) = trained
    ladder.part_path(tmp_path, one).unlink()
    folder = tmp_path / "runs" / name
    for path in folder.iterdir():
        if path.name != run_folder.CONFIG:
            path.unlink()
    ladder.make(tmp_path, tmp_path / "runs", one)
    assert trained == [name, f"resumed {name}"]


def test_other_settings_are_refused_and_replaced_on_request(tmp_path: Path, trained: list[str]) -> None:
    one = _of("KeyCorridorS3R3", "l4t")
    ladder.make(tmp_path, tmp_path / "runs", one)
    other = dataclasses.replace(one, config=dataclasses.replace(one.config, num_seeds=5))
    with pytest.raises(errors.RunFolderError, match="--num-seeds 3, not 5; pass --again to replace it"):
        ladder.finished(tmp_path, other, again=False)
    assert not ladder.finished(tmp_path, other, again=True)
    ladder.make(tmp_path, tmp_path / "runs", other)
    assert len(set(trained)) == 2  # another folder, because the run is another
    assert ladder.finished(tmp_path, other, again=False)


def test_a_part_from_before_the_warm_up_holds_where_there_is_none(tmp_path: Path, trained: list[str]) -> None:
    for way in ("ppo", "l4t"):
        one = _of("KeyCorridorS3R3", way)
        ladder.make(tmp_path, tmp_path / "runs", one)
        part = run_folder.read(ladder.part_path(tmp_path, one))
        part["settings"] = {name: value for name, value in part["settings"].items() if not name.startswith("warmup")}
        files.write_json(ladder.part_path(tmp_path, one), part)
    assert ladder.finished(tmp_path, _of("KeyCorridorS3R3", "ppo"), again=False)
    with pytest.raises(errors.RunFolderError, match="--warmup-updates 0, not 24; pass --again to replace it"):
        ladder.finished(tmp_path, _of("KeyCorridorS3R3", "l4t"), again=False)


def test_a_part_of_other_code_holds_and_is_replaced_on_request(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _of("KeyCorridorS3R3", "ppo")
    ladder.make(tmp_path, tmp_path / "runs", one)
    monkeypatch.setattr(ladder, "code", lambda: "other")
    assert ladder.finished(tmp_path, one, again=False) and not ladder.finished(tmp_path, one, again=True)


def test_the_table_and_the_pictures_say_what_the_parts_hold(tmp_path: Path, trained: list[str]) -> None:
    for task, way in (("KeyCorridorS3R3", "l4t"), ("KeyCorridorS3R3", "ppo"), ("GoToDoor-8x8", "l4t")):
        ladder.make(tmp_path, tmp_path / "runs", _of(task, way))
    results = ladder.report(tmp_path)
    assert [part["task"] for part in results["parts"]] == ["KeyCorridorS3R3", "GoToDoor-8x8", "KeyCorridorS3R3"]
    text = (tmp_path / "table.md").read_text()
    part = results["parts"][0]
    assert f"| {part['success']['value']:.3f} (" in text and "0.994 at 5 M" in text
    assert "| 0.560 (0.01 below the teacher) |" in text  # the made-up teacher is at 0.57
    assert f"| LockedRoom | 0.98 | {ROWS['LockedRoom'].steps:,} | not measured |" in text
    assert "## KeyCorridorS3R3: ways to learn" in text and "## GoToDoor-8x8" not in text
    for name in ("ladder.png", "hard.png", "compared.png"):
        pixels = np.asarray(Image.open(tmp_path / name).convert("L"))
        assert pixels.std() > 5 and (pixels[:, -2:] > 250).all()
    dark = np.asarray(Image.open(tmp_path / "hard-dark.png").convert("L"))
    assert dark.std() > 5 and (dark[:, -2:] < 40).all()


def test_a_table_of_a_page_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n\nMore.\n\n| other |\n")
    ladder_report.put(page, ["| a | b |", "| --- | --- |", "| 5 | 6 |"])
    assert page.read_text() == "# Page\n\n| a | b |\n| --- | --- |\n| 5 | 6 |\n\nMore.\n\n| other |\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--rows", "KeyCoridorS3R3"], "there is no row 'KeyCoridorS3R3'; did you mean KeyCorridorS3R3"),
        (["--ways", "pop"], "there is no way 'pop'; did you mean ppo"),
        (["--seeds", "1"], "--seeds must be at least 2, not 1"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ladder.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and words in err and err.count("\n") == 1


def test_experiments_can_be_listed(capfd: pytest.CaptureFixture[str]) -> None:
    assert ladder.main(["--list-experiments", "--json", "--rows", "keycorridors3r3", "--ways", "l4t,ppo"]) == 0
    assert list(json.loads(capfd.readouterr().out)["experiments"]) == ["KeyCorridorS3R3-l4t", "KeyCorridorS3R3-ppo"]


def test_the_committed_table_is_that_of_the_committed_parts() -> None:
    parts = ladder.parts(COMMITTED)
    assert parts and all(way in WAYS and task in WAYS[way].rows for task, way in parts)
    assert ladder_report.markdown(parts, ladder.COMMAND) == (COMMITTED / "table.md").read_text()
    assert all(part["success"] == comparison.over_seeds(part["success"]["seeds"]) for part in parts.values())
    page = (COMMITTED.parents[2] / "docs" / "ladder.md").read_text()
    assert "\n".join(ladder_report.headline(parts)) in page and "\n".join(ladder_report.compared(parts)) in page
    assert "\n".join(ladder_report.hardest(parts)) in (COMMITTED.parents[2] / "README.md").read_text()
