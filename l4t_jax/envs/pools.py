"""Levels drawn beforehand, as the `layout` of a task: a pool that a random key picks from.

Device module. What draws the levels and keeps them on disk is `imported`; a program that trains sees a generator like
any other, with the levels as constants.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.envs.state import Layout

FEWEST = 1000  # distinct levels; of fewer, training, validation and test share all


@dataclasses.dataclass(frozen=True, eq=False)
class LevelPool:
    """A `Task.layout` that gives one of a number of levels. Two with the same digest are the same.

    Attributes:
        levels: a `Layout` of NumPy arrays with a leading axis N, all levels distinct.
        digest: a hash of them.
    """

    levels: Layout
    digest: str

    def __len__(self) -> int:
        return len(self.levels.cells)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LevelPool) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def shared(self) -> bool:
        """Whether the levels are too few to be split."""
        return len(self) < FEWEST

    def __call__(self, key: jax.Array) -> Layout:
        """A level of the pool, all alike likely."""
        return self.at(jax.random.randint(key, (), 0, len(self)))

    def at(self, index: jax.Array) -> Layout:
        """The level of that number, `int32[]`."""

        def row(leaf: np.ndarray) -> jax.Array:
            return jnp.asarray(leaf)[index]

        return jax.tree.map(row, self.levels)

    def some(self, key: jax.Array, number: int) -> jax.Array:
        """The numbers of `number` levels in random order, or of all if there are fewer: `int32[n]`, none twice."""
        return jax.random.permutation(key, jnp.arange(len(self), dtype=jnp.int32))[:number]
