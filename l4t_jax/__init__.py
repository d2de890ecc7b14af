"""A large language model as policy teacher for small reinforcement-learning students, in JAX.

    import l4t_jax

    result = l4t_jax.train(l4t_jax.Config(env="DoorKey"))
    print(result.summary["heldout"]["student"]["success"])

Importing the package is cheap: each name below is imported when it is first used, and the tasks are registered with
navix and Gymnasium when one of these is imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from l4t_jax.errors import missing_platform
from l4t_jax.interfaces import import_hooks

if TYPE_CHECKING:
    from l4t_jax.api import evaluate, train
    from l4t_jax.config import Config
    from l4t_jax.envs import Task, get_task, list_tasks, register_task
    from l4t_jax.errors import ConfigError, UnknownTask
    from l4t_jax.extensions import load_extension
    from l4t_jax.imported import import_environment
    from l4t_jax.reporting.result import Result
    from l4t_jax.student import Student, load_student
    from l4t_jax.trained import list_students

__version__ = "0.2.0"
__all__ = [
    "Config",
    "ConfigError",
    "Result",
    "Student",
    "Task",
    "UnknownTask",
    "__version__",
    "evaluate",
    "get_task",
    "import_environment",
    "list_students",
    "list_tasks",
    "load_extension",
    "load_student",
    "register_task",
    "train",
]

_HOME = {
    "Config": "l4t_jax.config",
    "Result": "l4t_jax.reporting.result",
    "load_extension": "l4t_jax.extensions",
    "import_environment": "l4t_jax.imported",
    "list_students": "l4t_jax.trained",
    **dict.fromkeys(("evaluate", "train"), "l4t_jax.api"),
    **dict.fromkeys(("Student", "load_student"), "l4t_jax.student"),
    **dict.fromkeys(("ConfigError", "UnknownTask"), "l4t_jax.errors"),
    **dict.fromkeys(("Task", "get_task", "list_tasks", "register_task"), "l4t_jax.envs"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_HOME[name]), name)
    except (RuntimeError, AssertionError) as error:
        missing = missing_platform(error)
        if missing is None:
            raise
        raise missing from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


import_hooks.install()
