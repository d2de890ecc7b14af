"""The trainer: a probe whose values are known, one compilation, seeds side by side, and schedules."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.labels import one_action
from l4t_jax.agents.rollout import rollout as true_rollout
from l4t_jax.config import Config
from l4t_jax.envs import Layout, Task, register_task
from l4t_jax.envs.cells import EMPTY_CODE, WALL_CODE
from l4t_jax.envs.levels import heldout_levels
from l4t_jax.envs.navix import GridTask, Outcome
from l4t_jax.envs.success import door_opened
from l4t_jax.envs.visibility import know
from l4t_jax.training import trainer as trainer_module
from l4t_jax.training.trainer import Trainer

# A probe: whatever the agent does, it goes from A to B and stays; B pays 1 a step, A nothing. Nothing ever ends it but
# the cut after three steps, so with gamma 0.5 the values are V(B) = 1 / (1 - 0.5) = 2 and V(A) = 0.5 * V(B) = 1.
A, B = 1, 3


class ProbeEnv(GridTask):
    def transition(self, env_state, t, action, key=None):
        reward = (env_state.agent[0] == B).astype(jnp.float32)
        env_state = env_state.replace(agent=env_state.agent.at[0].set(B))
        return env_state, Outcome(reward, jnp.bool_(False), jnp.bool_(False), t + 1 >= self.max_steps)


def corridor(key):
    cells = jnp.full((5, 3), WALL_CODE, jnp.uint8).at[1:4, 1].set(EMPTY_CODE)
    return Layout(cells, jnp.array([A, 1, 0], jnp.int8))


def probe_values():
    """V(A) and V(B) after training on the probe."""
    register_task(Task("Probe", 5, 3, max_steps=3, layout=corridor, success=door_opened, objects=(), view=3))
    config = Config(
        env="Probe", algo="ppo", teacher="none", total_steps=16 * 3 * 150, num_envs=16, num_steps=3, minibatches=1,
        epochs=4, learning_rate=1e-2, learning_rate_end=1e-3, gamma=0.5, gae_lambda=0.95, hidden=16,
        level_pool=16, clip=0.5, max_grad_norm=10.0,
    )  # fmt: skip
    trainer = Trainer.create(config)
    trainer.__dict__["env"] = ProbeEnv.create(task=trainer.task)  # in place of the cached property
    # The probe's one layout has one hash; where that is of another split, `draw_levels` repeats what it drew.
    state = jax.jit(trainer.init)(jax.random.key(0))
    state, _ = jax.jit(lambda state: trainer.train_block(state, None, trainer.total_updates))(state)
    env_state = trainer.env.initial(jax.random.key(0))
    env_states = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), env_state)
    env_states = env_states.replace(agent=env_states.agent.at[1, 0].set(B))
    memory = jax.tree.map(lambda leaf: leaf[None], jax.vmap(know)(env_states))
    _, _, value = trainer.student.apply(state.params, trainer.student.initial_carry(2), memory, jnp.zeros((1, 2), bool))
    return tuple(float(v) for v in value[0])


@pytest.mark.slow
@pytest.mark.usefixtures("own_tasks")
def test_a_cut_episode_is_worth_what_would_have_come():
    assert probe_values() == (pytest.approx(1.0, abs=0.1), pytest.approx(2.0, abs=0.1))


def cut_is_the_end(*args, **kwargs):
    """Truncation taken for termination: then V(B) lies between 1 and 1.5, as the cut comes after two steps in B."""
    envs, rows = true_rollout(*args, **kwargs)
    return envs, rows.replace(terminated=rows.terminated | rows.truncated)


def value_of_the_next_level(*args, **kwargs):
    """The cut episode bootstrapped from the fresh level: V(B) = 1 + 0.5 V(A) half of the time."""
    envs, rows = true_rollout(*args, **kwargs)
    return envs, rows.replace(next_value=jnp.where(rows.truncated, rows.value[0], rows.next_value))


@pytest.mark.usefixtures("own_tasks")
@pytest.mark.parametrize("wrong", [cut_is_the_end, value_of_the_next_level])
def test_the_probe_tells_when_bootstrapping_is_wrong(wrong, monkeypatch):
    monkeypatch.setattr(trainer_module, "rollout", wrong)
    _, in_b = probe_values()
    assert in_b < 1.75


# The real thing, small


def small(**changes) -> Config:
    settings = dict(
        env="SimpleDoorKey", total_steps=16 * 8 * 50, num_envs=16, num_steps=8, minibatches=2, epochs=1, hidden=16,
        level_pool=32,
    )  # fmt: skip
    return Config(**{**settings, **changes})


@pytest.fixture(scope="module")
def trained(teacher_of):
    """Three blocks of two updates of a small run; the block traced is counted."""
    trainer = Trainer.create(small())
    table = teacher_of("SimpleDoorKey")
    chex.clear_trace_counter()
    init = jax.jit(chex.assert_max_traces(trainer.init, n=1))
    block = jax.jit(chex.assert_max_traces(lambda state, table: trainer.train_block(state, table, 2), n=1))
    states, metrics = [init(jax.random.key(0))], []
    for _ in range(3):
        state, terms = block(states[-1], table)
        states.append(state)
        metrics.append(terms)
    again = block(init(jax.random.key(0)), table)
    assert block._cache_size() == 1
    return trainer, table, states, jax.tree.map(lambda *parts: np.concatenate(parts), *metrics), again, block


def test_the_device_path_compiles_once_over_several_blocks(trained):
    states = trained[2]  # the counting stands in the fixture: a second trace raises
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state) for state in states]
    assert all(shape == shapes[0] for shape in shapes[1:])


def test_updates_and_steps_are_counted_as_they_are(trained):
    trainer, _, states, metrics, *_ = trained
    assert trainer.steps_per_update == 16 * 8 and trainer.total_updates == 50
    assert [int(state.updates) for state in states] == [0, 2, 4, 6]
    assert all(leaf.shape[0] == 6 and np.isfinite(leaf).all() for leaf in metrics.values())
    old, new = (jax.tree.leaves(states[i].params) for i in (0, -1))
    assert all((np.asarray(a) != np.asarray(b)).any() for a, b in zip(old, new, strict=True))
    assert float(metrics["unguided"].max()) == 0.0


def test_the_same_key_gives_the_same_run(trained):
    _, _, states, metrics, (again, terms), _ = trained
    jax.tree.map(np.testing.assert_array_equal, terms, {name: leaf[:2] for name, leaf in metrics.items()})
    jax.tree.map(np.testing.assert_array_equal, again.params, states[1].params)


def test_seeds_side_by_side_are_the_seeds_alone(trained):
    trainer, table, states, metrics, *_ = trained
    keys = jnp.stack([jax.random.key(5), jax.random.key(0), jax.random.key(9)])

    @jax.jit
    def run(keys):
        state = jax.vmap(trainer.init)(keys)
        return jax.vmap(lambda one: trainer.train_block(one, table, 2))(state)

    state, terms = run(keys)
    for name, leaf in terms.items():
        np.testing.assert_allclose(leaf[1], metrics[name][:2], rtol=2e-3, atol=1e-5, err_msg=name)
    for ours, alone in zip(jax.tree.leaves(state.params), jax.tree.leaves(states[1].params), strict=True):
        np.testing.assert_allclose(ours[1], alone, rtol=1e-3, atol=1e-4)
    assert (np.asarray(state.envs.env_state.agent[0]) != np.asarray(state.envs.env_state.agent[1])).any()
    np.testing.assert_array_equal(state.envs.t[1], states[1].envs.t)


def test_a_shorter_block_of_the_same_program_stops_early(trained):
    trainer, table, states, metrics, *_ = trained
    block = jax.jit(lambda state, count: trainer.train_block(state, table, 2, count))
    state, terms = block(states[0], 1)
    assert int(state.updates) == 1
    for name, leaf in terms.items():
        np.testing.assert_allclose(leaf[0], metrics[name][0], rtol=1e-4, atol=1e-6, err_msg=name)
        assert not np.asarray(leaf[1]).any()


@pytest.mark.slow
@pytest.mark.parametrize("student, mode", [("cnn", "hard"), ("lstm", "soft"), ("gru", "hard")])
def test_students_and_labels_go_together(student, mode, teacher_of):
    config = small(env="DoorKey-5x5", student=student, teacher_mode=mode, num_envs=4, num_steps=4)
    trainer = Trainer.create(config)
    table = teacher_of("DoorKey-5x5")
    state = jax.jit(trainer.init)(jax.random.key(0))
    state, terms = jax.jit(lambda state: trainer.train_block(state, table, 1))(state)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((terms, state.params)))
    assert float(terms["distill_weight"][0]) > 0 and float(terms["grad_norm"][0]) > 0


def test_the_teachers_weight_follows_the_success_of_the_latest_training_episodes(trained):
    trainer, table, states, _, _, block = trained
    # Every environment is cut at the next step. Of 100 steps counted at age 0, forty succeeded.
    late = jnp.full_like(states[0].envs.t, trainer.env.max_steps - 1)
    outcomes = states[0].outcomes
    outcomes = outcomes.replace(steps=outcomes.steps.at[0].set(100.0), successes=outcomes.successes.at[0].set(40.0))
    state = states[0].replace(envs=states[0].envs.replace(t=late), outcomes=outcomes)
    state, terms = block(state, table)
    np.testing.assert_array_equal(terms["episodes"], [16, 0])
    # After the cut sixteen more at age 0, in the first update, and none succeeds; nobody knows of later ages.
    kept = np.exp(-8 / 150)  # steps of a rollout, steps an episode can take
    rates = np.array([40 * kept / (100 * kept + 16), 40 * kept**2 / (100 * kept**2 + 16 * kept)])
    np.testing.assert_allclose(terms["success"], rates, rtol=1e-5)
    np.testing.assert_allclose(terms["distill_weight"], (1 - rates) * [1, 1 - 1 / 25], rtol=1e-4)


class MixedEnv(GridTask):
    """Half of the levels are won at the fifth step, whatever the agent does; the others never end."""

    def transition(self, env_state, t, action, key=None):
        won = (t == 4) & (env_state.agent[0] == A)
        return env_state, Outcome(won.astype(jnp.float32), won, won, t + 1 >= self.max_steps)


def mixed_level(key):
    cells, agent, *_ = corridor(key)
    return Layout(cells, agent.at[0].set(jnp.where(jax.random.bernoulli(key), A, B).astype(jnp.int8)))


@pytest.mark.usefixtures("own_tasks")
def test_episodes_that_still_run_do_not_count_as_won():
    """After 160 of 1,000 steps every episode that ended was won; half of all episodes still run, and will not be."""
    register_task(Task("Mixed", 5, 3, max_steps=1000, layout=mixed_level, success=door_opened, objects=(), view=3))
    trainer = Trainer.create(
        small(env="Mixed", algo="ppo", teacher="none", num_envs=128, minibatches=1, hidden=8, level_pool=64)
    )
    trainer.__dict__["env"] = MixedEnv.create(task=trainer.task)  # in place of the cached property
    state = jax.jit(trainer.init)(jax.random.key(0))
    _, terms = jax.jit(lambda state: trainer.train_block(state, None, 20))(state)
    assert int(terms["episodes"].sum()) > 64
    assert float(terms["success"][-1]) == pytest.approx(0.5, abs=0.15)


def test_hard_labels_are_actions_of_the_teacher(trained):
    soft = jnp.array([[0.25, 0.75, 0, 0, 0, 0, 0], [0.0] * 7])
    hard = one_action(jax.random.key(0), jnp.repeat(soft[None], 2000, axis=0), jnp.arange(2))
    np.testing.assert_allclose(hard.mean(axis=0)[0, :2], [0.25, 0.75], atol=0.05)
    np.testing.assert_array_equal(jnp.sort(hard[:, 0], axis=-1)[:, -1], 1)
    assert not np.asarray(hard[:, 1]).any() and not np.asarray(hard[:, 0, 2:]).any()


def test_held_out_levels_are_the_same_for_everyone():
    one, other = Trainer.create(small()), Trainer.create(small(seed=3, algo="ppo", teacher="none", student="cnn"))
    jax.tree.map(np.testing.assert_array_equal, *(heldout_levels(each.env, 8, "test") for each in (one, other)))
