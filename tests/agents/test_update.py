"""One update: minibatches lose no row, and the whole loss is its terms, worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from l4t_jax.agents.update import Batch, Weights, loss, minibatches, update
from l4t_jax.envs.state import MemoryMap
from l4t_jax.kernels import GPU, PORTABLE


class TinyStudent:
    """Two actions and a constant value: its parameters are the logits and the value themselves."""

    def initial_carry(self, batch):
        return ()

    def apply(self, params, carry, memory, reset):
        shape = reset.shape
        return carry, jnp.broadcast_to(params["logits"], (*shape, 2)), jnp.broadcast_to(params["value"], shape)


def batch_of(action, log_prob, value, advantage, target, teacher, carry=()):
    shape = np.shape(action)
    memory = MemoryMap(
        cells=jnp.zeros((*shape, 3, 3), jnp.uint8), agent=jnp.zeros((*shape, 3), jnp.int8),
        carrying=jnp.zeros(shape, jnp.uint8), pickup_position=jnp.zeros((*shape, 2), jnp.int8),
    )  # fmt: skip
    arrays = [jnp.asarray(a, jnp.float32) for a in (log_prob, value, advantage, target, teacher)]
    return Batch(memory, jnp.zeros(shape, bool), jnp.asarray(action, jnp.int32), *arrays, carry, jnp.arange(shape[1]))


LN2 = float(np.log(2))
# One environment, two steps. The student's probabilities are (1/2, 1/2), its value 1.
STEP = batch_of(
    action=[[0], [1]], log_prob=[[-LN2], [np.log(0.25)]], value=[[0.5], [2.0]], advantage=[[1.0], [-1.0]],
    target=[[1.5], [0.0]], teacher=[[[1.0, 0.0]], [[0.0, 0.0]]],
)  # fmt: skip
PARAMS = {"logits": jnp.zeros(2), "value": jnp.float32(1.0)}


def test_the_terms_of_the_loss_by_hand():
    _, terms = loss(TinyStudent(), PARAMS, STEP, Weights(1.0, 2.0, 0.1, 0.5, 0.2))
    # ratios 1 and 2: min(1, 1) = 1 and min(-2, -1.2) = -2, mean -0.5, loss 0.5; one of two is clipped
    assert float(terms["policy_loss"]) == pytest.approx(0.5) and float(terms["clipped"]) == pytest.approx(0.5)
    # values: 1 against 1.5, from .5 clipped to .7: max(.25, .64) = .64; 1 against 0, from 2 clipped to 1.8: 3.24
    assert float(terms["value_loss"]) == pytest.approx((0.64 + 3.24) / 2)
    assert float(terms["entropy"]) == pytest.approx(LN2)
    assert float(terms["distill_loss"]) == pytest.approx(LN2 / 2)  # ln 2, and 0 where there is no guidance
    assert float(terms["loss"]) == pytest.approx(0.5 + 0.5 * 1.94 - 0.1 * LN2 + 2.0 * LN2 / 2, rel=1e-6)


def test_without_the_reward_only_the_teacher_counts():
    total, _ = loss(TinyStudent(), PARAMS, STEP, Weights(0.0, 2.0, 0.1, 0.5, 0.2))
    assert float(total) == pytest.approx(LN2, rel=1e-6)


def test_a_gradient_step_by_hand():
    """Distillation alone, plain gradient descent: d/dlogits of the cross-entropy is p - q, halved by the empty row."""
    weights = Weights(0.0, 1.0, 0.0, 0.0, 0.2)
    params, _, terms = update(
        TinyStudent(), optax.sgd(1.0), jax.random.key(0), PARAMS, optax.sgd(1.0).init(PARAMS), STEP, weights, 1, 1
    )
    np.testing.assert_allclose(params["logits"], [0.25, -0.25], atol=1e-6)  # minus (1/2 - 1, 1/2 - 0) / 2
    assert float(params["value"]) == 1.0
    assert float(terms["grad_norm"]) == pytest.approx(np.sqrt(2) / 4, rel=1e-5)


def numbered(steps, env_states, carry=()):
    """A batch whose every entry is its own number."""
    number = np.arange(steps * env_states, dtype=np.float32).reshape(steps, env_states)
    return batch_of(number, number, number, number, number, np.stack([number, -number], axis=-1), carry)


def test_minibatches_hold_every_row_once_and_keep_rows_together(key):
    cut = minibatches(key, numbered(12, 5), 4, by_env=False)
    assert cut.action.shape == (4, 3, 5)
    np.testing.assert_array_equal(np.sort(cut.action.reshape(-1)), np.arange(60))
    for leaf in (cut.log_prob, cut.value, cut.advantage, cut.target, cut.teacher[..., 0], -cut.teacher[..., 1]):
        np.testing.assert_array_equal(leaf, cut.action)
    np.testing.assert_array_equal(cut.action % 5, np.broadcast_to(np.arange(5), (4, 3, 5)))  # never across environments
    assert len({tuple(np.asarray(cut.action)[..., i].reshape(-1) // 5) for i in range(5)}) == 5  # each its own order


def test_minibatches_on_one_axis_are_the_same(key):
    batch = numbered(12, 5)
    cut, flat = (minibatches(key, batch, 4, by_env=False, kernel=kernel) for kernel in (PORTABLE, GPU))
    assert flat.action.shape == (4, 1, 15) and flat.teacher.shape == (4, 1, 15, 2)
    for one, other in zip(
        jax.tree.leaves(cut.replace(env_id=())), jax.tree.leaves(flat.replace(env_id=())), strict=True
    ):
        np.testing.assert_array_equal(one.reshape(4, -1), other.reshape(4, -1))
    np.testing.assert_array_equal(flat.env_id[0], flat.action[0, 0] % 5)


def test_minibatches_of_a_recurrent_student_keep_worlds_whole_and_in_order(key):
    carry = (jnp.arange(6.0)[:, None], jnp.arange(6.0)[:, None])
    cut = minibatches(key, numbered(4, 6, carry), 3, by_env=True)
    assert cut.action.shape == (3, 4, 2) and cut.carry[0].shape == (3, 2, 1)
    np.testing.assert_array_equal(np.sort(cut.action.reshape(-1)), np.arange(24))
    env_state = cut.action % 6
    np.testing.assert_array_equal(env_state, np.broadcast_to(env_state[:, :1], (3, 4, 2)))
    np.testing.assert_array_equal(cut.action // 6, np.broadcast_to(np.arange(4)[:, None], (3, 4, 2)))
    np.testing.assert_array_equal(cut.carry[0][..., 0], env_state[:, 0])


def test_every_epoch_passes_over_the_batch_in_another_order(key):
    a, b = (minibatches(k, numbered(12, 5), 4, by_env=False).action for k in jax.random.split(key))
    assert (np.asarray(a) != np.asarray(b)).any()
