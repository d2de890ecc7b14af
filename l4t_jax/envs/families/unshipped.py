"""The tasks that LLM4Teach's help names and its release does not have: KeyInBox, RandomBoxKey, DynamicDoorKey.

Device module. No source to follow: what each of them is, and why, stands in docs/tasks.md. The room is SimpleDoorKey's.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import BOX, DOOR_LOCKED, KEY, WALL, WALL_CODE, kind_of, one_of
from l4t_jax.envs.families.door_key import MAP, room_with_door, simple_door_key
from l4t_jax.envs.layout import between, draws, free, pick, pose, put
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.state import Layout, State
from l4t_jax.envs.success import door_opened
from l4t_jax.envs.task import DOORS, Role, Task

MOVES_EVERY = 20  # steps between two moves of the door, on average


def box_key(may_be_empty: bool, key: jax.Array) -> Layout:
    """SimpleDoorKey with a box, never just inside the door. The key is in it; or, in half of the levels where it may be
    empty, lies somewhere else.
    """
    *room_draws, for_colour, for_agent, for_direction, for_box, for_box_colour, for_key, for_inside = draws(key, 12)
    colour = between(for_colour, 0, 6) << 4
    cells, room, by_the_door = room_with_door(room_draws, DOOR_LOCKED | colour)
    x, y = pick(for_agent, room)
    box_x, box_y = pick(for_box, free(cells, room, (x, y), by_the_door))
    cells = put(cells, box_x, box_y, BOX | between(for_box_colour, 0, 6) << 4)
    contents = put(jnp.zeros_like(cells), box_x, box_y, KEY | colour)
    if may_be_empty:
        is_empty = between(for_inside, 0, 2) == 0
        key_x, key_y = pick(for_key, free(cells, room, (x, y)))
        cells = jnp.where(is_empty, put(cells, key_x, key_y, KEY | colour), cells)
        contents = jnp.where(is_empty, jnp.uint8(0), contents)
    return Layout(cells, pose(x, y, between(for_direction, 0, 4)), contents=contents)


def door_places(cells: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of a room with a locked door: where doors can be, the walls without their corners, and the door's own wall.

    Args:
        cells: `uint8[W, H]`, the walls of one room at (0, 0), its door among them.

    Returns:
        `bool[W, H]` each; the second is part of the first.
    """
    kinds = kind_of(cells)
    door = kinds == DOOR_LOCKED
    ring = door | (kinds == WALL)
    x, y = jnp.arange(cells.shape[0])[:, None], jnp.arange(cells.shape[1])[None, :]
    left_or_right = (x == 0) | (x == jnp.max(jnp.where(ring, x, 0)))
    top_or_bottom = (y == 0) | (y == jnp.max(jnp.where(ring, y, 0)))
    places = ring & ~(left_or_right & top_or_bottom)
    in_line = jnp.where(jnp.any(door & left_or_right), jnp.any(door, axis=1)[:, None], jnp.any(door, axis=0)[None, :])
    return places, places & in_line


def door_moves(key: jax.Array, state: State) -> State:
    """Before each step, once in `MOVES_EVERY` steps on average, the door is at another place of its wall.

    An agent that has seen all of the walls and no door in them knows that the door has moved, but not where to: these
    walls are forgotten, so that there is something to look for.
    """
    assert state.last_seen is not None
    for_whether, for_place = draws(key, 2)
    door = kind_of(state.cells) == DOOR_LOCKED
    places, wall = door_places(state.cells)
    x, y = pick(for_place, wall & ~door)
    moved = put(jnp.where(door, jnp.uint8(WALL_CODE), state.cells), x, y, jnp.max(jnp.where(door, state.cells, 0)))
    moves = jnp.any(door) & (between(for_whether, 0, MOVES_EVERY) == 0)

    known = kind_of(state.last_seen)
    all_seen = jnp.all((state.last_seen != 0) | ~places)
    forgotten = all_seen & ~jnp.any(one_of(known, *DOORS)) & (known == WALL)
    return state.replace(
        cells=jnp.where(moves, moved, state.cells),
        seen=state.seen & ~forgotten,
        last_seen=jnp.where(forgotten, jnp.uint8(0), state.last_seen),
    )


KEY_ROLE, BOX_ROLE, DOOR_ROLE = Role("key", (KEY,)), Role("box", (BOX,)), Role("door", DOORS)
_TASK = partial(
    Task,
    family="LLM4Teach-unshipped",
    width=MAP,
    height=MAP,
    max_steps=150,
    view=3,
    success=door_opened,
    text="use the key to open the door",
    skills=("explore", "search", "go_to", "pick_up", "open", "put_down"),
)
_BOX_TASK = partial(_TASK, objects=(KEY_ROLE, BOX_ROLE, DOOR_ROLE), teacher="BoxKey.json")

register_task(
    _BOX_TASK(
        name="KeyInBox",
        layout=partial(box_key, False),
        description=(
            "An agent in a small walled room must find the box and open it, pick up the key that was in it, go to the "
            "locked door and open it."
        ),
    )
)
register_task(
    _BOX_TASK(
        name="RandomBoxKey",
        layout=partial(box_key, True),
        description=(
            "An agent in a small walled room must find the key, pick it up, go to the locked door and open it. The key "
            "lies in the room or is in the box, which may be empty, and shows when the box is opened."
        ),
    )
)
register_task(
    _TASK(
        name="DynamicDoorKey",
        layout=simple_door_key,
        before_step=door_moves,
        objects=(KEY_ROLE, DOOR_ROLE),
        description=(
            "An agent in a small walled room must find the key, pick it up, go to the locked door and open it. Now and "
            "then the door moves to another place of its wall, so it may have gone from where it was seen."
        ),
        teacher="DynamicDoorKey.json",
    )
)
