"""The grammar of plans: how a plan is written, and the finite set of plans for a symbolic state.

Host module. A plan is one or two *subtasks* on the objects that the agent sees or holds. A subtask is

    explore | search                    (only skills that the task has)
    go to X | reach X                   X seen
    pick up X | go to X, pick up X      X portable, with empty hands
    drop X                              X held
    open X | go to X, open X            X neither portable nor a goal

So a plan has at most four steps. No subtask occurs twice, nor in both forms for one object. The second subtask takes
into account what the first picks up or drops. The paper's tasks have 1 to 86 plans per state, the other built-in tasks
up to 112. An LLM scores every plan, so if a state has more than `MOST_PLANS`, only plans of one subtask are used.
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
MOST_STATES = 4096  # ids; for a task with more, only the states that are met are asked about


@dataclasses.dataclass(frozen=True)
class Situation:
    """A symbolic state as used in a prompt. Ids that are equal after colours are renamed share one situation.

    Attributes:
        state: what is seen and held, under the names of the prompt.
        objects: every name that an answer may use -> the task's role, for the first id. If the task renames colours,
            only names with a meaning under all of these ids are included: next to <color1 key>, whether there is a
            <color1 door> depends on the key.
        skills: names of the task's skills.
    """

    state: Symbolic
    objects: dict[str, Role]
    skills: tuple[str, ...]


def situation(task: Task, state: int) -> Situation:
    """The situation of a symbolic state id."""
    renamed, names = symbolic.rename(task, symbolic.decode(task, state))
    by_name = {role.name: role for role in task.objects}
    always = symbolic.aliases(task, renamed)
    return Situation(renamed, {a: by_name[name] for a, name in names.items() if a in always}, task.skills)


def enumerable(task: Task) -> bool:
    """Whether the task has few enough symbolic states to ask about all of them before training."""
    return symbolic.num_states(task) <= MOST_STATES


def situations(task: Task, states: Iterable[int] | None = None) -> list[Situation]:
    """The situations of the given ids, or of all states that can occur; each sentence once, in the order of the ids.

    Raises:
        TooManyStates: the message says what can be done instead.
    """
    if states is None:
        if not enumerable(task):
            raise TooManyStates(
                f"{task.name} has up to {symbolic.num_states(task):,} symbolic states, too many to ask about all "
                f"(at most {MOST_STATES:,}); train with the LLM as the teacher, which asks about those that are met"
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
    """A plan as an LLM reads and writes it: "go to <key>, pick up <key>". `parser.parse` is its inverse."""
    return ", ".join(write_step(step) for step in steps)


def plans(asked: Situation) -> list[Plan]:
    """The finite set of plans of a situation, in a fixed order."""
    first = list(_subtasks(asked, asked.state.holds))
    both = [plan for plan, _ in first]
    for plan, hand in first:
        for further, _ in _subtasks(asked, hand):
            if further != plan and not _same_end(plan, further):
                both.append((*plan, *further))
    both = list(dict.fromkeys(both))  # "go to X" followed by "pick up X" is also one subtask
    return both if len(both) <= MOST_PLANS else list(dict.fromkeys(plan for plan, _ in first))


def _same_end(plan: Plan, further: Plan) -> bool:
    """Whether the second subtask repeats the first ("open X" and "go to X, open X") or undoes it (drop, pick up)."""
    return bool(set(plan) & set(further)) or (plan[-1][0] == "drop" and further[-1] == ("pick_up", *plan[-1][1:]))


def _subtasks(asked: Situation, hand: str | None) -> Iterable[tuple[Plan, str | None]]:
    """(steps, object held afterwards) of each subtask, for an agent that holds `hand`."""
    for name in asked.skills:
        skill = get_skill(name)
        if not skill.takes_object and skill.makes_sense(None, hand):
            yield ((name,),), skill.held_after(None, hand)
    said = [*asked.state.sees, *([asked.state.holds] if asked.state.holds else [])]
    for name in dict.fromkeys(one.removeprefix(f"{BLOCKED_WORD} ") for one in said):
        # The role under its name in the prompt, since colours may be renamed.
        role = dataclasses.replace(asked.objects[name], name=name)
        for word in asked.skills:
            skill = get_skill(word)
            if not skill.takes_object or not skill.makes_sense(role, hand):
                continue
            holds = skill.held_after(role, hand)
            yield ((word, name),), holds
            if skill.from_beside and "go_to" in asked.skills:
                yield (("go_to", name), (word, name)), holds
