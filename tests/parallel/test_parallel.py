"""Environments spread over devices: the same rollout and the same losses on any number of them, in a process with
four.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reporting import reported

from l4t_jax import parallel
from l4t_jax.config import ConfigError
from l4t_jax.evaluation import intervals
from l4t_jax.training import checkpoint

SMALL = dict(env="DoorKey-5x5", num_envs=8, num_steps=4, minibatches=2, epochs=1, hidden=16, level_pool=16)


def on_devices(settings: dict, *numbers: int) -> dict:
    """`many_devices.py` in a process with four CPU devices: what it prints, by number of devices."""
    here = Path(__file__).parents[1]
    environment = {
        **os.environ, "PYTHONPATH": str(here.parent), "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }  # fmt: skip
    command = [sys.executable, str(here / "many_devices.py"), json.dumps(settings), *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_the_same(found: dict, numbers: list[int]) -> None:
    first = found[str(numbers[0])]
    assert len(first["metrics"]) == 2 and max(np.ravel(first["metrics"][0]["grad_norm"])) > 0
    for number in numbers:
        one = found[str(number)]
        assert one["copies agree"] and one["twice the same"]
        assert {name: one[name] for name in ("environments", "students", "others")} == {
            name: first[name] for name in ("environments", "students", "others")
        }
        for update, (ours, theirs) in enumerate(zip(one["metrics"], first["metrics"], strict=True)):
            for name, value in ours.items():
                np.testing.assert_allclose(
                    value, theirs[name], rtol=1e-4, atol=1e-5, err_msg=f"{name} of update {update} on {number} devices"
                )


def test_two_seeds_are_the_same_on_one_device_and_on_four():
    assert_the_same(on_devices({**SMALL, "num_seeds": 2}, 1, 4), [1, 4])


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        dict(num_seeds=2),
        dict(student="lstm", hidden=8),
        dict(student="gru", observation="view", hidden=8),
        dict(algo="hrl", teacher="none", num_steps=12),
        dict(student="cnn", teacher_mode="hard"),
    ],
    ids=["seeds", "lstm", "gru", "hrl", "hard labels"],
)
def test_a_run_is_the_same_on_one_two_and_four_devices(settings):
    assert_the_same(on_devices({**SMALL, **settings}, 1, 2, 4), [1, 2, 4])


@pytest.mark.slow
def test_whole_runs_on_one_two_and_four_devices_end_within_intervals(tmp_path):
    """Five seeds of the default run each; in the end no two intervals are apart."""
    found = {}
    for number in (1, 2, 4):
        done = command(
            tmp_path / f"on-{number}", "--env", "SimpleDoorKey", "--num-seeds", "5", "--devices", str(number), "--json",
            JAX_NUM_CPU_DEVICES="4",
        )  # fmt: skip
        out, err = done.communicate(timeout=3000)
        assert done.returncode == 0, err
        summary = json.loads(out)
        student, levels = summary["heldout"]["student"], summary["heldout"]["levels"]
        returns, width = np.asarray(student["return"]), 2.776 / 5**0.5  # Student's t of five seeds
        found[number] = dict(
            success=student["success"],
            success_interval=intervals.wilson(levels * sum(student["success"]), 5 * levels),
            **{"return": student["return"]},
            return_interval=[float(returns.mean() + side * width * returns.std(ddof=1)) for side in (-1, 1)],
            steps_to_success=summary["steps_to_success"],
            seconds=summary["seconds"],
        )
    with reported("devices", dict(task="SimpleDoorKey", levels=levels, devices=found)):
        for name in ("success_interval", "return_interval"):
            lows, highs = zip(*(one[name] for one in found.values()), strict=True)
            assert max(lows) <= min(highs), found
        assert min(min(one["success"]) for one in found.values()) > 0.95
        assert len({tuple(one["return"]) for one in found.values()}) == 3  # they were not the same run


def test_parts_of_rows_join_to_the_rows():
    mesh = parallel.make_mesh(2)
    assert mesh is not None and mesh.size == 2
    rows = jnp.arange(10).reshape(5, 2)  # five rows over two devices: the second repeats its last

    def there_and_back(rows):
        own = parallel.shard(rows, parallel.AXIS)
        assert own.shape == (3, 2)
        own = own + 100 * jax.lax.axis_index(parallel.AXIS)
        return parallel.all_gather(own, 5, parallel.AXIS), parallel.all_gather(own.T, 5, parallel.AXIS, rows=-1)

    joined, turned = jax.jit(parallel.on_each(mesh, there_and_back))(rows)
    np.testing.assert_array_equal(joined, np.arange(10).reshape(5, 2) + np.array([0, 0, 0, 100, 100])[:, None])
    np.testing.assert_array_equal(turned, joined.T)


def test_sums_and_means_are_over_all_devices():
    mesh = parallel.make_mesh(2)

    def both(x):
        mine = {"a": x + jax.lax.axis_index(parallel.AXIS).astype(jnp.float32), "b": jnp.ones((2, 3))}
        return parallel.mean(mine, parallel.AXIS), parallel.sum_of(mine, parallel.AXIS)

    mean, total = jax.jit(parallel.on_each(mesh, both))(jnp.float32(3))
    assert float(mean["a"]) == 3.5 and float(total["a"]) == 7.0
    np.testing.assert_array_equal(mean["b"], np.ones((2, 3)))
    np.testing.assert_array_equal(total["b"], np.full((2, 3), 2))


def test_as_many_devices_as_divide_the_worlds():
    assert parallel.make_mesh(7) is None  # of two, one divides 7
    assert parallel.make_mesh(8).size == 2  # pyright: ignore
    assert parallel.make_mesh(8, 1) is None


@pytest.mark.parametrize(
    "units, wanted, says",
    [
        (7, 2, "2 devices must divide `num_envs` 7; 8 would do, or `devices=1`"),
        (8, 3, "`devices=3` is too many: there are 2 (cpu); try `devices=2`"),
        (8, 0, "`devices` must be at least 1, not 0"),
    ],
)
def test_a_number_of_devices_that_cannot_be_names_one_that_can(units, wanted, says):
    with pytest.raises(ConfigError) as refusal:
        parallel.make_mesh(units, wanted)
    assert str(refusal.value) == says


def test_the_command_makes_a_cpu_device_a_core_but_none_for_few_worlds(monkeypatch):
    made = []
    monkeypatch.setattr(jax.config, "update", lambda name, value: made.append((name, value)))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    for name in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    for env_states, wanted in ((1000, None), (64, None), (10, None), (10, 3)):
        parallel.cpu_devices(env_states, wanted)
    assert [value for _, value in made] == [4, 2, 1, 3] and {name for name, _ in made} == {"jax_num_cpu_devices"}
    made.clear()
    for wanted in (-1, 2**31, 10**30):  # what the sizes of jax do not hold never reaches it
        parallel.cpu_devices(10, wanted)
    assert [value for _, value in made] == [1, 64, 64]
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    parallel.cpu_devices(1000, None)
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")
    parallel.cpu_devices(1000, 4)
    assert len(made) == 3


def test_a_world_draws_by_its_own_number(key):
    whole = parallel.per_env_keys(key, jnp.arange(6))
    part = parallel.per_env_keys(key, jnp.arange(3, 6))
    np.testing.assert_array_equal(jax.random.key_data(whole)[3:], jax.random.key_data(part))
    assert len({tuple(data) for data in np.asarray(jax.random.key_data(whole))}) == 6


# Two processes

TINY_RUN = (
    "--env", "DoorKey-5x5", "--num-envs", "8", "--num-steps", "4", "--minibatches", "2", "--epochs", "1", "--hidden",
    "16", "--level-pool", "16", "--total-steps", "128", "--evaluations", "2", "--validation-levels", "16",
    "--heldout-levels", "16", "--json",
)  # fmt: skip


def command(run_dir: Path, *options: str, **variables: str) -> subprocess.Popen:
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "JAX_PLATFORMS": "cpu", **variables}
    words = [sys.executable, "-m", "l4t_jax.run", *options, "--run-dir", str(run_dir)]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=run_dir.parent
    )


def started(run_dir: Path, *options: str, **variables: str) -> subprocess.Popen:
    return command(run_dir, *TINY_RUN, *options, XLA_FLAGS="--xla_backend_optimization_level=0", **variables)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def assert_the_same_run(one: Path, other: Path) -> None:
    """To float tolerance: every line of the metrics, and the parameters."""
    lines = [(path / "metrics.jsonl").read_text().splitlines() for path in (one, other)]
    assert len(lines[0]) == len(lines[1]) == 2
    for ours, theirs in zip(*(map(json.loads, part) for part in lines), strict=True):
        assert (ours["steps"], ours["validation"]) == (theirs["steps"], theirs["validation"])
        for name, value in ours["train"].items():
            np.testing.assert_allclose(value, theirs["train"][name], rtol=1e-4, atol=1e-5, err_msg=name)
    last = [checkpoint.restore_params(path) for path in (one, other)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), *last)


@pytest.mark.slow
def test_two_processes_over_loopback_are_one_process_with_the_same_devices(tmp_path):
    address = f"127.0.0.1:{free_port()}"
    pair = [
        started(
            tmp_path / "two", JAX_NUM_CPU_DEVICES="1", JAX_COORDINATOR_ADDRESS=address, JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(i),
        )
        for i in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=1500) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said[0][1] + said[1][1]
    alone = started(tmp_path / "one", JAX_NUM_CPU_DEVICES="2")
    out, err = alone.communicate(timeout=1500)
    assert alone.returncode == 0, err
    assert not said[1][0] and sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    ours, theirs = json.loads(said[0][0]), json.loads(out)
    assert ours["heldout"] == theirs["heldout"]
    assert_the_same_run(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
def test_what_was_saved_on_four_devices_goes_on_on_one_and_the_reverse(tmp_path):
    for number in ("4", "1"):
        done = started(tmp_path / number, "--save-every", "0", JAX_NUM_CPU_DEVICES=number)
        _, err = done.communicate(timeout=1500)
        assert done.returncode == 0, err
    for number, other in (("4", "1"), ("1", "4")):
        half = tmp_path / f"{number}, then {other}"
        shutil.copytree(tmp_path / number, half)
        for name in ("summary.json", f"checkpoints/{max(map(int, os.listdir(half / 'checkpoints')))}"):
            shutil.rmtree(half / name) if name.startswith("checkpoints") else (half / name).unlink()
        words = [sys.executable, "-m", "l4t_jax.run", "--resume", str(half), "--devices", other]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "JAX_NUM_CPU_DEVICES": other}
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=1500, check=False)
        assert done.returncode == 0 and "going on after 64 of 128 steps" in done.stdout + done.stderr, done.stderr
        lines = [(path / "metrics.jsonl").read_text().splitlines() for path in (half, tmp_path / number)]
        assert lines[0][0] == lines[1][0]
        assert_the_same_run(half, tmp_path / other)


def test_many_processes_without_an_address_are_told_what_to_set(monkeypatch):
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.delenv("JAX_COORDINATOR_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match=r"JAX_COORDINATOR_ADDRESS is not set.*JAX_PROCESS_ID"):
        parallel.join(False)


def test_one_process_alone_agrees_with_itself():
    assert parallel.is_main() and parallel.broadcast(True) and not parallel.broadcast(False)
