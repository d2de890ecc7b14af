"""L4T: PPO with a distillation loss towards the teacher, whose weight falls. Source: LLM4Teach, arXiv 2311.13373.

Device module.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from l4t_jax.agents import losses
from l4t_jax.agents.algorithms.base import Algorithm, Axes, Progress, Setup
from l4t_jax.agents.algorithms.ppo import learn
from l4t_jax.agents.labels import teacher_labels
from l4t_jax.agents.rollout import Rollout
from l4t_jax.config import Config
from l4t_jax.teacher.policy import TeacherTable


class L4T(Algorithm):
    """The sum of PPO's loss and the weighted distillation loss."""

    name, label, colour, uses_teacher = "l4t", "L4T", "#0072B2", True
    reward = 1.0  # weight of PPO's terms

    def distill_weight(
        self, setup: Setup, progress: Progress, teacher_success: jax.Array | float = 1.0
    ) -> jax.Array | float:
        """Weight of the distillation loss, `float32[]`.

        Args:
            setup: the run's.
            progress: how far it is.
            teacher_success: the teacher's own; 0 where it is no better than the random policy.
        """
        config = setup.config
        weight = losses.linear_coefficient(
            progress.updates / setup.total_updates,
            config.distill_coef, config.distill_floor, config.distill_fall, config.distill_off,
        )  # fmt: skip
        if not self.follows_success(config):
            return weight
        return weight * losses.adaptive_coefficient(progress.success, teacher_success)

    def follows_success(self, config: Config) -> bool:
        return config.anneal == "success"

    def update(
        self, setup: Setup, key: jax.Array, params: Any, kept: Any, rows: Rollout, env_id: jax.Array,
        table: TeacherTable | None, progress: Progress, axes: Axes,
    ) -> tuple[Any, Any, dict[str, jax.Array]]:  # fmt: skip
        label_key, update_key = jax.random.split(key)
        weight = jnp.asarray(self.distill_weight(setup, progress, 1.0 if table is None else table.success), jnp.float32)
        labels, asked = None, {}
        if table is not None:
            assert rows.memory is not None, "the trainer keeps the memory maps for a teacher"
            hard_key = label_key if setup.config.teacher_mode == "hard" else None
            labels, asked = teacher_labels(
                setup.env.task, table, rows.memory, weight, hard_key, env_id, setup.env.kernel, axes.mesh, axes.seeds
            )
        params, kept, terms = learn(
            setup, update_key, params, kept, rows, labels, env_id, self.reward, weight, axes.mesh
        )
        return params, kept, dict(**terms, **asked, distill_weight=weight)
