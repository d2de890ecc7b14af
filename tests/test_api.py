"""Training and evaluating from Python: one tiny run, looked at from every side, and the refusals."""

import contextlib
import dataclasses
import json
import math
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

import l4t_jax
from l4t_jax import api, commandline, errors, files, run
from l4t_jax.abstraction import symbolic
from l4t_jax.config import Config, ConfigError
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.levels import heldout_levels
from l4t_jax.errors import UnknownTask
from l4t_jax.reporting import run_folder
from l4t_jax.reporting.progress import Progress
from l4t_jax.teacher import backends, grammar, live
from l4t_jax.teacher import file as teacher_file
from l4t_jax.teacher import recording as asking
from l4t_jax.teacher.backends import BackendError, register_backend
from l4t_jax.teacher.file import TeacherFileError
from l4t_jax.teacher.grammar import write_plan
from l4t_jax.training import checkpoint, compilation
from l4t_jax.training.best import BestParams

TINY = Config(
    env="DoorKey", num_seeds=2, num_envs=8, num_steps=16, total_steps=8 * 16 * 5, evaluations=3, minibatches=2,
    hidden=16, validation_levels=16, heldout_levels=24, level_pool=32,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """These tests run the same programs again and again: keep them, for as long as the tests run."""
    before = jax.config.jax_enable_compilation_cache, jax.config.jax_compilation_cache_dir
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("programs")))
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_enable_compilation_cache", before[0])
    jax.config.update("jax_compilation_cache_dir", before[1])
    compilation_cache.reset_cache()


class Spy(Progress):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.began: list[Any] = []
        self.records: list[dict[str, Any]] = []
        self.closed = 0

    def phase(self, words: str) -> None:
        self.phases.append(words)

    def begin(self, total_steps: int, teacher: float | None, run_dir: str) -> None:
        self.began.append((total_steps, teacher, run_dir))

    def evaluated(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def close(self) -> None:
        self.closed += 1


EARNED: list[Any] = []  # the students' parameters at each evaluation of `tiny`
# What its choice of best parameters was told: seed 0 does best in the second block, seed 1 in the first.
TOLD = [([0.1, 0.9], [0.0, 0.9]), ([0.7, 0.9], [0.0, 0.8]), ([0.7, 0.2], [0.0, 0.9])]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[api.Result, Spy]:
    """One run of `TINY`."""
    spy = Spy()
    keep = BestParams.keep

    def told(self: BestParams, params: Any, validation: dict[str, list[float]]) -> None:
        success, reward = TOLD[len(EARNED)]
        EARNED.append(params)
        keep(self, params, {"success": success, "return": reward})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BestParams, "keep", told)
        patch.setattr("wandb.init", None)  # not touched unless asked for
        folder = tmp_path_factory.mktemp("run") / "tiny"
        return l4t_jax.train(TINY, progress=spy, run_dir=str(folder)), spy


def lines(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


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
        "steps_to_success",
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
        assert set(line) == {"steps", "updates", "train", "validation", "time"}
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


def test_evaluating_again_gives_the_numbers_of_the_summary(tiny: tuple[api.Result, Spy]) -> None:
    result, _ = tiny
    found = l4t_jax.evaluate(result.run_dir)
    student = result.summary["heldout"]["student"]
    assert found["levels"] == 24
    assert found["seeds"] == {name: student[name] for name in ("success", "return", "length")}
    assert found["greedy"] == student["greedy"]
    for name in ("success", "return", "length"):
        assert found[name] == pytest.approx(np.mean(student[name]))
        assert found["intervals"][name][0] <= found[name] <= found["intervals"][name][1]


def test_fewer_levels_are_the_first_ones(tiny: tuple[api.Result, Spy]) -> None:
    found = l4t_jax.evaluate(tiny[0].run_dir, levels=16)
    heldout = tiny[0].heldout["student"]
    assert found["seeds"]["length"] == pytest.approx(heldout.length[:, :16].mean(axis=1).tolist())
    assert found["seeds"]["success"] == pytest.approx(heldout.success[:, :16].mean(axis=1).tolist())


def test_the_last_checkpoint_is_what_the_run_ended_with(tiny: tuple[api.Result, Spy]) -> None:
    result, _ = tiny
    jax.tree.map(np.testing.assert_array_equal, checkpoint.restore_params(result.run_dir, "last"), result.params)


def test_the_best_checkpoint_holds_the_parameters_that_earned_it(tiny: tuple[api.Result, Spy]) -> None:
    best = checkpoint.restore_params(tiny[0].run_dir, "best")
    for leaf, first, second in zip(*(jax.tree.leaves(tree) for tree in (best, EARNED[0], EARNED[1])), strict=True):
        np.testing.assert_array_equal(leaf[0], second[0])
        np.testing.assert_array_equal(leaf[1], first[1])
    assert any(np.any(a[0] != b[0]) for a, b in zip(jax.tree.leaves(best), jax.tree.leaves(EARNED[0]), strict=True))


def test_the_saved_student_acts_as_it_was_evaluated(tiny: tuple[api.Result, Spy]) -> None:
    """Greedy play through `load_student` on the first held-out levels takes as many steps as the evaluation says."""
    from l4t_jax.envs import observe
    from l4t_jax.envs.state import as_observation
    from l4t_jax.training.trainer import Trainer

    result, _ = tiny
    student = l4t_jax.load_student(result.run_dir, seed=1)
    trainer = Trainer.create(result.config)
    level = jax.tree.map(lambda leaf: leaf[3], jax.jit(lambda: heldout_levels(trainer.env, 32, "test"))())
    move = jax.jit(trainer.env.transition)
    know = jax.jit(lambda env_state: as_observation(observe(env_state)))
    length, reward, done = 0, 0.0, False
    while not done:
        level, gained, terminated, truncated = move(level, length, student.act(know(level)))
        length, reward, done = length + 1, reward + float(gained), bool(terminated | truncated)
    heldout = result.heldout["student, greedy"]
    assert length == heldout.length[1, 3]
    assert reward == pytest.approx(float(heldout.reward[1, 3]))


def test_a_loaded_student_draws_with_a_key_and_checks_the_shape(tiny: tuple[api.Result, Spy]) -> None:
    student = l4t_jax.load_student(tiny[0].run_dir)
    observation = np.full((student.task.width, student.task.height, 4), 4, np.uint8)
    observation[..., :3] = (1, 0, 0)
    observation[2, 2, 3] = 0
    drawn = {student.act(observation, jax.random.key(i)) for i in range(40)}
    assert len(drawn) > 1 and drawn <= set(range(NUM_ACTIONS))
    with pytest.raises(ValueError, match="has shape"):
        student.act(observation[:-1])
    with pytest.raises(ConfigError, match="there is no 2"):
        l4t_jax.load_student(tiny[0].run_dir, seed=2)


def test_ppo_runs_without_a_teacher(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, algo="ppo", run_dir=str(tmp_path / "ppo"))
    result = l4t_jax.train(config)
    assert result.summary["teacher"] == "none"
    assert result.summary["heldout"]["teacher"] is None
    assert all(line["train"]["distill_weight"] == 0 for line in lines(result.run_dir))
    names = {path.name for path in result.run_dir.iterdir()}
    assert not names & {"teacher.gif", "teacher.json"} and "student.gif" in names


# Stopping and going on


class Stopper(Progress):
    """Raises a signal after so many evaluations, and keeps the notices."""

    def __init__(self, number: int | None = None, after: int = 1, times: int = 1) -> None:
        self.number, self.after, self.times = number, after, times
        self.notices: list[str] = []

    def evaluated(self, record: dict[str, Any]) -> None:
        self.after -= 1
        if self.number is not None and self.after == 0:
            for _ in range(self.times):
                signal.raise_signal(self.number)

    def notice(self, words: str) -> None:
        self.notices.append(words)


def timeless(run_dir: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "time"} for line in lines(run_dir)]


def stopped(folder: Path, number: int = signal.SIGINT, after: int = 1, **settings: Any) -> str:
    """Starts a run of `TINY` and stops it; what it says."""
    with pytest.raises(errors.Interrupted) as error:
        l4t_jax.train(TINY, run_dir=str(folder), progress=Stopper(number, after), **settings)
    assert error.value.code == 128 + number
    return str(error.value)


def same_run(folder: Path, unbroken: Path) -> None:
    """Whole checkpoints, metrics and held-out results agree to the last bit."""
    assert timeless(folder) == timeless(unbroken)
    assert run_folder.read(folder / "summary.json")["heldout"] == run_folder.read(unbroken / "summary.json")["heldout"]
    for which in ("last", "best"):
        jax.tree.map(
            np.testing.assert_array_equal,
            checkpoint.restore_params(folder, which),
            checkpoint.restore_params(unbroken, which),
        )


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of `TINY` that nothing disturbed."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    l4t_jax.train(TINY, run_dir=str(folder))
    return folder


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
    assert heard.notices == ["going on after 256 of 640 steps"]
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
    from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore

    folder = tmp_path / "run"
    stopped(folder, after=2, save_every=0)
    shutil.rmtree(folder / "checkpoints" / "3")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"steps": 51')
    l4t_jax.train(resume=folder)
    same_run(folder, unbroken)
    events = sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime)
    assert len(events) == 2
    data, at, found = events[-1].read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        found.append(Event.FromString(data[at + 12 : at + 12 + length]))
        at += length + 16
    starts = [event.step for event in found if event.session_log.status == SessionLog.START]
    assert starts == [257]  # TensorBoard drops what older files say from here on
    assert min(event.step for event in found if event.summary.value) == 384


def test_options_that_contradict_the_run_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stopped(folder)
    for settings in (dict(seed=1), dict(num_envs=16), dict(run_dir=str(tmp_path)), dict(env="LavaDoorKey")):
        ((name, value),) = settings.items()
        with pytest.raises(ConfigError) as error:
            l4t_jax.train(resume=folder, **settings)
        assert str(error.value).startswith(f"`{name}={value}` contradicts the run in {folder}")
        assert "`save_every` and `devices` and `wandb` may change" in str(error.value)
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


# Faults: docs/faults.md says of each what happens and what is lost


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    said: list[str] = []

    class Second(Progress):
        def evaluated(self, record: dict[str, Any]) -> None:
            for how in (dict(resume=folder), dict(config=TINY, run_dir=str(folder))):
                with pytest.raises(errors.RunFolderError) as error:
                    l4t_jax.train(**how)
                said.append(str(error.value))

    l4t_jax.train(TINY, run_dir=str(folder), progress=Second())
    assert f"is in use by process {os.getpid()}" in said[0]
    assert "is not empty" in said[1]
    (folder / run_folder.LOCK).write_text("process 1, which was killed")  # nobody holds it
    assert l4t_jax.train(resume=folder).summary["total_steps"] == 640


def test_the_lock_of_a_dead_process_does_not_hold(tmp_path: Path) -> None:
    code = "import sys, os, pathlib; from l4t_jax.reporting.run_folder import Lock; "
    code += "lock = Lock(pathlib.Path(sys.argv[1])); "
    dead = [sys.executable, "-c", code + "os.kill(os.getpid(), 9)", str(tmp_path)]
    assert subprocess.run(dead, env=os.environ, timeout=120).returncode == -signal.SIGKILL
    assert (tmp_path / run_folder.LOCK).is_file()
    held = run_folder.Lock(tmp_path)
    alive = [sys.executable, "-c", code, str(tmp_path)]
    refused = subprocess.run(alive, env=os.environ, timeout=120, capture_output=True, text=True)
    assert refused.returncode != 0 and f"in use by process {os.getpid()}" in refused.stderr
    held.release()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["loss", pytest.param("params", marks=pytest.mark.slow)])
def test_a_number_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(
    where: str, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 1 goes wrong in the third of five updates, the second block."""
    compile_all = compilation.compile_all
    folder = tmp_path / "run"

    def poisoned(made: dict[str, Any]) -> dict[str, Any]:
        compiled = compile_all(made)
        block = compiled["block"]

        def bad(state: Any, table: Any, count: Any) -> Any:
            begin = int(state.updates)
            state, values = block(state, table, count)
            if begin == 2:
                if where == "loss":
                    values = {**values, "loss": values["loss"].at[1, 0].set(jnp.nan)}
                else:
                    state = state.replace(params=jax.tree.map(lambda x: x.at[1].set(jnp.inf), state.params))
            return state, values

        bad.memory_analysis = block.memory_analysis
        return {**compiled, "block": bad}

    monkeypatch.setattr(compilation, "compile_all", poisoned)
    with pytest.raises(errors.Diverged) as error:
        l4t_jax.train(TINY, run_dir=str(folder))
    words = "at update 3: loss is nan" if where == "loss" else "by update 3: not all parameters are finite"
    assert words in str(error.value) and "(seed 1 of 2, counted from 0)" in str(error.value)
    assert f"the last good state, after 2 updates, is saved in {folder}" in str(error.value)
    assert isinstance(error.value, errors.Refusal)
    assert timeless(folder) == timeless(unbroken)[:1]
    monkeypatch.undo()
    assert 0 < l4t_jax.evaluate(folder)["length"] <= 150
    # With the mistake mended (here: our own), the kept state goes on to where it would have come.
    l4t_jax.train(resume=folder)
    same_run(folder, unbroken)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system in memory with too little room for a run, mounted at `folder`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def can_mount() -> bool:
    quiet = contextlib.suppress(OSError, subprocess.CalledProcessError)
    with quiet, tempfile.TemporaryDirectory() as folder, small_disk(Path(folder) / "disk"):
        return True
    return False


@contextlib.contextmanager
def small_files(folder: Path) -> Iterator[None]:
    """No file may grow beyond 8 kB: what a full disk comes to where nothing can be mounted."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(
    "full", [pytest.param(small_disk, id="tmpfs"), pytest.param(small_files, id="limit", marks=pytest.mark.slow)]
)
def test_a_full_disk_ends_in_a_sentence_and_the_run_goes_on_when_there_is_room(
    full: Any, unbroken: Path, tmp_path: Path
) -> None:
    if full is small_disk and not can_mount():
        return  # the other case says it too
    folder = tmp_path / "disk" / "run"
    with full(tmp_path / "disk"):
        with pytest.raises((errors.RunFolderError, errors.CheckpointError)) as error:
            l4t_jax.train(TINY, run_dir=str(folder), save_every=0)
        words = str(error.value)
        assert ("No space left on device" if full is small_disk else "File too large") in words, words
        assert "cannot be written" in words and f"`train(resume='{folder}')` goes on" in words and "\n" not in words
        shutil.copytree(folder, tmp_path / "moved")  # to a disk with room
    l4t_jax.train(resume=tmp_path / "moved")
    same_run(tmp_path / "moved", unbroken)


@contextlib.contextmanager
def nobody() -> Iterator[Path]:
    """A folder that this process may read but not write, even when the tests run as root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "closed").mkdir(mode=0o555)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            yield folder / "closed"
        finally:
            os.seteuid(before)
            (folder / "closed").chmod(0o755)


def test_a_folder_that_may_not_be_written_is_refused_before_any_work() -> None:
    with nobody() as folder:
        for run_dir in (folder, folder / "run"):
            spy = Spy()
            with pytest.raises(errors.RunFolderError, match="Permission denied") as error:
                l4t_jax.train(TINY, run_dir=str(run_dir), progress=spy)
            assert str(run_dir) in str(error.value) and spy.phases == []


def test_a_run_in_a_read_only_folder_is_not_resumed_but_evaluated(tmp_path: Path) -> None:
    stopped(tmp_path / "run")
    with nobody() as folder:
        before = os.geteuid()
        os.seteuid(os.getuid())
        folder.chmod(0o755)
        shutil.copytree(tmp_path / "run", folder / "run")
        (folder / "run").chmod(0o555)
        os.seteuid(before)
        with pytest.raises(errors.RunFolderError, match=r"run cannot be written: Permission denied"):
            l4t_jax.train(resume=folder / "run")
        assert l4t_jax.evaluate(folder / "run")["levels"] == 24
        os.seteuid(os.getuid())
        (folder / "run").chmod(0o755)


def test_an_infinite_learning_rate_is_refused(tmp_path: Path) -> None:
    for bad in (math.inf, math.nan):
        with pytest.raises(ConfigError, match="`learning_rate` must be a number of at most"):
            l4t_jax.train(TINY, learning_rate=bad, run_dir=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


# Refusals


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads resident memory from /proc")
def test_memory_is_flat_over_a_thousand_blocks(tmp_path: Path) -> None:
    class Memory(Progress):
        def __init__(self) -> None:
            self.held: list[tuple[int, int]] = []

        def evaluated(self, record: dict[str, Any]) -> None:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
            self.held.append((resident, len(jax.live_arrays())))

    memory = Memory()
    longer = dataclasses.replace(
        TINY, num_seeds=1, total_steps=8 * 16 * 1000, evaluations=1000, validation_levels=8, heldout_levels=8
    )
    l4t_jax.train(longer, progress=memory, run_dir=str(tmp_path / "run"))
    resident, arrays = zip(*memory.held, strict=True)
    assert len(resident) == 1000 and set(arrays[2:]) == {arrays[2]}
    assert max(resident[200:]) < 1.05 * resident[200]  # a leak of 0.1 MB a block would be 10 %


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        (dict(env="DorKey"), UnknownTask, "DoorKey"),
        (
            dict(teacher="shiped"),
            BackendError,
            "must be shipped, none, transformers:MODEL, openai:MODEL, file:PATH, not",
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


def test_a_student_for_other_maps_cannot_play(tiny: tuple[api.Result, Spy]) -> None:
    with pytest.raises(ConfigError, match="cannot play ColoredDoorKey"):
        l4t_jax.evaluate(tiny[0].run_dir, env="ColoredDoorKey")


@pytest.mark.parametrize("make", [lambda path: path, lambda path: (path / "config.json").write_text("{}") and path])
def test_a_folder_that_is_no_run_is_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(errors.Refusal):
        l4t_jax.evaluate(make(tmp_path))


# --- An LLM as the teacher ----------------------------------------------------------------------------------------
# It answers with the plans of the task's own file, so the table has the shape of `tiny`'s and nothing compiles again.

TASK = get_task("DoorKey")
SHIPPED = teacher_file.shipped(TASK)
SAYS = {
    symbolic.Symbolic(tuple(state["sees"]), state["holds"]).sentence: [
        write_plan(tuple(step) for step in plan["skills"])
        for plan in state["plans"]
        for _ in range(round(plan["p"] * 50))
    ]
    for state in SHIPPED["states"]
}


class LLM:
    """Knows its answers, and what it was asked; is out of order so many times at first."""

    scores, constrains = False, False

    def __init__(self, broken: int = 0) -> None:
        self.identity: dict[str, Any] = {"backend": "llm", "model": "llm"}
        self.asked: list[str] = []
        self.broken = broken

    def sample(self, request: Any, numbers: Any) -> Iterator[tuple[int, str]]:
        if self.broken:
            self.broken -= 1
            raise BackendError("the LLM is out of order")
        self.asked.append(request.state.sentence)
        for number in numbers:
            yield number, SAYS[request.state.sentence][number]


class Listener(Spy):
    """Keeps the notices too, and how often the LLM had been asked when training began."""

    def __init__(self, llm: LLM) -> None:
        super().__init__()
        self.llm, self.before = llm, -1
        self.notices: list[str] = []

    def notice(self, words: str) -> None:
        self.notices.append(words)

    def begin(self, total_steps: int, teacher: float | None, run_dir: str) -> None:
        super().begin(total_steps, teacher, run_dir)
        self.before = len(self.llm.asked)


@pytest.fixture
def taught(tmp_path: Path) -> Iterator[Callable[..., tuple[api.Result, Listener]]]:
    """Trains under an `LLM`."""

    def train(llm: LLM, **settings: Any) -> tuple[api.Result, Listener]:
        register_backend("llm", lambda name, task, options: llm)
        spy = Listener(llm)
        more = dict(cache=str(tmp_path / "cache"), run_dir=str(tmp_path / "run")) | settings
        return l4t_jax.train(TINY, progress=spy, teacher="llm:x", samples=50, **more), spy

    yield train
    backends._OPENERS.pop("llm", None)


def unguided(result: api.Result) -> list[float]:
    return [max(record["train"]["unguided"]) for record in result.records]


def test_a_table_with_a_hole_is_not_taken_for_complete(
    taught: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = grammar.situations
    monkeypatch.setattr(asking, "situations", lambda task, states=None: listed(task, states)[1:])
    with pytest.raises(BackendError, match="was not asked for Agent sees <nothing>, holds <nothing>"):
        taught(LLM())
    assert not (tmp_path / "run").exists()


def test_states_of_a_task_too_rich_to_list_are_asked_for_once_they_were_met(
    taught: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar, "MOST_STATES", 4)
    monkeypatch.setattr(live, "MOST_PLANS", 6)  # the shape of `tiny`'s table
    monkeypatch.setattr(live, "MOST_STEPS", 4)
    llm = LLM(broken=1)
    result, spy = taught(llm, distill_fall=1.0, distill_off=1.0)
    assert spy.before == 0 and spy.began[0][1] is None
    # Nothing is known in the first block, and the first asking fails: that costs the second its guidance, no more.
    assert unguided(result)[:2] == [1, 1] and unguided(result)[2] < 0.5
    assert any("no guidance yet where Agent sees <nothing>, holds <nothing>. the LLM" in one for one in spy.notices)
    content = teacher_file.load(result.run_dir / "teacher.json")
    assert {symbolic.Symbolic(tuple(s["sees"]), s["holds"]).sentence for s in content["states"]} == set(llm.asked)
    assert len(llm.asked) == len(set(llm.asked)) >= 2
    assert result.summary["teacher"] == "llm:x (asked while training)"
    assert result.summary["heldout"]["teacher"]["success"] > 0.5
    assert all(set(record["train"]) == set(result.records[0]["train"]) for record in result.records)


def test_a_server_is_asked_for_all_states_before_training_and_its_key_is_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server says the key in every answer."""
    key = "sk-test-0123456789abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    seen: list[str] = []
    training: list[bool] = []

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(self.headers["Authorization"])
            training.append((tmp_path / "run").exists())
            plan = SAYS[body["messages"][-1]["content"]][body["seed"]]
            answer = {"choices": [{"message": {"content": f"{plan}\nYour key is {seen[-1]}."}}], "key": seen[-1]}
            raw = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        settings = dict(
            teacher="openai:small", base_url=f"http://127.0.0.1:{server.server_address[1]}/v1", samples=50,
            cache=tmp_path / "cache", run_dir=tmp_path / "run",
        )  # fmt: skip
        tiny = {name: value for name, value in dataclasses.asdict(TINY).items() if value != getattr(Config(), name)}
        words = [f"{commandline.flag(name)}={value}" for name, value in (tiny | settings).items()]
        assert run.main([*words, "--json"]) == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert len(seen) == 6 * 50 and set(seen) == {f"Bearer {key}"} and not any(training)
    out, err = capfd.readouterr()
    assert json.loads(out)["teacher"] == "openai:small (llm)"
    assert key not in out + err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"config.json", "summary.json", "teacher.json"} <= {path.name for path in files}
    assert all(key.encode() not in path.read_bytes() for path in files)
    assert "Bearer [key]" in "".join(path.read_text() for path in (tmp_path / "cache").rglob("0*.json"))
    assert "[6/6] Agent sees" in err
    content = teacher_file.load(tmp_path / "run" / "teacher.json")
    assert (content["made"], content["source"]["samples"]) == ("llm", 50)
    plans = [[(plan["p"], plan["skills"]) for plan in state["plans"]] for state in content["states"]]
    assert sorted(plans) == sorted([(p["p"], p["skills"]) for p in s["plans"]] for s in SHIPPED["states"])
    assert lines(tmp_path / "run")[0]["train"]["unguided"] == [0, 0]
