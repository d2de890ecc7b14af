"""Success in training by age of episode: hand-worked rates, and long episodes of which no failure has ended."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.success import SuccessByAge


def counted(max_steps, age, success, terminated=None):
    """One environment's steps."""
    rows = [jnp.asarray(x)[:, None] for x in (age, success, success if terminated is None else terminated)]
    return SuccessByAge.none(max_steps).add(*rows)


def test_nothing_counted_is_no_success():
    assert float(SuccessByAge.none(5).rate()) == 0.0


def test_rates_by_hand():
    # Four steps at age 0, of which one succeeds: 1/4. Two at age 1, one succeeds, one falls: 3/4 * 1/2 = 3/8.
    age = [0, 0, 0, 0, 1, 1]
    success = [True, False, False, False, True, False]
    terminated = [True, False, False, False, True, True]
    counts = counted(3, age, success, terminated)
    np.testing.assert_array_equal(counts.steps, [4, 2, 0])
    np.testing.assert_array_equal(counts.successes, [1, 1, 0])
    np.testing.assert_array_equal(counts.failures, [0, 1, 0])
    assert float(counts.rate()) == pytest.approx(1 / 4 + 3 / 8)


def test_an_age_that_nobody_reached_counts_as_failed():
    # Half of the episodes succeed at age 0, the others run on; that ages 1 and 2 are unknown helps nobody.
    assert float(counted(3, [0, 0], [True, False]).rate()) == pytest.approx(0.5)


def test_what_was_counted_fades_by_the_steps_of_an_episode():
    counts = counted(4, [0, 1], [False, True]).add(*[jnp.zeros((2, 1), d) for d in (jnp.int32, bool, bool)])
    np.testing.assert_allclose(counts.steps, [np.exp(-0.5) + 2, np.exp(-0.5), 0, 0], rtol=1e-6)
    np.testing.assert_allclose(counts.successes, [0, np.exp(-0.5), 0, 0], rtol=1e-6)


@pytest.mark.parametrize("share", [0.8, 0.5, 1.0])
def test_long_episodes_that_still_run_do_not_flatter(share):
    """Episodes that succeed do so within 200 steps, the others take 1,080: after 800 steps no failure has ended."""
    rng = np.random.default_rng(3)
    envs, rollouts, steps, max_steps = 128, 25, 32, 1080
    length = np.where(rng.random((envs, 800)) < share, rng.integers(100, 200, (envs, 800)), max_steps)
    add = jax.jit(SuccessByAge.add)
    counts, t, episode = SuccessByAge.none(max_steps), np.zeros(envs, int), np.zeros(envs, int)
    ended = won = 0
    for _ in range(rollouts):
        age, success = np.zeros((steps, envs), np.int32), np.zeros((steps, envs), bool)
        for s in range(steps):
            age[s] = t
            done = t + 1 == length[np.arange(envs), episode]
            success[s] = done & (t + 1 < max_steps)
            ended, won = ended + done.sum(), won + success[s].sum()
            t, episode = np.where(done, 0, t + 1), episode + done
        counts = add(counts, age, success, success)
    assert won == ended > 100  # the share of ended episodes is 1
    assert float(counts.rate()) == pytest.approx(share, abs=0.06)
