"""The tasks: MiniGrid's worlds as navix environments. See `registry` for how to add one."""

from l4t_jax.tasks.boards import draw_boards
from l4t_jax.tasks.registry import UnknownTask, get_task, list_tasks, register_task
from l4t_jax.tasks.task import GridTask, Noun, Task, observe

__all__ = [
    "GridTask",
    "Noun",
    "Task",
    "UnknownTask",
    "draw_boards",
    "get_task",
    "list_tasks",
    "observe",
    "register_task",
]
