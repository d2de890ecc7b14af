"""The rows of the ladder: tasks with what is wanted, the steps allowed, what others report; and the ways to learn them.

Imports nothing that computes. Sources of what others report: rule-teaching-rl (2026), LightZero's issue 497, DEIR,
the issue threads and model zoos of rl-starter-files and SB3. Most of them read MiniGrid's own view of 7 x 7 cells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from l4t_jax.agents.algorithms import get_algorithm

EXAMPLES = Path(__file__).parents[1] / "l4t_jax" / "teacher" / "data" / "examples"
VIEW = "view of 7 x 7"


@dataclasses.dataclass(frozen=True)
class Point:
    """A published result.

    Attributes:
        steps: environment steps.
        success: share of episodes; None where only "no reward" is reported, and 0 is drawn.
        method: as its authors call it.
        observation: what it reads.
    """

    steps: int
    success: float
    method: str
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


_RULES = "PPO with the rules of a frozen LLM"
_COUNTS = "PPO with a count bonus"
_EXPLORERS = "NovelD, AGAC, DEIR, users"
_ROWS = (
    Row("UnlockPickup", 0.99, 300_000),
    Row("BlockedUnlockPickup", 0.99, 300_000),
    Row("KeyCorridorS3R3", 0.99, 200_000, (
        Point(1_160_000, 0.60, "MuZero with RND"), Point(5_000_000, 0.994, _RULES), Point(5_000_000, 0.0, "PPO"),
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
        Point(15_000_000, 0.988, "count bonus with the rules of a frozen LLM"), Point(15_000_000, 0.0, "PPO"),
    )),
    Row("MultiRoom-N4-S5", 0.99, 300_000),
    Row("KeyCorridorS4R3", 0.99, 600_000, (Point(15_000_000, 0.996, _RULES), Point(15_000_000, 0.502, _COUNTS))),
    Row("KeyCorridorS5R3", 0.99, 600_000, (
        Point(15_000_000, 0.984, _RULES), Point(15_000_000, 0.0, _COUNTS),
        Point(20_000_000, 0.0, "recurrent PPO, a user"),
    )),
    Row("KeyCorridorS6R3", 0.99, 1_000_000, (Point(15_000_000, 0.490, _RULES), Point(15_000_000, 0.0, _COUNTS))),
    Row("LockedRoom", 0.98, 400_000, (Point(10_000_000, 0.0, "PPO, SB3's zoo"),)),
    Row("MultiRoom-N6", 0.99, 400_000, (Point(5_000_000, 0.956, _RULES), Point(5_000_000, 0.0, "PPO"))),
    Row("ObstructedMaze-2Dlhb", 0.97, 600_000, (Point(60_000_000, 0.0, _EXPLORERS),)),
    Row("BabyAI-GoToLocal-v0", 0.98, 300_000, teacher="BabyAI-GoToLocal.json"),
    Row("BabyAI-PickupLoc-v0", 0.97, 300_000, teacher="BabyAI-PickupLoc.json"),
    Row("BabyAI-PutNextLocal-v0", 0.95, 600_000, teacher="BabyAI-PutNextLocal.json"),
    Row("ObstructedMaze-Full", 0.95, 1_000_000, (Point(100_000_000, 0.0, _EXPLORERS),),
        said="DEIR's paper converges by about 50 M"),
)  # fmt: skip
ROWS = {row.task: row for row in _ROWS}
COMPARED = (
    "DoorKey-16x16", "KeyCorridorS3R3", "KeyCorridorS6R3", "MultiRoom-N6", "LockedRoom", "ObstructedMaze-1Dlhb",
    "GoToObject-8x8-N2", "BabyAI-PickupLoc-v0",
)  # fmt: skip
BONUS = 0.01  # a visit of a new place is worth a hundredth of a success
TAUGHT_BY_LLMS = ("MultiRoom-N4-S5",)


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


_ALONE = (*COMPARED, *(task for task in TAUGHT_BY_LLMS if task not in COMPARED))  # PPO, the others' yardstick
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
}


def named(teacher: str) -> str:
    """A teacher as results name it: a file without its folder."""
    kind, _, path = teacher.partition(":")
    return f"file:{Path(path).name}" if kind == "file" else teacher
