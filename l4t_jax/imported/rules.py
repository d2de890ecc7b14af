"""The rules that an imported environment may end by: predicates of a transition, by name.

The mission of an imported environment points at objects: bit 0 of the targets marks what it names first, bit 1 what
it names second, bits `PLACE` and `PLACE` + 1 the cells where they lay at the start. A rule is one of these predicates,
or several joined by "or". A user's file adds its own by `register_rule`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs import success, targets
from l4t_jax.envs.cells import (
    BALL,
    BOX,
    DONE,
    DOOR_LOCKED,
    DOOR_OPEN,
    DROP,
    EMPTY,
    FLOOR,
    FORWARD,
    GOAL,
    KEY,
    LAVA,
    PICKUP,
    TOGGLE,
    kind_of,
    one_of,
)
from l4t_jax.envs.dynamics import front_of
from l4t_jax.envs.state import State, Transition
from l4t_jax.envs.targets import PLACE, beside, marked
from l4t_jax.envs.task import DOORS, Predicate
from l4t_jax.errors import ConfigError
from l4t_jax.extensions import Registry


def _bit_at(state: State, place: jax.Array, bit: int) -> jax.Array:
    """Whether the cell at `int32[2]` has this bit of the targets, `bool[]`; no cell off the map has."""
    mask = marked(state, bit)
    width, height = mask.shape
    return jnp.any((jnp.arange(width)[:, None] == place[0]) & (jnp.arange(height)[None, :] == place[1]) & mask)


def _carries(state: State, bit: int) -> jax.Array:
    assert state.carried_targets is not None
    return state.carried_targets >> bit & 1 == 1


def _done(t: Transition) -> jax.Array:
    return t.action == DONE


def target_picked(t: Transition) -> jax.Array:
    """What the mission names first is picked up."""
    return (t.action == PICKUP) & (t.state.carrying == 0) & _carries(t.next_state, 0)


def target_opened(t: Transition) -> jax.Array:
    """A toggle leaves the door that the mission names open."""
    return success.door_opened(t) & _bit_at(t.state, t.front, 0)


def target_faced(t: Transition) -> jax.Array:
    """After the step the agent stands before what the mission names first, and looks at it."""
    return _bit_at(t.state, front_of(t.next_state)[0], 0)


def target_put_next(t: Transition) -> jax.Array:
    """What the mission names first is dropped in one of the four cells around what it names second."""
    mask = marked(t.next_state, 1)
    away_x = abs(jnp.arange(mask.shape[0]) - t.front[0])[:, None]
    away_y = abs(jnp.arange(mask.shape[1]) - t.front[1])[None, :]
    dropped = (t.action == DROP) & (t.next_state.carrying == 0) & _carries(t.state, 0)
    return dropped & jnp.any((away_x + away_y == 1) & mask)


def target_put_near(t: Transition) -> jax.Array:
    """What the mission names first is dropped within a king's move of where what it names second lay at the start."""
    mask = marked(t.state, PLACE + 1)
    away_x = abs(jnp.arange(mask.shape[0]) - t.front[0])[:, None]
    away_y = abs(jnp.arange(mask.shape[1]) - t.front[1])[None, :]
    dropped = (t.action == DROP) & (t.next_state.carrying == 0) & _carries(t.state, 0)
    return dropped & jnp.any((away_x <= 1) & (away_y <= 1) & mask)


def done_facing_target(t: Transition) -> jax.Array:
    """Done, with what the mission names first ahead."""
    return _done(t) & _bit_at(t.state, t.front, 0)


def done_beside_target(t: Transition) -> jax.Array:
    """Done, with what the mission names first in one of the four cells around."""
    return targets.done_beside(0, t)


def done_beside_place(t: Transition) -> jax.Array:
    """Done, in one of the four cells around where what the mission names first lay at the start."""
    return targets.done_beside(PLACE, t)


def locked_door_opened(t: Transition) -> jax.Array:
    """A locked door is opened with its key."""
    return success.door_opened(t) & (kind_of(t.ahead) == DOOR_LOCKED)


def box_opened(t: Transition) -> jax.Array:
    """A box is toggled away."""
    return (t.action == TOGGLE) & (kind_of(t.ahead) == BOX)


def floor_reached(t: Transition) -> jax.Array:
    """The agent stepped onto a coloured floor tile."""
    return (t.action == FORWARD) & (kind_of(t.ahead) == FLOOR)


def bumped(t: Transition) -> jax.Array:
    """Forward, into something that cannot be walked on."""
    return (t.action == FORWARD) & ~one_of(kind_of(t.ahead), EMPTY, FLOOR, DOOR_OPEN, GOAL, LAVA)


def other_picked(t: Transition) -> jax.Array:
    """Something is carried after a pickup that the mission does not name first."""
    return (t.action == PICKUP) & (t.next_state.carrying != 0) & ~_carries(t.next_state, 0)


def pickup_carrying(t: Transition) -> jax.Array:
    """Anything is carried after a pickup."""
    return (t.action == PICKUP) & (t.next_state.carrying != 0)


def pickup_unsuccessful(t: Transition) -> jax.Array:
    """Something is carried after a pickup, which did not just take what the mission names first."""
    return pickup_carrying(t) & ~target_picked(t)


def dropped(t: Transition) -> jax.Array:
    """What was carried is put down."""
    return (t.action == DROP) & (t.state.carrying != 0) & (t.next_state.carrying == 0)


def other_door_opened(t: Transition) -> jax.Array:
    """A toggle leaves a door open that the mission does not name."""
    return success.door_opened(t) & ~_bit_at(t.state, t.front, 0)


def door_toggled_unsuccessfully(t: Transition) -> jax.Array:
    """A toggle at a door, after which that door is not open, or not the one that the mission names."""
    return (t.action == TOGGLE) & one_of(kind_of(t.ahead), *DOORS) & ~target_opened(t)


def done_elsewhere(t: Transition) -> jax.Array:
    """Done, with nothing that the mission names first in one of the four cells around."""
    return _done(t) & ~beside(t.state, 0)


def done_away_from_place(t: Transition) -> jax.Array:
    """Done, and not beside where what the mission names first lay at the start."""
    return _done(t) & ~beside(t.state, PLACE)


def done_not_facing(t: Transition) -> jax.Array:
    """Done, with something else ahead than what the mission names first."""
    return _done(t) & ~_bit_at(t.state, t.front, 0)


def toggled(t: Transition) -> jax.Array:
    """Any toggle."""
    return t.action == TOGGLE


@dataclasses.dataclass(frozen=True)
class Known:
    """A rule that is known.

    Attributes:
        holds: a transition -> `bool[]`.
        bits: the bits of the targets that it reads.
        ends: "well", "badly" or "" for both: as what it is looked for.
    """

    holds: Predicate
    bits: tuple[int, ...] = ()
    ends: str = ""


_OWN: dict[str, Known] = {
    "goal_reached": Known(success.goal_reached, ends="well"),
    "target_picked": Known(target_picked, (0,), "well"),
    "target_opened": Known(target_opened, (0,), "well"),
    "done_facing_target": Known(done_facing_target, (0,), "well"),
    "done_beside_target": Known(done_beside_target, (0,), "well"),
    "done_beside_place": Known(done_beside_place, (PLACE,), "well"),
    "target_faced": Known(target_faced, (0,), "well"),
    "target_put_next": Known(target_put_next, (0, 1), "well"),
    "target_put_near": Known(target_put_near, (0, PLACE + 1), "well"),
    "locked_door_opened": Known(locked_door_opened),
    "door_opened": Known(success.door_opened),
    "key_picked": Known(partial(success.picked, KEY)),
    "ball_picked": Known(partial(success.picked, BALL)),
    "box_picked": Known(partial(success.picked, BOX)),
    "box_opened": Known(box_opened),
    "floor_reached": Known(floor_reached),
    "lava_entered": Known(success.lava_entered, ends="badly"),
    "other_picked": Known(other_picked, (0,), "badly"),
    "other_door_opened": Known(other_door_opened, (0,), "badly"),
    "done_elsewhere": Known(done_elsewhere, (0,), "badly"),
    "done_away_from_place": Known(done_away_from_place, (PLACE,), "badly"),
    "done_not_facing": Known(done_not_facing, (0,), "badly"),
    "pickup_unsuccessful": Known(pickup_unsuccessful, (0,), "badly"),
    "door_toggled_unsuccessfully": Known(door_toggled_unsuccessfully, (0,), "badly"),
    "pickup_carrying": Known(pickup_carrying, ends="badly"),
    "dropped": Known(dropped, ends="badly"),
    "toggled": Known(toggled, ends="badly"),
    "bumped": Known(bumped, ends="badly"),
    "done": Known(_done),
}
RULES = Registry("rule", own=_OWN)


def register_rule(name: str, holds: Predicate, bits: Iterable[int] = (), ends: str = "") -> None:
    """Adds a rule to those that are looked for, before the package's own.

    Args:
        name: of small letters, digits and underscores.
        holds: a transition -> `bool[]`.
        bits: the bits of the targets that it reads, as the head of this module has them.
        ends: "well" or "badly" if it ends an episode only so.

    Raises:
        ValueError: the name cannot be, or there is another rule of this name.
    """
    if not name.isidentifier():
        raise ValueError(f"a rule's name is one word of letters, digits and underscores, not {name!r}")
    RULES.add(name, Known(holds, tuple(bits), ends))


def looked_for(ends: str) -> list[str]:
    """The names of the rules that may end an episode "well" or "badly", the users' own first."""
    return [name for name in (*(n for n in RULES if n not in _OWN), *_OWN) if RULES[name].ends in ("", ends)]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A transition -> whether one of the rules of these names holds, `bool[]`."""

    names: tuple[str, ...]

    @classmethod
    def named(cls, words: str) -> Rule:
        """From names joined by "or".

        Raises:
            ConfigError: one is unknown.
        """
        names = tuple(words.replace(",", " or ").split(" or "))
        names = tuple(name.strip() for name in names)
        for name in names:
            if name not in RULES:
                raise ConfigError(f"there is no rule {name!r}; the rules are {', '.join(RULES)}")
        return cls(names)

    def __call__(self, transition: Transition) -> jax.Array:
        return functools.reduce(jnp.logical_or, (RULES[name].holds(transition) for name in self.names))

    def __str__(self) -> str:
        return " or ".join(self.names)

    @property
    def bits(self) -> set[int]:
        """The bits of the targets that it reads."""
        return {bit for name in self.names for bit in RULES[name].bits}
