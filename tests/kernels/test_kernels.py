"""Every tuned form beside its plain reference, on random maps: square and not, with and without a carried object."""

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import random_known_maps

from l4t_jax.abstraction.scene import Scene
from l4t_jax.agents.students.features import ego_features, places
from l4t_jax.agents.students.ways import ways
from l4t_jax.envs import get_task
from l4t_jax.envs.state import State
from l4t_jax.envs.task import Role, Task
from l4t_jax.envs.visibility import see, visible
from l4t_jax.kernels import CPU, GPU, PORTABLE, REFERENCE, TPU, Kernels, visibility
from l4t_jax.skills.actions import skill_actions

SIZES = ((10, 10), (7, 13), (32, 32), (5, 3))
ALL_SKILLS = (
    "explore", "search", "find", "go_to", "reach", "clear", "pick_up", "drop", "open", "put_down", "put_beside",
    "say_done",
)  # fmt: skip


def wide_task(size: tuple[int, int]) -> Task:
    """A task of that map size with every skill, whose symbolic state tells reach apart."""
    stock = get_task("DoorKey-8x8")
    objects = tuple(dataclasses.replace(role, is_same_as=None, reach=True) for role in stock.objects)
    width, height = max(size[0], 3), max(size[1], 3)
    return dataclasses.replace(
        stock,
        name="Wide",
        width=width,
        height=height,
        objects=(*objects, Role("ball", (6,), reach=True)),
        skills=ALL_SKILLS,
        aliases=(),
    )


def states_and_actions(memory: Any, size: tuple[int, int], kernel: Kernels) -> Any:
    return skill_actions(wide_task(size), memory, kernel)


def features(memory: Any, size: tuple[int, int], kernel: Kernels) -> Any:
    return ego_features(wide_task(size), memory, 7, kernel)


def what_is_seen(memory: Any, size: tuple[int, int], kernel: Kernels) -> Any:
    clear = (memory.cells & 1) == 1
    find = visible if kernel.reference else visibility.visible
    return [jax.vmap(lambda mask, agent, view=view: find(mask, agent, view))(clear, memory.agent) for view in (3, 7)]


def seen_now(memory: Any, size: tuple[int, int], kernel: Kernels) -> Any:
    states = State(memory.cells, memory.cells > 0, memory.agent, memory.carrying, memory.pickup_position)
    return [jax.vmap(lambda state, view=view: see(state, view, kernel=kernel))(states) for view in (5, 9)]


def planes_in_frame(memory: Any, size: tuple[int, int], kernel: Kernels) -> Any:
    scene = Scene.of(wide_task(size), memory, kernel)
    return places(scene, 5), places(scene, 7, shift=3)


def ways_found(memory: Any, size: tuple[int, int], kernel: Kernels) -> Any:
    scene = Scene.of(wide_task(size), memory, kernel)
    return ways(scene, [scene.unseen, scene.movable])


@cache
def plain(function: Callable[..., Any], size: tuple[int, int]) -> tuple[Any, Any]:
    """Random maps of a size, and what the reference makes of them: compiled once for all tuned forms."""
    number = 150 if max(size) < 20 else 40  # the reference is slow on large maps
    memory = random_known_maps(np.random.default_rng(20231113), size, number, inside=False)
    assert bool(jnp.any(memory.carrying > 0)) and bool(jnp.any(memory.carrying == 0))
    return memory, jax.jit(lambda m: function(m, size, REFERENCE))(memory)


FUNCTIONS = (states_and_actions, features, what_is_seen, seen_now, planes_in_frame, ways_found)
OBLONG = (7, 13)
SOME_SIZES = {  # of what takes long to compile: `features` has the planes and the ways in it
    features: (OBLONG, (32, 32), (5, 3)),
    planes_in_frame: (OBLONG,),
}
LATER = {(features, (32, 32)), (states_and_actions, (32, 32))}  # in the full tier; `ways_found` has such maps too
# The CPU's kernels are compared on every size, the others on maps of unequal sides; what is a TPU's alone are
# the words of its searches.
CASES = [
    pytest.param(
        function,
        kernel,
        size,
        id=f"{function.__name__}-{kernel.name}-{size}",
        marks=[pytest.mark.xdist_group(function.__name__), *[pytest.mark.slow] * ((function, size) in LATER)],
    )
    for function in FUNCTIONS
    for size in SOME_SIZES.get(function, SIZES)
    for kernel in (CPU, PORTABLE, GPU, TPU)
    if kernel is CPU or (size == OBLONG and (kernel is not TPU or function is ways_found))
]


@pytest.mark.parametrize(("function", "kernel", "size"), CASES)
def test_the_tuned_form_is_the_reference(function: Callable[..., Any], kernel: Kernels, size: tuple[int, int]) -> None:
    memory, expected = plain(function, size)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(lambda m: function(m, size, kernel))(memory), expected)
