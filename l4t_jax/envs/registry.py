"""The tasks by name. `register_task` adds one; `families` registers the package's own.

To add a task, describe it once, as the files in `families` do (docs/extending.md has a whole example); then
`train(env=NAME)`, `navix.make("L4T-NAME-v0")` and `gymnasium.make("l4t_jax/NAME-v0")` know it.

A task of MiniGrid's is found by its id too, with or without prefix and version (`MiniGrid-KeyCorridorS3R3-v0`,
`KeyCorridorS3R3-v0`, `KeyCorridorS3R3`): the short name means the highest version. navix's ids lead to the same tasks.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings

from l4t_jax.envs.navix import register_with_navix
from l4t_jax.envs.task import MINIGRID, Task
from l4t_jax.errors import NavixName, UnknownTask, did_you_mean
from l4t_jax.extensions import claim

NAVIX = "Navix-"
BROUGHT_IN = "minigrid:"  # before the Gymnasium id of an environment
BABYAI = "BabyAI-"  # Gymnasium ids that need no such word

_TASKS: dict[str, Task] = {}
_ALIASES: dict[str, str] = {}
_REFUSED: dict[str, str] = {}  # the id in lower case -> why no task has it


def register_task(task: Task) -> Task:
    """Adds a task under its name and aliases, here and in navix; and, the first that has it, under its MiniGrid id.

    One that the same file of a user's registered before is replaced.

    Raises:
        ValueError: another task has one of these names.
    """
    for name in (task.name, *task.aliases):
        claim("task", name, taken=name.lower() in _names() and _TASKS.get(name) != task)
    _TASKS[task.name] = task
    _ALIASES.update(dict.fromkeys(task.aliases, task.name))
    if task.minigrid_id is not None:
        for name in (task.minigrid_id, task.minigrid_id.removeprefix(MINIGRID)):
            if name not in _TASKS:  # the old MultiRoom-N4-S5-v0 is called by its id
                _ALIASES.setdefault(name, task.name)
    register_with_navix(task)
    _register_with_gymnasium(task)
    return task


def register_all_with_gymnasium() -> None:
    """Makes `gymnasium.make("l4t_jax/NAME-v0")` build every task that is registered; Gymnasium must be imported."""
    for task in _TASKS.values():
        _register_with_gymnasium(task)


def _register_with_gymnasium(task: Task) -> None:
    """If Gymnasium is imported."""
    gymnasium = sys.modules.get("gymnasium")
    if gymnasium is None or not hasattr(gymnasium, "register"):  # not imported, or half
        return
    for name in task.versioned_names:
        gym_id = f"l4t_jax/{name}"
        if not re.fullmatch(r"[\w:.-]+-v\d+", name):
            continue  # Gymnasium takes no such name
        gymnasium.registry.pop(gym_id, None)
        gymnasium.register(
            gym_id,
            entry_point="l4t_jax.interfaces.gym_envs:TaskEnv",
            vector_entry_point="l4t_jax.interfaces.gym_envs:VectorTaskEnv",
            kwargs={"task": task.name},
        )


def refuse_id(minigrid_id: str, why: str) -> None:
    """Makes `get_task` refuse one of MiniGrid's ids, with and without its prefix, in the sentence `why`."""
    _REFUSED[minigrid_id.lower()] = _REFUSED[minigrid_id.removeprefix(MINIGRID).lower()] = why


def get_task(name: str) -> Task:
    """The task of that name, alias or id of MiniGrid's or navix's; capitals do not matter.

    A `NavixName` warning says that navix's id runs with MiniGrid's rules. `minigrid:ID`, and an id of BabyAI's, is
    an environment that is brought in (`imported`).

    Raises:
        UnknownTask: with the near matches, or why there is no such task.
    """
    if is_brought_in(name):
        return importlib.import_module("l4t_jax.imported").open_task(name)  # a host package, and for the host alone
    wanted = name.lower()
    if wanted in _REFUSED:
        raise UnknownTask(_REFUSED[wanted])
    found = _named(wanted)
    if found is None and wanted.startswith(MINIGRID.lower()):  # an id without its version
        found = _of_minigrid(wanted.removeprefix(MINIGRID.lower()))
    if found is None and wanted.startswith(NAVIX.lower()):
        found = _of_minigrid(_counterpart(wanted))
        if found is not None:
            warnings.warn(
                f"{name} runs as {found.name}, with MiniGrid's rules and rewards and its limit of {found.max_steps} "
                "steps, which are not navix's",
                NavixName,
                stacklevel=2,
            )
    if found is None:
        raise UnknownTask(_unknown(name))
    return found


def is_brought_in(name: object) -> bool:
    """Whether a task's name means an environment that `imported` brings in, or has brought in with levels of a hash."""
    return isinstance(name, str) and (name.lower().startswith((BROUGHT_IN, BABYAI.lower())) or "@" in name)


def gym_id_of(name: str) -> str:
    """The Gymnasium id in a name of an environment to bring in: what stands after `minigrid:`."""
    return name[len(BROUGHT_IN) :] if name.lower().startswith(BROUGHT_IN) else name


def list_tasks() -> list[str]:
    """The names of all registered tasks, in the order they were registered."""
    return list(_TASKS)


def _names() -> dict[str, str]:
    """Every name in lower case -> the name as it was registered."""
    return {known.lower(): known for known in (*_TASKS, *_ALIASES)}


def _named(wanted: str) -> Task | None:
    found = _names().get(wanted)
    return None if found is None else _TASKS[_ALIASES.get(found, found)]


def _of_minigrid(wanted: str) -> Task | None:
    """The task of that name if it is one of MiniGrid's."""
    found = _named(wanted)
    return None if found is None or found.minigrid_id is None else found


def _counterpart(wanted: str) -> str:
    """MiniGrid's short name for one of navix's ids, both in lower case: navix has one version of each, the highest."""
    short = re.sub(r"-v\d+$", "", wanted.removeprefix(NAVIX.lower()))
    return re.sub(r"^(dynamic-obstacles)-(\d+x\d+)-random$", r"\1-random-\2", short)


def _unknown(name: str) -> str:
    """Why no task has that name: near matches are looked for among short names."""
    declared = [*_TASKS, *(alias for task in _TASKS.values() for alias in task.aliases)]
    prefixed = re.match(f"({MINIGRID}|{NAVIX})(.+?)(-v\\d+)?$", name, flags=re.IGNORECASE)
    wanted = prefixed[2] if prefixed else name
    hint = did_you_mean(wanted, declared, "`python -m l4t_jax.tasks` lists all there are")
    if prefixed and prefixed[1].lower() == NAVIX.lower():
        return f"{name} has no counterpart among MiniGrid's environments; {hint}"
    if name in getattr(sys.modules.get("gymnasium"), "registry", ()):
        hint = f"Gymnasium has such an environment: {BROUGHT_IN}{name} brings it in"
    return f"there is no task named {name!r}; {hint}"
