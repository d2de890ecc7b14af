"""The tasks by name. `register_task` adds one; importing this module registers the stock ones.

To add a task, describe it once:

    from functools import partial
    from l4t_jax import Task, register_task
    from l4t_jax.envs import layouts, task
    from l4t_jax.envs.registry import STOCK_OBJECTS, STOCK_SKILLS

    register_task(
        Task(
            name="DoorKey-12x12", width=12, height=12, max_steps=1440,
            layout=partial(layouts.stock_door_key, 12), success=task.goal_reached,
            objects=STOCK_OBJECTS, skills=STOCK_SKILLS, teacher="DoorKey-stock.json",
        )
    )

after which `train(Config(env="DoorKey-12x12"))` and `navix.make("L4T-DoorKey-12x12-v0")` know it.
"""

from __future__ import annotations

import difflib
from functools import partial

from l4t_jax.envs import layouts
from l4t_jax.envs.cells import BLUE, DOOR_CLOSED, DOOR_LOCKED, DOOR_OPEN, GOAL, KEY, LAVA, RED
from l4t_jax.envs.task import DOORS, Role, Task, door_opened, goal_reached, register_with_navix
from l4t_jax.errors import UnknownTask
from l4t_jax.extensions import may_register

_TASKS: dict[str, Task] = {}
_ALIASES: dict[str, str] = {}

STOCK_OBJECTS = (
    Role("key", (KEY,)),
    Role("locked door", (DOOR_LOCKED,), is_same_as="door"),
    Role("closed door", (DOOR_CLOSED,), is_same_as="door"),
    Role("open door", (DOOR_OPEN,), is_same_as="door"),
    Role("goal", (GOAL,)),
)
STOCK_SKILLS = ("explore", "search", "go_to", "reach", "pick_up", "drop", "open")


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
    """The task of that name or alias; capitals do not matter.

    Raises:
        UnknownTask: with the near matches.
    """
    names = {known.lower(): known for known in (*_TASKS, *_ALIASES)}
    found = names.get(name.lower())
    if found is None:
        near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        hint = " or ".join(names[n] for n in near) if near else ", ".join(list_tasks())
        raise UnknownTask(f"there is no task named {name!r}; did you mean {hint}?")
    return _TASKS[_ALIASES.get(found, found)]


def list_tasks() -> list[str]:
    """The names of all registered tasks, in the order they were registered."""
    return list(_TASKS)


_OPEN_THE_DOOR = "An agent in a small walled room must find the key, pick it up, go to the locked door and open it."

register_task(
    Task(
        name="SimpleDoorKey",
        aliases=("DoorKey",),
        width=layouts.MAP,
        height=layouts.MAP,
        max_steps=150,
        view=3,
        layout=layouts.simple_door_key,
        success=door_opened,
        objects=(Role("key", (KEY,)), Role("door", DOORS)),
        description=_OPEN_THE_DOOR,
        teacher="SimpleDoorKey.json",
    )
)
register_task(
    Task(
        name="LavaDoorKey",
        width=layouts.MAP,
        height=layouts.MAP,
        max_steps=150,
        view=3,
        layout=layouts.lava_door_key,
        success=door_opened,
        objects=(Role("key", (KEY,)), Role("door", DOORS)),
        further_kinds=(LAVA,),
        description=_OPEN_THE_DOOR + " One cell of the room is lava, which ends the episode.",
        teacher="LavaDoorKey.json",
    )
)
register_task(
    Task(
        name="ColoredDoorKey",
        width=layouts.MAP,
        height=layouts.MAP,
        max_steps=150,
        view=3,
        layout=layouts.colored_door_key,
        success=door_opened,
        objects=(
            Role("blue key", (KEY,), BLUE),
            Role("red key", (KEY,), RED),
            Role("blue door", DOORS, BLUE),
        ),
        rename_colours=True,
        description=_OPEN_THE_DOOR + " There are two keys; only the key of the door's colour opens it.",
        teacher="ColoredDoorKey.json",
    )
)
register_task(
    Task(
        name="DivergedDoorKey",
        width=layouts.TWO_DOOR_MAP,
        height=layouts.TWO_DOOR_MAP,
        max_steps=150,
        view=3,
        layout=layouts.diverged_door_key,
        success=door_opened,
        objects=(Role("key", (KEY,)), Role("door1", DOORS), Role("door2", DOORS, nth=1)),
        description=_OPEN_THE_DOOR + " There are two such doors; opening either will do.",
        teacher="DivergedDoorKey.json",
    )
)
for _size in (5, 6, 8, 16):
    register_task(
        Task(
            name=f"DoorKey-{_size}x{_size}",
            width=_size,
            height=_size,
            max_steps=10 * _size**2,
            view=7,
            layout=partial(layouts.stock_door_key, _size),
            success=goal_reached,
            objects=STOCK_OBJECTS,
            skills=STOCK_SKILLS,
            description=(
                "An agent in two rooms must find the key, open the locked door between them, walk through it and "
                "step onto the goal."
            ),
            teacher="DoorKey-stock.json",
        )
    )
