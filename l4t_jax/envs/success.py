"""What tasks end on, said in one line: predicates of a transition, each `Transition` -> `bool[]`.

Device module. Success of a task is one of these, or one of the user's own; so is failure.
"""

from __future__ import annotations

import jax

from l4t_jax.envs.cells import DOOR_OPEN, FORWARD, GOAL, LAVA, PICKUP, TOGGLE, kind_of
from l4t_jax.envs.state import Transition


def door_opened(transition: Transition) -> jax.Array:
    """A toggle left the door ahead open: success of the paper's tasks."""
    return (transition.action == TOGGLE) & (kind_of(transition.ahead_after) == DOOR_OPEN)


def goal_reached(transition: Transition) -> jax.Array:
    """The agent stepped onto a goal."""
    return (transition.action == FORWARD) & (kind_of(transition.ahead_after) == GOAL)


def lava_entered(transition: Transition) -> jax.Array:
    """The agent stepped into lava."""
    return (transition.action == FORWARD) & (kind_of(transition.ahead_after) == LAVA)


def picked(kind: int, transition: Transition) -> jax.Array:
    """After a pickup an object of this kind is carried."""
    return (transition.action == PICKUP) & (kind_of(transition.next_state.carrying) == kind)


def picked_code(code: int, transition: Transition) -> jax.Array:
    """After a pickup an object of this cell code, kind and colour, is carried."""
    return (transition.action == PICKUP) & (transition.next_state.carrying == code)
