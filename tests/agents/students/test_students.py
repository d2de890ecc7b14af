"""Every student: shapes, finite numbers, resets inside the scan."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.students import apply_student, is_recurrent, make_student, prepare, student_names
from l4t_jax.agents.students.ego import EgoMLP
from l4t_jax.agents.students.gru import EgoGRU
from l4t_jax.agents.students.paper import PaperLSTM
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.state import MemoryMap
from l4t_jax.errors import ConfigError
from l4t_jax.kernels import GPU, PORTABLE, TPU

TIME, BATCH = 7, 4


@pytest.fixture(scope="module")
def known_of(random_known):
    """Random memory maps of a task's size, (T, B)."""

    def get(name):
        task = get_task(name)
        flat = random_known(np.random.default_rng(1), (task.width, task.height), TIME * BATCH, inside=False)
        return jax.tree.map(lambda leaf: leaf.reshape(TIME, BATCH, *leaf.shape[1:]), flat)

    return get


@pytest.mark.parametrize("tuning", [GPU, TPU], ids=lambda tuning: tuning.name)
@pytest.mark.parametrize("name", ["ego", "cnn", "gru"])
def test_an_accelerators_student_has_the_same_parameters_and_computes_the_same(name, tuning, known_of):
    """Values and gradients, on one row of environments."""
    one = jax.tree.map(lambda leaf: leaf[:1], known_of("SimpleDoorKey"))
    reset = jnp.zeros((1, BATCH), bool)
    plain, tuned = (make_student(name, get_task("SimpleDoorKey"), 16, kernel=kernel) for kernel in (PORTABLE, tuning))
    carry = plain.initial_carry(BATCH)
    params = jax.jit(plain.init)(jax.random.key(0), carry, one, reset)

    def found(student):
        def loss(params):
            _, logits, value = student.apply(params, *prepare(student, carry, one, reset), reset)
            return jnp.sum(jnp.sin(logits)) + jnp.sum(value**2)

        return jax.jit(jax.value_and_grad(loss))(params)

    assert jax.tree.map(jnp.shape, jax.eval_shape(tuned.init, jax.random.key(0), carry, one, reset)) == jax.tree.map(
        jnp.shape, params
    )
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4), found(tuned), found(plain))


@pytest.fixture(scope="module", params=sorted(student_names()))
def built(request, known_of):
    """A student, its parameters, its compiled `apply`, and memory maps."""
    student = make_student(request.param, get_task("SimpleDoorKey"), 32)
    memory, reset = known_of("SimpleDoorKey"), jnp.zeros((TIME, BATCH), bool)
    params = jax.jit(student.init)(jax.random.key(0), student.initial_carry(BATCH), memory, reset)
    return student, params, jax.jit(student.apply), memory


def like(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def test_every_student_keeps_the_contract(built):
    student, params, apply, memory = built
    start = student.initial_carry(BATCH)
    carry, logits, value = apply(params, start, memory, jnp.zeros((TIME, BATCH), bool))
    assert logits.shape == (TIME, BATCH, NUM_ACTIONS) and value.shape == (TIME, BATCH)
    assert logits.dtype == value.dtype == jnp.float32
    assert bool(jnp.isfinite(logits).all() and jnp.isfinite(value).all())
    assert like(carry) == like(start)
    assert is_recurrent(student) == (type(student) in (PaperLSTM, EgoGRU))
    assert np.unique(np.asarray(value)).size == TIME * BATCH  # it sees its input


class Column(nn.Module):
    """A student that leaves the last axis of its values, as `nn.Dense(1)` gives it."""

    def initial_carry(self, batch):
        return ()

    def __call__(self, carry, observation, reset):
        return carry, jnp.zeros((*reset.shape, NUM_ACTIONS)), jnp.zeros((*reset.shape, 1))


def test_values_of_a_wrong_shape_are_said_in_one_sentence_before_they_broadcast():
    said = r"the student Column gives .* values of shape \(7, 4, 1\); .* should be \(7, 4, outputs\) and \(7, 4\)"
    with pytest.raises(ConfigError, match=said):
        apply_student(Column(), {}, (), None, jnp.zeros((TIME, BATCH), bool))


def test_a_student_takes_what_it_prepared_for_the_maps(built):
    student, params, apply, memory = built
    start, reset = student.initial_carry(BATCH), jnp.zeros((TIME, BATCH), bool)
    after, ready = jax.jit(partial(prepare, student))(start, memory, reset)
    assert isinstance(ready, MemoryMap) == (type(student) not in (EgoMLP, EgoGRU))
    jax.tree.map(np.testing.assert_array_equal, apply(params, after, ready, reset), apply(params, start, memory, reset))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("student_name", sorted(student_names()))
def test_every_student_takes_maps_of_any_task_in_any_precision(student_name, task_name, dtype, known_of):
    student = make_student(student_name, get_task(task_name), 16, dtype)
    memory, reset, carry = known_of(task_name), jnp.zeros((TIME, BATCH), bool), student.initial_carry(BATCH)
    params = jax.eval_shape(student.init, jax.random.key(0), carry, memory, reset)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    after, logits, value = jax.eval_shape(student.apply, params, carry, memory, reset)
    assert logits.shape == (TIME, BATCH, NUM_ACTIONS) and value.shape == (TIME, BATCH)
    assert logits.dtype == value.dtype == jnp.float32
    assert like(after) == like(carry)


def test_steps_at_a_time_and_all_at_once_are_the_same(built):
    student, params, apply, memory = built
    reset = jnp.zeros((TIME, BATCH), bool).at[3, 1].set(True)
    _, logits, value = apply(params, student.initial_carry(BATCH), memory, reset)
    carry = student.initial_carry(BATCH)
    for t in range(TIME):
        now = jax.tree.map(lambda leaf, t=t: leaf[t : t + 1], memory)
        carry, one_logits, one_value = apply(params, carry, now, reset[t : t + 1])
        np.testing.assert_allclose(one_logits[0], logits[t], atol=1e-5)
        np.testing.assert_allclose(one_value[0], value[t], atol=1e-5)


def test_after_a_reset_nothing_earlier_matters(built):
    student, params, apply, memory = built
    other = jax.tree.map(lambda leaf: leaf.at[:3].set(jnp.roll(leaf[:3], 1, axis=1)), memory)  # others' first steps
    reset = jnp.zeros((TIME, BATCH), bool).at[3].set(True)
    clean = student.initial_carry(BATCH)
    dirty = jax.tree.map(lambda leaf: leaf + 3.0, clean)
    _, logits, value = apply(params, clean, memory, reset)
    _, others, other_value = apply(params, dirty, other, reset)
    np.testing.assert_array_equal(others[3:], logits[3:])
    np.testing.assert_array_equal(other_value[3:], value[3:])
    assert (np.asarray(others[:3]) != np.asarray(logits[:3])).any()
    if is_recurrent(student):  # and without it, it does
        _, kept, _ = apply(params, dirty, other, jnp.zeros((TIME, BATCH), bool))
        assert (np.asarray(kept[3:]) != np.asarray(logits[3:])).any()
