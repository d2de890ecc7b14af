"""Tasks by name, a task of one's own, and every registered task as a navix environment."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import navix
import numpy as np
import pytest

from l4t_jax.envs import Task, get_task, list_tasks, register_task
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.families.door_key import STOCK_OBJECTS, stock_door_key
from l4t_jax.envs.success import goal_reached
from l4t_jax.errors import UnknownTask


def own_task(**changes):
    settings = dict(
        name="OwnKey", width=6, height=6, max_steps=20, layout=partial(stock_door_key, 6),
        success=goal_reached, objects=STOCK_OBJECTS,
    )  # fmt: skip
    return Task(**{**settings, **changes})


def test_the_tasks_of_the_paper_and_minigrids_own_are_there():
    assert set(list_tasks()) >= {
        "SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "DivergedDoorKey",
        "DoorKey-5x5", "DoorKey-6x6", "DoorKey-8x8", "DoorKey-16x16",
    }  # fmt: skip
    assert get_task("DoorKey") is get_task("SimpleDoorKey") is get_task("simpledoorkey")
    stock = get_task("DoorKey-16x16")
    assert (stock.view, stock.max_steps, stock.width) == (7, 2560, 16)
    paper = get_task("DivergedDoorKey")
    assert (paper.view, paper.max_steps, paper.width) == (3, 150, 20)


@pytest.mark.parametrize(
    "wrong, near", [("LavaDorKey", "LavaDoorKey"), ("doorkey-8x9", "DoorKey-8x8"), ("Simple", "SimpleDoorKey")]
)
def test_a_wrong_name_is_answered_with_the_near_ones(wrong, near):
    with pytest.raises(UnknownTask, match=near):
        get_task(wrong)


def test_a_name_near_to_none_is_answered_with_what_lists_all():
    with pytest.raises(UnknownTask, match=r"`python -m l4t_jax\.tasks` lists all there are"):
        get_task("zzz")


@pytest.mark.usefixtures("own_tasks")
def test_a_name_is_given_once():
    mine = own_task()
    register_task(mine)
    register_task(mine)  # the same again does no harm
    assert list_tasks().count("OwnKey") == 1
    for clash in ({"max_steps": 30}, {"name": "doorkey"}, {"name": "New", "aliases": ("LAVADOORKEY",)}):
        with pytest.raises(ValueError, match="already a task"):
            register_task(own_task(**clash))
    assert "New" not in list_tasks()


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"width": 33}, "3 to 32"), ({"height": 2}, "3 to 32"), ({"view": 4}, "odd"), ({"view": 1}, "odd"),
        ({"max_steps": 0}, "max_steps"), ({"objects": STOCK_OBJECTS[:1] * 2}, "same name"),
    ],
)  # fmt: skip
def test_an_impossible_task_is_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        own_task(**changes)


@pytest.mark.usefixtures("own_tasks")
def test_a_task_of_ones_own_is_a_navix_environment():
    register_task(
        own_task(name="DoorKey-12x12", width=12, height=12, max_steps=1440, layout=partial(stock_door_key, 12))
    )
    assert get_task("doorkey-12x12").width == 12
    env = navix.make("L4T-DoorKey-12x12-v0")
    timestep = env.reset(jax.random.key(0))
    assert timestep.observation.shape == (12, 12, 4) and env.max_steps == 1440
    assert int(jax.jit(env.step)(timestep, jnp.int32(0)).t) == 1


def test_navix_knows_the_versions_of_an_id_apart():
    limits = {
        "MultiRoom-N4-S5-v0": 120,
        "MultiRoom-N4-S5-v1": 80,
        "ObstructedMaze-Full-v1": 3600,
        "Fetch-5x5-N2-v0": 125,
    }
    assert {name: navix.make(f"L4T-{name}").max_steps for name in limits} == limits


# The contract of every registered task


@pytest.fixture(scope="module")
def navix_env():
    return lambda name: navix.make(f"L4T-{name}-v0")


def test_navix_makes_it_and_a_step_keeps_every_shape_and_type_and_compiles_once(task_name, navix_env, key):
    env, task = navix_env(task_name), get_task(task_name)
    chex.clear_trace_counter()
    reset = jax.jit(chex.assert_max_traces(env.reset, n=1))
    step = jax.jit(chex.assert_max_traces(env.step, n=1))
    timestep = reset(key)
    assert timestep.observation.shape == (task.width, task.height, 4) == env.observation_space.shape
    assert timestep.observation.dtype == jnp.uint8 == env.observation_space.dtype
    assert env.action_space.n == NUM_ACTIONS
    for action in (2, 0, 5, 3, 4, 1, 6):
        after = step(timestep, jnp.int32(action))
        for old, new in zip(jax.tree.leaves(timestep), jax.tree.leaves(after), strict=True):
            assert (old.shape, old.dtype) == (new.shape, new.dtype)
            assert getattr(old, "weak_type", False) == getattr(new, "weak_type", False)  # random keys have none
        timestep = after
    assert int(timestep.t) == 7 and int(timestep.action) == 6
    x, y, d = (int(v) for v in timestep.state.env_state.agent)
    assert int(timestep.observation[x, y, 3]) == d
    assert int((timestep.observation[..., 3] == 4).sum()) == task.width * task.height - 1


@pytest.mark.parametrize("name", ["SimpleDoorKey", "DoorKey-16x16"])
def test_navix_starts_a_new_episode_after_the_last_step_on_another_level(name):
    env = navix.make(f"L4T-{name}-v0", max_steps=3)
    step = jax.jit(env.step)
    first = env.reset(jax.random.key(4))
    timestep = first
    for t in (1, 2):
        timestep = step(timestep, jnp.int32(0))
        assert int(timestep.t) == t and not bool(timestep.is_done())
    last = step(timestep, jnp.int32(0))
    assert int(last.t) == 3 and bool(last.is_truncation())
    again = step(last, jnp.int32(2))  # navix: this step ignores its action and resets
    assert int(again.t) == 0 and not bool(again.is_done())
    assert (np.asarray(again.state.env_state.cells) != np.asarray(first.state.env_state.cells)).any()
    assert int(step(again, jnp.int32(0)).t) == 1


def test_the_teachers_way_through_navix_ends_well_and_pays(play, draw):
    """The same transitions as the trainer's, but in navix's form."""
    from navix.environments.environment import StepType

    name = "SimpleDoorKey"
    env = navix.make(f"L4T-{name}-v0")
    step = jax.jit(env.step)
    env_states = draw(name, jax.random.key(1), 8)
    played = play(name, env_states, jax.random.key(2), 150)
    won = [i for i in range(8) if (played.live()[:, i] & (played.reward[:, i] > 0)).any()]
    i = min(won, key=lambda i: played.live()[:, i].sum())
    timestep = env.reset(jax.random.key(0))
    timestep = timestep.replace(state=timestep.state.replace(env_state=jax.tree.map(lambda leaf: leaf[i], env_states)))
    length = int(played.live()[:, i].sum())
    for action in played.action[:length, i]:
        assert not bool(timestep.is_done())
        timestep = step(timestep, jnp.int32(action))
    assert int(timestep.step_type) == int(StepType.TERMINATION)
    assert float(timestep.reward) == pytest.approx(1 - 0.9 * length / 150, abs=1e-6)
    assert float(timestep.info["return"]) == pytest.approx(float(timestep.reward))


@pytest.mark.parametrize("function", ["symbolic", "symbolic_first_person", "rgb"])
def test_navixs_own_observations_work(function, key):
    env = navix.make("L4T-LavaDoorKey-v0", observation_fn=getattr(navix.observations, function))
    timestep = env.reset(key)
    after = jax.jit(env.step)(timestep, jnp.int32(1))
    assert after.observation.shape == timestep.observation.shape == env.observation_space.shape
    if function == "symbolic":  # navix's is transposed: [row, column]
        cells = np.asarray(timestep.state.env_state.cells).T
        x, y, _ = (int(v) for v in timestep.state.env_state.agent)
        expected = cells & 15
        expected[expected >= 11] = 4
        expected[y, x] = 10
        np.testing.assert_array_equal(timestep.observation[..., 0], expected)
