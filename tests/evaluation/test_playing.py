"""Evaluation: each level once, from start to end, and counted as the environment itself would."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.policy import student_policy
from l4t_jax.agents.students import make_student
from l4t_jax.config import Config
from l4t_jax.envs import get_task, minigrid
from l4t_jax.envs.cells import KEY, NUM_ACTIONS, decode_cells
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.task import DOORS
from l4t_jax.evaluation import parts, playing
from l4t_jax.evaluation.playing import Episodes, play, random_policy, teacher_policy
from l4t_jax.skills.actions import symbolic_states
from l4t_jax.training.trainer import Trainer

NAME, LEVELS = "LavaDoorKey", 48


@pytest.fixture(scope="module")
def scripted(draw, request):
    """Levels, actions for each step of each, and the policy that takes them, counting its steps in its carry."""
    played = request.getfixturevalue("play")(NAME, draw(NAME, jax.random.key(1), LEVELS), jax.random.key(2), 150)
    actions = jnp.asarray(played.action)  # (150, B)

    def policy(carry, memory, reset):
        carry = jnp.where(reset, 0, carry)
        logits = 50.0 * jax.nn.one_hot(actions[carry[0]], NUM_ACTIONS)
        return carry + 1, logits

    return draw(NAME, jax.random.key(1), LEVELS), np.asarray(actions), policy, played.memory


@pytest.mark.parametrize("greedy", [False, True])
def test_success_return_length_and_parts_are_the_twins(scripted, greedy):
    levels, actions, policy, memory = scripted
    task = get_task(NAME)
    env, twin = make_env(task), minigrid.make(NAME)
    carry = jnp.full(LEVELS, 77)  # forgotten at the first step
    episodes = jax.jit(lambda levels: play(env, policy, carry, jax.random.key(0), levels, greedy, watch=True))(levels)
    done, seen = np.zeros((LEVELS, 4), bool), []
    for i in range(LEVELS):
        twin.load_layout(np.asarray(decode_cells(levels.cells[i])), tuple(int(v) for v in levels.agent[i]))
        total, length, over = 0.0, 0, False
        while not over:
            held, ahead = twin.unwrapped.carrying, twin.unwrapped.grid.get(*twin.unwrapped.front_pos)
            shut = ahead is not None and ahead.type == "door" and not ahead.is_open
            _, reward, terminated, truncated, _ = twin.step(int(actions[length, i]))
            total, length, over = total + reward, length + 1, terminated or truncated
            done[i, 1] |= held is None and twin.unwrapped.carrying is not None
            done[i, 3] |= shut and ahead.is_open
        end = jax.tree.map(lambda leaf, i=i, t=length: leaf[t, i], memory)
        seen.append(end)
        kinds = end.cells & 15
        done[i, 0] = done[i, 1] | (kinds == KEY).any()
        done[i, 2] = done[i, 3] | np.isin(kinds, DOORS).any()
        assert int(episodes.length[i]) == length
        assert float(episodes.reward[i]) == pytest.approx(total, abs=1e-6)
        assert bool(episodes.success[i]) == (total > 0)
    assert 0 < int(episodes.success.sum()) < LEVELS and int((episodes.length < 150).sum()) > 5
    watched = jax.device_get(episodes.watched)
    np.testing.assert_array_equal((watched.done[:, None] >> np.arange(2)) & 1, done[:, [1, 3]])
    np.testing.assert_array_equal(watched.ends.cells, np.stack([end.cells for end in seen], axis=-1))
    assert (done.any(axis=0) & ~done.all(axis=0)).sum() >= 3  # parts that only some did
    names = ["sees the key", "picks up the key", "sees the door", "opens the door"]
    wanted = dict(zip(names, done.mean(axis=0), strict=True))
    assert parts.shares(task, watched) == {name: wanted[name] for name in names[1::2]}
    two = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), watched)  # as of two seeds
    back = parts.looked_back(task, two)
    assert parts.shares(task, back) == {name: [share, share] for name, share in wanted.items()}
    known = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seen)
    np.testing.assert_array_equal(back.last, [symbolic_states(task, known)] * 2)


def test_greedy_takes_the_most_probable_and_sampling_does_not(draw):
    env = make_env(get_task("SimpleDoorKey"))
    levels = draw("SimpleDoorKey", jax.random.key(3), 512)

    def forwards(carry, memory, reset):  # a little more forward than anything else
        return carry, jnp.zeros((512, NUM_ACTIONS)).at[:, 2].set(0.01)

    run = jax.jit(lambda key, greedy: play(env, forwards, (), key, levels, greedy))
    greedy = run(jax.random.key(0), True)
    assert not bool(greedy.success.any()) and bool((greedy.length == 150).all())
    jax.tree.map(np.testing.assert_array_equal, run(jax.random.key(1), True), greedy)
    sampled, other = run(jax.random.key(0), False), run(jax.random.key(1), False)
    assert (np.asarray(sampled.length) != np.asarray(other.length)).any()
    jax.tree.map(np.testing.assert_array_equal, run(jax.random.key(0), False), sampled)


@pytest.mark.slow
def test_the_last_levels_play_on_in_a_smaller_group_as_they_would_with_all(draw, monkeypatch):
    """Students of hierarchical RL, which carry options and draw by the levels' ids, so that a mixup would show."""
    trainer = Trainer.create(Config(env=NAME, algo="hrl", hidden=16, teacher="none"))
    levels = draw(NAME, jax.random.key(3), LEVELS)  # in lava an episode ends sooner or later, as chance will have it
    monkeypatch.setattr(playing, "SHARE", 2)
    params = jax.jit(trainer.init)(jax.random.key(5)).params

    def run(long: int) -> Episodes:
        monkeypatch.setattr(playing, "LONG", long)
        return jax.jit(lambda: playing.play_student(trainer.players, params, jax.random.key(0), levels, watch=True))()

    together, in_groups = run(1000), run(150)
    assert np.unique(np.sort(np.asarray(together.length))[LEVELS // 2 :]).size > 1  # how long the second half plays
    jax.tree.map(np.testing.assert_array_equal, together, in_groups)


def test_the_random_policy_rarely_opens_the_door(draw):
    env = make_env(get_task("SimpleDoorKey"))
    levels = draw("SimpleDoorKey", jax.random.key(3), 512)
    episodes = jax.jit(lambda: play(env, random_policy, (), jax.random.key(0), levels))()
    assert 0 < float(episodes.success.mean()) < 0.1
    assert bool((episodes.length[~episodes.success] == 150).all())


def test_the_teacher_acts_at_random_where_its_file_is_silent(draw, teacher_of):
    name = "SimpleDoorKey"
    table = teacher_of(name)
    silent = table.replace(probability=jnp.zeros_like(table.probability))
    levels = draw(name, jax.random.key(3), 64)
    ask = jax.jit(lambda table: teacher_policy(get_task(name), table)((), levels, jnp.ones(64, bool))[1])
    np.testing.assert_allclose(jax.nn.softmax(ask(silent)), 1 / 7, rtol=1e-6)
    assert float(jax.nn.softmax(ask(table)).max()) > 0.9


def test_a_recurrent_student_as_a_policy_remembers_from_step_to_step(draw, random_known, rng):
    """Asked step by step it gives what it gives for the whole sequence, and forgets where an episode starts."""
    task, steps = get_task("DoorKey-5x5"), 6
    student = make_student("lstm", task, 16)
    flat = random_known(rng, (5, 5), steps * 4, inside=True)
    memory = jax.tree.map(lambda leaf: leaf.reshape(steps, 4, *leaf.shape[1:]), flat)
    reset = jnp.zeros((steps, 4), bool).at[0].set(True).at[3, 1].set(True)
    carry = student.initial_carry(4)
    params = jax.jit(student.init)(jax.random.key(0), carry, memory, reset)
    _, expected, _ = jax.jit(student.apply)(params, carry, memory, reset)
    policy = jax.jit(student_policy(student, params, lambda memory: memory))
    for t in range(steps):
        carry, logits = policy(carry, jax.tree.map(lambda leaf, t=t: leaf[t], memory), reset[t])
        np.testing.assert_allclose(logits, expected[t], rtol=1e-5, atol=1e-6)
    alone = policy(student.initial_carry(4), jax.tree.map(lambda leaf: leaf[-1], memory), reset[-1])[1]
    assert float(jnp.abs(alone - expected[-1]).max()) > 1e-3  # what came before counts
