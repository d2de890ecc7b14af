"""Exact shortest paths over position and direction, for a whole batch of maps in one loop.

Device module: pure, jittable. A breadth-first search backwards from the poses that have a target directly ahead, on
maps packed as bits (`skills.bits`): one step of the loop moves the frontier of every map of the batch by one action.
Each turn or step forward costs 1. Source: LLM4Teach's `go_to`, REFERENCE facts, section Teacher, item 3.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.skills import bits
from l4t_jax.types import DIR_X, DIR_Y

FAR = 10_000  # the distance of what cannot be reached


class Path(struct.PyTreeNode):
    """What a search found.

    Attributes:
        distance: `int32[*B]` actions until a target is directly ahead; 0 where one is, `FAR` where there is no path.
        left, right, forward: `bool[*B]` whether a shortest path starts with this action; none at distance 0 or `FAR`.
    """

    distance: jax.Array
    left: jax.Array
    right: jax.Array
    forward: jax.Array


def facing(targets: jax.Array) -> jax.Array:
    """The poses with a target directly ahead: bits `uint32[W, *B]` -> `uint32[4, W, *B]`, a plane a direction."""
    return jnp.stack([bits.shift(targets, -DIR_X[d], -DIR_Y[d]) for d in range(4)])


def shortest_path(passable: jax.Array, targets: jax.Array, agent: jax.Array) -> Path:
    """Shortest paths from the agent's pose to any pose with a target directly ahead.

    Args:
        passable: bits `uint32[W, *B]` of the cells that may be walked on; the agent's own cell need not be among them.
        targets: bits `uint32[W, *B]`.
        agent: `int32[3, *B]` x, y, direction.
    """
    width, batch = passable.shape[0], passable.shape[1:]
    x, y, d = agent[0], agent[1], agent[2]
    own = bits.cell(x, y, width, 32)
    open_cells = passable | own

    def pose(x: jax.Array, y: jax.Array, d: jax.Array) -> jax.Array:
        """One pose as `uint32[4, W, *B]`."""
        planes = jnp.arange(4).reshape(4, 1, *([1] * len(batch)))
        return jnp.where(planes == (d & 3), bits.cell(x, y, width, 32), jnp.uint32(0))

    def holds(poses: jax.Array, which: jax.Array) -> jax.Array:
        return jnp.any((poses & which) != 0, axis=(0, 1))

    start = pose(x, y, d)
    reached = facing(targets) & open_cells
    there = holds(reached, start)

    def grow(reached: jax.Array) -> jax.Array:
        """All poses from which one action leads into `reached`, and `reached`."""
        before_turn = jnp.roll(reached, 1, axis=0) | jnp.roll(reached, -1, axis=0)
        before_step = jnp.stack([bits.shift(reached[d], -DIR_X[d], -DIR_Y[d]) for d in range(4)])
        return reached | ((before_turn | before_step) & open_cells)

    # Each map's set is frozen at the step before the agent's pose joins it: what it then holds is nearer by one.
    def unfinished(carry: tuple[jax.Array, ...]) -> jax.Array:
        return jnp.any(carry[1])

    def step(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        reached, searching, distance = carry
        grown = grow(reached)
        arrived = holds(grown, start)
        stuck = jnp.all(grown == reached, axis=(0, 1))
        distance = jnp.where(searching, jnp.where(arrived, distance + 1, jnp.where(stuck, FAR, distance + 1)), distance)
        searching = searching & ~arrived & ~stuck
        return jnp.where(searching, grown, reached), searching, distance

    reached, _, distance = jax.lax.while_loop(unfinished, step, (reached, ~there, jnp.zeros(batch, jnp.int32)))
    found = (distance > 0) & (distance < FAR)
    dx, dy = jnp.asarray(DIR_X)[d], jnp.asarray(DIR_Y)[d]
    return Path(
        distance=distance,
        left=found & holds(reached, pose(x, y, d + 3)),
        right=found & holds(reached, pose(x, y, d + 1)),
        forward=found & holds(reached, pose(x + dx, y + dy, d)),
    )
