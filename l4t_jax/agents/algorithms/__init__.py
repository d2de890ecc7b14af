"""Learning algorithms: the protocol and registry (`base`) and the four of the package.

Device package: imports `envs`, `teacher.policy` and the rest of `agents`.
"""

from l4t_jax.agents.algorithms.base import (
    Algorithm,
    Axes,
    Progress,
    Setup,
    algorithm_names,
    get_algorithm,
    register_algorithm,
)
from l4t_jax.agents.algorithms.distill import Distill
from l4t_jax.agents.algorithms.hrl import HierarchicalRL
from l4t_jax.agents.algorithms.l4t import L4T
from l4t_jax.agents.algorithms.ppo import PPO

__all__ = [
    "Algorithm", "Axes", "Progress", "Setup", "algorithm_names", "get_algorithm", "register_algorithm",
]  # fmt: skip

for _algorithm in (L4T(), PPO(), HierarchicalRL(), Distill()):
    register_algorithm(_algorithm)
