"""Hierarchical RL: PPO over the teacher's skills as options, without the teacher.

Device module. Source: the baseline of LLM4Teach, arXiv 2311.13373.
"""

from __future__ import annotations

from l4t_jax.agents.algorithms.ppo import PPO
from l4t_jax.agents.controllers import Controller, OverSkills
from l4t_jax.envs.task import Task
from l4t_jax.kernels import Kernels


class HierarchicalRL(PPO):
    """PPO whose outputs are steps of plans; advantages are over options (semi-Markov)."""

    name, label, colour = "hrl", "hierarchical RL", "#009E73"

    def controller(self, task: Task, kernel: Kernels) -> Controller:
        return OverSkills(task, kernel)
