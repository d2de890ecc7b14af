"""The comparison: its figures against hand calculations, what it runs again, and how it refuses."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import comparison
import figures
import made_up_runs
import numpy as np
import pytest
import reproduce
from PIL import Image
from reproduce import CORRUPTED, TASKS, VARIANTS, Command, Experiment, experiments

from l4t_jax import errors, files
from l4t_jax.agents.algorithms import Progress
from l4t_jax.reporting import run_folder
from l4t_jax.teacher import file
from l4t_jax.training.trainer import Trainer

pytest.importorskip("rliable")

# What a run of each variant shall end at, and how fast it gets there: enough for the pictures to be told apart.
ENDS = {
    "l4t": (0.99, 0.1), "ppo": (0.7, 0.4), "hrl": (0.8, 0.3), "distill": (0.9, 0.1), "frugal": (0.97, 0.2),
    "clock": (0.98, 0.15), "paper": (0.7, 0.6), "hard": (0.98, 0.12), "constant": (0.93, 0.1),
    "map": (0.95, 0.3), "lstm": (0.6, 0.5),
    "corrupt-0.25": (0.98, 0.2), "corrupt-0.5": (0.95, 0.3), "corrupt-1": (0.92, 0.4),
}  # fmt: skip


def write_run(experiment: Experiment, seeds: int = 5, evaluations: int = 20) -> None:
    """A run folder as a finished run leaves it, with made-up figures."""
    end, half = ENDS[experiment.variant]
    rate = {"lstm": 500.0, "hrl": 2e4}.get(experiment.variant, 4e4)
    config = dataclasses.replace(experiment.config, num_seeds=seeds)
    made_up_runs.write(config, experiment.name, end, half, evaluations, rate)


def made_up(out: Path, **settings: Any) -> dict[str, Any]:
    """Results of made-up runs."""
    every = experiments(Command(out=str(out), **settings))
    for experiment in every:
        write_run(experiment)
    alone = {"levels": 1000, "success": 0.57, "return": 0.5, "success_interval": [0.54, 0.6]}
    teachers = {task: {"drawn": alone, "decided": alone} for task in dict.fromkeys(one.task for one in every)}
    return reproduce.results(every, teachers, "python benchmarks/reproduce.py")


# --- Figures ------------------------------------------------------------------------------------------------------


def test_the_interquartile_mean_of_five_seeds_is_the_mean_of_the_middle_three() -> None:
    found = comparison.estimate(np.array([0.0, 0.6, 0.7, 0.8, 1.0]))
    assert found["value"] == pytest.approx(0.7)
    assert 0.0 <= found["low"] < 0.7 < found["high"] <= 1.0
    assert comparison.estimate(np.array([0.0, 0.6, 0.7, 0.8, 1.0]), "mean")["value"] == pytest.approx(0.62)


def test_the_interquartile_mean_is_rliables() -> None:
    from rliable.metrics import aggregate_iqm

    for seeds in (2, 3, 5, 8):
        scores = np.random.default_rng(seeds).uniform(size=(seeds, 1))
        assert comparison._iqm(scores[..., None]) == pytest.approx([aggregate_iqm(scores)])


def test_equal_seeds_leave_no_interval_and_the_same_scores_give_the_same_interval() -> None:
    assert comparison.estimate(np.full(5, 0.25)) == {"value": 0.25, "low": 0.25, "high": 0.25}
    scores = np.random.default_rng(0).uniform(size=(5, 7))
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert comparison.estimate(scores) == comparison.estimate(scores)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002  the caller's generator is left alone
    assert len(comparison.estimate(scores)["low"]) == 7


def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    intervals = comparison.estimate(rng.normal(0.0, 1.0, (20, 400)), "mean")
    covered = np.mean((np.array(intervals["low"]) < 0) & (np.array(intervals["high"]) > 0))
    assert 0.87 < covered < 0.98  # a percentile bootstrap of 20 is a little short of 0.95


def test_intervals_are_apart_only_without_a_common_point() -> None:
    def between(low: float, high: float) -> dict[str, float]:
        return {"value": low, "low": low, "high": high}

    assert comparison.apart(between(0.1, 0.2), between(0.3, 0.4)) and comparison.apart(between(3, 4), between(1, 2))
    assert not comparison.apart(between(0.1, 0.3), between(0.3, 0.4))


# --- Results ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("reproduce")
    return out, made_up(out, tasks="LavaDoorKey,DoorKey-5x5")


def test_the_table_says_what_the_runs_came_to(both: tuple[Path, dict[str, Any]]) -> None:
    out, results = both
    run = next(run for run in results["runs"] if run["task"] == "LavaDoorKey" and run["variant"] == "l4t")
    summary = run_folder.read(out / "runs" / "LavaDoorKey-l4t" / run_folder.SUMMARY)
    assert run["success"]["value"] == pytest.approx(np.mean(summary["heldout"]["student"]["success"]), abs=1e-4)
    text = comparison.markdown(results)
    assert f"| L4T | {run['success']['value']:.3f} (" in text
    assert "ahead of PPO alone; the intervals do not overlap" in text
    assert "Teacher corrupted with probability 1: final success 0.9" in text and "not below the lower end" in text
    assert not any(one["harmed"] for one in results["harmed"])
    assert len(files.dumps(results)) < 60_000


def test_only_runs_of_as_many_steps_are_set_against_each_other(both: tuple[Path, dict[str, Any]]) -> None:
    _, results = both
    over = {one["over"] for one in results["verdicts"] if one["task"] == "LavaDoorKey"}
    assert over == {"ppo", "hrl", "distill", "clock", "hard", "constant"}  # frugal has fewer


def test_pictures_are_drawn_and_small(both: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    _, results = both
    names = {"curves-LavaDoorKey.png", "curves-DoorKey-5x5.png", "areas.png", "ablations.png", "corruption.png"}
    drawn = figures.draw(tmp_path, results)
    assert {path.name for path in drawn} == names
    for path in drawn:
        assert path.stat().st_size < 200_000
        pixels = np.asarray(Image.open(path).convert("L"))
        edge = np.concatenate([pixels[:2].ravel(), pixels[-2:].ravel(), pixels[:, -2:].ravel()])
        assert pixels.std() > 5 and (edge > 250).all()  # something is on it, and no name is cut off


def test_a_part_of_the_experiments_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    every = experiments(Command(out=str(tmp_path / "part"), tasks="LavaDoorKey"))
    for experiment in every[:2]:
        write_run(experiment)
    results = reproduce.results(every[:2], {}, "")
    assert {path.name for path in figures.draw(tmp_path, results)} == {"curves-LavaDoorKey.png", "areas.png"}
    assert "## LavaDoorKey" in comparison.markdown(results)


# --- What is run --------------------------------------------------------------------------------------------------


def test_every_task_is_compared_at_equal_environment_steps() -> None:
    every = experiments(Command())
    assert list(dict.fromkeys(one.task for one in every)) == list(TASKS)
    for task in TASKS:
        steps = {
            one.variant: Trainer.create(one.config).total_updates * Trainer.create(one.config).steps_per_update
            for one in every
            if one.task == task and one.variant in ("l4t", "ppo", "hrl", "distill", "hard", "constant")
        }
        assert len(set(steps.values())) == 1 and {"l4t", "ppo", "hrl", "distill"} <= steps.keys()
    assert all(one.config.num_seeds == 5 and one.config.heldout_levels == 1000 for one in every)


def test_without_annealing_the_weight_of_distillation_never_falls() -> None:
    trainer = Trainer.create(next(one for one in experiments(Command()) if one.variant == "constant").config)
    first, last = (
        float(trainer.algorithm.distill_weight(trainer.setup, Progress(updates, 0.5)))  # pyright: ignore
        for updates in (0, trainer.total_updates - 1)
    )
    assert first == last > 0


def test_a_finished_experiment_is_not_run_again_and_an_interrupted_one_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = Command(out=str(tmp_path), tasks="DoorKey-5x5")
    every = [one for one in experiments(command) if one.variant in ("l4t", "ppo", "corrupt-1")]
    write_run(every[0])
    broken = Path(str(every[1].config.run_dir))
    broken.mkdir(parents=True)
    (broken / run_folder.CONFIG).write_text("{}")
    (broken / run_folder.METRICS).write_text("half a line")
    ran: list[str] = []

    def train(config: Any, progress: Any = None) -> None:
        assert not Path(config.run_dir).exists()
        if config.teacher.startswith("file:"):
            assert "Corrupted" in file.load(config.teacher.removeprefix("file:"))["about"]
        experiment = next(one for one in every if one.config is config)
        ran.append(experiment.variant)
        write_run(experiment)

    monkeypatch.setattr("l4t_jax.api.train", train)
    alone = {"levels": 1000, "success": 1.0, "return": 0.9, "success_interval": [0.99, 1.0]}
    monkeypatch.setattr(reproduce, "teachers_alone", lambda *_: {"drawn": alone, "decided": alone})
    for _ in range(2):
        found = reproduce._reproduce(every, every, tmp_path, "")
    assert ran == ["ppo", "corrupt-1"]
    assert json.loads((tmp_path / "results.json").read_text()) == found
    assert (tmp_path / "table.md").is_file() and (tmp_path / "curves-DoorKey-5x5.png").is_file()


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    write_run(experiments(Command(out=str(tmp_path), tasks="DoorKey-5x5"))[0])
    other = experiments(Command(out=str(tmp_path), tasks="DoorKey-5x5", seeds=3))[0]
    with pytest.raises(errors.RunFolderError, match="--num-seeds 5, not 3; pass another --out"):
        reproduce.finished(other)


def test_a_run_from_before_a_setting_had_its_default_in_it(tmp_path: Path) -> None:
    """Before there was a warm-up no update had one; PPO alone has none today."""
    every = {one.variant: one for one in experiments(Command(out=str(tmp_path), tasks="DoorKey-5x5"))}
    for name in ("l4t", "ppo"):
        write_run(every[name])
        path = Path(str(every[name].config.run_dir)) / run_folder.CONFIG
        older = {key: value for key, value in run_folder.read(path).items() if not key.startswith("warmup")}
        files.write_json(path, older)
    with pytest.raises(errors.RunFolderError, match="was made with --warmup-updates 0, not 24; pass another --out"):
        reproduce.finished(every["l4t"])
    assert reproduce.finished(every["ppo"])


def test_differences_are_of_the_values_that_json_has_in_the_order_of_the_settings() -> None:
    now = dict(imports=(), price=(1, 2), greedy_share=0.125, warmup_updates=24, warmup_epochs=16, num_seeds=3)
    before = dict(num_seeds=5, price=[1, 2])
    assert reproduce.differences(before, now) == {
        "greedy_share": (None, 0.125), "warmup_updates": (0, 24), "warmup_epochs": (1, 16), "num_seeds": (5, 3),
    }  # fmt: skip
    assert reproduce.first_of({"greedy_share": (None, 0.125)}) == "--greedy-share unset, not 0.125"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--tasks", "DorKey"], "there is no task named 'DorKey'; did you mean DoorKey"),
        (["--only", "SimpleDoorKey-pop"], "there is no experiment 'SimpleDoorKey-pop'; did you mean SimpleDoorKey-ppo"),
        (["--seeds", "1"], "--seeds must be at least 2, not 1"),
        (["--qick"], "there is no option --qick; did you mean --quick"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and words in err and err.count("\n") == 1


def test_experiments_can_be_listed(capfd: pytest.CaptureFixture[str]) -> None:
    assert reproduce.main(["--list-experiments", "--json", "--tasks", ",".join(CORRUPTED)]) == 0
    names = json.loads(capfd.readouterr().out)["experiments"]
    assert names == [f"DoorKey-5x5-{name}" for name, one in VARIANTS.items() if one.group in ("compared", "corruption")]


@pytest.mark.slow
def test_quick_does_all_of_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert reproduce.main(["--quick", "--json", "--out", str(tmp_path)]) == 0
    found = json.loads(capfd.readouterr().out)
    assert {run["variant"] for run in found["runs"]} == set(reproduce.QUICK_VARIANTS)
    assert found["teachers"]["DoorKey-5x5"]["drawn"]["success"] > 0.9
    assert (tmp_path / "areas.png").is_file()


def test_the_table_of_the_pages_is_that_of_the_committed_results() -> None:
    root = Path(__file__).parents[2]
    found = json.loads((root / "benchmarks/results/reproduce/results.json").read_text())
    assert comparison.headline(found) in (root / "docs/results.md").read_text()
    assert comparison.markdown(found) == (root / "benchmarks/results/reproduce/table.md").read_text()
