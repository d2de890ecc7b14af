"""Changes teacher files on purpose, to measure how much a student depends on its teacher's quality.

Host module. The functions return new content and do not change their argument.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.envs.task import Task
from l4t_jax.skills.base import get_skill
from l4t_jax.skills.plan_codes import Step
from l4t_jax.teacher import file

LONGEST = 3  # steps of a random plan


def corrupt(content: dict[str, Any], task: Task, probability: float, seed: int) -> dict[str, Any]:
    """Replaces the plans of each symbolic state, with a given probability, by one random plan.

    A random plan has 1 to 3 steps. Each step is any skill of the task with any role that the state can name. The random
    numbers of a state do not depend on the probability, so the states corrupted at 0.25 are also corrupted at 0.5.

    Args:
        content: of a teacher file.
        task: has the skills and objects of the plans.
        probability: of corrupting a state, from 0 to 1.
        seed: of the random numbers.

    Raises:
        ValueError: the probability is out of range.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"the probability of corrupting a state must be from 0 to 1, not {probability}")
    steps = _steps(task)
    states, replaced = [], 0
    for index, state in enumerate(content["states"]):
        rng = np.random.default_rng([seed, index])
        possible = steps.get(file.state_of(state))
        if rng.random() < probability and possible:
            plan = [list(possible[i]) for i in rng.integers(len(possible), size=rng.integers(1, LONGEST + 1))]
            state = {"sees": state["sees"], "holds": state["holds"], "plans": [{"p": 1.0, "skills": plan}]}
            replaced += 1
        states.append(state)
    how = {"probability": probability, "seed": seed, "states": f"{replaced} of {len(states)}"}
    return _changed(
        content, states, f"Corrupted on purpose: in {replaced} of {len(states)} states one random plan.", corrupted=how
    )


def permuted(content: dict[str, Any], task: Task, seed: int) -> dict[str, Any]:
    """A placebo: the plans of the symbolic states, permuted among the states.

    So the plans are as many and as varied as before, and say nothing about the state. A step that names an object which
    is not known in its new state becomes a noop.

    Args:
        content: of a teacher file.
        task: has the skills and objects of the plans.
        seed: of the permutation.
    """
    steps = {state: set(possible) for state, possible in _steps(task).items()}
    order = np.random.default_rng(seed).permutation(len(content["states"]))
    states = []
    for state, index in zip(content["states"], order, strict=True):
        source = content["states"][index]
        possible = steps.get(file.state_of(state), set())
        plans = [
            {**plan, "skills": [step if tuple(step) in possible else ["noop"] for step in plan["skills"]]}
            for plan in source["plans"]
        ]
        states.append({**source, "sees": state["sees"], "holds": state["holds"], "plans": plans})
    return _changed(content, states, "A placebo: the plans are permuted among the states.", permuted={"seed": seed})


def decided(content: dict[str, Any]) -> dict[str, Any]:
    """Keeps only the most probable plan of each symbolic state (the first of equally probable ones)."""
    states = []
    for state in content["states"]:
        best = max(state["plans"], key=lambda entry: entry["p"], default=None)
        states.append({**state, "plans": [{**best, "p": 1.0}] if best else []})
    return _changed(content, states, "Only the most probable plan of each state.", decided=True)


def _steps(task: Task) -> dict[Symbolic, list[Step]]:
    """The possible steps of a plan in each symbolic state.

    After colours are renamed, several ids can have the same sentence but know different objects. Only objects known
    under all of these ids are used.
    """
    objects: dict[Symbolic, list[str]] = {}
    for state in symbolic.enumerate_states(task):
        renamed, names = symbolic.rename(task, symbolic.decode(task, state))
        objects[renamed] = [name for name in objects.get(renamed, names) if name in names]
    bare: list[Step] = [(skill,) for skill in task.skills if not get_skill(skill).takes_object]
    skills = [skill for skill in task.skills if get_skill(skill).takes_object]
    return {state: bare + [(skill, name) for skill in skills for name in names] for state, names in objects.items()}


def _changed(content: dict[str, Any], states: list[dict[str, Any]], about: str, **source: Any) -> dict[str, Any]:
    made = {
        **content,
        "about": f"{about} Before: {content.get('about', '')}".strip(),
        "source": {**(content.get("source") or {}), **source},
        "states": states,
    }
    file.check(made, "a changed teacher")
    return made
