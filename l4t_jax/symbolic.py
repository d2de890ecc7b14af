"""Symbolic states: which of a task's nouns the agent sees, in which order, and what it holds.

On the device a symbolic state is an integer (`sight`); on the host it is `Symbolic`, with the sentence that an LLM is
told. `decode` and `encode` are a round trip; `enumerate_states` lists those that can occur.

An id is, from its lowest bit: one bit a noun (seen), one bit a pair of portable nouns (the first lies before the second
in scan order; only where the task renames colours, as the order then decides who is color1), and a number (held noun,
0 for none).
"""

from __future__ import annotations

import dataclasses
from itertools import combinations, permutations

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax import bits
from l4t_jax.tasks.task import Task
from l4t_jax.types import COLOURS, KnownMap, colour_of, kind_of, one_of


class Sighting(struct.PyTreeNode):
    """What the symbolic layer reads from a batch of known maps (leading axes `*B`).

    Attributes:
        state: `int32[*B]` id of the symbolic state, below `num_states(task)`.
        place: `int8[*B, nouns, 2]` each noun's last known x and y; -1 where it was never seen this episode.
    """

    state: jax.Array
    place: jax.Array


def _portable(task: Task) -> list[int]:
    return [i for i, noun in enumerate(task.nouns) if noun.portable]


def _pairs(task: Task) -> list[tuple[int, int]]:
    return list(combinations(_portable(task), 2)) if task.rename_colours else []


def num_states(task: Task) -> int:
    """How many ids there are; most tasks can meet only some of them (`enumerate_states`)."""
    return (1 << (len(task.nouns) + len(_pairs(task)))) * (len(_portable(task)) + 1)


def sight(task: Task, known: KnownMap) -> Sighting:
    """The symbolic state and the remembered places; a function of the known map and the cargo's origin alone."""
    width, height = known.cells.shape[-2:]
    cells = bits.batch_last(known.cells)
    kinds, colours = kind_of(cells), colour_of(cells)
    here = bits.cell(known.agent[..., 0].astype(jnp.int32), known.agent[..., 1].astype(jnp.int32), width, height)
    nowhere = width * height

    first = []  # the scan index of each noun in the map, or `nowhere`
    held = jnp.zeros(known.carrying.shape, jnp.int32)
    for i, noun in enumerate(task.nouns):
        match = one_of(kinds, *noun.kinds)
        carried = one_of(kind_of(known.carrying), *noun.kinds) & (known.carrying != 0)
        if noun.colour is not None:
            match = match & (colours == noun.colour)
            carried = carried & (colour_of(known.carrying) == noun.colour)
        if noun.portable:
            held = jnp.where(carried & (held == 0), _portable(task).index(i) + 1, held)
        left = bits.pack(match) & ~here
        for _ in range(noun.nth):
            x, y = jnp.divmod(bits.first_cell(left, height), height)
            left = left & ~bits.cell(x, y, width, height)
        first.append(bits.first_cell(left, height))

    state = jnp.zeros(known.carrying.shape, jnp.int32)
    for i, found in enumerate(first):
        state = state | ((found < nowhere).astype(jnp.int32) << i)
    for b, (i, j) in enumerate(_pairs(task)):
        both = (first[i] < nowhere) & (first[j] < nowhere)
        state = state | ((both & (first[i] < first[j])).astype(jnp.int32) << (len(task.nouns) + b))
    state = state + held * (1 << (len(task.nouns) + len(_pairs(task))))

    places = []
    for i, found in enumerate(first):
        px, py = jnp.divmod(found, height)
        place = jnp.where((found < nowhere)[..., None], jnp.stack([px, py], axis=-1), -1)
        if task.nouns[i].portable:
            is_held = held == _portable(task).index(i) + 1
            place = jnp.where((is_held & (found == nowhere))[..., None], known.origin.astype(jnp.int32), place)
        places.append(place)
    place = jnp.stack(places, axis=-2).astype(jnp.int8)
    return Sighting(state=state, place=place)


@dataclasses.dataclass(frozen=True)
class Symbolic:
    """A symbolic state as a person reads it.

    Attributes:
        sees: names of the nouns seen, portable ones first (in scan order where the task renames colours), then the
            others.
        holds: name of the noun held, or None.
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
    bits = state & ((1 << (len(task.nouns) + len(_pairs(task)))) - 1)
    held = state >> (len(task.nouns) + len(_pairs(task)))
    seen = [i for i in range(len(task.nouns)) if bits >> i & 1]
    before = {pair: bool(bits >> (len(task.nouns) + b) & 1) for b, pair in enumerate(_pairs(task))}
    portable = [i for i in seen if i in _portable(task)]
    if task.rename_colours:  # rank by the number of nouns that lie before
        portable = sorted(
            portable,
            key=lambda i: sum(before.get((j, i), not before.get((i, j), False)) for j in portable if j != i),
        )
    names = [task.nouns[i].name for i in portable + [i for i in seen if i not in portable]]
    return Symbolic(tuple(names), task.nouns[_portable(task)[held - 1]].name if held else None)


def encode(task: Task, symbolic: Symbolic) -> int:
    """The id of a symbolic state; inverse of `decode`.

    Raises:
        ValueError: it names something the task has not.
    """
    names = [noun.name for noun in task.nouns]
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
    """The ids that can occur: each noun is one object, so it is unseen, seen or held, and at most one is held.

    A noun that is the second of its kind is seen only with the first; states of one object exclude each other.
    """
    found = []
    for state in range(num_states(task)):
        symbolic = decode(task, state)
        if encode(task, symbolic) != state:
            continue  # a pair bit without its pair
        seen = [i for i, noun in enumerate(task.nouns) if noun.name in symbolic.sees]
        objects = [task.nouns[i].is_same_as for i in seen if task.nouns[i].is_same_as]
        numbered = {(task.nouns[i].kinds, task.nouns[i].colour, task.nouns[i].nth) for i in seen}
        ordered = all(nth == 0 or (kinds, colour, nth - 1) in numbered for kinds, colour, nth in numbered)
        if symbolic.holds in symbolic.sees or len(set(objects)) < len(objects) or not ordered:
            continue
        found.append(state)
    return found


def rename(task: Task, symbolic: Symbolic) -> tuple[Symbolic, dict[str, str]]:
    """Colours as color1, color2, ... by first appearance in the sentence, if the task asks for it.

    Returns:
        The renamed state, and which new name stands for which noun of the task, for every noun whose colour has a name.
    """
    if not task.rename_colours:
        return symbolic, {noun.name: noun.name for noun in task.nouns}
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
    return renamed, {alias: noun.name for noun in task.nouns if (alias := new(noun.name)) is not None}


def aliases(task: Task, renamed: Symbolic) -> set[str]:
    """The names that stand for a noun of the task in every state that reads as `renamed` does (`rename`).

    Which colours those are is tried out: there are at most six.
    """
    names = {noun.name for noun in task.nouns}
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
