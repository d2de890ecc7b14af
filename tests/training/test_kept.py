"""Programs that a command finds again: whole, the same, and only where nothing else could have changed them."""

import dataclasses
import json
import os
import secrets
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.config import Config
from l4t_jax.evaluation.heldout import Evaluator
from l4t_jax.training import compilation, kept, programs
from l4t_jax.training.kept import Kept
from l4t_jax.training.trainer import Trainer

X = np.random.default_rng(5).normal(size=(6, 4)).astype(np.float32)


def made(factor: float) -> dict[str, Any]:
    """Two programs. The first sorts, which XLA cannot write down twice, and takes apart, which calls LAPACK."""
    return {
        "mixed": (jax.jit(lambda x: (jnp.sort(x * factor, axis=0), jnp.linalg.qr(x)[1])), (X,)),
        "sum": (jax.jit(lambda x: x.sum() * factor), (X,)),
    }


@pytest.fixture
def factor() -> float:
    """Another in every test, so that no program comes from the files that all tests share."""
    return 1 + secrets.randbelow(2**20) / 2**20


@pytest.fixture
def folder(tmp_path: Path, factor: float) -> Path:
    """A folder with the two programs of the run "a"."""
    compilation.compile_all(made(factor), kept=Kept(tmp_path, "a"))
    began = time.monotonic()
    while not list(tmp_path.glob("*.json")) and time.monotonic() - began < 60:
        time.sleep(0.02)
    assert len(list(tmp_path.glob("*.bin"))) == 2
    return tmp_path


def test_a_process_that_traces_nothing_computes_the_same(folder: Path, factor: float) -> None:
    script = (
        "import sys, pathlib, numpy as np\nfrom l4t_jax.training.kept import Kept\n"
        "x = np.load(sys.argv[1] + '/x.npy')\nfound = Kept(pathlib.Path(sys.argv[1]), 'a').load()\n"
        "np.savez(sys.argv[1] + '/out.npz', *found['mixed'](x), found['sum'](x))"
    )
    np.save(folder / "x.npy", X)
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)
    expected = np.sort(X * np.float32(factor), axis=0), jnp.linalg.qr(X)[1], X.sum() * factor
    with np.load(folder / "out.npz") as found:
        for one, right in zip(found.values(), expected, strict=True):
            np.testing.assert_allclose(one, right, rtol=1e-5, atol=1e-6)


def test_another_run_has_none_but_shares_the_programs_that_are_the_same(folder: Path, factor: float) -> None:
    other = Kept(folder, "b")
    assert other.load() is None and set(Kept(folder, "a").load() or {}) == {"mixed", "sum"}
    lowered = made(factor)["sum"][0].lower(X)
    assert other._program(f"{kept._digest((kept._around(), None, lowered.as_text()))}.bin") is not None
    assert other.compiled("sum", lowered, None)(X) == pytest.approx(X.sum() * factor, rel=1e-5)


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_file_is_as_none(folder: Path, damage: str) -> None:
    path = next(iter(folder.glob("*.bin")))
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content[:-9] if damage == "cut" else content)
    assert Kept(folder, "a").load() is None


def test_what_was_read_is_not_written(tmp_path: Path, factor: float) -> None:
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    try:
        made(factor)["mixed"][0].lower(X).compile()
        again = Kept(tmp_path / "own", "a")
        program = again.compiled("mixed", made(factor)["mixed"][0].lower(X), None)
        again.store({"mixed": lambda: program})
    finally:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
    assert again._read == {"mixed"} and not list((tmp_path / "own").glob("*"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a command's process, into which no test has loaded an extension."""
    monkeypatch.setattr(kept, "in_command", lambda: True)
    monkeypatch.setattr(programs.extensions, "loaded", list)


def kept_of(trainer: Trainer) -> Kept | None:
    return programs._kept(trainer, None, Evaluator(trainer.players, None, 16), 2, None)


@pytest.mark.usefixtures("command")
def test_nothing_is_kept_where_a_users_code_may_have_run(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer.create(Config(algo="ppo", num_envs=8, devices=1))
    assert kept_of(trainer) is not None
    with monkeypatch.context() as patch:
        patch.setattr(kept, "in_command", lambda: False)
        assert kept_of(trainer) is None
    monkeypatch.setattr(programs.extensions, "loaded", lambda: ["mine.py"])
    assert kept_of(trainer) is None


@pytest.mark.usefixtures("command")
def test_the_seed_and_the_folder_decide_no_program_and_all_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(algo="ppo", num_envs=8, devices=1)

    def run(**changes: Any) -> Path:
        found = kept_of(Trainer.create(dataclasses.replace(config, **changes)))
        assert found is not None
        return found._run

    assert run() == run(seed=3) == run(run_dir="elsewhere")
    others = [run(total_steps=10**6), run(num_envs=16), run(gamma=0.9), run(env="LavaDoorKey"), run(hidden=32)]
    assert len({run(), *others}) == 6
    monkeypatch.setattr(kept.machine, "code", lambda: "edited")
    assert run() not in others
    before = run()
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    assert run() != before


def test_a_command_that_ran_before_traces_nothing(tmp_path: Path) -> None:
    words = shlex.split(
        "--env SimpleDoorKey --algo ppo --num-envs 8 --num-steps 4 --minibatches 2 --hidden 16 --total-steps 64 "
        "--evaluations 1 --validation-levels 8 --heldout-levels 8 --level-pool 16 --devices 1 --run-dir"
    )
    around = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "programs")}
    subprocess.run([sys.executable, "-m", "l4t_jax.run", *words, str(tmp_path / "first")], check=True, env=around)
    script = (
        "import sys\nfrom l4t_jax.training import compilation, kept\nkept.in_command = lambda: True\n"
        "compilation.compile_all = None\nfrom l4t_jax import run\nsys.exit(run.main(sys.argv[1:]))"
    )
    subprocess.run([sys.executable, "-c", script, *words, str(tmp_path / "second")], check=True, env=around)
    first, second = ((tmp_path / name / "metrics.jsonl").read_text() for name in ("first", "second"))
    assert first.count("\n") == second.count("\n") > 0
    one, other = (json.loads(text.splitlines()[-1]) for text in (first, second))
    assert one["train"]["loss"] != [0.0]
    for name in ("steps", "train", "validation", "parts"):
        assert one[name] == other[name], name


def test_only_the_packages_own_commands_are_commands(tmp_path: Path) -> None:
    assert not kept.in_command()  # pytest
    script = tmp_path / "mine.py"
    script.write_text("from l4t_jax.training import kept\nprint(kept.in_command())")
    assert subprocess.run([sys.executable, script], capture_output=True, text=True).stdout == "False\n"
