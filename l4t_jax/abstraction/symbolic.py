"""Symbolic states: which of a task's objects the agent sees, which it could walk to, and what it holds.

On the device a symbolic state is an integer (`state_of`); on the host it is `Symbolic`, with the sentence that an LLM
is told. `decode` and `encode` are a round trip; `enumerate_states` lists those that can occur.

An id has one digit an object (0 unseen, 1 seen; where the task tells reach apart, 1 within reach, 2 seen but blocked),
then one bit a pair of portable objects (the first lies before the second in scan order; only where the task renames
colours, as the order then decides who is color1), then a number (the object held, 0 for none). The first object's
digit counts least.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from itertools import combinations, permutations, product

import jax
import jax.numpy as jnp

from l4t_jax.abstraction.scene import Scene
from l4t_jax.envs.cells import COLOURS
from l4t_jax.envs.task import Role, Task

UNSEEN, WITHIN_REACH, BLOCKED = range(3)
BLOCKED_WORD = "blocked"


def _portable(task: Task) -> list[int]:
    return [i for i, role in enumerate(task.objects) if role.portable]


def _pairs(task: Task) -> list[tuple[int, int]]:
    return list(combinations(_portable(task), 2)) if task.rename_colours else []


def _digits(task: Task) -> list[int]:
    """How many values each digit of an id has: objects, pairs, what is held."""
    return [3 if role.reach else 2 for role in task.objects] + [2] * len(_pairs(task)) + [len(_portable(task)) + 1]


def num_states(task: Task) -> int:
    """How many ids there are; most tasks can meet only some of them (`enumerate_states`)."""
    return math.prod(_digits(task))


def _number(task: Task, values: list[int]) -> int:
    """The id of its digits."""
    state = 0
    for value, size in zip(reversed(values), reversed(_digits(task)), strict=True):
        state = state * size + value
    return state


def _values(task: Task, state: int) -> list[int]:
    """The digits of an id."""
    values = []
    for size in _digits(task):
        state, value = divmod(state, size)
        values.append(value)
    return values


def state_of(scene: Scene, within_reach: Mapping[int, jax.Array]) -> jax.Array:
    """The ids of the symbolic states of a batch, `int32[*B]`; a function of the memory maps alone.

    Args:
        scene: the batch.
        within_reach: for each object whose reach the task tells (`Role.reach`), by its place in `task.objects`:
            `bool[*B]` whether there is a path to it.
    """
    task = scene.task
    values: list[jax.Array] = []
    for i, mask in enumerate(scene.lying):
        seen = scene.any(mask)
        if task.objects[i].reach:
            values.append(jnp.where(seen, jnp.where(within_reach[i], WITHIN_REACH, BLOCKED), UNSEEN))
        else:
            values.append(seen.astype(jnp.int32))
    first = {i: scene.first_index(scene.lying[i]) for i in sorted({i for pair in _pairs(task) for i in pair})}
    for i, j in _pairs(task):
        both = (values[i] > 0) & (values[j] > 0)
        values.append((both & (first[i] < first[j])).astype(jnp.int32))
    values.append(scene.held)
    state, weight = jnp.zeros_like(scene.held), 1
    for value, size in zip(values, _digits(task), strict=True):
        state, weight = state + value * weight, weight * size
    return state


@dataclasses.dataclass(frozen=True)
class Symbolic:
    """A symbolic state as a person reads it.

    Attributes:
        sees: names of the objects seen, portable ones first (in scan order where the task renames colours), then the
            others; "blocked NAME" where the task tells reach apart and there is no way to it.
        holds: name of the object held, or None.
    """

    sees: tuple[str, ...]
    holds: str | None

    @property
    def sentence(self) -> str:
        """As the LLM is told: "Agent sees <key>, <door>, holds <nothing>."."""
        seen = ", ".join(f"<{name}>" for name in self.sees) or "<nothing>"
        return f"Agent sees {seen}, holds <{self.holds or 'nothing'}>."


def _said(role: Role, value: int) -> str:
    return f"{BLOCKED_WORD} {role.name}" if value == BLOCKED else role.name


def decode(task: Task, state: int) -> Symbolic:
    """The symbolic state of an id."""
    values = _values(task, state)
    number = len(task.objects)
    seen = [i for i in range(number) if values[i]]
    before = {pair: bool(values[number + b]) for b, pair in enumerate(_pairs(task))}
    portable = [i for i in seen if i in _portable(task)]
    if task.rename_colours:  # rank by the number of objects that lie before
        portable = sorted(
            portable,
            key=lambda i: sum(before.get((j, i), not before.get((i, j), False)) for j in portable if j != i),
        )
    order = portable + [i for i in seen if i not in portable]
    held = values[-1]
    names = tuple(_said(task.objects[i], values[i]) for i in order)
    return Symbolic(names, task.objects[_portable(task)[held - 1]].name if held else None)


def encode(task: Task, symbolic: Symbolic) -> int:
    """The id of a symbolic state; inverse of `decode`.

    Raises:
        ValueError: it names something the task has not.
    """
    names = [role.name for role in task.objects]
    meant = {_said(role, value): (i, value) for i, role in enumerate(task.objects) for value in (WITHIN_REACH, BLOCKED)}
    for name in symbolic.sees:
        if name not in meant or (meant[name][1] == BLOCKED and not task.objects[meant[name][0]].reach):
            raise ValueError(f"{task.name} has no object {name!r}; its objects are {', '.join(names)}")
    values = [0] * len(_digits(task))
    order = [meant[name][0] for name in symbolic.sees]
    for name in symbolic.sees:
        values[meant[name][0]] = meant[name][1]
    for b, (i, j) in enumerate(_pairs(task)):
        values[len(names) + b] = int(i in order and j in order and order.index(i) < order.index(j))
    if symbolic.holds:
        if symbolic.holds not in names:
            raise ValueError(f"{task.name} has no object {symbolic.holds!r}; its objects are {', '.join(names)}")
        if names.index(symbolic.holds) not in _portable(task):
            raise ValueError(f"{symbolic.holds!r} cannot be held in {task.name}")
        values[-1] = _portable(task).index(names.index(symbolic.holds)) + 1
    return _number(task, values)


def enumerate_states(task: Task) -> list[int]:
    """The ids that can occur, rising.

    States of one object exclude each other; a numbered object that is the second of its kind is seen only with the
    first, and one that needs another only with that. Where pickup acts as toggle nothing is held. An object that is one
    of its kind (numbered, or of a task that renames colours or tells no reach apart) is unseen, seen or held; of others
    there may be several, so that one is held while another is seen.
    """
    found = []
    for values in product(*(range(size) for size in _digits(task))):
        state = _number(task, list(values))
        symbolic = decode(task, state)
        if encode(task, symbolic) != state:
            continue  # a pair bit without its pair
        seen = [role for role, value in zip(task.objects, values, strict=False) if value]
        one_object = [role.is_same_as for role in seen if role.is_same_as]
        numbered = {(role.kinds, role.colour, role.nth or 0) for role in seen if role.nth is not None}
        ordered = all(nth == 0 or (kinds, colour, nth - 1) in numbered for kinds, colour, nth in numbered)
        several = any(role.reach for role in task.objects)
        held_and_seen = not several and symbolic.holds in symbolic.sees
        alone = any(role.needs is not None and role.needs not in {other.name for other in seen} for role in seen)
        if alone or (task.pickup_toggles and symbolic.holds):
            continue
        if not held_and_seen and len(set(one_object)) == len(one_object) and ordered:
            found.append(state)
    return sorted(found)


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
