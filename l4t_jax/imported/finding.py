"""What ends an environment's episodes, found among the known rules from what it did.

Host module.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from l4t_jax.envs.cells import ACTIONS, DIR_X, DIR_Y
from l4t_jax.envs.state import State, Transition
from l4t_jax.imported.original import Original
from l4t_jax.imported.playing import Episode
from l4t_jax.imported.rules import RULES, Known, Rule, looked_for

CHUNK = 512  # transitions that are judged in one call
MOST_NAMES = 3  # rules joined


@dataclasses.dataclass(frozen=True)
class Ending:
    """How episodes end: what a `Task` has.

    Attributes:
        success, failure: the rules.
        penalty: the reward of a failure.
        doubts: other rules that fit all that was seen as well.
        seen: how many episodes ended well, badly, and by time.
    """

    success: Rule
    failure: Rule
    penalty: float
    doubts: tuple[str, ...] = ()
    seen: tuple[int, int, int] = (0, 0, 0)

    def __str__(self) -> str:
        well, badly, cut = self.seen
        also = f"; {', '.join(self.doubts)} would fit what was seen as well" if self.doubts else ""
        return f"ends well by {self.success} ({well} times), badly by {self.failure} ({badly}), {cut} by time{also}"


ANY = Ending(Rule(("goal_reached",)), Rule(("lava_entered",)), 0.0)  # where nothing is known


def _state(now: Any) -> State:
    """A `Snapshot` as ours."""
    some: Any = np.zeros(now.cells.shape, bool), now.agent, now.carrying, np.full(2, -1, np.int8)
    return State(now.cells, *some, targets=now.targets, carried_targets=now.carried_targets)


def _transitions(episode: Episode) -> list[Transition]:
    """The steps as ours; NumPy arrays, no batch axis."""
    found = []
    for t, (before, after, action) in enumerate(zip(episode.states, episode.states[1:], episode.actions, strict=False)):
        x, y, d = (int(value) for value in before.agent)
        front = np.array([x + DIR_X[d], y + DIR_Y[d]], np.int32)
        seen: Any = np.int32(episode.age + t), front, before.cells[tuple(front)], after.cells[tuple(front)]
        taken: Any = np.int32(action)
        found.append(Transition(_state(before), taken, _state(after), *seen))
    return found


@functools.partial(jax.jit, static_argnums=0)
def _judge(rules: tuple[tuple[str, Known], ...], transitions: Transition) -> dict[str, jax.Array]:
    return {name: jax.vmap(rule.holds)(transitions) for name, rule in rules}


def judge(played: Sequence[Episode]) -> dict[str, np.ndarray]:
    """Where each known rule holds, `bool[n]` over all steps."""
    transitions = [one for episode in played for one in _transitions(episode)]
    number = len(transitions)
    transitions += transitions[:1] * (-number % CHUNK)
    parts = []
    for at in range(0, len(transitions), CHUNK):
        batch = jax.tree.map(lambda *leaves: np.stack(leaves), *transitions[at : at + CHUNK])
        parts.append(jax.device_get(_judge(tuple(RULES.items()), batch)))
    return {name: np.concatenate([part[name] for part in parts])[:number] for name in RULES}


def find(
    original: Original, played: Sequence[Episode], success: Rule | None = None, failure: Rule | None = None
) -> Ending:
    """The rules by which the steps that were seen end exactly as they did.

    Args:
        original: the environment.
        played: its episodes.
        success, failure: the rules where the user names them.

    Raises:
        CannotImport: no step ended an episode well, there are none, or it pays otherwise than MiniGrid does.
    """
    looks = [look for episode in played for look in episode.looks[1:]]
    where = [(episode, t) for episode in played for t in range(len(episode.actions))]
    reward = np.array([look.reward for look in looks])
    ended = np.array([look.terminated for look in looks])
    for at in np.flatnonzero((reward != 0) & ~ended)[:1]:
        original.refuse(
            f"it pays {reward[at]:g} at {told(*where[at])} and goes on; a task here pays only at the end of an episode"
            + because(original)
        )
    good = ended & (reward > 0)
    if not good.any() and success is None and (declared := original.declared()) is not None:
        success, failure = (Rule((name,)) for name in declared)
    if not good.any() and success is None:
        original.refuse(
            f"no episode ended with a reward in {len(looks):,} steps of random and seeking actions, so its success "
            f"rule is not known; set `success` to one of {', '.join(looked_for('well'))}"
        )
    holds = judge(played)
    if success is None:
        names = cover(good, {name: holds[name] for name in looked_for("well")})
        success = Rule(names) if names else _unknown(original, "well", good, holds, where)
    ends = holds["goal_reached"] | np.logical_or.reduce([holds[name] for name in success.names])
    bad = ended & ~good & ~ends
    penalties = sorted(set(reward[ended & ~good].tolist()))
    if len(penalties) > 1:
        original.refuse(
            f"episodes that end badly pay {' or '.join(f'{p:g}' for p in penalties)}; they must all pay the same"
        )
    if failure is None:
        failure = Rule(("lava_entered",))
        if (bad & ~holds["lava_entered"]).any():
            names = cover(bad, {name: holds[name] & ~ends for name in looked_for("badly")})
            failure = Rule(names) if names else _unknown(original, "badly", bad, holds, where)
    doubts = [*_alike(success, good, holds, "well"), *_alike(failure, bad, holds, "badly")]
    seen = int(good.sum()), int((ended & ~good).sum()), sum(look.truncated for look in looks)
    return Ending(success, failure, penalties[0] if penalties else 0.0, tuple(doubts), seen)


def _alike(rule: Rule, wanted: np.ndarray, holds: dict[str, np.ndarray], how: str) -> list[str]:
    """Rules that could stand in for one of a rule's."""
    usable = [name for name in looked_for(how) if holds[name].any() and not (holds[name] & ~wanted).any()]
    return [
        name
        for name in usable
        if name not in rule.names and any((holds[name] & holds[mine] == holds[mine]).all() for mine in rule.names)
    ]


def cover(wanted: np.ndarray, holds: dict[str, np.ndarray]) -> tuple[str, ...] | None:
    """The fewest rules, at most `MOST_NAMES`, of which one holds exactly where `wanted` is; None if there are none."""
    usable = {name: hit for name, hit in holds.items() if hit.any() and not (hit & ~wanted).any()}
    left, names = wanted.copy(), []
    while left.any() and len(names) < MOST_NAMES:
        best = max(usable, key=lambda name: int((usable[name] & left).sum()), default=None)
        if best is None or not (usable[best] & left).any():
            return None
        names.append(best)
        left &= ~usable[best]
    return None if left.any() else tuple(names)


def _unknown(original: Original, how: str, wanted: np.ndarray, holds: dict[str, np.ndarray], where: list) -> Rule:
    """Refuses: no known rule ends episodes so."""
    near = min(looked_for(how), key=lambda name: int((holds[name] != wanted).sum()))
    wrong = int(np.flatnonzero(holds[near] != wanted)[0])
    does, would = ("does", "would not") if wanted[wrong] else ("does not", "would")
    return original.refuse(
        f"no rule known here ends its episodes {how} exactly where its step() does; the nearest is {near}: at "
        f"{told(*where[wrong])} it {would} end the episode {how}, and the original {does}" + because(original)
    )


def told(episode: Episode, t: int) -> str:
    """A step in words."""
    last = ", ".join(ACTIONS[action] for action in episode.actions[max(t - 2, 0) : t + 1])
    return f"step {episode.age + t + 1} of the level of seed {episode.seed} (after {last})"


def because(original: Original) -> str:
    """What of the original may be why, in words."""
    own = original.own_parts()
    return f"; {own}" if own else ""
