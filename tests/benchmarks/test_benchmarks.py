"""The benchmarks: what they print with --json, and the arithmetic under their figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(FOLDER))

import blocks  # noqa: E402
import peers  # noqa: E402
import throughput  # noqa: E402
import timing  # noqa: E402

from l4t_jax.config import Config  # noqa: E402
from l4t_jax.teacher import file as teacher_file  # noqa: E402
from l4t_jax.training import programs  # noqa: E402
from l4t_jax.training.trainer import Trainer  # noqa: E402


def printed(script: str, *arguments: str) -> dict:
    """The one JSON object on a benchmark's standard output."""
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(FOLDER / script), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_throughput_prints_one_object_with_what_is_promised():
    result = printed("throughput.py", "--envs", "8", "--num-steps", "8", "--repeats", "2", "--updates", "1")
    assert result["device"].startswith("cpu")
    assert result["end_to_end"] == result["stages"]["end_to_end"] > 0
    assert set(result["stages"]) == set(throughput.STAGES)
    assert all(rate > 0 for rate in result["stages"].values())
    assert result["versions"]["jax"] == jax.__version__
    assert sum(result["share"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize("student", ["ego", "cnn", "lstm"])
def test_each_stage_takes_what_those_before_it_make(student: str):
    config = Config(num_envs=8, num_steps=8, level_pool=8, student=student, hidden=16, **timing.TEACHER_ON)
    trainer = Trainer.create(config)
    table = teacher_file.to_table(trainer.task, teacher_file.shipped(trainer.task))
    seen = []

    def add(name, function, *args):
        seen.append(name)
        return function(*args)

    jax.eval_shape(lambda: throughput.run_stages(trainer, table, add))  # traced, not compiled
    assert {*seen, "end_to_end", "end_to_end_no_teacher"} == set(throughput.STAGES)


@pytest.mark.slow
def test_peers_prints_one_object_with_ratios_and_their_spread():
    small = ("--num-envs", "8", "--num-steps", "8", "--rounds", "2", "--updates", "1", "--epochs", "1")
    result = printed("peers.py", *small, "--only", "l4t,ppo,navix_ppo")
    assert set(result["ratios"]) == {"l4t_over_navix_ppo", "ppo_over_navix_ppo"}
    for one in result["ratios"].values():
        low, high = one["quartiles"]
        assert 0 < low <= one["median"] <= high
    assert not result["missing"]


@pytest.mark.slow
def test_time_to_result_prints_where_the_seconds_went():
    sizes = "--num-envs 8 --num-steps 16 --total-steps 384 --minibatches 2 --hidden 16 --evaluations 2 --level-pool 32"
    result = printed("time_to_result.py", "--repeats", "1", f"--more={sizes} --heldout-levels 16")
    for one in result["median"].values():
        assert one["whole"] == pytest.approx(sum(one[name] for name in ("compile", "train", "evaluate", "rest")))
    assert result["median"]["warm"]["compile"] < result["median"]["cold"]["compile"]
    assert result["start_s"]["l4t_jax"] < result["start_s"]["jax and navix"]


def test_rates_and_quartiles_are_those_of_the_samples():
    samples = timing.Samples(wall=(1.0, 2.0, 3.0, 4.0, 5.0), cpu=(2.0,) * 5, count=60)
    assert samples.rate == 20
    assert samples.rates == [15, 30]
    assert samples.us == pytest.approx(50_000)
    assert samples.cpu_us == pytest.approx(1e6 / 30)


def test_a_ratio_is_taken_within_each_round():
    # Both slow down together: twice as fast in every round, whatever the machine did.
    fast = timing.Samples(wall=(1.0, 10.0, 100.0), cpu=(1.0, 1.0, 1.0), count=1)
    slow = timing.Samples(wall=(2.0, 20.0, 200.0), cpu=(4.0, 4.0, 4.0), count=1)
    assert timing.ratio(fast, slow) == {"median": 2.0, "quartiles": [2.0, 2.0], "rounds": 3}
    assert timing.ratio(fast, slow, cpu=True)["median"] == 4.0


def test_a_ratio_counts_what_each_call_does():
    one = timing.Samples(wall=(1.0,), cpu=(1.0,), count=300)
    other = timing.Samples(wall=(1.0,), cpu=(1.0,), count=100)
    assert timing.ratio(one, other)["median"] == 3.0


def test_the_teacher_share_is_that_of_the_pairs():
    on = timing.Samples(wall=(1.0, 10.0, 4.0), cpu=(2.0,) * 3, count=1)
    off = timing.Samples(wall=(0.9, 9.0, 3.6), cpu=(1.0,) * 3, count=1)
    found = throughput.teacher_share({"end_to_end": on, "end_to_end_no_teacher": off})
    assert found is not None
    assert found["wall"] == pytest.approx(0.1)
    assert found["cpu"] == pytest.approx(0.5)


def test_matrix_products_in_loops_and_gradients_are_counted():
    a, b = jnp.ones((3, 4)), jnp.ones((4, 4))
    one = 2 * 3 * 4 * 4

    def looped(a):
        return jax.lax.scan(lambda c, _: (jax.jit(jnp.matmul)(c, b), None), a, None, length=5)[0]

    assert throughput.matmul_flops(looped, a) == 5 * one
    # Forward, and the gradients of both factors.
    gradients = jax.grad(lambda a, b: jnp.sum((a @ b) ** 2), argnums=(0, 1))
    assert throughput.matmul_flops(gradients, a, b) == 3 * one
    assert throughput.matmul_flops(lambda a, b: gradients(a, b)[0], a, b) == 2 * one  # what nobody reads is not done


def test_programs_are_timed_in_turns():
    order = []
    programs = {name: (lambda name=name: order.append(name), 1) for name in "ab"}
    timing.LEAST, before = 0.0, timing.LEAST
    try:
        samples = timing.in_turns(programs, rounds=3)
    finally:
        timing.LEAST = before
    assert order[4:] == ["a", "a", "b", "b"] * 3  # after two calls of each; the first of two is not timed
    assert all(len(one.wall) == 3 for one in samples.values())


def test_every_peer_says_what_it_counts():
    assert set(peers.NOTES) == set(peers.PEERS)


def test_the_trainer_takes_navixs_network() -> None:
    peers.register_towers()
    config = Config(env="DoorKey-8x8", algo="ppo", student="towers", hidden=8, num_envs=4, num_steps=4, minibatches=2)
    made = programs.training_programs(Trainer.create(config), None, 1)
    state, _ = jax.eval_shape(*made["block"][:1], *made["block"][1])
    assert jax.tree.structure(state) == jax.tree.structure(made["block"][1][0])


@pytest.mark.slow
def test_blocks_prints_what_each_program_did():
    name, late = "SimpleDoorKey-fast-block-8x1:ppo", "SimpleDoorKey-fast-block-8x1"
    result = printed("blocks.py", "--programs", name, "--rounds", "2")
    one = result["programs"][name]
    assert one["steps"] == blocks.UPDATES * 8 * 32 and one["quartiles"][0] <= one["steps_per_s"] <= one["quartiles"][1]
    assert 0 <= one["success"] <= 1 and result["device"].startswith("cpu")
    result = printed("blocks.py", "--programs", late, "--seconds", "0")
    assert result["programs"] == {late: {"error": "not made within 0 s"}}
    assert f"| {late} | not made within 0 s | | | |" in blocks.table(result)


@pytest.mark.parametrize("name", ["SimpleDoorKey", "SimpleDoorKey-fast-block-8x4", "navix_ppo", "rejax_ppo-64"])
def test_a_block_that_has_no_such_name_is_one_sentence(name, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["blocks.py", "--programs", name])
    with pytest.raises(SystemExit, match=f"error: no program is named {name}; a name is TASK-PRESET-block-"):
        blocks.main()
