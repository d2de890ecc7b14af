"""Ways to the nearest of what the default student looks for, over the part of the map that it knows.

Device module. A way leads over known cells that can be walked on and through closed doors, which can be opened, but
over no lava. It ends on the cell that is looked for. Only steps count, not turns.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from l4t_jax.abstraction.scene import Mask, Scene
from l4t_jax.envs.cells import DIR_X, DIR_Y, DOOR_CLOSED, DOOR_OPEN, EMPTY, FLOOR, GOAL, one_of
from l4t_jax.kernels import select
from l4t_jax.kernels import ways as tuned

LONGER = (1, 2, 4, 8, 16)  # lengths of ways that are told apart: more than so many steps
BITS_OF_A_WAY = 4 + len(LONGER)


def ways(scene: Scene, targets: Sequence[Mask]) -> jax.Array:
    """The way to the nearest cell of each of P targets, as the agent sees it: `bool[BITS_OF_A_WAY, P, B]`.

    The first four bits say whether a shortest way starts with a step ahead, to the right, back, or to the left. The
    others say whether it has more than each of `LONGER` steps. All are False where there is no way.

    Args:
        scene: with a single batch axis.
        targets: `bool[W, H, B]` each; not the agent's own cell.
    """
    passable = one_of(scene.kinds, EMPTY, FLOOR, DOOR_OPEN, DOOR_CLOSED, GOAL)
    if scene.kernel.reference:
        steps, first = reference_ways(passable, jnp.stack(targets, axis=2), scene.agent)
    else:
        packed = jnp.stack([scene.packed(mask) for mask in targets], axis=1)
        steps, first = tuned.ways(scene.packed(passable), packed, scene.agent, scene.kinds.shape[1], scene.kernel)
    facing = [scene.agent[2] == k for k in range(4)]
    turned = [select(facing[:3], [first[(k + turn) % 4] for k in range(3)], first[(3 + turn) % 4]) for turn in range(4)]
    return jnp.stack([*turned, *(steps > longer for longer in LONGER)])


def reference_ways(passable: Mask, targets: Mask, agent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`kernels.ways.ways` from the distances of all cells: `bool[W, H, B]`, `bool[W, H, P, B]`, `int32[3, B]`."""
    width, height = passable.shape[:2]
    far = width * height
    here = (jnp.arange(width)[:, None, None] == agent[0]) & (jnp.arange(height)[None, :, None] == agent[1])
    walkable, here = (passable | here)[:, :, None], here[:, :, None]

    def beside(k: int, distance: jax.Array) -> jax.Array:
        """Of each cell the distance of its neighbour in direction k."""
        padded = jnp.pad(distance, [(1, 1), (1, 1), (0, 0), (0, 0)], constant_values=far)
        return padded[1 + DIR_X[k] :, 1 + DIR_Y[k] :][:width, :height]

    def relax(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        distance, _ = state
        nearest = functools.reduce(jnp.minimum, [beside(k, distance) for k in range(4)]) + 1
        after = jnp.where(walkable, jnp.minimum(distance, nearest), distance)
        return after, jnp.any(after != distance)

    start = (jnp.where(targets, 0, far), jnp.bool_(True))
    distance, _ = jax.lax.while_loop(lambda state: state[1], relax, start)
    own = jnp.sum(jnp.where(here, distance, 0), axis=(0, 1))
    first = [jnp.sum(jnp.where(here, beside(k, distance), 0), axis=(0, 1)) + 1 == own for k in range(4)]
    return jnp.where(own < far, own, 0), jnp.stack(first) & (own < far)
