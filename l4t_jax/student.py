"""A trained student that acts: `load_student` reads one from a run folder.

Host module, over `saved`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax import extensions
from l4t_jax.agents.algorithms import get_algorithm
from l4t_jax.agents.policy import student_policy
from l4t_jax.agents.students import StudentNetwork, make_student
from l4t_jax.config import Settings
from l4t_jax.envs import get_task
from l4t_jax.envs.state import MemoryMap, from_observation
from l4t_jax.errors import ConfigError
from l4t_jax.kernels import PORTABLE
from l4t_jax.saved import one_student, open_run
from l4t_jax.training.checkpoint import Which


class Student:
    """A trained student that acts.

    A recurrent one remembers what it has seen since the last `reset`; call that at the start of every episode. It can
    be pickled, with what it remembers; where it is read again, the run's extensions are loaded.

    Attributes:
        config: settings of the run that it comes from.
        task: that it learned.
        network: its network.
        params: its parameters.
    """

    def __init__(self, config: Settings, params: Any) -> None:
        self.config, self.params = config, params
        self.task = get_task(config.env)
        self.network: StudentNetwork = make_student(config.student, self.task, config.hidden, config.dtype)
        self._logits = jax.jit(self._forward)
        self.reset()

    def reset(self) -> None:
        """Begins a new episode."""
        self._carry: Any = self.network.initial_carry(1)
        self._fresh = True

    def _forward(self, carry: Any, memory: MemoryMap, fresh: jax.Array) -> tuple[Any, jax.Array]:
        memory = jax.tree.map(lambda leaf: leaf[None], memory)
        carry, logits = student_policy(self.network, self.params)(carry, memory, fresh[None])
        return carry, logits[0]

    def logits(self, observation: Any) -> jax.Array:
        """Scores of the seven actions, `float32[7]`; a recurrent student takes it as the next step of its episode.

        Args:
            observation: `uint8[W, H, 4]` as the task's navix environment gives it, or a `MemoryMap`.

        Raises:
            ValueError: the observation is of another shape.
        """
        with jax.enable_x64(False):
            memory = observation
            if not isinstance(observation, MemoryMap):
                shape = (self.task.width, self.task.height, 4)
                observation = jnp.asarray(observation)
                if observation.shape != shape:
                    raise ValueError(f"an observation of {self.task.name} has shape {shape}, not {observation.shape}")
                memory = from_observation(observation.astype(jnp.uint8), jnp.full((2,), -1, jnp.int8))
            self._carry, logits = self._logits(self._carry, memory, jnp.asarray(self._fresh))
        self._fresh = False
        return logits

    def act(self, observation: Any, key: jax.Array | None = None) -> int:
        """An action, one of MiniGrid's seven: drawn with `key`, or without one the most probable.

        Args:
            observation: see `logits`.
            key: random key.
        """
        logits = self.logits(observation)
        return int(jnp.argmax(logits) if key is None else jax.random.categorical(key, logits))

    def __reduce__(self) -> tuple[Any, ...]:
        carry = jax.tree.map(np.asarray, self._carry)
        return _unpickled, (self.config, jax.tree.map(np.asarray, self.params), carry, self._fresh)


def _unpickled(config: Settings, params: Any, carry: Any, fresh: bool) -> Student:
    extensions.load_all(config.imports)
    student = Student(config, jax.tree.map(jnp.asarray, params))
    student._carry, student._fresh = carry, fresh
    return student


def load_student(
    run_dir: str | Path, *, seed: int = 0, checkpoint: Which = "last", imports: Sequence[extensions.Importable] = ()
) -> Student:
    """A saved student.

    Args:
        run_dir: the run folder; `~` is the home folder.
        seed: which of the run's students, counted from 0.
        checkpoint: "last", or "best" by success on the validation levels.
        imports: extensions to load beside those of the run, which are loaded by themselves.

    Raises:
        RunFolderError, CheckpointError: `run_dir` is not a run folder, or holds no student yet.
        ConfigError: the run has no such seed, or an extension cannot be loaded.
    """
    saved = open_run(run_dir, checkpoint, imports)
    algo = saved.settings.algo
    if not get_algorithm(algo).controller(saved.task, PORTABLE).chooses_actions:
        raise ConfigError(f"a student of `algo={algo}` chooses skills, not actions; `evaluate` plays it")
    return Student(saved.settings, jax.tree.map(jnp.asarray, one_student(saved, seed)))
