"""Levels of the families with rooms beside those of Farama's generators: the same distributions."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from oracles import farama
from reporting import row_of

from l4t_jax.envs import room_grid
from l4t_jax.envs.cells import EMPTY, kind_of
from l4t_jax.envs.families import multi_room
from l4t_jax.envs.registry import get_task
from l4t_jax.envs.room_grid import RoomGrid

IDS = (
    "Unlock", "UnlockPickup", "BlockedUnlockPickup", "LockedRoom", "FourRooms",
    *(f"KeyCorridorS{s}R{r}" for s, r in ((3, 1), (3, 2), (3, 3), (4, 3), (5, 3), (6, 3))),
    *(f"ObstructedMaze-{kind}" for kind in ("1Dl", "1Dlh", "1Dlhb", "2Dl", "2Dlh", "2Dlhb", "1Q", "2Q", "Full")),
    "MultiRoom-N2-S4", "MultiRoom-N4-S5-v0", "MultiRoom-N4-S5", "MultiRoom-N6",
)  # fmt: skip
# Of each family what differs most; the others are compared in the slow tier.
SOME = (
    "UnlockPickup", "BlockedUnlockPickup", "LockedRoom", "FourRooms", "KeyCorridorS3R2", "KeyCorridorS6R3",
    "ObstructedMaze-1Dlhb", "ObstructedMaze-2Dl", "ObstructedMaze-Full", "MultiRoom-N4-S5",
)  # fmt: skip
DEFAULT, FULL = 2_000, 5_000  # levels a task
# Some 10,000 comparisons in all; by chance one of them is that unlikely in one of ten thousand runs.
UNLIKELY = 1e-8


def differing(name, number, mine=None):
    """The statistics by which our levels, or those of `mine`, differ from Farama's."""
    task = get_task(name)
    mine = farama.ours(task, number) if mine is None else mine
    return farama.differing(farama.labels(mine), farama.labels(farama.theirs(task, number)), UNLIKELY)


@pytest.mark.parametrize("name", SOME)
def test_levels_are_distributed_as_minigrids(name):
    assert not differing(name, DEFAULT)


@pytest.mark.slow
@pytest.mark.parametrize("name", IDS)
def test_five_thousand_levels_are_distributed_as_minigrids(name):
    task = get_task(name)
    with row_of("statistics", name, ("envs",)) as row:
        mine, theirs = (farama.labels(draw(task, FULL)) for draw in (farama.ours, farama.theirs))
        row.update(family=task.family, **farama.assert_alike(mine, theirs, UNLIKELY))


@pytest.mark.parametrize("name", ("BlockedUnlockPickup", "LockedRoom", "KeyCorridorS6R3", "ObstructedMaze-Full"))
def test_each_statistic_fails_when_it_is_skewed(name):
    task, random = get_task(name), np.random.default_rng(0)
    theirs = farama.labels(farama.theirs(task, DEFAULT))
    for label, mine in farama.labels(farama.ours(task, DEFAULT)).items():
        values, counts = np.unique(mine, return_counts=True)
        if len(values) == 1 or label.startswith("cell"):
            continue
        # Half of the labels, the most common one too, come less often.
        rarer = np.isin(mine, values[np.argsort(-counts)][::2]) & (random.random(len(mine)) < 0.7)
        skewed = np.where(rarer, random.choice(values, len(mine)), mine)
        assert farama.chance(skewed, theirs[label]) < UNLIKELY, label


# One rule of MiniGrid's generators broken at a time


def also_near_the_start(grid, cells, i, j):
    return grid.room(i, j) & (kind_of(cells) == EMPTY)


def anywhere(grid, word, cells, i, j):
    return room_grid.pose(*room_grid.pick(word, grid.room(i, j) & (kind_of(cells) == EMPTY)), word % 4)


def all_walls(grid, words, passages, allowed):
    return allowed & ~passages


CONNECT_ALL, FITS = RoomGrid.connect_all, multi_room.fits


def doors_of_the_locked_room(grid, words, passages, allowed):
    return CONNECT_ALL(grid, words, passages, jnp.ones_like(allowed))


BROKEN = {
    "things beside the start": (RoomGrid, "free", also_near_the_start, "UnlockPickup"),
    "agent before a key": (RoomGrid, "agent", anywhere, "Unlock"),
    "a door in every wall": (RoomGrid, "connect_all", all_walls, "KeyCorridorS3R2"),
    "second door of a locked room": (RoomGrid, "connect_all", doors_of_the_locked_room, "KeyCorridorS3R2"),
}
BROKEN_CHAINS = {
    "few tries": (multi_room, "TRIES", 2, "MultiRoom-N6"),
    "rooms that overlap": (multi_room, "apart", lambda room, other: jnp.ones_like(room.left, bool), "MultiRoom-N6"),
    "the last row is used": (
        multi_room,
        "fits",
        lambda room: FITS(room._replace(height=room.height - 1)),
        "MultiRoom-N4-S5",
    ),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_generator_without_one_of_minigrids_rules_is_noticed(rule, monkeypatch):
    where, what, instead, name = BROKEN[rule]
    monkeypatch.setattr(where, what, instead)
    layout = get_task(name).layout
    assert differing(name, DEFAULT, farama.drawn(partial(layout), DEFAULT))


@pytest.mark.slow
@pytest.mark.parametrize("rule", BROKEN_CHAINS)
def test_a_chain_of_rooms_without_one_of_minigrids_rules_is_noticed(rule, monkeypatch):
    where, what, instead, name = BROKEN_CHAINS[rule]
    monkeypatch.setattr(where, what, instead)
    assert differing(name, FULL, farama.drawn(partial(get_task(name).layout), FULL))
