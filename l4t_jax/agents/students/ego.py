"""The default student: an MLP on the memory map as seen from the agent.

Device module. Its input is found in `features`.
"""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from l4t_jax.agents.students import recall
from l4t_jax.agents.students.base import Carry, StudentNetwork
from l4t_jax.agents.students.features import ego_words, spread, word_groups
from l4t_jax.agents.students.layers import Dense
from l4t_jax.envs.state import MemoryMap
from l4t_jax.kernels import bits
from l4t_jax.kernels.planes import Planes


class EgoMLP(StudentNetwork):
    """The fast default: an MLP on the map centred on the agent and turned with it.

    Its input is a window of cells near the agent, for each sort of cell (`features.planes`) which rows and columns of
    the whole map hold one, and the ways to the nearest unseen cell and to the nearest of each object (`ways`): where
    they start and about how long they are. All of it is relative to the agent. So what it learns holds wherever the
    agent stands and whichever way it faces. It also reads how often it has been in this situation lately (`recall`),
    which is all that its carry is for; what leads back to where it has been very often becomes less probable.
    """

    window: int = 7
    learns_through_carry: ClassVar[bool] = False

    def initial_carry(self, batch: int) -> Carry:
        return recall.nothing(batch)

    def prepare(self, carry: Carry, observation: MemoryMap, reset: jax.Array) -> tuple[Carry, jax.Array]:
        def step(kept: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            return recall.recall(row[0], kept, row[1])

        words, situations = ego_words(self.task, observation, self.window, self.kernel)
        carry, recalled = jax.lax.scan(step, carry, (situations, reset), unroll=reset.shape[0] == 1)
        return carry, jnp.concatenate([words, recalled.astype(words.dtype)], axis=-1)

    @nn.compact
    def __call__(
        self, carry: Carry, memory: MemoryMap | jax.Array, reset: jax.Array
    ) -> tuple[Carry, jax.Array, jax.Array]:
        carry, words = self.prepare(carry, memory, reset) if isinstance(memory, MemoryMap) else (carry, memory)
        words = bits.features_first(words, self.kernel)
        words, repeated = words[:-1], words[-1]
        x: jax.Array | Planes
        if self.kernel.bit_planes:
            x = Planes(words, word_groups(self.task, self.window, recall.RECALLED))
        else:
            x = spread(self.task, words, self.window, recall.RECALLED).astype(self.dtype)
        for _ in range(2):
            x = nn.relu(Dense(self.hidden, self.dtype, nn.initializers.orthogonal(2**0.5), tuning=self.kernel)(x))
        last = jnp.asarray(x, jnp.float32)
        logits = Dense(self.outputs, kernel_init=nn.initializers.orthogonal(0.01), tuning=self.kernel)(last)
        value = Dense(1, kernel_init=nn.initializers.orthogonal(1.0), tuning=self.kernel)(last)
        logits = recall.lowered(logits, repeated) if self.acts else logits
        return carry, jnp.moveaxis(logits, 0, -1), value[0]
