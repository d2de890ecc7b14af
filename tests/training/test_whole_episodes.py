"""Runs with rollouts of whole episodes: steps and updates are counted as they are, by each seed for itself."""

import dataclasses
import signal
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from clockwork import MAX_STEPS, TASK, Clockwork
from small_runs import Spy, Stopper, lines, timeless

import l4t_jax
from l4t_jax.agents.algorithms import Progress
from l4t_jax.agents.algorithms.ppo import pace_of
from l4t_jax.agents.episodes import most_steps
from l4t_jax.config import Config
from l4t_jax.envs import draw_levels
from l4t_jax.errors import ConfigError, Interrupted
from l4t_jax.training.blocks import Blocks, Done
from l4t_jax.training.trainer import Trainer

SMALL = Config(
    env="SimpleDoorKey", preset="paper", algo="ppo", teacher="none", hidden=8, num_envs=3, least_steps=64,
    minibatch_size=32, total_steps=1800, evaluations=4, num_seeds=2, level_pool=16, validation_levels=8,
    heldout_levels=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def trained() -> Any:
    """Two seeds on the clockwork: trainer, the state before and after a block up to 200 steps, metrics, the block."""
    config = dataclasses.replace(SMALL, env="Clockwork", least_steps=40, minibatch_size=8)
    trainer = Trainer(config=config.resolved(MAX_STEPS), task=TASK)
    trainer.__dict__["env"] = Clockwork.create(task=TASK)  # in place of the cached property
    start = jax.jit(trainer.init_seeds)(jax.random.split(jax.random.key(4), 2))
    block = jax.jit(lambda state, steps: trainer.train_seeds(state, None, 6, steps))
    return trainer, start, block(start, 200), block


def test_the_steps_of_an_update_are_the_rows_of_its_episodes(trained: Any) -> None:
    trainer, start, _, block = trained
    one, metrics = block(start, 1)  # one update of each seed
    np.testing.assert_array_equal(one.updates, [1, 1])
    collect = jax.jit(trainer.collect)
    for seed in range(2):
        before = jax.tree.map(lambda leaf, seed=seed: leaf[seed], start)
        key, level_key = jax.random.split(before.key)
        pool = draw_levels(trainer.env, level_key, SMALL.level_pool, "training")
        _, rollout_key, _ = jax.random.split(key, 3)
        rows = jax.tree.map(np.asarray, collect(before.params, rollout_key, before.envs, pool)[1])
        ends = (rows.terminated | rows.truncated) & rows.valid
        assert int(one.steps[seed]) == rows.valid.sum() and 40 <= rows.valid.sum() < 40 + MAX_STEPS
        assert float(metrics["episodes"][seed, 0]) == ends.sum() > SMALL.num_envs
        paid = rows.reward[rows.valid].sum() / ends.sum()
        assert float(metrics["train_return"][seed, 0]) == pytest.approx(paid)
        assert float(one.outcomes.steps[seed].sum()) == rows.valid.sum()


def test_each_seed_goes_on_until_it_has_the_steps_of_the_block(trained: Any) -> None:
    trainer, _, (state, metrics), block = trained
    steps, updates = np.asarray(state.steps), np.asarray(state.updates)
    assert (steps >= 200).all() and (steps < 200 + most_steps(3, MAX_STEPS, 40)).all() and (updates < 6).all()
    for seed in range(2):
        for name in ("entropy", "episodes", "grad_norm"):
            assert np.asarray(metrics[name])[seed, : updates[seed]].all()
            assert not np.asarray(metrics[name])[seed, updates[seed] :].any()
    again, _ = block(state, 200)  # there is nothing left to do
    jax.tree.map(np.testing.assert_array_equal, again.params, state.params)
    done = Done.of(trainer, state)
    assert done.mean_steps == steps.sum() // 2 and done.mean_updates == updates.sum() // 2


def test_a_seed_comes_to_the_same_alone(trained: Any) -> None:
    trainer, start, (state, _), _ = trained
    alone = jax.tree.map(lambda leaf: leaf[1:], start)
    found, _ = jax.jit(lambda state, steps: trainer.train_seeds(state, None, 6, steps))(alone, 200)
    assert int(found.steps[0]) == int(state.steps[1]) and int(found.updates[0]) == int(state.updates[1])
    for ours, theirs in zip(jax.tree.leaves(found.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(ours[0], theirs[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("total", "evaluations", "ends"),
    [(1800, 4, (450, 900, 1350, 1800)), (1000, 9, (500, 1000)), (100, 9, (100,)), (1801, 4, (450, 900, 1350, 1801))],
)
def test_blocks_are_longer_than_an_update_can_be(total: int, evaluations: int, ends: tuple[int, ...]) -> None:
    """450 steps are the most of an update: three episodes of 150. The fewest are 64."""
    trainer = Trainer.create(dataclasses.replace(SMALL, total_steps=total, evaluations=evaluations))
    blocks = Blocks.of(trainer)
    assert blocks.ends == ends and blocks.total == total
    gaps = np.diff([0, *ends])
    assert blocks.longest == -(-max(gaps) // 64)
    assert [int(blocks.argument(trainer, i)) for i in range(len(ends))] == list(ends)


def test_blocks_of_equal_updates_are_counted_in_updates() -> None:
    trainer = Trainer.create(Config(num_envs=8, num_steps=16, total_steps=8 * 16 * 5, evaluations=3, minibatches=2))
    blocks = Blocks.of(trainer)
    assert (blocks.ends, blocks.longest, blocks.total) == ((2, 3, 5), 2, 640)
    assert [int(blocks.argument(trainer, i)) for i in range(3)] == [2, 1, 2]


@pytest.mark.slow
def test_a_run_that_was_stopped_comes_to_the_same_end(tmp_path: Path) -> None:
    spy = Spy()
    whole = l4t_jax.train(SMALL, run_dir=str(tmp_path / "whole"), progress=spy)
    with pytest.raises(Interrupted, match=r"stopped after .* of 1,800 steps"):
        l4t_jax.train(SMALL, run_dir=str(tmp_path / "stopped"), progress=Stopper(signal.SIGTERM, after=2))
    heard = Stopper()
    resumed = l4t_jax.train(resume=tmp_path / "stopped", progress=heard)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)
    assert timeless(tmp_path / "stopped") == timeless(tmp_path / "whole")
    assert resumed.summary["total_steps"] == whole.summary["total_steps"] >= 1800

    records = lines(tmp_path / "whole")
    assert len(records) == 4 and spy.began[0][0] == 1800
    assert heard.notices[0] == f"going on after {records[1]['steps']:,} of 1,800 steps"
    for record, end in zip(records, (450, 900, 1350, 1800), strict=True):
        assert all(end <= steps < end + 450 for steps in record["seed_steps"])
        assert record["steps"] == sum(record["seed_steps"]) // 2
    assert records[-1]["steps"] == whole.summary["total_steps"]
    updates = [record["updates"] for record in records]
    assert updates == sorted(set(updates))
    # Nothing is a mean over updates that were not done.
    assert all(min(record["train"]["episodes"]) >= 3 for record in records)
    assert l4t_jax.evaluate(tmp_path / "whole", levels=8)["seeds"] == {
        name: values for name, values in whole.summary["heldout"]["student"].items() if name != "greedy"
    }


@pytest.mark.slow
@pytest.mark.parametrize("student", ["cnn", "lstm", "ego", "gru"])
@pytest.mark.parametrize("observation", ["map", "view"])
def test_students_and_observations_go_together(student: str, observation: str, teacher_of: Any) -> None:
    config = dataclasses.replace(
        SMALL, algo="l4t", teacher="shipped", student=student, observation=observation, num_envs=2, least_steps=32,
        minibatches=2 if student in ("lstm", "gru") else None, teacher_mode="hard" if student == "ego" else "soft",
    )  # fmt: skip
    trainer = Trainer.create(config)
    table = teacher_of("SimpleDoorKey")
    state = jax.jit(trainer.init_seeds)(jax.random.split(jax.random.key(0), 2))
    state, terms = jax.jit(lambda state: trainer.train_seeds(state, table, 1))(state)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((terms, state.params)))
    np.testing.assert_array_equal(terms["unguided"], 0.0)  # padding would be, if it were counted
    assert (np.asarray(terms["distill_weight"]) > 0).all() and (np.asarray(terms["grad_norm"]) > 0).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (dict(algo="hrl", teacher="none"), "`algo=hrl` chooses skills, and is for `rollouts=steps`"),
        (dict(trust="state", anneal="success"), "`trust=state` is for `rollouts=steps`; `trust=part` would do"),
        (dict(devices=2), "`rollouts=episodes` is for one device, not `devices=2`"),
        (dict(minibatch_size=300), "`minibatch_size` must be at most `least_steps=256`, not 300"),
        (dict(num_steps=8), "`num_steps` is for `rollouts=steps`; this run has `rollouts=episodes`"),
        (dict(minibatches=8), "`minibatches` is for `rollouts=steps`"),
        (dict(student="lstm", minibatches=3), "`minibatches` must divide `num_envs=10`; 2 would, 3 does not"),
        (dict(total_steps=2**31), "at most 2147483647 can be counted"),
        (dict(least_steps=0), "`least_steps` must be at least 1, not 0"),
    ],
)
def test_what_rollouts_of_episodes_cannot_do_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        Trainer.create(Config(preset="paper", **given))
    assert words in str(error.value)


def test_the_preset_can_have_rollouts_of_steps() -> None:
    config = Trainer.create(Config(preset="paper", rollouts="steps")).config
    assert config.num_envs * config.num_steps // config.minibatches == 130


def test_the_weight_and_the_learning_rate_fall_with_the_steps() -> None:
    """Where nobody says over how many updates; the number of these is not known."""
    trainer = Trainer.create(Config(rollouts="episodes", anneal="clock", total_steps=1000, warmup_updates=2))
    algorithm: Any = trainer.algorithm
    weights = []
    for share in (0.0, 0.25, 0.5):
        progress = Progress(jnp.int32(1), jnp.float32(0), jnp.float32(share))
        weights.append(float(algorithm.linear(trainer.setup, progress)))
        warm, plain = pace_of(trainer.setup, progress, jnp.float32(1)), pace_of(trainer.setup, progress)
        assert warm is not None and plain is not None and float(warm.done) == float(plain.done) == share
        assert (int(warm.epochs), plain.epochs) == (16, 2)
    assert weights == [1.0, 0.5, 0.0]
