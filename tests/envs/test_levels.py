"""Levels: every one belongs to one split, by its layout alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.envs import draw_levels, get_task, list_tasks
from l4t_jax.envs.levels import BUCKETS, SPLITS, in_split, level_hash
from l4t_jax.envs.navix import make_env


@pytest.mark.parametrize("name", ["SimpleDoorKey", "DivergedDoorKey", "DoorKey-8x8"])
def test_every_level_is_in_one_split_and_the_shares_are_as_said(name, draw, key):
    number = 4_000
    env_states = draw(name, key, number)
    membership = np.stack([np.asarray(in_split(env_states, split)) for split in SPLITS])
    np.testing.assert_array_equal(membership.sum(axis=0), 1)
    distinct = len(np.unique(np.asarray(level_hash(env_states))))
    for split, (first, last) in SPLITS.items():
        share = (last - first) / BUCKETS
        error = 5 * np.sqrt(share * (1 - share) / distinct)  # the levels of one layout fall together
        assert membership[list(SPLITS).index(split)].mean() == pytest.approx(share, abs=error)


def test_all_splits_cover_all_buckets_once():
    buckets = [bucket for first, last in SPLITS.values() for bucket in range(first, last)]
    assert sorted(buckets) == list(range(BUCKETS)) and set(SPLITS) == {"training", "validation", "test"}


def test_the_split_depends_on_the_layout_and_on_every_part_of_it(draw, key):
    env_state = jax.tree.map(lambda leaf: leaf[0], draw("SimpleDoorKey", key, 1))
    played = env_state.replace(seen=~env_state.seen, carrying=jnp.uint8(5), pickup_position=jnp.array([3, 3], jnp.int8))
    assert level_hash(played) == level_hash(env_state)
    hashes = {int(level_hash(env_state))}
    for x in range(10):
        for y in range(10):
            hashes.add(int(level_hash(env_state.replace(cells=env_state.cells.at[x, y].add(1)))))
    for i in range(3):
        hashes.add(int(level_hash(env_state.replace(agent=env_state.agent.at[i].add(1)))))
    assert len(hashes) == 1 + 100 + 3


def test_a_hash_is_the_same_for_ever():
    """The held-out levels of published results hang on it. By hand: murmur3's mix of a sum of powers of 2654435761."""
    from l4t_jax.envs.state import State

    cells, agent = [[1, 2], [3, 4]], [1, 0, 3]
    total, power = 0, 1
    for value in [1, 2, 3, 4, 1, 0, 3]:
        power = power * 2654435761 % 2**32
        total = (total + (value + 1) * power) % 2**32
    h = (total ^ total >> 16) * 0x85EBCA6B % 2**32
    h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
    h ^= h >> 16
    env_state = State(
        cells=jnp.array(cells, jnp.uint8), seen=jnp.zeros((2, 2), bool), agent=jnp.array(agent, jnp.int8),
        carrying=jnp.uint8(0), pickup_position=jnp.array([-1, -1], jnp.int8),
    )  # fmt: skip
    assert int(level_hash(env_state)) == h


@pytest.mark.parametrize("split", ["training", "test"])
def test_drawn_levels_are_fresh_worlds_of_their_split(split, key):
    env = make_env(get_task("SimpleDoorKey"))
    levels = jax.jit(lambda key: draw_levels(env, key, 200, split))(key)
    assert levels.cells.shape == (200, 10, 10) and bool(in_split(levels, split).all())
    assert not np.asarray(levels.carrying).any() and (np.asarray(levels.pickup_position) == -1).all()
    assert len(np.unique(np.asarray(level_hash(levels)))) > 190


def test_a_task_with_few_layouts_repeats_them_rather_than_leave_its_split():
    env = make_env(get_task("DoorKey-5x5"))
    levels = jax.jit(lambda key: draw_levels(env, key, 1_000, "validation"))(jax.random.key(0))
    assert bool(in_split(levels, "validation").all())
    assert len(np.unique(np.asarray(level_hash(levels)))) < 200


FEW = [name for name in list_tasks() if get_task(name).distinct_levels is not None]


def counted(name, number=20_000):
    env = make_env(get_task(name))
    draw = jax.jit(lambda key: level_hash(jax.vmap(env.initial)(jax.random.split(key, number))))
    return len(np.unique(np.asarray(draw(jax.random.key(0)))))


def test_the_families_with_few_levels_are_these():
    assert {get_task(name).family for name in FEW} == {"Empty", "DistShift", "LavaGap", "Memory"}
    assert {get_task(name).family for name in list_tasks() if name not in FEW}.isdisjoint(
        get_task(name).family for name in FEW
    )


@pytest.mark.parametrize("name", ["Empty-Random-6x6", "LavaGapS7", "MemoryS13Random"])
def test_a_task_with_few_levels_says_how_many(name):
    assert counted(name) == get_task(name).distinct_levels


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted({get_task(name).family for name in list_tasks()} - {""}))
def test_a_family_shares_its_levels_if_it_has_fewer_than_a_thousand(family):
    names = [name for name in list_tasks() if get_task(name).family == family]
    numbers = {name: counted(name) for name in names}
    if sum(numbers.values()) < 1_000:
        assert numbers == {name: get_task(name).distinct_levels for name in names}
    else:
        assert {get_task(name).distinct_levels for name in names} == {None}


@pytest.mark.parametrize("split", list(SPLITS))
def test_all_splits_share_the_levels_of_a_task_with_few(split):
    for name, distinct in (("Empty-8x8", 1), ("MemoryS7", 16)):
        task = get_task(name)
        levels = jax.jit(lambda task=task: draw_levels(make_env(task), jax.random.key(1), 300, split))()
        assert len(np.unique(np.asarray(level_hash(levels)))) == distinct
        assert bool(in_split(levels, split, task).all())
    assert not bool(in_split(levels, split).all())  # by their hashes they would be apart
