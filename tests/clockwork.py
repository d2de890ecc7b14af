"""An environment whose episodes last as many steps as the level says, to see which rows a rollout has."""

import jax
import jax.numpy as jnp

from l4t_jax.envs import GridTask, Layout, Task
from l4t_jax.envs.cells import EMPTY_CODE, WALL_CODE
from l4t_jax.envs.navix import Outcome
from l4t_jax.envs.success import door_opened

MAX_STEPS, LONGEST = 6, 8  # what is longer than the first is cut off


class Clockwork(GridTask):
    """An episode ends by itself after as many steps as the agent's x says, or is cut off; each step pays."""

    def transition(self, env_state, t, action, key=None):
        terminated = t + 1 == env_state.agent[0]
        reward = 1.0 + t + 0.25 * action
        return env_state, Outcome(reward.astype(jnp.float32), terminated, terminated, t + 1 >= self.max_steps)


def lane(key):
    """The agent is in a lane, x from 1 to `LONGEST`."""
    cells = jnp.full((LONGEST + 2, 3), WALL_CODE, jnp.uint8).at[1:-1, 1].set(EMPTY_CODE)
    x = jax.random.randint(key, (), 1, LONGEST + 1)
    return Layout(cells, jnp.stack([x, 1, 0]).astype(jnp.int8))


TASK = Task("Clockwork", LONGEST + 2, 3, MAX_STEPS, layout=lane, success=door_opened, objects=(), view=3)
