"""How often a student succeeds while it trains, counted so that episodes still running cannot flatter it.

Device module. Successes end early and failures late. The share of successes among ended episodes is therefore too high
until the first failures have had the time to end: on a task of 1,080 steps it read 1.000 where the truth was 0.8. So
episodes are counted by age, as in survival analysis: at each age, how many steps were taken and how many of them ended
the episode. An episode that is still running has been counted at every age that it has reached, and nowhere else.
Source: Aalen and Johansen 1978, the cumulative incidence of one of several ends from censored observations.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax import parallel

PARTS = 32  # separate tables of counts, summed at the end


class SuccessByAge(struct.PyTreeNode):
    """Counts by age, `float32[max_steps]` each; the latest steps count most, older ones fade.

    An episode's age is the number of steps that it had taken before the step counted.

    Attributes:
        steps: steps taken at each age.
        successes: those that ended the episode with success.
        failures: those that ended it otherwise; not those that cut it off, which happens at the last age only.
    """

    steps: jax.Array
    successes: jax.Array
    failures: jax.Array

    @classmethod
    def none(cls, max_steps: int) -> SuccessByAge:
        """Nothing counted yet, of episodes of at most `max_steps`."""
        zeros = jnp.zeros(max_steps, jnp.float32)
        return cls(steps=zeros, successes=zeros, failures=zeros)

    def add(
        self, age: jax.Array, success: jax.Array, terminated: jax.Array, mesh_axis: str | None = None,
        valid: jax.Array | None = None,
    ) -> SuccessByAge:  # fmt: skip
        """Counts a rollout, and lets what was counted before fade: by 1/e over as many steps as an episode can take.

        Args:
            age: `int32[T, N]` steps taken in the episode before each step.
            success: `bool[T, N]` the step ended the episode with success.
            terminated: `bool[T, N]` the step ended the episode, however.
            mesh_axis: of the devices that the environments are spread over, if they are.
            valid: `bool[T, N]` which rows are steps; None: all.
        """
        max_steps = self.steps.shape[0]
        steps = age.shape[0] if valid is None else jnp.sum(valid) / age.shape[1]  # of an environment
        kept = jnp.exp(-steps / max_steps)
        new = jnp.stack([jnp.ones_like(success), success, terminated & ~success], axis=-1).astype(jnp.float32)
        if valid is not None:
            new = jnp.where(valid[..., None], new, 0.0)
        new = new.reshape(-1, 3)
        # In several tables, because many environments have the same age, and a GPU adds to one address one at a time.
        place = age.reshape(-1) + jnp.arange(len(new)) % PARTS * max_steps
        counts = jnp.zeros((PARTS * max_steps, 3), jnp.float32).at[place].add(new)
        counts = jnp.sum(counts.reshape(PARTS, max_steps, 3), axis=0)
        counts = parallel.sum_of(counts, mesh_axis)
        return SuccessByAge(
            steps=kept * self.steps + counts[:, 0],
            successes=kept * self.successes + counts[:, 1],
            failures=kept * self.failures + counts[:, 2],
        )

    def rate(self) -> jax.Array:
        """The probability that an episode ends with success, `float32[]`.

        Ages that no episode has reached count as if nothing could succeed there. So the rate is low at first, and
        never above what was seen.
        """
        at_risk = jnp.maximum(self.steps, 1e-30)
        going_on = jnp.cumprod(jnp.clip(1.0 - (self.successes + self.failures) / at_risk, 0.0, 1.0))
        reached = jnp.concatenate([jnp.ones(1), going_on[:-1]])  # the probability of coming to this age
        return jnp.minimum(jnp.sum(reached * self.successes / at_risk), 1.0)
