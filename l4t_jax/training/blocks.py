"""How a run is divided into blocks of updates, and how far it is: where updates differ in their steps, too.

Host module. A block ends at an evaluation. Where all updates have as many steps (`rollouts=steps`), blocks are counted
in updates. With `rollouts=episodes` they are counted in steps: in each block a seed goes on until it has taken the
block's steps, so seeds differ a little in steps and in updates, and what is written down are their means.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from l4t_jax.agents.episodes import most_steps
from l4t_jax.training.trainer import Trainer, TrainState


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The blocks of a run.

    Attributes:
        ends: where they end: in updates, or with `rollouts=episodes` in steps of each seed.
        longest: the most updates of one.
        total: the run's steps of a seed; the fewest, with `rollouts=episodes`.
    """

    ends: tuple[int, ...]
    longest: int
    total: int

    @classmethod
    def of(cls, trainer: Trainer) -> Blocks:
        """As even as can be. A block has more steps than an update can have, so that each seed does one in each."""
        config = trainer.config
        if not trainer.by_episodes:
            total = trainer.total_updates
            number = min(config.evaluations, total)
            ends = tuple(round((i + 1) * total / number) for i in range(number))
            return cls(ends, _longest(ends), total * trainer.steps_per_update)
        most = most_steps(config.num_envs, trainer.task.max_steps, config.least_steps)
        number = max(1, min(config.evaluations, config.total_steps // most))
        ends = tuple((i + 1) * config.total_steps // number for i in range(number))
        return cls(ends, -(-_longest(ends) // trainer.steps_per_update), config.total_steps)

    def begin(self, index: int) -> int:
        """Where a block begins, counted as `ends` is."""
        return self.ends[index - 1] if index else 0

    def argument(self, trainer: Trainer, index: int) -> np.int32:
        """What the block's program takes: how many updates; the steps to go to, with `rollouts=episodes`."""
        return np.int32(self.ends[index] - (0 if trainer.by_episodes else self.begin(index)))

    def passes_half(self, index: int) -> bool:
        """Whether half of the run is done after a block and was not before it; never so of the last block."""
        end, last = self.ends[index], self.ends[-1]
        return self.begin(index) < last / 2 <= end < last


@dataclasses.dataclass(frozen=True)
class Done:
    """How far the seeds are, `int[seeds]` each."""

    updates: np.ndarray
    steps: np.ndarray

    @classmethod
    def of(cls, trainer: Trainer, state: TrainState) -> Done:
        """From a state on the host."""
        updates = np.broadcast_to(np.asarray(state.updates, np.int64), (trainer.config.num_seeds,))
        steps = updates * trainer.steps_per_update if state.steps is None else np.asarray(state.steps, np.int64)
        return cls(updates, steps)

    @property
    def mean_updates(self) -> int:
        """Rounded down, so that it grows with every block."""
        return int(self.updates.sum() // len(self.updates))

    @property
    def mean_steps(self) -> int:
        """Rounded down, as `mean_updates`."""
        return int(self.steps.sum() // len(self.steps))


def _longest(ends: tuple[int, ...]) -> int:
    return max(end - begin for begin, end in itertools.pairwise([0, *ends]))
