"""MiniGrid's rules on one `World`: what an action does, what the agent sees, what it then knows.

Device module: pure, jittable; written for one world, `vmap` gives a batch. Imports `types` alone.
Every rule is Farama MiniGrid's (`minigrid_env.py`, `world_object.py`), not navix's, where the two differ.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.types import (
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
    KnownMap,
    World,
    colour_of,
    kind_of,
    one_of,
)  # fmt: skip


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


def start(cells: jax.Array, agent: jax.Array, view: int) -> World:
    """A world at the start of an episode: nothing carried, and the first view already seen.

    Args:
        cells: `uint8[W, H]` cell codes of the layout.
        agent: `int8[3]` x, y, direction.
        view: width of the square window the agent sees, odd.
    """
    world = World(
        cells=cells,
        seen=jnp.zeros(cells.shape, bool),
        agent=agent.astype(jnp.int8),
        carrying=jnp.uint8(0),
        origin=jnp.full((2,), -1, jnp.int8),
    )
    return look(world, view)


def act(world: World, action: jax.Array) -> tuple[World, Outcome]:
    """One action of MiniGrid's seven. Does not update what has been seen: `look` does."""
    width, height = world.cells.shape
    x, y, d = (world.agent[i].astype(jnp.int32) for i in range(3))
    dx, dy = heading(d)
    # The cell ahead; at the map's edge MiniGrid would fail, so the edge stands for a wall.
    ahead_x, ahead_y = x + dx, y + dy
    inside = (ahead_x >= 0) & (ahead_x < width) & (ahead_y >= 0) & (ahead_y < height)
    ahead = world.cells[jnp.clip(ahead_x, 0, width - 1), jnp.clip(ahead_y, 0, height - 1)]
    ahead = jnp.where(inside, ahead, WALL).astype(jnp.uint8)
    kind = kind_of(ahead)

    walk = (action == FORWARD) & one_of(kind, EMPTY, FLOOR, DOOR_OPEN, GOAL, LAVA)
    pick = (action == PICKUP) & (world.carrying == 0) & one_of(kind, KEY, BALL, BOX)
    drop = (action == DROP) & (world.carrying != 0) & (kind == EMPTY)
    toggle = action == TOGGLE

    has_key = (kind_of(world.carrying) == KEY) & (colour_of(world.carrying) == colour_of(ahead))
    toggled_kind = jnp.select(
        [(kind == DOOR_LOCKED) & has_key, kind == DOOR_CLOSED, kind == DOOR_OPEN],
        [DOOR_OPEN, DOOR_OPEN, DOOR_CLOSED],
        kind,
    )
    toggled = jnp.where(kind == BOX, EMPTY_CODE, (ahead & 0xF0) | toggled_kind).astype(
        jnp.uint8
    )  # boxes are empty here

    new = jnp.where(pick, jnp.uint8(EMPTY_CODE), ahead)
    new = jnp.where(drop, world.carrying, new)
    new = jnp.where(toggle, toggled, new)
    at = (jnp.arange(width)[:, None] == ahead_x) & (jnp.arange(height)[None, :] == ahead_y)
    turn = jnp.where(action == LEFT, 3, jnp.where(action == RIGHT, 1, 0))

    world = world.replace(
        cells=jnp.where(at, new, world.cells),
        agent=jnp.stack(
            [jnp.where(walk, ahead_x, x), jnp.where(walk, ahead_y, y), (d + turn) & 3],
        ).astype(jnp.int8),
        carrying=jnp.where(pick, ahead, jnp.where(drop, jnp.uint8(0), world.carrying)),
        origin=jnp.where(
            pick,
            jnp.stack([ahead_x, ahead_y]).astype(jnp.int8),
            jnp.where(drop, jnp.int8(-1), world.origin),
        ),
    )
    return world, Outcome(
        reached_goal=walk & (kind == GOAL),
        fell=walk & (kind == LAVA),
        door_opened=toggle & (kind_of(new) == DOOR_OPEN),
    )


def visible(transparent: list[list[jax.Array]]) -> list[list[jax.Array]]:
    """MiniGrid's `Grid.process_vis` on a square window.

    Args:
        transparent: `[view][view]` of `bool[...]`, indexed [row][column]; row `view - 1` is the agent's own row and
            the agent stands in its middle. A cell is transparent unless it is a wall, a door that is not open, or
            beyond the map.

    Returns:
        Which cells are seen, in the same form.
    """
    view = len(transparent)
    no = jnp.zeros_like(transparent[0][0])
    lit = [[no] * view for _ in range(view)]
    lit[view - 1][view // 2] = ~no
    for j in reversed(range(view)):
        row, clear = lit[j], transparent[j]
        above = [no] * view
        for i in range(view - 1):  # light runs to the right, and up
            through = row[i] & clear[i]
            row[i + 1] = row[i + 1] | through
            above[i], above[i + 1] = above[i] | through, above[i + 1] | through
        for i in reversed(range(1, view)):  # and to the left
            through = row[i] & clear[i]
            row[i - 1] = row[i - 1] | through
            above[i], above[i - 1] = above[i] | through, above[i - 1] | through
        if j > 0:
            lit[j - 1] = above
    return lit


def look(world: World, view: int) -> World:
    """Adds what the agent sees now to what it has seen: a `view` x `view` window, its own row and those ahead."""
    width, height = world.cells.shape
    half = view // 2
    x, y, d = (world.agent[i].astype(jnp.int32) for i in range(3))
    dx, dy = heading(d)

    # Opacity in the window. Row j is `view - 1 - j` cells ahead; column i is `i - half` cells to the right (-dy, dx).
    ahead = jnp.arange(view - 1, -1, -1)[:, None]
    side = jnp.arange(-half, half + 1)[None, :]
    cell_x = x + ahead * dx - side * dy
    cell_y = y + ahead * dy + side * dx
    inside = (cell_x >= 0) & (cell_x < width) & (cell_y >= 0) & (cell_y < height)
    kinds = kind_of(world.cells[jnp.clip(cell_x, 0, width - 1), jnp.clip(cell_y, 0, height - 1)])
    clear = inside & ~one_of(kinds, WALL, DOOR_CLOSED, DOOR_LOCKED)  # bool[view, view]
    lit = visible([[clear[j, i] for i in range(view)] for j in range(view)])

    # Back onto the map, without a scatter: every map cell looks up its own bit of the window. The place in the window
    # is a sum of a part that depends on x alone and one that depends on y alone.
    rx = jnp.arange(width)[:, None] - x
    ry = jnp.arange(height)[None, :] - y
    forward = rx * dx + ry * dy
    sideways = -rx * dy + ry * dx
    in_window = (forward >= 0) & (forward < view) & (jnp.abs(sideways) <= half)
    rows_per_word = 32 // view
    seen_now = jnp.zeros((width, height), bool)
    for first in range(0, view, rows_per_word):  # the window's rows, counted ahead from the agent, 32 bits at a time
        rows = range(first, min(first + rows_per_word, view))
        word = jnp.uint32(0)
        for r in rows:
            for i in range(view):
                word = word | (lit[view - 1 - r][i].astype(jnp.uint32) << ((r - first) * view + i))
        shift = ((forward - first) * view + sideways + half).astype(jnp.uint32) & 31
        here = in_window & (forward >= first) & (forward < first + rows_per_word)
        seen_now = seen_now | (here & (((word >> shift) & 1) == 1))
    return world.replace(seen=world.seen | seen_now)


def know(world: World) -> KnownMap:
    """What the agent knows of the world: cells it has seen, as they are now; its own cell shows what it carries."""
    width, height = world.cells.shape
    here = (jnp.arange(width)[:, None] == world.agent[0]) & (jnp.arange(height)[None, :] == world.agent[1])
    own = jnp.where(world.carrying != 0, world.carrying, jnp.uint8(EMPTY_CODE))
    cells = jnp.where(here, own, jnp.where(world.seen, world.cells, jnp.uint8(0)))
    return KnownMap(cells=cells, agent=world.agent, carrying=world.carrying, origin=world.origin)
