"""Teacher files changed on purpose: what stays, what is drawn, and that the file says so."""

import copy

import numpy as np
import pytest

from l4t_jax.envs import get_task
from l4t_jax.teacher import file
from l4t_jax.teacher.corrupt import corrupt, decided, permuted


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_a_corrupted_teacher_is_a_valid_one_that_says_so(task_name: str, probability: float) -> None:
    task = get_task(task_name)
    before = file.shipped(task)
    kept = copy.deepcopy(before)
    after = corrupt(before, task, probability, seed=3)
    assert before == kept
    file.check(after, "corrupted")
    file.to_table(task, after)
    assert "orrupted" in after["about"] and after["source"]["corrupted"]["probability"] == probability
    assert [(s["sees"], s["holds"]) for s in after["states"]] == [(s["sees"], s["holds"]) for s in before["states"]]


def test_at_probability_0_every_plan_stays_and_at_1_each_state_has_one_of_at_most_3_steps() -> None:
    task = get_task("DoorKey-5x5")
    before = file.shipped(task)
    assert corrupt(before, task, 0.0, seed=0)["states"] == before["states"]
    for state in corrupt(before, task, 1.0, seed=0)["states"]:
        (plan,) = state["plans"]
        assert plan["p"] == 1.0 and 1 <= len(plan["skills"]) <= 3


def test_the_seed_fixes_what_is_drawn_and_more_corruption_keeps_what_less_has_done() -> None:
    task = get_task("DoorKey-5x5")
    before = file.shipped(task)
    assert corrupt(before, task, 0.5, seed=1) == corrupt(before, task, 0.5, seed=1)
    assert corrupt(before, task, 1.0, seed=1)["states"] != corrupt(before, task, 1.0, seed=2)["states"]
    less, more = (corrupt(before, task, p, seed=1)["states"] for p in (0.25, 0.5))
    changed = [i for i, state in enumerate(less) if state != before["states"][i]]
    assert changed and all(more[i] == less[i] for i in changed)


def test_about_a_share_of_the_states_is_replaced() -> None:
    task = get_task("DoorKey-5x5")
    before = file.shipped(task)
    shares = [
        np.mean([a != b for a, b in zip(corrupt(before, task, 0.25, seed)["states"], before["states"], strict=True)])
        for seed in range(60)
    ]
    # 60 x 24 draws at 0.25: standard error 0.011
    assert abs(float(np.mean(shares)) - 0.25) < 0.04


@pytest.mark.parametrize("name", ["SimpleDoorKey", "ColoredDoorKey", "KeyCorridorS3R3"])
def test_a_placebo_has_the_same_plans_in_other_states(name: str) -> None:
    task = get_task(name)
    before = file.shipped(task)
    after = permuted(before, task, seed=1)
    file.to_table(task, after)  # raises at a name that a state cannot know
    assert "placebo" in after["about"] and after["source"]["permuted"] == {"seed": 1}
    assert permuted(before, task, seed=1) == after != permuted(before, task, seed=2)
    pairs = list(zip(before["states"], after["states"], strict=True))
    assert all((a["sees"], a["holds"]) == (b["sees"], b["holds"]) for a, b in pairs)
    assert sum(a["plans"] != b["plans"] for a, b in pairs) >= len(pairs) / 2
    probabilities = [
        sorted(plan["p"] for state in side for plan in state["plans"]) for side in zip(*pairs, strict=True)
    ]
    assert probabilities[0] == probabilities[1]


def test_a_random_plan_names_colours_as_the_state_does() -> None:
    task = get_task("ColoredDoorKey")
    for seed in range(20):  # to_table raises at a name that a state cannot know
        file.to_table(task, corrupt(file.shipped(task), task, 1.0, seed))


def test_a_probability_out_of_range_is_refused() -> None:
    task = get_task("DoorKey-5x5")
    with pytest.raises(ValueError, match=r"from 0 to 1, not 1\.5"):
        corrupt(file.shipped(task), task, 1.5, seed=0)


def test_a_decided_teacher_keeps_the_most_probable_plan() -> None:
    content = {
        "format": "l4t-teacher", "version": 1, "task": "SimpleDoorKey", "made": "hand-written", "about": "x.",
        "states": [
            {"sees": [], "holds": None, "plans": [
                {"p": 0.4, "skills": [["noop"]]}, {"p": 0.6, "skills": [["explore"]]},
            ]},
            {"sees": ["key"], "holds": None, "answers": 2, "unusable": 2, "plans": []},
        ],
    }  # fmt: skip
    after = decided(content)
    assert after["states"][0]["plans"] == [{"p": 1.0, "skills": [["explore"]]}]
    assert after["states"][1]["plans"] == []
