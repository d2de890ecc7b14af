"""The warm-up: more passes over the first rollouts, a number that the program finds, and a learning rate by share."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from l4t_jax.agents.algorithms.base import Progress
from l4t_jax.agents.algorithms.ppo import pace_of
from l4t_jax.agents.optimizer import make_optimizer
from l4t_jax.agents.update import Weights, update
from l4t_jax.config import Config, ConfigError
from l4t_jax.kernels import BY_NAME
from l4t_jax.training.trainer import Trainer
from tests.agents.test_update import PARAMS, STEP, TinyStudent

WEIGHTS = Weights(1.0, 1.0, 0.01, 0.5, 0.2)


@pytest.mark.parametrize("kernel", ["cpu", "gpu"])
def test_a_number_of_epochs_found_by_the_program_is_as_one_that_was_given(kernel):
    """One minibatch an epoch: its order makes no difference, so both come to the same."""
    optimizer = optax.adam(0.1)

    def after(epochs):
        return update(
            TinyStudent(), optimizer, jax.random.key(0), PARAMS, optimizer.init(PARAMS), STEP, WEIGHTS, epochs, 1,
            kernel=BY_NAME[kernel],
        )  # fmt: skip

    given, found = after(5), jax.jit(after)(jnp.int32(5))
    for one, other in zip(jax.tree.leaves(given), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert not np.allclose(found[0]["logits"], after(2)[0]["logits"])


def trainer(**settings):
    return Trainer.create(Config(env="DoorKey-5x5", total_steps=4096 * 20, **settings))


def passes(trainer, updates, behind=1.0):
    pace = pace_of(trainer.setup, Progress(jnp.int32(updates), jnp.float32(0)), jnp.float32(behind))
    return None if pace is None else (int(pace.epochs), float(pace.done))


def test_the_first_updates_make_more_passes_until_the_student_has_caught_up_by_half():
    warm = trainer(warmup_updates=3, warmup_epochs=9)
    assert passes(warm, 0) == (9, 0.0)
    assert passes(warm, 2) == (9, pytest.approx(0.1))
    assert passes(warm, 3) == (2, pytest.approx(0.15))
    assert passes(warm, 0, behind=0.6) == (9, 0.0)
    assert passes(warm, 0, behind=0.5) == (2, 0.0)
    assert passes(trainer(warmup_updates=0), 0) is None


def test_the_rate_falls_by_the_share_that_is_done_or_by_calls():
    config = dataclasses.replace(trainer().config, learning_rate=0.3, learning_rate_end=0.1, epochs=1, minibatches=2)
    optimizer = optax.with_extra_args_support(make_optimizer(config, total_updates=2))  # 4 calls
    gradient, state = {"x": jnp.float32(0.25)}, optimizer.init({"x": jnp.float32(0)})
    # Adam's first step is its rate, whatever the gradient.
    for done, rate in ((0.0, 0.3), (0.5, 0.2), (1.0, 0.1), (None, 0.3)):
        share = {} if done is None else {"done": jnp.float32(done)}
        assert float(optimizer.update(gradient, state, **share)[0]["x"]) == pytest.approx(-rate, rel=1e-3)
    changes = []
    for _ in range(5):
        change, state = optimizer.update(gradient, state)
        changes.append(-float(change["x"]))
    assert changes == pytest.approx([0.3, 0.25, 0.2, 0.15, 0.1], rel=1e-3)


@pytest.mark.parametrize(
    "algo, teacher", [pytest.param("ppo", "none", marks=pytest.mark.slow), ("l4t", "shipped")]
)  # that PPO has no warm-up, the default tier sees in its settings
def test_only_a_student_with_a_teacher_is_changed(algo, teacher):
    """Two updates, with and without a warm-up: the parameters of PPO alone are the same."""
    small = dict(algo=algo, teacher=teacher, num_envs=8, num_steps=8, minibatches=2, hidden=8, level_pool=16)

    def after(**settings):
        made = Trainer.create(Config(env="DoorKey-5x5", total_steps=128, **small, **settings))
        table = None
        if algo == "l4t":
            from l4t_jax.teacher import file

            table = file.to_table(made.task, file.shipped(made.task))
        state = made.init_seeds(jax.random.split(jax.random.key(0), 2))
        return jax.jit(lambda state: made.train_seeds(state, table, 2))(state)[0].params

    plain, warm = after(), after(warmup_updates=1, warmup_epochs=4)
    same = [np.array_equal(a, b) for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(warm), strict=True)]
    assert all(same) if algo == "ppo" else not any(same)


def test_a_warm_up_of_no_pass_is_refused():
    with pytest.raises(ConfigError, match="`warmup_epochs` must be at least 1, not 0"):
        trainer(warmup_epochs=0)


def test_without_a_teacher_there_is_no_warm_up():
    assert trainer().config.warmup_updates == 24
    assert trainer(algo="ppo", teacher="none").config.warmup_updates == 0
