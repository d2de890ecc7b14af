"""Exact shortest paths over position and direction on bitboards, for a batch of maps in one loop.

Device module. The breadth-first search runs backwards from the poses that have a target directly ahead. One iteration
moves the frontier of every map by one action. The plain reference is `skills.paths.reference_paths`.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import DIR_X, DIR_Y
from l4t_jax.kernels import Kernels, apart, bits, triton

FAR = 10_000  # the distance of a target that cannot be reached

# Maps per chunk on a CPU, by the bits of a word. The loop's data then fits the L1 cache
# (10 x 10 maps, two targets each, one core: 0.15 µs per map at 128, 0.32 at 512, 1.4 at 2048).
CHUNK = {8: 128, 16: 128, 32: 64}
UNROLLED = 2  # actions per iteration, because every iteration has a fixed cost of a few microseconds


def facing(targets: jax.Array) -> jax.Array:
    """The poses with a target directly ahead: bits `[W, *B]` -> `[4, W, *B]`, one plane per direction."""
    return jnp.stack([bits.shift(targets, -DIR_X[d], -DIR_Y[d]) for d in range(4)])


def shortest_paths(
    passable: jax.Array, targets: jax.Array, agent: jax.Array, height: int, kernel: Kernels
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Shortest paths from the agent's pose to any pose with a target directly ahead.

    Args:
        passable: bits `[W, *B]` of the cells that the agent can walk on; its own cell need not be set.
        targets: bits `[W, *B]`.
        agent: `int32[3, *B]` x, y, direction.
        height: of the map.
        kernel: how it is computed.

    Returns:
        Distance `int32[*B]` (`FAR` where there is no path), and whether a shortest path starts with left, right or
        forward, `bool[*B]` each.
    """
    batch = passable.shape[1:]
    flat = [leaf.reshape(leaf.shape[0], -1) for leaf in (passable, targets, agent)]
    if kernel.wide:
        flat[:2] = (leaf.astype(jnp.uint32) for leaf in flat[:2])
    if kernel.apart:
        own, plain = (functools.partial(form.shortest_paths, height=height, far=FAR) for form in (triton, apart))
        found = triton.on_cuda(kernel, own, plain, *flat)
    else:
        chunk = CHUNK[jnp.iinfo(passable.dtype).bits]
        found = kernel.in_parts(lambda one: _search(one[0], one[1], one[2], height), chunk, flat, axis=1)
    distance, left, right, forward = (leaf.reshape(batch) for leaf in found)
    return distance, left, right, forward


def _search(passable: jax.Array, targets: jax.Array, agent: jax.Array, height: int) -> tuple[jax.Array, ...]:
    """`shortest_paths` with a single batch axis."""
    width, batch = passable.shape
    x, y, d = agent[0], agent[1], agent[2]
    here = bits.cell(x, y, width, height)
    open_cells = passable | here
    none = jnp.zeros((), passable.dtype)
    pose = jnp.stack([jnp.where(d == k, here, none) for k in range(4)])  # the agent's pose: one bit per map

    def any_pose(poses: jax.Array) -> jax.Array:
        """Whether a set `[4, W, B]` holds any pose, `bool[B]`."""
        return jax.lax.reduce(poses, none, jax.lax.bitwise_or, (0, 1)) != 0

    def grow(reached: jax.Array) -> jax.Array:
        """`reached`, and all poses from which one action leads into it."""
        turns = [reached[1] | reached[3], reached[0] | reached[2]] * 2
        steps = [bits.shift(reached[d], -DIR_X[d], -DIR_Y[d]) for d in range(4)]
        return jnp.stack([reached[d] | ((turns[d] | steps[d]) & open_cells) for d in range(4)])

    # The set of a map stops growing one step before it would contain the agent's pose. In the end it holds the poses
    # that are nearer to the target, among them some next to the agent. So the loop tests one bit per map, and the
    # agent's neighbours are looked up once, after the loop.
    def step(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        before, _, distance = state
        reached = before
        for _ in range(UNROLLED):
            before, grown = reached, grow(reached)
            joins = any_pose(grown & pose)
            reached = jnp.where(joins, reached, grown)
            distance = jnp.where(joins, distance, distance + 1)
        return reached, jnp.any(any_pose(before ^ reached)), distance

    start = facing(targets) & open_cells
    ahead = any_pose(start & pose)
    with jax.named_scope(f"search_{UNROLLED}_steps_a_turn"):
        reached, _, distance = jax.lax.while_loop(
            lambda state: state[1], step, (start, jnp.bool_(True), jnp.ones(batch, jnp.int32))
        )
    found = any_pose(grow(reached) & pose)

    def starts(x: jax.Array, y: jax.Array, d: jax.Array) -> jax.Array:
        """Whether the pose after an action is nearer to the target, `bool[B]`."""
        column = (d & 3) * width + jnp.clip(x, 0, width - 1)
        word = jnp.take_along_axis(reached.reshape(4 * width, batch), column[None], axis=0)[0]
        return found & ~ahead & (x >= 0) & (x < width) & ((word & bits.one_bit(y, height)) != 0)

    return (
        jnp.where(ahead, 0, jnp.where(found, distance, FAR)),
        starts(x, y, d + 3),
        starts(x, y, d + 1),
        starts(x + jnp.asarray(DIR_X)[d], y + jnp.asarray(DIR_Y)[d], d),
    )
