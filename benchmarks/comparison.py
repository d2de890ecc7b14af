"""Runs of several seeds as figures that can be set beside each other: estimates with intervals, areas, tables.

Host module: numbers in, numbers and text out; reads run folders, and leaves making them to `reproduce`. Intervals are
rliable's (Agarwal et al. 2021): percentiles of a stratified bootstrap over the seeds. rliable comes with the
`reproduce` extra.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from l4t_jax.agents.algorithms import algorithm_names, get_algorithm
from l4t_jax.evaluation.intervals import area, median_steps
from l4t_jax.reporting import run_folder

REPETITIONS = 2000  # bootstrap samples of each interval
POINTS = 50  # of a curve, at most: result files stay small

Estimate = dict[str, Any]  # "value", "low" and "high": numbers, or lists of them along a curve


def estimate(scores: np.ndarray, of: Literal["iqm", "mean"] = "iqm") -> Estimate:
    """A figure over seeds with its 95 % interval.

    Args:
        scores: `(seeds,)`, or `(seeds, points)` for each point of a curve by itself.
        of: the interquartile mean (of five seeds, the mean of the middle three) or the mean.
    """
    from rliable import library

    shaped = np.asarray(scores, np.float64).reshape(len(scores), 1, -1)  # (seeds, tasks = 1, points)
    state = np.random.get_state()  # noqa: NPY002  rliable draws from numpy's global generator
    np.random.seed(0)  # noqa: NPY002
    try:
        values, intervals = library.get_interval_estimates(
            {"": shaped}, _iqm if of == "iqm" else _mean, reps=REPETITIONS
        )
    finally:
        np.random.set_state(state)  # noqa: NPY002
    found = dict(value=values[""], low=intervals[""][0], high=intervals[""][1])
    one = np.ndim(scores) == 1
    return {name: _short(value[0] if one else value) for name, value in found.items()}


def _iqm(scores: np.ndarray) -> np.ndarray:
    """rliable's `aggregate_iqm` of every point at once, many times as fast; (runs, tasks, points) -> (points,)."""
    every = np.sort(scores.reshape(-1, scores.shape[-1]), axis=0)
    cut = len(every) // 4
    return every[cut : len(every) - cut].mean(axis=0)


def _mean(scores: np.ndarray) -> np.ndarray:
    return scores.mean(axis=(0, 1))


def _short(value: Any) -> Any:
    """Four decimals are more than any of these figures is worth."""
    return np.round(np.asarray(value, np.float64), 4).tolist()


def apart(a: Estimate, b: Estimate) -> bool:
    """Whether two intervals have no point in common."""
    return a["low"] > b["high"] or b["low"] > a["high"]


def measured(folder: Path) -> dict[str, Any]:
    """What a finished run comes to.

    Args:
        folder: of the run; several seeds.

    Returns:
        Of held-out levels, `success` and `return`: the mean over seeds with its interval, and `seeds`, each one's;
        `greedy`, success with the most probable actions, likewise (None where the run has none);
        `area` likewise, as the interquartile mean; `steps_to_success` by level, the median; `curve`, of validation
        levels, against `steps` and `seconds` of training.
    """
    summary = run_folder.read(folder / run_folder.SUMMARY)
    records = run_folder.read_records(folder)
    steps = np.asarray([record["steps"] for record in records])
    student, random = summary["heldout"]["student"], summary["heldout"]["random"]
    curves = {
        name: np.asarray([record["validation"][name] for record in records], np.float64)  # (evaluations, seeds)
        for name in ("success", "return")
    }
    areas = area(steps, curves["success"], random["success"])
    shown = np.unique(np.linspace(0, len(steps) - 1, POINTS).round().astype(int))
    return dict(
        task=summary["task"],
        algo=summary["algo"],
        teacher=summary["teacher"],
        total_steps=summary["total_steps"],
        levels=summary["heldout"]["levels"],
        seconds={name: round(value, 1) for name, value in summary["seconds"].items()},
        env_steps_per_s=round(summary["env_steps_per_s"]),
        device=summary["device"],
        versions=summary["versions"],
        teacher_alone=summary["heldout"]["teacher"],
        random=random,
        **{name: over_seeds(student[name]) for name in ("success", "return")},
        greedy=None
        if "greedy" not in student
        else {
            **estimate(np.asarray(student["greedy"]["success"]), "mean"),
            "seeds": _short(student["greedy"]["success"]),
        },
        area={**estimate(areas), "seeds": _short(areas)},
        steps_to_success={
            level: dict(median=median_steps(seeds), seeds=seeds) for level, seeds in summary["steps_to_success"].items()
        },
        curve=dict(
            steps=steps[shown].tolist(),
            seconds=[round(records[i]["time"]["train_s"], 2) for i in shown],
            **{name: estimate(values[shown].T) for name, values in curves.items()},
        ),
    )


def over_seeds(values: list[float]) -> Estimate:
    """The mean over seeds with its interval, and each seed's."""
    return {**estimate(np.asarray(values), "mean"), "seeds": _short(values)}


# --- The table ----------------------------------------------------------------------------------------------------


def verdicts(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Who is ahead in area under the success curve: l4t against every run of its task with as many steps."""
    found = []
    for ours in (run for run in runs if run["variant"] == "l4t"):
        for other in runs:
            if other["task"] != ours["task"] or other is ours or other["total_steps"] != ours["total_steps"]:
                continue
            ahead = ours["area"]["value"] > other["area"]["value"]
            found.append(
                dict(task=ours["task"], over=other["variant"], ahead=ahead, apart=apart(ours["area"], other["area"]))
            )
    return found


def harmed(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each corrupted teacher: whether the students end below the lower end of PPO alone's interval."""
    alone = {run["task"]: run for run in runs if run["variant"] == "ppo"}
    return [
        dict(
            task=run["task"],
            corruption=run["corruption"],
            success=run["success"]["value"],
            ppo_low=alone[run["task"]]["success"]["low"],
            harmed=run["success"]["value"] < alone[run["task"]]["success"]["low"],
        )
        for run in runs
        if run["corruption"] is not None and run["task"] in alone
    ]


def markdown(results: dict[str, Any]) -> str:
    """The results as tables, one a task."""
    seconds, count = results["seconds"], results["seeds"]
    text = [
        "# The paper's comparison",
        "",
        f"Made by `{results['command']}` on {results['device']}, in {seconds:,.0f} s "
        f"({seconds / 3600:.1f} h): {', '.join(f'{k} {v}' for k, v in results['versions'].items())}.",
        "",
        f"Success and return: mean over {count} seeds on held-out levels, actions sampled. Area: under the curve of "
        "success on validation levels against environment steps, 1 is success from the first step on, interquartile "
        "mean over seeds. In brackets 95 % stratified bootstrap intervals over seeds. Steps to 0.90: until validation "
        "success was at least 0.90 twice in a row, median over seeds, to within two evaluations; - is never.",
    ]
    text += ["", "Held-out success and return, and steps to 0.90:", "", headline(results)]
    l4t, ppo = get_algorithm("l4t").label, get_algorithm("ppo").label
    for task in dict.fromkeys(run["task"] for run in results["runs"]):
        runs = [run for run in results["runs"] if run["task"] == task]
        text += ["", f"## {task}", "", *_table(runs, results["teachers"].get(task, {}))]
        for verdict in (one for one in results["verdicts"] if one["task"] == task):
            against = next(run["label"] for run in runs if run["variant"] == verdict["over"])
            if verdict["apart"]:
                said = "ahead of" if verdict["ahead"] else "behind"
                text.append(f"- In area, {l4t} is {said} {against}; the intervals do not overlap.")
            else:
                text.append(f"- In area, {l4t} and {against} cannot be told apart: the intervals overlap.")
        for harm in (one for one in results["harmed"] if one["task"] == task):
            said = "below" if harm["harmed"] else "not below"
            text.append(
                f"- Teacher corrupted with probability {harm['corruption']:g}: final success {harm['success']:.3f}, "
                f"{said} the lower end of {ppo}'s interval, {harm['ppo_low']:.3f}."
            )
    return "\n".join(text) + "\n"


def headline(results: dict[str, Any]) -> str:
    """The results in one small table: success and return, steps to 0.90; "-" is never, nothing is not measured."""
    shown = {name: get_algorithm(name).label for name in algorithm_names()}
    rows = [("task", "steps a seed", "teacher", *shown.values(), f"{shown['l4t']}'s steps to 0.90", "frugal's"),
            ("---", *["---:"] * (len(shown) + 4))]  # fmt: skip
    for task in dict.fromkeys(run["task"] for run in results["runs"]):
        runs = {run["variant"]: run for run in results["runs"] if run["task"] == task}
        teacher = results["teachers"].get(task, {}).get("drawn")
        cells = [f"{runs['l4t']['total_steps']:,}" if "l4t" in runs else "", _both(teacher)]
        for variant in shown:
            one = runs.get(variant)
            cells.append(_both(one and {name: one[name]["value"] for name in ("success", "return")}))
        for variant in ("l4t", "frugal"):
            steps = runs[variant]["steps_to_success"]["0.90"]["median"] if variant in runs else ""
            cells.append("-" if steps is None else f"{steps:,}" if steps else "")
        rows.append((task, *cells))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _both(figures: dict[str, Any] | None) -> str:
    return f"{figures['success']:.3f}, {figures['return']:.3f}" if figures else ""


def _table(runs: list[dict[str, Any]], teachers: dict[str, Any]) -> list[str]:
    names = ("", "held-out success", "return", "area", "steps to 0.90", "steps", "seconds")
    rows = [names, ("---", *["---:"] * (len(names) - 1))]
    said = {
        "drawn": "teacher alone, its plans drawn (soft and hard act alike)",
        "decided": "teacher alone, its most probable plans",
    }
    for how, one in teachers.items():
        low, high = one["success_interval"]
        rows.append(
            (said[how], f"{one['success']:.3f} ({low:.3f}, {high:.3f})", f"{one['return']:.3f}", "", "", "", "")
        )
    for run in runs:
        steps = run["steps_to_success"]["0.90"]["median"]
        rows.append(
            (
                run["label"],
                *(_cell(run[name]) for name in ("success", "return", "area")),
                "-" if steps is None else f"{steps:,}",
                f"{run['total_steps']:,}",
                f"{run['seconds']['train']:.0f}",
            )
        )
    return [f"| {' | '.join(row)} |" for row in rows] + [""]


def _cell(figure: Estimate) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f}, {figure['high']:.3f})"
