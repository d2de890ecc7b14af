"""An episodic count bonus: a reward for going where the episode has seldom been.

Device module. A visit is a cell of the agent, told apart by whether it carries something and by how many doors stand
open (0, 1, 2, or more): with a key in hand, or behind a door just opened, the same cells are worth walking through
again. At the n-th visit of an episode the bonus is 1 / sqrt(n). Counts are of the episode alone, so the bonus does not
fade with training and needs no model; it does depend on the past of the episode, which the map shows in part. Source:
counts per episode as in RIDE (Raileanu and Rocktaeschel 2020) and NovelD (Zhang et al. 2021).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import DOOR_OPEN, kind_of
from l4t_jax.envs.state import State
from l4t_jax.envs.task import Task

DOORS = 4  # numbers of open doors that are told apart, the last for all above
LARGEST_COUNT = 255


def no_visits(task: Task, num_envs: int) -> jax.Array:
    """Counts of `num_envs` environments at the start of an episode, `uint8[N, places]`."""
    return jnp.zeros((num_envs, task.width * task.height * 2 * DOORS), jnp.uint8)


def place(env_state: State) -> jax.Array:
    """Which of the counted places an agent is in, `int32[N]`, of states with one leading axis."""
    width, height = env_state.cells.shape[-2:]
    x, y = (env_state.agent[:, i].astype(jnp.int32) for i in (0, 1))
    doors = jnp.sum(kind_of(env_state.cells) == DOOR_OPEN, axis=(1, 2), dtype=jnp.int32)
    carries = (env_state.carrying > 0).astype(jnp.int32)
    return ((jnp.minimum(doors, DOORS - 1) * 2 + carries) * width + x) * height + y


def visit(visits: jax.Array, env_state: State) -> tuple[jax.Array, jax.Array]:
    """Counts the places that N agents are in now.

    Args:
        visits: `uint8[N, places]` of their episodes so far.
        env_state: leading axis N.

    Returns:
        The counts with these, and the bonuses `float32[N]`.
    """
    env = jnp.arange(visits.shape[0])
    where = place(env_state)
    number = jnp.minimum(visits[env, where].astype(jnp.int32) + 1, LARGEST_COUNT)
    return visits.at[env, where].set(number.astype(jnp.uint8)), jax.lax.rsqrt(number.astype(jnp.float32))
