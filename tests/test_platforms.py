"""What jax's own switches do to the commands, and navix beside the package: each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from docs_commands import ROOT, SIZES, TINY
from small_runs import timeless

import l4t_jax
from l4t_jax.reporting import run_folder

# Runs each command line of its first argument, a JSON list of lists, and prints the exit code of each.
COMMANDS = """
import json, sys
from l4t_jax.__main__ import main
print([main(words) for words in json.loads(sys.argv[1])])
"""


def python(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process with these environment variables."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


@pytest.fixture(scope="module")
def in_64_bits(compiled_once: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run folder made under JAX_ENABLE_X64=1, and what `evaluate` and `teacher evaluate` then print."""
    folder = tmp_path_factory.mktemp("wide")
    lines = [
        ["run", *TINY.split(), "--env", "DoorKey-5x5", "--run-dir", str(folder / "run")],
        ["evaluate", str(folder / "run"), "--json"],
        ["teacher", "evaluate", "--env", "DoorKey-5x5", "--levels", "64", "--json"],
    ]
    printed = {}
    code = (
        "import json, sys, jax; from l4t_jax.__main__ import main; assert jax.config.jax_enable_x64; "
        "sys.exit(max(main(words) for words in json.loads(sys.argv[1])))"
    )
    done = python(code, json.dumps(lines), JAX_ENABLE_X64="1", JAX_NUM_CPU_DEVICES="2")
    assert done.returncode == 0, done.stderr
    decoder, text = json.JSONDecoder(), done.stdout[done.stdout.index("\n{") :].strip()
    for name in ("evaluate", "teacher"):
        printed[name], end = decoder.raw_decode(text)
        text = text[end:].strip()
    return folder / "run", printed


@pytest.mark.slow
def test_in_64_bits_a_run_comes_to_the_same(in_64_bits: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, printed = in_64_bits
    result = l4t_jax.train(env="DoorKey-5x5", run_dir=tmp_path / "run", **SIZES)
    assert timeless(folder) == timeless(tmp_path / "run")
    summary = run_folder.read(folder / run_folder.SUMMARY)
    assert summary["heldout"] == json.loads(json.dumps(result.summary["heldout"]))
    assert printed["evaluate"]["seeds"]["success"] == summary["heldout"]["student"]["success"]
    assert printed["teacher"] == json.loads(json.dumps(teacher_of_doorkey()))


def teacher_of_doorkey() -> dict[str, Any]:
    from l4t_jax.evaluation.teachers import evaluate_teacher
    from l4t_jax.teacher import file

    task = l4t_jax.get_task("DoorKey-5x5")
    return evaluate_teacher(task, file.shipped(task), 64)


@pytest.mark.parametrize("platform", ["cuda", "no_such_platform"])
def test_a_platform_that_is_not_there_is_one_sentence_of_every_command(
    platform: str, in_64_bits: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder = str(in_64_bits[0])
    lines = [
        ["run", "--run-dir", str(tmp_path / "run")],
        ["run", "--resume", folder],
        ["run", "--print-config"],
        ["evaluate", folder],
        ["export", folder, "--out", str(tmp_path / "student")],
        ["teacher", "evaluate"],
        ["teacher", "record", "--teacher", "file:shipped", "--out", str(tmp_path / "t.json")],
        ["teacher", "show"],
        ["teacher", "diff", "DoorKey", "DoorKey"],
        ["tasks"],
    ]
    done = python(COMMANDS, json.dumps(lines), JAX_PLATFORMS=platform)
    assert done.stdout.splitlines()[-1:] == [str([2] * len(lines))], done.stderr
    sentence = f"error: JAX_PLATFORMS={platform} cannot be used: this machine has no such device"
    said = done.stderr.splitlines()
    assert len(said) == len(lines) and all(line.startswith(sentence) for line in said), done.stderr


MAKE = """
import jax, jax.numpy as jnp
env = navix.make("L4T-SimpleDoorKey-v0")
timestep = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 3))
timestep = jax.jit(jax.vmap(env.step))(timestep, jnp.array([0, 1, 2]))
assert timestep.observation.shape == (3, 10, 10, 4) and timestep.t.tolist() == [1, 1, 1]
assert navix.make("Navix-Empty-5x5-v0").max_steps == 100
"""


@pytest.mark.parametrize("imports", ["import l4t_jax, navix", "import navix, l4t_jax"])
def test_navix_makes_a_task_after_the_package_is_imported_whichever_comes_first(imports: str) -> None:
    done = python(f"{imports}\n{MAKE}")
    assert done.returncode == 0, done.stderr


def test_rejaxs_adapter_makes_a_task() -> None:
    pytest.importorskip("rejax", reason="it comes with the extra bench")
    code = """
import l4t_jax, rejax, jax, jax.numpy as jnp
from rejax.compat import create
env, params = create("navix/L4T-SimpleDoorKey-v0")
observation, state = env.reset(jax.random.key(0), params)
observation, state, reward, done, _ = env.step(jax.random.key(1), state, jnp.int32(0), params)
assert (observation.shape, observation.dtype) == ((10, 10, 4), jnp.float32) and not done
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
