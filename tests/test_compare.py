"""`python -m l4t_jax.compare`: figures by hand, runs taken together, the page, and how it refuses."""

import importlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import made_up_runs
import numpy as np
import pytest
from PIL import Image
from reading_pages import read

from l4t_jax import files
from l4t_jax.agents.algorithms import get_algorithm
from l4t_jax.compare import runs, webpage
from l4t_jax.compare.__main__ import main
from l4t_jax.config import Config
from l4t_jax.evaluation import intervals
from l4t_jax.reporting import run_folder

# Folder -> its settings, its success at the end, when it gets there.
RUNS: dict[str, tuple[dict[str, Any], float, float]] = {
    "l4t-0": (dict(num_seeds=2), 0.99, 0.1),
    "l4t-1": (dict(num_seeds=1, seed=1), 0.97, 0.15),
    "fast": (dict(num_seeds=2, learning_rate=0.004), 0.95, 0.1),
    "ppo": (dict(num_seeds=2, algo="ppo", teacher="none"), 0.6, 0.5),
    "lava": (dict(num_seeds=2, env="LavaDoorKey"), 0.9, 0.3),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up runs, `stopped` after 5 of 20 evaluations and `new` before its first."""
    root = tmp_path_factory.mktemp("runs")
    for name, (settings, end, half) in RUNS.items():
        config = Config(**{"env": "DoorKey", "run_dir": str(root / name), "validation_levels": 512, **settings})
        made_up_runs.write(config, name, end, half)
    shutil.copytree(root / "ppo", root / "stopped")
    (root / "stopped" / run_folder.SUMMARY).unlink()
    lines = (root / "ppo" / run_folder.METRICS).read_text().splitlines(keepends=True)
    (root / "stopped" / run_folder.METRICS).write_text("".join(lines[:5]) + lines[5][:40])
    (root / "new").mkdir()
    shutil.copy(root / "ppo" / run_folder.CONFIG, root / "new")
    return root


def compared(folder: Path, *names: str, group: bool = True) -> runs.Comparison:
    return runs.compare([folder / name for name in names], group)


def test_seeds_of_equal_settings_are_one_line(folder: Path) -> None:
    found = compared(folder, "l4t-0", "ppo", "l4t-1")
    assert [line.label for line in found.lines] == ["L4T", "PPO alone"]
    assert [[run.folder.name for run in line.runs] for line in found.lines] == [["l4t-0", "l4t-1"], ["ppo"]]
    one = found.lines[0].figures
    curves = [
        np.array([line["validation"]["success"] for line in run_folder.read_records(folder / name)])
        for name in ("l4t-0", "l4t-1")
    ]
    every = np.concatenate(curves, axis=1)
    assert one["seeds"] == every.shape[1] == 3
    np.testing.assert_allclose(one["curve"]["success"]["value"], every.mean(axis=1))
    np.testing.assert_allclose(one["curve"]["success"]["low"], every.min(axis=1))
    np.testing.assert_allclose(one["curve"]["success"]["high"], every.max(axis=1))
    last = [x for name in ("l4t-0", "l4t-1") for x in summary(folder / name)["heldout"]["student"]["success"]]
    assert one["success"]["seeds"] == last and one["success"]["mean"] == pytest.approx(np.mean(last))
    won = sum(round(1000 * share) for share in last)
    assert (one["success"]["low"], one["success"]["high"]) == intervals.wilson(won, 3000)
    both = [summary(folder / name)["steps_to_success"]["0.90"] for name in ("l4t-0", "l4t-1")]
    assert one["steps_to_success"]["0.90"]["seeds"] == both[0] + both[1]
    assert one["steps_to_success"]["0.90"]["median"] == sorted(both[0] + both[1])[1]


def summary(run: Path) -> dict[str, Any]:
    return run_folder.read(run / run_folder.SUMMARY)


def test_every_run_is_a_line_where_that_is_asked_for(folder: Path) -> None:
    found = compared(folder, "l4t-0", "l4t-1", group=False)
    assert [line.label for line in found.lines] == ["L4T in l4t-0", "L4T in l4t-1"]


def test_the_same_seed_twice_is_not_two_seeds(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "l4t-0", tmp_path / "l4t-0")
    found = runs.compare([folder / "l4t-0", tmp_path / "l4t-0", folder / "l4t-1"])
    assert [[str(run.folder) for run in line.runs] for line in found.lines] == [
        [str(folder / "l4t-0"), str(folder / "l4t-1")], [str(tmp_path / "l4t-0")]
    ]  # fmt: skip
    assert len({line.label for line in found.lines}) == 2
    assert len(runs.compare([folder / "ppo", folder / "." / "ppo"]).lines) == 1  # one folder, named twice


def test_lines_are_named_by_what_tells_them_apart(folder: Path) -> None:
    found = compared(folder, "l4t-0", "fast", "ppo", "lava")
    assert [line.label for line in found.lines] == [
        "L4T, learning_rate 0.002", "L4T, learning_rate 0.004", "PPO alone", "L4T"
    ]  # fmt: skip
    assert found.differences["learning_rate"] == ["0.002", "0.004", "0.002", "0.002"]
    assert found.differences["algo"] == ["l4t", "l4t", "ppo", "l4t"]
    # What is the same for all is left out, and so is what decides nothing: a seed, a folder.
    assert not {"num_envs", "seed", "num_seeds", "run_dir", "env", "jax", "device"} & set(found.differences)


def test_different_tasks_are_said_and_kept_apart(folder: Path) -> None:
    found = compared(folder, "l4t-0", "lava")
    assert found.tasks == ["SimpleDoorKey", "LavaDoorKey"]
    assert found.notes[0] == (
        "The runs learned different tasks (SimpleDoorKey, LavaDoorKey): figures of different tasks cannot be set "
        "against each other."
    )
    assert compared(folder, "l4t-0", "ppo").notes[0].startswith("On SimpleDoorKey, L4T ends highest, at 0.9")
    assert "do not overlap" in compared(folder, "l4t-0", "ppo").notes[0]


def test_a_run_that_is_not_finished_is_shown_as_such(folder: Path) -> None:
    found = compared(folder, "ppo", "stopped", "new")
    whole, stopped, new = found.lines
    assert not stopped.finished and stopped.figures["measured_on"] == "validation"
    assert stopped.figures["steps"] == 100_000 and stopped.figures["total_steps"] == 400_000
    last = run_folder.read_records(folder / "stopped")[-1]["validation"]["success"]
    assert stopped.figures["success"]["seeds"] == last and stopped.figures["greedy"] is None
    assert new.figures["success"] is None and new.figures["curve"] is None
    assert f"({folder / 'stopped'}) is not finished: 100,000 of 400,000 steps; its success is" in found.notes[0]
    assert f"({folder / 'new'}) is not finished: no evaluation so far." in found.notes[1]
    assert "not known" not in str(found.differences)
    assert whole.figures["area"] == compared(folder, "ppo").lines[0].figures["area"], "its end is no common end"


def test_areas_end_where_the_shortest_finished_run_ends(folder: Path, tmp_path: Path) -> None:
    made_up_runs.write(Config(env="DoorKey", total_steps=100_000, run_dir=str(tmp_path / "short")), "short", 0.5, 0.1)
    long = runs.compare([folder / "ppo", tmp_path / "short"]).lines[0].figures
    records = run_folder.read_records(folder / "ppo")[:5]
    steps = np.array([record["steps"] for record in records])
    assert long["area_until"] == steps[-1] == 100_000
    by_hand = intervals.area(steps, np.array([record["validation"]["success"] for record in records]), 0.06)
    np.testing.assert_allclose(long["area"]["seeds"], by_hand)


def test_the_page_stands_alone_and_says_what_was_found(folder: Path, tmp_path: Path) -> None:
    found = compared(folder, "l4t-0", "l4t-1", "ppo", "stopped", "new", "lava")
    assert webpage.write(tmp_path / "page.html", tmp_path / "page.png", found)
    reader, words = read(tmp_path / "page.html")
    assert len(reader.sources) == 4  # two tasks against steps and against seconds
    assert all(source.startswith("data:image/") for source in reader.sources)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|<script|url\(", page)
    one = found.lines[0].figures["success"]
    assert f"L4T 3 seeds {one['mean']:.3f} {one['low']:.3f} to {one['high']:.3f}" in words
    assert "2 seeds, not finished 0." in words and "steps/s 100,000 of 400,000" in words
    assert "figures of different tasks cannot be set against each other" in words
    assert "LavaDoorKey" in words and str(folder / "stopped") in words and "random policy 0.060" in words
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.width > 1000 and len(picture.getcolors(1 << 20) or ()) > 50


def test_algorithms_have_their_own_colours_and_no_two_lines_the_same(folder: Path) -> None:
    found = compared(folder, "fast", "l4t-0", "ppo", "stopped")
    colours = webpage._colours(found.lines)
    assert colours["L4T, learning_rate 0.004"] == get_algorithm("l4t").colour
    assert get_algorithm("ppo").colour in colours.values() and len(set(colours.values())) == 4


def test_an_algorithm_that_is_not_loaded_goes_by_its_name(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "ppo", tmp_path / "mine")
    config = run_folder.read(tmp_path / "mine" / run_folder.CONFIG)
    files.write_json(tmp_path / "mine" / run_folder.CONFIG, {**config, "algo": "mine", "env": "my <own> task"})
    found = runs.compare([tmp_path / "mine"])
    assert found.lines[0].label == "mine"
    assert "my <own> task" in read_text(webpage.text(found), tmp_path)


def read_text(page: str, folder: Path) -> str:
    (folder / "page.html").write_text(page, encoding="utf-8")
    return read(folder / "page.html")[1]


def test_the_command_writes_both_files_and_one_object(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "both.html"
    assert main([str(folder / "l4t-0"), str(folder / "ppo"), "--out", str(out), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["page"], told["picture"]) == (str(out), str(out.with_suffix(".png")))
    assert out.is_file() and out.with_suffix(".png").is_file()
    assert [line["label"] for line in told["lines"]] == ["L4T", "PPO alone"] and told["tasks"] == ["SimpleDoorKey"]
    assert told["differences"]["algo"] == {"L4T": "l4t", "PPO alone": "ppo"}
    assert main([str(folder / "l4t-0"), str(folder / "ppo"), "--out", str(out)]) == 0
    said = capfd.readouterr().out
    assert "PPO alone" in said and "algo: l4t (L4T); ppo (PPO alone)" in said and str(out) in said


def test_it_can_be_called_from_python(folder: Path, tmp_path: Path) -> None:
    function: Any = importlib.import_module("l4t_jax.compare")
    told = function(folder / "new", out=tmp_path / "page.html")
    assert told["picture"] is None and (tmp_path / "page.html").is_file() and not (tmp_path / "page.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "RUNS is missing"),
        (["nowhere"], "there is no folder nowhere; give the folder that a run left"),
        (["RUN", "empty"], "empty is not a run folder: it has no config.json"),
        (["ROOT"], "is not a run folder; did you mean"),
        (["RUN", "--out", "page.png"], "--out must end in .html, not 'page.png'"),
        (["RUN", "--out", "/nowhere/page.html"], "cannot be written"),
        (["RUN", "--group", "sed"], "--group cannot be 'sed'; did you mean seeds"),
        (["BROKEN"], "does not hold a run's settings"),
        (["DAMAGED"], "line 2 of"),
    ],
)
def test_bad_input_is_one_sentence(
    folder: Path, words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("broken", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken" / run_folder.CONFIG).write_text('["env", "imports"]')
    shutil.copytree(folder / "ppo", tmp_path / "damaged")
    (tmp_path / "damaged" / run_folder.METRICS).write_text('{"steps": 1}\n{"ste\n{}\n')
    places = {"RUN": folder / "l4t-0", "ROOT": folder, "BROKEN": "broken", "DAMAGED": "damaged"}
    assert main([str(places.get(word, word)) for word in words]) == 2
    told = capsys.readouterr().err
    assert said in told and told.startswith("error: ") and told.count("\n") == 1
    assert not list(tmp_path.glob("*.html")) and not list(tmp_path.glob("*.png"))
