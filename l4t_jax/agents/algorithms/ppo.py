"""PPO: the student learns from its reward alone. Source: Schulman et al. 2017.

Device module.
"""

from __future__ import annotations

from typing import Any

import jax

from l4t_jax.agents.algorithms.base import Algorithm, Axes, Progress, Setup
from l4t_jax.agents.rollout import Rollout
from l4t_jax.agents.update import Batch, Weights, make_batch, update
from l4t_jax.teacher.policy import TeacherTable


class PPO(Algorithm):
    """Clipped policy and value losses, an entropy bonus, generalised advantages."""

    name, label, colour = "ppo", "PPO alone", "#D55E00"

    def update(
        self, setup: Setup, key: jax.Array, params: Any, kept: Any, rows: Rollout, env_id: jax.Array,
        table: TeacherTable | None, progress: Progress, axes: Axes,
    ) -> tuple[Any, Any, dict[str, jax.Array]]:  # fmt: skip
        batch = batch_of(setup, rows, None, env_id, axes.mesh)
        return learn(setup, key, params, kept, batch, reward=1.0, distill=0.0, mesh_axis=axes.mesh)


def batch_of(
    setup: Setup, rows: Rollout, labels: jax.Array | None, env_id: jax.Array, mesh_axis: str | None
) -> Batch:  # fmt: skip
    """A rollout as `learn` takes it, with the advantages of the run's settings; arguments as there.

    The bonus, where there is one, is part of what the student learns from, and of nothing that is reported.
    """
    config = setup.config
    if rows.bonus is not None:
        rows = rows.replace(reward=rows.reward + config.bonus * rows.bonus)
    return make_batch(rows, labels, env_id, config.gamma, config.gae_lambda, mesh_axis, setup.env.kernel)


def learn(
    setup: Setup,
    key: jax.Array,
    params: Any,
    opt_state: Any,
    batch: Batch,
    reward: float,
    distill: jax.Array | float,
    mesh_axis: str | None,
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """Epochs of minibatches over a rollout, with the weights of the run's settings.

    Args:
        setup: the run's.
        key: random key for the order of the minibatches.
        params, opt_state: before.
        batch: from `batch_of`.
        reward: weight of PPO's terms.
        distill: weight of the distillation loss, `float32[]`.
        mesh_axis: see `Axes`.

    Returns:
        Parameters, optimizer state, loss terms.
    """
    config = setup.config
    weights = Weights(
        reward=reward, distill=distill, entropy=config.entropy_coef, value=config.value_coef, clip=config.clip
    )
    return update(
        setup.student, setup.optimizer, key, params, opt_state, batch, weights, config.epochs, config.minibatches,
        mesh_axis, setup.env.kernel,
    )  # fmt: skip
