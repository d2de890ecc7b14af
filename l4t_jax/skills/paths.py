"""Shortest paths over position and direction: what the skills that walk ask for.

Device module: pure, jittable. Each turn or step forward costs 1; a path ends where a target is directly ahead. Source:
LLM4Teach's `go_to`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.envs.cells import DIR_X, DIR_Y, DONE, FORWARD, LEFT, RIGHT
from l4t_jax.kernels import Kernels, bits, search, select
from l4t_jax.kernels.search import FAR


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

    @property
    def found(self) -> jax.Array:
        """Whether there is a path, `bool[*B]`."""
        return self.distance < FAR

    def first_action(self, ahead: int) -> jax.Array:
        """The first action of a shortest path: forward before left before right.

        Args:
            ahead: what to answer where a target is directly ahead.

        Returns:
            `int32[*B]`; `DONE` where there is no path.
        """
        return select(
            [self.distance == 0, self.forward, self.left, self.right], [ahead, FORWARD, LEFT, RIGHT], DONE
        ).astype(jnp.int32)


def shortest_paths(
    passable: Sequence[jax.Array], targets: Sequence[jax.Array], agent: jax.Array, kernel: Kernels,
    pack: Callable[[jax.Array], jax.Array] | None = None,
) -> Path:  # fmt: skip
    """Shortest paths from each agent's pose to any pose with a target directly ahead, for several searches at once.

    Args:
        passable: of each search `bool[W, H, *B]` cells that may be walked on; the agent's own need not be among them.
        targets: of each search `bool[W, H, *B]`.
        agent: `int32[3, *B]` x, y, direction.
        kernel: how it is computed.
        pack: gives a mask's bits; `bits.pack` by default.

    Returns:
        With a leading axis of searches.
    """
    agents = jnp.broadcast_to(agent[:, None], (3, len(targets), *agent.shape[1:]))
    if kernel.reference:
        return reference_paths(jnp.stack(passable, axis=2), jnp.stack(targets, axis=2), agents)

    def packed_bits(mask: jax.Array) -> jax.Array:
        return cast(jax.Array, bits.pack(mask, kernel)) if pack is None else pack(mask)

    packed = {id(mask): packed_bits(mask) for mask in (*passable, *targets)}  # each mask once
    walkable, wanted = (jnp.stack([packed[id(mask)] for mask in masks], axis=1) for masks in (passable, targets))
    return Path(*search.shortest_paths(walkable, wanted, agents, targets[0].shape[1], kernel))


def _moved(cells: jax.Array, dx: int, dy: int) -> jax.Array:
    """A mask `[W, H, *B]` moved by (dx, dy), each -1, 0 or 1; what leaves the map is lost."""
    width, height = cells.shape[:2]
    padded = jnp.pad(cells, [(1, 1), (1, 1)] + [(0, 0)] * (cells.ndim - 2))
    return padded[1 - dx : 1 - dx + width, 1 - dy : 1 - dy + height]


def reference_paths(passable: jax.Array, targets: jax.Array, agent: jax.Array) -> Path:
    """`shortest_paths`, step by step on one mask a direction."""
    width, height = passable.shape[:2]
    x, y, d = agent
    batch = (1,) * x.ndim
    here = (jnp.arange(width).reshape(-1, 1, *batch) == x) & (jnp.arange(height).reshape(1, -1, *batch) == y)
    walkable = passable | here

    def grown(near: jax.Array) -> jax.Array:
        """Poses `[4, W, H, *B]` from which one action leads to a pose of `near`, and `near`."""
        one = [near[k] | near[k - 1] | near[(k + 1) % 4] | _moved(near[k], -DIR_X[k], -DIR_Y[k]) for k in range(4)]
        return jnp.stack(one) & walkable

    def is_at(poses: jax.Array, x: jax.Array, y: jax.Array, d: jax.Array) -> jax.Array:
        """Whether the pose (x, y, d) of each map is in the set, `bool[*B]`."""
        at = (jnp.arange(width).reshape(-1, 1, *batch) == x) & (jnp.arange(height).reshape(1, -1, *batch) == y)
        facing = jnp.arange(4).reshape(-1, 1, 1, *batch) == d
        return jnp.any(poses & at & facing, axis=(0, 1, 2))

    ahead_x, ahead_y = x + jnp.asarray(DIR_X)[d], y + jnp.asarray(DIR_Y)[d]
    next_poses = ((x, y, (d + 3) & 3), (x, y, (d + 1) & 3), (ahead_x, ahead_y, d))

    def step(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        near, distance, starts, t, _ = state
        leads = jnp.stack([is_at(near, *pose) for pose in next_poses])
        reached = is_at(grown(near), x, y, d) & (distance == FAR)
        starts = jnp.where(reached, leads, starts)
        distance = jnp.where(reached, t, distance)
        after = grown(near)
        return after, distance, starts, t + 1, jnp.any(after != near)

    start = jnp.stack([_moved(targets, -DIR_X[k], -DIR_Y[k]) for k in range(4)]) & walkable
    distance = jnp.where(is_at(start, x, y, d), 0, FAR).astype(jnp.int32)
    state = (start, distance, jnp.zeros((3, *x.shape), bool), jnp.int32(1), jnp.bool_(True))
    _, distance, starts, _, _ = jax.lax.while_loop(lambda state: state[-1], step, state)
    return Path(distance, *starts)
