"""A student of its own observation: how far the nearest thing of each kind is, seen from the agent.

    python -m l4t_jax.run --import docs/extending/own_observation.py --env DoorKey-5x5 --student relative
    l4t_jax.train(imports="docs/extending/own_observation.py", env="DoorKey-5x5", student="relative")

The teacher still reads the memory map: a student's observation is its own.
"""

import flax.linen as nn
import jax.numpy as jnp

from l4t_jax.agents.observations import Observation, register_observation
from l4t_jax.agents.students import StudentNetwork, register_student
from l4t_jax.envs.cells import DIR_X, DIR_Y, DOOR_CLOSED, DOOR_LOCKED, DOOR_OPEN, GOAL, KEY, NUM_KINDS, UNSEEN, kind_of
from l4t_jax.envs.visibility import know

KINDS = (UNSEEN, KEY, DOOR_LOCKED, DOOR_CLOSED, DOOR_OPEN, GOAL)
FAR = 99


def relative(task, state, kernel):
    """Of one environment's state, only from what the agent knows: a dict of small arrays."""
    memory = know(state)
    kinds = kind_of(memory.cells)
    x, y, turned = (memory.agent[i].astype(jnp.int32) for i in range(3))
    east, south = jnp.arange(kinds.shape[0])[:, None] - x, jnp.arange(kinds.shape[1])[None, :] - y
    step_x, step_y = jnp.asarray(DIR_X)[turned], jnp.asarray(DIR_Y)[turned]
    ahead, right = east * step_x + south * step_y, south * step_x - east * step_y
    nearest = []
    for kind in KINDS:
        away = jnp.where(kinds == kind, abs(ahead) + abs(right), FAR).reshape(-1)
        at = jnp.argmin(away)
        place = jnp.stack([jnp.int32(1), ahead.reshape(-1)[at], right.reshape(-1)[at]])
        nearest.append(jnp.where(away[at] < FAR, place, 0))
    around = [(step_x, step_y), (step_y, -step_x), (-step_y, step_x)]  # ahead, left, right
    beside = jnp.stack([kinds[x + dx, y + dy] for dx, dy in around])
    return {
        "nearest": jnp.stack(nearest).astype(jnp.int8),  # (kinds, 3): there or not, cells ahead, cells to the right
        "beside": beside,  # (3,) the kinds of the cells around
        "carrying": kind_of(memory.carrying),
    }


class Relative(StudentNetwork):
    """Two hidden layers; the observation has leading axes (T, B)."""

    @nn.compact
    def __call__(self, carry, observation, reset):
        places = observation["nearest"].astype(jnp.float32)
        seen = [jnp.sign(places), jnp.tanh(places / 4), nn.one_hot(observation["beside"], NUM_KINDS)]
        seen = [part.reshape(*reset.shape, -1) for part in seen]
        x = jnp.concatenate([*seen, nn.one_hot(observation["carrying"], NUM_KINDS)], axis=-1)
        for _ in range(2):
            x = nn.relu(nn.Dense(self.hidden)(x))
        return carry, nn.Dense(self.outputs)(x), nn.Dense(1)(x)[..., 0]


register_observation(Observation("relative", relative))
register_student("relative", Relative, observation="relative", defaults={"hidden": 64})
