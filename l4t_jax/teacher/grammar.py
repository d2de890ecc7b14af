"""The plans that can be asked for: how a plan is written, and the finite set of them for a symbolic state.

Host module. A plan is one or two *subtasks* over what the agent sees or holds. An subtask is

    explore | search                    (only as far as the task has the skill)
    go to X | reach X                   X seen
    pick up X | go to X, pick up X      X portable, with empty hands
    drop X                              X held
    open X | go to X, open X            X neither portable nor a goal

so a plan has at most four steps, and no subtask comes twice, nor for one object in both forms. What the first subtask
picks up or drops, the second knows. The sets of the paper's tasks have 1 to 86 plans, those of the stock tasks up to
112; an LLM scores each of them, so beyond `MOST_PLANS` a state is asked with the plans of one subtask alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.symbolic import BLOCKED_WORD, Symbolic
from l4t_jax.envs.task import Role, Task
from l4t_jax.errors import TooManyStates
from l4t_jax.skills.base import get_skill
from l4t_jax.skills.plan_codes import Step

Plan = tuple[Step, ...]


MOST_PLANS = 150
MOST_STATES = 4096  # ids; a task with more is asked only for the states that it meets


@dataclasses.dataclass(frozen=True)
class Situation:
    """A symbolic state as it is asked for: one for all ids that say the same once colours are renamed.

    Attributes:
        state: what is seen and held, under the names that are asked with.
        objects: every name that an answer may use -> the task's role, of the first id. Where the task renames colours,
            only the names that mean something under every id that says the same: beside <color1 key> a <color1 door> is
            known to be there or not, depending on which key it is.
        skills: names of the task's skills.
    """

    state: Symbolic
    objects: dict[str, Role]
    skills: tuple[str, ...]


def situation(task: Task, state: int) -> Situation:
    """How the symbolic state of an id is asked for."""
    renamed, names = symbolic.rename(task, symbolic.decode(task, state))
    by_name = {role.name: role for role in task.objects}
    always = symbolic.aliases(task, renamed)
    return Situation(renamed, {a: by_name[name] for a, name in names.items() if a in always}, task.skills)


def enumerable(task: Task) -> bool:
    """Whether all symbolic states of the task can be listed and asked for before training."""
    return symbolic.num_states(task) <= MOST_STATES


def situations(task: Task, states: Iterable[int] | None = None) -> list[Situation]:
    """What there is to ask for: the given ids, or all that can occur; each sentence once, in the order of the ids.

    Raises:
        TooManyStates: with what can be done instead.
    """
    if states is None:
        if not enumerable(task):
            raise TooManyStates(
                f"{task.name} has up to {symbolic.num_states(task):,} symbolic states, too many to ask for all of them "
                f"(at most {MOST_STATES:,}); train with the LLM as the teacher, which asks for those that are met"
            )
        states = symbolic.enumerate_states(task)
    found: dict[Symbolic, Situation] = {}
    for state in states:
        asked = situation(task, state)
        found.setdefault(asked.state, asked)
    return list(found.values())


def write_step(step: Step) -> str:
    """A step as an LLM reads and writes it: "go to <key>"."""
    skill, *names = step
    return " ".join([skill.replace("_", " "), *(f"<{name}>" for name in names)])


def write_plan(steps: Iterable[Step]) -> str:
    """A plan as an LLM reads and writes it: "go to <key>, pick up <key>". `parse.parse` is its inverse."""
    return ", ".join(write_step(step) for step in steps)


def plans(asked: Situation) -> list[Plan]:
    """The finite set of plans of a situation, in a fixed order."""
    first = list(_subtasks(asked, asked.state.holds))
    both = [plan for plan, _ in first]
    for plan, hand in first:
        for further, _ in _subtasks(asked, hand):
            if further != plan and not _same_end(plan, further):
                both.append((*plan, *further))
    both = list(dict.fromkeys(both))  # "go to X" and then "pick up X" are one subtask too
    return both if len(both) <= MOST_PLANS else list(dict.fromkeys(plan for plan, _ in first))


def _same_end(plan: Plan, further: Plan) -> bool:
    """Whether two subtasks are forms of one, such as "open X" and "go to X, open X", or one leads nowhere new."""
    return bool(set(plan) & set(further)) or (plan[-1][0] == "drop" and further[-1] == ("pick_up", *plan[-1][1:]))


def _subtasks(asked: Situation, hand: str | None) -> Iterable[tuple[Plan, str | None]]:
    """(steps, what is held afterwards) of each subtask, for an agent that holds `hand`."""
    for name in asked.skills:
        skill = get_skill(name)
        if not skill.takes_object and skill.makes_sense(None, hand):
            yield ((name,),), skill.held_after(None, hand)
    said = [*asked.state.sees, *([asked.state.holds] if asked.state.holds else [])]
    for name in dict.fromkeys(one.removeprefix(f"{BLOCKED_WORD} ") for one in said):
        # A role under the name that is asked with: colours may have been renamed.
        role = dataclasses.replace(asked.objects[name], name=name)
        for word in asked.skills:
            skill = get_skill(word)
            if not skill.takes_object or not skill.makes_sense(role, hand):
                continue
            holds = skill.held_after(role, hand)
            yield ((word, name),), holds
            if skill.from_beside and "go_to" in asked.skills:
                yield (("go_to", name), (word, name)), holds
