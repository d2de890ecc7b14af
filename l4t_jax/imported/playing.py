"""Episodes of an original, step by step, with random actions and such as seek out its objects.

Host module.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator
from typing import Protocol

import jax
import numpy as np

from l4t_jax.abstraction.scene import around
from l4t_jax.envs.cells import (
    BALL,
    BOX,
    DIR_X,
    DIR_Y,
    DONE,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    DROP,
    EMPTY,
    FLOOR,
    FORWARD,
    GOAL,
    KEY,
    LAVA,
    LEFT,
    PICKUP,
    RIGHT,
    TOGGLE,
    WALL,
)
from l4t_jax.envs.state import Layout
from l4t_jax.imported.original import Original, Snapshot, Step, level_of

WALKED = (EMPTY, FLOOR, DOOR_OPEN, GOAL)
LONGEST = 128  # steps of one episode that are looked at
AT_RANDOM = 0.25  # of the actions
Cell = tuple[int, int]
Faced = tuple[Cell, int, Cell]
_around = jax.jit(around)


class Told(Protocol):
    """Hears how far it is, as `reporting.progress.Progress` does."""

    def phase(self, words: str) -> None:
        """A new phase starts."""

    def counted(self, words: str, done: int, total: int) -> None:
        """So much of a phase is done."""

    def notice(self, words: str) -> None:
        """What was found."""


@dataclasses.dataclass
class Episode:
    """Some steps of an original from the start of a level.

    Attributes:
        seed: of its level.
        age: steps that the episode counted before its first, so that its end is seen too.
        states: T + 1 of them.
        looks: the first look, then what each step gave: T + 1.
        actions: T of them.
        drew: whether a step drew random numbers.
    """

    seed: int
    age: int
    mission: str
    states: list[Snapshot]
    looks: list[Step]
    actions: list[int]
    drew: bool = False


def episodes(original: Original, steps: int, rng: np.random.Generator, first_seed: int) -> Iterator[Episode]:
    """Episodes of `steps` steps together at least, on the levels of `first_seed`, the next, and so on."""
    seed = first_seed
    while steps > 0:
        episode = play(original, seed, rng)
        steps -= max(len(episode.actions), 1)
        seed += 1
        yield episode


def play(original: Original, seed: int, rng: np.random.Generator) -> Episode:
    """One episode, or its first `LONGEST` steps. A third of the episodes start old, so that their end comes soon."""
    limit = original.max_steps
    mission = original.reset(seed)
    age = int(rng.integers(max(limit - 60, 0), limit)) if rng.random() < 1 / 3 else 0
    original.env.step_count = age
    episode = Episode(seed, age, mission, [original.snapshot()], [original.first_look()], [])
    seek = Seeker(rng, original.num_actions)
    generator = original.env.np_random.bit_generator
    before = generator.state
    while len(episode.actions) < min(LONGEST, limit - age):
        action = seek(episode.states[-1])
        look = original.step(action)
        episode.actions.append(action)
        episode.looks.append(look)
        episode.states.append(original.snapshot())
        if look.terminated or look.truncated:
            break
    episode.drew = generator.state != before
    return episode


def start_of(episode: Episode) -> Layout:
    """The level of an episode, as `Original.level` gives it."""
    return level_of(episode.states[0])


class Seeker:
    """Chooses actions: walks to one thing after the other and does something with it, some actions at random.

    Args:
        rng: decides.
        num_actions: of the environment.
    """

    def __init__(self, rng: np.random.Generator, num_actions: int) -> None:
        self._rng, self._number, self._plan = rng, num_actions, deque[int]()

    def __call__(self, state: Snapshot) -> int:
        """The next action."""
        if self._rng.random() < AT_RANDOM and not self._plan:
            return int(self._rng.integers(self._number))
        if self._plan and self._rng.random() < 0.03:
            self._plan.clear()
        if not self._plan:
            self._plan.extend(self._way(state))
        action = self._plan.popleft() if self._plan else int(self._rng.integers(self._number))
        return action if action < self._number else int(self._rng.integers(self._number))

    def _way(self, state: Snapshot) -> list[int]:
        """Actions that lead to a thing, drawn from all that can be walked to, and then do something with it."""
        kinds = state.cells & 15
        came, reached, faced = _walk(kinds, state.agent)
        if state.carried_targets & 1 and self._rng.random() < 0.7:  # put it beside what the mission names second
            near = np.asarray(_around(state.targets >> 1 & 1 == 1))
            beside = [(place, d) for place, d, there in faced if near[there]]
            if beside:
                return [*_steps(came, *beside[self._rng.integers(len(beside))], int(state.agent[2])), DROP]
        if not reached:
            return []
        key = int(state.carrying) & 15 == KEY
        weights = np.array(
            [_interest(int(kinds[at]), key) * (4 if state.targets[at] & 15 else 1) for _, _, at in reached]
        )
        place, d, at = reached[self._rng.choice(len(reached), p=weights / weights.sum())]
        return _steps(came, place, d, int(state.agent[2])) + self._deed(int(kinds[at]), bool(state.carrying))

    def _deed(self, kind: int, carrying: bool) -> list[int]:
        """What to do before a thing of this kind."""
        if kind in (GOAL, LAVA, FLOOR):
            return [FORWARD]
        usual = PICKUP if kind in (KEY, BALL) else TOGGLE
        if kind == BOX and self._rng.random() < 0.5:
            usual = PICKUP
        if self._rng.random() < 0.6:
            if usual == PICKUP and carrying:
                return [int(self._rng.choice([LEFT, RIGHT])), DROP]
            return [usual, FORWARD, FORWARD] if usual == TOGGLE else [usual]
        turned = [int(self._rng.choice([LEFT, RIGHT])), int(self._rng.choice([DONE, TOGGLE, DROP]))]
        return [[FORWARD], [PICKUP], [DROP], [TOGGLE], [DONE], [DONE], turned][self._rng.integers(7)]


def _walk(kinds: np.ndarray, agent: np.ndarray) -> tuple[dict[Cell, tuple[Cell, int]], list[Faced], list[Faced]]:
    """All cells that can be walked to.

    Returns:
        Each of them -> the cell and direction that it is entered from; the things that are faced from one of them,
        each with that cell and the direction; and likewise the empty cells.
    """
    start = (int(agent[0]), int(agent[1]))
    came, queue = {start: (start, -1)}, deque([start])
    reached: list[Faced] = []
    faced: list[Faced] = []
    while queue:
        here = queue.popleft()
        for d in range(4):
            there = here[0] + DIR_X[d], here[1] + DIR_Y[d]
            if not (0 <= there[0] < kinds.shape[0] and 0 <= there[1] < kinds.shape[1]):
                continue
            kind = int(kinds[there])
            if kind == EMPTY:
                faced.append((here, d, there))
            elif kind != WALL:
                reached.append((here, d, there))
            if kind in WALKED and there not in came:
                came[there] = here, d
                queue.append(there)
    return came, reached, faced


def _steps(came: dict[Cell, tuple[Cell, int]], place: Cell, facing: int, direction: int) -> list[int]:
    """Actions that lead to a cell and turn there."""
    way: list[int] = []
    while came[place][1] >= 0:
        place, d = came[place]
        way.append(d)
    actions: list[int] = []
    for d in (*reversed(way), facing):
        actions += [[], [RIGHT], [RIGHT, RIGHT], [LEFT]][(d - direction) % 4]
        direction = d
        actions.append(FORWARD)
    return actions[:-1]  # the last turn faces the thing


def _interest(kind: int, key: bool) -> float:
    """How much a thing of this kind is sought; a locked door, with a key in hand."""
    if kind == DOOR_LOCKED:
        return 4.0 if key else 0.5
    return {LAVA: 0.1, FLOOR: 0.2, DOOR_CLOSED: 1.5, DOOR_OPEN: 0.7}.get(kind, 1.0)
