"""MiniGrid's MultiRoom: a chain of rooms of random sizes, each entered by a closed door; the goal is in the last.

Device module. Source: Farama `minigrid/envs/multiroom.py`.

MiniGrid adds room after room, trying eight places for each, and starts anew where all eight fail. So does this, with
many chains at once: the first one that is whole is taken.
"""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import DOOR_CLOSED, EMPTY_CODE, GOAL_CODE, WALL_CODE
from l4t_jax.envs.layout import between, free, pick, pose, put
from l4t_jax.envs.registry import register_task
from l4t_jax.envs.roles import CLOSED_DOORS, GOALS, ROOM_SKILLS
from l4t_jax.envs.room_grid import paint, split_draws
from l4t_jax.envs.state import Layout
from l4t_jax.envs.success import goal_reached
from l4t_jax.envs.task import Task

SIZE = 25
MIN_ROOM = 4
TRIES = 8  # places that are tried for each room but the first
CHAINS = 8  # drawn at once; with 32, levels take 1.3 to 2 times as long
ROUNDS = 1_000  # a bound that is never met: of N6, the hardest, 22 % of the chains are whole


class Rooms(NamedTuple):
    """Rooms, walls included. Any shape, `int32`.

    Attributes:
        left, top: the corner with the lowest x and y.
        width, height: in cells.
        entry: the side of the entry door: 0 right, 1 down, 2 left, 3 up.
        door_x, door_y: the entry door.
    """

    left: jax.Array
    top: jax.Array
    width: jax.Array
    height: jax.Array
    entry: jax.Array
    door_x: jax.Array
    door_y: jax.Array


def _take(word: jax.Array, count: jax.Array | int) -> tuple[jax.Array, jax.Array]:
    """A number in 0..count-1 from a random word, and what is left of the word for further numbers."""
    rest, number = jnp.divmod(word, jnp.asarray(count, jnp.uint32))
    return rest, number.astype(jnp.int32)


def first_room(largest: int, word: jax.Array) -> Rooms:
    """A first room, whether or not it is within the map; one random word gives all of it."""
    word, left = _take(word, SIZE - 2)
    word, top = _take(word, SIZE - 2)
    word, width = _take(word, largest - MIN_ROOM + 1)
    _, height = _take(word, largest - MIN_ROOM + 1)
    return Rooms(left, top, width + MIN_ROOM, height + MIN_ROOM, jnp.full_like(left, 2), left, top)


def next_room(largest: int, last: Rooms, word: jax.Array) -> Rooms:
    """A room behind a new door of `last`, whether or not it fits; one random word gives all of it."""
    word, turn = _take(word, 3)
    side = (last.entry + 1 + turn) % 4  # any side but that of the entry
    upright = side % 2 == 0  # the door is in an upright wall
    word, along = _take(word, jnp.where(upright, last.height, last.width) - 2)
    door_x = jnp.where(upright, last.left + jnp.where(side == 0, last.width - 1, 0), last.left + 1 + along)
    door_y = jnp.where(upright, last.top + 1 + along, last.top + jnp.where(side == 1, last.height - 1, 0))
    word, width = _take(word, largest - MIN_ROOM + 1)
    word, height = _take(word, largest - MIN_ROOM + 1)
    width, height = width + MIN_ROOM, height + MIN_ROOM
    _, back = _take(word, jnp.where(upright, height, width) - 2)
    left = jnp.where(upright, jnp.where(side == 0, door_x, door_x - width + 1), door_x - 1 - back)
    top = jnp.where(upright, door_y - 1 - back, jnp.where(side == 1, door_y, door_y - height + 1))
    return Rooms(left, top, width, height, (side + 2) % 4, door_x, door_y)


def fits(room: Rooms) -> jax.Array:
    """Whether the room is within the map. MiniGrid leaves the last row free."""
    return (room.left >= 0) & (room.top >= 0) & (room.left + room.width <= SIZE) & (room.top + room.height < SIZE)


def apart(room: Rooms, other: Rooms) -> jax.Array:
    """Whether a new room keeps off another one. MiniGrid wants a free column or row to the right and below."""
    return (
        (room.left + room.width < other.left)
        | (other.left + other.width <= room.left)
        | (room.top + room.height < other.top)
        | (other.top + other.height <= room.top)
    )


def chain(number: int, largest: int, words: jax.Array) -> tuple[Rooms, jax.Array]:
    """One chain of rooms.

    Args:
        number: rooms in it.
        largest: the largest width and height of a room.
        words: `uint32[number, TRIES]` random words.

    Returns: the rooms, `int32[number]` each, and whether all of them found a place, `bool[]`.
    """
    first = jnp.stack(first_room(largest, words[0, 0]))  # (7,)
    index = jnp.arange(number)

    def add(n: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        rooms, last, whole = carry
        tried = next_room(largest, Rooms(*last[:, None]), words[n])
        off = apart(Rooms(*jnp.stack(tried)[:, :, None]), Rooms(*rooms))  # (TRIES, number)
        good = fits(tried) & jnp.all(off | (index >= n - 1), axis=1)
        taken = jnp.arange(TRIES) == jnp.argmax(good)  # the first that is good
        last = jnp.sum(jnp.where(taken, jnp.stack(tried), 0), axis=1)
        return jnp.where(index == n, last[:, None], rooms), last, whole & jnp.any(good)

    start = jnp.where(index == 0, first[:, None], 0), first, fits(Rooms(*first))
    rooms, _, whole = cast(tuple[jax.Array, jax.Array, jax.Array], jax.lax.fori_loop(1, number, add, start))
    return Rooms(*rooms), whole


def draw_rooms(number: int, largest: int, key: jax.Array) -> Rooms:
    """The rooms of a level, `int32[number]` each."""

    def draw(carry: tuple[jax.Array, Rooms, jax.Array]) -> tuple[jax.Array, Rooms, jax.Array]:
        tries, _, _ = carry
        words = jax.random.bits(jax.random.fold_in(key, tries), (CHAINS, number, TRIES), jnp.uint32)
        chains, whole = jax.vmap(partial(chain, number, largest))(words)
        return tries + 1, jax.tree.map(itemgetter(jnp.argmax(whole)), chains), jnp.any(whole)

    nothing = Rooms(*(jnp.zeros(number, jnp.int32) for _ in Rooms._fields))
    start = (jnp.int32(0), nothing, jnp.bool_(False))
    return jax.lax.while_loop(lambda carry: ~carry[2] & (carry[0] < ROUNDS), draw, start)[1]


def build(rooms: Rooms, colours: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Walls and doors of a chain of rooms.

    Args:
        rooms: `int32[N]` each.
        colours: `int32[N - 1]`, of the entry doors of all rooms but the first.

    Returns: `uint8[W, H]` cells, and `bool[N, W, H]` the cells of each room, walls included.
    """
    x, y = jnp.arange(SIZE)[:, None], jnp.arange(SIZE)[None, :]
    left, top, width, height = (axis[:, None, None] for axis in rooms[:4])
    right, bottom = left + width - 1, top + height - 1
    within = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    ring = within & ((x == left) | (x == right) | (y == top) | (y == bottom))
    cells = jnp.where(jnp.any(ring, axis=0), jnp.uint8(WALL_CODE), jnp.uint8(EMPTY_CODE))
    return paint(cells, rooms.door_x[1:], rooms.door_y[1:], DOOR_CLOSED | colours << 4), within


def multi_room(number: int, largest: int, key: jax.Array) -> Layout:
    """A chain of `number` rooms, at most `largest` cells wide and high; the agent is in the first."""
    for_rooms, for_rest = jax.random.split(key)
    words, (for_agent, direction, for_goal) = split_draws(for_rest, number - 1, 3)
    # A door has not the colour of the one before it: it is 1 to 5 further.
    steps = jnp.where(jnp.arange(number - 1) == 0, between(words, 0, 6), between(words, 1, 6))
    cells, within = build(draw_rooms(number, largest, for_rooms), jnp.cumsum(steps) % 6)
    agent = pick(for_agent, free(cells, within[0]))
    cells = put(cells, *pick(for_goal, free(cells, within[-1], agent)), GOAL_CODE)
    return Layout(cells, pose(*agent, between(direction, 0, 4)))


# N4-S5-v0 has six rooms: MiniGrid keeps the mistake under its old id.
for name, number, largest, version in (
    ("MultiRoom-N2-S4", 2, 4, 0),
    ("MultiRoom-N4-S5-v0", 6, 5, 0),
    ("MultiRoom-N4-S5", 4, 5, 1),
    ("MultiRoom-N6", 6, 10, 0),
):
    register_task(
        Task(
            name=name,
            family="MultiRoom",
            minigrid_id=f"MiniGrid-{name.removesuffix('-v0')}-v{version}",
            width=SIZE,
            height=SIZE,
            max_steps=20 * number,
            layout=partial(multi_room, number, largest),
            success=goal_reached,
            objects=(CLOSED_DOORS, GOALS),
            skills=ROOM_SKILLS,
            description="The agent must go through the rooms, opening doors on the way, and step onto the goal.",
            teacher="find-goal-behind-doors.json",
            text="traverse the rooms to get to the goal",
        )
    )
