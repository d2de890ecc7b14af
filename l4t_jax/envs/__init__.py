"""The tasks: MiniGrid's environments as navix environments. See `registry` for how to add one."""

from l4t_jax.envs.levels import draw_levels
from l4t_jax.envs.registry import get_task, list_tasks, register_task
from l4t_jax.envs.task import GridTask, Role, Task, observe

__all__ = [
    "GridTask",
    "Role",
    "Task",
    "draw_levels",
    "get_task",
    "list_tasks",
    "observe",
    "register_task",
]
