"""What every student network is, and the registry of students.

Device module. Every student is called alike, time-major, recurrent or not:

    carry, logits, value = student.apply(params, carry, memory, reset)

with `memory` a `MemoryMap` with leading axes (T, B), `reset` `bool[T, B]` (the step starts an episode), `logits`
`float32[T, B, outputs]`, `value` `float32[T, B]`. `initial_carry(batch)` is what a recurrent student starts from; a
feed-forward student's carry is the empty tuple. To add a student, write a module with these two methods and
`register_student(name, module)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.state import MemoryMap
from l4t_jax.envs.task import Task
from l4t_jax.extensions import may_register
from l4t_jax.kernels import PORTABLE, Kernels

Carry = Any


class StudentNetwork(nn.Module):
    """What every student is; its `__call__` takes (carry, known, reset), see the head of this file.

    Attributes:
        task: it reads the map's size and the objects.
        hidden: width of its hidden layers.
        outputs: how many logits it gives.
        dtype: number type of its matrix products.
        kernel: how it is computed.
    """

    task: Task
    hidden: int
    outputs: int = NUM_ACTIONS
    dtype: Any = jnp.float32
    kernel: Kernels = PORTABLE

    def initial_carry(self, batch: int) -> Carry:
        """What `batch` environments start from; nothing, unless the student is recurrent."""
        return ()

    def prepare(self, memory: MemoryMap) -> Any:
        """What the network reads of maps; `__call__` takes it in their place. An update finds it once."""
        return memory


def prepare(student: StudentNetwork, memory: MemoryMap) -> Any:
    """What a student reads of maps; the maps themselves, where it does not say."""
    return student.prepare(memory) if hasattr(student, "prepare") else memory


def run(
    student: StudentNetwork, params: Any, carry: Carry, memory: Any, reset: jax.Array
) -> tuple[Carry, jax.Array, jax.Array]:
    """The student on maps (or what `prepare` made of them), leading axes (T, B): its carry after, logits, values."""
    return student.apply(params, carry, memory, reset)  # pyright: ignore


_STUDENTS: dict[str, Callable[..., Any]] = {}


def register_student(name: str, network: Callable[..., Any]) -> None:
    """Makes a student available by name (`Config(student=NAME)`).

    One that the same file of a user's registered before is replaced.

    Args:
        name: as on the command line.
        network: called with `task`, `hidden`, `dtype`, `outputs` and `kernel` by keyword; gives a `StudentNetwork`, or
            a module with its two methods.

    Raises:
        ValueError: there is another student of this name.
    """
    if not may_register("student", name, name in _STUDENTS):
        raise ValueError(f"there is already a student named {name}; choose another name")
    _STUDENTS[name] = network


def student_names() -> list[str]:
    """Names of all registered students, in the order of their registration."""
    return list(_STUDENTS)


def make_student(
    name: str,
    task: Task,
    hidden: int,
    dtype: str = "float32",
    outputs: int = NUM_ACTIONS,
    kernel: Kernels = PORTABLE,
) -> StudentNetwork:
    """A student by name.

    Args:
        name: of a registered student.
        task: it reads the task's map size and objects.
        hidden: width of its hidden layers.
        dtype: number type of its matrix products.
        outputs: how many logits it gives.
        kernel: how it is computed.
    """
    return _STUDENTS[name](task=task, hidden=hidden, dtype=jnp.dtype(dtype), outputs=outputs, kernel=kernel)


def is_recurrent(student: StudentNetwork) -> bool:
    """Whether the student carries anything from step to step."""
    return bool(jax.tree.leaves(student.initial_carry(1)))
