"""MiniGrid's Dynamic-Obstacles: a bare room with balls that move one cell before each step.

A ball that moves later sees the earlier ones where they are by then, so their order is part of the level: bit i of
`targets` marks obstacle i, as many as eight.

Device module. Source: Farama `minigrid/envs/dynamicobstacles.py`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import BALL, BLUE, EMPTY, EMPTY_CODE, FORWARD, GOAL, GOAL_CODE, LEFT, code, kind_of
from l4t_jax.envs.layout import between, interior, pose, put, walled
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.roles import GOAL_SKILLS, GOALS
from l4t_jax.envs.scatter import distinct_cells, marks, paint
from l4t_jax.envs.state import Layout, State, Transition
from l4t_jax.envs.success import goal_reached
from l4t_jax.envs.task import Task

OBSTACLE = code(BALL, BLUE)
TRIES = 101  # MiniGrid's place_obj gives up after max_tries + 1


def dynamic_obstacles(size: int, obstacles: int, anywhere: bool, key: jax.Array) -> Layout:
    """Obstacles on free cells; the agent in the corner opposite to the goal or, with `anywhere`, on a free cell too."""
    words = jax.random.bits(key, (1 + size**2,), jnp.uint32)
    side = jnp.int32(size)
    cells = put(walled(size, side, side), side - 2, side - 2, GOAL_CODE)
    x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    allowed = interior(size, side, side) & (kind_of(cells) == EMPTY)
    if anywhere:
        x, y = distinct_cells(words[1:], allowed, obstacles + 1)
        agent = pose(x[-1], y[-1], between(words[0], 0, 4))
        x, y = x[:-1], y[:-1]
    else:
        x, y = distinct_cells(words[1:], allowed & ((x > 1) | (y > 1)), obstacles)
        agent = jnp.array([1, 1, 0], jnp.int8)
    return Layout(
        paint(cells, x, y, jnp.full(obstacles, OBSTACLE, jnp.uint8)),
        agent,
        targets=marks((size, size), x, y, 1 << jnp.arange(obstacles)),
    )


def places(obstacles: int, state: State) -> jax.Array:
    """Where obstacle 0, 1, ... is: `int32[obstacles, 2]` x and y."""
    assert state.targets is not None
    bits = state.targets.reshape(-1) >> jnp.arange(obstacles, dtype=jnp.uint8)[:, None] & 1  # (obstacles, W * H)
    return jnp.stack(jnp.divmod(jnp.argmax(bits, axis=1), state.targets.shape[1]), axis=-1).astype(jnp.int32)


def moved_to(state: State, to: jax.Array) -> State:
    """The state with obstacle 0, 1, ... at `to`, `int32[obstacles, 2]` x and y; all different, and free or an
    obstacle's before. With MiniGrid's own draws for `to` this replays its step.
    """
    assert state.targets is not None
    shape = state.targets.shape
    targets = marks(shape, to[:, 0], to[:, 1], 1 << jnp.arange(len(to)))
    floor = jnp.where(state.targets > 0, jnp.uint8(EMPTY_CODE), state.cells)
    return state.replace(cells=jnp.where(targets > 0, jnp.uint8(OBSTACLE), floor), targets=targets)


def moves(key: jax.Array, obstacles: int, state: State) -> jax.Array:
    """Where each obstacle goes, `int32[obstacles, 2]`: one after the other to a free cell of the eight around it.

    MiniGrid tries cells of the 3 x 3 around the obstacle, its own among them, until one is free or 101 tries have
    failed; then it stays. So it moves to a uniform one of the free cells, and stays where there is none, or where
    there is one and it was never tried, (8 / 9)^101 (with two, (7 / 9)^101 is below the generator's 2^-32).
    """
    assert state.targets is not None
    around = jnp.stack(jnp.meshgrid(jnp.arange(-1, 2), jnp.arange(-1, 2), indexing="ij"), axis=-1).reshape(9, 2)
    at = places(obstacles, state)
    near = at[:, None] + around  # (obstacles, 9, 2)
    is_agent = jnp.all(near == state.agent[:2], axis=-1)
    # Balls block by where they are by then; everything else blocks alike for all.
    still = jnp.where(state.targets > 0, jnp.uint8(EMPTY_CODE), state.cells)
    allowed = (kind_of(still[near[..., 0], near[..., 1]]) == EMPTY) & ~is_agent
    words = jax.random.bits(key, (obstacles, 2), jnp.uint32)
    for i in range(obstacles):
        taken = jnp.any(jnp.all(near[i][:, None] == at, axis=-1), axis=-1)
        count = jnp.cumsum(allowed[i] & ~taken)
        choice = jnp.argmax(count >= between(words[i, 0], 1, jnp.maximum(count[-1], 1) + 1))
        never_tried = (count[-1] == 1) & (words[i, 1] < jnp.uint32((8 / 9) ** TRIES * 2**32))
        at = at.at[i].set(jnp.where((count[-1] == 0) | never_tried, at[i], near[i, choice]))
    return at


def move_obstacles(obstacles: int, key: jax.Array, state: State) -> State:
    """What happens before the agent acts: all obstacles have moved."""
    return moved_to(state, moves(key, obstacles, state))


def collided(transition: Transition) -> jax.Array:
    """Forward, with a wall or an obstacle ahead before the obstacles moved: whether it has moved away or not."""
    kind = kind_of(transition.ahead)
    return (transition.action == FORWARD) & (kind != EMPTY) & (kind != GOAL)


for _name, _size, _obstacles, _anywhere in (
    ("5x5", 5, 2, False),
    ("Random-5x5", 5, 2, True),
    ("6x6", 6, 3, False),
    ("Random-6x6", 6, 3, True),
    ("8x8", 8, 4, False),
    ("16x16", 16, 8, False),
):
    register_task(
        Task(
            name=f"Dynamic-Obstacles-{_name}",
            family="Dynamic-Obstacles",
            minigrid_id=f"MiniGrid-Dynamic-Obstacles-{_name}-v0",
            width=_size,
            height=_size,
            max_steps=4 * _size**2,
            layout=partial(dynamic_obstacles, _size, _obstacles, _anywhere),
            success=goal_reached,
            failure=collided,
            penalty=-1.0,
            text="get to the green goal square",
            objects=(GOALS,),
            skills=GOAL_SKILLS,
            description="The agent must walk onto the goal and not into one of the balls, which move about.",
            teacher="find-goal.json",
            idle=LEFT,
            see_through=True,
            num_actions=3,
            before_step=partial(move_obstacles, _obstacles),
        )
    )
