"""What the teacher's advice is worth, symbolic state by symbolic state, learned while the student trains.

Device module. In each row of a rollout the student took action a with probability pi(a), and the teacher would have
taken it with probability q(a). With A the advantage of a, normalised over the rollout, the row's gain is

    x = (min(q(a) / pi(a), 5) - 1) * A

Its expectation is how much better the teacher's action is than the student's, in standard deviations of the advantage
(importance sampling; the ratio is cut at 5, so that no row counts too much). In each symbolic state the sums of x and
of its square give a t-value, the evidence: it is about a standard normal where the advice makes no difference. The
latest rows count most, as in `success`.

The trust in a state is the share of the distillation weight that its labels get:

    trust = clip(left + sign(z) * max(|z| - 2, 0) / 3, 0, 1)

`left` is what the student's success leaves of the weight (`losses.adaptive_coefficient`), the same for all states, and
z the evidence. So significant evidence decides: advice that does harm is dropped while the student is still worse than
its teacher, and advice that helps is kept when the student is already better.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax import parallel

MOST_RATIO = 5.0  # of q(a) to pi(a)
INSIGNIFICANT = 2.0  # evidence up to here changes nothing
DECISIVE = 3.0  # so much more of it decides alone


class Advice(struct.PyTreeNode):
    """Sums over the rows of each symbolic state, `float32[symbolic.num_states(task)]` each.

    Attributes:
        gain: of x; faded, as `square`.
        square: of the square of x.
        total_gain: of x over the whole run; not faded, as those below.
        total_trust: of the trust that the rows' labels got.
        total_steps: of the labelled rows.
    """

    gain: jax.Array
    square: jax.Array
    total_gain: jax.Array
    total_trust: jax.Array
    total_steps: jax.Array

    @classmethod
    def none(cls, states: int) -> Advice:
        """Nothing known yet of so many states."""
        zeros = jnp.zeros(states, jnp.float32)
        return cls(gain=zeros, square=zeros, total_gain=zeros, total_trust=zeros, total_steps=zeros)

    def evidence(self) -> jax.Array:
        """The t-value of each state, `float32[S]`: above 0 where the teacher's actions were better than the student's.

        A 1 is added to the sum of squares, so that a few rows are no evidence.
        """
        return self.gain / jnp.sqrt(self.square + 1.0)

    def trust(self, left: jax.Array) -> jax.Array:
        """The share of the distillation weight for each state, `float32[S]`; see the head of this file.

        Args:
            left: `float32[]` the share that the student's success leaves.
        """
        z = self.evidence()
        significant = jnp.sign(z) * jnp.maximum(jnp.abs(z) - INSIGNIFICANT, 0.0)
        return jnp.clip(left + significant / DECISIVE, 0.0, 1.0)

    def add(
        self, state: jax.Array, label: jax.Array, action: jax.Array, log_prob: jax.Array, advantage: jax.Array,
        left: jax.Array, kept: float, mesh_axis: str | None = None,
    ) -> Advice:  # fmt: skip
        """Counts a rollout. Where no row is labelled, nothing changes. Greedy choices count as if they had been drawn.

        Args:
            state: `int32[T, N]` symbolic states.
            label: `float32[T, N, A]` of the teacher, rows of zeros where there is none.
            action: `int32[T, N]` that the student took.
            log_prob: `float32[T, N]` of the student's, when it took it.
            advantage: `float32[T, N]`, normalised.
            left: `float32[]`, as for `trust`.
            kept: how much of what was counted before remains.
            mesh_axis: of the devices that the environments are spread over, if they are.
        """
        labelled = jnp.sum(label, axis=-1) > 0.5
        said = jnp.take_along_axis(label, action[..., None], axis=-1)[..., 0]
        gain = (jnp.minimum(said * jnp.exp(-log_prob), MOST_RATIO) - 1.0) * advantage
        new = jnp.stack([gain, jnp.square(gain), jnp.ones_like(gain)], axis=-1) * labelled[..., None]
        counts = jnp.zeros((self.gain.shape[0], 3)).at[state.reshape(-1)].add(new.reshape(-1, 3))
        counts = parallel.sum_of(counts, mesh_axis)
        kept_now = jnp.where(jnp.sum(counts[:, 2]) > 0, kept, 1.0)
        now = self.replace(gain=kept_now * self.gain + counts[:, 0], square=kept_now * self.square + counts[:, 1])
        return now.replace(
            total_gain=self.total_gain + counts[:, 0],
            total_trust=self.total_trust + counts[:, 2] * now.trust(left),
            total_steps=self.total_steps + counts[:, 2],
        )
