"""Levels of every id can be solved: an expert's actions, played in our environments, end them well."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import farama
from oracles.solver import solve
from reporting import row_of

from l4t_jax.envs import Task, get_task, list_tasks
from l4t_jax.envs.cells import DONE
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import Layout
from l4t_jax.evaluation import playing
from l4t_jax.teacher import file

NUMBER = 1_000
TRIES = 20  # plays of a level in which obstacles move
# Nothing is a success in Playground. Where obstacles move, the expert's way is played with the obstacles away, and the
# task's teacher shows that it can be done with them.
IDS = [name for name in list_tasks() if get_task(name).minigrid_id and name != "Playground"]


def without_obstacles(task: Task, levels: Layout) -> Layout:
    if task.before_step is None:
        return levels
    assert levels.targets is not None
    return levels._replace(cells=np.where(levels.targets > 0, 1, levels.cells).astype(np.uint8), targets=None)


def solutions(task: Task, levels: Layout) -> list[list[int] | None]:
    rows = [jax.tree.map(lambda leaf, i=i: leaf[i], levels) for i in range(len(levels.cells))]
    return [solve(task.family, row.cells, row.agent, row.targets, row.contents) for row in rows]


def won(task: Task, levels: Layout, found: list[list[int]]) -> np.ndarray:
    """Whether each level is ended well, by the last of its actions and no sooner, within the limit: `bool[N]`."""
    if task.before_step is not None:
        task = dataclasses.replace(task, before_step=None)
    env = make_env(task)
    length = np.array([len(actions) for actions in found])
    actions = np.full((max(length), len(found)), DONE, np.int32)
    for i, row in enumerate(found):
        actions[: len(row), i] = row

    def step(carry, action):
        state, t = carry
        state, outcome = jax.vmap(env.transition, in_axes=(0, None, 0))(state, t, action)
        return (state, t + 1), (outcome.success, outcome.terminated | outcome.truncated)

    @jax.jit
    def play(levels, actions):
        start = jax.vmap(env.begin)(levels), jnp.int32(0)
        return jax.lax.scan(step, start, actions)[1]

    success, over = (np.asarray(rows) for rows in play(levels, actions))
    rows = np.arange(len(found))
    first = np.where(over.any(axis=0), over.argmax(axis=0), -1)
    return success[length - 1, rows] & (first == length - 1)


def assert_solved(name: str, number: int) -> dict[str, Any]:
    """How the levels were solved, for the table of results."""
    task = get_task(name)
    drawn = farama.ours(task, number)
    levels = without_obstacles(task, drawn)
    found = solutions(task, levels)
    unknown = [i for i, actions in enumerate(found) if actions is None]
    assert not unknown, f"no solution known of {len(unknown)}, such as level {unknown[0]}"
    lost = np.flatnonzero(~won(task, levels, found))
    assert not lost.size, f"{lost.size} solutions fail, such as level {lost[0]}'s of {len(found[lost[0]])} actions"
    fields = [np.asarray(leaf).astype(np.uint8).reshape(number, -1) for leaf in jax.tree.leaves(drawn)]
    return dict(
        levels=number, distinct=len(np.unique(np.concatenate(fields, axis=1), axis=0)), solved=number,
        longest=max(map(len, found)), limit=task.max_steps,
        plays_with_obstacles=assert_won_by_the_teacher(task, drawn) if task.before_step else None,
    )  # fmt: skip


def assert_won_by_the_teacher(task: Task, levels: Layout) -> int:
    """How often the task's teacher has to play the levels until it has ended each of them well."""
    env, table = make_env(task), file.to_table(task, file.shipped(task))
    policy = playing.teacher_policy(task, table)
    start = jax.jit(jax.vmap(env.begin))(levels)
    play = jax.jit(lambda key: playing.play(env, policy, (), key, start).success)
    done = np.zeros(len(levels.cells), bool)
    for number in range(1, TRIES + 1):
        done |= np.asarray(play(jax.random.key(number)))
        if done.all():
            return number
    raise AssertionError(f"{(~done).sum()} levels are not solved, such as level {np.flatnonzero(~done)[0]}")


@pytest.mark.parametrize("name", ["ObstructedMaze-1Dlhb", "PutNear-6x6-N2"])
def test_levels_can_be_solved(name: str) -> None:
    assert_solved(name, 200)


@pytest.mark.slow
@pytest.mark.parametrize("name", IDS)
def test_a_thousand_levels_can_be_solved(name: str) -> None:
    with row_of("solved", name, ("envs",)) as row:
        row.update(family=get_task(name).family, **assert_solved(name, NUMBER))


def test_a_level_whose_key_is_lost_cannot_be_solved() -> None:
    task = get_task("ObstructedMaze-1Dlhb")
    levels = jax.tree.map(lambda leaf: leaf[:20], farama.ours(task, 200))
    assert solutions(task, levels._replace(contents=None)) == [None] * 20


def test_a_solution_that_does_not_fit_is_noticed() -> None:
    task = get_task("PutNear-6x6-N2")
    levels = jax.tree.map(lambda leaf: leaf[:20], farama.ours(task, 200))
    found = solutions(task, levels)
    assert won(task, levels, found).all()
    assert not won(task, levels, [actions[:-1] for actions in found]).any()
