"""Grids of equal rooms, as MiniGrid's `RoomGrid` draws them: walls, doors between neighbours, things in a room.

Device module: pure, jittable. It imports cell codes and the drawing helpers; the families of levels import it.

MiniGrid draws by rejection; here each choice is uniform over what rejection would leave, which is the same
distribution (source: Farama `minigrid/core/roomgrid.py`). Walls between neighbouring rooms are numbered, and what
concerns walls is an array with one entry for each; `wall(i, j, side)` gives a wall's number.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.envs.cells import EMPTY, EMPTY_CODE, WALL, WALL_CODE, kind_of, one_of
from l4t_jax.envs.layout import between, pick, pose

RIGHT_SIDE, DOWN_SIDE, LEFT_SIDE, UP_SIDE = range(4)  # the sides of a room: MiniGrid's order of directions


@dataclasses.dataclass(frozen=True)
class RoomGrid:
    """`cols` x `rows` rooms of `room_size` x `room_size` cells, walls included; neighbours share a wall.

    Room (i, j) is the one in column i and row j. Where i and j may be traced, the docstring says so.
    """

    room_size: int
    cols: int
    rows: int

    @property
    def width(self) -> int:
        """Cells of the map along x."""
        return (self.room_size - 1) * self.cols + 1

    @property
    def height(self) -> int:
        """Cells of the map along y."""
        return (self.room_size - 1) * self.rows + 1

    @property
    def start(self) -> tuple[int, int]:
        """The cell that MiniGrid takes for the agent's until the agent is placed: the middle of the middle room."""
        step, half = self.room_size - 1, self.room_size // 2
        return self.cols // 2 * step + half, self.rows // 2 * step + half

    @cached_property
    def _walls(self) -> list[tuple[int, int, int]]:
        """Column, row and side (right or down) of each wall between two rooms."""
        right = [(i, j, RIGHT_SIDE) for j in range(self.rows) for i in range(self.cols - 1)]
        down = [(i, j, DOWN_SIDE) for j in range(self.rows - 1) for i in range(self.cols)]
        return right + down

    @property
    def num_walls(self) -> int:
        """Walls between two rooms."""
        return len(self._walls)

    @property
    def ends(self) -> np.ndarray:
        """`int[num_walls, 2]`: the two rooms that each wall stands between; room (i, j) is number j * cols + i."""
        i, j, side = np.asarray(self._walls).T
        first: np.ndarray = j * self.cols + i
        second = np.where(side == RIGHT_SIDE, first + 1, first + self.cols)
        return np.stack([first, second], axis=1)

    def wall(self, i: int, j: int, side: int) -> int:
        """The number of the wall on a side of room (i, j). Raises ValueError where no room is behind it."""
        if side == LEFT_SIDE:
            i, side = i - 1, RIGHT_SIDE
        elif side == UP_SIDE:
            j, side = j - 1, DOWN_SIDE
        return self._walls.index((i, j, side))

    def cells(self) -> jax.Array:
        """`uint8[W, H]`: all walls, no door, no object."""
        x, y = np.arange(self.width)[:, None], np.arange(self.height)[None, :]
        step = self.room_size - 1
        return jnp.asarray(np.where((x % step == 0) | (y % step == 0), WALL_CODE, EMPTY_CODE).astype(np.uint8))

    def room(self, i: jax.Array | int, j: jax.Array | int) -> jax.Array:
        """`bool[W, H]`: the cells of room (i, j), its walls included; i and j may be traced."""
        step = self.room_size - 1
        x, y = jnp.arange(self.width)[:, None] - i * step, jnp.arange(self.height)[None, :] - j * step
        return (x >= 0) & (x <= step) & (y >= 0) & (y <= step)

    def remove_wall(self, cells: jax.Array, i: int, j: int, side: int) -> jax.Array:
        """The map without a wall of room (i, j); its ends stay, for other walls begin there."""
        i, j, side = self._walls[self.wall(i, j, side)]
        step = self.room_size - 1
        x, y = np.arange(self.width)[:, None], np.arange(self.height)[None, :]
        if side == RIGHT_SIDE:
            gone = (x == (i + 1) * step) & (y > j * step) & (y < (j + 1) * step)
        else:
            gone = (y == (j + 1) * step) & (x > i * step) & (x < (i + 1) * step)
        return jnp.where(jnp.asarray(gone), jnp.uint8(EMPTY_CODE), cells)

    def door_places(self, words: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Where each wall's door would be: x and y, `int32[num_walls]`; one random word a wall."""
        step = self.room_size - 1
        i, j, side = np.asarray(self._walls).T
        along = between(words, 1, step)
        across = side == RIGHT_SIDE
        return jnp.where(across, (i + 1) * step, i * step + along), jnp.where(across, j * step + along, (j + 1) * step)

    def connect_all(self, words: jax.Array, passages: jax.Array, allowed: jax.Array) -> jax.Array:
        """Which walls get a door so that all rooms are connected.

        MiniGrid draws walls until all rooms are connected. That is a random order of the walls, cut where the last
        room is reached; and this is where the easiest ways from room to room have their last wall.

        Args:
            words: `uint32[num_walls]`, the random order: the lowest comes first.
            passages: `bool[num_walls]`, walls that have a door or are gone.
            allowed: `bool[num_walls]`, walls that may get a door. With `passages` they must connect all rooms.

        Returns: `bool[num_walls]`, the walls that get a door.
        """
        rooms = self.cols * self.rows
        order = jnp.where(passages, 0, jnp.where(allowed, (words >> 1) + 1, jnp.uint32(0xFFFFFFFF)))
        edges = np.full((rooms, rooms), self.num_walls)
        edges[tuple(self.ends.T)] = edges[tuple(self.ends.T[::-1])] = np.arange(self.num_walls)
        last = jnp.append(order, jnp.uint32(0xFFFFFFFF))[edges]  # of the ways of one wall
        last = jnp.where(jnp.eye(rooms, dtype=bool), jnp.uint32(0), last)
        for _ in range((rooms - 1).bit_length()):  # ways twice as long each time
            last = jnp.min(jnp.maximum(last[:, :, None], last[None, :, :]), axis=1)
        return allowed & ~passages & (order <= jnp.max(last[0]))

    def free(self, cells: jax.Array, i: jax.Array | int, j: jax.Array | int) -> jax.Array:
        """`bool[W, H]`: where `place_in_room` puts a thing before the agent is placed; i and j may be traced.

        Empty cells of the room, those of removed walls included, but for `start` and its four neighbours.
        """
        x, y = self.start
        near = np.abs(np.arange(self.width)[:, None] - x) + np.abs(np.arange(self.height)[None, :] - y) < 2
        return self.room(i, j) & (kind_of(cells) == EMPTY) & ~near

    def agent(self, word: jax.Array, cells: jax.Array, i: jax.Array | int, j: jax.Array | int) -> jax.Array:
        """`int8[3]`, the agent in room (i, j), where nothing but a wall or an empty cell is ahead of it."""
        kinds = kind_of(cells)
        clear = one_of(kinds, EMPTY, WALL)
        # A room's cells are never on the map's edge, so what a roll wraps around is never ahead.
        ahead = jnp.stack(
            [jnp.roll(clear, shift, axis) for shift, axis in ((-1, 0), (-1, 1), (1, 0), (1, 1))]
        )  # (4, W, H)
        allowed = ahead & self.room(i, j) & (kinds == EMPTY)
        row, y = pick(word, allowed.reshape(-1, self.height))
        direction, x = jnp.divmod(row, self.width)
        return pose(x, y, direction)


def split_draws(key: jax.Array, *counts: int) -> list[jax.Array]:
    """Independent random words, `uint32[count]` for each count, from one call of the generator (see `layout.draws`)."""
    return jnp.split(jax.random.bits(key, (sum(counts),), jnp.uint32), np.cumsum(counts)[:-1])


def paint(cells: jax.Array, x: jax.Array, y: jax.Array, codes: jax.Array) -> jax.Array:
    """The map with several things at once on different cells.

    Args:
        cells: `uint8[W, H]`.
        x, y: `int32[N]`.
        codes: `uint8[N]`, 0 for what is not there.

    Returns: `uint8[W, H]`.
    """
    width, height = cells.shape
    at = (jnp.arange(width)[:, None] == x[:, None, None]) & (jnp.arange(height)[None, :] == y[:, None, None])
    put = jnp.max(jnp.where(at, codes.astype(jnp.uint8)[:, None, None], 0), axis=0)
    return jnp.where(put > 0, put, cells)


def shuffled(words: jax.Array) -> jax.Array:
    """A random order of 0..N-1, `int32[N]`, from N random words: each word's rank."""
    return jnp.sum(words[:, None] > words[None, :], axis=1, dtype=jnp.int32)
