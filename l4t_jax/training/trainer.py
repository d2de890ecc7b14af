"""The trainer: `init` makes a state, `train_block` runs some tens of updates as one compiled program.

Device module: nothing here calls the host. The state is one pytree, all that a run needs to go on from where it is.
Several seeds are the same two functions under `vmap`, or in turn (`init_seeds`, `train_seeds`).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, PartitionSpec

from l4t_jax import kernels, parallel
from l4t_jax.agents.algorithms import Algorithm, Axes, Progress, Setup, get_algorithm
from l4t_jax.agents.bonus import no_visits
from l4t_jax.agents.controllers import Controller
from l4t_jax.agents.episodes import episodes, most_rows
from l4t_jax.agents.observations import MAP, Observation, get_observation
from l4t_jax.agents.optimizer import make_optimizer
from l4t_jax.agents.rollout import Envs, Play, Rollout, begin, rollout
from l4t_jax.agents.students import (
    StudentNetwork,
    apply_student,
    get_student,
    is_recurrent,
    make_student,
    prepare,
    prepares,
)
from l4t_jax.agents.success import SuccessByAge
from l4t_jax.agents.trees import zeros_of
from l4t_jax.config import PRESETS, Config, Settings
from l4t_jax.envs import GridTask, Task, draw_levels, get_task
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import MemoryMap, State
from l4t_jax.errors import ConfigError
from l4t_jax.evaluation import playing
from l4t_jax.evaluation.playing import Players
from l4t_jax.kernels import Kernels
from l4t_jax.teacher.policy import TeacherTable


class TrainState(struct.PyTreeNode):
    """All of a run that changes.

    Attributes:
        params: of the student.
        opt_state: what the algorithm keeps beside them, such as the optimizer's state.
        key: random key.
        envs: the environments between two rollouts.
        updates: `int32[]` updates done.
        outcomes: of the training episodes, the latest ones; from their rate of success follows the distillation weight.
        steps: `int32[]` environment steps taken, with rollouts of episodes; None where all updates have as many.
    """

    params: Any
    opt_state: Any
    key: jax.Array
    envs: Envs
    updates: jax.Array
    outcomes: SuccessByAge
    steps: jax.Array | None = None


# Which leaves have a leading axis of seeds; the number of updates has none, but with rollouts of episodes.
SEEDS = TrainState(params=0, opt_state=0, key=0, envs=0, updates=None, outcomes=0)  # pyright: ignore
SEED_AXIS = "seeds"

# How the leaves lie on a mesh: the environments, behind the axis of seeds, are spread; every device has all the rest.
ALL = PartitionSpec()
PLACES: TrainState = SEEDS.replace(
    **{field.name: ALL for field in dataclasses.fields(TrainState)} | dict(envs=PartitionSpec(None, parallel.AXIS))
)


@dataclasses.dataclass(frozen=True)
class Trainer:
    """A resolved config as functions on arrays.

    Attributes:
        config: resolved (`Config.resolved`).
        task: what it learns.
        mesh: the devices that the environments are spread over; None for one.
        learned: the task whose objects and mission the students read, where they play another than they learned.
        compiled_for: the platform of its programs, where that is neither the mesh's nor the one that jax runs on.
    """

    config: Settings
    task: Task
    mesh: Mesh | None = None
    learned: Task | None = None
    compiled_for: str | None = None

    @classmethod
    def create(cls, config: Config) -> Trainer:
        """From any config.

        Raises:
            UnknownTask, ConfigError: with what would be right.
        """
        if not isinstance(config.env, str):
            raise ConfigError(f"`env` must name a task, not {config.env!r}")
        task = get_task(config.env)
        named = dataclasses.replace(config, env=task.name)  # an alias finds the settings of its task
        named.check_kinds()
        student = get_student(PRESETS[config.preset]["student"] if config.student is None else config.student)
        own: dict[str, Any] = {} if student.observation is None else {"observation": student.observation}
        if not get_algorithm(config.algo).uses_teacher:
            own["warmup_updates"] = 0
        trainer = cls(config=named.resolved(task.max_steps, {**student.defaults, **own}), task=task)
        if trainer.by_episodes:
            unused = ("num_steps",) if is_recurrent(trainer.student) else ("num_steps", "minibatches")
            for name in unused:
                if getattr(config, name) is not None:
                    raise ConfigError(f"`{name}` is for `rollouts=steps`; this run has `rollouts=episodes`")
        if trainer.algorithm.uses_teacher and trainer.config.teacher == "none":
            raise ConfigError(f"`algo={trainer.algorithm.name}` needs a teacher; `algo=ppo` runs without one")
        trainer.check()
        return trainer

    def check(self) -> None:
        """Raises `ConfigError` unless the student reads the run's observation and its minibatches come out even."""
        config, own = self.config, get_student(self.config.student).observation
        if own is not None and own != config.observation:
            raise ConfigError(f"`student={config.student}` reads `observation={own}`, not {config.observation}")
        is_map = self.observation is MAP or isinstance(self.observation.template(self.env), MemoryMap)
        if own is None and not is_map:
            raise ConfigError(
                f"`student={config.student}` reads maps, and `observation={config.observation}` gives none; it is for "
                "students that are registered with it"
            )
        if self.by_episodes and not self.controller.chooses_actions:
            raise ConfigError(f"`algo={config.algo}` chooses skills, and is for `rollouts=steps`")
        config.check_minibatches(is_recurrent(self.student))

    def spread(self) -> Trainer:
        """The same over `config.devices`, or over as many of the devices there are as divide its environments.

        Raises:
            ConfigError: `config.devices` are not there, or do not divide the environments; see `parallel.make_mesh`.
        """
        config = self.config
        if self.by_episodes:
            if jax.process_count() > 1:
                raise ConfigError("`rollouts=episodes` is for one device; on many hosts a run has `rollouts=steps`")
            return self
        if is_recurrent(self.student):  # its minibatches cut the environments
            units, what = config.num_envs // config.minibatches, "`num_envs` / `minibatches`"
        else:
            units, what = config.num_envs, "`num_envs`"
        return dataclasses.replace(self, mesh=parallel.make_mesh(units, config.devices, what))

    def specs(self, tree: Any) -> Any:
        """Shapes to compile for: of a `TrainState` with a leading axis of seeds, or of what every device has."""
        return parallel.specs(self.mesh, tree, PLACES if isinstance(tree, TrainState) else ALL)

    def put(self, tree: Any) -> Any:
        """Puts the same on the mesh: a state from `init_seeds`, or from a checkpoint, whatever devices it ran on."""
        return parallel.put(self.mesh, tree, PLACES if isinstance(tree, TrainState) else ALL)

    @property
    def sharing_memory(self) -> int:
        """How many of the mesh's devices take their memory from one store: those of this host's CPU; else 1."""
        if self.mesh is None or self.mesh.devices.flat[0].platform != "cpu":
            return 1
        return len(self.mesh.local_devices)

    @property
    def kernel(self) -> Kernels:
        """How its programs are computed: as the settings say, or as suits the platform that they are compiled for."""
        if self.config.kernels != "auto":
            return kernels.BY_NAME[self.config.kernels]
        return kernels.for_platform(self.platform)

    @property
    def platform(self) -> str:
        """The platform that its programs are compiled for: "cpu", "gpu", "tpu"."""
        if self.compiled_for is not None:
            return self.compiled_for
        return jax.default_backend() if self.mesh is None else self.mesh.devices.flat[0].platform

    @functools.cached_property
    def env(self) -> GridTask:
        return make_env(self.task, kernel=self.kernel)

    @functools.cached_property
    def algorithm(self) -> Algorithm:
        """How the student learns; raises `ConfigError` where there is none of that name."""
        return get_algorithm(self.config.algo)

    @functools.cached_property
    def setup(self) -> Setup:
        """What the algorithm works with."""
        return Setup(
            config=self.config, env=self.env, student=self.student, observation=self.observation,
            optimizer=self.optimizer, total_updates=self.total_updates,
        )  # fmt: skip

    @functools.cached_property
    def observation(self) -> Observation:
        """What the student observes; raises `ConfigError` where there is none of that name."""
        return get_observation(self.config.observation)

    @functools.cached_property
    def student(self) -> StudentNetwork:
        config, task = self.config, self.task
        if self.learned is not None:
            task = dataclasses.replace(self.learned, width=task.width, height=task.height, view=task.view)
        return make_student(
            config.student, self.observation.network_task(task), config.hidden, config.dtype, self.controller.outputs,
            self.kernel, self.controller.chooses_actions,
        )  # fmt: skip

    @functools.cached_property
    def controller(self) -> Controller:
        """What the student's outputs mean: actions, or steps of plans for hierarchical RL."""
        return self.algorithm.controller(self.task, self.kernel)

    @property
    def by_episodes(self) -> bool:
        """Whether rollouts are whole episodes, so that updates differ in their steps."""
        return self.config.rollouts == "episodes"

    @property
    def steps_per_update(self) -> int:
        """Environment steps of one update of one seed; the fewest, where updates differ."""
        config = self.config
        return max(config.num_envs, config.least_steps) if self.by_episodes else config.num_envs * config.steps

    @property
    def total_updates(self) -> int:
        """Updates of the whole run; the most, where updates differ in their steps."""
        return -(-self.config.total_steps // self.steps_per_update)

    @property
    def rows_at_a_time(self) -> int:
        """How many rows of rollouts are kept at a time, of all seeds."""
        config = self.config
        if not self.by_episodes:
            return config.num_seeds * self.steps_per_update
        return config.num_envs * most_rows(config.num_envs, self.task.max_steps, config.least_steps)

    @functools.cached_property
    def optimizer(self) -> optax.GradientTransformation:
        return make_optimizer(self.config, self.total_updates)

    def init(self, key: jax.Array, params: Any = None) -> TrainState:
        """The state before the first update, with random parameters where none are given."""
        config = self.config
        params_key, level_key, env_key, run_key = jax.random.split(key, 4)
        pool = draw_levels(self.env, level_key, config.num_envs, "training")
        carry = self.student.initial_carry(config.num_envs)
        visits = no_visits(self.task, config.num_envs) if config.bonus > 0 else None
        envs = begin(env_key, pool, config.num_envs, carry, self.controller.begin(config.num_envs), visits)
        if params is None:
            params = self.student.init(params_key, *self._first_step(envs.env_state))
        return TrainState(
            params=params, opt_state=self.algorithm.init(self.setup, params), key=run_key, envs=envs,
            updates=jnp.int32(0), outcomes=SuccessByAge.none(self.env.max_steps),
            steps=jnp.int32(0) if self.by_episodes else None,
        )  # fmt: skip

    def _first_step(self, env_state: State) -> tuple[Any, Any, jax.Array]:
        """A carry, what the student reads and `reset` of one step of one environment, in shape; all of it is zero."""

        def read(env_state: State) -> tuple[Any, Any, jax.Array]:
            one = jax.tree.map(lambda leaf: leaf[None, :1], self.observation.of(self.env)(env_state))
            reset = jnp.zeros((1, 1), bool)
            return *prepare(self.student, self.student.initial_carry(1), one, reset), reset

        return zeros_of(read, env_state)

    def init_seeds(self, keys: jax.Array, params: Any = None) -> TrainState:
        """`init` for several seeds, a key (and given parameters) each; see `SEEDS` for the leading axes."""
        return jax.vmap(self.init, out_axes=0 if self.by_episodes else SEEDS)(keys, params)

    def train_seeds(
        self, state: TrainState, table: TeacherTable | None, updates: int, count: jax.Array | int | None = None
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """`train_block` for several seeds; metrics have leading axes (seeds, updates).

        The seeds are side by side. With rollouts of episodes they are one after the other, and each is at its own
        number of updates and of steps: side by side all would wait for the longest episode.
        """
        if self.by_episodes:

            def own(one: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
                return self.train_block(one, table, updates, count)

            return jax.lax.map(own, state)

        axis = None if self.mesh is None else parallel.AXIS

        def seeds(
            state: TrainState, table: TeacherTable | None, count: jax.Array | int | None
        ) -> tuple[TrainState, dict[str, jax.Array]]:
            if state.key.shape[0] == 1:  # without `vmap`, of which a CPU takes notice (4 %)
                one = jax.tree.map(lambda leaf: leaf[0], state.replace(updates=())).replace(updates=state.updates)
                one, metrics = self.train_block(one, table, updates, count, axis)
                state = jax.tree.map(lambda leaf: leaf[None], one.replace(updates=())).replace(updates=one.updates)
                return state, jax.tree.map(lambda leaf: leaf[None], metrics)

            def block(one: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
                return self.train_block(one, table, updates, count, axis, SEED_AXIS)

            return jax.vmap(block, in_axes=(SEEDS,), out_axes=(SEEDS, 0), axis_name=SEED_AXIS)(state)

        return parallel.on_each(self.mesh, seeds, (PLACES, ALL, ALL), (PLACES, ALL))(state, table, count)

    def train_block(
        self, state: TrainState, table: TeacherTable | None, updates: int, count: jax.Array | int | None = None,
        axis: str | None = None, seeds: str | None = None,
    ) -> tuple[TrainState, dict[str, jax.Array]]:  # fmt: skip
        """Runs `updates` updates.

        Args:
            state: from `init` or an earlier block.
            table: the teacher; None without one.
            updates: how many, static.
            count: run only the first so many, so that blocks of different lengths are one program. With rollouts of
                episodes: run them until so many steps have been taken since the run began.
            axis: of the mesh that the environments are spread over, within a program that runs on every device.
            seeds: name of the axis of seeds that this is one of, under `vmap`.

        Returns:
            The state afterwards and metrics, each with a leading axis `updates`; 0 from `count` on. A table that grows
            has one more, `met` `bool[updates, S]`: the symbolic states that the teacher was asked for.
        """
        key, level_key = jax.random.split(state.key)
        pool = draw_levels(self.env, level_key, self.config.level_pool, "training", axis)

        def one(state: TrainState, index: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
            @jax.jit  # traced once, though its shapes are asked for first
            def update(state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
                return self._update(state, table, pool, axis, seeds)

            if count is None:
                return update(state)

            def metrics(state: TrainState) -> dict[str, jax.Array]:
                return update(state)[1]

            nothing = zeros_of(metrics, state)
            going_on = index < count if state.steps is None else state.steps < count
            return jax.lax.cond(going_on, update, lambda state: (state, nothing), state)

        return jax.lax.scan(one, state.replace(key=key), jnp.arange(updates))

    def collect(self, params: Any, key: jax.Array, envs: Envs, pool: State) -> tuple[Envs, Rollout]:
        """One rollout under the student with these parameters, new episodes on levels of the pool; see `rollout`."""
        act = functools.partial(apply_student, self.student, params)
        ready = functools.partial(prepare, self.student) if prepares(self.student) else None
        if self.by_episodes:
            play = Play(
                self.env, act, pool, self.controller, self.observation, self.algorithm.uses_teacher, ready,
                self.config.greedy_share,
            )  # fmt: skip
            return episodes(play, key, envs, self.config.least_steps)
        return rollout(
            self.env, act, key, envs, pool, self.config.steps, self.controller, self.observation,
            keep_memory=self.algorithm.uses_teacher, prepare=ready, greedy_share=self.config.greedy_share,
        )  # fmt: skip

    def _update(
        self, state: TrainState, table: TeacherTable | None, pool: State, axis: str | None, seeds: str | None
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        key, rollout_key, update_key = jax.random.split(state.key, 3)
        envs, rows = self.collect(state.params, rollout_key, state.envs, pool)

        ends, reward, steps, share = rows.terminated | rows.truncated, rows.reward, None, None
        if state.steps is not None and rows.valid is not None:
            ends, reward = ends & rows.valid, jnp.where(rows.valid, reward, 0.0)
            steps = state.steps + jnp.sum(rows.valid, dtype=jnp.int32)
            share = state.steps / self.config.total_steps
        ended = parallel.sum_of(dict(episodes=jnp.sum(ends), reward=jnp.sum(reward)), axis)
        outcomes = state.outcomes.add(rows.age, rows.success, rows.terminated, axis, rows.valid)
        success = outcomes.rate()

        params, opt_state, terms = self.algorithm.update(
            self.setup, update_key, state.params, state.opt_state, rows, envs.env_id, table,
            Progress(updates=state.updates, success=success, share=share), Axes(mesh=axis, seeds=seeds),
        )  # fmt: skip
        metrics = dict(
            distill_weight=jnp.float32(0),
            episodes=ended["episodes"].astype(jnp.int32),
            success=success,
            train_return=ended["reward"] / jnp.maximum(ended["episodes"], 1),
        )
        state = TrainState(
            params=params, opt_state=opt_state, key=key, envs=envs, updates=state.updates + 1, outcomes=outcomes,
            steps=steps,
        )  # fmt: skip
        return state, metrics | terms

    @property
    def players(self) -> Players:
        """The students, as `evaluation` knows them."""
        return Players(self.env, self.policy, self.config.num_seeds, self.mesh)

    def policy(
        self, params: Any, key: jax.Array, env_id: jax.Array, greedy: bool | jax.Array = False
    ) -> tuple[Any, playing.Policy]:
        """The student as a policy, and what it starts from in environments `int32[B]`; see `Algorithm.policy`."""
        return self.algorithm.policy(self.setup, params, key, env_id, greedy)
