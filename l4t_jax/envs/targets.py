"""What a mission points at: the cells that `State.targets` marks, and the endings of tasks that are told by them.

Device module. The families of tasks import it. Bits of `targets`: the lower four mark objects and follow them, the
upper four mark places and stay where they are.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import DONE, TOGGLE
from l4t_jax.envs.state import State, Transition

PLACE = 4  # the first bit that marks a place


def marked(state: State, bit: int) -> jax.Array:
    """The cells with this bit of `targets`, `bool[W, H]`; the state must have targets."""
    assert state.targets is not None
    return state.targets >> bit & 1 == 1


def beside(state: State, bit: int) -> jax.Array:
    """Whether one of the four cells around the agent has this bit of `targets`, `bool[]`."""
    targets = marked(state, bit)
    x, y = state.agent[0].astype(jnp.int32), state.agent[1].astype(jnp.int32)
    away_x, away_y = abs(jnp.arange(targets.shape[0]) - x), abs(jnp.arange(targets.shape[1]) - y)
    return jnp.any((away_x[:, None] + away_y[None, :] == 1) & targets)


def done_beside(bit: int, transition: Transition) -> jax.Array:
    """The action done with a target in one of the four cells around the agent."""
    return (transition.action == DONE) & beside(transition.state, bit)


def toggled_or_done_elsewhere(bit: int, transition: Transition) -> jax.Array:
    """How MiniGrid's "go to" tasks end badly: any toggle; done with no target in one of the four cells around."""
    done = (transition.action == DONE) & ~beside(transition.state, bit)
    return (transition.action == TOGGLE) | done
