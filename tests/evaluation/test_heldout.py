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


def test_the_area_is_the_trapezoids_share_of_the_whole() -> None:
    # From 0.1 at 0 to 0.5 at 100, then to 1.0 at 200: (0.3 * 100 + 0.75 * 100) / 200; the second seed stays at 0.1.
    found = intervals.area(np.array([100, 200]), np.array([[0.5, 0.1], [1.0, 0.1]]), start=0.1)
    assert found == pytest.approx([0.525, 0.1])
    # Up to step 150, where the first curve is at 0.75: (0.3 * 100 + 0.625 * 50) / 150.
    found = intervals.area(np.array([100, 200]), np.array([[0.5, 0.1], [1.0, 0.1]]), start=0.1, until=150)
    assert found == pytest.approx([0.408333, 0.1])


@pytest.mark.parametrize(
    ("steps", "median"),
    [([10, 30, 20], 20), ([10, None, 20], 20), ([10, None, None], None), ([10, 20, 30, None], 25), ([None], None)],
)
def test_seeds_that_never_get_there_count_as_later_than_any(steps: list[int | None], median: int | None) -> None:
    assert intervals.median_steps(steps) == median
