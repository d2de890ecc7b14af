"""The families of tasks, one file each: levels, rules and registration. Importing this registers them all."""

from l4t_jax.envs.families import door_key

__all__ = ["door_key"]
