"""Runs as processes: killed at random moments and resumed, told to stop, and what they say.

The full tier, `python -m pytest -m slow tests/test_resume.py`, kills each student's run 20 times and watches the memory
of a run for 15 minutes. A process is forked from one that has imported what is slow to import, but has not started JAX.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from reporting import reported

from l4t_jax.reporting import run_folder
from l4t_jax.training import checkpoint

SLOW_IMPORTS = [
    "jax", "flax", "optax", "chex", "orbax.checkpoint", "matplotlib.pyplot", "wandb", "distrax", "rlax", "rich", "tyro",
    "tensorflow_probability.substrates.jax", "tensorboardX", "PIL",
]  # fmt: skip
SIZES = [
    "--env=DoorKey", "--num-envs=8", "--num-steps=16", "--evaluations=40", "--minibatches=2", "--hidden=16",
    "--validation-levels=16", "--heldout-levels=24", "--level-pool=32", "--save-every=0",
]  # fmt: skip
TRAINING = "training for "  # the line with which a run says that training begins


def child(argv: list[str], log: str, programs: str) -> None:
    """What a forked process does: the command, with the compiled programs of the others."""
    os.setpgid(0, 0)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    import jax

    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", programs)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    from l4t_jax.run import main

    sys.exit(main(argv))


class Runner:
    """Starts runs as processes.

    Args:
        folder: for logs and compiled programs.
    """

    def __init__(self, folder: Path) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(SLOW_IMPORTS)
        self._folder, self._number = folder, 0
        self.processes: list[Any] = []

    def start(self, *argv: str) -> tuple[Any, Path]:
        """A process that runs the command, and the file of what it says."""
        self._number += 1
        log = self._folder / f"{self._number}.log"
        log.touch()
        process = self._context.Process(target=child, args=(list(argv), str(log), str(self._folder / "programs")))
        process.start()
        self.processes.append(process)
        return process, log

    def finish(self, *argv: str) -> str:
        """Runs the command to its end; what it says."""
        process, log = self.start(*argv)
        process.join(600)
        assert process.exitcode == 0, log.read_text()
        return log.read_text()


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    made = Runner(tmp_path_factory.mktemp("runs"))
    yield made
    for process in made.processes:
        if process.is_alive():
            process.kill()


def wait_for(process: Any, log: Path, words: str) -> None:
    until = time.monotonic() + 600
    while words not in log.read_text():
        assert process.is_alive() or words in log.read_text(), log.read_text()
        assert time.monotonic() < until
        time.sleep(0.005)


def content(run_dir: Path) -> dict[str, Any]:
    """All that must not depend on how often a run was stopped."""
    lines = [json.loads(line) for line in (run_dir / run_folder.METRICS).read_text().splitlines()]
    newest = max((run_dir / checkpoint.FOLDER).iterdir(), key=lambda path: int(path.name))
    host = json.loads((newest / "host.json").read_text())
    written = {path.name: path.stat().st_mtime_ns for path in run_dir.iterdir() if path.is_file()}
    others = [path for name, path in written.items() if not name.startswith(("events.out", run_folder.SUMMARY))]
    assert max(others) <= written[run_folder.SUMMARY]  # it says that the run is finished, so it is written last
    return dict(
        metrics=[{name: value for name, value in line.items() if name != "time"} for line in lines],
        arrays=checkpoint._arrays(newest),
        best=host["best"],
        teacher=host["teacher_hash"],
        heldout=run_folder.read(run_dir / run_folder.SUMMARY)["heldout"],
        files=sorted(path.name for path in run_dir.iterdir() if not path.name.startswith("events.out")),
    )


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Equal, arrays to the last bit."""
    assert found.keys() == wanted.keys()
    for name in found.keys() - {"arrays"}:
        assert found[name] == wanted[name], name
    assert jax.tree.structure(found["arrays"]) == jax.tree.structure(wanted["arrays"])
    for a, b in zip(jax.tree.leaves(found["arrays"]), jax.tree.leaves(wanted["arrays"]), strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


def kill_and_resume(
    runner: Runner, student: str, updates: int, kills: int, rng: np.random.Generator, tmp_path: Path
) -> dict[str, Any]:
    """Kills runs at random moments until so many kills hit; each run that gets to its end must equal an unbroken one.

    A quarter of the moments lie anywhere from the start of the process on, the others after training has begun (or
    begun again), so far after as lets a run survive about as many kills as were asked for.
    """
    argv = [*SIZES, f"--student={student}", f"--total-steps={updates * 128}"]
    whole = tmp_path / "unbroken"
    runner.finish(*argv, f"--run-dir={whole}")  # compiles
    began = time.monotonic()
    process, log = runner.start(*argv, f"--run-dir={tmp_path / 'timed'}")
    wait_for(process, log, TRAINING)
    startup = time.monotonic() - began
    process.join(600)
    training = time.monotonic() - began - startup
    wanted = content(whole)
    same(content(tmp_path / "timed"), wanted)

    found: dict[str, Any] = dict(student=student, kills=0, runs=0, before_training=0, updates_when_killed=[])
    while found["kills"] < kills:
        folder = tmp_path / f"killed-{found['runs']}"
        while not (folder / run_folder.SUMMARY).is_file():
            fresh = not (folder / run_folder.CONFIG).is_file()
            process, log = runner.start(*([*argv, f"--run-dir={folder}"] if fresh else [f"--resume={folder}"]))
            if found["kills"] < kills:
                if rng.random() < 0.25:
                    process.join(rng.uniform(0, startup))
                else:
                    wait_for(process, log, TRAINING)
                    process.join(rng.uniform(0, 2 * training / max(kills, 4)))
                if process.is_alive():
                    process.kill()
                    process.join()
                    assert process.exitcode == -signal.SIGKILL
                    found["kills"] += 1
                    found["before_training"] += TRAINING not in log.read_text()
                    lines = (folder / run_folder.METRICS).read_text() if (folder / run_folder.METRICS).is_file() else ""
                    found["updates_when_killed"].append(lines.count("\n"))
                    continue
            process.join(600)
            assert process.exitcode == 0, log.read_text()
        found["runs"] += 1
        same(content(folder), wanted)
    return found


def test_a_run_killed_at_a_random_moment_comes_to_the_same_end(runner: Runner, tmp_path: Path) -> None:
    rng = np.random.default_rng()  # another moment every time: whatever it is, it must hold
    assert kill_and_resume(runner, "ego", 20, 1, rng, tmp_path)["kills"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("student", ["ego", "lstm", "gru"])
def test_twenty_kills_change_no_bit(student: str, runner: Runner, tmp_path: Path) -> None:
    found = kill_and_resume(runner, student, 40, 20, np.random.default_rng(), tmp_path)
    with reported(f"kills-{student}", found):
        assert found["kills"] == 20 and found["runs"] >= 1


@pytest.mark.slow  # within a process: test_stopping.py
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_process_told_to_stop_says_how_to_go_on(number: int, code: int, runner: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process, log = runner.start(*SIZES, "--student=ego", "--total-steps=1e6", f"--run-dir={folder}")
    wait_for(process, log, TRAINING)
    while not (folder / run_folder.METRICS).is_file() or not (folder / run_folder.METRICS).stat().st_size:
        time.sleep(0.01)
    os.kill(process.pid, number)
    process.join(300)
    said = log.read_text()
    assert process.exitcode == code
    assert f"`python -m l4t_jax.run --resume {folder}` goes on" in said and "Traceback" not in said
    assert checkpoint.restore_params(folder)


def memory(pid: int) -> tuple[int, int]:
    """Bytes of a process that are in memory, and of those its own: anonymous, with what was swapped out.

    The others are pages of files, its libraries above all, which a system short of memory drops and reads again.
    """
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    kb = {words[0]: int(words[1]) for words in lines if words[0] in ("VmRSS:", "RssAnon:", "VmSwap:")}
    return 1024 * kb["VmRSS:"], 1024 * (kb["RssAnon:"] + kb.get("VmSwap:", 0))


def soak(start: Callable[[], tuple[Any, Path]], minutes: float) -> np.ndarray:
    """Seconds since training began, resident bytes and own bytes of a run: a row a second."""
    process, log = start()
    wait_for(process, log, TRAINING)
    began, found = time.monotonic(), []
    while time.monotonic() - began < 60 * minutes:
        assert process.is_alive(), log.read_text()
        found.append((time.monotonic() - began, *memory(process.pid)))
        time.sleep(1)
    process.kill()
    process.join()
    return np.asarray(found)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads resident memory from /proc")
def test_memory_stays_flat_over_fifteen_minutes(runner: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    found = soak(
        lambda: runner.start(
            "--env=DoorKey", "--total-steps=1e9", "--evaluations=50000", "--save-every=5", f"--run-dir={folder}"
        ),
        float(os.environ.get("L4T_SOAK_MINUTES", "15")),
    )
    lines = (folder / run_folder.METRICS).read_text().splitlines()
    seconds, sizes = found[:, 0], found[:, 1:] / 1e6
    later = sizes[seconds > 60]
    each_minute = sizes[np.searchsorted(seconds, np.arange(60, seconds[-1], 60))]
    result = dict(minutes=seconds[-1] / 60, evaluations=len(lines), steps=json.loads(lines[-1])["steps"])
    for name, column in (("resident", 0), ("own", 1)):
        size = later[:, column]
        result[name] = dict(
            mb_after_a_minute=size[0], mb_most=size.max(), mb_last=size[-1],
            mb_each_minute=each_minute[:, column].round().tolist(),
        )  # fmt: skip
    with reported("soak", result):
        assert (later.max(axis=0) <= 1.05 * later[0]).all() and len(lines) > 100
        # What compiling had taken is given back at some moment; nor does it grow again from there.
        resident = each_minute[:, 0]
        assert (resident <= 1.05 * np.minimum.accumulate(resident)).all()
