"""The episodic count bonus: visits counted by hand along a rollout, and what it changes."""

from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.agents.algorithms.ppo import batch_of
from l4t_jax.agents.bonus import LARGEST_COUNT, no_visits, place, visit
from l4t_jax.agents.rollout import Rollout, begin, rollout
from l4t_jax.config import Config
from l4t_jax.envs import draw_levels, get_task
from l4t_jax.envs.cells import DOOR_CLOSED, DOOR_OPEN, KEY, code
from l4t_jax.envs.navix import make_env
from l4t_jax.training.trainer import Trainer

ENVS, STEPS = 8, 60


def uniform(carry, memory, reset):
    return carry, jnp.zeros((*reset.shape, 7)), jnp.zeros(reset.shape)


def test_every_visit_of_an_episode_is_counted_and_a_new_episode_begins_anew():
    task = get_task("DoorKey-5x5")
    env = make_env(task)
    pool = draw_levels(env, jax.random.key(0), 16, "training")
    envs = begin(jax.random.key(1), pool, ENVS, (), visits=no_visits(task, ENVS))
    envs = envs.replace(t=jnp.arange(ENVS) * 4 + task.max_steps - STEPS)  # all but the first are cut within the rollout
    _, rows = jax.jit(partial(rollout, env, uniform, num_steps=STEPS))(jax.random.key(2), envs, pool)
    rows = jax.tree.map(np.asarray, rows)
    done = rows.terminated | rows.truncated
    assert done.any(axis=0).sum() >= ENVS - 1
    memory = rows.memory
    checked = 0
    for i in range(ENVS):
        seen: Counter = Counter()
        for t in range(STEPS - 1):
            if done[t, i]:
                seen.clear()
                continue
            x, y, _ = memory.agent[t + 1, i]
            doors = (memory.cells[t + 1, i] & 15 == DOOR_OPEN).sum()
            here = (x, y, memory.carrying[t + 1, i] > 0, doors)
            seen[here] += 1
            np.testing.assert_allclose(rows.bonus[t, i], seen[here] ** -0.5, rtol=1e-6)
            checked += seen[here] > 1
    assert checked > 100


def test_places_are_told_apart_by_cell_by_what_is_carried_and_by_open_doors():
    task = get_task("DoorKey-5x5")
    one = make_env(task).initial(jax.random.key(0))
    floor = jnp.zeros_like(one.cells)

    def at(x=1, y=2, carrying=0, open_doors=0, closed=0, direction=0):
        cells = floor.at[0, :open_doors].set(code(DOOR_OPEN)).at[4, :closed].set(code(DOOR_CLOSED))
        agent = jnp.array([x, y, direction], jnp.int8)
        return one.replace(cells=cells, agent=agent, carrying=jnp.uint8(carrying))

    places = [at(), at(x=2), at(y=1), at(carrying=KEY), *(at(open_doors=n) for n in (1, 2, 3))]
    same = [at(direction=2), at(closed=2), at(open_doors=4)]
    number = place(jax.tree.map(lambda *leaves: jnp.stack(leaves), *places, *same))
    assert len(set(number[:7].tolist())) == 7 and number.max() < no_visits(task, 1).shape[1]
    assert number[7:].tolist() == [number[0], number[0], number[6]]


def test_a_count_does_not_overflow():
    task = get_task("DoorKey-5x5")
    states = jax.tree.map(lambda leaf: leaf[None], make_env(task).initial(jax.random.key(0)))
    full = jnp.full_like(no_visits(task, 1), LARGEST_COUNT)
    after, bonus = visit(full, states)
    assert int(after.min()) == LARGEST_COUNT and float(bonus[0]) > 0.06


def test_the_student_learns_from_the_bonus_and_the_rollout_keeps_the_tasks_reward():
    config = Config(env="DoorKey-5x5", algo="ppo", teacher="none", num_envs=8, num_steps=4, minibatches=1, bonus=0.5)
    trainer = Trainer.create(config)
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    assert state.envs.visits.shape == (8, 5 * 5 * 8)
    zeros, ones = jnp.zeros((2, 1)), jnp.ones((2, 1))
    ended = jnp.ones((2, 1), bool)
    rows = Rollout(
        observation=(), reset=ended, action=zeros, log_prob=zeros, value=zeros, next_value=zeros, reward=2 * ones,
        success=ended, age=zeros, terminated=ended, truncated=~ended, carry=(), bonus=jnp.array([[1.0], [0.5]]),
    )  # fmt: skip
    batch = batch_of(trainer.setup, rows, None, jnp.arange(1), None)
    np.testing.assert_allclose(batch.target, [[2.5], [2.25]])
    np.testing.assert_array_equal(rows.reward, 2.0)
