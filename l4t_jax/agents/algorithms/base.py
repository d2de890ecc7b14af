"""What every learning algorithm is, and the registry of algorithms.

Device module. An algorithm says what the student's outputs mean (`controller`), what it keeps beside the parameters
(`init`), and how one rollout changes both (`update`). The trainer does the rest: it steps the environments, draws the
levels, counts episodes. To add an algorithm, subclass `Algorithm` and `register_algorithm(MyAlgorithm())`; then
`Config(algo=NAME)` finds it.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import optax
from flax import struct

from l4t_jax.agents.controllers import Controller, Primitive
from l4t_jax.agents.observations import Observation
from l4t_jax.agents.policy import Policy, controlled_policy
from l4t_jax.agents.rollout import Rollout
from l4t_jax.agents.students import StudentNetwork
from l4t_jax.agents.trust import Advice
from l4t_jax.config import Config, Settings
from l4t_jax.envs.navix import GridTask
from l4t_jax.envs.task import Task
from l4t_jax.extensions import Registry
from l4t_jax.kernels import Kernels
from l4t_jax.teacher.policy import TeacherTable


@dataclasses.dataclass(frozen=True)
class Setup:
    """What an algorithm works with; the same throughout a run.

    Attributes:
        config: the run's settings, resolved.
        env: the task's environment.
        student: the network.
        observation: what it observes.
        optimizer: gradient clipping and Adam with the run's learning rates.
        total_updates: of the whole run.
    """

    config: Settings
    env: GridTask
    student: StudentNetwork
    observation: Observation
    optimizer: optax.GradientTransformation
    total_updates: int


@dataclasses.dataclass(frozen=True)
class Axes:
    """Names of the axes that an update runs under; None where there is no such axis.

    Attributes:
        mesh: of the devices that the environments are spread over; what all environments must agree on is summed over
            it.
        seeds: of the seeds that are trained side by side under `vmap`.
    """

    mesh: str | None = None
    seeds: str | None = None


class Progress(struct.PyTreeNode):
    """How far a run is.

    Attributes:
        updates: `int32[]` done so far.
        success: `float32[]` the student's share of successes in its latest training episodes.
        share: `float32[]` of the run's steps taken so far; None where all updates have as many.
    """

    updates: jax.Array
    success: jax.Array
    share: jax.Array | None = None

    def done(self, total_updates: int) -> jax.Array:
        """The share of the run that is done, `float32[]`."""
        return self.updates / total_updates if self.share is None else self.share


class Algorithm(abc.ABC):
    """A learning algorithm; it holds no state of its own.

    Attributes:
        name: as in `Config(algo=NAME)`.
        label: as in tables and on curves.
        colour: of its curves, as matplotlib takes it.
        uses_teacher: whether it reads a teacher; if not, none is loaded, `table` is None, and rollouts hold no memory
            maps but those that the student observes.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    colour: ClassVar[str] = "#000000"
    uses_teacher: ClassVar[bool] = False

    def controller(self, task: Task, kernel: Kernels) -> Controller:
        """What the student's outputs mean; the seven actions by default."""
        return Primitive()

    def init(self, setup: Setup, params: Any) -> Any:
        """What the algorithm keeps between updates beside the parameters: by default the optimizer's state.

        Args:
            setup: the run's.
            params: of the student before the first update.
        """
        return setup.optimizer.init(params)

    @abc.abstractmethod
    def update(
        self, setup: Setup, key: jax.Array, params: Any, kept: Any, rows: Rollout, env_id: jax.Array,
        table: TeacherTable | None, progress: Progress, axes: Axes,
    ) -> tuple[Any, Any, dict[str, jax.Array]]:  # fmt: skip
        """One update from one rollout.

        Args:
            setup: the run's.
            key: random key.
            params: of the student, which played the rollout with them.
            kept: from `init`, or the last update.
            rows: the rollout, leading axes (T, N); some may be padding (`Rollout.valid`).
            env_id: `int32[N]` the environments' own numbers, from which random numbers of a row must come.
            table: the teacher; None without one.
            progress: how far the run is.
            axes: what the update runs under.

        Returns:
            Parameters, what is kept, and metrics by name: `float32[]` each. Two names mean something to the trainer:
            `distill_weight`, the teacher's weight, and `met` `bool[S]`, the symbolic states that a teacher that grows
            was asked for.
        """

    def advice(self, kept: Any) -> Advice | None:
        """What the teacher's advice has been worth, of what `init` or `update` gave; None where that is not learned."""
        return None

    def policy(
        self, setup: Setup, params: Any, key: jax.Array, env_id: jax.Array, greedy: bool | jax.Array = False
    ) -> tuple[Any, Policy]:
        """The student as a policy over actions, and what it starts from; see `agents.policy`.

        Args:
            setup: the run's.
            params: of the student.
            key: random key for choices that last longer than an action.
            env_id: `int32[B]` the environments' own numbers.
            greedy: take the most probable choices.
        """
        return controlled_policy(
            setup.student, params, setup.observation.of(setup.env), self.controller(setup.env.task, setup.env.kernel),
            key, greedy, env_id,
        )  # fmt: skip

    def follows_success(self, config: Config) -> bool:
        """Whether the teacher's weight depends on the student's success, so that a teacher of success 0 has none."""
        return False


_ALGORITHMS = Registry[Algorithm]("algorithm", setting="algo")


def register_algorithm(algorithm: Algorithm) -> None:
    """Makes an algorithm available by its name; one that the same file of a user's registered before is replaced.

    Raises:
        ValueError: there is another algorithm of this name.
    """
    _ALGORITHMS.add(algorithm.name, algorithm)


def algorithm_names() -> list[str]:
    """Names of all registered algorithms, in the order of their registration."""
    return list(_ALGORITHMS)


def get_algorithm(name: str) -> Algorithm:
    """The algorithm of a name.

    Raises:
        ConfigError: there is none; the message names all there are.
    """
    return _ALGORITHMS.named(name)
