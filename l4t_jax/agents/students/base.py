"""What every student network is, and the registry of students.

Device module. Every student is called alike, time-major, recurrent or not:

    carry, logits, value = student.apply(params, carry, observation, reset)

with leading axes (T, B) throughout: `observation` is what the student's `observations.Observation` gives, a `MemoryMap`
unless the student is registered with one of its own; `reset` `bool[T, B]` (the step starts an episode); `logits`
`float32[T, B, outputs]`; `value` `float32[T, B]`. `initial_carry(batch)` is what a student starts from that remembers
something; the carry of the others is the empty tuple. To add a student, write a module with these two methods and
`register_student(name, module)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from l4t_jax.config import PRESETS
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.task import Task
from l4t_jax.errors import ConfigError
from l4t_jax.extensions import Registry
from l4t_jax.kernels import PORTABLE, Kernels

Carry = Any


class StudentNetwork(nn.Module):
    """What every student is; its `__call__` takes (carry, observation, reset), see the head of this file.

    Attributes:
        task: it reads the size of the maps that it observes, the objects and the mission.
        hidden: width of its hidden layers.
        outputs: how many logits it gives.
        dtype: number type of its matrix products.
        kernel: how it is computed.
        acts: whether its outputs are the seven actions; else they are options.
    """

    task: Task
    hidden: int
    outputs: int = NUM_ACTIONS
    dtype: Any = jnp.float32
    kernel: Kernels = PORTABLE
    acts: bool = True
    learns_through_carry: ClassVar[bool] = True  # False: only `prepare` reads and changes the carry

    def initial_carry(self, batch: int) -> Carry:
        """What `batch` environments start from; nothing, unless the student is recurrent."""
        return ()

    def prepare(self, carry: Carry, observation: Any, reset: jax.Array) -> tuple[Carry, Any]:
        """What the network reads of observations; `__call__` takes it in their place. A rollout finds it once.

        It does not depend on the parameters. What it remembers from step to step, it keeps in the carry.
        """
        return carry, observation


def prepare(student: StudentNetwork, carry: Carry, observation: Any, reset: jax.Array) -> tuple[Carry, Any]:
    """Its carry after, and what a student reads of observations; they themselves, where it does not say."""
    return student.prepare(carry, observation, reset) if hasattr(student, "prepare") else (carry, observation)


def prepares(student: StudentNetwork) -> bool:
    """Whether a student reads something else than its observations as they are."""
    return getattr(type(student), "prepare", StudentNetwork.prepare) is not StudentNetwork.prepare


def apply_student(
    student: StudentNetwork, params: Any, carry: Carry, observation: Any, reset: jax.Array
) -> tuple[Carry, jax.Array, jax.Array]:
    """The student on observations (or what `prepare` made of them), leading axes (T, B): its carry after, logits,
    values.

    Raises:
        ConfigError: logits or values have another shape than (T, B, outputs) and (T, B).
    """
    made = student.apply(params, carry, observation, reset)
    carry, logits, value = cast(tuple[Carry, jax.Array, jax.Array], made)
    if logits.shape[:-1] != reset.shape or value.shape != reset.shape:
        raise ConfigError(
            f"the student {type(student).__name__} gives logits of shape {logits.shape} and values of shape "
            f"{value.shape}; for time and batch {reset.shape} they should be "
            f"({', '.join(map(str, reset.shape))}, outputs) and {reset.shape}"
        )
    return carry, logits, value


@dataclasses.dataclass(frozen=True)
class RegisteredStudent:
    """What `register_student` keeps; see there."""

    network: Callable[..., Any]
    observation: str | None = None
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])


_STUDENTS = Registry[RegisteredStudent]("student")


def register_student(
    name: str, network: Callable[..., Any], observation: str | None = None, defaults: Mapping[str, Any] | None = None
) -> None:
    """Makes a student available by name (`Config(student=NAME)`).

    One that the same file of a user's registered before is replaced.

    Args:
        name: as on the command line.
        network: called with `task`, `hidden`, `dtype`, `outputs` and `kernel` by keyword; gives a `StudentNetwork`, or
            a module with its two methods.
        observation: the only one that it reads; by default it reads any that is a `MemoryMap`, `map` unless the user
            says otherwise.
        defaults: settings that it replaces in every preset, such as `dict(hidden=256)`; what a user gives wins.

    Raises:
        ValueError: there is another student of this name, or a default is of no setting that a preset decides.
    """
    defaults = dict(defaults or {})
    may = [setting for setting in PRESETS["fast"] if setting != "student"]
    wrong = [setting for setting in defaults if setting not in may]
    if wrong:
        raise ValueError(f"the student {name} cannot have a default for {wrong[0]}, only for {', '.join(may)}")
    _STUDENTS.add(name, RegisteredStudent(network, observation, defaults))


def student_names() -> list[str]:
    """Names of all registered students, in the order of their registration."""
    return list(_STUDENTS)


def get_student(name: str) -> RegisteredStudent:
    """What was registered under a name.

    Raises:
        ConfigError: there is no such student; the message names all there are.
    """
    return _STUDENTS.named(name)


def make_student(
    name: str,
    task: Task,
    hidden: int,
    dtype: str = "float32",
    outputs: int = NUM_ACTIONS,
    kernel: Kernels = PORTABLE,
    acts: bool = True,
) -> StudentNetwork:
    """A student by name.

    Args:
        name: of a registered student.
        task: it reads the map size, the objects and the mission (`Observation.network_task`).
        hidden: width of its hidden layers.
        dtype: number type of its matrix products.
        outputs: how many logits it gives.
        kernel: how it is computed.
        acts: whether its outputs are the seven actions; else they are options.

    Raises:
        ConfigError: there is no such student.
    """
    made = get_student(name).network(task=task, hidden=hidden, dtype=jnp.dtype(dtype), outputs=outputs, kernel=kernel)
    return made if acts or not isinstance(made, StudentNetwork) else made.clone(acts=False)


def is_recurrent(student: StudentNetwork) -> bool:
    """Whether the student learns through what it carries from step to step."""
    return getattr(student, "learns_through_carry", True) and bool(jax.tree.leaves(student.initial_carry(1)))
