"""Faults while a run goes on: docs/faults.md says of each what happens and what is lost."""

import contextlib
import dataclasses
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import TINY, Spy, same_run, stopped, timeless

import l4t_jax
from l4t_jax import errors
from l4t_jax.reporting import run_folder
from l4t_jax.reporting.progress import Progress
from l4t_jax.training import checkpoint, compilation

pytestmark = pytest.mark.usefixtures("compiled_once")


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

    def poisoned(made: dict[str, Any], **how: Any) -> dict[str, Any]:
        compiled = compile_all(made, **how)
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
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(checkpoint.restore_params(folder, "last")))
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


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads resident memory from /proc")
@pytest.mark.slow
@pytest.mark.parametrize("blocks", [300, 1000])
def test_memory_is_flat_over_many_blocks(blocks: int, tmp_path: Path) -> None:
    class Memory(Progress):
        def __init__(self) -> None:
            self.held: list[tuple[int, int]] = []

        def evaluated(self, record: dict[str, Any]) -> None:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
            self.held.append((resident, len(jax.live_arrays())))

    memory = Memory()
    longer = dataclasses.replace(
        TINY, num_seeds=1, total_steps=8 * 16 * blocks, evaluations=blocks, validation_levels=8, heldout_levels=8
    )
    l4t_jax.train(longer, progress=memory, run_dir=str(tmp_path / "run"))
    resident, arrays = zip(*memory.held, strict=True)
    assert len(resident) == blocks and set(arrays[2:]) == {arrays[2]}
    assert max(resident[100:]) < 1.05 * resident[100]  # of a thousand, a leak of 0.1 MB a block would be 10 %
