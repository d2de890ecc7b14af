"""What the advice in each state was worth, as a run writes it down and as `teacher show` prints it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l4t_jax.abstraction import symbolic
from l4t_jax.agents.trust import Advice
from l4t_jax.envs import get_task
from l4t_jax.reporting import advice, run_folder
from l4t_jax.skills import plan_codes
from l4t_jax.teacher import file
from l4t_jax.teacher.__main__ import main


def sums(task_name: str) -> Advice:
    """Two seeds: each id of a state gets as many steps as its number, worth 0.5 each and trusted by a quarter.

    To explore is worth 2 in one seed and 1 in the other, squares 1 and 0 (evidence 3 / sqrt 2); all else nothing.
    """
    task = get_task(task_name)
    number = np.arange(symbolic.num_states(task), dtype=np.float32)
    both = np.stack([number, 0 * number])
    gain, square = np.zeros((2, 2, len(number), plan_codes.num_codes(task)))
    explore = plan_codes.encode_step(task, ("explore",))
    gain[:, :, explore], square[:, :, explore] = [[2.0], [1.0]], [[1.0], [0.0]]
    return Advice(
        gain=both, square=both, step_gain=gain, step_square=square,  # pyright: ignore
        total_gain=both / 2, total_trust=both / 4, total_steps=both,  # pyright: ignore
    )  # fmt: skip


@pytest.mark.parametrize("name", ["SimpleDoorKey", "ColoredDoorKey"])
def test_the_sums_of_all_seeds_and_of_ids_with_one_sentence_come_together(name: str) -> None:
    task = get_task(name)
    content = file.shipped(task)
    found = advice.by_state(task, content, sums(name))
    wanted = dict.fromkeys(((tuple(s["sees"]), s["holds"]) for s in content["states"]), 0)
    for number in symbolic.enumerate_states(task):
        known, _ = symbolic.rename(task, symbolic.decode(task, number))
        wanted[known.sees, known.holds] += number
    assert found["steps"] == list(wanted.values())
    for steps, worth, trust in zip(found["steps"], found["worth"], found["trust"], strict=True):
        assert (worth, trust) == ((0.5, 0.25) if steps else (None, None))
    assert set(found["best"]) == {"explore"}


def test_a_step_that_is_not_significantly_better_is_not_named() -> None:
    task = get_task("SimpleDoorKey")
    less = sums("SimpleDoorKey")
    less = less.replace(step_gain=less.step_gain * 0.9)  # evidence 2.7 / sqrt 2
    assert set(advice.by_state(task, file.shipped(task), less)["best"]) == {None}


def test_the_command_shows_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = get_task("SimpleDoorKey")
    content = file.shipped(task)
    file.save(content, tmp_path / run_folder.TEACHER)
    line: dict[str, Any] = dict(steps=1, advice=advice.by_state(task, content, sums("SimpleDoorKey")))
    (tmp_path / run_folder.METRICS).write_text(json.dumps(line) + "\n")
    assert main(["show", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count("worth most: explore") == said.count("worth +0.50, trust 0.25")
    assert said.count("worth +0.50, trust 0.25") + said.count("not met") == len(content["states"])
    assert f"{line['advice']['steps'][1]:,} steps" in said


def test_a_run_that_did_not_learn_it_says_nothing(tmp_path: Path) -> None:
    assert advice.of_run(tmp_path) is None
    (tmp_path / run_folder.METRICS).write_text('{"steps": 1}\n')
    assert advice.of_run(tmp_path) is None
