"""What advice was worth, and the trust that follows: numbers worked by hand, and advice that is right or wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.trust import OTHERS, Advice
from l4t_jax.teacher.policy import Advised, mixture

HALF = float(np.log(0.5))


def advice(gain, square):
    """Faded sums as given."""
    return Advice.none(len(gain), 2).replace(
        gain=jnp.asarray(gain, jnp.float32), square=jnp.asarray(square, jnp.float32)
    )


def advised(state, action=(0, 1), weight=(0.5, 0.5)):
    """Two steps alone, no plans: their actions and weights are the same in all rows, or given for each."""
    shape = (2, *state.shape)
    action, weight = (
        jnp.asarray(one).reshape(2, *[1] * state.ndim) if np.ndim(one) == 1 else one for one in (action, weight)
    )
    return Advised(
        state=state, step=jnp.zeros((*state.shape, 0), int),
        action=jnp.broadcast_to(action, shape), weight=jnp.broadcast_to(weight, shape),
    )  # fmt: skip


def test_trust_by_hand():
    # z = gain / sqrt(square + 1): 0; 2; 3.5, which is 1.5 above 2, half of 3; -8; -5.
    one = advice([0.0, 2.0, 7.0, -8.0, -10.0], [8.0, 0.0, 3.0, 0.0, 3.0])
    np.testing.assert_allclose(one.evidence(), [0.0, 2.0, 3.5, -8.0, -5.0], rtol=1e-6)
    np.testing.assert_allclose(one.trust(jnp.float32(0.25)), [0.25, 0.25, 0.75, 0.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(one.trust(jnp.float32(1.0)), [1.0, 1.0, 1.0, 0.0, 0.0], rtol=1e-6)
    # Without evidence it is what the success leaves, to the bit.
    np.testing.assert_array_equal(Advice.none(2, 1).trust(jnp.float32(0.3)), np.array([0.3, 0.3], np.float32))


def test_a_rollout_by_hand():
    """Two actions, each with probability 1/2. Rows in states 0, 0, 1 and one that nobody labelled."""
    state = jnp.array([[0], [0], [1], [1]])
    label = jnp.array([[[1.0, 0.0]], [[1.0, 0.0]], [[0.25, 0.75]], [[0.0, 0.0]]])
    action = jnp.array([[0], [1], [1], [0]])
    advantage = jnp.array([[1.0], [-2.0], [1.0], [9.0]])
    before = advice([1.0, 0.0, 4.0], [1.0, 0.0, 2.0])
    # In the row of state 1 the first step can do nothing: its weight is 0.
    weight = jnp.array([[0.5, 0.5, 0.0, 0.5], [0.5, 0.5, 1.0, 0.5]])[..., None]
    before = before.replace(step_gain=jnp.full((3, 2), 2.0), step_square=jnp.full((3, 2), 4.0))
    after = before.add(
        advised(state, (0, 1), weight), label, action, jnp.full((4, 1), HALF), advantage, jnp.float32(1.0), 0.5
    )
    # Ratios 2, 0 and 1.5: gains (2-1)*1 = 1, (0-1)*-2 = 2, (1.5-1)*1 = 0.5; squares 1, 4, 0.25. What was before halves.
    np.testing.assert_allclose(after.gain, [0.5 + 3, 0.5, 2.0], rtol=1e-6)
    np.testing.assert_allclose(after.square, [0.5 + 5, 0.25, 1.0], rtol=1e-6)
    # Step 0 would have taken action 0, so x is (2-1)*1 and (0-1)*-2 in state 0; step 1 action 1: (0-1)*1, (2-1)*-2;
    # in state 1 only step 1 counts, (2-1)*1. The row without a label counts nowhere.
    np.testing.assert_allclose(after.step_gain, [[1 + 3, 1 - 3], [1, 1 + 1], [1, 1]], rtol=1e-6)
    np.testing.assert_allclose(after.step_square, [[2 + 5, 2 + 5], [2, 2 + 1], [2, 2]], rtol=1e-6)
    np.testing.assert_allclose(after.total_gain, [3, 0.5, 0], rtol=1e-6)
    np.testing.assert_array_equal(after.total_steps, [2, 1, 0])
    np.testing.assert_allclose(after.total_trust, [2, 1, 0], rtol=1e-6)


def test_a_rare_action_counts_at_most_five_times():
    after = Advice.none(1, 2).add(
        advised(jnp.zeros((1, 1), int)), jnp.array([[[1.0, 0.0]]]), jnp.zeros((1, 1), int),
        jnp.full((1, 1), np.log(1e-3)), jnp.ones((1, 1)), jnp.float32(1.0), 1.0,
    )  # fmt: skip
    assert float(after.gain[0]) == pytest.approx(4.0)
    np.testing.assert_allclose(after.step_gain, [[4.0, -1.0]], rtol=1e-6)


def test_where_nobody_was_asked_nothing_fades():
    one = advice([1.0, -3.0], [2.0, 5.0])
    rows = jnp.zeros((4, 2), int)
    after = one.add(
        advised(rows), jnp.zeros((4, 2, 7)), rows, jnp.zeros((4, 2)), jnp.ones((4, 2)), jnp.float32(0.0), 0.5
    )
    jax.tree.map(np.testing.assert_array_equal, after, one)


@pytest.mark.parametrize("better, trusted", [(0, (0.9, 1.0)), (1, (0.0, 0.1)), (None, (0.4, 0.6))])
def test_advice_is_trusted_where_the_advised_action_is_the_better_one(better, trusted):
    """The teacher says 0. The better action has an advantage of 0.2 in noise of 1; the student takes either."""
    rng = np.random.default_rng(0)
    one = Advice.none(1, 2)
    for _ in range(10):
        action = jnp.asarray(rng.integers(0, 2, (32, 64)))
        gain = 0.0 if better is None else 0.2
        advantage = jnp.asarray(rng.normal(size=action.shape) + np.where(action == better, gain, -gain), jnp.float32)
        label = jnp.broadcast_to(jnp.array([1.0, 0.0]), (*action.shape, 2))
        one = one.add(
            advised(jnp.zeros_like(action)),
            label,
            action,
            jnp.full(action.shape, HALF),
            advantage,
            jnp.float32(0.5),
            0.8,
        )
    assert trusted[0] <= float(one.trust(jnp.float32(0.5))[0]) <= trusted[1]
    step = one.step_evidence()[0]
    assert better is None or (float(step[better]) > 5 and float(step[1 - better]) < -5)


def test_weights_by_hand():
    """One state with evidence 1 and -1 for its two steps; a plan at step 0, one at step 1 and the two steps alone."""
    one = Advice.none(2, 2).replace(
        step_gain=jnp.array([[2.0, -2.0], [0.0, 0.0]]), step_square=jnp.array([[3.0, 3.0], [0.0, 0.0]])
    )
    np.testing.assert_allclose(one.step_evidence(), [[1.0, -1.0], [0.0, 0.0]], rtol=1e-6)
    weight = jnp.array([[0.6, 0.6, 0.0], [0.3, 0.3, 0.0], [0.1, 0.1, 0.0], [0.0, 0.0, 0.0]])
    rows = Advised(
        state=jnp.array([0, 1, 0]),
        step=jnp.array([[0, 1], [0, 1], [0, 1]]),
        action=jnp.zeros((4, 3), int),
        weight=weight,
    )
    e = np.exp(1.0)
    changed = np.array([0.6 * e, 0.3 / e, 0.1 * e, 0.0])
    np.testing.assert_allclose(
        one.weights(rows), np.stack([changed / changed.sum(), weight[:, 1], weight[:, 2]], axis=1), rtol=1e-6
    )  # without evidence they are what they were; where there are no plans they stay 0


def test_evidence_without_bounds_keeps_weights_that_can_be_counted_with():
    one = Advice.none(1, 2).replace(step_gain=jnp.array([[1e6, -1e6]]), step_square=jnp.ones((1, 2)))
    rows = advised(jnp.zeros(3, int))
    np.testing.assert_allclose(one.weights(rows), np.broadcast_to([[1.0], [0.0]], (2, 3)), atol=1e-9)


def test_a_step_that_nobody_proposed_wins_where_it_is_the_better_one():
    """The plan is at step 0; step 1 has the least share. Its action is better by 0.4 in noise of 1."""
    rng = np.random.default_rng(1)
    one, state = Advice.none(1, 2), jnp.zeros((32, 64), int)
    weight = jnp.array([1 - OTHERS, OTHERS / 2, OTHERS / 2]).reshape(3, 1, 1)
    rows = Advised(
        state=state, step=jnp.zeros((32, 64, 1), int), weight=jnp.broadcast_to(weight, (3, 32, 64)),
        action=jnp.broadcast_to(jnp.array([0, 0, 1]).reshape(3, 1, 1), (3, 32, 64)),
    )  # fmt: skip
    for _ in range(10):
        action = jnp.asarray(rng.integers(0, 2, state.shape))
        advantage = jnp.asarray(rng.normal(size=state.shape) + np.where(action == 1, 0.2, -0.2), jnp.float32)
        label = mixture(rows.action, one.weights(rows))
        one = one.add(rows, label, action, jnp.full(state.shape, HALF), advantage, jnp.float32(0.5), 0.8)
    assert float(mixture(rows.action, one.weights(rows))[0, 0, 1]) > 0.99
