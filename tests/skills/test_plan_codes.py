"""Plans as codes: a round trip for every step of every task, and what is no step of a task."""

import pytest

from l4t_jax.envs import get_task
from l4t_jax.skills import plan_codes


def test_every_step_of_a_task_has_a_code_of_its_own_and_comes_back(task_name):
    task = get_task(task_name)
    objects = ("go_to", "reach", "pick_up", "drop", "open")  # the skills of these tasks that take one
    steps = [("noop",), *((skill,) for skill in task.skills if skill not in objects)]
    steps += [(skill, role.name) for skill in objects if skill in task.skills for role in task.objects]
    codes = [plan_codes.encode_step(task, step) for step in steps]
    assert sorted(codes) == list(range(plan_codes.num_codes(task)))
    assert [plan_codes.decode_step(task, code) for code in codes] == steps


def test_every_code_decodes_to_a_step_that_encodes_to_it(task_name):
    task = get_task(task_name)
    for code in range(plan_codes.num_codes(task)):
        step = plan_codes.decode_step(task, code)
        if step[0] in (*task.skills, "noop"):
            assert plan_codes.encode_step(task, step) == code


@pytest.mark.parametrize(
    "step, reason",
    [
        (("fly",), "explore"),  # names the task's skills
        (("go_to",), "is not a step of"),
        (("go_to", "ball"), "key, door"),  # names the task's objects
        (("explore", "key"), "is not a step of"),
        (("search",), "is not a step of"),  # a skill that this task's plans do not use
        (("reach", "key"), "is not a step of"),
    ],
)
def test_what_is_no_step_is_refused_with_what_would_be(step, reason):
    with pytest.raises(ValueError, match=reason):
        plan_codes.encode_step(get_task("SimpleDoorKey"), step)
