"""Many devices and processes. A run's random numbers are the same on any number of them.

Imports only the errors from `l4t_jax`. A program runs on every device on its own shard of the environments (`on_each`).
Gradients and means over all environments are summed over the mesh axis. An environment's random numbers depend on its
id (`per_env_keys`), not on the device.
"""

from l4t_jax.parallel.collectives import all_gather, mean, shard, sum_of
from l4t_jax.parallel.mesh import AXIS, FEWEST_ENVS, MOST_ON_CPU, cores, cpu_devices, make_mesh, on_each, put, specs
from l4t_jax.parallel.processes import broadcast, everywhere, is_main, join
from l4t_jax.parallel.random_numbers import per_env_bits, per_env_keys

__all__ = [
    "AXIS",
    "FEWEST_ENVS",
    "MOST_ON_CPU",
    "all_gather",
    "broadcast",
    "cores",
    "cpu_devices",
    "everywhere",
    "is_main",
    "join",
    "make_mesh",
    "mean",
    "on_each",
    "per_env_bits",
    "per_env_keys",
    "put",
    "shard",
    "specs",
    "sum_of",
]
