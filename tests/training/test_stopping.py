"""Runs that are stopped and go on: signals, resuming, and what may not change."""

import shutil
import signal
from pathlib import Path

import pytest
from small_runs import TINY, Stopper, events, lines, same_run, stopped

import l4t_jax
from l4t_jax import errors, files
from l4t_jax.config import Config, ConfigError
from l4t_jax.reporting import run_folder
from l4t_jax.reporting.progress import Progress

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_stops_after_a_block_and_the_run_goes_on_to_the_same_end(
    number: int, unbroken: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "my run"
    before = signal.getsignal(number)
    words = stopped(folder, number)
    assert signal.getsignal(number) == before
    assert words.startswith("stopped after 256 of 640 steps") and f"`train(resume='{folder}')` goes on" in words
    assert not (folder / "summary.json").exists() and not (folder / run_folder.LOCK).exists()
    assert len(lines(folder)) == 1
    heard = Stopper()
    result = l4t_jax.train(resume=folder, progress=heard)
    assert heard.notices[0] == "going on after 256 of 640 steps"
    assert all(said.startswith("half-way: ") for said in heard.notices[1:])
    assert result.records == lines(folder) and result.summary["teacher"] == "shipped (recorded)"
    same_run(folder, unbroken)
    # It is finished now: said, and nothing is done.
    left = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = l4t_jax.train(resume=folder, progress=heard)
    assert "is finished" in heard.notices[-1] and again.summary == result.summary and again.records == result.records
    assert left == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_the_second_signal_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(errors.Interrupted, match="stopped at once") as error:
        l4t_jax.train(TINY, run_dir=str(tmp_path / "run"), progress=Stopper(signal.SIGTERM, 1, times=2))
    assert error.value.code == 143
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_signal_before_training_leaves_no_folder(tmp_path: Path) -> None:
    class Early(Progress):
        def phase(self, words: str) -> None:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(errors.Interrupted, match="before training began"):
        l4t_jax.train(TINY, run_dir=str(tmp_path / "run"), progress=Early())
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_checkpoint_starts_from_its_start_and_says_so(unbroken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stopped(folder)
    shutil.rmtree(folder / "checkpoints")
    (folder / "teacher.json").unlink()  # killed that early
    heard = Stopper()
    l4t_jax.train(resume=folder, progress=heard)
    assert "has no checkpoint to go on from: starting from the first update" in heard.notices[0]
    same_run(folder, unbroken)


def test_lines_and_events_after_the_checkpoint_do_not_count(unbroken: Path, tmp_path: Path) -> None:
    """A killed run has written more than its checkpoint knows."""
    from tensorboardX.proto.event_pb2 import SessionLog  # pyright: ignore

    folder = tmp_path / "run"
    stopped(folder, after=2, save_every=0)
    shutil.rmtree(folder / "checkpoints" / "3")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"steps": 51')
    l4t_jax.train(resume=folder)
    same_run(folder, unbroken)
    written = sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime)
    assert len(written) == 2
    found = events(written[-1])
    starts = [event.step for event in found if event.session_log.status == SessionLog.START]
    assert starts == [257]  # TensorBoard drops what older files say from here on
    curves = [event.step for event in found if any(value.HasField("simple_value") for value in event.summary.value)]
    assert min(curves) == 384


def test_options_that_contradict_the_run_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stopped(folder)
    for settings in (dict(seed=1), dict(num_envs=16), dict(run_dir=str(tmp_path)), dict(env="LavaDoorKey")):
        ((name, value),) = settings.items()
        with pytest.raises(ConfigError) as error:
            l4t_jax.train(resume=folder, **settings)
        assert str(error.value).startswith(f"`{name}={value}` contradicts the run in {folder}")
        assert "`save_every`, `devices`, `wandb`, `price`, `max_calls` and `max_cost` may change" in str(error.value)
    with pytest.raises(ConfigError, match="contradicts"):
        l4t_jax.train(Config(seed=1), resume=folder)
    with pytest.raises(ConfigError, match="there is no setting 'sed'"):
        l4t_jax.train(resume=folder, sed=1)
    same = dict(env="DoorKey", seed=0, num_envs=8, learning_rate=2e-3, run_dir=str(folder))  # what it has already
    assert l4t_jax.train(resume=folder, save_every=0, **same).summary["total_steps"] == 640


def test_another_teacher_file_is_refused_and_a_missing_one_comes_from_the_checkpoint(
    unbroken: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    stopped(folder)
    path = folder / "teacher.json"
    content = run_folder.read(path)
    files.write_json(path, {**content, "about": "another"})
    with pytest.raises(errors.RunFolderError, match="is not the teacher that this run learned from"):
        l4t_jax.train(resume=folder)
    path.unlink()
    heard = Stopper()
    l4t_jax.train(resume=folder, progress=heard)
    assert f"{path} is missing: the checkpoint's copy is used" in heard.notices
    assert run_folder.read(path) == content
    same_run(folder, unbroken)
