"""Every student: shapes, finite numbers, resets inside the scan; and what the two kinds of input promise."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.networks import STUDENTS, Dense, PatchConv, ego_features, is_recurrent, make_student, prepare
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.state import MemoryMap

TIME, BATCH = 7, 4


@pytest.fixture(scope="module")
def known_of(random_known):
    """Random memory maps of a task's size, (T, B)."""

    def get(name):
        task = get_task(name)
        flat = random_known(np.random.default_rng(1), (task.width, task.height), TIME * BATCH, inside=False)
        return jax.tree.map(lambda leaf: leaf.reshape(TIME, BATCH, *leaf.shape[1:]), flat)

    return get


@pytest.fixture(scope="module", params=sorted(STUDENTS))
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
    assert is_recurrent(student) == (type(student) is STUDENTS["lstm"])
    assert np.unique(np.asarray(value)).size == TIME * BATCH  # it sees its input


def test_a_student_takes_what_it_prepared_for_the_maps(built):
    student, params, apply, memory = built
    start, reset = student.initial_carry(BATCH), jnp.zeros((TIME, BATCH), bool)
    ready = jax.jit(lambda memory: prepare(student, memory))(memory)
    assert isinstance(ready, MemoryMap) == (type(student) is not STUDENTS["ego"])
    jax.tree.map(np.testing.assert_array_equal, apply(params, start, ready, reset), apply(params, start, memory, reset))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("student_name", sorted(STUDENTS))
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


def test_the_patch_convolution_is_a_convolution(key):
    x = jax.random.normal(key, (4, 10, 7, 2, 3))
    layer = PatchConv(5)
    params = layer.init(key, x)
    (dense,) = jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, dict) and "kernel" in node)
    kernel = dense["kernel"].reshape(3, 3, 4, 5)
    flat = jnp.moveaxis(x.reshape(4, 10, 7, 6), (3, 0), (0, 3))
    expected = jax.lax.conv_general_dilated(flat, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    got = jnp.moveaxis(layer.apply(params, x).reshape(5, 10, 7, 6), (3, 0), (0, 3))
    np.testing.assert_allclose(got, expected + dense["bias"], atol=1e-5)
    # PyTorch's default: uniform in +-1/sqrt(fan in), fan in 3 * 3 * 4 = 36
    assert float(jnp.abs(kernel).max()) <= 1 / 6 and float(jnp.abs(kernel).max()) > 0.15
    assert float(jnp.abs(dense["bias"]).max()) <= 1 / 6
    assert float(jnp.std(kernel)) == pytest.approx(1 / 6 / 3**0.5, rel=0.15)


def test_a_linear_layer_and_its_written_gradient_are_flaxs(key):
    x = jax.random.normal(key, (6, 5, 4))  # (batch, batch, in): flax has the batch first
    theirs = nn.Dense(3)
    params = theirs.init(key, x)

    def loss(layer, x, params):
        return jnp.sum(jnp.sin(layer(params, x)))

    expected = jax.value_and_grad(lambda x, p: loss(theirs.apply, x, p), (0, 1))(x, params)
    ours = lambda p, x: jnp.moveaxis(Dense(3).apply(p, jnp.moveaxis(x, -1, 0)), 0, -1)  # noqa: E731
    got = jax.value_and_grad(lambda x, p: loss(ours, x, p), (0, 1))(x, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, expected)


def quarter_turn(memory: MemoryMap, size: int) -> MemoryMap:
    """The whole environment turned by 90 degrees: (x, y) -> (size - 1 - y, x), direction + 1."""
    cells = jnp.flip(jnp.swapaxes(memory.cells, -2, -1), -2)
    x, y, d = (memory.agent[..., i] for i in range(3))
    agent = jnp.stack([size - 1 - y, x, (d + 1) % 4], axis=-1).astype(jnp.int8)
    ox, oy = memory.pickup_position[..., 0], memory.pickup_position[..., 1]
    pickup_position = jnp.where(
        ox[..., None] < 0, memory.pickup_position, jnp.stack([size - 1 - oy, ox], axis=-1).astype(jnp.int8)
    )
    return memory.replace(cells=cells, agent=agent, pickup_position=pickup_position)


def test_a_quarter_turn_is_one(key):
    cells = jnp.zeros((5, 5), jnp.uint8).at[3, 1].set(7)  # directly ahead of an agent at (2, 1) that looks right
    memory = MemoryMap(cells, jnp.array([2, 1, 0], jnp.int8), jnp.uint8(0), jnp.array([-1, -1], jnp.int8))
    turned = quarter_turn(memory, 5)
    np.testing.assert_array_equal(turned.agent, [3, 2, 1])
    assert int(turned.cells[3, 3]) == 7  # below it: ahead of one that looks down


def test_the_default_students_input_turns_with_the_world(task_name, random_known, rng):
    task = get_task(task_name)
    memory = random_known(rng, (task.width, task.height), 64, inside=False)
    features = jax.jit(lambda memory: ego_features(task, memory, 7))
    expected = np.asarray(features(memory))
    assert expected.shape[0] == 64 and len(np.unique(expected, axis=0)) > 60
    for _ in range(4):
        memory = quarter_turn(memory, task.width)
        np.testing.assert_array_equal(features(memory), expected)


def test_the_default_students_input_moves_with_the_world(rng):
    """A room moved by (2, 1) on a larger map of floor never seen looks the same from within."""
    task = get_task("DivergedDoorKey")
    room = rng.choice(np.array([0, 1, 2 | 5 << 4, 5, 12], np.uint8), (10, 8, 8))
    agent = np.stack([rng.integers(0, 8, 10), rng.integers(0, 8, 10), rng.integers(0, 4, 10)], 1)

    def placed(dx, dy):
        cells = np.zeros((10, 20, 20), np.uint8)
        cells[:, 5 + dx : 13 + dx, 6 + dy : 14 + dy] = room
        where = agent + np.array([5 + dx, 6 + dy, 0])
        cells[np.arange(10), where[:, 0], where[:, 1]] = 1
        return MemoryMap(
            jnp.asarray(cells), jnp.asarray(where, jnp.int8), jnp.zeros(10, jnp.uint8), jnp.full((10, 2), -1, jnp.int8)
        )

    here, there = (np.asarray(ego_features(task, placed(*by), 7)) for by in ((0, 0), (2, 1)))
    # What is unseen reaches to the map's edge, so its own share of the features differs; the rest may not.
    differing = np.flatnonzero((here != there).any(axis=0))
    cells = 2 * 39 + 7 * 7  # rows and columns as seen from the agent, and the window
    carried = 1 + sum(role.portable for role in task.objects)
    _, rest = divmod(here.shape[1] - carried, cells)
    assert rest == 0
    assert set((differing // cells).tolist()) <= {0}
