"""Our environments beside the same task on Farama's MiniGrid, on levels laid out by hand: what drawn ones hardly have.

The comparison on drawn levels is `evaluation.parity`'s.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.envs import Layout, get_task, minigrid
from l4t_jax.envs.cells import (
    BALL,
    BOX,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    EMPTY_CODE,
    FLOOR,
    GOAL_CODE,
    KEY,
    LAVA_CODE,
    WALL_CODE,
    decode_cells,
)
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import State, as_observation

STEPS = 150


def start(task, cells, agent):
    return jax.vmap(lambda c, a: make_env(task).begin(Layout(c, a)))(cells, agent)


def assert_twin_agrees(twin, env_states: State, played, age: np.ndarray) -> int:
    """Plays each environment's actions in the twin until its episode ends; returns how many steps were compared."""
    cells = np.asarray(decode_cells(env_states.cells))
    agents = np.asarray(env_states.agent)
    observations = np.asarray(as_observation(jax.tree.map(jnp.asarray, played.memory)))
    live = played.live()
    for i in range(len(agents)):
        first = twin.load_layout(cells[i], tuple(int(v) for v in agents[i]))
        twin.unwrapped.step_count = int(age[i])
        np.testing.assert_array_equal(observations[0, i], first, err_msg=f"environment {i} at its start")
        for t in np.flatnonzero(live[:, i]):
            expected, reward, terminated, truncated, _ = twin.step(int(played.action[t, i]))
            where = f"environment {i}, step {t}, action {played.action[t, i]}"
            np.testing.assert_array_equal(observations[t + 1, i], expected, err_msg=where)
            assert played.reward[t, i] == pytest.approx(reward, abs=1e-6), where
            assert (played.terminated[t, i], played.truncated[t, i]) == (terminated, truncated), where
    return int(live.sum())


@pytest.mark.parametrize(
    "name, more",
    [("DoorKey-8x8", (GOAL_CODE, DOOR_OPEN, DOOR_CLOSED, DOOR_LOCKED)), ("LavaDoorKey", (DOOR_CLOSED, DOOR_LOCKED))],
)
def test_levels_full_of_everything_agree_with_minigrid(name, more, play, rng):
    """Balls, boxes, floors, goals, lava, doors in every state, in one room: rules that no layout of ours needs."""
    task, twin = get_task(name), minigrid.make(name)
    size, number = task.width, 64
    # MiniGrid cannot step beyond its map, so the outermost cells stay walls. The twin's LavaDoorKey ends well when any
    # door is open after a toggle, ours when the toggled one is: the same unless a door is open from the start. Nor has
    # it goals, for which MiniGrid would pay.
    things = [EMPTY_CODE] * 12 + [WALL_CODE, LAVA_CODE, FLOOR | 3 << 4, KEY, KEY, BALL, BOX, *more]
    cells = rng.choice(np.array(things, np.uint8), (number, size, size))
    paint = np.isin(cells & 15, [KEY, BALL, BOX, DOOR_OPEN, DOOR_CLOSED, DOOR_LOCKED])
    cells |= np.where(paint, rng.integers(0, 2, cells.shape) << 4, 0).astype(np.uint8)  # two colours: keys often fit
    cells[:, [0, -1], :] = WALL_CODE
    cells[:, :, [0, -1]] = WALL_CODE
    place = rng.integers(1, size - 1, (number, 2))
    agent = np.concatenate([place, rng.integers(0, 4, (number, 1))], axis=1)
    cells[np.arange(number), agent[:, 0], agent[:, 1]] = EMPTY_CODE
    env_states = start(task, jnp.asarray(cells), jnp.asarray(agent, jnp.int8))
    played = play(name, env_states, jax.random.key(3), STEPS)
    assert assert_twin_agrees(twin, env_states, played, np.zeros(number, int)) > 1_500
    live = played.live()
    carried = played.memory.carrying[1:][live] & 15
    assert {KEY, BALL, BOX} <= set(carried.tolist())


def test_a_success_at_the_last_step_is_both_and_pays(play, draw):
    """The teacher's own way to the door, taken up so late that it arrives with the last step."""
    name = "SimpleDoorKey"
    task, twin = get_task(name), minigrid.make(name)
    env_states = draw(name, jax.random.key(5), 64)
    played = play(name, env_states, jax.random.key(6), STEPS)
    length = played.live().sum(axis=0)
    won = (played.live() & (played.reward > 0)).any(axis=0)
    assert won.sum() > 5
    transition = jax.jit(jax.vmap(make_env(task).transition))
    age = task.max_steps - length
    env_state, results = env_states, []
    for t in range(STEPS):
        env_state, result = transition(env_state, jnp.asarray(age + t), jnp.asarray(played.action[t]))
        results.append([np.asarray(part) for part in (result.reward, result.terminated, result.truncated)])
    for i in np.flatnonzero(won):
        reward, terminated, truncated = (part[i] for part in results[length[i] - 1])
        assert reward == pytest.approx(0.1, abs=1e-6) and terminated and truncated
        twin.load_layout(np.asarray(decode_cells(env_states.cells[i])), tuple(int(v) for v in env_states.agent[i]))
        twin.unwrapped.step_count = int(age[i])
        *_, last = (twin.step(int(action)) for action in played.action[: length[i], i])
        assert last[1] == pytest.approx(0.1, abs=1e-6) and last[2:4] == (True, True)
