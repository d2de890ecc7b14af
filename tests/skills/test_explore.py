"""Explore, on bits, against a plain Python reading of the reference, on maps that no room ever gives."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest
from oracles import teacher as oracle

from l4t_jax.abstraction.scene import Scene
from l4t_jax.envs import get_task
from l4t_jax.envs.state import as_observation
from l4t_jax.kernels import CPU
from l4t_jax.skills.base import SATISFIED, get_skill

SIZES = ((10, 10), (20, 20), (7, 13), (32, 32))
SHARE = (0.6, 0.2, 0.15, 0.05)
VIEWS = (3, 7)


def explore(view, memory):
    task = dataclasses.replace(get_task("SimpleDoorKey"), view=view)
    return get_skill("explore").act(Scene.of(task, memory, CPU), -1, None)


def compare(random_known, rng, number) -> dict[str, int]:
    """Compares on `number` maps; returns how often each answer was given."""
    seen = dict.fromkeys(("left", "right", "forward", "satisfied", "bounded"), 0)
    compared = 0
    for size, share in zip(SIZES, SHARE, strict=True):
        for view in VIEWS:
            count = -(-round(number * share) // len(VIEWS))
            # The agent keeps off the outermost cells: what lies beyond the map is not defined, as rooms are walled.
            memory = random_known(rng, size, count, inside=True)
            ours = np.asarray(jax.jit(partial(explore, view))(memory))
            observations = np.asarray(as_observation(memory))
            for i in range(count):
                expected = oracle.explore(observations[i], view // 2)
                assert ours[i] == (SATISFIED if expected is None else expected), (size, view, i)
                seen["satisfied" if expected is None else ("left", "right", "forward")[expected]] += 1
                seen["bounded"] += oracle.room_bounds(observations[i]) != size
            compared += count
    assert compared >= number
    return seen


def test_explore_agrees_with_a_plain_reading(random_known, rng):
    seen = compare(random_known, rng, 1_500)
    assert min(seen.values()) >= 30, seen  # every answer came up


@pytest.mark.slow
def test_explore_agrees_with_a_plain_reading_on_ten_thousand_maps(random_known, rng, record_property):
    seen = compare(random_known, rng, 10_000)
    for name, value in seen.items():
        record_property(name, value)
    assert min(seen.values()) >= 200, seen
