"""How samples of levels are compared: those of our generators, and of Farama's own in our form.

Each statistic is a label of a level, such as where its first key lies. Two samples of labels are compared by a
chi-square test. `labels` finds the statistics from the levels themselves: what each cell holds, where the things of
each kind are, seen from the agent and from each other, and how colours and mission depend on each other.
"""

from __future__ import annotations

import itertools
from collections import Counter
from functools import cache
from typing import Any

import jax
import numpy as np
from scipy import stats

from l4t_jax.envs.cells import EMPTY, WALL
from l4t_jax.envs.state import Layout
from l4t_jax.envs.task import Task
from l4t_jax.evaluation.farama import make, read_level

Labels = dict[str, np.ndarray]


@cache
def theirs(task: Task, number: int) -> Layout:
    """`number` levels of Farama's generator, stacked."""
    env = make(task.minigrid_id)
    env.reset(seed=20231113)
    levels = []
    for _ in range(number):
        env._gen_grid(env.width, env.height)  # what MiniGrid's reset draws a level with, without looking at it
        levels.append(read_level(env, task))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *levels)


def drawn(layout: Any, number: int, seed: int = 0) -> Layout:
    """`number` levels of our generator, stacked."""
    levels = jax.jit(jax.vmap(layout))(jax.random.split(jax.random.key(seed), number))
    return jax.tree.map(np.asarray, levels)


@cache
def ours(task: Task, number: int) -> Layout:
    """`number` levels of a task, stacked."""
    return drawn(task.layout, number)


def code(*columns: np.ndarray) -> np.ndarray:
    """One integer for each combination of small integers."""
    label = np.zeros(len(columns[0]), int)
    for column in columns:
        label = label * 64 + np.asarray(column, int) + 32
    return label


def _things(levels: Layout, kind: int) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """x, y and colour of the first and of the last thing of a kind; x = -1 and colour 15 where there is none."""
    hit = ((levels.cells & 15) == kind).reshape(len(levels.cells), -1)
    found = {}
    for which, flat in (("first", hit.argmax(axis=1)), ("last", hit.shape[1] - 1 - hit[:, ::-1].argmax(axis=1))):
        x, y = np.divmod(flat, levels.cells.shape[2])
        there = hit.any(axis=1)
        colour = levels.cells.reshape(hit.shape)[np.arange(len(hit)), flat] >> 4
        found[f"{which} {kind}"] = np.where(there, x, -1), np.where(there, y, -1), np.where(there, colour, 15)
        if (hit.sum(axis=1) <= 1).all():
            break
    return found


def labels(levels: Layout) -> Labels:
    """Everything that two samples are compared by; see the head of this file."""
    cells, agents = levels.cells, np.asarray(levels.agent, int)
    kinds, (x, y, direction) = cells & 15, agents.T
    step = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])[direction]
    ahead = cells[np.arange(len(cells)), x + step[:, 0], y + step[:, 1]]
    found = {
        "agent": code(x, y),
        "direction": code(direction),
        "ahead": code(direction, ahead & 15),
        "walls": code((kinds == WALL).sum(axis=(1, 2)) // 64, (kinds == WALL).sum(axis=(1, 2)) % 64),
    }
    things, colours = {}, {}
    for kind in sorted(set(np.unique(kinds)) - {EMPTY, WALL}):
        found[f"number of {kind}"] = code((kinds == kind).sum(axis=(1, 2)))
        things |= _things(levels, kind)
    for name, (tx, ty, colour) in things.items():
        found |= {f"{name} x": code(tx), f"{name} y": code(ty)}
        found[f"{name} from agent"] = code(np.clip(tx - x, -3, 3), np.clip(ty - y, -3, 3))
        colours[name] = colour
        if levels.contents is not None:
            colours[f"inside {name}"] = levels.contents[np.arange(len(cells)), tx, ty] >> 4
    for a, b in itertools.combinations(things, 2):
        (ax, ay, _), (bx, by, _) = things[a], things[b]
        found[f"{a} from {b}"] = code(np.clip(ax - bx, -3, 3), np.clip(ay - by, -3, 3))
    if levels.mission is not None:
        colours |= {f"mission {n}": column for n, column in enumerate(levels.mission.T)}
    for a, b in itertools.combinations_with_replacement(colours, 2):
        found[f"colours of {a}, {b}"] = code(colours[a], colours[b])
    for cx, cy in np.ndindex(cells.shape[1:]):
        found[f"cell {cx}, {cy}"] = cells[:, cx, cy].astype(int)
    return found


def chance(a: np.ndarray, b: np.ndarray) -> float:
    """How likely two samples of one distribution are to differ that much; rare labels are taken together."""
    one, two = Counter(a.tolist()), Counter(b.tolist())
    common, rare = [], np.zeros(2, int)
    for label in one.keys() | two.keys():
        row = np.array([one[label], two[label]])
        if row.sum() >= 10:
            common.append(row)
        else:
            rare += row
    table = np.array([*common, *([rare] if rare.sum() >= 10 else [])])
    if len(table) < 2:
        return 1.0
    return float(stats.chi2_contingency(table.T, correction=False).pvalue)


def chances(mine: Labels, others: Labels) -> dict[str, float]:
    """How likely each statistic of two samples is to differ that much by chance: 0 where only one has it."""
    alone = dict.fromkeys(mine.keys() ^ others.keys(), 0.0)
    return {label: chance(mine[label], others[label]) for label in mine.keys() & others.keys()} | alone


def differing(mine: Labels, others: Labels, unlikely: float) -> dict[str, float]:
    """The statistics by which two samples differ, and how unlikely that is by chance."""
    return {label: p for label, p in chances(mine, others).items() if p < unlikely}


def assert_alike(mine: Labels, others: Labels, unlikely: float) -> dict[str, Any]:
    """How two samples compare, for the table of results."""
    found = chances(mine, others)
    least = min(found, key=found.__getitem__)
    assert found[least] >= unlikely, {label: p for label, p in found.items() if p < unlikely}
    return dict(levels=len(mine[least]), statistics=len(found), least_chance=found[least], of=least)
