"""The tasks as Gymnasium environments, one at a time and many in one program."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from l4t_jax import list_tasks
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import COLOURS
from l4t_jax.errors import ConfigError, UnknownTask
from l4t_jax.interfaces.gym_envs import TaskEnv, VectorTaskEnv

SOME = ("SimpleDoorKey-v0", "Fetch-5x5-N2-v0", "Dynamic-Obstacles-Random-5x5-v0")
ALL = [name for name in gymnasium.registry if name.startswith("l4t_jax/")]


def checked(name: str) -> None:
    """Gymnasium's own checks, and no warning of theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check_env(gymnasium.make(name).unwrapped)


def test_every_task_has_an_id_with_minigrids_version():
    tasks = [get_task(name) for name in list_tasks()]
    names = [(task.minigrid_id or f"{task.name}-v0").removeprefix("MiniGrid-") for task in tasks]
    assert set(ALL) >= {f"l4t_jax/{name}" for name in (*names, "DoorKey-v0")}
    assert {"l4t_jax/MultiRoom-N4-S5-v0", "l4t_jax/MultiRoom-N4-S5-v1", "l4t_jax/ObstructedMaze-Full-v1"} <= set(ALL)


@pytest.mark.parametrize("name", SOME)
def test_gymnasiums_own_checks_pass(name):
    checked(f"l4t_jax/{name}")


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_gymnasiums_own_checks_pass_for_every_task(name):
    checked(name)


def test_an_episode_is_the_tasks():
    """The limit, the reward of a success and the map that an agent knows; done ends a GoToDoor episode."""
    env = gymnasium.make("l4t_jax/GoToDoor-5x5-v0").unwrapped
    assert isinstance(env, TaskEnv)
    rewards = []
    for seed in range(60):
        shown, info = env.reset(seed=seed)
        assert env.mission == f"go to the {COLOURS[shown['mission'][0]]} door"
        assert info == {} and (shown["image"][..., 3] != 4).sum() == 1
        shown, reward, terminated, truncated, info = env.step(6)
        assert terminated and not truncated and info["success"] == (reward > 0)
        rewards.append(reward)
    assert set(np.round(rewards, 6)) == {0.0, 0.991}  # 1 - 0.9 / 100
    env.reset(seed=0)
    ends = [env.step(0)[2:4] for _ in range(100)]
    assert ends[-1] == (False, True) and set(ends[:-1]) == {(False, False)}


@pytest.mark.parametrize("split", ["test", "training"])
def test_levels_of_one_split_can_be_asked_for(split):
    from l4t_jax.envs.levels import in_split

    env = TaskEnv("DoorKey-6x6", split=split)
    for seed in range(20):
        env.reset(seed=seed)
        assert bool(in_split(env._state, split))


def test_many_environments_are_one_vector_environment():
    envs = gymnasium.make_vec("l4t_jax/GoToDoor-5x5-v0", num_envs=6)
    assert isinstance(envs.unwrapped, VectorTaskEnv) and envs.num_envs == 6
    shown, _ = envs.reset(seed=3)
    assert shown in envs.observation_space and shown["image"].shape == (6, 5, 5, 4)
    again, _ = envs.reset(seed=3)
    np.testing.assert_array_equal(shown["image"], again["image"])
    assert len({image.tobytes() for image in shown["image"]}) > 3
    actions = np.array([6, 6, 6, 0, 0, 0])
    _, reward, terminated, truncated, info = envs.step(actions)
    assert terminated.tolist() == [True] * 3 + [False] * 3 and not truncated.any()
    np.testing.assert_array_equal(info["success"], reward > 0)
    # Next-step autoreset: the ended ones begin anew, and their action is ignored.
    shown, reward, terminated, *_ = envs.step(np.full(6, 6))
    assert terminated.tolist() == [False] * 3 + [True] * 3 and (reward[:3] == 0).all()
    assert shown in envs.observation_space
    *_, terminated, _, _ = envs.step(np.full(6, 0))
    assert not terminated.any()
    for _ in range(98):
        *_, truncated, _ = envs.step(np.full(6, 0))
        assert not truncated.any()
    *_, truncated, _ = envs.step(np.full(6, 0))
    assert truncated.tolist() == [True] * 3 + [False] * 3
    envs.close()


def test_pictures_are_drawn():
    env = gymnasium.make("l4t_jax/Empty-5x5-v0", render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.shape == (240, 240, 3)
    envs = VectorTaskEnv("Empty-5x5", num_envs=2, render_mode="rgb_array")
    envs.reset(seed=0)
    first, second = envs.render()
    np.testing.assert_array_equal(first, second)  # there is one level


@pytest.mark.parametrize("settings", [{"split": "tset"}, {"render_mode": "human"}, {"task": "Emty"}])
def test_what_cannot_be_is_refused(settings):
    with pytest.raises((ConfigError, UnknownTask), match=r"not '|did you mean"):
        TaskEnv(**{"task": "Empty-5x5", **settings})
    with pytest.raises(ConfigError, match="`num_envs` must be at least 1"):
        VectorTaskEnv("Empty-5x5", num_envs=0)


@pytest.mark.parametrize("order", ["l4t_jax, gymnasium", "gymnasium, l4t_jax"])
def test_the_ids_are_there_in_any_order_of_imports(order):
    code = (
        f"import {order}; assert 'l4t_jax/KeyCorridorS3R3-v0' in gymnasium.registry; "
        "assert 'l4t_jax/MultiRoom-N4-S5-v1' in gymnasium.registry"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
