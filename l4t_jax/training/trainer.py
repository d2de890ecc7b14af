"""The trainer: `init` makes a state, `train_block` runs some tens of updates as one compiled program.

Device module: nothing here calls the host. The state is one pytree, all that a run needs to go on from where it is.
Several seeds are the same two functions under `vmap` (`init_seeds`, `train_seeds`).
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

from l4t_jax import parallel
from l4t_jax.agents import losses
from l4t_jax.agents.controllers import Controller, OverSkills, Primitive
from l4t_jax.agents.rollout import Envs, begin, rollout
from l4t_jax.agents.students import StudentNetwork, is_recurrent, make_student, run, student_names
from l4t_jax.agents.update import Weights, make_batch, update
from l4t_jax.config import Config, Settings, unknown_choice
from l4t_jax.envs import GridTask, Task, draw_levels, get_task
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.state import State
from l4t_jax.errors import ConfigError
from l4t_jax.evaluation import playing
from l4t_jax.evaluation.playing import Players
from l4t_jax.teacher.policy import TeacherTable, teacher_output

ALGORITHMS = ("l4t", "ppo", "hrl", "distill")


class TrainState(struct.PyTreeNode):
    """All of a run that changes.

    Attributes:
        params, opt_state: of the student.
        key: random key.
        envs: the environments between two rollouts.
        updates: `int32[]` updates done.
        successes, episodes: `float32[]` training episodes that ended well, and all that ended: the latest, the older
            ones fading. Their ratio is what the distillation weight is annealed by.
    """

    params: Any
    opt_state: Any
    key: jax.Array
    envs: Envs
    updates: jax.Array
    successes: jax.Array
    episodes: jax.Array


# Which leaves have a leading axis of seeds; the number of updates has none.
SEEDS = TrainState(params=0, opt_state=0, key=0, envs=0, updates=None, successes=0, episodes=0)  # pyright: ignore
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
    """

    config: Settings
    task: Task
    mesh: Mesh | None = None

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
        resolved = named.resolved(task.max_steps)
        if resolved.student not in student_names():
            unknown_choice("student", resolved.student, student_names())
        if resolved.algo not in ALGORITHMS:
            unknown_choice("algo", resolved.algo, ALGORITHMS)
        return cls(config=resolved, task=task)

    def spread(self) -> Trainer:
        """The same over `config.devices`, or over as many of the devices there are as divide its environments.

        Raises:
            ConfigError: `config.devices` are not there, or do not divide the environments; see `parallel.make_mesh`.
        """
        config = self.config
        assert config.num_envs is not None and config.minibatches is not None
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

    @functools.cached_property
    def env(self) -> GridTask:
        return self.task.make()

    @functools.cached_property
    def student(self) -> StudentNetwork:
        config = self.config
        assert config.student is not None and config.hidden is not None
        return make_student(config.student, self.task, config.hidden, config.dtype, self.controller.outputs)

    @functools.cached_property
    def controller(self) -> Controller:
        """What the student's outputs mean: actions, or the skills for hierarchical RL."""
        return OverSkills(self.task) if self.config.algo == "hrl" else Primitive()

    @property
    def steps_per_update(self) -> int:
        """Environment steps of one update of one seed."""
        assert self.config.num_envs is not None
        return self.config.num_envs * self.config.steps

    @property
    def total_updates(self) -> int:
        """Updates of the whole run."""
        assert self.config.total_steps is not None
        return -(-self.config.total_steps // self.steps_per_update)

    @functools.cached_property
    def optimizer(self) -> optax.GradientTransformation:
        config = self.config
        steps = self.total_updates * config.epochs * config.minibatches  # pyright: ignore
        rate = optax.linear_schedule(config.learning_rate, config.learning_rate_end, steps)  # pyright: ignore
        return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.adam(rate, eps=1e-5))

    def init(self, key: jax.Array) -> TrainState:
        """The state before the first update."""
        config = self.config
        assert config.num_envs is not None
        params_key, level_key, env_key, run_key = jax.random.split(key, 4)
        pool = draw_levels(self.env, level_key, config.num_envs, "training")
        carry = self.student.initial_carry(config.num_envs)
        envs = begin(env_key, pool, config.num_envs, carry, self.controller.begin(config.num_envs))
        one = jax.tree.map(lambda leaf: leaf[None, :1], jax.vmap(playing.observe)(envs.env_state))
        params = self.student.init(
            params_key,
            self.student.initial_carry(1),
            one,
            jnp.zeros((1, 1), bool),
        )
        return TrainState(
            params=params, opt_state=self.optimizer.init(params), key=run_key, envs=envs, updates=jnp.int32(0),
            successes=jnp.float32(0), episodes=jnp.float32(0),
        )  # fmt: skip

    def init_seeds(self, keys: jax.Array) -> TrainState:
        """`init` for several seeds, a key each; see `SEEDS` for the leading axes."""
        return jax.vmap(self.init, out_axes=SEEDS)(keys)

    def train_seeds(
        self, state: TrainState, table: TeacherTable | None, updates: int, count: jax.Array | int | None = None
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """`train_block` for several seeds side by side; metrics have leading axes (seeds, updates)."""

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

    def distill_weight(
        self, updates: jax.Array, success: jax.Array | float = 0.0, teacher: jax.Array | float = 1.0
    ) -> jax.Array:
        """Weight of the distillation loss, `float32[]`.

        Args:
            updates: done so far.
            success: the student's, of late.
            teacher: the teacher's own; 0 where it is no better than chance.
        """
        config = self.config
        if not config.taught:
            return jnp.float32(0)
        if config.algo == "distill":
            return jnp.float32(1)
        weight = losses.linear_coefficient(
            updates / self.total_updates,
            config.distill_coef, config.distill_floor, config.distill_fall, config.distill_off,  # pyright: ignore
        )  # fmt: skip
        return weight * losses.adaptive_coefficient(success, teacher) if config.anneal == "success" else weight

    def train_block(
        self, state: TrainState, table: TeacherTable | None, updates: int, count: jax.Array | int | None = None,
        axis: str | None = None, seeds: str | None = None,
    ) -> tuple[TrainState, dict[str, jax.Array]]:  # fmt: skip
        """Runs `updates` updates.

        Args:
            state: from `init` or an earlier block.
            table: the teacher; None without one.
            updates: how many, static.
            count: run only the first so many, so that blocks of different lengths are one program.
            axis: of the mesh that the environments are spread over, within a program that runs on every device.
            seeds: name of the axis of seeds that this is one of, under `vmap`.

        Returns:
            The state afterwards and metrics, each with a leading axis `updates`; 0 from `count` on. A table that grows
            has one more, `met` `bool[updates, S]`: the symbolic states that the teacher was asked for.
        """
        key, level_key = jax.random.split(state.key)
        pool = draw_levels(self.env, level_key, self.config.level_pool, "training", axis)

        def one(state: TrainState, index: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
            def run(state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
                return self._update(state, table, pool, axis, seeds)

            if count is None:
                return run(state)
            nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(run, state)[1])
            return jax.lax.cond(index < count, run, lambda state: (state, nothing), state)

        return jax.lax.scan(one, state.replace(key=key), jnp.arange(updates))

    def _update(
        self, state: TrainState, table: TeacherTable | None, pool: State, axis: str | None, seeds: str | None
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        config = self.config
        assert config.epochs is not None and config.minibatches is not None and config.gae_lambda is not None
        key, rollout_key, label_key, update_key = jax.random.split(state.key, 4)
        act = functools.partial(run, self.student, state.params)
        envs, rows = rollout(self.env, act, rollout_key, state.envs, pool, config.steps, self.controller)

        ends = rows.terminated | rows.truncated
        ended = dict(episodes=jnp.sum(ends), successes=jnp.sum(rows.reward > 0), reward=jnp.sum(rows.reward))
        ended = parallel.sum_of(ended, axis)
        # Over the time that an episode can take, as many are cut all at once, and only those that end well end earlier.
        kept = jnp.exp(-config.steps / self.task.max_steps)
        successes = kept * state.successes + ended["successes"]
        episodes = kept * state.episodes + ended["episodes"]
        success = successes / jnp.maximum(episodes, config.num_envs)  # pyright: ignore

        distill = self.distill_weight(state.updates, success, 1.0 if table is None else table.success)
        labels = met = None
        if table is not None:
            # Whether any seed still learns from the teacher: the same for all seeds, so that under `vmap` this stays a
            # branch, and a teacher of weight 0 costs nothing.
            most = distill if seeds is None else jax.lax.pmax(distill, seeds)

            def ask() -> tuple[jax.Array, jax.Array | None]:
                said = teacher_output(self.task, table, rows.memory)
                soft = said.distribution
                met = jnp.zeros(table.plans.shape[0], bool).at[said.state].set(True) if table.grows else None
                return soft if config.teacher_mode == "soft" else _sample(label_key, soft, envs.number), met

            nothing = jnp.zeros((*rows.action.shape, NUM_ACTIONS))
            none = jnp.zeros(table.plans.shape[0], bool) if table.grows else None
            labels, met = jax.lax.cond(most > 0, ask, lambda: (nothing, none))

        weights = Weights(
            reward=0.0 if config.algo == "distill" else 1.0, distill=distill, entropy=config.entropy_coef,  # pyright: ignore
            value=config.value_coef, clip=config.clip,
        )  # fmt: skip
        batch = make_batch(rows, labels, envs.number, config.gamma, config.gae_lambda, axis)
        params, opt_state, terms = update(
            self.student, self.optimizer, update_key, state.params, state.opt_state, batch, weights, config.epochs,
            config.minibatches, axis,
        )  # fmt: skip
        metrics = dict(
            **terms,
            distill_weight=distill,
            episodes=ended["episodes"].astype(jnp.int32),
            success=success,
            train_return=ended["reward"] / jnp.maximum(ended["episodes"], 1),
        )
        if labels is not None:
            unguided = parallel.mean(jnp.mean(jnp.sum(labels, axis=-1) < 0.5), axis)
            metrics["unguided"] = jnp.where(distill > 0, unguided, 0.0)
        if met is not None:
            metrics["met"] = parallel.sum_of(met, axis) > 0
        state = TrainState(
            params=params, opt_state=opt_state, key=key, envs=envs, updates=state.updates + 1, successes=successes,
            episodes=episodes,
        )  # fmt: skip
        return state, metrics

    @property
    def players(self) -> Players:
        """The students, as `evaluation` knows them."""
        return Players(self.env, self.policy, self.config.num_seeds, self.mesh)

    def policy(
        self, params: Any, key: jax.Array, index: jax.Array, greedy: bool | jax.Array = False
    ) -> tuple[Any, playing.Policy]:
        """What the student starts from in the environments of these numbers, `int32[B]`, and the student as a policy.

        A student over skills draws its options with `key`, or takes the most probable ones if `greedy`.
        """
        number = index.shape[0]
        carry = self.student.initial_carry(number)
        if isinstance(self.controller, Primitive):
            return carry, playing.student_policy(self.student, params)
        control = self.controller.begin(number)
        return (carry, control, jnp.int32(0)), playing.option_policy(
            self.student, params, self.controller, key, greedy, index
        )


def _sample(key: jax.Array, distribution: jax.Array, number: jax.Array) -> jax.Array:
    """One action of each row `[T, N]` as a one-hot row; rows of zeros stay zero. `number`: the environments' own."""
    keys = parallel.per_env_keys(key, number)
    action = jax.vmap(jax.random.categorical, in_axes=(0, 1), out_axes=1)(keys, jnp.log(distribution))
    return jax.nn.one_hot(action, distribution.shape[-1]) * jnp.sum(distribution, axis=-1, keepdims=True)
