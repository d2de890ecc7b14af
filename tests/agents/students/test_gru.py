"""The recurrent student of views: its GRU beside flax's, what it reads, and its rows in rollout and update."""

import dataclasses
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.abstraction.scene import Scene
from l4t_jax.agents import losses
from l4t_jax.agents.observations import VIEW
from l4t_jax.agents.rollout import begin, rollout
from l4t_jax.agents.students import apply_student, make_student, prepare
from l4t_jax.agents.students.features import planes, word_groups
from l4t_jax.agents.students.gru import GRU
from l4t_jax.agents.update import Batch, Weights, loss, make_batch, minibatches
from l4t_jax.envs import get_task
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.visibility import see
from l4t_jax.kernels import CPU, PORTABLE, TPU, Kernels

STEPS, ENVS = 6, 5


@pytest.mark.parametrize("tuning", [CPU, PORTABLE, TPU], ids=lambda tuning: tuning.name)
def test_it_is_flaxs_cell_over_time_with_states_zeroed_at_resets(tuning: Kernels, key: jax.Array) -> None:
    """Values and gradients, the same weights in both."""
    keys = jax.random.split(key, 4)
    x = jax.random.normal(keys[0], (3, STEPS, ENVS))
    state = jax.random.normal(keys[1], (4, ENVS))
    reset = jnp.zeros((STEPS, ENVS), bool).at[2, 1].set(True).at[0, 3].set(True)
    ours, cell = GRU(4, 32, tuning), nn.GRUCell(4)
    params: Any = ours.init(keys[2], state, x, reset)

    def moved(leaf: jax.Array) -> jax.Array:
        return leaf + 0.1 * jax.random.normal(keys[3], leaf.shape)  # biases that are not zeros

    params = jax.tree.map(moved, params)

    def plain(params: Any) -> tuple[jax.Array, jax.Array]:
        given, own = params["params"]["inputs"], params["params"]["kernel"]
        thirds = [jnp.split(leaf, 3, axis=-1) for leaf in (given["kernel"], given["bias"], own)]
        theirs: dict[str, Any] = {}
        for name, kernel, bias, recurrent in zip("rzn", *thirds, strict=True):
            theirs[f"i{name}"], theirs[f"h{name}"] = dict(kernel=kernel, bias=bias), dict(kernel=recurrent)
        theirs["hn"]["bias"] = params["params"]["bias"]
        carry, states = state.T, list[jax.Array]()
        for t in range(STEPS):
            carry = jnp.where(reset[t][:, None], 0.0, carry)
            carry, _ = cell.apply({"params": theirs}, carry, x[:, t].T)  # pyright: ignore[reportGeneralTypeIssues]
            states.append(carry.T)
        return carry.T, jnp.stack(states, axis=1)

    def total(function: Any, params: Any) -> jax.Array:
        last, states = function(params)
        return jnp.sum(jnp.sin(3 * states)) + jnp.sum(last**2)

    def tuned(params: Any) -> Any:
        return ours.apply(params, state, x, reset)

    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, jax.jit(tuned)(params), jax.jit(plain)(params))
    found, wanted = (jax.jit(jax.grad(partial(total, function)))(params) for function in (tuned, plain))
    jax.tree.map(close, found, wanted)


def test_at_first_its_units_keep_their_state_for_up_to_the_steps_asked_for(key: jax.Array) -> None:
    """With nothing coming in, a unit's state is left at 1 - 1 / (1 + T), T evenly from 1 to 32."""
    state, x, reset = jnp.zeros((400, 1)), jnp.zeros((3, 1, 1)), jnp.zeros((1, 1), bool)
    params: Any = GRU(400, 32).init(key, state, x, reset)
    reset_gate, update, new = np.split(np.asarray(params["params"]["inputs"]["bias"]), 3)
    np.testing.assert_array_equal(reset_gate, 0.0)
    np.testing.assert_array_equal(new, 0.0)
    kept = np.exp(update)
    assert 1 <= kept.min() < 2 and 31 < kept.max() <= 32 and abs(kept.mean() - 16.5) < 1.5


def test_it_reads_every_cell_of_the_view(draw: Any, key: jax.Array) -> None:
    """Row by row, the agent's own first: as the view shows them, upside down and turned."""
    task = VIEW.network_task(get_task("KeyCorridorS3R3"))
    states = draw("KeyCorridorS3R3", key, 20)
    views = jax.vmap(lambda state: see(state, task.view))(states)
    student = make_student("gru", task, 8)
    carry, reset = student.initial_carry(20), jnp.ones((1, 20), bool)
    after, words = prepare(student, carry, jax.tree.map(lambda leaf: leaf[None], views), reset)
    np.testing.assert_array_equal(after, carry)
    at = sum(group.words for group in word_groups(task, task.view)[:2])
    cells = np.asarray(words[0, :, at : at + task.view**2]).reshape(20, task.view, task.view)
    shown = planes(Scene.of(task, views, PORTABLE))
    assert len(shown) > 5
    for i, plane in enumerate(shown):  # bool[W, H, B]: x to the right, y down, the agent at the bottom
        np.testing.assert_array_equal(cells >> i & 1, np.moveaxis(np.asarray(plane)[:, ::-1], (1, 0), (1, 2)), str(i))


@pytest.fixture(scope="module")
def played(draw: Any) -> tuple[Any, Any, Any]:
    """A student with parameters, and its rollout on views in which episodes end and others go on."""
    task = dataclasses.replace(get_task("DoorKey-5x5"), max_steps=9)
    env, student = make_env(task), make_student("gru", VIEW.network_task(task), 16)
    pool, key = draw("DoorKey-5x5", jax.random.key(1), 8), jax.random.key(2)
    envs = begin(key, pool, 8, student.initial_carry(8))
    seen = jax.tree.map(lambda leaf: leaf[None], VIEW.of(env)(envs.env_state))
    params: Any = jax.jit(student.init)(key, envs.carry, seen, envs.reset[None])
    params["params"]["Dense_1"]["kernel"] *= 100.0  # of the logits: else all actions are alike at first
    ready = partial(prepare, student)

    def play(envs: Any, key: jax.Array) -> Any:
        act = partial(apply_student, student, params)
        return rollout(env, act, key, envs, pool, 8, observation=VIEW, keep_memory=False, prepare=ready)

    envs, _ = jax.jit(play)(envs, key)
    return student, params, jax.jit(play)(envs, jax.random.key(3))[1]


def test_rollout_and_update_give_the_same_probabilities(played: tuple[Any, Any, Any]) -> None:
    student, params, rows = played
    assert bool(jnp.any(rows.reset[1:])) and bool(jnp.any(rows.carry != 0))
    batch = make_batch(rows, None, jnp.arange(8, dtype=jnp.int32), 0.99, 0.95)
    cut = minibatches(jax.random.key(4), batch, 2, by_env=True)
    for i in range(2):
        part: Batch = jax.tree.map(lambda leaf, i=i: leaf[i], cut)
        _, logits, value = apply_student(student, params, part.carry, part.observation, part.reset)
        log_prob = losses.log_probability(losses.log_policy(logits), part.action)
        np.testing.assert_allclose(log_prob, part.log_prob, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(value, part.value, rtol=1e-4, atol=1e-5)
    assert float(jnp.ptp(rows.log_prob)) > 0.1


def test_the_loss_reaches_back_through_the_state_to_the_last_reset(played: tuple[Any, Any, Any]) -> None:
    """What an environment saw at its first step counts for its last, unless its episode ended between."""
    student, params, rows = played
    batch = make_batch(rows, None, jnp.arange(8, dtype=jnp.int32), 0.99, 0.95)

    def of_the_end(carry: jax.Array) -> jax.Array:
        _, _, value = apply_student(student, params, carry, batch.observation, batch.reset)
        return jnp.sum(value[-1])

    slope = jax.grad(of_the_end)(batch.carry)
    np.testing.assert_array_equal(jnp.any(slope != 0, axis=1), ~jnp.any(batch.reset, axis=0))
    total, terms = loss(student, params, batch, Weights(1.0, 0.0, 0.01, 0.5, 0.2))
    assert bool(jnp.isfinite(total)) and float(terms["kl"]) == pytest.approx(0.0, abs=1e-5)
