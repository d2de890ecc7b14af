"""Visibility with one word per line of the map. The plain reference is `envs.visibility.visible`.

Device module without imports from `l4t_jax`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def lit_rows(clear: list[jax.Array], view: int) -> list[jax.Array]:
    """MiniGrid's `Grid.process_vis` with one word per row of the window.

    In MiniGrid, light passes along a row to the right, then to the left, through transparent cells, and from each of
    them to the three cells above. The result does not depend on which side is called right.

    Args:
        clear: `view` words `uint32[...]`, the agent's own row first. Bit i is set if cell i of the row is transparent:
            on the map, no wall, no closed door. The agent is at bit `view // 2`.
        view: width of the window.

    Returns:
        The visible cells, in the same form.
    """
    full = jnp.uint32((1 << view) - 1)
    lit = jnp.full_like(clear[0], 1 << view // 2)
    rows = []
    for ahead, row in enumerate(clear):
        for _ in range(view - 1 if ahead else view // 2):
            through = lit & row
            lit = (lit | through << 1 | through >> 1) & full
        rows.append(lit)
        through = lit & row
        lit = (through | through << 1 | through >> 1) & full
    return rows


def lit_window(clear: jax.Array) -> jax.Array:
    """`lit_rows` on masks: transparent cells `bool[view, view]`, the agent's own row first -> cells that are seen."""
    view = len(clear)
    place = jnp.arange(view, dtype=jnp.uint32)
    words = jnp.sum(jnp.where(clear, jnp.left_shift(jnp.uint32(1), place), 0), axis=1, dtype=jnp.uint32)
    lit = jnp.stack(lit_rows([words[row] for row in range(view)], view))
    return lit[:, None] >> place & 1 == 1


def visible(clear: jax.Array, agent: jax.Array, view: int) -> jax.Array:
    """The cells that the agent sees now; see `envs.visibility.visible`.

    The map is packed into words, one per line: columns if the agent looks along x, otherwise rows. A row of the window
    is then a shift of one word. A gather of its cells took eight times as long.

    Args:
        clear: `bool[W, H]` transparent cells; W and H are at most 32.
        agent: `int8[3]` x, y, direction.
        view: width of the window, odd.

    Returns:
        `bool[W, H]`.
    """
    width, height = clear.shape
    half, span = view // 2, max(width, height)
    x, y, d = (agent[i].astype(jnp.int32) for i in range(3))
    along_x = d % 2 == 0
    along, across = jnp.where(along_x, x, y), jnp.where(along_x, y, x)

    bit = jnp.left_shift(jnp.uint32(1), jnp.arange(span, dtype=jnp.uint32))
    rows = jax.lax.optimization_barrier(jnp.sum(jnp.where(clear, bit[:width, None], 0), axis=0, dtype=jnp.uint32))
    columns = jnp.zeros(width, jnp.uint32)
    for row in range(height):  # from words to words: a sum along the last axis of the map takes three times as long
        columns = columns | (rows[row] >> jnp.arange(width, dtype=jnp.uint32) & 1) << row
    lines = jnp.where(along_x, jnp.pad(columns, (0, span - width)), jnp.pad(rows, (0, span - height)))
    # The barriers here and below keep XLA from computing the same words again for every reader.
    lines = jax.lax.optimization_barrier(lines)

    # The window's bit i is the line's bit i + across - half.
    right = jnp.maximum(across - half, 0).astype(jnp.uint32)
    left = jnp.maximum(half - across, 0).astype(jnp.uint32)
    ahead = jnp.where(d < 2, 1, -1) * (jnp.arange(span) - along)  # the window's row of each line
    is_row = ahead[None, :] == jnp.arange(view)[:, None]
    window = jnp.sum(jnp.where(is_row, (lines >> right << left)[None, :], 0), axis=1, dtype=jnp.uint32)
    lit = jax.lax.optimization_barrier(lit_rows([window[a] for a in range(view)], view))
    seen = jnp.zeros(span, jnp.uint32)
    for a in range(view):
        seen = jnp.where(is_row[a], lit[a], seen)
    seen = seen >> left << right

    line = jnp.where(along_x, seen[:width, None], seen[None, :height])  # the word of each cell
    return line & jnp.where(along_x, bit[None, :height], bit[:width, None]) != 0
