"""Plans as integer codes, so that they live on the device. `encode_step` and `decode_step` are a round trip.

The codes of a task are made from its skills and its objects: 0 is the step that does nothing, then one code a skill, or
one a skill and object for skills that take one.
"""

from __future__ import annotations

from l4t_jax.envs.task import Task
from l4t_jax.skills.base import NOOP, get_skill

NOOP_CODE = 0

Step = tuple[str, ...]  # ("explore",) or ("go_to", "key")


def steps(task: Task) -> tuple[Step, ...]:
    """Every step that a plan of the task can have; the place of a step is its code.

    Raises:
        ValueError: the task lists a skill that nobody registered.
    """
    found: list[Step] = [(NOOP,)]
    for name in task.skills:
        if get_skill(name).takes_object:
            found += [(name, role.name) for role in task.objects]
        else:
            found.append((name,))
    return tuple(found)


def says_done(task: Task) -> tuple[bool, ...]:
    """Of each step, whether its `DONE` is the action done, and not "can do nothing"."""
    return tuple(step != (NOOP,) and get_skill(step[0]).says_done for step in steps(task))


def num_codes(task: Task) -> int:
    """How many step codes a task has; they are 0 .. num_codes - 1."""
    return len(steps(task))


def encode_step(task: Task, step: Step) -> int:
    """The code of a step.

    Raises:
        ValueError: the skill or the object is not one of the task's.
    """
    if step in steps(task):
        return steps(task).index(step)
    skill, *objects = step
    if skill in task.skills and len(objects) == 1 and get_skill(skill).takes_object:
        names = ", ".join(role.name for role in task.objects)
        raise ValueError(f"{task.name} has no object {objects[0]!r}; its objects are {names}")
    raise ValueError(f"{' '.join(step)!r} is not a step of {task.name}; its skills are {', '.join(task.skills)}")


def decode_step(task: Task, code: int) -> Step:
    """The step of a code; inverse of `encode_step`."""
    return steps(task)[code]
