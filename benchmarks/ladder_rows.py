"""The rows of the ladder: tasks with what is wanted, the steps allowed, what others report; and the ways to learn them.

Imports nothing that computes. Sources of what others report: rule-teaching-rl (2026), LightZero's issue 497, DEIR,
the issue threads and model zoos of rl-starter-files and SB3. Most of them read MiniGrid's own view of 7 x 7 cells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from l4t_jax.agents.algorithms import get_algorithm

EXAMPLES = Path(__file__).parents[1] / "l4t_jax" / "teacher" / "data" / "examples"
VIEW = "view of 7 x 7"
Kind = Literal["ppo", "explores", "taught"]


@dataclasses.dataclass(frozen=True)
class Point:
    """A published result.

    Attributes:
        steps: environment steps.
        success: share of episodes; 0 where only "no reward" is reported.
        method: as its authors call it.
        kind: of method: "ppo", "explores" or "taught" (by an LLM).
        observation: what it reads.
    """

    steps: int
    success: float
    method: str
    kind: Kind
    observation: str = VIEW


@dataclasses.dataclass(frozen=True)
class Row:
    """A task of the ladder.

    Attributes:
        task: its name.
        wanted: success on held-out levels, sampled.
        steps: environment steps of a seed, at most.
        others: what is published, as points of a curve.
        said: what is published without a figure.
        within: of the teacher's own success: enough where the teacher does not reach `wanted`.
        teacher: an example file of the package, where the task has no teacher of its own.
    """

    task: str
    wanted: float
    steps: int
    others: tuple[Point, ...] = ()
    said: str = ""
    within: float = 0.01
    teacher: str | None = None

    def goal(self, teacher: float | None) -> float:
        """The success that is wanted, given the teacher's own."""
        return self.wanted if teacher is None or teacher >= self.wanted else teacher - self.within


_RULES = partial(Point, method="PPO with the rules of a frozen LLM", kind="taught")
_COUNTS = partial(Point, method="PPO with a count bonus", kind="explores")
_EXPLORERS = partial(Point, method="NovelD, AGAC, DEIR, users", kind="explores")
_PPO = partial(Point, method="PPO", kind="ppo")
_ROWS = (
    Row("UnlockPickup", 0.99, 300_000),
    Row("BlockedUnlockPickup", 0.99, 300_000),
    Row("KeyCorridorS3R3", 0.99, 200_000, (
        Point(1_160_000, 0.60, "MuZero with RND", "explores"), _RULES(5_000_000, 0.994), _PPO(5_000_000, 0.0),
    )),
    Row("ObstructedMaze-1Dlh", 0.99, 200_000),
    Row("ObstructedMaze-1Dlhb", 0.99, 200_000),
    Row("GoToDoor-8x8", 0.99, 300_000),
    Row("GoToObject-8x8-N2", 0.99, 300_000),
    Row("Fetch-8x8-N3", 0.99, 300_000),
    Row("PutNear-8x8-N3", 0.97, 300_000),
    Row("MemoryS13", 0.99, 300_000),
    Row("RedBlueDoors-8x8", 0.99, 300_000),
    Row("LavaCrossingS9N3", 0.99, 300_000),
    Row("Dynamic-Obstacles-8x8", 0.97, 300_000),
    Row("DoorKey-16x16", 0.99, 500_000, (
        Point(15_000_000, 0.988, "count bonus with the rules of a frozen LLM", "taught"), _PPO(15_000_000, 0.0),
    )),
    Row("MultiRoom-N4-S5", 0.99, 300_000),
    Row("KeyCorridorS4R3", 0.99, 600_000, (_RULES(15_000_000, 0.996), _COUNTS(15_000_000, 0.502))),
    Row("KeyCorridorS5R3", 0.99, 600_000, (
        _RULES(15_000_000, 0.984), _COUNTS(15_000_000, 0.0),
        Point(20_000_000, 0.0, "recurrent PPO, a user", "ppo"),
    )),
    Row("KeyCorridorS6R3", 0.99, 1_000_000, (_RULES(15_000_000, 0.490), _COUNTS(15_000_000, 0.0))),
    Row("LockedRoom", 0.98, 400_000, (Point(10_000_000, 0.0, "PPO, SB3's zoo", "ppo"),)),
    Row("MultiRoom-N6", 0.99, 400_000, (_RULES(5_000_000, 0.956), _PPO(5_000_000, 0.0))),
    Row("ObstructedMaze-2Dlhb", 0.97, 600_000, (_EXPLORERS(60_000_000, 0.0),)),
    Row("BabyAI-GoToLocal-v0", 0.98, 300_000, teacher="BabyAI-GoToLocal.json"),
    Row("BabyAI-PickupLoc-v0", 0.97, 300_000, teacher="BabyAI-PickupLoc.json"),
    Row("BabyAI-PutNextLocal-v0", 0.95, 600_000, teacher="BabyAI-PutNextLocal.json"),
    Row("ObstructedMaze-Full", 0.95, 1_000_000, (_EXPLORERS(100_000_000, 0.0),),
        said="DEIR's paper converges by about 50 M"),
)  # fmt: skip
ROWS = {row.task: row for row in _ROWS}
HARD = (
    "KeyCorridorS3R3",
    "KeyCorridorS6R3",
    "LockedRoom",
    "MultiRoom-N6",
    "ObstructedMaze-2Dlhb",
    "ObstructedMaze-Full",
)  # those of the README
COMPARED = (
    "DoorKey-16x16", "KeyCorridorS3R3", "KeyCorridorS6R3", "MultiRoom-N6", "LockedRoom", "ObstructedMaze-1Dlhb",
    "GoToObject-8x8-N2", "BabyAI-PickupLoc-v0",
)  # fmt: skip
BONUS = 0.01  # a visit of a new place is worth a hundredth of a success
TAUGHT_BY_LLMS = ("MultiRoom-N4-S5", "KeyCorridorS3R3")


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to learn.

    Attributes:
        label: in tables and pictures.
        colour: of its curves.
        rows: on which it is measured.
        settings: of a row, those that differ from the defaults.
    """

    label: str
    colour: str
    rows: tuple[str, ...]
    settings: Callable[[Row], dict[str, Any]]


def _algorithm(name: str, rows: tuple[str, ...]) -> Way:
    algorithm = get_algorithm(name)

    def settings(row: Row) -> dict[str, Any]:
        own = "shipped" if row.teacher is None else f"file:{EXAMPLES / row.teacher}"
        return dict(algo=name, teacher=own if algorithm.uses_teacher else "none")

    return Way(algorithm.label, algorithm.colour, rows, settings)


def _taught(label: str, colour: str, example: str) -> Way:
    """L4T with the table that a small LLM wrote."""
    return Way(
        label, colour, TAUGHT_BY_LLMS, lambda row: dict(teacher=f"file:{EXAMPLES / f'{row.task}.{example}.json'}")
    )


_ALONE = tuple(dict.fromkeys((*COMPARED, *TAUGHT_BY_LLMS, "ObstructedMaze-2Dlhb")))  # PPO, the others' yardstick
WAYS = {
    "l4t": _algorithm("l4t", tuple(ROWS)),
    "ppo": _algorithm("ppo", _ALONE),
    "bonus": Way(
        "PPO with a count bonus", "#999999", COMPARED, lambda row: dict(algo="ppo", teacher="none", bonus=BONUS)
    ),
    "hrl": _algorithm("hrl", COMPARED),
    "distill": _algorithm("distill", COMPARED),
    "smollm2": _taught("L4T, SmolLM2-135M's plans", "#56B4E9", "smollm2-scored"),
    "gemma3": _taught("L4T, Gemma 3 270M's plans", "#E69F00", "gemma3-sampled"),
    "skills": Way("L4T, skills at random", "#6A3D9A", TAUGHT_BY_LLMS, lambda row: dict(teacher="skills")),
}


def named(teacher: str) -> str:
    """A teacher as results name it: a file without its folder."""
    kind, _, path = teacher.partition(":")
    return f"file:{Path(path).name}" if kind == "file" else teacher
