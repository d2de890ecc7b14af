"""Plans as integer codes, so that they live on the device. `encode_step` and `decode_step` are a round trip.

Device module for the codes; the names are for the host. A step of a plan is a skill and a role of the task; its code
indexes the outcomes that `skills.library` computes.
"""

from __future__ import annotations

from l4t_jax.envs.task import Task

BARE_SKILLS = ("explore", "search", "noop")  # take no role
OBJECT_SKILLS = ("go_to", "reach", "pick_up", "drop", "open")  # take one
SKILLS = BARE_SKILLS + OBJECT_SKILLS
NOOP_CODE = BARE_SKILLS.index("noop")

Step = tuple[str, ...]  # ("explore",) or ("go_to", "key")


def num_codes(task: Task) -> int:
    """How many step codes a task has; they are 0 .. num_codes - 1."""
    return _own_code(task) + len(own_skills(task))


def own_skills(task: Task) -> tuple[str, ...]:
    """The task's skills that `library.register_skill` added; they take no role, and their codes come last."""
    return tuple(skill for skill in task.skills if skill not in SKILLS)


def _own_code(task: Task) -> int:
    return len(BARE_SKILLS) + len(OBJECT_SKILLS) * len(task.objects)


def encode_step(task: Task, step: Step) -> int:
    """The code of a step.

    Raises:
        ValueError: the skill or the role is not one of the task's.
    """
    skill, *objects = step
    if skill in BARE_SKILLS and not objects and (skill == "noop" or skill in task.skills):
        return BARE_SKILLS.index(skill)
    if skill in own_skills(task) and not objects:
        return _own_code(task) + own_skills(task).index(skill)
    if skill in OBJECT_SKILLS and len(objects) == 1 and skill in task.skills:
        names = [role.name for role in task.objects]
        if objects[0] in names:
            return len(BARE_SKILLS) + OBJECT_SKILLS.index(skill) * len(names) + names.index(objects[0])
        raise ValueError(f"{task.name} has no object {objects[0]!r}; its objects are {', '.join(names)}")
    raise ValueError(f"{' '.join(step)!r} is no step of {task.name}; its skills are {', '.join(task.skills)}")


def decode_step(task: Task, code: int) -> Step:
    """The step of a code; inverse of `encode_step`."""
    if code < len(BARE_SKILLS):
        return (BARE_SKILLS[code],)
    if code >= _own_code(task):
        return (own_skills(task)[code - _own_code(task)],)
    skill, role = divmod(code - len(BARE_SKILLS), len(task.objects))
    return (OBJECT_SKILLS[skill], task.objects[role].name)
