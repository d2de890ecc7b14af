"""Symbolic states: which of a task's objects the agent sees, in which order, and what it holds.

On the device a symbolic state is an integer (`observe_symbolic`); on the host it is `Symbolic`, with the sentence that
an LLM is told. `decode` and `encode` are a round trip; `enumerate_states` lists those that can occur.

An id is, from its lowest bit: one bit a role (seen), one bit a pair of portable objects (the first lies before the
second in scan order; only where the task renames colours, as the order then decides who is color1), and a number (held
role, 0 for none).
"""

from __future__ import annotations

import dataclasses
from itertools import combinations, permutations

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.envs.cells import COLOURS, colour_of, kind_of, one_of
from l4t_jax.envs.state import MemoryMap
from l4t_jax.envs.task import Task
from l4t_jax.kernels import bits


class SymbolicObservation(struct.PyTreeNode):
    """What the symbolic layer reads from a batch of memory maps (leading axes `*B`).

    Attributes:
        state: `int32[*B]` id of the symbolic state, below `num_states(task)`.
        place: `int8[*B, objects, 2]` each role's last known x and y; -1 where it was never seen this episode.
    """

    state: jax.Array
    place: jax.Array


def _portable(task: Task) -> list[int]:
    return [i for i, role in enumerate(task.objects) if role.portable]


def _pairs(task: Task) -> list[tuple[int, int]]:
    return list(combinations(_portable(task), 2)) if task.rename_colours else []


def num_states(task: Task) -> int:
    """How many ids there are; most tasks can meet only some of them (`enumerate_states`)."""
    return (1 << (len(task.objects) + len(_pairs(task)))) * (len(_portable(task)) + 1)


def observe_symbolic(task: Task, known: MemoryMap) -> SymbolicObservation:
    """The symbolic state and the remembered places; a function of the memory map and the carried's pickup_position
    alone.
    """
    width, height = known.cells.shape[-2:]
    cells = bits.batch_last(known.cells)
    kinds, colours = kind_of(cells), colour_of(cells)
    here = bits.cell(known.agent[..., 0].astype(jnp.int32), known.agent[..., 1].astype(jnp.int32), width, height)
    nowhere = width * height

    first = []  # the scan index of each role in the map, or `nowhere`
    held = jnp.zeros(known.carrying.shape, jnp.int32)
    for i, role in enumerate(task.objects):
        match = one_of(kinds, *role.kinds)
        carried = one_of(kind_of(known.carrying), *role.kinds) & (known.carrying != 0)
        if role.colour is not None:
            match = match & (colours == role.colour)
            carried = carried & (colour_of(known.carrying) == role.colour)
        if role.portable:
            held = jnp.where(carried & (held == 0), _portable(task).index(i) + 1, held)
        left = bits.pack(match) & ~here
        for _ in range(role.nth):
            x, y = jnp.divmod(bits.first_cell(left, height), height)
            left = left & ~bits.cell(x, y, width, height)
        first.append(bits.first_cell(left, height))

    state = jnp.zeros(known.carrying.shape, jnp.int32)
    for i, found in enumerate(first):
        state = state | ((found < nowhere).astype(jnp.int32) << i)
    for b, (i, j) in enumerate(_pairs(task)):
        both = (first[i] < nowhere) & (first[j] < nowhere)
        state = state | ((both & (first[i] < first[j])).astype(jnp.int32) << (len(task.objects) + b))
    state = state + held * (1 << (len(task.objects) + len(_pairs(task))))

    places = []
    for i, found in enumerate(first):
        px, py = jnp.divmod(found, height)
        place = jnp.where((found < nowhere)[..., None], jnp.stack([px, py], axis=-1), -1)
        if task.objects[i].portable:
            is_held = held == _portable(task).index(i) + 1
            place = jnp.where((is_held & (found == nowhere))[..., None], known.pickup_position.astype(jnp.int32), place)
        places.append(place)
    place = jnp.stack(places, axis=-2).astype(jnp.int8)
    return SymbolicObservation(state=state, place=place)


@dataclasses.dataclass(frozen=True)
class Symbolic:
    """A symbolic state as a person reads it.

    Attributes:
        sees: names of the objects seen, portable ones first (in scan order where the task renames colours), then the
            others.
        holds: name of the role held, or None.
    """

    sees: tuple[str, ...]
    holds: str | None

    @property
    def sentence(self) -> str:
        """As the LLM is told: "Agent sees <key>, <door>, holds <nothing>."."""
        seen = ", ".join(f"<{name}>" for name in self.sees) or "<nothing>"
        return f"Agent sees {seen}, holds <{self.holds or 'nothing'}>."


def decode(task: Task, state: int) -> Symbolic:
    """The symbolic state of an id."""
    bits = state & ((1 << (len(task.objects) + len(_pairs(task)))) - 1)
    held = state >> (len(task.objects) + len(_pairs(task)))
    seen = [i for i in range(len(task.objects)) if bits >> i & 1]
    before = {pair: bool(bits >> (len(task.objects) + b) & 1) for b, pair in enumerate(_pairs(task))}
    portable = [i for i in seen if i in _portable(task)]
    if task.rename_colours:  # rank by the number of objects that lie before
        portable = sorted(
            portable,
            key=lambda i: sum(before.get((j, i), not before.get((i, j), False)) for j in portable if j != i),
        )
    names = [task.objects[i].name for i in portable + [i for i in seen if i not in portable]]
    return Symbolic(tuple(names), task.objects[_portable(task)[held - 1]].name if held else None)


def encode(task: Task, symbolic: Symbolic) -> int:
    """The id of a symbolic state; inverse of `decode`.

    Raises:
        ValueError: it names something the task has not.
    """
    names = [role.name for role in task.objects]
    for name in (*symbolic.sees, *([symbolic.holds] if symbolic.holds else [])):
        if name not in names:
            raise ValueError(f"{task.name} has no object {name!r}; its objects are {', '.join(names)}")
    seen = [names.index(name) for name in symbolic.sees]
    state = sum(1 << i for i in seen)
    for b, (i, j) in enumerate(_pairs(task)):
        if i in seen and j in seen and seen.index(i) < seen.index(j):
            state |= 1 << (len(names) + b)
    held = 0
    if symbolic.holds:
        if names.index(symbolic.holds) not in _portable(task):
            raise ValueError(f"{symbolic.holds!r} cannot be held in {task.name}")
        held = _portable(task).index(names.index(symbolic.holds)) + 1
    return state + held * (1 << (len(names) + len(_pairs(task))))


def enumerate_states(task: Task) -> list[int]:
    """The ids that can occur: each role is one object, so it is unseen, seen or held, and at most one is held.

    A role that is the second of its kind is seen only with the first; states of one object exclude each other.
    """
    found = []
    for state in range(num_states(task)):
        symbolic = decode(task, state)
        if encode(task, symbolic) != state:
            continue  # a pair bit without its pair
        seen = [i for i, role in enumerate(task.objects) if role.name in symbolic.sees]
        objects = [task.objects[i].is_same_as for i in seen if task.objects[i].is_same_as]
        numbered = {(task.objects[i].kinds, task.objects[i].colour, task.objects[i].nth) for i in seen}
        ordered = all(nth == 0 or (kinds, colour, nth - 1) in numbered for kinds, colour, nth in numbered)
        if symbolic.holds in symbolic.sees or len(set(objects)) < len(objects) or not ordered:
            continue
        found.append(state)
    return found


def rename(task: Task, symbolic: Symbolic) -> tuple[Symbolic, dict[str, str]]:
    """Colours as color1, color2, ... by first appearance in the sentence, if the task asks for it.

    Returns:
        The renamed state, and which new name stands for which role of the task, for every role whose colour has a name.
    """
    if not task.rename_colours:
        return symbolic, {role.name: role.name for role in task.objects}
    order: list[str] = []
    for name in (*symbolic.sees, *([symbolic.holds] if symbolic.holds else [])):
        colour = name.split(" ", 1)[0]
        if colour in COLOURS and colour not in order:
            order.append(colour)

    def new(name: str) -> str | None:
        colour, _, rest = name.partition(" ")
        if colour not in COLOURS:
            return name
        return f"color{order.index(colour) + 1} {rest}" if colour in order else None

    renamed = Symbolic(tuple(new(n) or n for n in symbolic.sees), symbolic.holds and new(symbolic.holds))
    return renamed, {alias: role.name for role in task.objects if (alias := new(role.name)) is not None}


def aliases(task: Task, renamed: Symbolic) -> set[str]:
    """The names that stand for a role of the task in every state that reads as `renamed` does (`rename`).

    Which colours those are is tried out: there are at most six.
    """
    names = {role.name for role in task.objects}
    if not task.rename_colours:
        return names
    said = [*renamed.sees, *([renamed.holds] if renamed.holds else [])]
    number = len({name.split(" ", 1)[0] for name in said if name not in names})
    colours = dict.fromkeys(name.split(" ", 1)[0] for name in names if name.split(" ", 1)[0] in COLOURS)
    found: list[set[str]] = []
    for order in permutations(colours, number):
        known = set()
        for name in names:
            colour, _, rest = name.partition(" ")
            if colour not in COLOURS:
                known.add(name)
            elif colour in order:
                known.add(f"color{order.index(colour) + 1} {rest}")
        if known.issuperset(said):
            found.append(known)
    return set.intersection(*found)
