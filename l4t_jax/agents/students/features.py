"""The input of the default student: the memory map centred on the agent and turned with it, as bits.

Device module. Nothing in it depends on the size of the map, so that a student plays maps of any size. What the student
tells apart are planes of cells (`planes`): what is unseen, the edge of the known, obstacles, lava, and the task's
objects. Of each it reads the cells near the agent; of the first two also whether a row or a column of cells at some
distance holds any; and of what is unseen and of each object the way to the nearest (`ways`).
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from l4t_jax.abstraction.scene import Mask, Scene, around
from l4t_jax.agents.students.recall import situations
from l4t_jax.agents.students.ways import BITS_OF_A_WAY, ways
from l4t_jax.envs.cells import (
    BOX,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    DROP,
    EMPTY,
    ENTERABLE,
    FORWARD,
    GOAL,
    KEY,
    LAVA,
    PICKUP,
    TOGGLE,
    colour_of,
    kind_of,
    one_of,
)
from l4t_jax.envs.state import MemoryMap
from l4t_jax.envs.task import DOORS, PORTABLE, Role, Task
from l4t_jax.kernels import Kernels, bits, ego
from l4t_jax.kernels.planes import Group

CHUNK = 128  # maps whose features are found at a time on a CPU
NEAR = 5  # rows and columns up to here are told apart
FAR = ((6, 7), (8, 10), (11, 15), (16, 31))
RANGES = (*((-last, -first) for first, last in reversed(FAR)), *((i, i) for i in range(-NEAR, NEAR + 1)), *FAR)
MOST_PLANES = 32  # bits of a word
DISTANT = 2  # planes, the first ones, that are read at a distance too
EFFECTS = (FORWARD, PICKUP, DROP, TOGGLE)  # actions of which the student reads whether they would change anything


def _distinct(task: Task) -> list[Role]:
    """The task's objects, those told apart by their number alone taken together."""
    found: dict[Role, Role] = {}
    for role in task.objects:
        found.setdefault(role.meant, role)
    return list(found.values())


def planes(scene: Scene) -> list[Mask]:
    """What the default student tells apart, `bool[W, H, *B]` each; the first `DISTANT` are read at a distance.

    Unseen cells; those of them beside a cell that the agent could walk on; obstacles: walls and things that no object
    of the task names; lava and unnamed goals; and the objects. An object that is a door in any state means a door that
    is not open.
    """
    kinds = scene.kinds
    passable = one_of(kinds, *ENTERABLE)
    objects = [_plane(scene, role) for role in _distinct(scene.task)]
    named = functools.reduce(jnp.logical_or, objects, scene.here)
    obstacles = ~(passable | scene.unseen | named)
    special = (kinds == LAVA) | ((kinds == GOAL) & ~named)
    return [scene.unseen, scene.unseen & around(passable), obstacles, special, *objects]


def packed_planes(scene: Scene) -> jax.Array:
    """`planes` as bits, `[W, P, B]` a word a column of the map: put together word by word."""
    width, height = scene.kinds.shape[:2]
    (x, y), kinds = scene.agent[:2], scene.kinds
    passable, unseen = scene.packed(one_of(kinds, *ENTERABLE)), scene.packed(scene.unseen)
    beside = functools.reduce(jnp.bitwise_or, [bits.shift(passable, *by) for by in ((1, 0), (-1, 0), (0, 1), (0, -1))])
    objects = [scene.packed(_plane(scene, role)) for role in _distinct(scene.task)]
    named = functools.reduce(jnp.bitwise_or, objects, bits.cell(x, y, width, height))
    whole = jnp.asarray((1 << height) - 1, unseen.dtype)
    obstacles = ~(passable | unseen | named) & whole
    special = scene.packed(kinds == LAVA) | (scene.packed(kinds == GOAL) & ~named)
    return scene.kernel.once(jnp.stack([unseen, unseen & beside, obstacles, special, *objects], axis=1))


def _plane(scene: Scene, role: Role) -> Mask:
    """Where an object is, whatever its number."""
    kinds = tuple(kind for kind in role.kinds if kind != DOOR_OPEN) if set(DOORS) <= set(role.kinds) else role.kinds
    return scene.matching(dataclasses.replace(role, kinds=kinds, nth=None))


def has_way(plane: int) -> bool:
    """Whether of a plane of that number the way to its nearest cell is read: what is unseen, and objects."""
    return plane == 0 or plane > 3


def number_of_planes(task: Task) -> int:
    """How many planes a task has.

    Raises:
        ValueError: more than the bits of a word.
    """
    number = 4 + len(_distinct(task))
    if number > MOST_PLANES:
        raise ValueError(
            f"{task.name} has {len(_distinct(task))} objects, and the default student tells at most "
            f"{MOST_PLANES - 4} apart; give the task fewer objects"
        )
    return number


def number_of_carried(task: Task) -> int:
    """How many bits say what is carried: anything, then each portable object."""
    return 1 + sum(role.portable for role in task.objects)


def effects(scene: Scene) -> list[jax.Array]:
    """Whether each of `EFFECTS` would change anything, as far as the agent knows, `bool[B]` each."""
    width, height, _ = scene.kinds.shape
    x, y = scene.ahead
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    _, kind, colour = scene.cell_ahead
    carried = scene.memory.carrying
    fits = (kind_of(carried) == KEY) & (colour_of(carried) == colour)
    changes = [
        one_of(kind, *ENTERABLE),
        (carried == 0) & one_of(kind, *PORTABLE),
        (carried != 0) & (kind == EMPTY),
        one_of(kind, DOOR_OPEN, DOOR_CLOSED, BOX) | ((kind == DOOR_LOCKED) & fits),
    ]
    return [does & inside for does in changes]


def ego_features(task: Task, memory: MemoryMap, window: int, kernel: Kernels) -> jax.Array:
    """The input of the default student but for what it remembers: `bool[*B, F]`."""
    words = bits.features_first(ego_words(task, memory, window, kernel)[0], kernel)
    return bits.batch_first(spread(task, words, window), kernel)


def spread(task: Task, words: jax.Array, window: int, recalled: int = 0) -> jax.Array:
    """The bits of `ego_words`, each a feature, the batch last: `[P, *B]` -> `bool[F, *B]`.

    Args:
        task: whose maps they are.
        words: of `ego_words`, or these and a word more.
        window: as there.
        recalled: how many bits that word has.
    """

    def lit(words: jax.Array, number: int) -> jax.Array:
        """The lowest bits of words `[n, *B]`, a bit of all words after the other: `[number * n, *B]`."""
        bit = jnp.arange(number, dtype=words.dtype).reshape(-1, *[1] * words.ndim)
        return (words[None] >> bit & 1 == 1).reshape(-1, *words.shape[1:])

    parts, at = list[jax.Array](), 0
    for number, size in word_groups(task, window, recalled):
        parts.append(lit(words[at : at + number], size))
        at += number
    return jnp.concatenate(parts)


def word_groups(task: Task, window: int, recalled: int = 0) -> tuple[Group, ...]:
    """What the words of `ego_words` are, and one more of `recalled` bits."""
    kinds = range(number_of_planes(task))
    groups = [
        Group(2 * len(RANGES), DISTANT),
        Group(BITS_OF_A_WAY, sum(has_way(plane) for plane in kinds)),
        Group(window * window, len(kinds)),
        Group(1, number_of_carried(task)),
        Group(1, len(EFFECTS)),
        *(Group(1, size) for size in (task.mission.sizes if task.mission else ())),
        *([Group(1, recalled)] if recalled else []),
    ]
    return tuple(groups)


def ego_words(
    task: Task, memory: MemoryMap, window: int, kernel: Kernels, shift: int = 0
) -> tuple[jax.Array, jax.Array]:
    """What the default student reads of maps, packed, and its situation in each (`recall.situations`).

    The first is `uint16[*B, P]` (`uint32` where a word has more than 16 bits), the second `float32[*B, NUM_ACTIONS]`.

    A word a place, a bit a plane: the ranges of rows ahead and of columns beside the agent, the bits of ways, then the
    cells near the agent; a word for what is carried, one for `EFFECTS`, and one a field of the mission, the drawn
    value's bit set. So a rollout keeps them in a few bytes. The middle of the window lies `shift` cells ahead of the
    agent.
    """
    batch = memory.carrying.shape

    def with_one_batch_axis(leaf: jax.Array) -> jax.Array:
        return leaf.reshape(-1, *leaf.shape[len(batch) :])

    flat = jax.tree.map(with_one_batch_axis, memory)
    words, found = kernel.in_parts(lambda part: _ego_words(task, part, window, kernel, shift), CHUNK, flat)
    return words.reshape(*batch, -1), found.reshape(*batch, -1)


def _ego_words(task: Task, memory: MemoryMap, window: int, kernel: Kernels, shift: int) -> tuple[jax.Array, jax.Array]:
    """`ego_words` with a single batch axis."""
    scene = Scene.of(task, memory, kernel)
    sizes = task.mission.sizes if task.mission else ()
    most = max(len(EFFECTS), number_of_planes(task), number_of_carried(task), *sizes, 1)
    word = jnp.uint16 if most <= 16 else jnp.uint32
    by_row, cells = places(scene, window, shift)
    carried = [~scene.hands_free, *(scene.carries(role) for role in task.objects if role.portable)]
    held = functools.reduce(jnp.bitwise_or, [has.astype(word) << i for i, has in enumerate(carried)])
    found = ways(scene, [scene.unseen, *(_plane(scene, role) for role in _distinct(task))])
    changes = effects(scene)
    would_do = functools.reduce(jnp.bitwise_or, [does.astype(word) << i for i, does in enumerate(changes)])

    def joined(planes: jax.Array) -> jax.Array:
        """Words `[n, B]` of `bool[n, P, B]`, a bit a plane."""
        return functools.reduce(jnp.bitwise_or, [planes[:, i].astype(word) << i for i in range(planes.shape[1])])

    place = jnp.arange(cells.shape[1], dtype=word)[None, :, None]
    near = jnp.sum(cells.astype(word) << place, axis=1, dtype=word)  # `joined`, but a TPU writes down no `cells`
    parts = [joined(by_row), joined(found), near]
    parts += [held[None], would_do[None]]
    for i in range(len(sizes)):
        assert memory.mission is not None
        parts.append((jnp.ones((), word) << memory.mission[:, i].astype(word))[None])
    return bits.batch_first(jnp.concatenate(parts), kernel), situations(scene, dict(zip(EFFECTS, changes, strict=True)))


def places(scene: Scene, window: int, shift: int = 0) -> tuple[jax.Array, jax.Array]:
    """What `kernels.ego.places` finds: the rows and columns of each distant plane, and the cells of each plane."""
    if scene.kernel.reference:
        found = [reference_places(mask, scene.agent, window, shift) for mask in planes(scene)]
        distant, cells = [rows for rows, _ in found[:DISTANT]], [cells for _, cells in found]
        return jnp.stack(distant, axis=1), jnp.stack(cells, axis=1)
    frame = ego.frame(scene.agent, max(scene.kinds.shape[:2]), window, RANGES, scene.kernel, shift)
    by_column = packed_planes(scene)
    by_row = scene.kernel.once(bits.transposed(by_column, scene.kinds.shape[1]))
    return ego.places(by_column, by_row, frame, DISTANT, scene.kernel)


def reference_places(plane: Mask, agent: jax.Array, window: int, shift: int = 0) -> tuple[jax.Array, jax.Array]:
    """`kernels.ego.places` cell by cell, of one plane `bool[W, H, B]` and agents `int32[3, B]`."""
    width, height = plane.shape[:2]
    x, y, d = agent
    xs, ys = jnp.arange(width)[:, None, None] - x, jnp.arange(height)[None, :, None] - y
    turned = [(xs, ys), (ys, -xs), (-xs, -ys), (-ys, xs)]  # (ahead, right) of a cell for each direction
    ahead = jnp.select([d == k for k in range(4)], [pair[0] + 0 * ys + 0 * xs for pair in turned])
    right = jnp.select([d == k for k in range(4)], [pair[1] + 0 * ys + 0 * xs for pair in turned])

    def any_of(mask: Mask) -> jax.Array:
        return jnp.any(plane & mask, axis=(0, 1))

    rows = [any_of((offset >= first) & (offset <= last)) for offset in (ahead, right) for first, last in RANGES]
    near = range(-(window // 2), window - window // 2)
    cells = [any_of((ahead == i + shift) & (right == j)) for i in near for j in near]
    return jnp.stack(rows), jnp.stack(cells)
