"""The input of the default student: the memory map centred on the agent and turned with it, as bits.

Device module.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import (
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    EMPTY,
    FLOOR,
    GOAL,
    LAVA,
    UNSEEN,
    WALL,
    colour_of,
    kind_of,
    one_of,
)
from l4t_jax.envs.state import MemoryMap
from l4t_jax.envs.task import DOORS, Task, door_opened
from l4t_jax.kernels import bits


def sorts_of_cell(task: Task, cells: jax.Array) -> list[jax.Array]:
    """What the default student tells apart, as planes `bool[W, H, *B]` of cells `uint8[W, H, *B]`.

    Cells never seen; those of them beside a cell the agent could walk on, the edge of the known; walls; the task's
    further kinds; and its things, told apart as its objects are but for a role's number. Where one role stands for a
    door in any state and the door may have to be walked through, doors in the way are a plane of their own.
    """
    kinds = kind_of(cells)
    unseen = kinds == UNSEEN
    passable = one_of(kinds, EMPTY, FLOOR, DOOR_OPEN, GOAL, LAVA)
    p = jnp.pad(passable, [(1, 1), (1, 1), *[(0, 0)] * (cells.ndim - 2)])
    beside = p[:-2, 1:-1] | p[2:, 1:-1] | p[1:-1, :-2] | p[1:-1, 2:]
    planes = [unseen, unseen & beside, kinds == WALL, *(kinds == kind for kind in task.further_kinds)]
    if task.success is not door_opened and any(set(DOORS) <= set(role.kinds) for role in task.objects):
        planes.append(one_of(kinds, DOOR_CLOSED, DOOR_LOCKED))
    for role_kinds, colour in dict.fromkeys((role.kinds, role.colour) for role in task.objects):
        plane = one_of(kinds, *role_kinds)
        planes.append(plane if colour is None else plane & (colour_of(cells) == colour))
    return planes


CHUNK = 128  # maps whose features are found at a time on a CPU


def ego_features(task: Task, memory: MemoryMap, window: int) -> jax.Array:
    """The input of `EgoMLP`: `bool[*B, F]`."""
    return bits.batch_first(spread(task, bits.features_first(ego_words(task, memory, window))))


def spread(task: Task, words: jax.Array) -> jax.Array:
    """The bits of `ego_words`, each a feature, the batch last: `[P, *B]` -> `bool[F, *B]`."""

    def lit(words: jax.Array, number: int) -> jax.Array:
        """The lowest bits of words `[n, *B]`, a bit of all words after the other: `[number * n, *B]`."""
        bit = jnp.arange(number, dtype=words.dtype).reshape(-1, *[1] * words.ndim)
        return (words[None] >> bit & 1 == 1).reshape(-1, *words.shape[1:])

    return jnp.concatenate([lit(words[:-1], number_of_sorts(task)), lit(words[-1:], number_of_carried(task))])


def number_of_sorts(task: Task) -> int:
    """How many planes `sorts_of_cell` gives."""
    return len(jax.eval_shape(lambda cells: sorts_of_cell(task, cells), jax.ShapeDtypeStruct((1, 1), jnp.uint8)))


def number_of_carried(task: Task) -> int:
    """How many bits the last of `ego_words` holds."""
    return 1 + sum(role.portable for role in task.objects)


def ego_words(task: Task, memory: MemoryMap, window: int) -> jax.Array:
    """What `EgoMLP` reads, packed: `uint16[..., P]` (`uint32` above 16 sorts), a place's sorts as bits of a word.

    The places are the map's rows and columns ahead of and beside the agent, then the cells near it; the last word says
    what it carries. So a rollout keeps them in a few bytes.

    Within, the batch is last and a sort of cell is a word a line of the map (`bits`): centring and turning are shifts
    (three to four times as fast as picking cells).
    """
    batch = memory.carrying.shape
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[len(batch) :]), memory)
    words = bits.in_parts(lambda part: _ego_words(task, part, window), CHUNK, flat)
    return words.reshape(*batch, -1)


def _ego_words(task: Task, memory: MemoryMap, window: int) -> jax.Array:
    """`ego_words` with a single batch axis."""
    width, height = task.width, task.height
    span, half = max(width, height), window // 2
    line_word = bits.word_type(span)
    size = jnp.iinfo(line_word).bits
    planes = sorts_of_cell(task, bits.batch_last(memory.cells))
    word = jnp.uint16 if max(len(planes), number_of_carried(task)) <= 16 else jnp.uint32
    x, y, d = (memory.agent[..., i].astype(jnp.int32) for i in range(3))

    def bit(words: jax.Array, place: jax.Array) -> jax.Array:
        """Bits of words, 0 where `place` is none of them."""
        got = words >> (place & (size - 1)).astype(line_word) & 1
        return jnp.where((place >= 0) & (place < size), got, 0).astype(word)

    def filled(lines: jax.Array) -> jax.Array:
        """Which of `[n, B]` lines hold anything, as bits `[B]`."""
        place = jnp.arange(len(lines), dtype=line_word)[:, None]
        return jnp.sum((lines != 0).astype(line_word) << place, axis=0, dtype=line_word)

    offset = jnp.arange(-(span - 1), span)[:, None]
    near = jnp.arange(-half, window - half)[:, None]
    along_x = d % 2 == 0
    ahead = jnp.where(along_x, x, y)[None] + jnp.where(d >= 2, -1, 1)[None] * near  # the lines ahead
    aside = jnp.where(along_x, y, x)[None] + jnp.where((d == 1) | (d == 2), -1, 1)[None] * near

    def met(by_x: jax.Array, by_y: jax.Array, direction: jax.Array) -> jax.Array:
        """The map's rows or columns as met when walking in a direction from the agent: `[2 span - 1, B]`."""
        flat = direction % 2 == 0
        place = jnp.where(flat, x, y)[None] + jnp.where(direction >= 2, -1, 1)[None] * offset
        return bit(jnp.where(flat, by_x, by_y)[None], place)

    def places(plane: jax.Array) -> jax.Array:
        """A plane's places, `[P - 1, B]` of 0 and 1."""
        columns = bits.pack(plane).astype(line_word)
        rows = bits.pack(jnp.swapaxes(plane, 0, 1)).astype(line_word)
        by_x, by_y = jax.lax.optimization_barrier((filled(columns), filled(rows)))
        columns, rows = jnp.pad(columns, [(0, span - width), (0, 0)]), jnp.pad(rows, [(0, span - height), (0, 0)])
        lines = jax.lax.optimization_barrier(jnp.where(along_x[None], columns, rows))  # not anew for every place
        is_ahead = ahead[:, None] == jnp.arange(span)[None, :, None]
        chosen = jnp.sum(jnp.where(is_ahead, lines[None], 0), axis=1, dtype=line_word)  # (window, B)
        cells = bit(chosen[:, None], aside[None])  # (window, window, B)
        return jnp.concatenate([met(by_x, by_y, d), met(by_x, by_y, (d + 1) & 3), cells.reshape(-1, x.shape[0])])

    packed = functools.reduce(jnp.bitwise_or, [places(plane) << sort for sort, plane in enumerate(planes)])
    carried = [memory.carrying != 0]
    for role in task.objects:
        if role.portable:
            has = one_of(kind_of(memory.carrying), *role.kinds) & (memory.carrying != 0)
            carried.append(has if role.colour is None else has & (colour_of(memory.carrying) == role.colour))
    held = functools.reduce(jnp.bitwise_or, [has.astype(word) << i for i, has in enumerate(carried)])
    return bits.batch_first(jnp.concatenate([packed, held[None]]))
