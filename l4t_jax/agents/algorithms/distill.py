"""Distillation alone: the student learns from the teacher, and from no reward.

Device module.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax.agents.algorithms.base import Progress, Setup
from l4t_jax.agents.algorithms.l4t import L4T
from l4t_jax.config import Config


class Distill(L4T):
    """L4T without PPO's terms; the distillation loss keeps weight 1."""

    name, label, colour = "distill", "distillation alone", "#CC79A7"
    reward = 0.0

    def linear(self, setup: Setup, progress: Progress) -> jax.Array | float:
        """1 throughout."""
        return jnp.float32(1)

    def follows_success(self, config: Config) -> bool:
        return False
