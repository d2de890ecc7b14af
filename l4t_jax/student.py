"""A trained student that acts: `load_student` reads one from a run folder, or one of the package's by its name.

Host module, over `saved`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax import extensions
from l4t_jax.agents.algorithms import get_algorithm
from l4t_jax.agents.policy import one_step
from l4t_jax.config import Settings
from l4t_jax.envs import get_task
from l4t_jax.envs.state import State
from l4t_jax.errors import ConfigError
from l4t_jax.kernels import PORTABLE
from l4t_jax.saved import one_student, open_run, player
from l4t_jax.training.checkpoint import Which
from l4t_jax.training.trainer import Trainer


class Student:
    """A trained student that acts.

    A recurrent one remembers what it has seen since the last `reset`; call that at the start of every episode. It can
    be pickled, with what it remembers; where it is read again, the run's extensions are loaded.

    Attributes:
        config: settings of the run that it comes from.
        task: that it plays.
        observation: what it reads.
        network: its network.
        params: its parameters.
    """

    def __init__(self, config: Settings, params: Any, env: str | None = None) -> None:
        self.config, self.params = config, params
        learned = get_task(config.env)
        self.task = learned if env is None else get_task(env)
        # A run's tuning is for the processor that it ran on.
        portable = dataclasses.replace(config, kernels=PORTABLE.name)
        trainer = Trainer(config=portable, task=self.task, learned=learned)
        self.observation, self.network = trainer.observation, trainer.student
        self.template = self.observation.template(trainer.env)
        self._observe = jax.jit(lambda state: self.observation.observe(self.task, state, PORTABLE))
        self._logits = jax.jit(self._forward)
        self.reset()

    def reset(self) -> None:
        """Begins a new episode."""
        self._carry: Any = self.network.initial_carry(1)
        self._fresh = True

    def observe(self, state: State) -> Any:
        """What the student reads of the state of one environment."""
        return self._observe(state)

    def _forward(self, carry: Any, observation: Any, fresh: jax.Array) -> tuple[Any, jax.Array]:
        observation = jax.tree.map(lambda leaf: leaf[None], observation)
        carry, logits = one_step(self.network, self.params, carry, observation, fresh[None])
        return carry, logits[0]

    def _read(self, observation: Any) -> Any:
        """An observation, given as it is or in its plain form.

        Raises:
            ValueError: it is of another shape.
        """
        plain, template = self.observation.as_arrays(self.template), self.template
        if isinstance(observation, type(template)):
            plain = template
        elif isinstance(plain, jax.ShapeDtypeStruct):
            observation = np.asarray(observation)
        shapes, given = (jax.tree.map(np.shape, tree) for tree in (plain, observation))
        if shapes != given:
            raise ValueError(
                f"an observation (`{self.observation.name}`) of {self.task.name} has shape {shapes}, not {given}"
            )
        arrays = jax.tree.map(lambda leaf, like: jnp.asarray(leaf).astype(like.dtype), observation, plain)
        return arrays if plain is template else self.observation.from_arrays(self.task, template, arrays)

    def logits(self, observation: Any) -> jax.Array:
        """Scores of the seven actions, `float32[7]`; a recurrent student takes it as the next step of its episode.

        Args:
            observation: as `observe` gives it. A map may be given as an array: `uint8[W, H, 4]`, as the task's navix
                environment gives it, for `map`, and `uint8[V, V, 3]`, as Farama's `minigrid` gives it, for `view`.
                Where the task draws missions, it is a dict of that `map`, the `mission` `int8[M]`, and what else
                `Observation.as_arrays` says.

        Raises:
            ValueError: the observation is of another shape.
        """
        with jax.enable_x64(False):
            self._carry, logits = self._logits(self._carry, self._read(observation), jnp.asarray(self._fresh))
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
        return _unpickled, (self.config, jax.tree.map(np.asarray, self.params), self.task.name, carry, self._fresh)


def _unpickled(config: Settings, params: Any, env: str, carry: Any, fresh: bool) -> Student:
    extensions.load_all(config.imports)
    student = Student(config, jax.tree.map(jnp.asarray, params), env)
    student._carry, student._fresh = carry, fresh
    return student


def load_student(
    run_dir: str | Path, *, seed: int = 0, checkpoint: Which = "last", env: str | None = None,
    imports: Sequence[extensions.Importable] = (),
) -> Student:  # fmt: skip
    """A saved student.

    Args:
        run_dir: the run folder, or the name of a trained student (`list_students`); `~` is the home folder.
        seed: which of the run's students, counted from 0.
        checkpoint: "last", or "best" by success on the validation levels.
        env: another task that it is to play; its own by default.
        imports: extensions to load beside those of the run, which are loaded by themselves.

    Raises:
        RunFolderError, CheckpointError: `run_dir` is not a run folder and no student's name, or holds no student yet.
        UnknownTask, ConfigError: the run has no such seed, `env` is unknown or not for this student, or an extension
            cannot be loaded.
    """
    saved = open_run(run_dir, checkpoint, imports)
    algo = saved.settings.algo
    if not get_algorithm(algo).controller(saved.task, PORTABLE).chooses_actions:
        raise ConfigError(f"a student of `algo={algo}` chooses skills, not actions; `evaluate` plays it")
    task = player(saved, env).task
    return Student(saved.settings, jax.tree.map(jnp.asarray, one_student(saved, seed)), task.name)
