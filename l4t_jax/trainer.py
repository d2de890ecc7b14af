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

from l4t_jax import evaluation, losses
from l4t_jax.config import Config
from l4t_jax.hierarchy import Controller, OverSkills, Primitive
from l4t_jax.networks import Student, make_student, run
from l4t_jax.rollout import Envs, begin, rollout
from l4t_jax.tasks import GridTask, Task, draw_boards, get_task
from l4t_jax.teacher.policy import TeacherTable, guide
from l4t_jax.types import NUM_ACTIONS, World
from l4t_jax.update import Weights, make_batch, update

EVALUATION_KEY = 20231113  # boards of validation and test are the same for every run and every seed


class TrainState(struct.PyTreeNode):
    """All of a run that changes.

    Attributes:
        params, opt_state: of the student.
        key: random key.
        envs: the worlds between two rollouts.
        updates: `int32[]` updates done.
    """

    params: Any
    opt_state: Any
    key: jax.Array
    envs: Envs
    updates: jax.Array


# Which leaves have a leading axis of seeds. The number of updates has none: so it is a plain scalar under `vmap`, and
# the branch that asks the teacher only while its weight is above 0 stays a branch (batched, it would always run).
SEEDS = TrainState(params=0, opt_state=0, key=0, envs=0, updates=None)  # pyright: ignore


@dataclasses.dataclass(frozen=True)
class Trainer:
    """A resolved config as functions on arrays.

    Attributes:
        config: resolved (`Config.resolved`).
        task: what it learns.
    """

    config: Config
    task: Task

    @classmethod
    def create(cls, config: Config) -> Trainer:
        """From any config.

        Raises:
            UnknownTask, ConfigError: with what would be right.
        """
        task = get_task(config.env)
        named = dataclasses.replace(config, env=task.name)  # an alias finds the settings of its task
        return cls(config=named.resolved(task.max_steps), task=task)

    @functools.cached_property
    def env(self) -> GridTask:
        return self.task.make()

    @functools.cached_property
    def student(self) -> Student:
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
        params_key, board_key, env_key, run_key = jax.random.split(key, 4)
        pool = draw_boards(self.env, board_key, config.num_envs, "training")
        carry = self.student.initial_carry(config.num_envs)
        envs = begin(env_key, pool, config.num_envs, carry, self.controller.begin(config.num_envs))
        one = jax.tree.map(lambda leaf: leaf[None, :1], jax.vmap(evaluation.observe)(envs.world))
        params = self.student.init(
            params_key,
            self.student.initial_carry(1),
            one,
            jnp.zeros((1, 1), bool),
        )
        return TrainState(
            params=params, opt_state=self.optimizer.init(params), key=run_key, envs=envs, updates=jnp.int32(0)
        )

    def init_seeds(self, keys: jax.Array) -> TrainState:
        """`init` for several seeds, a key each; see `SEEDS` for the leading axes."""
        return jax.vmap(self.init, out_axes=SEEDS)(keys)

    def train_seeds(
        self, state: TrainState, table: TeacherTable | None, updates: int, count: jax.Array | int | None = None
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """`train_block` for several seeds side by side; metrics have leading axes (seeds, updates)."""

        def block(one: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
            return self.train_block(one, table, updates, count)

        return jax.vmap(block, in_axes=(SEEDS,), out_axes=(SEEDS, 0))(state)

    def distill_weight(self, updates: jax.Array) -> jax.Array:
        """Weight of the distillation loss after so many updates, `float32[]`."""
        config = self.config
        if config.algo in ("ppo", "hrl"):
            return jnp.float32(0)
        if config.algo == "distill":
            return jnp.float32(1)
        return losses.faded(
            updates / self.total_updates,
            config.distill_coef, config.distill_floor, config.distill_fall, config.distill_off,  # pyright: ignore
        )  # fmt: skip

    def train_block(
        self, state: TrainState, table: TeacherTable | None, updates: int, count: jax.Array | int | None = None
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """Runs `updates` updates.

        Args:
            state: from `init` or an earlier block.
            table: the teacher; None without one.
            updates: how many, static.
            count: run only the first so many, so that blocks of different lengths are one program.

        Returns:
            The state afterwards and metrics, each with a leading axis `updates`; 0 from `count` on.
        """
        key, board_key = jax.random.split(state.key)
        pool = draw_boards(self.env, board_key, self.config.board_pool, "training")

        def one(state: TrainState, index: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
            def run(state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
                return self._update(state, table, pool)

            if count is None:
                return run(state)
            nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(run, state)[1])
            return jax.lax.cond(index < count, run, lambda state: (state, nothing), state)

        return jax.lax.scan(one, state.replace(key=key), jnp.arange(updates))

    def _update(
        self, state: TrainState, table: TeacherTable | None, pool: World
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        config = self.config
        assert config.epochs is not None and config.minibatches is not None and config.gae_lambda is not None
        key, rollout_key, label_key, update_key = jax.random.split(state.key, 4)
        act = functools.partial(run, self.student, state.params)
        envs, rows = rollout(self.env, act, rollout_key, state.envs, pool, config.steps, self.controller)

        distill = self.distill_weight(state.updates)
        labels = None
        if table is not None:

            def ask() -> jax.Array:
                soft = guide(self.task, table, rows.known).distribution
                return soft if config.teacher_mode == "soft" else _sample(label_key, soft)

            nothing = jnp.zeros((*rows.action.shape, NUM_ACTIONS))
            labels = jax.lax.cond(distill > 0, ask, lambda: nothing)

        weights = Weights(
            reward=0.0 if config.algo == "distill" else 1.0, distill=distill, entropy=config.entropy_coef,  # pyright: ignore
            value=config.value_coef, clip=config.clip,
        )  # fmt: skip
        batch = make_batch(rows, labels, config.gamma, config.gae_lambda)
        params, opt_state, terms = update(
            self.student, self.optimizer, update_key, state.params, state.opt_state, batch, weights, config.epochs,
            config.minibatches,
        )  # fmt: skip
        done = rows.terminated | rows.truncated
        episodes = jnp.sum(done)
        metrics = dict(
            **terms,
            distill_weight=distill,
            episodes=episodes,
            success=jnp.sum(rows.reward > 0) / jnp.maximum(episodes, 1),
            train_return=jnp.sum(rows.reward) / jnp.maximum(episodes, 1),
        )
        if labels is not None:
            metrics["unguided"] = jnp.where(distill > 0, jnp.mean(jnp.sum(labels, axis=-1) < 0.5), 0.0)
        state = TrainState(params=params, opt_state=opt_state, key=key, envs=envs, updates=state.updates + 1)
        return state, metrics

    def boards(self, number: int, split: str) -> World:
        """The first `number` boards of a held-out split, the same for everyone."""
        key = jax.random.fold_in(jax.random.key(EVALUATION_KEY), ["validation", "test"].index(split))
        return draw_boards(self.env, key, number, split)

    def evaluate(
        self, params: Any, key: jax.Array, boards: World, greedy: bool | jax.Array = False
    ) -> evaluation.Episodes:
        """The student on given boards."""
        carry, policy = self.policy(params, key, boards.agent.shape[0], greedy)
        return evaluation.play(self.env, policy, carry, key, boards, greedy)

    def policy(
        self, params: Any, key: jax.Array, number: int, greedy: bool | jax.Array = False
    ) -> tuple[Any, evaluation.Policy]:
        """What the student starts from in `number` worlds, and the student as a policy.

        A student over skills draws its options with `key`, or takes the most probable ones if `greedy`.
        """
        carry = self.student.initial_carry(number)
        if isinstance(self.controller, Primitive):
            return carry, evaluation.student_policy(self.student, params)
        memory = self.controller.begin(number)
        return (carry, memory, jnp.int32(0)), evaluation.option_policy(
            self.student, params, self.controller, key, greedy
        )


def _sample(key: jax.Array, distribution: jax.Array) -> jax.Array:
    """One action of each row as a one-hot row; rows of zeros stay zero."""
    action = jax.random.categorical(key, jnp.log(distribution))
    return jax.nn.one_hot(action, distribution.shape[-1]) * jnp.sum(distribution, axis=-1, keepdims=True)
