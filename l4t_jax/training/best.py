"""The best parameters of each seed so far, by success and then return on the validation levels.

Host module: numpy.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np


class BestParams:
    """Keeps, of each seed, the parameters that did best.

    Args:
        seeds: how many.
        params: what was kept when a run stopped, leading axis seeds; None for a new run.
        scores: (success, return) of each seed's.
    """

    def __init__(self, seeds: int, params: Any = None, scores: list[list[float]] | None = None) -> None:
        self.params = params
        self.scores = [(-1.0, -1.0)] * seeds if scores is None else [(success, reward) for success, reward in scores]

    def keep(self, params: Any, validation: dict[str, list[float]]) -> None:
        """Keeps the parameters just evaluated, of each seed for which they did better than all before.

        Args:
            params: numpy arrays, leading axis seeds, which nobody overwrites.
            validation: their `success` and `return`, a value a seed.
        """
        scores = list(zip(validation["success"], validation["return"], strict=True))
        better = np.asarray([new > old for new, old in zip(scores, self.scores, strict=True)])
        if not better.any():
            return
        self.scores = [max(new, old) for new, old in zip(scores, self.scores, strict=True)]
        if self.params is None:
            self.params = params
            return
        self.params = jax.tree.map(
            lambda new, old: np.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old), params, self.params
        )
