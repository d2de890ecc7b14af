"""`python -m l4t_jax.tasks`: lists the tasks; with --json all that a program wants to know of each."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from l4t_jax import commandline
from l4t_jax.commandline import guarded, json_only, print_json

if TYPE_CHECKING:
    from l4t_jax.envs import Task

DESCRIPTION = "Lists the tasks that there are, those of your own extensions too."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """The command's options."""

    imports: tuple[str, ...] = ()
    """A Python file or a module of yours that registers tasks; may be repeated."""
    json: bool = False
    """Print one JSON object on standard output, and nothing else there."""


def main(argv: Sequence[str] | None = None, prog: str = "python -m l4t_jax.tasks") -> int:
    """Runs the command; returns the exit code."""
    return guarded(lambda: _main(sys.argv[1:] if argv is None else argv, prog))


def _main(argv: Sequence[str], prog: str) -> int:
    command = commandline.parse(Command, argv, prog, DESCRIPTION)
    with json_only(command.json):
        from l4t_jax import extensions

        extensions.load_all(command.imports)
        return print_list(command.json)


def print_list(as_json: bool) -> int:
    """Prints all registered tasks, a line each, or one JSON object; returns the exit code."""
    from l4t_jax.envs import get_task, list_tasks

    tasks = [get_task(name) for name in list_tasks()]
    if as_json:
        print_json({"tasks": [described(task) for task in tasks]})
        return 0
    width = max(len(task.name) for task in tasks)
    for task in tasks:
        also = f" (or {', '.join(task.aliases)})" if task.aliases else ""
        mission = task.say(None if task.mission is None else [0] * len(task.mission.fields))
        about = task.description or f"MiniGrid's {task.family}: {mission or 'no mission'}"
        print(f"{task.name:{width}}  {about}{also}")
    return 0


def described(task: Task) -> dict[str, Any]:
    """A task as `--json` tells of it."""
    return {
        "name": task.name,
        "aliases": list(task.aliases),
        "minigrid_id": task.minigrid_id,
        "family": task.family,
        "mission": task.say(None if task.mission is None else [0] * len(task.mission.fields)),
        "about": task.description,
        "size": [task.width, task.height],
        "max_steps": task.max_steps,
        "symbolic_states": _states(task),
        "teacher": task.teacher,
    }


def _states(task: Task) -> int | None:
    """How many symbolic states the task's table lists; None where they are too many, or nothing can be named."""
    from l4t_jax.teacher.grammar import TooManyStates, situations

    if not task.objects:
        return None
    try:
        return len(situations(task))
    except TooManyStates:
        return None


if __name__ == "__main__":
    sys.exit(main())
