"""What advice was worth, and the trust that follows: numbers worked by hand, and advice that is right or wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.trust import Advice

HALF = float(np.log(0.5))


def advice(gain, square):
    """Faded sums as given."""
    return Advice.none(len(gain)).replace(gain=jnp.asarray(gain, jnp.float32), square=jnp.asarray(square, jnp.float32))


def test_trust_by_hand():
    # z = gain / sqrt(square + 1): 0; 2; 3.5, which is 1.5 above 2, half of 3; -8; -5.
    one = advice([0.0, 2.0, 7.0, -8.0, -10.0], [8.0, 0.0, 3.0, 0.0, 3.0])
    np.testing.assert_allclose(one.evidence(), [0.0, 2.0, 3.5, -8.0, -5.0], rtol=1e-6)
    np.testing.assert_allclose(one.trust(jnp.float32(0.25)), [0.25, 0.25, 0.75, 0.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(one.trust(jnp.float32(1.0)), [1.0, 1.0, 1.0, 0.0, 0.0], rtol=1e-6)
    # Without evidence it is what the success leaves, to the bit.
    np.testing.assert_array_equal(Advice.none(2).trust(jnp.float32(0.3)), np.array([0.3, 0.3], np.float32))


def test_a_rollout_by_hand():
    """Two actions, each with probability 1/2. Rows in states 0, 0, 1 and one that nobody labelled."""
    state = jnp.array([[0], [0], [1], [1]])
    label = jnp.array([[[1.0, 0.0]], [[1.0, 0.0]], [[0.25, 0.75]], [[0.0, 0.0]]])
    action = jnp.array([[0], [1], [1], [0]])
    advantage = jnp.array([[1.0], [-2.0], [1.0], [9.0]])
    before = advice([1.0, 0.0, 4.0], [1.0, 0.0, 2.0])
    after = before.add(state, label, action, jnp.full((4, 1), HALF), advantage, jnp.float32(1.0), 0.5)
    # Ratios 2, 0 and 1.5: gains (2-1)*1 = 1, (0-1)*-2 = 2, (1.5-1)*1 = 0.5; squares 1, 4, 0.25. What was before halves.
    np.testing.assert_allclose(after.gain, [0.5 + 3, 0.5, 2.0], rtol=1e-6)
    np.testing.assert_allclose(after.square, [0.5 + 5, 0.25, 1.0], rtol=1e-6)
    np.testing.assert_allclose(after.total_gain, [3, 0.5, 0], rtol=1e-6)
    np.testing.assert_array_equal(after.total_steps, [2, 1, 0])
    np.testing.assert_allclose(after.total_trust, [2, 1, 0], rtol=1e-6)


def test_a_rare_action_counts_at_most_five_times():
    after = Advice.none(1).add(
        jnp.zeros((1, 1), int), jnp.array([[[1.0, 0.0]]]), jnp.zeros((1, 1), int), jnp.full((1, 1), np.log(1e-3)),
        jnp.ones((1, 1)), jnp.float32(1.0), 1.0,
    )  # fmt: skip
    assert float(after.gain[0]) == pytest.approx(4.0)


def test_where_nobody_was_asked_nothing_fades():
    one = advice([1.0, -3.0], [2.0, 5.0])
    rows = jnp.zeros((4, 2), int)
    after = one.add(rows, jnp.zeros((4, 2, 7)), rows, jnp.zeros((4, 2)), jnp.ones((4, 2)), jnp.float32(0.0), 0.5)
    jax.tree.map(np.testing.assert_array_equal, after, one)


@pytest.mark.parametrize("better, trusted", [(0, (0.9, 1.0)), (1, (0.0, 0.1)), (None, (0.4, 0.6))])
def test_advice_is_trusted_where_the_advised_action_is_the_better_one(better, trusted):
    """The teacher says 0. The better action has an advantage of 0.2 in noise of 1; the student takes either."""
    rng = np.random.default_rng(0)
    one = Advice.none(1)
    for _ in range(10):
        action = jnp.asarray(rng.integers(0, 2, (32, 64)))
        gain = 0.0 if better is None else 0.2
        advantage = jnp.asarray(rng.normal(size=action.shape) + np.where(action == better, gain, -gain), jnp.float32)
        label = jnp.broadcast_to(jnp.array([1.0, 0.0]), (*action.shape, 2))
        one = one.add(
            jnp.zeros_like(action), label, action, jnp.full(action.shape, HALF), advantage, jnp.float32(0.5), 0.8
        )
    assert trusted[0] <= float(one.trust(jnp.float32(0.5))[0]) <= trusted[1]
