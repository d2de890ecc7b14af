"""What the teacher's advice is worth, in each symbolic state, learned while the student trains.

Device module. In each row of a rollout the student took action a with probability pi(a), and an adviser would have
taken it with probability q(a). With A the advantage of a, normalised over the rollout, the row's gain is

    x = (min(q(a) / pi(a), 5) - 1) * A

Its expectation is how much better the adviser's action is than the student's, in standard deviations of the advantage
(importance sampling; the ratio is cut at 5, so that no row counts too much). The sums of x and of its square over the
rows of a symbolic state give a t-value, the evidence: it is about a standard normal where the advice makes no
difference. The latest rows count most, as in `success`.

This is done twice. First with each step of the task as the adviser (go to the key, pick it up, explore, ...): q(a) is 1
for its action and 0 for the others. Among what the teacher advises in a state, weights change by the evidence z:

    weight ~ prior * exp(z)

The prior is the probability of the plans that are at this step. At least `OTHERS` of it is spread over all steps that
can do something now, so that a plan which nobody proposed can win.

Then with the labels that come of this as the adviser. The trust in a state is the share of the distillation weight that
its labels get:

    trust = clip(left + sign(z) * max(|z| - 2, 0) / 3, 0, 1)

`left` is what the student's success leaves of the weight (`losses.adaptive_coefficient`), the same for all states. So
significant evidence decides: advice that does harm is dropped while the student is still worse than its teacher, and
advice that helps is kept when the student is already better.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax import parallel
from l4t_jax.teacher.policy import Advised

MOST_RATIO = 5.0  # of q(a) to pi(a)
INSIGNIFICANT = 2.0  # evidence up to here changes no state's trust
DECISIVE = 3.0  # so much more of it decides alone
OTHERS = 0.02  # least share of the steps that no plan proposes
MOST_EVIDENCE = 20.0  # of a step; more changes nothing, and could not be raised to a power


class Advice(struct.PyTreeNode):
    """Sums over the rows of each of the S symbolic states of a task.

    Attributes:
        gain: `float32[S]` of x; faded, as those up to `step_square`.
        square: `float32[S]` of the square of x.
        step_gain: `float32[S, codes]` of x, with each step as the adviser.
        step_square: `float32[S, codes]` of its square.
        total_gain: `float32[S]` of x over the whole run; not faded, as those below.
        total_trust: `float32[S]` of the trust that the rows' labels got.
        total_steps: `float32[S]` of the labelled rows.
    """

    gain: jax.Array
    square: jax.Array
    step_gain: jax.Array
    step_square: jax.Array
    total_gain: jax.Array
    total_trust: jax.Array
    total_steps: jax.Array

    @classmethod
    def none(cls, states: int, codes: int) -> Advice:
        """Nothing known yet of so many states, and steps in each."""
        zeros, by_step = jnp.zeros(states, jnp.float32), jnp.zeros((states, codes), jnp.float32)
        return cls(
            gain=zeros, square=zeros, step_gain=by_step, step_square=by_step,
            total_gain=zeros, total_trust=zeros, total_steps=zeros,
        )  # fmt: skip

    def evidence(self) -> jax.Array:
        """The t-value of each state, `float32[S]`: above 0 where the labels were better than the student's actions.

        A 1 is added to the sum of squares, so that a few rows are no evidence.
        """
        return self.gain / jnp.sqrt(self.square + 1.0)

    def step_evidence(self) -> jax.Array:
        """The same of each step, `float32[S, codes]`."""
        return self.step_gain / jnp.sqrt(self.step_square + 1.0)

    def trust(self, left: jax.Array) -> jax.Array:
        """The share of the distillation weight for each state, `float32[S]`; see the head of this file.

        Args:
            left: `float32[]` the share that the student's success leaves.
        """
        z = self.evidence()
        significant = jnp.sign(z) * jnp.maximum(jnp.abs(z) - INSIGNIFICANT, 0.0)
        return jnp.clip(left + significant / DECISIVE, 0.0, 1.0)

    def weights(self, advised: Advised) -> jax.Array:
        """The weights of what was advised, changed by the evidence; `float32[P + codes, *B]`, the sum as before."""
        factor = jnp.exp(jnp.clip(self.step_evidence(), -MOST_EVIDENCE, MOST_EVIDENCE))
        of_plans = jnp.moveaxis(factor[advised.state[..., None], advised.step], -1, 0)
        of_steps = jnp.moveaxis(factor[advised.state], -1, 0)
        changed = advised.weight * jnp.concatenate([of_plans, of_steps])
        return changed * (jnp.sum(advised.weight, axis=0) / jnp.maximum(jnp.sum(changed, axis=0), 1e-20))

    def add(
        self, advised: Advised, label: jax.Array, action: jax.Array, log_prob: jax.Array, advantage: jax.Array,
        left: jax.Array, kept: float, mesh_axis: str | None = None,
    ) -> Advice:  # fmt: skip
        """Counts a rollout. Where no row is labelled, nothing changes. Greedy choices count as if they had been drawn.

        Args:
            advised: of its rows (T, N).
            label: `float32[T, N, A]` of the teacher, rows of zeros where there is none.
            action: `int32[T, N]` that the student took.
            log_prob: `float32[T, N]` of the student's, when it took it.
            advantage: `float32[T, N]`, normalised.
            left: `float32[]`, as for `trust`.
            kept: how much of what was counted before remains.
            mesh_axis: of the devices that the environments are spread over, if they are.
        """
        states, codes = self.step_gain.shape
        labelled = jnp.sum(label, axis=-1) > 0.5

        def gains(said: jax.Array) -> jax.Array:
            """x of each row, of an adviser's probabilities of the actions taken."""
            return (jnp.minimum(said * jnp.exp(-log_prob), MOST_RATIO) - 1.0) * advantage

        by_step = gains((advised.action[-codes:] == action).astype(jnp.float32))  # (codes, T, N)
        by_step = jnp.where((advised.weight[-codes:] > 0) & labelled, by_step, 0.0)
        gain = gains(jnp.take_along_axis(label, action[..., None], axis=-1)[..., 0]) * labelled
        new = jnp.concatenate([by_step, jnp.square(by_step), jnp.stack([gain, jnp.square(gain), labelled])])
        rows = jnp.moveaxis(new, 0, -1).reshape(-1, 2 * codes + 3)
        counts = jnp.zeros((states, 2 * codes + 3)).at[advised.state.reshape(-1)].add(rows)
        counts = parallel.sum_of(counts, mesh_axis)
        of_gain, of_square, steps = counts[:, -3], counts[:, -2], counts[:, -1]
        kept_now = jnp.where(jnp.sum(steps) > 0, kept, 1.0)
        now = self.replace(
            gain=kept_now * self.gain + of_gain,
            square=kept_now * self.square + of_square,
            step_gain=kept_now * self.step_gain + counts[:, :codes],
            step_square=kept_now * self.step_square + counts[:, codes : 2 * codes],
        )
        return now.replace(
            total_gain=self.total_gain + of_gain,
            total_trust=self.total_trust + steps * now.trust(left),
            total_steps=self.total_steps + steps,
        )
