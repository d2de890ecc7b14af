"""What an agent sees now, and what it then knows: MiniGrid's view (`see`), and the memory map (`look`, `know`).

Device module: pure, jittable; written for one environment, `vmap` gives a batch. Source: Farama `minigrid/core/grid.py`
(`process_vis`) and `minigrid_env.py` (`gen_obs_grid`).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax import kernels
from l4t_jax.envs.cells import DIR_X, DIR_Y, DOOR_CLOSED, DOOR_LOCKED, EMPTY_CODE, WALL, WALL_CODE, kind_of, one_of
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
    seen = lit_cells(window) & inside
    return jnp.zeros((width, height), bool).at[x, y].max(seen, mode="drop")


def lit_cells(window: jax.Array) -> jax.Array:
    """Which cells of a window are seen, `bool[view, view]`: the reference of `kernels.visibility.lit_rows`.

    Args:
        window: `bool[view, view]` its transparent cells, as `view_coordinates` has them: the agent's own row first.
    """
    view = len(window)
    lit = jnp.arange(view) == view // 2
    rows: list[jax.Array] = []
    for row in window:
        for _ in range(view - 1):
            through = jnp.pad(lit & row, 1)
            lit = lit | through[:-2] | through[2:]
        rows.append(lit)
        through = jnp.pad(lit & row, 1)
        lit = through[:-2] | through[1:-1] | through[2:]
    return jnp.stack(rows)


def _transparent(cells: jax.Array) -> jax.Array:
    return ~one_of(kind_of(cells), WALL, DOOR_CLOSED, DOOR_LOCKED)


def look(state: State, view: int, see_through: bool = False, kernel: kernels.Kernels = kernels.PORTABLE) -> State:
    """Adds what the agent sees now to what it has seen.

    Args:
        state: of one environment.
        view: width of the window, odd: the agent's own row and those ahead of it.
        see_through: walls and closed doors do not block the view.
        kernel: how it is computed.
    """
    clear = jnp.ones(state.cells.shape, bool) if see_through else _transparent(state.cells)
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
    # All cells in one row: a CPU takes a third longer to go through the short rows of a map.
    place = state.agent[0].astype(jnp.uint16) * height + state.agent[1].astype(jnp.uint16)
    here = jnp.arange(width * height, dtype=jnp.uint16) == place
    own = jnp.where(state.carrying != 0, state.carrying, jnp.uint8(EMPTY_CODE))
    seen, cells = state.seen.reshape(-1), state.cells.reshape(-1)
    known = jnp.where(seen, cells, jnp.uint8(0)) if state.last_seen is None else state.last_seen.reshape(-1)
    cells = jnp.where(here, own, known).reshape(width, height)
    targets = None
    if state.targets is not None and state.last_seen is None:
        targets = jnp.where(state.seen, state.targets, jnp.uint8(0))
    return MemoryMap(
        cells=cells, agent=state.agent, carrying=state.carrying, pickup_position=state.pickup_position,
        mission=state.mission, targets=targets, carried_targets=state.carried_targets,
    )  # fmt: skip


def see(state: State, view: int, see_through: bool = False, kernel: kernels.Kernels = kernels.PORTABLE) -> MemoryMap:
    """What the agent sees now, and nothing of before: MiniGrid's partial view, in the agent's own frame.

    Args:
        state: of one environment.
        view: width of the window, odd.
        see_through: walls and closed doors do not block the sight.
        kernel: how it is computed.

    Returns:
        A map of view x view cells. The agent stands at (view // 2, view - 1) and looks up (direction 3); its cell shows
        what it carries, else empty floor. Cells that it does not see are 0, those beyond the map are walls. It has no
        targets, and does not say where the carried object came from.
    """
    width, height = state.cells.shape
    x, y = view_coordinates(state.agent, view)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    cells = state.cells[jnp.clip(x, 0, width - 1), jnp.clip(y, 0, height - 1)]
    cells = jnp.where(inside, cells, jnp.uint8(WALL_CODE))
    if not see_through:
        clear = _transparent(cells)
        lit = lit_cells(clear) if kernel.reference else visibility.lit_window(clear)
        cells = jnp.where(lit, cells, jnp.uint8(0))
    own = jnp.where(state.carrying != 0, state.carrying, jnp.uint8(EMPTY_CODE))
    return MemoryMap(
        cells=jnp.flip(cells.at[0, view // 2].set(own), axis=0).T,
        agent=jnp.array([view // 2, view - 1, 3], jnp.int8),
        carrying=state.carrying,
        pickup_position=jnp.full(2, -1, jnp.int8),
        mission=state.mission,
    )
