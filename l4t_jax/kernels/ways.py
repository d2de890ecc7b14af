"""The first step of the shortest ways over cells on bitboards, for a batch of maps and several targets in one loop.

Device module. The plain reference is `agents.students.ways.reference_ways`. A breadth-first search runs backwards
from the targets; one iteration moves the frontier of every map by one cell. Turns cost nothing, so a set of cells
does where `kernels.search`, which counts them, needs one for each direction.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import DIR_X, DIR_Y
from l4t_jax.kernels import Kernels, apart, bits, triton

UNROLLED = 3  # steps per iteration, because every iteration has a fixed cost of a few microseconds


def ways(
    passable: jax.Array, targets: jax.Array, agent: jax.Array, height: int, kernel: Kernels
) -> tuple[jax.Array, jax.Array]:
    """Shortest ways from the agent's cell to the nearest cell of each of P targets.

    Args:
        passable: bits `[W, B]` of the cells that a way may cross; its last cell, the target, need not be among them.
        targets: bits `[W, P, B]`; the agent's own cell must not be set.
        agent: `int32[3, B]` x, y, direction.
        height: of the map.
        kernel: how it is computed.

    Returns:
        Steps until the agent stands on a target, `int32[P, B]`, 0 where there is no way; and whether a shortest way
        starts with a step right, down, left or up, `bool[4, P, B]`.
    """
    if kernel.wide:
        passable, targets = passable.astype(jnp.uint32), targets.astype(jnp.uint32)
    if kernel.apart:
        plain = functools.partial(apart.ways, height=height, long=kernel.wide)
        own = functools.partial(triton.ways, height=height)
        return triton.on_cuda(kernel, own, plain, passable, targets, agent)
    width, number, batch = targets.shape
    x, y = agent[0], agent[1]
    here = bits.cell(x, y, width, height)
    open_cells, here = (passable | here)[:, None], here[:, None]

    def grow(reached: jax.Array) -> jax.Array:
        """`reached`, and the open cells beside it."""
        beside = bits.shift(reached, 1, 0) | bits.shift(reached, -1, 0) | reached << 1 | reached >> 1
        return kernel.once(reached | (beside & open_cells))

    # As in `kernels.search`: the set of a map stops growing one step before it would hold the agent's cell. Here
    # `any_bit` is faster than `lax.reduce` (20 x 20 maps, four targets, 128 at a time: 0.8 µs a map, and 14).
    def step(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        before, _, distance = state
        reached = before
        for _ in range(UNROLLED):
            before, grown = reached, grow(reached)
            joins = bits.any_bit(grown & here)
            reached = jnp.where(joins, reached, grown)
            distance = jnp.where(joins, distance, distance + 1)
        return reached, jnp.any(before != reached), distance

    start = (targets, jnp.bool_(True), jnp.ones((number, batch), jnp.int32))
    with jax.named_scope(f"search_{UNROLLED}_steps_a_turn"):
        reached, _, distance = jax.lax.while_loop(lambda state: state[1], step, start)
    found = bits.any_bit(grow(reached) & here)

    def starts(dx: int, dy: int) -> jax.Array:
        """Whether the cell beside the agent's is nearer to the target, `bool[P, B]`."""
        return bits.any_bit(reached & bits.cell(x + dx, y + dy, width, height)[:, None])

    first = jnp.stack([starts(DIR_X[k], DIR_Y[k]) for k in range(4)])
    return jnp.where(found, distance, 0), first & found
