"""Boards: every one belongs to one split, by its layout alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.tasks import draw_boards, get_task
from l4t_jax.tasks.boards import BUCKETS, SPLITS, in_split, layout_hash


@pytest.mark.parametrize("name", ["SimpleDoorKey", "DivergedDoorKey", "DoorKey-8x8"])
def test_every_board_is_in_one_split_and_the_shares_are_as_said(name, draw, key):
    number = 4_000
    worlds = draw(name, key, number)
    membership = np.stack([np.asarray(in_split(worlds, split)) for split in SPLITS])
    np.testing.assert_array_equal(membership.sum(axis=0), 1)
    distinct = len(np.unique(np.asarray(layout_hash(worlds))))
    for split, (first, last) in SPLITS.items():
        share = (last - first) / BUCKETS
        error = 5 * np.sqrt(share * (1 - share) / distinct)  # the boards of one layout fall together
        assert membership[list(SPLITS).index(split)].mean() == pytest.approx(share, abs=error)


def test_all_splits_cover_all_buckets_once():
    buckets = [bucket for first, last in SPLITS.values() for bucket in range(first, last)]
    assert sorted(buckets) == list(range(BUCKETS)) and set(SPLITS) == {"training", "validation", "test"}


def test_the_split_depends_on_the_layout_and_on_every_part_of_it(draw, key):
    world = jax.tree.map(lambda leaf: leaf[0], draw("SimpleDoorKey", key, 1))
    played = world.replace(seen=~world.seen, carrying=jnp.uint8(5), origin=jnp.array([3, 3], jnp.int8))
    assert layout_hash(played) == layout_hash(world)
    hashes = {int(layout_hash(world))}
    for x in range(10):
        for y in range(10):
            hashes.add(int(layout_hash(world.replace(cells=world.cells.at[x, y].add(1)))))
    for i in range(3):
        hashes.add(int(layout_hash(world.replace(agent=world.agent.at[i].add(1)))))
    assert len(hashes) == 1 + 100 + 3


def test_a_hash_is_the_same_for_ever():
    """The held-out boards of published results hang on it. By hand: murmur3's mix of a sum of powers of 2654435761."""
    from l4t_jax.types import World

    cells, agent = [[1, 2], [3, 4]], [1, 0, 3]
    total, power = 0, 1
    for value in [1, 2, 3, 4, 1, 0, 3]:
        power = power * 2654435761 % 2**32
        total = (total + (value + 1) * power) % 2**32
    h = (total ^ total >> 16) * 0x85EBCA6B % 2**32
    h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
    h ^= h >> 16
    world = World(
        cells=jnp.array(cells, jnp.uint8), seen=jnp.zeros((2, 2), bool), agent=jnp.array(agent, jnp.int8),
        carrying=jnp.uint8(0), origin=jnp.array([-1, -1], jnp.int8),
    )  # fmt: skip
    assert int(layout_hash(world)) == h


@pytest.mark.parametrize("split", ["training", "test"])
def test_drawn_boards_are_fresh_worlds_of_their_split(split, key):
    env = get_task("SimpleDoorKey").make()
    boards = jax.jit(lambda key: draw_boards(env, key, 200, split))(key)
    assert boards.cells.shape == (200, 10, 10) and bool(in_split(boards, split).all())
    assert not np.asarray(boards.carrying).any() and (np.asarray(boards.origin) == -1).all()
    assert len(np.unique(np.asarray(layout_hash(boards)))) > 190


def test_a_task_with_few_layouts_repeats_them_rather_than_leave_its_split():
    env = get_task("DoorKey-5x5").make()
    boards = jax.jit(lambda key: draw_boards(env, key, 1_000, "validation"))(jax.random.key(0))
    assert bool(in_split(boards, "validation").all())
    assert len(np.unique(np.asarray(layout_hash(boards)))) < 200
