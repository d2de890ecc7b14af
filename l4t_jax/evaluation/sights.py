"""MiniGrid's view and cells as NumPy arrays and in words, for comparisons of our environments with an original.

Host module.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from l4t_jax.envs.cells import COLOURS, DIR_X, DIR_Y, DOOR_CLOSED, DOOR_OPEN

KINDS = (
    "unseen", "nothing", "wall", "floor", "open door", "key", "ball", "box", "goal", "lava", "agent", "closed door",
    "locked door",
)  # fmt: skip


def encode(symbolic: np.ndarray) -> np.ndarray:
    """MiniGrid's (object, colour, state) `uint8[..., 3]` -> cell codes `uint8[...]`; see `envs.cells.encode_cells`."""
    kind, colour, state = (symbolic[..., i].astype(np.uint8) for i in range(3))
    return np.where((kind == DOOR_OPEN) & (state > 0), state + (DOOR_CLOSED - 1), kind) | colour << 4


@functools.cache
def encode_one(kind: int, colour: int, state: int) -> int:
    """`encode` of a single cell."""
    return int(encode(np.array([kind, colour, state], np.uint8)))


def view_of(image: np.ndarray) -> np.ndarray:
    """MiniGrid's image `uint8[N, v, v, 3]` -> cell codes `uint8[N, v, v]`, by cells ahead and cells from the left."""
    return encode(image).swapaxes(1, 2)[:, ::-1]


def window(agents: np.ndarray, view: int, size: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cells of each agent's view, by cells ahead and cells from the left, `[N, v, v]`.

    Args:
        agents: `int[N, 3]` x, y and direction.
        view: v.
        size: width and height of the map.

    Returns:
        x and y, clipped to the map, and which cells are on the map.
    """
    x, y, direction = (agents[:, i, None, None].astype(int) for i in range(3))
    dx, dy = np.asarray(DIR_X), np.asarray(DIR_Y)
    ahead, aside = np.arange(view)[:, None], np.arange(view)[None, :] - view // 2
    right = (direction + 1) % 4
    x, y = x + ahead * dx[direction] + aside * dx[right], y + ahead * dy[direction] + aside * dy[right]
    inside = (x >= 0) & (x < size[0]) & (y >= 0) & (y < size[1])
    return x.clip(0, size[0] - 1), y.clip(0, size[1] - 1), inside


def in_words(code: Any) -> str:
    """A cell code as a person reads it: "nothing", "a red key"."""
    kind, colour = int(code) & 15, int(code) >> 4
    word = KINDS[kind] if kind < len(KINDS) else f"thing of kind {kind}"
    return word if kind < 2 else f"a {COLOURS[colour] if colour < len(COLOURS) else f'colour {colour}'} {word}"
