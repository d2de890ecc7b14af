"""A student that reads the map: which kind of thing lies in each cell, and two hidden layers.

    python -m l4t_jax.run --import docs/extending/own_student.py --env DoorKey-5x5 --student flat
    l4t_jax.train(imports="docs/extending/own_student.py", env="DoorKey-5x5", student="flat")

`l4t_jax/envs/state.py` says what a memory map has besides, `l4t_jax/envs/cells.py` what a cell's code means.
"""

import flax.linen as nn
import jax.numpy as jnp

from l4t_jax.agents.students import StudentNetwork, register_student
from l4t_jax.envs.cells import NUM_KINDS, kind_of


class Flat(StudentNetwork):
    """Feed-forward; the memory map has leading axes (T, B)."""

    @nn.compact
    def __call__(self, carry, memory, reset):
        cells = nn.one_hot(kind_of(memory.cells), NUM_KINDS)  # (T, B, W, H, kinds)
        carried = nn.one_hot(kind_of(memory.carrying), NUM_KINDS)  # (T, B, kinds)
        width, height = memory.cells.shape[-2:]
        place = [nn.one_hot(memory.agent[..., i], size) for i, size in enumerate((width, height, 4))]  # x, y, direction
        x = jnp.concatenate([cells.reshape(*reset.shape, -1), carried, *place], axis=-1)
        for _ in range(2):
            x = nn.relu(nn.Dense(self.hidden)(x))
        logits, value = nn.Dense(self.outputs)(x), nn.Dense(1)(x)[..., 0]  # (T, B, outputs), (T, B)
        return carry, logits, value


register_student("flat", Flat)
