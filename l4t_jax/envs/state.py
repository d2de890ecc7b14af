"""The state of one environment, what an agent knows of it, and a step from one state to the next.

Device module: pure, jittable. `Layout` is what a level generator draws, `State` the whole truth, `MemoryMap` the part
of it that an agent knows, `Transition` what success, failure and reward are functions of.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.envs.cells import EMPTY, decode_cells, encode_cells, kind_of


class Layout(NamedTuple):
    """One level as its generator draws it. Fields that a task does not need are None, for all of its levels.

    Attributes:
        cells: `uint8[W, H]` cell codes, x first.
        agent: `int8[3]` x, y and direction (0 right, 1 down, 2 left, 3 up).
        mission: `int8[M]` the drawn values of the task's `missions.Mission`.
        targets: `uint8[W, H]` what the mission points at. Bits 0 to 3 mark objects, and follow them when they are
            carried; bits 4 to 7 mark places.
        contents: `uint8[W, H]` the code of what the box on a cell holds, 0 for nothing.
        carrying: `uint8[]` the code of an object that is carried from the start.
    """

    cells: jax.Array
    agent: jax.Array
    mission: jax.Array | None = None
    targets: jax.Array | None = None
    contents: jax.Array | None = None
    carrying: jax.Array | None = None


class State(struct.PyTreeNode):
    """The true state of one environment (no batch axis; `vmap` adds one).

    Attributes:
        cells: `uint8[W, H]` cell codes of the whole grid, x first.
        seen: `bool[W, H]` cells seen at some time in this episode, and not forgotten.
        agent: `int8[3]` x, y, direction.
        carrying: `uint8[]` code of the carried object, 0 for none.
        pickup_position: `int8[2]` where the carried object lay when it was picked up, -1 for none.
        mission, targets, contents: as in `Layout`.
        carried_targets: `uint8[]` the bits of `targets` that the carried object has; None without targets.
        carried_contents: `uint8[]` what the carried box holds; None without contents.
        last_seen: `uint8[W, H]` what each cell held when it was last seen; None where nothing moves by itself, as a
            cell that was seen is then known to be as it is now. 0 where never seen, or forgotten (`Task.before_step`).
    """

    cells: jax.Array
    seen: jax.Array
    agent: jax.Array
    carrying: jax.Array
    pickup_position: jax.Array
    mission: jax.Array | None = None
    targets: jax.Array | None = None
    contents: jax.Array | None = None
    carried_targets: jax.Array | None = None
    carried_contents: jax.Array | None = None
    last_seen: jax.Array | None = None


class Transition(struct.PyTreeNode):
    """One step of one environment (no batch axis).

    Attributes:
        state: before the step.
        action: `int32[]` as it was asked for.
        next_state: after the step.
        t: `int32[]` steps of the episode before this one.
        front: `int32[2]` x and y of the cell ahead of the agent before the action.
        ahead: `uint8[]` its code before the step (before obstacles moved, where they do); a wall's off the map.
        ahead_after: `uint8[]` its code after the step.
    """

    state: State
    action: jax.Array
    next_state: State
    t: jax.Array
    front: jax.Array
    ahead: jax.Array
    ahead_after: jax.Array


class MemoryMap(struct.PyTreeNode):
    """What an agent knows: the map with memory, its mission, and where the carried object came from.

    Attributes (leading axes are batch axes):
        cells: `uint8[..., W, H]` cell codes, x first; 0 where never seen this episode, or forgotten; the agent's own
            cell shows the object it carries, else empty floor.
        agent: `int8[..., 3]` x, y and direction (0 right, 1 down, 2 left, 3 up).
        carrying: `uint8[...]` code of the carried object, 0 for none.
        pickup_position: `int8[..., 2]` x and y where the carried object lay when it was picked up, -1 for none. With
            the map this gives every remembered place: an object lies where the map shows it, or was carried off from
            here. The teacher reads it; students do not.
        mission: `int8[..., M]` as in `Layout`; None where the task has none.
        targets: `uint8[..., W, H]` as in `Layout`, 0 where never seen; None where the task has none, or where they
            number obstacles that move.
        carried_targets: `uint8[...]` those of the carried object.
    """

    cells: jax.Array
    agent: jax.Array
    carrying: jax.Array
    pickup_position: jax.Array
    mission: jax.Array | None = None
    targets: jax.Array | None = None
    carried_targets: jax.Array | None = None


def as_observation(memory: MemoryMap) -> jax.Array:
    """The reference's observation: `uint8[..., W, H, 4]`, object, colour, state and a direction plane.

    The direction plane is 4 everywhere but at the agent's cell, where it is 0..3.
    """
    width, height = memory.cells.shape[-2:]
    x, y, d = (memory.agent[..., i, None, None] for i in range(3))
    here = (jnp.arange(width)[:, None] == x) & (jnp.arange(height)[None, :] == y)
    direction = jnp.where(here, d, 4).astype(jnp.uint8)
    return jnp.concatenate([decode_cells(memory.cells), direction[..., None]], axis=-1)


def from_observation(observation: jax.Array, pickup_position: jax.Array) -> MemoryMap:
    """Inverse of `as_observation`, for tasks without a mission.

    Args:
        observation: `uint8[..., W, H, 4]`.
        pickup_position: `int8[..., 2]` see `MemoryMap`.
    """
    cells = encode_cells(observation[..., :3])
    direction = observation[..., 3].reshape(*observation.shape[:-3], -1)
    flat = jnp.argmin(direction, axis=-1)  # the one cell below 4
    x, y = jnp.divmod(flat, observation.shape[-2])
    d = jnp.take_along_axis(direction, flat[..., None], axis=-1)[..., 0]
    agent = jnp.stack([x, y, d], axis=-1).astype(jnp.int8)
    own = jnp.take_along_axis(cells.reshape(*cells.shape[:-2], -1), flat[..., None], axis=-1)[..., 0]
    carrying = jnp.where(kind_of(own) == EMPTY, 0, own).astype(jnp.uint8)
    return MemoryMap(cells=cells, agent=agent, carrying=carrying, pickup_position=pickup_position.astype(jnp.int8))
