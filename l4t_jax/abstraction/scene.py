"""A batch of memory maps as masks: what symbolic states and skills are found from.

Device module. A mask is `bool[W, H, *B]`: the map's axes first, so that `mask[x, y]` is a cell, and the batch behind
them. Code for a single map works on a batch as it stands.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import (
    COLOURS,
    DIR_X,
    DIR_Y,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    EMPTY,
    FLOOR,
    GOAL,
    KEY,
    LAVA,
    UNSEEN,
    colour_of,
    kind_of,
    one_of,
)  # fmt: skip
from l4t_jax.envs.state import MemoryMap
from l4t_jax.envs.task import DOORS, PORTABLE, Role, Task
from l4t_jax.kernels import Kernels, bits

Mask = jax.Array  # bool[W, H, *B]


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a batch of agents knows (batch axes `*B`).

    Attributes:
        task: what they are to do.
        memory: their memory maps, batch axes first.
        kernel: how things are computed.
        kinds, colours: `uint8[W, H, *B]` of each cell.
        agent: `int32[3, *B]` x, y, direction.
    """

    task: Task
    memory: MemoryMap
    kernel: Kernels
    kinds: jax.Array
    colours: jax.Array
    agent: jax.Array

    @classmethod
    def of(cls, task: Task, memory: MemoryMap, kernel: Kernels) -> Scene:
        """Reads a batch of memory maps, leading axes `*B`."""
        # The layout must be asked for: left alone, XLA keeps the batch in front and reads it with a stride wherever a
        # mask is packed (10 x 10 maps, three masks: 114 ns a map; so, 21).
        cells = kernel.as_written(jnp.moveaxis(memory.cells, (-2, -1), (0, 1)))
        agent = jnp.moveaxis(memory.agent, -1, 0).astype(jnp.int32)
        return cls(task, memory, kernel, kind_of(cells), colour_of(cells), agent)

    def cell(self, x: jax.Array, y: jax.Array) -> Mask:
        """The cell (x, y) of each map, `int32[*B]` each; none where it is off the map."""
        width, height, *batch = self.kinds.shape
        ones = [1] * len(batch)
        xs, ys = jnp.arange(width, dtype=jnp.int8), jnp.arange(height, dtype=jnp.int8)  # bytes, as masks are
        return (xs.reshape(-1, 1, *ones) == x.astype(jnp.int8)) & (ys.reshape(1, -1, *ones) == y.astype(jnp.int8))

    def packed(self, mask: Mask) -> jax.Array:
        """A mask as bits `[W, *B]` (`kernels.bits`); found once, however often it is asked for."""
        kept, words = self._packed.get(id(mask), (None, None))
        if kept is not mask or words is None:
            words = bits.pack(mask, self.kernel)
            self._packed[id(mask)] = (mask, words)
        return words

    @functools.cached_property
    def _packed(self) -> dict[int, tuple[Mask, jax.Array]]:
        return {}

    def any(self, mask: Mask) -> jax.Array:
        """Whether a mask has any cell, `bool[*B]`."""
        if self.kernel.reference:
            return jnp.any(mask, axis=(0, 1))
        return bits.any_bit(self.packed(mask))  # a third of the time of a reduction over two axes

    def first_index(self, mask: Mask) -> jax.Array:
        """The place x * H + y of the first cell of a mask in scan order, x first, `int32[*B]`; W * H for none."""
        width, height, *batch = mask.shape
        if not self.kernel.reference:
            return bits.first_cell(self.packed(mask), height)
        order = jnp.arange(width * height, dtype=jnp.int32).reshape(width, height, *[1] * len(batch))
        return jnp.min(jnp.where(mask, order, width * height), axis=(0, 1))

    def first_cell(self, mask: Mask) -> Mask:
        """The first cell of a mask in scan order; none where there is none."""
        x, y = jnp.divmod(self.first_index(mask), mask.shape[1])
        first = self.cell(x, y)
        if not self.kernel.reference:
            self._packed[id(first)] = (first, bits.cell(x, y, *mask.shape[:2]))
        return first

    @functools.cached_property
    def here(self) -> Mask:
        """The agent's own cell."""
        return self.cell(self.agent[0], self.agent[1])

    @functools.cached_property
    def ahead(self) -> tuple[jax.Array, jax.Array]:
        """x and y of the cell ahead of each agent, `int32[*B]` each; it may be off the map."""
        x, y, d = self.agent
        return x + jnp.asarray(DIR_X)[d], y + jnp.asarray(DIR_Y)[d]

    @functools.cached_property
    def cell_ahead(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The cell ahead of each agent, or the nearest that is on the map: its place x * H + y `int32[B]`, its kind and
        colour `uint8[B]`. For a single batch axis.
        """
        width, height, batch = self.kinds.shape
        x, y = self.ahead
        place = jnp.clip(x, 0, width - 1) * height + jnp.clip(y, 0, height - 1)
        kinds, colours = (leaf.reshape(width * height, batch) for leaf in (self.kinds, self.colours))
        kind, colour = (jnp.take_along_axis(leaf, place[None], axis=0)[0] for leaf in (kinds, colours))
        return place, kind, colour

    @functools.cached_property
    def unseen(self) -> Mask:
        return self.kinds == UNSEEN

    @functools.cached_property
    def free(self) -> Mask:
        """Cells that skills walk on: floor, goals, open doors, and lava where the task does not avoid it."""
        lava = () if self.task.avoid_lava else (LAVA,)
        return one_of(self.kinds, EMPTY, FLOOR, GOAL, DOOR_OPEN, *lava)

    @functools.cached_property
    def closed_doors(self) -> Mask:
        return self.kinds == DOOR_CLOSED

    @functools.cached_property
    def doors(self) -> Mask:
        """Doors in any state."""
        return one_of(self.kinds, *DOORS)

    @functools.cached_property
    def movable(self) -> Mask:
        """Things that can be carried away: keys, balls, boxes."""
        return one_of(self.kinds, *PORTABLE) & ~self.here

    @functools.cached_property
    def through_doors(self) -> Mask:
        """Free cells and closed doors, which can be opened."""
        return self.free | self.closed_doors

    @functools.cached_property
    def past_things(self) -> Mask:
        """As `through_doors`, and what can be carried away, while the hands are free.

        Only things that stand in the way: one that can be walked around, a step to the side, need not be moved, and
        moving it would go on for ever, as it is put down a step away.
        """
        walkable = self.free | self.doors | self.here
        in_the_way = parts_around(walkable, walkable | self.movable | self.unseen) > 1
        return self.through_doors | (self.movable & in_the_way & self.hands_free)

    @functools.cached_property
    def hands_free(self) -> jax.Array:
        """`bool[*B]`: nothing is carried."""
        return self.memory.carrying == 0

    def matching(self, role: Role) -> Mask:
        """The cells of the map that a role means, the agent's own apart; of numbered roles the nth in scan order."""
        meant = role.meant
        if meant not in self._matching:
            self._matching[meant] = self._of_any_number(role)
        mask = self._matching[meant]
        for _ in range(role.nth or 0):
            mask = mask & ~self.first_cell(mask)
        return mask if role.nth is None else self.first_cell(mask)

    @functools.cached_property
    def _matching(self) -> dict[Role, Mask]:
        return {}

    def _of_any_number(self, role: Role) -> Mask:
        """`matching`, whatever the role's number."""
        mask = one_of(self.kinds, *role.kinds) & ~self.here
        colour = _colour(role, self.memory.mission)
        if colour is not None:
            mask = mask & (self.colours == colour)
        if role.target is not None:
            assert self.memory.targets is not None, f"{self.task.name} marks no targets"
            bits = jnp.moveaxis(self.memory.targets, (-2, -1), (0, 1))
            mask = mask & (bits >> role.target & 1 == 1)
        if role.opens and role.kinds == (KEY,):
            mask = mask & self._opens_a_door
        elif role.opens:
            holds_key = (kind_of(self.memory.carrying) == KEY) & ~self.hands_free
            mask = mask & (~holds_key | (self.colours == colour_of(self.memory.carrying)))
        if role.beside:
            mask = mask & around(one_of(self.kinds, *role.beside))
        if role.needs is not None:
            needed = next(other for other in self.task.objects if other.name == role.needs)
            mask = mask & self.any(self.matching(needed))
        return mask

    @functools.cached_property
    def _opens_a_door(self) -> Mask:
        """Cells of a colour that a locked door seen has."""
        found = jnp.zeros(self.kinds.shape, bool)
        for colour in range(len(COLOURS)):
            locked = self.any((self.kinds == DOOR_LOCKED) & (self.colours == colour))
            found = found | (locked & (self.colours == colour))
        return found

    def carries(self, role: Role) -> jax.Array:
        """Whether a role's object is carried, `bool[*B]`."""
        memory = self.memory
        return (memory.carrying != 0) & is_object(role, memory.carrying, memory.mission, memory.carried_targets)

    @functools.cached_property
    def lying(self) -> tuple[Mask, ...]:
        """Where each of the task's objects lies or stands."""
        return tuple(self.matching(role) for role in self.task.objects)

    @functools.cached_property
    def held(self) -> jax.Array:
        """Which of the task's portable objects is carried: `int32[*B]`, 1 for the first, 0 for none of them."""
        held = jnp.zeros(self.memory.carrying.shape, jnp.int32)
        for number, role in enumerate((role for role in self.task.objects if role.portable), start=1):
            held = jnp.where((held == 0) & self.carries(role), number, held)
        return held

    @functools.cached_property
    def taken_from(self) -> Mask:
        """The cell where the carried object was picked up; none while nothing is carried."""
        x, y = (self.memory.pickup_position[..., i].astype(jnp.int32) for i in range(2))
        return self.cell(x, y)

    @functools.cached_property
    def remembered(self) -> tuple[Mask, ...]:
        """Where each of the task's objects was last known to be.

        It lies where the map shows it, or was carried off from where it was picked up.
        """
        masks, number = [], 0
        for role, mask in zip(self.task.objects, self.lying, strict=True):
            if role.portable:
                number += 1
                is_held = (self.held == number) & ~self.any(mask)
                mask = jnp.where(is_held, self.taken_from, mask)
            masks.append(mask)
        return tuple(masks)


def is_object(role: Role, code: jax.Array, mission: jax.Array | None, targets: jax.Array | None) -> jax.Array:
    """Whether cell codes are a role's object, `bool[*B]`: whatever its number, what lies beside it and what it fits.

    Args:
        role: the object.
        code: `uint8[*B]`.
        mission: of each episode, if the task draws one.
        targets: `uint8[*B]` the bits of the things with these codes, if the task marks any.
    """
    match = one_of(kind_of(code), *role.kinds)
    colour = _colour(role, mission)
    if colour is not None:
        match = match & (colour_of(code) == colour)
    if role.target is not None:
        assert targets is not None, f"no targets are marked, which the object {role.name} asks for"
        match = match & (targets >> role.target & 1 == 1)
    return match


def _colour(role: Role, mission: jax.Array | None) -> jax.Array | int | None:
    """The colour of a role, `int[*B]` where the mission gives it; None where any will do."""
    if role.mission_colour is None:
        return role.colour
    assert mission is not None, f"no mission is drawn, which the object {role.name} asks for"
    return mission[..., role.mission_colour]


def around(mask: Mask) -> Mask:
    """The cells that have one of a mask's cells beside them, in one of the four directions."""
    padded = jnp.pad(mask, [(1, 1), (1, 1)] + [(0, 0)] * (mask.ndim - 2))
    return padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]


def parts_around(walkable: Mask, wanted: Mask) -> jax.Array:
    """Into how many parts the cells around each cell fall when it cannot be walked on, `int8[W, H, *B]`.

    Counted are the four cells beside it, joined through the eight around it: those walkable, and those only wanted
    (things, what is unseen), which need a walkable cell beside them.

    Args:
        walkable, wanted: `bool[W, H, *B]`; all that is walkable is wanted.
    """
    width, height = walkable.shape[:2]
    steps = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))

    def ring(mask: Mask) -> list[Mask]:
        padded = jnp.pad(mask, [(1, 1), (1, 1)] + [(0, 0)] * (mask.ndim - 2))
        return [padded[1 + dx : 1 + dx + width, 1 + dy : 1 + dy + height] for dx, dy in steps]

    walk, want = ring(walkable), ring(wanted)
    parts = jnp.zeros(walkable.shape, jnp.int8)
    for i in range(0, 8, 2):
        onward, back = walk[i + 1] & walk[(i + 2) % 8], walk[i - 1] & walk[i - 2]
        parts = parts + jnp.where(walk[i], ~onward, want[i] & ~(onward | back))
    return parts
