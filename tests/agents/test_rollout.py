"""Rollouts: every row a real step of the same environment on MiniGrid, and values of the right states."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.rollout import Envs, begin, is_greedy, rollout
from l4t_jax.envs import get_task, minigrid
from l4t_jax.envs.cells import FORWARD, LEFT, NUM_ACTIONS, TOGGLE, decode_cells
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import MemoryMap, as_observation
from l4t_jax.kernels import GPU, PORTABLE, TPU

NAME, NUM_ENVS, STEPS = "LavaDoorKey", 6, 150


def worth(observation, age):
    """A value that tells every state from every other: of the whole observation, and the steps since the reset."""
    weight = np.arange(1, observation[0].size + 1, dtype=np.float32).reshape(observation.shape[1:]) % 97
    return (observation * weight).sum(axis=(1, 2, 3)) % 1009 + 2000.0 * age


def counting_student(logits_of):
    """Acts by `logits_of(key)`, and carries how many steps its episode has taken: its value depends on that too."""

    def act(carry, memory: MemoryMap, reset):
        age = jnp.where(reset[0], 0, carry) + 1  # this step included
        observation = as_observation(memory)[0].astype(jnp.float32)
        weight = jnp.arange(1, observation[0].size + 1, dtype=jnp.float32).reshape(observation.shape[1:]) % 97
        value = (observation * weight).sum(axis=(1, 2, 3)) % 1009 + 2000.0 * age
        return age, logits_of(age)[None], value[None]

    return act


@pytest.fixture(scope="module")
def rolled(draw, play):
    """A rollout on one level, so that the twin can follow through the resets; actions from the teacher at times."""
    task = get_task(NAME)
    env = make_env(task)
    env_states = draw(NAME, jax.random.key(3), 32)
    played = play(NAME, env_states, jax.random.key(4), STEPS)
    won = (played.live() & (played.reward > 0)).any(axis=0)
    best = np.flatnonzero(won)[np.argmin(played.live().sum(axis=0)[won])]
    length = int(played.live()[:, best].sum())
    way = jnp.asarray(played.action[:length, best])  # opens the door
    level = jax.tree.map(lambda leaf: leaf[best : best + 1], env_states)

    def logits_of(age):
        """Environments 0 and 1 follow the way to the door, the others act at random; 2 and 3 never step forward into
        lava.
        """
        led = 60.0 * jax.nn.one_hot(way[jnp.clip(age - 1, 0, length - 1)], NUM_ACTIONS)
        env_state = jnp.arange(NUM_ENVS)[:, None]
        standing = jnp.zeros(NUM_ACTIONS).at[FORWARD].set(-60.0)
        return jnp.select([env_state < 2, env_state < 4], [led, standing], jnp.zeros(NUM_ACTIONS))

    envs = begin(jax.random.key(0), level, NUM_ENVS, jnp.zeros(NUM_ENVS, jnp.int32))
    # Ages at which environment 1 arrives at the very last step, and others are cut off within the rollout.
    envs = envs.replace(t=jnp.array([0, 150 - length, 0, 100, 149, 148]))
    run = jax.jit(partial(rollout, env, counting_student(logits_of), num_steps=STEPS))
    after, rows = run(jax.random.key(2), envs, level)
    return task, level, envs, after, jax.tree.map(np.asarray, rows), length


def follow(task, level, envs, rows):
    """The twin's account of the same actions: obs, reset, reward, terminated, truncated, final obs of every row."""
    cells, agent = np.asarray(decode_cells(level.cells[0])), tuple(int(v) for v in level.agent[0])
    account = []
    for i in range(NUM_ENVS):
        twin = minigrid.make(task.name)
        observation, reset, column = twin.load_layout(cells, agent), True, []
        twin.unwrapped.step_count = int(envs.t[i])
        for action in rows.action[:, i]:
            then, reward, terminated, truncated, _ = twin.step(int(action))
            column.append((observation, reset, reward, terminated, truncated, then))
            reset = terminated or truncated
            observation = twin.load_layout(cells, agent) if reset else then
        account.append(column)
    columns = [[np.array(part) for part in zip(*column, strict=True)] for column in account]  # (N)(6)(T, ...)
    return [np.stack(part, axis=1) for part in zip(*columns, strict=True)]


def test_every_row_is_a_step_of_the_world_and_none_is_dead(rolled):
    task, level, envs, after, rows, _ = rolled
    observation, reset, reward, terminated, truncated, _ = follow(task, level, envs, rows)
    assert rows.action.shape == (STEPS, NUM_ENVS)
    memory = jax.tree.map(jnp.asarray, rows.memory)
    np.testing.assert_array_equal(as_observation(memory), observation)
    np.testing.assert_array_equal(rows.reset, reset)
    np.testing.assert_allclose(rows.reward, reward, atol=1e-6)
    np.testing.assert_array_equal(rows.terminated, terminated)
    np.testing.assert_array_equal(rows.truncated, truncated & ~terminated)
    np.testing.assert_array_equal(rows.success, reward > 0)  # on MiniGrid the reward is paid for success alone
    done = rows.terminated | rows.truncated
    np.testing.assert_array_equal(rows.reset[1:], done[:-1])
    np.testing.assert_array_equal(rows.age[0], envs.t)
    np.testing.assert_array_equal(rows.age[1:], np.where(done[:-1], 0, rows.age[:-1] + 1))
    np.testing.assert_array_equal(after.reset, done[-1])
    # Steps and rows are the same number: each environment's last age follows from where its last episode began.
    for i in range(NUM_ENVS):
        ends = np.flatnonzero(done[:, i])
        expected = STEPS - 1 - ends[-1] if len(ends) else STEPS + int(envs.t[i])
        assert int(after.t[i]) == expected
    assert rows.truncated.sum() >= 3 and rows.terminated.sum() > 5 and (rows.reward > 0).sum() > 5


def test_the_next_value_is_of_the_state_that_the_action_led_to(rolled):
    """Within an episode the next row's; where it was cut off the true final state's, not the fresh level's."""
    task, level, envs, _, rows, _ = rolled
    observation, reset, _, terminated, truncated, then = follow(task, level, envs, rows)
    age = np.zeros((STEPS, NUM_ENVS), int)
    for t in range(STEPS):
        age[t] = np.where(reset[t], 0, age[t - 1] if t else 0) + 1
    for t in range(STEPS):
        np.testing.assert_allclose(rows.value[t], worth(observation[t].astype(np.float32), age[t]))
        alive = ~terminated[t]
        expected = worth(then[t].astype(np.float32), age[t] + 1)
        np.testing.assert_allclose(rows.next_value[t][alive], expected[alive])
    cut = truncated & ~terminated
    fresh = worth(observation[:1, 0].astype(np.float32), np.array([1]))
    assert cut[:-1].any() and (rows.next_value[cut] != fresh).all()


def test_a_success_at_the_last_step_is_a_termination(rolled):
    _, _, _, _, rows, length = rolled
    end = length - 1  # environment 1 began so old that the door opens at step 150 of its episode
    assert rows.reward[end, 1] == pytest.approx(0.1, abs=1e-6)
    assert rows.terminated[end, 1] and not rows.truncated[end, 1] and rows.reset[end + 1, 1]
    assert rows.action[end, 1] == TOGGLE


def test_log_probabilities_are_of_the_actions_taken(rolled):
    rows = rolled[4]
    np.testing.assert_allclose(rows.log_prob[:, 2:4], np.log(1 / 6), rtol=1e-6)
    np.testing.assert_allclose(rows.log_prob[:, 4:], np.log(1 / NUM_ACTIONS), rtol=1e-6)
    np.testing.assert_allclose(rows.log_prob[:, :2], 0.0, atol=1e-6)
    share = np.bincount(rows.action[:, 4:].reshape(-1), minlength=NUM_ACTIONS) / rows.action[:, 4:].size
    np.testing.assert_allclose(share, 1 / NUM_ACTIONS, atol=0.1)  # five standard errors of 300 draws


def test_new_episodes_begin_on_levels_of_the_pool(draw):
    task = get_task(NAME)
    env = make_env(task)
    pool = draw(NAME, jax.random.key(8), 32)

    def act(carry, memory, reset):
        return carry, jnp.zeros((1, 32, NUM_ACTIONS)), jnp.zeros((1, 32))

    envs = begin(jax.random.key(0), pool, 32, ())
    assert isinstance(envs, Envs) and bool(envs.reset.all())
    envs = envs.replace(t=jnp.full(32, 149))
    after, rows = jax.jit(partial(rollout, env, act, num_steps=1))(jax.random.key(2), envs, pool)
    assert bool((rows.terminated | rows.truncated).all())
    layouts = {np.asarray(cells).tobytes() for cells in pool.cells}
    drawn = {np.asarray(cells).tobytes() for cells in after.env_state.cells}
    assert drawn <= layouts and len(drawn) > 10
    assert (
        bool(after.reset.all()) and not np.asarray(after.t).any() and (np.asarray(after.env_state.carrying) == 0).all()
    )


def test_a_share_of_the_environments_takes_the_most_probable_action(draw):
    """Left has twice the probability of each other action; environments 3 and 7 of 8 always take it."""
    logits = jnp.log(jnp.array([2.0, *[1.0] * (NUM_ACTIONS - 1)]))

    def act(carry, memory, reset):
        return carry, jnp.broadcast_to(logits, (1, 8, NUM_ACTIONS)), jnp.zeros((1, 8))

    envs = begin(jax.random.key(0), draw(NAME, jax.random.key(8), 8), 8, ())
    run = jax.jit(partial(rollout, make_env(get_task(NAME)), act, num_steps=20, greedy_share=0.25))
    _, rows = run(jax.random.key(2), envs, draw(NAME, jax.random.key(8), 8))
    always_left = (np.asarray(rows.action) == LEFT).all(axis=0)
    assert always_left.tolist() == [False, False, False, True] * 2
    np.testing.assert_allclose(rows.log_prob[:, [3, 7]], np.log(2 / 8), rtol=1e-6)  # the student's own


@pytest.mark.parametrize(("share", "number"), [(0.0, 0), (0.125, 16), (0.3, 38), (1.0, 128)])
def test_a_share_is_spread_over_the_environments(share, number):
    chosen = np.asarray(is_greedy(jnp.arange(128), share))
    assert chosen.sum() == number
    assert abs(chosen[:64].sum() - chosen[64:].sum()) <= 1


def test_a_student_that_prepares_its_observations_finds_them_in_the_rollout(draw):
    pool = draw(NAME, jax.random.key(8), 4)

    def act(carry, ready, reset):
        value = jnp.sum(ready, axis=(-2, -1), dtype=jnp.float32)
        return carry, jnp.zeros((1, 4, NUM_ACTIONS)), value

    def prepare(carry, memory, reset):  # the carry counts the steps of the episode
        return jnp.where(reset[0], 0, carry) + 1, memory.cells % 7

    run = partial(rollout, make_env(get_task(NAME)), act, num_steps=3, prepare=prepare)
    start = begin(jax.random.key(0), pool, 4, jnp.full(4, 5, jnp.int32))
    envs, rows = jax.jit(run)(jax.random.key(2), start, pool)
    np.testing.assert_array_equal(rows.observation, rows.memory.cells % 7)
    np.testing.assert_array_equal(envs.carry, envs.t)
    np.testing.assert_array_equal(rows.value, np.asarray(rows.observation).sum(axis=(-2, -1)))
    np.testing.assert_array_equal(rows.next_value[:-1], rows.value[1:])


def test_a_rollout_longer_than_an_episode_is_refused():
    env = make_env(get_task(NAME))
    envs = Envs(env_state=None, t=jnp.zeros(2, jnp.int32), reset=jnp.ones(2, bool), carry=(), env_id=jnp.arange(2))
    with pytest.raises(ValueError, match="151"):
        rollout(env, lambda *args: args, jax.random.key(0), envs, None, 151)


@pytest.mark.parametrize("tuning", [GPU, TPU], ids=lambda tuning: tuning.name)
def test_an_accelerators_rollout_is_the_plain_one(draw, tuning):
    """Packed rows, and what was cut off observed after the loop: all arrays alike, also values of truncated states."""
    levels = draw(NAME, jax.random.key(3), 8)
    standing = jnp.where(jnp.arange(NUM_ENVS)[:, None] < 3, 60.0 * jax.nn.one_hot(LEFT, NUM_ACTIONS), 0.0)
    act = counting_student(lambda age: standing)

    def rolled_by(kernel):
        env = make_env(get_task(NAME), kernel=kernel)
        envs = begin(jax.random.key(0), levels, NUM_ENVS, jnp.zeros(NUM_ENVS, jnp.int32))
        envs = envs.replace(t=envs.t + env.max_steps - 20)  # three of them are cut off on the way
        return jax.jit(lambda envs: rollout(env, act, jax.random.key(5), envs, levels, 30))(envs)

    one, other = rolled_by(PORTABLE), rolled_by(tuning)
    assert int(one[1].truncated.sum()) >= 3
    jax.tree.map(np.testing.assert_array_equal, one, other)
