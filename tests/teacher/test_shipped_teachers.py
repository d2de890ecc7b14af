"""The hand-written teachers of MiniGrid's families: complete, in words that can be read back."""

import numpy as np
import pytest

from l4t_jax.abstraction import symbolic
from l4t_jax.envs import get_task, list_tasks
from l4t_jax.teacher import file
from l4t_jax.teacher.grammar import write_plan
from l4t_jax.teacher.parser import parse

WITHOUT = {"Playground"}  # no success is defined
TASKS = [name for name in list_tasks() if get_task(name).family and name not in WITHOUT]


def of_each_table() -> list[str]:
    """One task for each file and set of objects that it is used with."""
    found: dict[object, str] = {}
    for name in TASKS:
        task = get_task(name)
        found.setdefault((task.teacher, task.objects), name)
    return list(found.values())


@pytest.mark.parametrize("name", TASKS)
def test_every_task_can_be_told_to_an_llm(name: str) -> None:
    task = get_task(name)
    assert task.teacher and task.description.endswith(".") and 0 < len(task.objects) <= 8


@pytest.mark.parametrize("name", of_each_table())
def test_the_table_is_complete_and_its_plans_can_be_read_back(name: str) -> None:
    task = get_task(name)
    content = file.shipped(task)
    assert content["made"] == "hand-written"
    assert file.missing(task, content) == []
    table, states = file.to_table(task, content), symbolic.enumerate_states(task)
    np.testing.assert_allclose(np.asarray(table.probability)[np.asarray(table.row)[states]].sum(axis=1), 1.0)
    objects = [role.name for role in task.objects]
    known = {(state.sees, state.holds) for state in (symbolic.decode(task, i) for i in states)}
    for state in content["states"]:
        if (tuple(state["sees"]), state["holds"]) not in known:
            continue  # of a task of the family with more objects
        for plan in state["plans"]:
            steps = [tuple(step) for step in plan["skills"]]
            assert steps == [("noop",)] or parse(write_plan(steps), objects, task.skills).steps == tuple(steps)
