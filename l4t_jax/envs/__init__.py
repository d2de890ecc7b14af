"""The tasks: MiniGrid's environments as navix environments. See `registry` for how to add one."""

from l4t_jax.envs import families
from l4t_jax.envs.levels import draw_levels
from l4t_jax.envs.navix import GridTask
from l4t_jax.envs.registry import get_task, list_tasks, register_task
from l4t_jax.envs.state import Layout
from l4t_jax.envs.task import Role, Task
from l4t_jax.errors import UnknownTask

__all__ = [
    "GridTask",
    "Layout",
    "Role",
    "Task",
    "UnknownTask",
    "draw_levels",
    "families",
    "get_task",
    "list_tasks",
    "register_task",
]
