"""Evaluates a teacher's own policy on held-out levels.

Host module.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from l4t_jax.envs import Task
from l4t_jax.envs.levels import heldout_levels
from l4t_jax.envs.navix import make_env
from l4t_jax.evaluation import playing
from l4t_jax.evaluation.intervals import wilson
from l4t_jax.teacher import file


def evaluate_teacher(task: Task, content: dict[str, Any], levels: int, seed: int = 0) -> dict[str, Any]:
    """Success, return and length of a teacher on the first `levels` held-out levels of a task.

    Args:
        task: the task to play.
        content: of a teacher file.
        levels: number of levels.
        seed: for sampling the teacher's actions.

    Returns:
        `task`, `teacher` (how it was made), `levels`, means `success`, `return` and `length`, `success_interval` (95 %,
        Wilson's), and `unguided`: the sentences of the states for which it has no plan.
    """
    with jax.enable_x64(False):
        env = make_env(task)
        policy = playing.teacher_policy(task, file.to_table(task, content))
        start = heldout_levels(env, levels, "test")
        play = jax.jit(lambda key, env_states: playing.play(env, policy, (), key, env_states))
        episodes = jax.device_get(play(jax.random.key(seed), start))
    success = np.asarray(episodes.success, np.float64)
    return {
        "task": task.name,
        "teacher": content["made"],
        "levels": levels,
        "success": float(success.mean()),
        "success_interval": list(wilson(float(success.sum()), levels)),
        "return": float(np.asarray(episodes.reward, np.float64).mean()),
        "length": float(np.asarray(episodes.length, np.float64).mean()),
        "unguided": [state.sentence for state in file.missing(task, content)],
    }
