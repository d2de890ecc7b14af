"""Visibility with one word per row of the map. The plain reference is `envs.visibility.visible`.

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
    for row in clear:
        up = down = lit & row  # what lets light through, reached towards higher and lower bits
        run_up = run_down = row  # runs of `step` transparent cells end here
        step = 1
        while step < view - 1:  # twice as far each time
            up, down = up | run_up & up << step, down | run_down & down >> step
            run_up, run_down = run_up & run_up << step, run_down & run_down >> step
            step *= 2
        through = up | down
        rows.append((lit | through << 1 | through >> 1) & full)
        through = through & full
        lit = (through | through << 1 | through >> 1) & full
    return rows


def lit_window(clear: jax.Array) -> jax.Array:
    """`lit_rows` on masks: transparent cells `bool[view, view]`, the agent's own row first -> cells that are seen."""
    view = len(clear)
    place = jnp.arange(view, dtype=jnp.uint32)
    words = jnp.sum(jnp.where(clear, jnp.left_shift(jnp.uint32(1), place), 0), axis=1, dtype=jnp.uint32)
    lit = jnp.stack(lit_rows([words[row] for row in range(view)], view))
    return lit[:, None] >> place & 1 == 1


def _turned(rows: list[jax.Array]) -> list[jax.Array]:
    """Bit i of word a becomes bit a of word i: a square of bits is mirrored, half by half, quarter by quarter, ..."""
    size = 1 << (len(rows) - 1).bit_length()
    words = rows + [jnp.zeros_like(rows[0])] * (size - len(rows))
    half = size // 2
    while half:
        low = sum(((1 << half) - 1) << start for start in range(0, size, 2 * half))  # the lower half of every block
        for a in range(size):
            if not a & half:
                first, second = words[a], words[a + half]
                change = (first >> half ^ second) & low
                words[a], words[a + half] = first ^ change << half, second ^ change
        half //= 2
    return words[: len(rows)]


def visible(clear: jax.Array, agent: jax.Array, view: int) -> jax.Array:
    """The cells that the agent sees now; see `envs.visibility.visible`.

    The map is packed into words, one per row, from which the window's rows are cut out; the window is then turned until
    the agent looks along its rows' order. A gather of its cells took eight times as long.

    Args:
        clear: `bool[W, H]` transparent cells; W and H are at most 32.
        agent: `int8[3]` x, y, direction.
        view: width of the window, odd.

    Returns:
        `bool[W, H]`.
    """
    width, height = clear.shape
    x, y, d = (agent[i].astype(jnp.int32) for i in range(3))
    along_x, backwards = d % 2 == 0, d >= 2
    # The window's corner with the lowest x and y.
    half, behind = view // 2, jnp.where(backwards, view - 1, 0)
    x, y = x - jnp.where(along_x, behind, half), y - jnp.where(along_x, half, behind)
    right, left = jnp.maximum(x, 0).astype(jnp.uint32), jnp.maximum(-x, 0).astype(jnp.uint32)

    place = jnp.arange(width, dtype=jnp.uint32)[:, None]
    words = jnp.sum(jnp.where(clear, jnp.left_shift(jnp.uint32(1), place), 0), axis=0, dtype=jnp.uint32)
    # The barriers here and below keep XLA from computing the same words again for every reader.
    words = jax.lax.optimization_barrier(words)
    row = jnp.arange(height) - y  # the window's row of each of the map's
    is_row = row[None, :] == jnp.arange(view)[:, None]
    window = jnp.sum(jnp.where(is_row, words[None, :], 0), axis=1, dtype=jnp.uint32)
    rows = [window[a] >> right << left for a in range(view)]

    rows = [jnp.where(along_x, turned, one) for turned, one in zip(_turned(rows), rows, strict=True)]
    rows = [jnp.where(backwards, last, one) for last, one in zip(rows[::-1], rows, strict=True)]
    lit = lit_rows(rows, view)
    lit = [jnp.where(backwards, last, one) for last, one in zip(lit[::-1], lit, strict=True)]
    lit = [jnp.where(along_x, turned, one) for turned, one in zip(_turned(lit), lit, strict=True)]

    seen = jax.lax.optimization_barrier([one >> left << right for one in lit])
    words = jnp.zeros(height, jnp.uint32)
    for a in range(view):
        words = jnp.where(row == a, seen[a], words)
    return words[None, :] >> place & 1 != 0
