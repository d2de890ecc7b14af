"""The hand-written teachers of MiniGrid's families: complete, in words that can be read back, as good
as docs say."""

import re
from pathlib import Path

import numpy as np
import pytest

from l4t_jax.abstraction import symbolic
from l4t_jax.envs import get_task, list_tasks
from l4t_jax.evaluation.teachers import evaluate_teacher
from l4t_jax.teacher import file
from l4t_jax.teacher.grammar import write_plan
from l4t_jax.teacher.parser import parse

DOCS = Path(__file__).parents[2] / "docs" / "teachers.md"
WITHOUT = {"Playground"}  # no success is defined
TASKS = [name for name in list_tasks() if get_task(name).family and name not in WITHOUT]


def of_each_table() -> list[str]:
    """One task for each file and set of objects that it is used with."""
    found: dict[object, str] = {}
    for name in TASKS:
        task = get_task(name)
        found.setdefault((task.teacher, task.objects), name)
    return list(found.values())


def documented() -> dict[str, tuple[int, float]]:
    """Task -> its symbolic states and the success of its teacher alone, of the table in the docs."""
    rows = re.findall(r"^\| ([\w-]+) \| (\d+) \| (\d\.\d+) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: (int(states), float(success)) for name, states, success in rows}


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


def test_the_docs_tell_of_every_family() -> None:
    tasks = [get_task(name) for name in documented()]
    assert {task.teacher for task in tasks} == {get_task(name).teacher for name in TASKS}
    assert {task.name: documented()[task.name][0] for task in tasks} == {
        task.name: len(symbolic.enumerate_states(task)) for task in tasks
    }


def is_as_documented(name: str, levels: int) -> None:
    task = get_task(name)
    found = evaluate_teacher(task, file.shipped(task), levels)
    assert found["success"] == pytest.approx(documented()[name][1], abs=0.02)


@pytest.mark.parametrize("name", ["BlockedUnlockPickup", "GoToObject-8x8-N2"])
def test_the_teacher_alone_succeeds_as_documented(name: str) -> None:
    is_as_documented(name, 128)


@pytest.mark.slow
@pytest.mark.parametrize("name", documented())
def test_every_teacher_alone_succeeds_as_documented(name: str) -> None:
    is_as_documented(name, 200)
