"""What the teacher's advice was worth in each symbolic state, for `metrics.jsonl`, the report and `teacher show RUN`.

Host module: numpy. The order is that of the teacher file's states.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from l4t_jax.abstraction import symbolic
from l4t_jax.agents.trust import INSIGNIFICANT, Advice
from l4t_jax.envs import Task
from l4t_jax.reporting import run_folder
from l4t_jax.skills import plan_codes
from l4t_jax.teacher import file


def by_state(task: Task, content: dict[str, Any], advice: Advice) -> dict[str, list[Any]]:
    """The sums of a run so far, over all its seeds, for each state of its teacher file.

    Args:
        task: of the run.
        content: of the teacher file.
        advice: numpy arrays, leading axis seeds.

    Returns:
        `steps` that were labelled there; `worth`, their mean gain (see `agents.trust`), and `trust`, the mean share of
        the distillation weight that they got; these two are None where there were no steps. `best`: the step that was
        worth most there of late, such as "go_to key"; None where none was significantly better than what the students
        did themselves.
    """
    place = {file.state_of(entry): index for index, entry in enumerate(content["states"])}
    sums = np.zeros((3, len(place)))
    totals = np.stack([np.asarray(x, np.float64) for x in (advice.total_steps, advice.total_gain, advice.total_trust)])
    of_steps = np.stack(
        [np.asarray(x, np.float64).sum(axis=0) for x in (advice.step_gain, advice.step_square)], axis=-1
    )
    by_step: list[dict[str, np.ndarray]] = [{} for _ in place]
    for number in symbolic.enumerate_states(task):
        known, own = symbolic.rename(task, symbolic.decode(task, number))
        index = place.get(known)
        if index is None:
            continue
        sums[:, index] += totals[:, :, number].sum(axis=1)
        called = {name: shown for shown, name in own.items()}
        for (skill, *names), two in zip(plan_codes.steps(task), of_steps[number], strict=True):
            if all(name in called for name in names):
                step = " ".join([skill, *(called[name] for name in names)])
                by_step[index][step] = by_step[index].get(step, np.zeros(2)) + two
    steps, gain, trust = sums

    def mean(total: np.ndarray) -> list[float | None]:
        return [round(float(x / n), 4) if n > 0 else None for x, n in zip(total, steps, strict=True)]

    best = [_best(found) for found in by_step]
    return dict(steps=steps.round().astype(int).tolist(), worth=mean(gain), trust=mean(trust), best=best)


def _best(found: dict[str, np.ndarray]) -> str | None:
    """Of sums of gains and of their squares by step, the step with the most evidence, if that is significant."""
    evidence = {step: gain / np.sqrt(square + 1.0) for step, (gain, square) in found.items()}
    step = max(evidence, key=evidence.__getitem__, default=None)
    return step if step is not None and evidence[step] > INSIGNIFICANT else None


def of_run(folder: Path) -> list[dict[str, Any]] | None:
    """What a run folder's last line of metrics says, a dict of `steps`, `worth`, `trust` and `best` for each state.

    None where the run did not learn it.
    """
    if not (folder / run_folder.METRICS).is_file():
        return None
    found = next((line["advice"] for line in reversed(run_folder.read_records(folder)) if "advice" in line), None)
    if found is None:
        return None
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


def in_words(state: dict[str, Any]) -> str:
    """One state of `of_run`, as a report says it."""
    if not state["steps"]:
        return "not met"
    best = state.get("best")  # runs before it was learned have none
    said = f"worth {state['worth']:+.2f}, trust {state['trust']:.2f}, {state['steps']:,} steps"
    return said if best is None else f"{said}, worth most: {best}"
