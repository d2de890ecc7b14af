"""Figures over levels: what may be said of them."""

import numpy as np
import pytest

from l4t_jax.evaluation import intervals
from l4t_jax.evaluation.playing import Episodes


def episodes(successes: int, levels: int = 512) -> Episodes:
    won = np.arange(levels) < successes
    return Episodes(success=won, reward=won * 0.9, length=np.full(levels, 10))


@pytest.mark.parametrize("one, other, better", [(41, 0, True), (41, 36, False), (0, 36, False), (512, 36, True)])
def test_better_is_said_only_beyond_doubt(one, other, better):
    # Wilson's intervals of 41 and 36 of 512: 0.060 to 0.107, 0.051 to 0.096; of 0 of 512: 0 to 0.0074.
    assert intervals.better(episodes(one), episodes(other)) == better
