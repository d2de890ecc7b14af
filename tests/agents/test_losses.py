"""Every loss term against numbers worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents import losses

pytestmark = pytest.mark.usefixtures("no_silent_broadcast")

# One environment, four steps, gamma 0.5. The first episode terminates at t = 1, the second is cut off at t = 2; the
# true final state of the second is worth 8, the fresh level that follows is worth 4 (V at t = 3), and the last state 2.
REWARD = [1.0, 2.0, 0.0, 1.0]
VALUE = [1.0, 3.0, 2.0, 4.0]
NEXT_VALUE = [3.0, 2.0, 8.0, 2.0]  # at t = 1 it is not read: the value of the next episode's level stands there
TERMINATED = [False, True, False, False]
TRUNCATED = [False, False, True, False]


def advantages(gae_lambda, **changes):
    arrays = dict(
        reward=REWARD, value=VALUE, next_value=NEXT_VALUE, terminated=TERMINATED, truncated=TRUNCATED, **changes
    )
    columns = {name: jnp.array(column)[:, None] for name, column in arrays.items()}
    found = losses.advantages(**columns, gamma=0.5, gae_lambda=gae_lambda)
    at_once = losses.advantages(**columns, gamma=0.5, gae_lambda=gae_lambda, at_once=True)
    for one, other in zip(found, at_once, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    return tuple(out[:, 0] for out in found)


def test_advantages_by_hand_with_a_termination_and_a_truncation():
    # delta: t=3: 1 + .5*2 - 4 = -2      t=2: 0 + .5*8 - 2 = 2
    #        t=1: 2 + 0    - 3 = -1      t=0: 1 + .5*3 - 1 = 1.5
    # trace (gamma * lambda = .25): it ends at t = 2 and at t = 1, and runs from t = 1 back to t = 0:
    #        A3 = -2, A2 = 2, A1 = -1, A0 = 1.5 + .25 * (-1) = 1.25
    advantage, target = advantages(0.5)
    np.testing.assert_allclose(advantage, [1.25, -1.0, 2.0, -2.0], rtol=1e-6)
    np.testing.assert_allclose(target, [2.25, 2.0, 4.0, 2.0], rtol=1e-6)


def test_with_lambda_one_the_target_is_the_discounted_return():
    # t=3: 1 + .5*2 = 2; t=2: cut off: 0 + .5*8 = 4; t=1: terminated: 2; t=0: 1 + .5*2 = 2
    _, target = advantages(1.0)
    np.testing.assert_allclose(target, [2.0, 2.0, 4.0, 2.0], rtol=1e-6)


def test_with_lambda_zero_the_target_looks_one_step_ahead():
    # t=0: 1 + .5*3; t=1: 2; t=2: .5*8; t=3: 1 + .5*2
    _, target = advantages(0.0)
    np.testing.assert_allclose(target, [2.5, 2.0, 4.0, 2.0], rtol=1e-6)


def test_the_value_after_a_termination_is_never_read():
    reward, value = jnp.array([[1.0]]), jnp.array([[0.0]])
    for after in (7.0, jnp.inf, jnp.nan):
        advantage, _ = losses.advantages(
            reward, value, jnp.array([[after]]), jnp.array([[True]]), jnp.array([[False]]), 0.5, 1.0
        )
        np.testing.assert_array_equal(advantage, [[1.0]])


def option_advantages(terminated_at=None):
    """Four steps of one environment; the choice made at t = 0 goes on at t = 1. gamma 0.5, lambda 0.5."""
    columns = dict(reward=[1.0, 2.0, 0.0, 4.0], value=[1.0, 9.0, 2.0, 3.0], next_value=[9.0, 2.0, 3.0, 2.0])
    arrays = {name: jnp.array(column)[:, None] for name, column in columns.items()}
    ended = jnp.zeros((4, 1), bool)
    terminated = ended if terminated_at is None else ended.at[terminated_at].set(True)
    option_boundary = jnp.array([[True], [False], [True], [True]])
    advantage, target = losses.advantages(
        **arrays, terminated=terminated, truncated=ended, gamma=0.5, gae_lambda=0.5, option_boundary=option_boundary
    )
    return advantage[jnp.array([0, 2, 3]), 0], target[jnp.array([0, 2, 3]), 0]


def test_advantages_of_choices_that_go_on_for_several_steps_by_hand():
    # t=3: 4 + .5*2 = 5, advantage 2                          t=2: 0 + .5*(3 + .5*2) = 2, advantage 0
    # t=0: rewards 1 + .5*2, then .25 * (V(t=2) + .5*0) = .5: worth 2.5, advantage 1.5
    advantage, target = option_advantages()
    np.testing.assert_allclose(advantage, [1.5, 0.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(target, [2.5, 2.0, 5.0], rtol=1e-6)


def test_a_choice_that_ends_with_the_episode_by_hand():
    # t=0: rewards 1 + .5*2 and nothing after: worth 2
    _, target = option_advantages(terminated_at=1)
    np.testing.assert_allclose(target, [2.0, 2.0, 5.0], rtol=1e-6)


def test_rows_without_weight_count_for_nothing():
    weight = jnp.array([1.0, 0.0, 3.0])
    assert float(losses.mean(jnp.array([2.0, 100.0, 6.0]), weight)) == pytest.approx(5.0)  # (2 + 18) / 4
    # mean 5, squared deviations 9 and 1 with weights 1 and 3: variance 3
    s = np.sqrt(3) + 1e-5
    normal = losses.normalise(jnp.array([2.0, 100.0, 6.0]), weight)
    np.testing.assert_allclose(normal[jnp.array([0, 2])], [-3 / s, 1 / s], rtol=1e-5)
    terms = dict(a=jnp.array([[2.0, 100.0, 6.0]]), b=jnp.array([[1.0, 7.0, 1.0]]))
    found = losses.means(terms, weight[None])
    assert {name: float(one) for name, one in found.items()} == pytest.approx(dict(a=5.0, b=1.0))
    assert float(losses.means(terms, None)["a"]) == pytest.approx(36.0)
    assert float(losses.mean(jnp.ones(3), jnp.zeros(3))) == 0.0


def test_worlds_do_not_mix():
    columns = dict(reward=REWARD, value=VALUE, next_value=NEXT_VALUE, terminated=TERMINATED, truncated=TRUNCATED)
    two = {name: jnp.stack([jnp.array(c), jnp.zeros_like(jnp.array(c))], axis=1) for name, c in columns.items()}
    advantage, _ = losses.advantages(**two, gamma=0.5, gae_lambda=0.5)
    np.testing.assert_allclose(advantage[:, 0], [1.25, -1.0, 2.0, -2.0], rtol=1e-6)
    np.testing.assert_array_equal(advantage[:, 1], 0)


def test_arrays_of_other_shapes_are_refused():
    with pytest.raises(AssertionError):
        losses.advantages(
            jnp.zeros((4, 1)), jnp.zeros((5, 1)), jnp.zeros((4, 1)), *[jnp.zeros((4, 1), bool)] * 2, 0.5, 1.0
        )


def test_the_clipped_surrogate_by_hand():
    # ratio, advantage -> min(r A, clip(r, .8, 1.2) A):
    #   1.5,  1 -> min(1.5, 1.2) = 1.2     1.5, -1 -> min(-1.5, -1.2) = -1.5
    #   0.5,  1 -> min(.5, .8)   = 0.5     0.5, -2 -> min(-1, -1.6)   = -1.6
    #   1.1,  2 -> 2.2
    # Four of five ratios are beyond the range.
    ratio = jnp.array([1.5, 1.5, 0.5, 0.5, 1.1])
    advantage = jnp.array([1.0, -1.0, 1.0, -2.0, 2.0])
    old = jnp.array([-1.0, -2.0, -0.5, -1.5, -3.0])
    loss, clipped = losses.policy_loss(old + jnp.log(ratio), old, advantage, 0.2)
    np.testing.assert_allclose(loss, [-1.2, 1.5, -0.5, 1.6, -2.2], rtol=1e-5)
    np.testing.assert_array_equal(clipped, [1, 1, 1, 1, 0])


def test_the_clipped_value_loss_by_hand():
    # value, old, target, clip .2 -> the larger of (v - t)^2 and (clipped - t)^2:
    #   1.0, 0.0, 1.0 -> clipped .2: max(0, .64) = .64
    #   0.1, 0.0, 1.0 -> clipped .1: .81
    #  -1.0, 0.0, 1.0 -> clipped -.2: max(4, 1.44) = 4
    # No half.
    loss = losses.value_loss(jnp.array([1.0, 0.1, -1.0]), jnp.zeros(3), jnp.ones(3), 0.2)
    np.testing.assert_allclose(loss, [0.64, 0.81, 4.0], rtol=1e-5)


def test_entropy_by_hand():
    # (1/2, 1/4, 1/4): 1/2 ln 2 + 1/2 ln 4 = 1.5 ln 2; two alike, the third has none: ln 2.
    logits = jnp.array([[np.log(2.0), 0.0, 0.0], [5.0, 5.0, -80.0]])
    np.testing.assert_allclose(losses.entropy(losses.log_policy(logits)), [1.5 * np.log(2), np.log(2)], rtol=1e-5)


def test_log_probability_by_hand():
    logits = jnp.array([[[np.log(2.0), 0.0, 0.0]], [[0.0, 0.0, 0.0]]])  # (1/2, 1/4, 1/4) and thirds
    got = losses.log_probability(losses.log_policy(logits), jnp.array([[0], [2]]))
    np.testing.assert_allclose(got, np.log([[1 / 2], [1 / 3]]), rtol=1e-6)


def test_distillation_by_hand_and_a_row_without_guidance_counts_as_nothing():
    # Student (1/2, 1/4, 1/4), teacher (.2, .8, 0): .2 ln 2 + .8 ln 4 = 1.8 ln 2; no guidance: 0.
    logits = jnp.array([[np.log(2.0), 0.0, 0.0], [3.0, -1.0, 0.0]])
    teacher = jnp.array([[0.2, 0.8, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(
        losses.distillation_loss(losses.log_policy(logits), teacher), [1.8 * np.log(2), 0], rtol=1e-5
    )


def test_normalised_numbers_by_hand():
    # mean 3, deviations -2, 0, 2: standard deviation sqrt(8/3)
    s = np.sqrt(8 / 3) + 1e-5
    np.testing.assert_allclose(losses.normalise(jnp.array([[1.0], [3.0], [5.0]])), [[-2 / s], [0], [2 / s]], rtol=1e-5)
    np.testing.assert_array_equal(losses.normalise(jnp.full(4, 7.0)), 0)


@pytest.mark.parametrize(
    "progress, weight", [(0.0, 10.0), (0.25, 7.525), (0.5, 5.05), (1.0 - 1e-7, 0.1), (0.0 + 0.66, 3.466)]
)
def test_the_fall_of_the_distillation_weight(progress, weight):
    # From 10 to 0.1 over the whole run: 10 - 9.9 p.
    assert float(losses.linear_coefficient(jnp.float32(progress), 10.0, 0.1, 1.0, 2.0)) == pytest.approx(
        weight, rel=1e-4
    )


def test_the_distillation_weight_rests_at_its_floor_and_ends():
    def at(progress):
        return float(losses.linear_coefficient(jnp.float32(progress), 10.0, 0.1, 0.5, 0.75))

    assert at(0.6) == pytest.approx(0.1, rel=1e-5) and at(0.749) == pytest.approx(0.1, rel=1e-5)
    assert at(0.75) == 0.0 and at(1.0) == 0.0


@pytest.mark.parametrize(
    "student, teacher, left",
    [(0.0, 0.5, 1.0), (0.25, 0.5, 0.5), (0.5, 0.5, 0.0), (0.9, 0.5, 0), (0.495, 0.5, 0), (0.0, 0.0, 0), (0.01, 0.0, 0)],
)
def test_a_student_is_weaned_as_it_nears_its_teacher(student, teacher, left):
    assert float(losses.adaptive_coefficient(jnp.float32(student), teacher)) == pytest.approx(left, abs=1e-6)
