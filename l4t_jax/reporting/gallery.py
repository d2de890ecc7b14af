"""All tasks: what a program is told of each, and a page with a picture of every family.

Host module; pillow is imported where pictures are made.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l4t_jax.envs import Task, get_task, list_tasks
from l4t_jax.errors import ConfigError, TooManyStates
from l4t_jax.files import write_whole
from l4t_jax.reporting import sheet
from l4t_jax.teacher.grammar import situations

if TYPE_CHECKING:
    from PIL import Image

SIDE = 240  # pixels of a picture's longer side, at most
PAPER = "LLM4Teach"  # what the paper's own tasks are called here
# The id that stands for its family: the largest whose picture can be read at this size.
SHOWN = {
    PAPER: "LavaDoorKey", "LLM4Teach-unshipped": "RandomBoxKey",
    "DoorKey": "DoorKey-8x8", "Empty": "Empty-Random-6x6", "LavaCrossing": "LavaCrossingS11N5",
    "SimpleCrossing": "SimpleCrossingS11N5", "LavaGap": "LavaGapS7", "DistShift": "DistShift2",
    "Dynamic-Obstacles": "Dynamic-Obstacles-8x8", "Fetch": "Fetch-8x8-N3", "GoToDoor": "GoToDoor-8x8",
    "GoToObject": "GoToObject-8x8-N2", "PutNear": "PutNear-8x8-N3", "RedBlueDoors": "RedBlueDoors-8x8",
    "Memory": "MemoryS13", "KeyCorridor": "KeyCorridorS6R3", "ObstructedMaze": "ObstructedMaze-Full",
    "MultiRoom": "MultiRoom-N6",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Learned:
    """What L4T's students came to on a task's held-out levels.

    Attributes:
        success: share of the levels, actions sampled, mean over seeds.
        greedy: the same with the most probable actions; None where it was not measured.
        steps: environment steps of a seed.
    """

    success: float
    greedy: float | None
    steps: int


def described(task: Task) -> dict[str, Any]:
    """A task as a program is told of it: strict JSON."""
    return {
        "name": task.name,
        "aliases": list(task.aliases),
        "minigrid_id": task.minigrid_id,
        "family": task.family,
        "mission": task.say(None if task.mission is None else [0] * len(task.mission.fields)),
        "about": task.description,
        "size": [task.width, task.height],
        "max_steps": task.max_steps,
        "symbolic_states": symbolic_states(task),
        "teacher": task.teacher,
        "distinct_levels": task.distinct_levels,
    }


def symbolic_states(task: Task) -> int | None:
    """How many symbolic states the task's table lists; None where they are too many, or nothing can be named."""
    if not task.objects:
        return None
    try:
        return len(situations(task))
    except TooManyStates:
        return None


def families() -> dict[str, list[Task]]:
    """The registered tasks by family, each in the order it was registered."""
    found: dict[str, list[Task]] = {}
    for task in map(get_task, list_tasks()):
        family = task.family or (PAPER if task.teacher else "Own")
        found.setdefault(family, []).append(task)
    return found


def learned(folder: Path) -> dict[str, Learned]:
    """The results of L4T in a folder of the ladder's parts (`benchmarks/ladder.py`), by task.

    Raises:
        ConfigError: there is no such folder, or one of its files is no part.
    """
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder} with results")
    found = {}
    for path in sorted(folder.glob("*-l4t.json")):
        try:
            part = json.loads(path.read_text(encoding="utf-8"))
            greedy = part["greedy"] and float(part["greedy"]["value"])
            found[str(part["task"])] = Learned(float(part["success"]["value"]), greedy, int(part["total_steps"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} is no part of the ladder's results: {error!r}") from error
    return found


def write(folder: Path, results: Mapping[str, Learned]) -> list[Path]:
    """Writes `gallery.md` and `gallery/FAMILY.png` of every family; the paths, the page first.

    Args:
        folder: to write into.
        results: of tasks by name, for the page.
    """
    (folder / "gallery").mkdir(exist_ok=True)
    written = [folder / "gallery.md"]
    for family, tasks in families().items():
        shown = next((task for task in tasks if task.name == SHOWN.get(family)), tasks[-1])
        written.append(folder / "gallery" / f"{family}.png")
        _picture(shown).save(written[-1], format="PNG", optimize=True)
    write_whole(written[0], page(results))
    return written


def _picture(task: Task) -> Image.Image:
    from PIL import Image

    from l4t_jax.reporting import render

    (level,) = sheet.shown_levels(task, 1)
    image = render.world_image(level.cells, level.agent, carrying=level.carrying)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image


def page(results: Mapping[str, Learned]) -> str:
    """The text of `gallery.md`, with these results of tasks by name."""
    lines = [
        "# Gallery of the tasks",
        "",
        "Made by `python -m l4t_jax.tasks gallery --results benchmarks/results/ladder/parts`. Each picture is the",
        "first test level of one id of a family, the whole map; `tasks show NAME` draws more, and what the agent sees.",
        "States are the symbolic states that a teacher is asked for; a dash: the task names no objects, or too many to",
        "list. L4T is the success of its students on 1,000 held-out levels, actions sampled (greedy), after so many",
        "environment steps; a dash: not measured. The [ladder](ladder.md) has the seeds, other ways to learn and what",
        "others report.",
    ]
    for family, tasks in families().items():
        missions = list(dict.fromkeys(_mission(task) for task in tasks))
        few = all(task.distinct_levels is not None for task in tasks)
        lines += ["", f"## {family}", "", f"![{family}](gallery/{family}.png)", ""]
        lines += [f"- Mission: {mission or 'none'}" for mission in missions]
        if few:
            lines.append("- Few levels: training, validation and test share them.")
        lines += ["", "| name | map | limit | states | teacher | L4T |", "|---|---|---|---|---|---|"]
        for task in tasks:
            states = symbolic_states(task)
            lines.append(
                f"| `{task.name}` | {task.width} x {task.height} | {task.max_steps} | "
                f"{'-' if states is None else states} | {'yes' if task.teacher else '-'} | "
                f"{_result(results.get(task.name))} |"
            )
    return "\n".join(lines) + "\n"


def _result(found: Learned | None) -> str:
    if found is None:
        return "-"
    greedy = "" if found.greedy is None else f" ({found.greedy:.3f})"
    return f"{found.success:.3f}{greedy}, {found.steps:,} steps"


def _mission(task: Task) -> str:
    """The mission with the names of its drawn words, such as "pick up the {colour} ball"."""
    if task.mission is None:
        return task.text
    return task.mission.text(tuple(f"{{{name}}}" for name, _ in task.mission.fields))
