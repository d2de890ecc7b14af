"""An environment that was brought in has states, sentences and plans: a table written by rules solves its levels."""

from pathlib import Path

import pytest
from imported import environments  # noqa: F401  registers them

from l4t_jax.abstraction import symbolic
from l4t_jax.envs import Task
from l4t_jax.evaluation.teachers import evaluate_teacher
from l4t_jax.imported import import_environment, open_task
from l4t_jax.teacher import file


def table(task: Task) -> dict:
    """Go to the target and pick it up; clear what is in the way; look for it; put down what is not it."""
    states = []
    for state in (symbolic.decode(task, one) for one in symbolic.enumerate_states(task)):
        if "target" in state.sees:
            plan = [["go_to", "target"], ["pick_up", "target"]]
        elif "blocked target" in state.sees:
            plan = [["clear", "target"]]
        else:
            plan = [["find"]]
        states.append({"sees": list(state.sees), "holds": state.holds, "plans": [{"p": 1.0, "skills": plan}]})
    about = {"format": "l4t-teacher", "version": 1, "task": task.name, "made": "hand-written", "about": "rules"}
    return {**about, "source": {}, "states": states}


@pytest.mark.slow
def test_a_table_for_what_was_found_solves_its_levels() -> None:
    task = import_environment("MyPickUpStrict-v0", levels=1500, steps=1500)
    assert [role.name for role in task.objects] == ["target", "key", "ball", "box"]
    assert symbolic.decode(task, 1).sentence == "Agent sees <target>, holds <nothing>."
    found = evaluate_teacher(task, table(task), 64)
    assert found["success"] >= 0.9 and not found["unguided"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "wanted"), [("GoToLocal", 1.0), ("PickupLoc", 1.0), ("PutNextLocal", 0.99)])
def test_the_tables_for_babyai_solve_its_levels(name: str, wanted: float) -> None:
    task = open_task(f"BabyAI-{name}-v0")
    content = file.load(Path(file.__file__).parent / "data" / "examples" / f"BabyAI-{name}.json")
    assert file.missing(task, content) == []
    assert ("put_beside" in task.skills) == (name == "PutNextLocal")
    assert evaluate_teacher(task, content, 200)["success"] >= wanted - 0.01
