"""The state of one environment, and what an agent knows of it.

Device module: pure, jittable.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.envs.cells import EMPTY, decode_cells, encode_cells, kind_of


class MemoryMap(struct.PyTreeNode):
    """What an agent knows: the allocentric map with memory, and where its carried came from.

    Attributes (leading axes are batch axes):
        cells: `uint8[..., W, H]` cell codes, x first; 0 where never seen this episode; the agent's own cell shows the
            object it carries, else empty floor.
        agent: `int8[..., 3]` x, y and direction (0 right, 1 down, 2 left, 3 up).
        carrying: `uint8[...]` code of the carried object, 0 for none.
        pickup_position: `int8[..., 2]` x and y where the carried object lay when it was picked up, -1 for none. With
            the map this gives every remembered place: an object lies where the map shows it, or was carried off from
            here. The teacher reads it; students do not.
    """

    cells: jax.Array
    agent: jax.Array
    carrying: jax.Array
    pickup_position: jax.Array


def as_observation(known: MemoryMap) -> jax.Array:
    """The reference's observation: `uint8[..., W, H, 4]`, object, colour, state and a direction plane.

    The direction plane is 4 everywhere but at the agent's cell, where it is 0..3.
    """
    width, height = known.cells.shape[-2:]
    x, y, d = (known.agent[..., i, None, None] for i in range(3))
    here = (jnp.arange(width)[:, None] == x) & (jnp.arange(height)[None, :] == y)
    direction = jnp.where(here, d, 4).astype(jnp.uint8)
    return jnp.concatenate([decode_cells(known.cells), direction[..., None]], axis=-1)


def from_observation(observation: jax.Array, pickup_position: jax.Array) -> MemoryMap:
    """Inverse of `as_observation`: `uint8[..., W, H, 4]` and the carried's pickup_position `int8[..., 2]` ->
    `MemoryMap`.
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


class State(struct.PyTreeNode):
    """The true state of one environment (no batch axis; `vmap` adds one).

    Attributes:
        cells: `uint8[W, H]` cell codes of the whole grid, x first.
        seen: `bool[W, H]` cells seen at some time this episode.
        agent: `int8[3]` x, y, direction.
        carrying: `uint8[]` code of the carried object, 0 for none.
        pickup_position: `int8[2]` where the carried object lay when it was picked up, -1 for none.
    """

    cells: jax.Array
    seen: jax.Array
    agent: jax.Array
    carrying: jax.Array
    pickup_position: jax.Array
