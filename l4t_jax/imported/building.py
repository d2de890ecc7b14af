"""A task made of an environment's levels, missions and endings.

Host module. What a task is made of is `Facts`, plain values that a pool file keeps, and a `LevelPool`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from l4t_jax.envs import Layout, Role, Task
from l4t_jax.envs.cells import BALL, BOX, DOOR_CLOSED, DOOR_LOCKED, GOAL, KEY
from l4t_jax.envs.missions import Mission
from l4t_jax.envs.pools import LevelPool
from l4t_jax.envs.roles import BALLS, BOXES, CLOSED_DOORS, GOALS, KEYS, LOCKED_DOORS, ROOM_SKILLS
from l4t_jax.envs.task import PORTABLE
from l4t_jax.imported.finding import Ending
from l4t_jax.imported.original import Original
from l4t_jax.imported.rules import Rule

MOST_WORDS = 32  # that a place of a mission may have: a student reads each place as bits of one word
MOST_PLACES = 16  # of a mission that vary


@dataclasses.dataclass(frozen=True)
class Facts:
    """What an imported task has beside its levels; JSON holds it.

    Attributes:
        id: of Gymnasium.
        width, height, max_steps, view, see_through, num_actions: see `Task`.
        mission: of each place of the mission the words that it has, one where it never varies.
        success, failure, penalty: see `finding.Ending`; rules as `Rule.named` reads them.
        proven: steps that were compared with the original.
        drawn: levels that its generator drew to find these.
        asked: distinct levels that were asked for.
        source: a hash of the environment's files.
        refreshed: which drawing of the levels it is, 0 for the first.
    """

    id: str
    width: int
    height: int
    max_steps: int
    view: int
    see_through: bool
    num_actions: int
    mission: tuple[tuple[str, ...], ...]
    success: str
    failure: str
    penalty: float
    proven: int
    drawn: int
    asked: int
    source: str
    refreshed: int = 0

    @classmethod
    def of(cls, original: Original, ending: Ending, mission: Any, **more: Any) -> Facts:
        """Those of an environment."""
        alike = ("id", "width", "height", "max_steps", "view", "see_through", "num_actions")
        return cls(
            **{name: getattr(original, name) for name in alike},
            success=str(ending.success),
            failure=str(ending.failure),
            penalty=ending.penalty,
            mission=mission,
            **more,
        )


# Missions


@dataclasses.dataclass(frozen=True)
class Words:
    """The words at the places that vary -> the mission."""

    places: tuple[tuple[str, ...], ...]

    def __call__(self, words: tuple[str, ...]) -> str:
        left = iter(words)
        said = [place[0] if len(place) == 1 else next(left) for place in self.places]
        return " ".join(word for word in said if word)


def places_of(original: Original, missions: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The words that each place of the missions has, sorted; a shorter mission has "" at its last places.

    Raises:
        CannotImport: they vary too much for a student to tell apart.
    """
    split = [mission.split(" ") for mission in dict.fromkeys(missions)]
    length = max(map(len, split))
    places = tuple(tuple(sorted({words[i] if i < len(words) else "" for words in split})) for i in range(length))
    most = max(places, key=len)
    if len(most) > MOST_WORDS:
        original.refuse(
            f"its missions have {len(most)} different words at one place ({', '.join(most[:3])}, ...); "
            f"at most {MOST_WORDS} can be told apart"
        )
    varying = sum(len(place) > 1 for place in places)
    if varying > MOST_PLACES:
        original.refuse(f"its missions differ at {varying} places; at most {MOST_PLACES} can be told apart")
    return places


def values_of(places: Sequence[tuple[str, ...]], mission: str) -> list[int]:
    """A mission as the numbers of its words, at the places that vary."""
    words = mission.split(" ")
    words += [""] * (len(places) - len(words))
    return [place.index(word) for place, word in zip(places, words, strict=True) if len(place) > 1]


# Levels


def pool_of(
    ending: Ending, places: Sequence[tuple[str, ...]], levels: Sequence[Layout], missions: Sequence[str]
) -> Layout:
    """The levels as a task has them, with a leading axis: without what its rules do not read, and none has.

    Args:
        ending: its rules.
        places: of the missions.
        levels: as `Original.level` gives them.
        missions: of the levels, in words.
    """
    cells, agent, _, targets, contents, carrying = (np.stack(part) for part in zip(*levels, strict=True))
    bits = sum(1 << bit for bit in ending.success.bits | ending.failure.bits)
    values = np.array([values_of(places, mission) for mission in missions], np.int8)
    full = contents.any() or carrying.any()
    found: Any = (
        cells,
        agent,
        values if values.shape[1] else None,
        targets & np.uint8(bits) if bits else None,
        contents if full else None,
        carrying if full else None,
    )
    return Layout(*found)


def roles_of(levels: Layout, rules: Sequence[Rule]) -> tuple[Role, ...]:
    """The objects that plans can name: the target, and all kinds of things that the levels hold."""
    codes = np.unique(np.concatenate([np.unique(part) for part in (levels.cells, levels.contents) if part is not None]))
    kinds = {int(code) & 15 for code in codes}
    doors_of = {int(code) >> 4 for code in codes if code & 15 == DOOR_LOCKED}
    bits = set().union(*(rule.bits for rule in rules))
    found: list[Role] = []
    for bit, name in ((0, "target"), (1, "second target")):
        if bit in bits and levels.targets is not None:
            marked = {int(code) & 15 for code in np.unique(np.asarray(levels.cells)[levels.targets >> bit & 1 == 1])}
            things = tuple(kind for kind in PORTABLE if kind in marked)
            if things:
                found.append(Role(name, things, target=bit, reach=True))
            doors = tuple(kind for kind in (DOOR_CLOSED, DOOR_LOCKED) if kind in marked)
            if doors:
                found.append(Role(f"{name} door", doors, target=bit, reach=True))
    for kind, role in ((KEY, KEYS), (BALL, BALLS), (BOX, BOXES)):
        if kind in kinds:
            found.append(role)
    if DOOR_LOCKED in kinds:
        found.append(dataclasses.replace(LOCKED_DOORS, opens=len(doors_of) > 1))
    if DOOR_CLOSED in kinds:
        found.append(CLOSED_DOORS)
    if GOAL in kinds:
        found.append(GOALS)
    return tuple(found)


def task_of(facts: Facts, pool: LevelPool, name: str) -> Task:
    """The task."""
    success, failure = Rule.named(facts.success), Rule.named(facts.failure)
    varying = tuple(place for place in facts.mission if len(place) > 1)
    text = " ".join(place[0] for place in facts.mission if len(place) == 1)
    mission = None
    if varying:
        fields = tuple((f"word {i + 1}", place) for i, place in enumerate(facts.mission) if len(place) > 1)
        mission = Mission(fields, Words(facts.mission))
    objects = roles_of(pool.levels, (success, failure))
    beside = ("put_beside",) if any(role.target == 1 and role.portable for role in objects) else ()
    return Task(
        name=name,
        width=facts.width,
        height=facts.height,
        max_steps=facts.max_steps,
        layout=pool,
        success=success,
        failure=failure,
        penalty=facts.penalty,
        objects=objects,
        mission=mission,
        text="" if varying else text,
        view=facts.view,
        see_through=facts.see_through,
        num_actions=facts.num_actions,
        skills=(*ROOM_SKILLS, *beside),  # put one thing next to another
        description=f"{facts.id}: {text or 'a mission of its own'}.",
        family="imported",
        distinct_levels=len(pool) if pool.shared else None,
    )
