"""L4T: PPO with a distillation loss towards the teacher, whose weight falls. Source: LLM4Teach, arXiv 2311.13373.

Device module. The weight of a label is the product of two numbers: a linear schedule of the steps
(`losses.linear_coefficient`), and a share that follows what the student and the teacher achieve. With `anneal=clock`
the share is 1. With `anneal=success` it is what the student's success leaves (`losses.adaptive_coefficient`), and with
`trust=state` also what the advice in that symbolic state has been worth (`agents.trust`).
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax import parallel
from l4t_jax.abstraction.symbolic import num_states
from l4t_jax.agents import losses
from l4t_jax.agents.algorithms.base import Algorithm, Axes, Progress, Setup
from l4t_jax.agents.algorithms.ppo import batch_of, learn, pace_of
from l4t_jax.agents.labels import teacher_labels
from l4t_jax.agents.rollout import Rollout
from l4t_jax.agents.trust import Advice
from l4t_jax.config import Config
from l4t_jax.skills.plan_codes import num_codes
from l4t_jax.teacher.policy import TeacherTable


class Kept(struct.PyTreeNode):
    """What L4T keeps between updates.

    Attributes:
        optimizer: its state.
        advice: what the advice has been worth so far; None where all states are trusted alike.
    """

    optimizer: Any
    advice: Advice | None = None


class L4T(Algorithm):
    """The sum of PPO's loss and the weighted distillation loss."""

    name, label, colour, uses_teacher = "l4t", "L4T", "#0072B2", True
    reward = 1.0  # weight of PPO's terms

    def linear(self, setup: Setup, progress: Progress) -> jax.Array | float:
        """The part of the distillation weight that the steps decide, `float32[]`."""
        config = setup.config
        own = config.distill_updates
        return losses.linear_coefficient(
            progress.done(setup.total_updates) if own is None else progress.updates / own,
            config.distill_coef, config.distill_floor, config.distill_fall, config.distill_off,
        )  # fmt: skip

    def left(self, setup: Setup, progress: Progress, teacher_success: jax.Array | float) -> jax.Array:
        """The share of it that the student's success leaves, `float32[]`.

        Args:
            setup: the run's.
            progress: how far it is.
            teacher_success: the teacher's own; 0 where it is no better than the random policy.
        """
        if not self.follows_success(setup.config):
            return jnp.float32(1)
        return losses.adaptive_coefficient(progress.success, teacher_success)

    def distill_weight(
        self, setup: Setup, progress: Progress, teacher_success: jax.Array | float = 1.0
    ) -> jax.Array | float:
        """Weight of the distillation loss where all states are trusted alike, `float32[]`; arguments as for `left`."""
        return self.linear(setup, progress) * self.left(setup, progress, teacher_success)

    def follows_success(self, config: Config) -> bool:
        return config.anneal == "success"

    def init(self, setup: Setup, params: Any) -> Kept:
        by_state = setup.config.trust == "state" and self.follows_success(setup.config)
        task = setup.env.task
        advice = Advice.none(num_states(task), num_codes(task)) if by_state else None
        return Kept(super().init(setup, params), advice)

    def advice(self, kept: Kept) -> Advice | None:
        return kept.advice

    def update(
        self, setup: Setup, key: jax.Array, params: Any, kept: Kept, rows: Rollout, env_id: jax.Array,
        table: TeacherTable | None, progress: Progress, axes: Axes,
    ) -> tuple[Any, Kept, dict[str, jax.Array]]:  # fmt: skip
        assert table is not None and rows.memory is not None, "the trainer has both where an algorithm uses a teacher"
        label_key, update_key = jax.random.split(key)
        linear, left = self.linear(setup, progress), self.left(setup, progress, table.success)
        weight = jnp.asarray(self.distill_weight(setup, progress, table.success), jnp.float32)
        advice = kept.advice
        most = weight if advice is None else jnp.asarray(linear * jnp.max(advice.trust(left)), jnp.float32)
        hard_key = label_key if setup.config.teacher_mode == "hard" else None
        labels, advised, asked = teacher_labels(
            setup.env.task, table, rows.memory, most, hard_key, env_id, setup.env.kernel, axes.mesh, axes.seeds,
            rows.valid, advice,
        )  # fmt: skip
        if advice is not None:  # another seed may have asked, under `vmap`; a seed must not learn from that
            labels = jnp.where(most > 0, labels, 0.0)
        batch = batch_of(setup, rows, labels, env_id, axes.mesh)
        shown = weight
        if advice is not None:
            assert advised is not None, "labels are weighted by the advice"
            fading = math.exp(-rows.action.shape[0] / setup.env.max_steps)
            advice = advice.add(
                advised, labels, rows.action, rows.log_prob, batch.advantage, left, fading, axes.mesh
            )  # fmt: skip
            share = advice.trust(left)[advised.state]
            batch, weight = batch.replace(teacher=labels * share[..., None]), jnp.asarray(linear, jnp.float32)
            shown = jnp.where(most > 0, weight * parallel.mean(jnp.mean(share), axes.mesh), 0.0)
        behind = losses.adaptive_coefficient(progress.success, table.success)
        params, optimizer, terms = learn(
            setup, update_key, params, kept.optimizer, batch, self.reward, weight, axes.mesh,
            pace_of(setup, progress, behind),
        )  # fmt: skip
        return params, Kept(optimizer, advice), dict(**terms, **asked, distill_weight=shown)
