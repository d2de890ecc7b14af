"""PPO: the student learns from its reward alone. Source: Schulman et al. 2017.

Device module.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.agents.algorithms.base import Algorithm, Axes, Progress, Setup
from l4t_jax.agents.rollout import Rollout
from l4t_jax.agents.students import is_recurrent
from l4t_jax.agents.update import Batch, Weights, make_batch, update, update_in_sizes
from l4t_jax.teacher.policy import TeacherTable


class Pace(struct.PyTreeNode):
    """The number of passes of an update and the share of the run that is done, where updates differ in minibatches.

    They differ in a run with a warm-up, and in one with rollouts of episodes.

    Attributes:
        epochs: `int32[]` passes over this rollout; a Python number where all updates make as many.
        done: `float32[]` the share of the run that is done, by which the learning rate falls.
    """

    epochs: jax.Array | int
    done: jax.Array


def pace_of(setup: Setup, progress: Progress, behind: jax.Array | None = None) -> Pace | None:
    """The pace of an update by the run's settings; None where all updates have as many minibatches.

    Args:
        setup: the run's.
        progress: how far it is.
        behind: `float32[]` how far the student's success is behind its teacher's, as a share of it. The first rollouts
            get more passes while this is above a half, so not at all where there is no teacher to follow. None: there
            is no warm-up.
    """
    config = setup.config
    if config.warmup_updates == 0 or behind is None:
        return None if progress.share is None else Pace(config.epochs, progress.share)
    warm = (progress.updates < config.warmup_updates) & (behind > 0.5)
    return Pace(jnp.where(warm, config.warmup_epochs, config.epochs), progress.done(setup.total_updates))


class PPO(Algorithm):
    """Clipped policy and value losses, an entropy bonus, generalised advantages."""

    name, label, colour = "ppo", "PPO alone", "#D55E00"

    def update(
        self, setup: Setup, key: jax.Array, params: Any, kept: Any, rows: Rollout, env_id: jax.Array,
        table: TeacherTable | None, progress: Progress, axes: Axes,
    ) -> tuple[Any, Any, dict[str, jax.Array]]:  # fmt: skip
        batch = batch_of(setup, rows, None, env_id, axes.mesh)
        pace = pace_of(setup, progress)
        return learn(setup, key, params, kept, batch, reward=1.0, distill=0.0, mesh_axis=axes.mesh, pace=pace)


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
    pace: Pace | None = None,
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
        pace: from `pace_of`.

    Returns:
        Parameters, optimizer state, loss terms.
    """
    config = setup.config
    weights = Weights(
        reward=reward, distill=distill, entropy=config.entropy_coef, value=config.value_coef, clip=config.clip
    )
    epochs, done = (config.epochs, None) if pace is None else (pace.epochs, pace.done)
    if batch.valid is not None and not is_recurrent(setup.student):
        return update_in_sizes(
            setup.student, setup.optimizer, key, params, opt_state, batch, weights, epochs, config.minibatch_size, done
        )  # fmt: skip
    return update(
        setup.student, setup.optimizer, key, params, opt_state, batch, weights, epochs, config.minibatches,
        mesh_axis, setup.env.kernel, done,
    )  # fmt: skip
