"""The tasks by name. `register_task` adds one; `families` registers the package's own.

To add a task, describe it once, as the files in `families` do (docs/extending.md has a whole example); then
`train(env=NAME)` and `navix.make("L4T-NAME-v0")` know it.
"""

from __future__ import annotations

import difflib
import importlib

from l4t_jax.envs.navix import register_with_navix
from l4t_jax.envs.task import Task
from l4t_jax.errors import UnknownTask
from l4t_jax.extensions import may_register

BROUGHT_IN = "minigrid:"  # before the Gymnasium id of an environment
BABYAI = "BabyAI-"  # Gymnasium ids that need no such word

_TASKS: dict[str, Task] = {}
_ALIASES: dict[str, str] = {}


def register_task(task: Task) -> Task:
    """Adds a task under its name and aliases, here and in navix.

    One that the same file of a user's registered before is replaced.

    Raises:
        ValueError: another task has one of these names.
    """
    for name in (task.name, *task.aliases):
        taken = name.lower() in {known.lower() for known in (*_TASKS, *_ALIASES)} and _TASKS.get(name) != task
        if not may_register("task", name, taken):
            raise ValueError(f"there is already a task named {name}; choose another name")
    _TASKS[task.name] = task
    _ALIASES.update(dict.fromkeys(task.aliases, task.name))
    register_with_navix(task)
    return task


def get_task(name: str) -> Task:
    """The task of that name or alias; capitals do not matter. `minigrid:ID`, and an id of BabyAI's, is one
    that is brought in (`imported`).

    Raises:
        UnknownTask: with the near matches.
    """
    if is_brought_in(name):
        return importlib.import_module("l4t_jax.imported").open_task(name)  # a host package, and for the host alone
    names = {known.lower(): known for known in (*_TASKS, *_ALIASES)}
    found = names.get(name.lower())
    if found is None:
        near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        hint = " or ".join(names[n] for n in near) if near else ", ".join(list_tasks())
        raise UnknownTask(f"there is no task named {name!r}; did you mean {hint}?")
    return _TASKS[_ALIASES.get(found, found)]


def is_brought_in(name: object) -> bool:
    """Whether a task's name means an environment that `imported` brings in, or has brought in with levels of a hash."""
    return isinstance(name, str) and (name.startswith((BROUGHT_IN, BABYAI)) or "@" in name)


def list_tasks() -> list[str]:
    """The names of all registered tasks, in the order they were registered."""
    return list(_TASKS)
