"""Levels of the families of open rooms beside those of Farama's generators: the same distributions."""

import itertools

import jax
import numpy as np
import pytest
from oracles import farama
from oracles.open_families import NAMES, labels, theirs
from reporting import row_of

from l4t_jax.envs.cells import BALL, KEY, LAVA
from l4t_jax.envs.registry import get_task
from l4t_jax.evaluation.farama import make

# Of each family what differs most; the others are compared in the slow tier.
SOME = (
    "Empty-Random-5x5", "LavaGapS6", "LavaCrossingS9N3", "SimpleCrossingS11N5", "GoToDoor-6x6", "GoToObject-6x6-N2",
    "Fetch-5x5-N2", "PutNear-8x8-N3", "RedBlueDoors-6x6", "MemoryS13Random", "Dynamic-Obstacles-6x6",
    "Dynamic-Obstacles-Random-6x6", "Playground",
)  # fmt: skip
FIXED = ("Empty-5x5", "Empty-6x6", "Empty-8x8", "Empty-16x16", "DistShift1", "DistShift2")
DEFAULT, FULL = 1_000, 5_000  # levels a task
# Some 10,000 comparisons in all; by chance one of them is that unlikely in one of ten thousand runs.
UNLIKELY = 1e-8


def ours(name, number, seed=0):
    return farama.drawn(get_task(name).layout, number, seed)


def differing(name, mine, number):
    return farama.differing(labels(mine), labels(theirs(name, number)), UNLIKELY)


@pytest.mark.parametrize("name", SOME)
def test_levels_are_distributed_as_minigrids(name):
    assert not differing(name, ours(name, DEFAULT), DEFAULT)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in FIXED])
def test_five_thousand_levels_are_distributed_as_minigrids(name):
    with row_of("statistics", name, ("envs",)) as row:
        found = farama.assert_alike(labels(ours(name, FULL)), labels(theirs(name, FULL)), UNLIKELY)
        row.update(family=get_task(name).family, **found)


@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_level_is_minigrids(name):
    for mine, other in zip(
        jax.tree.leaves(get_task(name).layout(jax.random.key(1))), jax.tree.leaves(theirs(name, 1)), strict=True
    ):
        np.testing.assert_array_equal(mine, other[0])


@pytest.mark.parametrize("name", ["LavaCrossingS9N1", "LavaGapS7", "MemoryS9"])
def test_the_levels_that_occur_are_minigrids(name):
    """Of few possible levels both generators draw the same set."""
    sets = [
        {(level.tobytes(), agent.tobytes()) for level, agent in zip(levels.cells, levels.agent, strict=True)}
        for levels in (ours(name, 1_500), theirs(name, 1_500))
    ]
    assert sets[0] == sets[1] and len(sets[0]) >= 15


@pytest.mark.parametrize("name", NAMES)
def test_a_task_says_of_itself_what_minigrid_says(name):
    task, env = get_task(name), make(f"MiniGrid-{name}-v0")
    assert (task.width, task.height, task.max_steps) == (env.width, env.height, env.max_steps)
    assert (task.see_through, task.view, task.num_actions) == (
        env.see_through_walls, env.agent_view_size, env.action_space.n,
    )  # fmt: skip
    space = env.observation_space["mission"]
    if task.mission is None:
        assert task.text == space.mission_func()
        return
    words = [values for _, values in task.mission.fields]
    assert [set(values) for values in words] == [set(values) for values in space.ordered_placeholders]
    some = list(itertools.product(*words))
    for choice in some[:: max(1, len(some) // 100)]:
        assert task.mission.text(choice) == space.mission_func(*choice)


# Skewed on purpose: of the levels that have a property, most are drawn anew


SKEWS = {  # name of the skew: task, the property that comes too rarely
    "agent looks down": ("Empty-Random-6x6", lambda levels: levels.agent[:, 2] == 1),
    "lava in the third row": ("LavaCrossingS9N3", lambda levels: levels.cells[:, 1, 2] & 15 == LAVA),
    "low room": ("GoToDoor-6x6", lambda levels: levels.cells[:, 2:-2, 4].max(axis=1) & 15 != 1),
    "red target": ("GoToDoor-6x6", lambda levels: levels.mission[:, 0] == 0),
    "ball wanted": ("GoToObject-6x6-N2", lambda levels: levels.mission[:, 1] == BALL - KEY),
    "two alike": ("Fetch-5x5-N2", lambda levels: (levels.targets & 1).sum(axis=(1, 2)) == 2),
    "phrase": ("Fetch-5x5-N2", lambda levels: levels.mission[:, 0] == 4),
    "key to move": ("PutNear-8x8-N3", lambda levels: levels.mission[:, 1] == 0),
    "short hallway": ("MemoryS13Random", lambda levels: levels.agent[:, 0] < 3),
    "match above": ("MemoryS13Random", lambda levels: (levels.targets[:, :, :6] & 1).any(axis=(1, 2))),
    "obstacle 0 at the left": ("Dynamic-Obstacles-Random-6x6", lambda levels: (levels.targets[:, 1] & 1).any(axis=1)),
    "door at the top": ("Playground", lambda levels: levels.cells[:, 6, 1] & 15 != 2),
}


def skewed(skew, share, number):
    """The task and the levels; a share of those with the property is drawn anew."""
    name, has = SKEWS[skew]
    first, second = ours(name, number), ours(name, number, seed=1)
    again = has(first) & (np.random.default_rng(0).random(number) < share)
    return name, jax.tree.map(
        lambda old, new: np.where(again.reshape(-1, *[1] * (old.ndim - 1)), new, old), first, second
    )


@pytest.mark.parametrize("skew", SKEWS)
def test_skewed_levels_are_noticed(skew):
    name, levels = skewed(skew, 0.9, DEFAULT)
    assert differing(name, levels, DEFAULT)


@pytest.mark.slow
@pytest.mark.parametrize("skew", SKEWS)
def test_slightly_skewed_levels_are_noticed_in_five_thousand(skew):
    name, levels = skewed(skew, 0.6, FULL)
    assert differing(name, levels, FULL)
