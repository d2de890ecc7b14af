"""Every registered algorithm keeps the contract; the teacher's weight follows its schedule; a user's own runs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.algorithms import Algorithm, Progress, algorithm_names, get_algorithm, register_algorithm
from l4t_jax.config import Config, ConfigError
from l4t_jax.training.trainer import Trainer


def trainer_of(algo="l4t", **changes):
    settings = dict(
        env="DoorKey-5x5", total_steps=8 * 4 * 50, num_envs=8, num_steps=4, minibatches=2, epochs=1, hidden=8,
        level_pool=8,
    )  # fmt: skip
    trainer = Trainer.create(Config(**{**settings, **changes}))
    return dataclasses.replace(trainer, config=dataclasses.replace(trainer.config, algo=algo))


def weights(trainer, updates, success=(0.0,), teacher=1.0):
    """The teacher's weight after so many updates, at so much success."""
    return [
        float(trainer.algorithm.distill_weight(trainer.setup, Progress(jnp.int32(u), jnp.float32(s)), teacher))
        for u in updates
        for s in success
    ]


def like(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


@pytest.mark.parametrize("name", algorithm_names())
def test_every_algorithm_keeps_the_contract(name, teacher_of):
    trainer = trainer_of(name)
    algorithm = trainer.algorithm
    assert algorithm.name == name and algorithm.label and algorithm.colour.startswith("#")
    table = teacher_of("DoorKey-5x5") if algorithm.uses_teacher else None
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    after, metrics = jax.eval_shape(lambda state: trainer.train_block(state, table, 1), state)
    assert like(after) == like(state)
    assert ("distill_loss" in metrics) == algorithm.uses_teacher
    assert {leaf.shape for leaf in metrics.values()} == {(1,)}

    def one_step(state):
        carry, policy = trainer.policy(state.params, jax.random.key(1), jnp.arange(8))
        return carry, policy(carry, state.envs.env_state, jnp.ones(8, bool))

    carry, (again, logits) = jax.eval_shape(one_step, state)
    assert logits.shape == (8, 7) and like(again) == like(carry)


@pytest.mark.parametrize("name", ["distill", "hrl"])  # the others train in test_trainer.py
def test_an_algorithm_changes_the_student(name, teacher_of):
    trainer = trainer_of(name)
    table = teacher_of("DoorKey-5x5") if trainer.algorithm.uses_teacher else None
    state = jax.jit(trainer.init)(jax.random.key(0))
    after, metrics = jax.jit(lambda state: trainer.train_block(state, table, 1))(state)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((metrics, after.params)))
    assert float(metrics["distill_weight"][0]) == trainer.algorithm.uses_teacher
    old, new = (jax.tree.leaves(one.params) for one in (state, after))
    changed = [(np.asarray(a) != b).any() for a, b in zip(old, new, strict=True)]
    assert sum(changed) == len(changed) - 2 * (name == "distill")  # no reward: the head for the value stays


def test_names_labels_and_colours_tell_the_algorithms_apart():
    every = [get_algorithm(name) for name in algorithm_names()]
    assert algorithm_names()[:4] == ["l4t", "ppo", "hrl", "distill"]
    assert len({one.label for one in every}) == len({one.colour for one in every}) == len(every)
    assert [one.name for one in every if one.uses_teacher] == ["l4t", "distill"]


def test_an_unknown_algorithm_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="it takes l4t, ppo, hrl or distill"):
        get_algorithm("sarsa")


def test_an_algorithm_that_needs_a_teacher_is_refused_without_one():
    with pytest.raises(ConfigError, match="`algo=l4t` needs a teacher; `algo=ppo` runs without one"):
        trainer_of(teacher="none")


def test_the_weight_of_distillation_follows_its_schedule():
    trainer = trainer_of(distill_coef=4.0, distill_floor=1.0, distill_fall=0.5, distill_off=0.8)
    # Of 50 updates: from 4 to 1 over the first 25, 1 until update 40, then nothing.
    np.testing.assert_allclose(weights(trainer, (0, 5, 25, 39, 40, 49)), [4.0, 3.4, 1.0, 1.0, 0.0, 0.0], rtol=1e-5)
    assert weights(trainer_of("distill", distill_off=0.8), (0, 25, 49), (0.0, 1.0)) == [1.0] * 6


@pytest.mark.parametrize("total_steps", [60_000, 4_000_000])
def test_the_papers_weight_falls_by_the_iteration_whatever_the_length_of_the_run(total_steps):
    # 10 - 0.005 u down to 0.1 at iteration 1,980, where it rests, and 0 from iteration 3,000 on.
    trainer = Trainer.create(Config(env="SimpleDoorKey", preset="paper", total_steps=total_steps))
    found = weights(trainer, (0, 1, 100, 1000, 1979, 1980, 2999, 3000, 5000))
    np.testing.assert_allclose(found, [10.0, 9.995, 9.5, 5.0, 0.105, 0.1, 0.1, 0.0, 0.0], rtol=1e-4)
    config = trainer.config
    assert (config.rollouts, config.num_envs, config.least_steps, config.minibatch_size) == ("episodes", 10, 256, 128)
    assert config.adam_eps == 1e-8


def test_trust_by_state_is_part_of_the_state_and_only_where_the_weight_follows_success(teacher_of):
    trainer = trainer_of(trust="state")
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    assert trainer.algorithm.advice(state.opt_state).gain.shape == (64,)  # symbolic states of DoorKey-5x5
    assert trainer.algorithm.advice(state.opt_state).step_gain.shape == (64, 28)  # and its steps
    after, metrics = jax.eval_shape(lambda s: trainer.train_block(s, teacher_of("DoorKey-5x5"), 1), state)
    assert like(after) == like(state) and {leaf.shape for leaf in metrics.values()} == {(1,)}
    for other in (trainer_of(trust="part"), trainer_of(trust="state", anneal="clock"), trainer_of("distill")):
        assert other.algorithm.advice(jax.eval_shape(other.init, jax.random.key(0)).opt_state) is None


def test_the_weight_falls_with_the_students_success():
    settings = dict(distill_coef=4.0, distill_fall=1.0, distill_off=1.0)
    trainer = trainer_of(**settings)
    np.testing.assert_allclose(weights(trainer, (0,), (0.0, 0.15, 0.3, 0.6), 0.6), [4.0, 3.0, 2.0, 0.0], rtol=1e-5)
    assert weights(trainer, (0,), (0.0,), 0.0) == [0.0]  # a teacher no better than the random policy
    assert weights(trainer_of(**settings, anneal="clock"), (0,), (0.6,), 0.6) == [4.0]


@pytest.mark.usefixtures("own_tasks")
def test_an_algorithm_of_ones_own_trains():
    """It moves every parameter by one a call, and counts its updates in what it keeps."""

    class Count(Algorithm):
        name, label = "count", "counting"

        def init(self, setup, params):
            return jnp.int32(0)

        def update(self, setup, key, params, kept, rows, env_id, table, progress, axes):
            return jax.tree.map(lambda leaf: leaf + 1, params), kept + 1, {"kept": kept.astype(jnp.float32)}

    register_algorithm(Count())
    trainer = trainer_of("count")
    state = jax.jit(trainer.init)(jax.random.key(0))
    after, metrics = jax.jit(lambda state: trainer.train_block(state, None, 3))(state)
    assert int(after.opt_state) == 3
    np.testing.assert_array_equal(metrics["kept"], [0, 1, 2])
    np.testing.assert_array_equal(metrics["distill_weight"], 0)  # what it does not give
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b + 3, rtol=1e-5), after.params, state.params)
