"""What an agent sees now, and what it then knows: MiniGrid's view, and the memory map.

Device module: pure, jittable; written for one environment, `vmap` gives a batch. Source: Farama `minigrid/core/grid.py`
(`process_vis`) and `minigrid_env.py` (`gen_obs_grid`).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax import kernels
from l4t_jax.envs.cells import DIR_X, DIR_Y, DOOR_CLOSED, DOOR_LOCKED, EMPTY_CODE, WALL, kind_of, one_of
from l4t_jax.envs.state import MemoryMap, State
from l4t_jax.kernels import visibility


def view_coordinates(agent: jax.Array, view: int) -> tuple[jax.Array, jax.Array]:
    """The cells of the agent's window, `int32[view, view]` x and y each.

    Row a of the window is a cells ahead of the agent (0: its own row); column b is b - view // 2 cells to its right.

    Args:
        agent: `int8[3]` x, y, direction.
        view: width of the window, odd.
    """
    x, y, d = (agent[i].astype(jnp.int32) for i in range(3))
    dx, dy = jnp.asarray(DIR_X), jnp.asarray(DIR_Y)
    ahead, aside = jnp.arange(view)[:, None], jnp.arange(view)[None, :] - view // 2
    right = (d + 1) & 3
    return x + ahead * dx[d] + aside * dx[right], y + ahead * dy[d] + aside * dy[right]


def visible(clear: jax.Array, agent: jax.Array, view: int) -> jax.Array:
    """The cells that the agent sees now, cell by cell: the reference of `kernels.visibility.visible`.

    Light runs along a row of the window, both ways, through transparent cells, and from each of those to the three
    cells ahead of it.

    Args:
        clear: `bool[W, H]` transparent cells.
        agent: `int8[3]` x, y, direction.
        view: width of the window, odd.

    Returns:
        `bool[W, H]`.
    """
    width, height = clear.shape
    x, y = view_coordinates(agent, view)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    window = inside & clear[jnp.clip(x, 0, width - 1), jnp.clip(y, 0, height - 1)]
    lit = jnp.arange(view) == view // 2
    rows = []
    for row in window:
        for _ in range(view - 1):
            through = jnp.pad(lit & row, 1)
            lit = lit | through[:-2] | through[2:]
        rows.append(lit)
        through = jnp.pad(lit & row, 1)
        lit = through[:-2] | through[1:-1] | through[2:]
    seen = jnp.stack(rows) & inside
    return jnp.zeros((width, height), bool).at[x, y].max(seen, mode="drop")


def look(state: State, view: int, see_through: bool = False, kernel: kernels.Kernels = kernels.PORTABLE) -> State:
    """Adds what the agent sees now to what it has seen.

    Args:
        state: of one environment.
        view: width of the window, odd: the agent's own row and those ahead of it.
        see_through: walls and closed doors do not block the view.
        kernel: how it is computed.
    """
    blocks = one_of(kind_of(state.cells), WALL, DOOR_CLOSED, DOOR_LOCKED)
    clear = jnp.ones_like(blocks) if see_through else ~blocks
    find = visible if kernel.reference else visibility.visible
    now = find(clear, state.agent, view)
    if state.last_seen is not None:
        state = state.replace(last_seen=jnp.where(now, state.cells, state.last_seen))
    return state.replace(seen=state.seen | now)


def know(state: State) -> MemoryMap:
    """What the agent knows: the cells it has seen, and in its own cell what it carries.

    Cells show what they held when they were last seen. That is what they hold now, unless things move by themselves.
    """
    width, height = state.cells.shape
    here = (jnp.arange(width)[:, None] == state.agent[0]) & (jnp.arange(height)[None, :] == state.agent[1])
    own = jnp.where(state.carrying != 0, state.carrying, jnp.uint8(EMPTY_CODE))
    known = jnp.where(state.seen, state.cells, jnp.uint8(0)) if state.last_seen is None else state.last_seen
    cells = jnp.where(here, own, known)
    targets = None
    if state.targets is not None and state.last_seen is None:
        targets = jnp.where(state.seen, state.targets, jnp.uint8(0))
    return MemoryMap(
        cells=cells, agent=state.agent, carrying=state.carrying, pickup_position=state.pickup_position,
        mission=state.mission, targets=targets, carried_targets=state.carried_targets,
    )  # fmt: skip
