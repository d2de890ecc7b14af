"""LLM4Teach's `explore` on bitboards. The plain reference is `skills.explore.explore_by_halves`.

Device module.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import DIR_X, DIR_Y, FORWARD, LEFT, RIGHT
from l4t_jax.kernels import Kernels, bits, select


def explore_by_halves(
    solid: jax.Array, unseen: jax.Array, thing: jax.Array, agent: jax.Array, view: int, satisfied: int, kernel: Kernels
) -> jax.Array:
    """Moves towards unseen cells within the bounds of the room, one half-plane after another.

    Args:
        solid, unseen, thing: `bool[W, H, *B]` walls and doors; unseen cells; keys, balls and boxes.
        agent: `int32[3, *B]` x, y, direction.
        view: width of the agent's view; the agent sees h = view // 2 cells to each side.
        satisfied: the result where no unseen cell is left.
        kernel: how it is computed.

    Returns:
        `int32[*B]` left, right, forward or `satisfied`.
    """
    width, height = solid.shape[:2]
    h = view // 2
    solid, unseen, thing = (bits.pack(mask, kernel) for mask in (solid, unseen, thing))
    x, y, d = agent

    # Bounds of the room: the first two solid cells, in scan order, that are one below the other / side by side.
    word = solid.dtype
    none = jnp.zeros((), word)
    inner = jnp.asarray(((1 << height) - 1) & ~1 & ~(1 << (height - 1)), word)  # 1 <= y <= H - 2
    column = jnp.arange(width).reshape(width, *([1] * x.ndim))
    inner_column = (column >= 1) & (column <= width - 2)
    below = jnp.where(inner_column, solid & (solid >> 1) & inner, none)
    beside = jnp.where(inner_column, solid & bits.shift(solid, -1, 0) & inner, none)
    bound_x = jnp.min(jnp.where(below != 0, column + 1, width), axis=0)
    first_beside = bits.first_cell(beside, height)
    bound_y = jnp.where(first_beside < width * height, first_beside % height + 1, height)

    rows_in = jnp.asarray((1 << height) - 1, word) >> jnp.clip(height - bound_y, 0, height).astype(word)
    unseen = jnp.where(column < bound_x, unseen & rows_in, none)
    far_x = jnp.max(jnp.where(unseen != 0, column, -1), axis=0)  # the furthest unseen cell in each direction
    near_x = jnp.min(jnp.where(unseen != 0, column, width + 99), axis=0)
    rows = jax.lax.reduce(unseen, none, jax.lax.bitwise_or, (0,))
    far_y = jnp.iinfo(word).bits - 1 - jax.lax.clz(rows).astype(jnp.int32)  # -1 where none
    near_y = jnp.where(rows == 0, height + 99, bits.lowest_bit(rows))

    def reach(direction: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        """Distance from (x, y) to the furthest unseen cell in a direction; negative or small if there is none."""
        return select([direction == 0, direction == 1, direction == 2], [far_x - x, far_y - y, x - near_x], y - near_y)

    dirs_x, dirs_y = jnp.asarray(DIR_X), jnp.asarray(DIR_Y)
    ahead_x, ahead_y = x + dirs_x[d], y + dirs_y[d]
    left, right, back = (d + 3) & 3, (d + 1) & 3, (d + 2) & 3
    left_x, left_y = x + dirs_x[left], y + dirs_y[left]
    blocked_ahead = bits.at(thing, ahead_x, ahead_y, height, kernel)
    blocked_left = bits.at(thing | solid, left_x, left_y, height, kernel)
    return select(
        [
            blocked_ahead & ~blocked_left,
            blocked_ahead,
            reach(d, x, y) > h,
            reach(left, x, y) > h,
            reach(right, x, y) > h,
            reach(back, ahead_x, ahead_y) > h,
        ],
        [LEFT, RIGHT, FORWARD, LEFT, RIGHT, LEFT],
        satisfied,
    ).astype(jnp.int32)
