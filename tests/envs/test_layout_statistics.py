"""Our layouts beside the twin's, drawn by MiniGrid's own means: the same distributions, down to what depends on what.

Each statistic is a label of a layout, such as the wall its door is in. The two samples of labels are compared by a
chi-square test; the last test shows that every one of them fails when it alone is skewed.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.farama import assert_alike, chance
from reporting import row_of

from l4t_jax.envs import get_task, minigrid
from l4t_jax.envs.cells import DOOR_LOCKED, EMPTY, GOAL, KEY, LAVA, WALL, encode_cells

DEFAULT, FULL = 2_500, 20_000  # layouts a task
# Some 100 comparisons in all; by chance one of them is that unlikely in one of ten thousand runs.
UNLIKELY = 1e-6

Labels = dict[str, np.ndarray]


@cache
def drawer(layout):
    return jax.jit(lambda key, number: jax.vmap(layout)(jax.random.split(key, number)), static_argnums=1)


def ours(layout, number, seed=0):
    """`uint8[n, W, H]` cells and `int[n, 3]` agents drawn by a layout function."""
    cells, agents, *_ = drawer(layout)(jax.random.key(seed), number)
    return np.asarray(cells), np.asarray(agents, int)


@cache
def theirs(name, number):
    """The same, drawn by the twin."""
    env = minigrid.make(name).unwrapped
    env.reset(seed=20231113)
    cells, agents = [], []
    for _ in range(number):
        env._gen_grid(env.width, env.height)  # what MiniGrid's reset draws a level with, without looking at it
        cells.append(env.grid.encode())
        agents.append((*env.agent_pos, env.agent_dir))
    return np.asarray(encode_cells(jnp.asarray(np.stack(cells)))), np.asarray(agents, int)


def code(*columns) -> np.ndarray:
    """One integer for each combination of small integers."""
    label = np.zeros(len(columns[0]), int)
    for column in columns:
        label = label * 64 + np.asarray(column, int) + 32
    return label


def place(cells, kind, colour=None, last=False):
    """x, y of the first (or last) cell of a kind, x-major; fails where there is none."""
    hit = (cells & 15) == kind
    if colour is not None:
        hit &= (cells >> 4) == colour
    flat = hit.reshape(len(cells), -1)
    assert flat.any(axis=1).all()
    index = flat.shape[1] - 1 - flat[:, ::-1].argmax(axis=1) if last else flat.argmax(axis=1)
    return np.divmod(index, cells.shape[2])


def count(cells, kind):
    return ((cells & 15) == kind).sum(axis=(1, 2))


def colour_at(cells, x, y):
    return cells[np.arange(len(cells)), x, y] >> 4


def room_labels(task, cells, agents) -> Labels:
    """The three tasks of one room: its size, its door, and where everything is, given the room and each other."""
    solid = np.isin(cells & 15, [WALL, DOOR_LOCKED])
    width = solid.any(axis=2).sum(axis=1)
    height = solid.any(axis=1).sum(axis=1)
    dx, dy = place(cells, DOOR_LOCKED)
    wall = np.select([dx == 0, dx == width - 1, dy == 0], [0, 1, 2], 3)
    along, length = np.where(wall < 2, dy, dx), np.where(wall < 2, height, width)
    assert (count(cells, DOOR_LOCKED) == 1).all() and ((along > 0) & (along < length - 1)).all()
    inside = np.clip(dx, 1, width - 2), np.clip(dy, 1, height - 2)
    labels = {
        "size": code(width, height),
        "wall": code(wall),
        "door place": code(wall // 2, length, along),
        "door colour": code(colour_at(cells, dx, dy)),
        "direction": code(agents[:, 2]),
        "agent x": code(width, agents[:, 0]),
        "agent y": code(height, agents[:, 1]),
        "agent from door": code(agents[:, 0] - inside[0], agents[:, 1] - inside[1]),
    }
    things = {"key": place(cells, KEY)}
    if task.name == "ColoredDoorKey":
        assert (count(cells, KEY) == 2).all()
        things = {"blue key": place(cells, KEY, 2), "red key": place(cells, KEY, 0)}
        labels["from key to key"] = code(*(b - a for a, b in zip(*things.values(), strict=True)))
    else:
        assert (count(cells, KEY) == 1).all()
        labels["key colour"] = code(colour_at(cells, *things["key"]), colour_at(cells, dx, dy))
    if task.name == "LavaDoorKey":
        assert (count(cells, LAVA) == 1).all()
        things["lava"] = place(cells, LAVA)
        labels["from key to lava"] = code(things["lava"][0] - things["key"][0], things["lava"][1] - things["key"][1])
    for thing, (x, y) in things.items():
        labels |= {
            f"{thing} x": code(width, x),
            f"{thing} y": code(height, y),
            f"{thing} from agent": code(np.clip(x - agents[:, 0], -2, 2), np.clip(y - agents[:, 1], -2, 2)),
            f"{thing} from door": code(x - inside[0], y - inside[1]),
        }
        # What chi-square may miss: what never happens.
        assert ((x > 0) & (y > 0) & (x < width - 1) & (y < height - 1)).all()
        assert not ((x == agents[:, 0]) & (y == agents[:, 1])).any()
        if thing != "key":
            assert not ((x == inside[0]) & (y == inside[1])).any()
    return labels


def diverged_labels(task, cells, agents) -> Labels:
    """Two doors on opposite walls, a key in the middle."""
    assert (count(cells, DOOR_LOCKED) == 2).all() and (count(cells, KEY) == 1).all()
    first, second, key = place(cells, DOOR_LOCKED), place(cells, DOOR_LOCKED, last=True), place(cells, KEY)
    sideways = (first[0] == 0) & (second[0] == task.width - 1)
    size = task.width
    top, bottom = cells[:, :, 0], cells[:, :, size - 1]
    a = np.where(sideways, first[1], ((top & 15) == DOOR_LOCKED).argmax(axis=1))
    b = np.where(sideways, second[1], ((bottom & 15) == DOOR_LOCKED).argmax(axis=1))
    colours = [colour_at(cells, *where) for where in (first, second, key)]
    assert (colours[0] == colours[1]).all() and (colours[0] == colours[2]).all()
    return {
        "axis": code(sideways),
        "first door": code(sideways, a),
        "second door": code(sideways, b),
        "from door to door": code(b - a),
        "colour": code(colours[0]),
        "key": code(*key),
        "agent x": code(agents[:, 0]),
        "agent y": code(agents[:, 1]),
        "agent from key": code(np.clip(agents[:, 0] - key[0], -3, 3), np.clip(agents[:, 1] - key[1], -3, 3)),
        "direction": code(agents[:, 2]),
    }


def stock_labels(task, cells, agents) -> Labels:
    """MiniGrid's DoorKey: where the wall splits the map, and where everything is, given that."""
    size = task.width
    door, key = place(cells, DOOR_LOCKED), place(cells, KEY)
    split = door[0]
    assert (cells[np.arange(len(cells)), split, :] & 15 != EMPTY).all()
    assert (cells[:, size - 2, size - 2] & 15 == GOAL).all() and (count(cells, GOAL) == 1).all()
    assert (agents[:, 0] < split).all() and (key[0] < split).all()
    return {
        "split": code(split),
        "door": code(split, door[1]),
        "colours": code(colour_at(cells, *door), colour_at(cells, *key)),
        "agent x": code(split, agents[:, 0]),
        "agent y": code(agents[:, 1]),
        "key x": code(split, key[0]),
        "key y": code(key[1]),
        "key from agent": code(np.clip(key[0] - agents[:, 0], -4, 4), np.clip(key[1] - agents[:, 1], -4, 4)),
        "direction": code(agents[:, 2]),
    }


def labels_of(name, cells, agents) -> Labels:
    task = get_task(name)
    describe = stock_labels if name.startswith("DoorKey-") else diverged_labels
    return (room_labels if task.width == 10 else describe)(task, cells, agents)


def differing(name, layout, number) -> dict[str, float]:
    """The statistics that differ from the twin's, and how unlikely that is by chance."""
    mine, others = labels_of(name, *ours(layout, number)), labels_of(name, *theirs(name, number))
    assert mine.keys() == others.keys() and len(mine) >= 9
    return {label: p for label in mine if (p := chance(mine[label], others[label])) < UNLIKELY}


def test_layouts_are_distributed_as_minigrids(task_name):
    assert not differing(task_name, get_task(task_name).layout, DEFAULT)


@pytest.mark.slow
def test_twenty_thousand_layouts_are_distributed_as_minigrids(task_name):
    task = get_task(task_name)
    with row_of("statistics", task_name, ("envs",)) as row:
        mine, others = (labels_of(task_name, *levels) for levels in (ours(task.layout, FULL), theirs(task_name, FULL)))
        row.update(family=task.family or "LLM4Teach", **assert_alike(mine, others, UNLIKELY))


# Skewed on purpose: of the layouts that have a property, a share is drawn anew


def skewed(name, has, share, number):
    """Layouts as ours, but that those with a property come less often than they should."""
    layout = get_task(name).layout
    first, second = ours(layout, number), ours(layout, number, seed=1)
    again = has(*first) & (np.random.default_rng(0).random(number) < share)
    return tuple(
        np.where(again.reshape(-1, *[1] * (new.ndim - 1)), new, old) for old, new in zip(first, second, strict=True)
    )


def is_red(cells, agents):
    return colour_at(cells, *place(cells, DOOR_LOCKED)) == 0


def key_beside_agent(cells, agents):
    x, y = place(cells, KEY)
    return abs(x - agents[:, 0]) + abs(y - agents[:, 1]) == 1


SKEWS = {  # name of the skew: task, the statistic that must tell, the property that comes too rarely
    "wide room": ("SimpleDoorKey", "size", lambda cells, agents: cells[:, 9, 0] & 15 != EMPTY),
    "low room": ("LavaDoorKey", "size", lambda cells, agents: cells[:, 0, 5] & 15 == EMPTY),
    "left wall": ("SimpleDoorKey", "wall", lambda cells, agents: place(cells, DOOR_LOCKED)[0] == 0),
    "door near the corner": ("ColoredDoorKey", "door place", lambda cells, agents: np.min(
        np.ma.masked_equal(np.stack(place(cells, DOOR_LOCKED)), 0), axis=0) == 1),
    "red door": ("SimpleDoorKey", "door colour", is_red),
    "agent looks down": ("SimpleDoorKey", "direction", lambda cells, agents: agents[:, 2] == 1),
    "agent at the left": ("SimpleDoorKey", "agent x", lambda cells, agents: agents[:, 0] == 1),
    "key at the top": ("SimpleDoorKey", "key y", lambda cells, agents: place(cells, KEY)[1] == 1),
    "lava at the left": ("LavaDoorKey", "lava x", lambda cells, agents: place(cells, LAVA)[0] == 1),
    "key beside the agent": ("SimpleDoorKey", "key from agent", key_beside_agent),
    "doors at the sides": ("DivergedDoorKey", "axis", lambda cells, agents: place(cells, DOOR_LOCKED)[0] == 0),
    "red doors": ("DivergedDoorKey", "colour", is_red),
    "key at the corner of the centre": ("DivergedDoorKey", "key", lambda cells, agents: cells[:, 9, 9] & 15 == KEY),
    "early split": ("DoorKey-8x8", "split", lambda cells, agents: place(cells, DOOR_LOCKED)[0] == 2),
    "door at the top": ("DoorKey-16x16", "door", lambda cells, agents: place(cells, DOOR_LOCKED)[1] < 4),
}  # fmt: skip


def telling(skew, share, number) -> float:
    """The chance of the statistic that a skew must show in."""
    name, label, has = SKEWS[skew]
    mine = labels_of(name, *skewed(name, has, share, number))
    return chance(mine[label], labels_of(name, *theirs(name, number))[label])


@pytest.mark.parametrize("skew", SKEWS)
def test_a_skewed_layout_is_noticed(skew):
    assert telling(skew, 0.7, DEFAULT) < UNLIKELY
    assert telling(skew, 0.0, DEFAULT) > UNLIKELY


@pytest.mark.slow
@pytest.mark.parametrize("skew", SKEWS)
def test_a_slightly_skewed_layout_is_noticed_in_twenty_thousand(skew):
    assert telling(skew, 0.35, FULL) < UNLIKELY
    assert telling(skew, 0.0, FULL) > UNLIKELY
