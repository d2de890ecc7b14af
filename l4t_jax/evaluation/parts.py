"""Parts of a task: how far an episode came, even where it failed.

Device module; `shares` and `looked_back` are for the host. The parts of a task follow from its objects: a portable one
is picked up, a door that is shut is opened, and so is a box where boxes hold something. Objects that only a number
tells apart are one.

While episodes are played only this is noted, a few operations on single cells a step. What was seen, and the symbolic
state in which an episode ended, are told from its last memory map, by a program that is compiled when it is first
needed (`looked_back`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from l4t_jax.abstraction.scene import Scene, is_object
from l4t_jax.envs.cells import BOX, DIR_X, DIR_Y, DOOR_CLOSED, DOOR_LOCKED, DOOR_OPEN, kind_of, one_of
from l4t_jax.envs.dynamics import front_of
from l4t_jax.envs.state import MemoryMap, State
from l4t_jax.envs.task import Role, Task
from l4t_jax.envs.visibility import know
from l4t_jax.kernels import PORTABLE
from l4t_jax.skills.actions import symbolic_states

MOST = 32  # parts that a word has room for; a task with more has its first ones counted
SHUT = (DOOR_CLOSED, DOOR_LOCKED)
AT_A_TIME = 512  # maps that the program of `looked_back` takes


class Watched(struct.PyTreeNode):
    """How far episodes came; the levels are the last axis of every leaf, B.

    Attributes:
        done: `uint32[B]` the parts that each did, a bit each, in the order of `parts_of`.
        ends: what the agent knew at the end, `MemoryMap` leaves with the levels last; None while they play.
        seen: `uint32[B]` the objects that were seen, a bit each, in the order of `objects_of`; None before
            `looked_back`.
        last: `int32[B]` the symbolic state in which each ended; None before `looked_back`.
    """

    done: jax.Array
    ends: MemoryMap | None = None
    seen: jax.Array | None = None
    last: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a task.

    Attributes:
        verb: what is done to the object.
        role: the object; of several that only a number tells apart, the first.
    """

    verb: Literal["pick up", "open"]
    role: Role


def objects_of(task: Task) -> dict[Role, str]:
    """The objects of a task and their names; of those that only a number tells apart, the first."""
    alike: dict[Role, list[Role]] = {}
    for role in task.objects:
        alike.setdefault(role.meant, []).append(role)
    return {roles[0]: " or ".join(role.name for role in roles) for roles in alike.values()}


def parts_of(task: Task) -> list[Part]:
    """The parts of a task, in the order of its objects."""
    found = []
    for role in objects_of(task):
        if role.portable:
            found.append(Part("pick up", role))
        if set(role.kinds) & {*SHUT, BOX}:
            found.append(Part("open", role))
    return found[:MOST]


# Device


def after(task: Task, watched: Watched, before: State, now: State) -> Watched:
    """With the parts that one step did.

    Args:
        task: that is played.
        watched: so far.
        before, now: the states before and after the step, leading axis B.
    """
    every, done = parts_of(task), watched.done
    if not every:
        return watched
    place, ahead = jax.vmap(front_of)(before)
    x, y = (jnp.clip(place[:, i], 0, size - 1) for i, size in enumerate((task.width, task.height)))
    row = jnp.arange(x.shape[0])
    cell = now.cells[row, x, y]
    targets = None if before.targets is None else before.targets[row, x, y]
    beside = _neighbours(before.cells, x, y) if any(part.role.beside for part in every) else None
    picked = (before.carrying == 0) & (now.carrying != 0)
    opened = one_of(kind_of(ahead), *SHUT) & (kind_of(cell) == DOOR_OPEN)
    if before.contents is not None:
        opened = opened | ((kind_of(ahead) == BOX) & (kind_of(cell) != BOX) & ~picked)
    for i, part in enumerate(every):
        if part.verb == "pick up":
            hit = picked & _is(part.role, now.carrying, now.mission, now.carried_targets, beside)
        else:
            hit = opened & _is(part.role, ahead, before.mission, targets, beside)
        done = done | (hit.astype(jnp.uint32) << i)
    return watched.replace(done=done)


def ended(watched: Watched, states: State) -> Watched:
    """With what the agents know in the states in which their episodes ended, leading axis B."""
    return watched.replace(ends=jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), jax.vmap(know)(states)))


def _neighbours(cells: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """The kinds of the four cells beside one of each map, `uint8[4, B]`; off the map, those of the map's edge."""
    row, (width, height) = jnp.arange(x.shape[0]), cells.shape[1:]
    around = zip(DIR_X, DIR_Y, strict=True)
    beside = [(jnp.clip(x + dx, 0, width - 1), jnp.clip(y + dy, 0, height - 1)) for dx, dy in around]
    return kind_of(jnp.stack([cells[row, bx, by] for bx, by in beside]))


def _is(
    role: Role, code: jax.Array, mission: jax.Array | None, targets: jax.Array | None, beside: jax.Array | None
) -> jax.Array:
    """`scene.is_object` of cells `uint8[B]`, with the kinds of those beside them `uint8[4, B]` where a role asks."""
    hit = is_object(role, code, mission, targets)
    if role.beside:
        assert beside is not None
        hit = hit & jnp.any(one_of(beside, *role.beside), axis=0)
    return hit


# Host


def shares(task: Task, watched: Watched) -> dict[str, Any]:
    """How many of the episodes did each part, and saw each object if that is known, in the order of the objects.

    Args:
        task: that was played.
        watched: numpy arrays, any leading axes.

    Returns:
        the part in words -> the share of the B episodes, a number or nested lists for leading axes.
    """
    every, found = parts_of(task), {}
    for number, (role, name) in enumerate(objects_of(task).items()):
        if watched.seen is not None:
            found[f"sees the {name}"] = _share(watched.seen, number)
        for at, part in enumerate(every):
            if part.role == role:
                found[f"{'picks up' if part.verb == 'pick up' else 'opens'} the {name}"] = _share(watched.done, at)
    return found


def _share(bits: Any, at: int) -> Any:
    return ((np.asarray(bits) >> np.uint32(at)) & 1).mean(axis=-1).tolist()


def looked_back(task: Task, watched: Watched) -> Watched:
    """With the objects seen and the last symbolic states, which take a program of their own.

    Args:
        task: that was played.
        watched: numpy arrays, any leading axes.
    """
    done = np.asarray(watched.done)
    ends = jax.tree.map(lambda leaf: _flat(np.asarray(leaf), done.ndim - 1), watched.ends)
    whole = np.arange(-(-done.size // AT_A_TIME) * AT_A_TIME) % done.size
    look, seen, last = _look(task), [], []
    for at in range(0, whole.size, AT_A_TIME):
        rows = whole[at : at + AT_A_TIME]
        some, state = jax.device_get(
            look(jax.tree.map(lambda leaf, rows=rows: leaf[rows], ends), done.reshape(-1)[rows])
        )
        seen.append(some)
        last.append(state)
    shaped = (np.concatenate(x)[: done.size].reshape(done.shape) for x in (seen, last))
    return watched.replace(**dict(zip(("seen", "last"), shaped, strict=True)))


def _flat(leaf: np.ndarray, leading: int) -> np.ndarray:
    """A leaf of `Watched.ends` with the episodes of all leading axes in front."""
    moved = np.moveaxis(leaf, -1, leading)
    return moved.reshape(-1, *moved.shape[leading + 1 :])


_LOOKS: dict[int, tuple[Task, Callable[[MemoryMap, Any], tuple[jax.Array, jax.Array]]]] = {}  # by the task's id


def _look(task: Task) -> Callable[[MemoryMap, Any], tuple[jax.Array, jax.Array]]:
    """The program of `looked_back`: memory maps and parts done, leading axis N -> objects seen, symbolic states.

    It is kept with its task, told by identity: a user's task may hold what cannot be hashed.
    """
    if id(task) not in _LOOKS:
        _LOOKS[id(task)] = task, _made(task)
    return _LOOKS[id(task)][1]


def _made(task: Task) -> Callable[[MemoryMap, Any], tuple[jax.Array, jax.Array]]:
    every = parts_of(task)

    def look(memory: MemoryMap, done: jax.Array) -> tuple[jax.Array, jax.Array]:
        seen = jnp.zeros(done.shape, jnp.uint32)
        if not task.objects:
            return seen, jnp.zeros(done.shape, jnp.int32)
        scene = Scene.of(task, memory, PORTABLE)
        for i, role in enumerate(objects_of(task)):
            used = sum(1 << at for at, part in enumerate(every) if part.role == role)
            hit = scene.any(scene.matching(dataclasses.replace(role, nth=None))) | ((done & np.uint32(used)) > 0)
            seen = seen | (hit.astype(jnp.uint32) << i)
        return seen, symbolic_states(task, memory, PORTABLE)

    return jax.jit(look)
