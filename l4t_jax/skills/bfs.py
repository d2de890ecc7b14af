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


CHUNK = 2048  # maps searched at a time on a CPU, so that their bits stay in its cache: 16 thousand took twice as long


def facing(targets: jax.Array) -> jax.Array:
    """The poses with a target directly ahead: bits `[W, *B]` -> `[4, W, *B]`, a plane a direction."""
    return jnp.stack([bits.shift(targets, -DIR_X[d], -DIR_Y[d]) for d in range(4)])


def shortest_path(passable: jax.Array, targets: jax.Array, agent: jax.Array, height: int) -> Path:
    """Shortest paths from the agent's pose to any pose with a target directly ahead.

    Args:
        passable: bits `[W, *B]` of the cells that may be walked on; the agent's own cell need not be among them.
        targets: bits `[W, *B]`.
        agent: `int32[3, *B]` x, y, direction.
        height: of the map.
    """
    batch = passable.shape[1:]
    flat = [leaf.reshape(leaf.shape[0], -1) for leaf in (passable, targets, agent)]
    size = flat[0].shape[1]
    chunks = -(-size // CHUNK)
    if chunks == 1 or jax.default_backend() != "cpu":
        path = _search(flat[0], flat[1], flat[2], height)
    else:
        # Repeat the last maps to fill the last chunk.
        index = jnp.minimum(jnp.arange(chunks * CHUNK), size - 1)
        cut = [leaf[:, index].reshape(leaf.shape[0], chunks, CHUNK).swapaxes(0, 1) for leaf in flat]
        path = jax.lax.map(lambda one: _search(one[0], one[1], one[2], height), tuple(cut))
        path = jax.tree.map(lambda leaf: leaf.reshape(-1)[:size], path)
    return jax.tree.map(lambda leaf: leaf.reshape(batch), path)


def _search(passable: jax.Array, targets: jax.Array, agent: jax.Array, height: int) -> Path:
    """`shortest_path` with a single batch axis."""
    width, batch = passable.shape
    x, y, d = agent[0], agent[1], agent[2]
    open_cells = passable | bits.cell(x, y, width, height)
    dx, dy = jnp.asarray(DIR_X)[d], jnp.asarray(DIR_Y)[d]

    def has(reached: jax.Array, x: jax.Array, y: jax.Array, d: jax.Array) -> jax.Array:
        """Whether a pose is in the set, `bool[B]`."""
        column = (d & 3) * width + jnp.clip(x, 0, width - 1)
        word = jnp.take_along_axis(reached.reshape(4 * width, batch), column[None], axis=0)[0]
        return (x >= 0) & (x < width) & ((word & bits.one_bit(y, height)) != 0)

    def grow(reached: jax.Array) -> jax.Array:
        """All poses from which one action leads into `reached`, and `reached`."""
        turns = [reached[(d + 1) % 4] | reached[(d + 3) % 4] for d in range(4)]
        steps = [bits.shift(reached[d], -DIR_X[d], -DIR_Y[d]) for d in range(4)]
        return jnp.stack([reached[d] | ((turns[d] | steps[d]) & open_cells) for d in range(4)])

    # (set of poses, whether it grew, distance, first actions): a map's answer is written at the step at which the
    # agent's pose joins the set; the poses then in it are nearer by one.
    def unfinished(state: tuple[jax.Array, ...]) -> jax.Array:
        return state[1] & jnp.any(state[2] == FAR)

    def step(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        reached, _, distance, first, count = state
        grown = grow(reached)
        now = (distance == FAR) & has(grown, x, y, d)
        first = jnp.where(
            now,
            has(reached, x, y, d + 3) * 1 + has(reached, x, y, d + 1) * 2 + has(reached, x + dx, y + dy, d) * 4,
            first,
        )
        distance = jnp.where(now, count, distance)
        return grown, jnp.any(grown != reached), distance, first, count + 1

    reached = facing(targets) & open_cells
    distance = jnp.where(has(reached, x, y, d), 0, FAR)
    start = (reached, jnp.bool_(True), distance, jnp.zeros(batch, jnp.int32), jnp.int32(1))
    _, _, distance, first, _ = jax.lax.while_loop(unfinished, step, start)
    return Path(distance=distance, left=first & 1 != 0, right=first & 2 != 0, forward=first & 4 != 0)
