"""A loaded student acts as it was evaluated."""

import jax
import numpy as np
import pytest
from small_runs import Spy

import l4t_jax
from l4t_jax import api
from l4t_jax.config import ConfigError
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.levels import heldout_levels

pytestmark = pytest.mark.usefixtures("compiled_once")


def test_the_saved_student_acts_as_it_was_evaluated(tiny: tuple[api.Result, Spy]) -> None:
    """Greedy play through `load_student` on the first held-out levels takes as many steps as the evaluation says."""
    from l4t_jax.envs.state import as_observation
    from l4t_jax.envs.visibility import know as know_one
    from l4t_jax.training.trainer import Trainer

    result, _ = tiny
    student = l4t_jax.load_student(result.run_dir, seed=1)
    trainer = Trainer.create(result.config)
    level = jax.tree.map(lambda leaf: leaf[3], jax.jit(lambda: heldout_levels(trainer.env, 32, "test"))())
    move = jax.jit(trainer.env.transition)
    know = jax.jit(lambda env_state: as_observation(know_one(env_state)))
    length, reward, done = 0, 0.0, False
    while not done:
        level, out = move(level, length, student.act(know(level)))
        length, reward, done = length + 1, reward + float(out.reward), bool(out.terminated | out.truncated)
    heldout = result.heldout["student, greedy"]
    assert length == heldout.length[1, 3]
    assert reward == pytest.approx(float(heldout.reward[1, 3]))


def test_a_loaded_student_draws_with_a_key_and_checks_the_shape(tiny: tuple[api.Result, Spy]) -> None:
    student = l4t_jax.load_student(tiny[0].run_dir)
    observation = np.full((student.task.width, student.task.height, 4), 4, np.uint8)
    observation[..., :3] = (1, 0, 0)
    observation[2, 2, 3] = 0
    drawn = {student.act(observation, jax.random.key(i)) for i in range(40)}
    assert len(drawn) > 1 and drawn <= set(range(NUM_ACTIONS))
    with pytest.raises(ValueError, match="has shape"):
        student.act(observation[:-1])
    with pytest.raises(ConfigError, match="there is no 2"):
        l4t_jax.load_student(tiny[0].run_dir, seed=2)
