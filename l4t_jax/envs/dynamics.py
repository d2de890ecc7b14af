"""MiniGrid's rules on one `State`: what an action does, what the agent sees, what it then knows.

Device module: pure, jittable; written for one environment, `vmap` gives a batch. Imports `types` alone.
Every rule is Farama MiniGrid's (`minigrid_env.py`, `world_object.py`), not navix's, where the two differ.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.envs.cells import (
    BALL,
    BOX,
    DIR_X,
    DIR_Y,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    DROP,
    EMPTY,
    EMPTY_CODE,
    FLOOR,
    FORWARD,
    GOAL,
    KEY,
    LAVA,
    LEFT,
    PICKUP,
    RIGHT,
    TOGGLE,
    WALL,
    colour_of,
    kind_of,
    one_of,
)
from l4t_jax.envs.state import MemoryMap, State


class Outcome(struct.PyTreeNode):
    """What a step led to, each `bool[]`.

    Attributes:
        reached_goal: the agent stepped onto a goal.
        fell: the agent stepped into lava.
        door_opened: the action was a toggle, and the cell ahead is now an open door.
    """

    reached_goal: jax.Array
    fell: jax.Array
    door_opened: jax.Array


def heading(direction: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The unit step (dx, dy) of a direction 0..3, each `int32[...]`."""
    d = direction.astype(jnp.int32)
    return jnp.asarray(DIR_X)[d], jnp.asarray(DIR_Y)[d]


def start(cells: jax.Array, agent: jax.Array, view: int) -> State:
    """A environment at the start of an episode: nothing carried, and the first view already seen.

    Args:
        cells: `uint8[W, H]` cell codes of the layout.
        agent: `int8[3]` x, y, direction.
        view: width of the square window the agent sees, odd.
    """
    env_state = State(
        cells=cells,
        seen=jnp.zeros(cells.shape, bool),
        agent=agent.astype(jnp.int8),
        carrying=jnp.uint8(0),
        pickup_position=jnp.full((2,), -1, jnp.int8),
    )
    return look(env_state, view)


def act(env_state: State, action: jax.Array) -> tuple[State, Outcome]:
    """One action of MiniGrid's seven. Does not update what has been seen: `look` does."""
    width, height = env_state.cells.shape
    x, y, d = (env_state.agent[i].astype(jnp.int32) for i in range(3))
    dx, dy = heading(d)
    # The cell ahead; at the map's edge MiniGrid would fail, so the edge stands for a wall.
    ahead_x, ahead_y = x + dx, y + dy
    inside = (ahead_x >= 0) & (ahead_x < width) & (ahead_y >= 0) & (ahead_y < height)
    ahead = env_state.cells[jnp.clip(ahead_x, 0, width - 1), jnp.clip(ahead_y, 0, height - 1)]
    ahead = jnp.where(inside, ahead, WALL).astype(jnp.uint8)
    kind = kind_of(ahead)

    walk = (action == FORWARD) & one_of(kind, EMPTY, FLOOR, DOOR_OPEN, GOAL, LAVA)
    pick = (action == PICKUP) & (env_state.carrying == 0) & one_of(kind, KEY, BALL, BOX)
    drop = (action == DROP) & (env_state.carrying != 0) & (kind == EMPTY)
    toggle = action == TOGGLE

    has_key = (kind_of(env_state.carrying) == KEY) & (colour_of(env_state.carrying) == colour_of(ahead))
    toggled_kind = jnp.select(
        [(kind == DOOR_LOCKED) & has_key, kind == DOOR_CLOSED, kind == DOOR_OPEN],
        [DOOR_OPEN, DOOR_OPEN, DOOR_CLOSED],
        kind,
    )
    toggled = jnp.where(kind == BOX, EMPTY_CODE, (ahead & 0xF0) | toggled_kind).astype(
        jnp.uint8
    )  # boxes are empty here

    new = jnp.where(pick, jnp.uint8(EMPTY_CODE), ahead)
    new = jnp.where(drop, env_state.carrying, new)
    new = jnp.where(toggle, toggled, new)
    at = (jnp.arange(width)[:, None] == ahead_x) & (jnp.arange(height)[None, :] == ahead_y)
    turn = jnp.where(action == LEFT, 3, jnp.where(action == RIGHT, 1, 0))

    env_state = env_state.replace(
        cells=jnp.where(at, new, env_state.cells),
        agent=jnp.stack(
            [jnp.where(walk, ahead_x, x), jnp.where(walk, ahead_y, y), (d + turn) & 3],
        ).astype(jnp.int8),
        carrying=jnp.where(pick, ahead, jnp.where(drop, jnp.uint8(0), env_state.carrying)),
        pickup_position=jnp.where(
            pick,
            jnp.stack([ahead_x, ahead_y]).astype(jnp.int8),
            jnp.where(drop, jnp.int8(-1), env_state.pickup_position),
        ),
    )
    return env_state, Outcome(
        reached_goal=walk & (kind == GOAL),
        fell=walk & (kind == LAVA),
        door_opened=toggle & (kind_of(new) == DOOR_OPEN),
    )


def lit_rows(clear: list[jax.Array], view: int) -> list[jax.Array]:
    """MiniGrid's `Grid.process_vis`, a row of the window a word.

    There, light runs along a row to the right, then to the left, through transparent cells, and from each of them to
    the three cells above; which side is right makes no difference to what is lit in the end.

    Args:
        clear: `view` words `uint32[...]`, the agent's own row first: bit i is set where cell i of the row is
            transparent (no wall, no door that is not open, not beyond the map). The agent stands at bit `view // 2`.
        view: width of the window.

    Returns:
        Which cells are seen, in the same form.
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


def look(env_state: State, view: int) -> State:
    """Adds what the agent sees now to what it has seen: a `view` x `view` window, its own row and those ahead.

    The map is turned into words, a line of cells each: its columns where the agent looks along x, else its rows. So a
    row of the window is a shift of one of them (to pick its cells one by one took eight times as long).
    """
    width, height = env_state.cells.shape
    half, span = view // 2, max(width, height)
    x, y, d = (env_state.agent[i].astype(jnp.int32) for i in range(3))
    along_x = d % 2 == 0
    along, across = jnp.where(along_x, x, y), jnp.where(along_x, y, x)

    clear = ~one_of(kind_of(env_state.cells), WALL, DOOR_CLOSED, DOOR_LOCKED)
    bit = jnp.left_shift(jnp.uint32(1), jnp.arange(span, dtype=jnp.uint32))
    columns = jnp.sum(jnp.where(clear, bit[None, :height], 0), axis=1, dtype=jnp.uint32)
    rows = jnp.sum(jnp.where(clear, bit[:width, None], 0), axis=0, dtype=jnp.uint32)
    lines = jnp.where(along_x, jnp.pad(columns, (0, span - width)), jnp.pad(rows, (0, span - height)))
    # The barriers, here and below, keep XLA from computing the same words anew wherever they are read.
    lines = jax.lax.optimization_barrier(lines)

    # The window's bit i is the line's bit i + across - half.
    right = jnp.maximum(across - half, 0).astype(jnp.uint32)
    left = jnp.maximum(half - across, 0).astype(jnp.uint32)
    ahead = jnp.where(d < 2, 1, -1) * (jnp.arange(span) - along)  # which of the window's rows a line is
    is_row = ahead[None, :] == jnp.arange(view)[:, None]
    window = jnp.sum(jnp.where(is_row, (lines >> right << left)[None, :], 0), axis=1, dtype=jnp.uint32)
    lit = jax.lax.optimization_barrier(lit_rows([window[a] for a in range(view)], view))
    seen = jnp.zeros(span, jnp.uint32)
    for a in range(view):
        seen = jnp.where(is_row[a], lit[a], seen)
    seen = seen >> left << right

    line = jnp.where(along_x, seen[:width, None], seen[None, :height])  # of each cell
    place = jnp.where(along_x, jnp.arange(height)[None, :], jnp.arange(width)[:, None])  # its bit
    return env_state.replace(seen=env_state.seen | (line >> place.astype(jnp.uint32) & 1 == 1))


def know(env_state: State) -> MemoryMap:
    """What the agent knows of the environment: cells it has seen, as they are now; its own cell shows what it
    carries.
    """
    width, height = env_state.cells.shape
    here = (jnp.arange(width)[:, None] == env_state.agent[0]) & (jnp.arange(height)[None, :] == env_state.agent[1])
    own = jnp.where(env_state.carrying != 0, env_state.carrying, jnp.uint8(EMPTY_CODE))
    cells = jnp.where(here, own, jnp.where(env_state.seen, env_state.cells, jnp.uint8(0)))
    return MemoryMap(
        cells=cells, agent=env_state.agent, carrying=env_state.carrying, pickup_position=env_state.pickup_position
    )
