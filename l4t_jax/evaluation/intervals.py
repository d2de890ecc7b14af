"""Statistics over levels and of curves: means, 95 % confidence intervals, steps to a success, areas.

Host module: numpy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from l4t_jax.evaluation.playing import Episodes

THRESHOLDS = ("0.50", "0.90", "0.95")
ENOUGH_LEVELS = 512  # fewer levels are too few to measure a success of 0.95
Z95 = 1.959964


def averages(episodes: Episodes) -> dict[str, Any]:
    """Mean success, return and length over levels: a number each, or a list with one per seed."""
    named = {"success": episodes.success, "return": episodes.reward, "length": episodes.length}
    return {name: np.asarray(values, np.float64).mean(axis=-1).tolist() for name, values in named.items()}


def better(one: Episodes, other: Episodes) -> bool:
    """Whether `one` succeeds significantly more often than `other`: its 95 % interval is above the other's."""
    return intervals(one)["success"][1] > intervals(other)["success"][2]


def intervals(episodes: Episodes) -> dict[str, tuple[float, float, float]]:
    """(mean, low, high) of success, return and length: 95 % intervals over all levels of all seeds together.

    Wilson's interval for success, the normal interval for the others.
    """
    success = np.asarray(episodes.success, np.float64).reshape(-1)
    found = {"success": (float(success.mean()), *wilson(float(success.sum()), success.size))}
    for name, values in (("return", episodes.reward), ("length", episodes.length)):
        flat = np.asarray(values, np.float64).reshape(-1)
        found[name] = (float(flat.mean()), *normal(flat))
    return found


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion.

    Args:
        successes: number of successes in `trials`.
        trials: at least 1.
    """
    p, z2 = successes / trials, Z95**2
    middle = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 / (1 + z2 / trials) * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2))
    return min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half))  # rounding must not push p out


def normal(values: np.ndarray) -> tuple[float, float]:
    """The normal 95 % interval of a mean."""
    mean, n = float(np.mean(values)), values.size
    half = Z95 * float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    return mean - half, mean + half


def steps_to_success(
    steps: list[int], success: list[list[float]], levels: int, thresholds: tuple[str, ...] = THRESHOLDS
) -> dict[str, list[int | None]]:
    """Environment steps until validation success was at or above a threshold twice in a row.

    Args:
        steps: of each evaluation, increasing.
        success: of each evaluation, one proportion per seed.
        levels: number of levels in each evaluation; below `ENOUGH_LEVELS` all results are None.
        thresholds: proportions as text; they are the keys of the result.

    Returns:
        threshold -> for each seed the steps of the second evaluation of the first such pair, or None.
    """
    seeds = len(success[0]) if success else 0
    found: dict[str, list[int | None]] = {}
    for threshold in thresholds:
        reached = np.asarray(success) >= float(threshold) if success else np.zeros((0, 0), bool)  # (evaluations, seeds)
        twice = reached[1:] & reached[:-1]
        found[threshold] = [
            steps[1 + int(np.argmax(twice[:, seed]))] if levels >= ENOUGH_LEVELS and twice[:, seed].any() else None
            for seed in range(seeds)
        ]
    return found


def area(steps: np.ndarray, success: np.ndarray, start: float, until: int | None = None) -> np.ndarray:
    """Area under each seed's success curve as a share of the whole: 1 is success from the first step on.

    Args:
        steps: `(evaluations,)` environment steps, rising.
        success: `(evaluations, seeds)`.
        start: success at step 0, that of the random policy.
        until: the steps that count, at most the last evaluation's, which is the default.
    """
    x = np.concatenate([[0], steps])
    y = np.concatenate([np.full((1, success.shape[1]), start), success])
    if until is not None:
        last = np.array([np.interp(until, x, seed) for seed in y.T])
        y = np.concatenate([y[x < until], last[None]])
        x = np.concatenate([x[x < until], [until]])
    return np.trapezoid(y, x, axis=0) / x[-1]


def median_steps(steps: Iterable[int | None]) -> int | None:
    """The median where None stands for "never": None if half of the seeds or more never got there."""
    median = float(np.median([np.inf if one is None else one for one in steps]))
    return round(median) if np.isfinite(median) else None
