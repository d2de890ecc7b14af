"""The layouts of the paper's four tasks and of MiniGrid's DoorKey, drawn with a random key.

Device module: pure, jittable. Each function returns (`uint8[W, H]` cell codes, `int8[3]` the agent's x, y, direction),
x first. Distributions: REFERENCE facts of LLM4Teach's released tasks; Farama's `DoorKeyEnv` for the stock ones.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import (
    BLUE,
    DOOR_LOCKED,
    EMPTY,
    EMPTY_CODE,
    GOAL_CODE,
    KEY,
    LAVA_CODE,
    RED,
    WALL_CODE,
    YELLOW,
    code,
    kind_of,
)

MAP = 10  # the paper's map; DivergedDoorKey's is twice that
TWO_DOOR_MAP = 20


def _walled(size: int, width: jax.Array, height: jax.Array) -> jax.Array:
    """`uint8[size, size]`: a ring of walls around a `width` x `height` room at (0, 0), empty floor elsewhere."""
    x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    ring = (x < width) & (y < height) & ((x == 0) | (x == width - 1) | (y == 0) | (y == height - 1))
    return jnp.where(ring, jnp.uint8(WALL_CODE), jnp.uint8(EMPTY_CODE))


def _interior(size: int, width: jax.Array, height: jax.Array) -> jax.Array:
    """`bool[size, size]`: the cells inside the ring of `_walled`."""
    x, y = jnp.arange(size)[:, None], jnp.arange(size)[None, :]
    return (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)


def _draws(key: jax.Array, number: int) -> list[jax.Array]:
    """`number` independent random words, `uint32[]` each, from one call of the generator.

    A call a draw took five times as long to compile, and levels are drawn in three programs of a run.
    """
    return list(jax.random.bits(key, (number,), jnp.uint32))


def _between(draw: jax.Array, first: int, end: jax.Array | int) -> jax.Array:
    """A whole number from `first` up to, not including, `end`, uniform but for parts in 2^26."""
    span = (jnp.asarray(end, jnp.int32) - first).astype(jnp.uint32)
    return first + (draw % span).astype(jnp.int32)


def _pick(draw: jax.Array, allowed: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A cell (x, y) uniform over `allowed`, `bool[W, H]`; (0, 0) where none is."""
    count = jnp.cumsum(allowed.reshape(-1).astype(jnp.int32))
    nth = _between(draw, 1, jnp.maximum(count[-1], 1) + 1)
    return jnp.divmod(jnp.argmax(count >= nth), allowed.shape[1])


def _put(cells: jax.Array, x: jax.Array, y: jax.Array, what: jax.Array | int) -> jax.Array:
    return cells.at[x, y].set(jnp.asarray(what, jnp.uint8))


def _agent(x: jax.Array, y: jax.Array, direction: jax.Array) -> jax.Array:
    return jnp.stack([x, y, direction]).astype(jnp.int8)


def _free(cells: jax.Array, room: jax.Array, *taken: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Empty cells of the room, but for the `taken` places."""
    free = room & (kind_of(cells) == EMPTY)
    for x, y in taken:
        free = free.at[x, y].set(False)
    return free


def _room_with_door(
    draws: list[jax.Array], door_code: jax.Array
) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array]]:
    """The paper's room: cells, interior, and the cell just inside the door; takes five draws."""
    width, height = _between(draws[0], 5, MAP + 1), _between(draws[1], 5, MAP + 1)
    wall = _between(draws[2], 0, 4)  # right, bottom, left, top
    along_x = _between(draws[3], 1, width - 1)
    along_y = _between(draws[4], 1, height - 1)
    door_x = jnp.select([wall == 0, wall == 2], [width - 1, 0], along_x)
    door_y = jnp.select([wall == 1, wall == 3], [height - 1, 0], along_y)
    inside_x = jnp.clip(door_x, 1, width - 2)
    inside_y = jnp.clip(door_y, 1, height - 2)
    cells = _put(_walled(MAP, width, height), door_x, door_y, door_code)
    return cells, _interior(MAP, width, height), (inside_x, inside_y)


def simple_door_key(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """SimpleDoorKey: one locked door and its key, of one random colour."""
    *room_draws, for_colour, for_agent, for_direction, for_key = _draws(key, 9)
    colour = _between(for_colour, 0, 6) << 4
    cells, room, _ = _room_with_door(room_draws, DOOR_LOCKED | colour)
    x, y = _pick(for_agent, room)
    key_x, key_y = _pick(for_key, _free(cells, room, (x, y)))
    cells = _put(cells, key_x, key_y, KEY | colour)
    return cells, _agent(x, y, _between(for_direction, 0, 4))


def lava_door_key(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """LavaDoorKey: SimpleDoorKey with one cell of lava, never just inside the door."""
    *room_draws, for_colour, for_agent, for_direction, for_key, for_lava = _draws(key, 10)
    colour = _between(for_colour, 0, 6) << 4
    cells, room, inside = _room_with_door(room_draws, DOOR_LOCKED | colour)
    x, y = _pick(for_agent, room)
    key_x, key_y = _pick(for_key, _free(cells, room, (x, y)))
    cells = _put(cells, key_x, key_y, KEY | colour)
    lava_x, lava_y = _pick(for_lava, _free(cells, room, (x, y), inside))
    cells = _put(cells, lava_x, lava_y, LAVA_CODE)
    return cells, _agent(x, y, _between(for_direction, 0, 4))


def colored_door_key(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """ColoredDoorKey: a blue door, a blue key and a red one, no key just inside the door."""
    *room_draws, for_agent, for_direction, for_blue, for_red = _draws(key, 9)
    cells, room, inside = _room_with_door(room_draws, jnp.asarray(code(DOOR_LOCKED, BLUE)))
    x, y = _pick(for_agent, room)
    blue_x, blue_y = _pick(for_blue, _free(cells, room, (x, y), inside))
    cells = _put(cells, blue_x, blue_y, code(KEY, BLUE))
    red_x, red_y = _pick(for_red, _free(cells, room, (x, y), inside))
    cells = _put(cells, red_x, red_y, code(KEY, RED))
    return cells, _agent(x, y, _between(for_direction, 0, 4))


def diverged_door_key(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """DivergedDoorKey: a 20 x 20 room, two locked doors on opposite walls, the key in its central 2 x 2."""
    for_axis, for_first, for_second, for_colour, for_agent, for_direction, *for_key = _draws(key, 8)
    size = TWO_DOOR_MAP
    colour = _between(for_colour, 0, 6) << 4
    left_right = _between(for_axis, 0, 2) == 1
    first = _between(for_first, 1, size - 1)
    second = _between(for_second, 1, size - 1)
    cells = _walled(size, jnp.int32(size), jnp.int32(size))
    door = DOOR_LOCKED | colour
    cells = _put(cells, jnp.where(left_right, 0, first), jnp.where(left_right, first, 0), door)
    cells = _put(cells, jnp.where(left_right, size - 1, second), jnp.where(left_right, second, size - 1), door)
    key_x, key_y = (_between(draw, size // 2 - 1, size // 2 + 1) for draw in for_key)
    cells = _put(cells, key_x, key_y, KEY | colour)
    room = _interior(size, jnp.int32(size), jnp.int32(size))
    x, y = _pick(for_agent, _free(cells, room))
    return cells, _agent(x, y, _between(for_direction, 0, 4))


def stock_door_key(size: int, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """MiniGrid's own DoorKey, `size` x `size`: two rooms, a locked yellow door between, the goal in the far corner."""
    for_split, for_door, for_agent, for_direction, for_key = _draws(key, 5)
    split = _between(for_split, 2, size - 2)
    door_y = _between(for_door, 1, size - 2)
    cells = _walled(size, jnp.int32(size), jnp.int32(size))
    cells = jnp.where(jnp.arange(size)[:, None] == split, jnp.uint8(WALL_CODE), cells)
    cells = _put(cells, jnp.int32(size - 2), jnp.int32(size - 2), GOAL_CODE)
    cells = _put(cells, split, door_y, code(DOOR_LOCKED, YELLOW))
    near = _interior(size, jnp.int32(size), jnp.int32(size)) & (jnp.arange(size)[:, None] < split)
    x, y = _pick(for_agent, _free(cells, near))
    key_x, key_y = _pick(for_key, _free(cells, near, (x, y)))
    cells = _put(cells, key_x, key_y, code(KEY, YELLOW))
    return cells, _agent(x, y, _between(for_direction, 0, 4))
