"""Rollouts of whole episodes: which rows are steps, what they are worth, and that padding counts nowhere."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from clockwork import MAX_STEPS, TASK, Clockwork

from l4t_jax.agents import losses
from l4t_jax.agents import update as update_module
from l4t_jax.agents.controllers import Primitive
from l4t_jax.agents.episodes import episodes, most_rows, most_steps
from l4t_jax.agents.labels import in_used_parts
from l4t_jax.agents.observations import MAP
from l4t_jax.agents.rollout import Envs, Play, Rollout, begin
from l4t_jax.agents.success import SuccessByAge
from l4t_jax.agents.update import Weights, loss, make_batch, update, update_in_sizes
from l4t_jax.kernels import GPU, PORTABLE

GAMMA = 0.9


def counting(carry, memory, reset):
    """Its value tells how many steps its episode has taken, which it carries, and how long the episode is."""
    age = jnp.where(reset[0], 0, carry) + 1
    return age, jnp.zeros((*reset.shape, 7)), (10.0 * age + memory.agent[..., 0])[None][0]


def play_on(lengths, least_steps: int, first, key: int = 2) -> tuple[Envs, Envs, Rollout]:
    """Episodes on levels of these lengths; the environments before and after, and the rows."""
    env = Clockwork.create(task=TASK)
    level = env.initial(jax.random.key(0))

    def of_length(length):
        return level.replace(agent=level.agent.at[0].set(length.astype(jnp.int8)))

    pool = jax.vmap(of_length)(jnp.asarray(lengths))
    envs = begin(jax.random.key(1), pool, len(first), jnp.zeros(len(first), jnp.int32))
    envs = envs.replace(env_state=jax.vmap(of_length)(jnp.asarray(first)))
    play = Play(env, counting, pool, Primitive(), MAP, False, None, 0.0)
    after, rows = jax.jit(lambda envs: episodes(play, jax.random.key(key), envs, least_steps))(envs)
    return envs, after, jax.tree.map(np.asarray, rows)


def expected_valid(rows: Rollout, first: list[int], least_steps: int) -> np.ndarray:
    """Which rows are steps, found one environment at a time."""
    valid = np.zeros(rows.action.shape, bool)
    lengths = [min(length, MAX_STEPS) for length in first]
    for i, length in enumerate(lengths):
        valid[:length, i] = True
    turn, steps, number = max(lengths), sum(lengths), 0
    while steps < least_steps:
        i = number % len(first)
        length = min(int(rows.observation.agent[turn, i, 0]), MAX_STEPS)
        valid[turn : turn + length, i] = True
        turn, steps, number = turn + length, steps + length, number + 1
    return valid


def expected_returns(rows: Rollout, valid: np.ndarray) -> np.ndarray:
    """Discounted returns of the valid rows, bootstrapped where an episode was cut off; one environment at a time."""
    returns = np.zeros(valid.shape)
    for i in range(valid.shape[1]):
        worth = np.nan
        for t in reversed(np.flatnonzero(valid[:, i])):
            length = int(rows.observation.agent[t, i, 0])
            if rows.terminated[t, i]:
                worth = 0.0
            elif rows.truncated[t, i]:
                worth = 10.0 * (MAX_STEPS + 1) + length  # the student's value of the final state
            worth = rows.reward[t, i] + GAMMA * worth
            returns[t, i] = worth
    return returns


CASES = {
    "enough": ([1, 2, 3, 5], 8, [3, 8, 1, 5]),
    "two more, and one cut off": ([2, 8], 20, [1, 4, 2, 5]),
    "many short ones": ([1], 25, [1, 1, 1]),
    "all cut off": ([7, 8], 1, [7, 8]),
    "one environment": ([3, 8, 1], 17, [2]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_rows_are_whole_episodes_until_there_are_enough(case: str) -> None:
    lengths, least_steps, first = CASES[case]
    _, after, rows = play_on(lengths, least_steps, first)
    valid = expected_valid(rows, first, least_steps)
    np.testing.assert_array_equal(rows.valid, valid)
    assert valid.shape[0] == most_rows(len(first), MAX_STEPS, least_steps)
    steps = valid.sum()
    assert least_steps <= steps <= most_steps(len(first), MAX_STEPS, least_steps)
    done = rows.terminated | rows.truncated
    assert after.reset.all() and not np.asarray(after.t).any()
    for i in range(len(first)):
        own = np.flatnonzero(valid[:, i])
        assert rows.reset[own[0], i] and done[own[-1], i]  # begins and ends with an episode
        np.testing.assert_array_equal(rows.reset[own[1:], i], done[own[:-1], i])
        np.testing.assert_array_equal(
            rows.value[own, i] // 10, rows.age[own, i] + 1
        )  # what it carries is the episode's


@pytest.mark.parametrize("kernel", [PORTABLE, GPU])
@pytest.mark.parametrize("case", CASES)
def test_returns_and_advantages_of_a_ragged_rollout(case: str, kernel) -> None:
    lengths, least_steps, first = CASES[case]
    _, _, rows = play_on(lengths, least_steps, first)
    valid = expected_valid(rows, first, least_steps)
    batch = make_batch(rows, None, jnp.arange(len(first)), GAMMA, 1.0, kernel=kernel)
    returns = expected_returns(rows, valid)
    np.testing.assert_allclose(np.asarray(batch.target)[valid], returns[valid], rtol=1e-5)
    advantage = (returns - rows.value)[valid]
    normal = (advantage - advantage.mean()) / (advantage.std() + 1e-5)
    np.testing.assert_allclose(np.asarray(batch.advantage)[valid], normal, rtol=1e-4, atol=1e-5)
    assert not np.asarray(batch.advantage)[~valid].any()


class Linear:
    """Logits and value are linear in what it observes; it may remember, and then learns by environment."""

    def __init__(self, recurrent: bool) -> None:
        self.recurrent = recurrent

    def initial_carry(self, batch):
        return jnp.zeros(batch) if self.recurrent else ()

    def apply(self, params, carry, observation, reset):
        return carry, observation @ params["logits"], observation @ params["value"]


T, N, F = 12, 4, 5


def ragged(seed: int = 0, padding: int = 0) -> tuple[Rollout, jax.Array]:
    """A rollout with labels, of random numbers; those in the padding are drawn with a seed of their own."""
    length = np.array([12, 3, 7, 5])
    valid = np.arange(T)[:, None] < length
    random, other = np.random.default_rng(seed), np.random.default_rng(100 + padding)

    def drawn(draw) -> Any:
        mine, theirs = draw(random), draw(other)
        return jnp.asarray(np.where(valid.reshape(T, N, *[1] * (mine.ndim - 2)), mine, theirs))

    last = np.arange(T)[:, None] == length - 1

    def ends(who: int) -> Any:
        return jnp.asarray(np.where(valid, last & (np.arange(N) % 2 == who), np.asarray(drawn(is_rare))))

    def is_rare(random) -> Any:
        return random.random((T, N)) < 0.3

    def normal(random) -> Any:
        return random.standard_normal((T, N)).astype(np.float32)

    def features(random) -> Any:
        return random.standard_normal((T, N, F)).astype(np.float32)

    def choice(random) -> Any:
        return random.integers(0, 7, (T, N)).astype(np.int32)

    def label(random) -> Any:
        return random.dirichlet(np.ones(7), (T, N)).astype(np.float32)

    def age(random) -> Any:
        return random.integers(0, T, (T, N)).astype(np.int32)

    rows = Rollout(
        observation=drawn(features), reset=drawn(is_rare), action=drawn(choice), log_prob=drawn(normal) - 2.0,
        value=drawn(normal), next_value=drawn(normal), reward=drawn(normal), success=drawn(is_rare), age=drawn(age),
        terminated=ends(0), truncated=ends(1), carry=jnp.zeros(N), valid=jnp.asarray(valid), observes_memory=False,
    )  # fmt: skip
    return rows, drawn(label)


PARAMS = {"logits": jnp.zeros((F, 7)), "value": jnp.zeros(F)}
WEIGHTS = Weights(reward=1.0, distill=2.0, entropy=0.1, value=0.5, clip=0.2)


def learned(rows: Rollout, label: jax.Array, recurrent: bool, epochs: int = 2, size: int = 8) -> Any:
    optimizer = optax.adam(0.1)
    batch = make_batch(rows, label, jnp.arange(N), GAMMA, 1.0)
    student: Any = Linear(recurrent)
    learn, count = (update, 2) if recurrent else (update_in_sizes, size)
    return learn(
        student, optimizer, jax.random.key(3), PARAMS, optimizer.init(PARAMS), batch, WEIGHTS, epochs, count
    )  # fmt: skip


@pytest.mark.parametrize("recurrent", [False, True])
def test_padding_changes_nothing_that_is_learned(recurrent: bool) -> None:
    found = [learned(*ragged(padding=padding), recurrent) for padding in (0, 1)]
    jax.tree.map(np.testing.assert_array_equal, *found)
    other = learned(*ragged(seed=1), recurrent)
    assert (np.asarray(other[0]["logits"]) != np.asarray(found[0][0]["logits"])).any()


def test_a_recurrent_students_loss_is_a_mean_over_steps() -> None:
    """One minibatch of all environments; at the first parameters its distillation loss is ln 7."""
    rows, label = ragged()
    optimizer: Any = optax.sgd(0.0)
    batch = make_batch(rows, label, jnp.arange(N), GAMMA, 1.0)
    student: Any = Linear(True)
    _, _, terms = update(
        student, optimizer, jax.random.key(0), PARAMS, optimizer.init(PARAMS), batch, WEIGHTS, 1, 1
    )  # fmt: skip
    assert float(terms["distill_loss"]) == pytest.approx(np.log(7), rel=1e-5)
    assert float(terms["entropy"]) == pytest.approx(np.log(7), rel=1e-5)
    valid, target = np.asarray(batch.valid), np.asarray(batch.target)
    value = np.asarray(batch.value) + np.clip(-np.asarray(batch.value), -0.2, 0.2)
    expected = np.maximum(target**2, (value - target) ** 2)[valid].mean()
    assert float(terms["value_loss"]) == pytest.approx(expected, rel=1e-5)


class Counting:
    """A recurrent student whose value tells how many steps its episode has taken; its logits read its parameters."""

    learns_through_carry = True

    def initial_carry(self, batch: int) -> jax.Array:
        return jnp.zeros(batch)

    def apply(self, params: Any, carry: jax.Array, observation: jax.Array, reset: jax.Array) -> Any:
        def step(carry: jax.Array, row: Any) -> tuple[jax.Array, jax.Array]:
            observation, reset = row
            carry = jnp.where(reset, 0.0, carry) + 1 + jnp.sin(observation @ params["value"])
            return carry, carry

        carry, ages = jax.lax.scan(step, carry, (observation, reset))
        return carry, observation @ params["logits"] + ages[..., None], ages


@pytest.mark.parametrize("piece", [1, 3, 5, 12, 40])
def test_pieces_of_a_padded_batch_teach_what_the_whole_does(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, gradients; of a piece that is padding alone nothing is computed."""
    monkeypatch.setattr(update_module, "PIECE", piece)
    rows, label = ragged()
    rows = rows.replace(reset=rows.reset.at[0].set(True))
    batch = make_batch(rows, label, jnp.arange(N), GAMMA, 1.0)
    # Padding before the steps of all environments but the first, which has none.
    apart = jnp.stack([jnp.arange(T), *[jnp.roll(jnp.arange(T), 5)] * (N - 1)], axis=1)

    def moved(leaf: jax.Array) -> jax.Array:
        return jnp.take_along_axis(leaf, apart.reshape(T, N, *[1] * (leaf.ndim - 2)), axis=0)

    scattered = jax.tree.map(moved, batch.replace(carry=(), env_id=())).replace(carry=batch.carry, env_id=batch.env_id)
    student: Any = Counting()
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.arange(leaf.size).reshape(leaf.shape), PARAMS)

    def of(batch: Any) -> Any:
        return jax.jit(jax.value_and_grad(lambda params: loss(student, params, batch, WEIGHTS), has_aux=True))(params)

    def whole(params: Any) -> Any:
        monkeypatch.setattr(update_module, "_in_pieces", lambda valid, *args: update_module.apply_student(*args))
        return loss(student, params, batch, WEIGHTS)

    ordered = update_module._steps_first(scattered)
    for leaf, before in ((ordered.valid, batch.valid), (ordered.action, batch.action)):
        np.testing.assert_array_equal(*(np.where(batch.valid, one, -1) for one in (leaf, before)))
    found = of(ordered)
    expected = jax.value_and_grad(whole, has_aux=True)(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)


def test_a_piece_that_is_padding_alone_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_module, "PIECE", 4)
    rows, _ = ragged()
    valid = rows.valid.at[8:].set(False)
    student: Any = Counting()
    carry, _, ages = update_module._in_pieces(valid, student, PARAMS, jnp.zeros(N), rows.observation, rows.reset)
    np.testing.assert_array_equal(carry, ages[7])  # as it was before the padding
    assert (np.asarray(ages[:8]) > 0).all() and (np.asarray(ages[8:]) == 0).all()


@pytest.mark.parametrize(("size", "used"), [(8, 24), (27, 27), (13, 26), (14, 14)])
def test_a_last_minibatch_that_is_not_full_is_dropped(size: int, used: int) -> None:
    """27 steps. Every row has a parameter of its own, so the parameters tell which rows were learned from."""
    rows, label = ragged()
    rows = rows.replace(observation=jnp.eye(T * N).reshape(T, N, T * N))
    params = {"logits": jnp.zeros((T * N, 7)), "value": jnp.zeros(T * N)}
    optimizer = optax.chain(optax.sgd(1.0), optax.scale_by_schedule(lambda count: 1.0))
    batch = make_batch(rows, label, jnp.arange(N), GAMMA, 1.0)
    student: Any = Linear(False)
    after, kept, terms = jax.jit(
        lambda key: update_in_sizes(student, optimizer, key, params, optimizer.init(params), batch, WEIGHTS, 1, size)
    )(jax.random.key(5))
    touched = np.asarray(after["logits"]).any(axis=1).reshape(T, N)
    assert touched.sum() == used and not (touched & ~np.asarray(rows.valid)).any()
    assert int(kept[1].count) == used // size
    assert float(terms["entropy"]) == pytest.approx(np.log(7), rel=1e-5)  # each row is met once, at zero parameters


def test_every_pass_draws_its_minibatches_anew() -> None:
    rows, label = ragged()
    found = [np.asarray(learned(rows, label, False, epochs, 14)[0]["logits"]) for epochs in (1, 2)]
    assert (found[0] != found[1]).any()


def test_success_is_counted_over_steps_alone() -> None:
    found = []
    for padding in (0, 1):
        rows, _ = ragged(padding=padding)
        counts = SuccessByAge.none(T).replace(steps=jnp.ones(T)).add(
            rows.age, rows.success, rows.terminated, valid=rows.valid
        )  # fmt: skip
        found.append(counts)
    jax.tree.map(np.testing.assert_array_equal, *found)
    # 27 steps; what was there before has faded by as many steps as an environment took on average.
    assert float(found[0].steps.sum()) == pytest.approx(27 + T * np.exp(-27 / N / T), rel=1e-5)


@pytest.mark.parametrize("last", [0, 1, 4, 7, 10])
def test_rows_are_looked_at_up_to_the_last_one_in_use(last: int) -> None:
    rows = jnp.arange(1, 11)
    made = np.asarray(in_used_parts(lambda part: 2 * part, 4, rows, jnp.arange(10) < last))
    np.testing.assert_array_equal(made[:last], 2 * np.arange(1, last + 1))
    assert not made[last + 4 :].any()


def test_the_weight_of_the_distillation_loss_by_hand() -> None:
    log_pi = losses.log_policy(jnp.zeros((2, 2)))
    label = jnp.array([[1.0, 0.0], [0.0, 0.0]])
    each = losses.distillation_loss(log_pi, label)
    assert float(losses.mean(each, jnp.array([True, False]))) == pytest.approx(np.log(2))
    assert float(losses.mean(each, None)) == pytest.approx(np.log(2) / 2)
