"""A rollout: many environments stepped side by side under one student.

Device module. An episode that ends is replaced within the same step by a level of the pool, so no row of a rollout is a
dead step, and every row is one real environment step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import itemgetter
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.agents.bonus import visit
from l4t_jax.agents.controllers import Controller, Primitive
from l4t_jax.agents.observations import MAP, Observation
from l4t_jax.envs.navix import GridTask, Outcome
from l4t_jax.envs.state import MemoryMap, State
from l4t_jax.envs.visibility import know as know_one
from l4t_jax.kernels.packing import scan
from l4t_jax.parallel import per_env_bits, per_env_keys

# (carry, observation (1, N), reset (1, N)) -> carry, logits (1, N, 7), value (1, N)
Act = Callable[[Any, Any, jax.Array], tuple[Any, jax.Array, jax.Array]]
# (carry, observation (1, N), reset (1, N)) -> carry, what the student reads (1, N)
Prepare = Callable[[Any, Any, jax.Array], tuple[Any, Any]]


class Envs(struct.PyTreeNode):
    """N environments between two steps.

    Attributes:
        env_state: leading axis N.
        t: `int32[N]` steps taken in the episode.
        reset: `bool[N]` the next step is the first of an episode.
        carry: the student's, for N environments.
        env_id: `int32[N]` the environments' own numbers, from which their random numbers come.
        option_state: the controller's, such as the options under way.
        visits: what the bonus counts, `bonus.no_visits`; None without one.
    """

    env_state: State
    t: jax.Array
    reset: jax.Array
    carry: Any
    env_id: jax.Array
    option_state: Any = ()
    visits: jax.Array | None = None


class Rollout(struct.PyTreeNode):
    """T steps of N environments, time-major, leading axes (T, N) unless said otherwise.

    Attributes:
        observation: what the student observed before the action, as `prepare` made it.
        reset: `bool` the step is the first of its episode.
        action: `int32` which of its outputs the student chose: an action, or an option.
        log_prob: `float32` of that choice, as it was made.
        value: `float32` V before the action.
        next_value: `float32` V of the state the action led to; of the true final state where truncated.
        reward: `float32` of the task.
        bonus: `float32` for the place that the action led to (`agents.bonus`); None where there is none.
        success: `bool` the action ended the episode with success.
        age: `int32` steps taken in the episode before the action.
        terminated: `bool` the episode ended by itself.
        truncated: `bool` it was cut off and did not end by itself.
        carry: the student's before the first step, leading axis N.
        option_boundary, action_mask: as in `controllers.Choice`.
        kept_memory: the memory map before the action, where it was asked for and is not `observation`.
        valid: `bool` the row is a step; the others are padding, and mean nothing (`agents.episodes`). None: all are.
        observes_memory: whether `observation` is the memory map.
    """

    observation: Any
    reset: jax.Array
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    next_value: jax.Array
    reward: jax.Array
    success: jax.Array
    age: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    carry: Any
    option_boundary: jax.Array | None = None
    action_mask: jax.Array | None = None
    bonus: jax.Array | None = None
    kept_memory: MemoryMap | None = None
    valid: jax.Array | None = None
    # flax's `field` has no types.
    observes_memory: bool = struct.field(pytree_node=False, default=True)  # pyright: ignore[reportUnknownVariableType]

    @property
    def memory(self) -> MemoryMap | None:
        """The memory map before the action, which the teacher reads; None where it is not there."""
        return self.observation if self.observes_memory else self.kept_memory


def begin(
    key: jax.Array, pool: State, num_envs: int, carry: Any, option_state: Any = (), visits: jax.Array | None = None
) -> Envs:  # fmt: skip
    """`num_envs` environments at the start of an episode, on levels of the pool."""
    index = jax.random.randint(key, (num_envs,), 0, pool.agent.shape[0])
    return Envs(
        env_state=jax.tree.map(itemgetter(index), pool),
        t=jnp.zeros((num_envs,), jnp.int32),
        reset=jnp.ones((num_envs,), bool),
        carry=carry,
        env_id=jnp.arange(num_envs, dtype=jnp.int32),
        option_state=option_state,
        visits=visits,
    )


def random_words(key: jax.Array, env_id: jax.Array) -> jax.Array:
    """What a step draws from for each environment, `uint32[N, 2]`: the student's choice, and the next level."""
    return per_env_bits(key, env_id, 2)


def where_done(done: jax.Array, fresh: Any, old: Any) -> Any:
    """Selects whole tree rows: `fresh` where `done` `bool[N]`, else `old`."""

    def select(new: jax.Array, kept: jax.Array) -> jax.Array:
        rows = jnp.where(done[:, None], new.reshape(len(done), -1), kept.reshape(len(done), -1))
        return rows.reshape(kept.shape)

    return jax.tree.map(select, fresh, old)


def is_greedy(env_id: jax.Array, share: float) -> jax.Array:
    """Which environments belong to a share of them, `int32[N]` ids -> `bool[N]`: with 1/8, ids 7, 15, 23, ..."""
    return jnp.floor((env_id + 1) * share) > jnp.floor(env_id * share)


@dataclasses.dataclass(frozen=True)
class Play:
    """How a student plays: one step of N environments, and the value of a state.

    Attributes:
        env: the task's environment.
        act: the student with its parameters.
        pool: levels to start new episodes on, leading axis M.
        controller, observation, keep_memory, prepare, greedy_share: as for `rollout`.
    """

    env: GridTask
    act: Act
    pool: State
    controller: Controller
    observation: Observation
    keep_memory: bool
    prepare: Prepare | None
    greedy_share: float

    @property
    def stores_map(self) -> bool:
        """Whether what is stored as the observation is the memory map."""
        return self.observation is MAP and self.prepare is None

    def _read(self, carry: Any, seen: Any, reset: jax.Array) -> tuple[Any, Any]:
        if self.prepare is None:
            return carry, _one_step(seen)
        return self.env.kernel.once(self.prepare(carry, _one_step(seen), reset))

    def step(self, envs: Envs, key: jax.Array, words: jax.Array) -> tuple[Envs, dict[str, Any], State]:
        """One step of every environment; where an episode ends, the next begins on a level of the pool.

        Args:
            envs: before.
            key: random key.
            words: `uint32[N, 2]` of `random_words`.

        Returns:
            The environments afterwards, the row of the step (fields of `Rollout`, leading axis N), and the states that
            the actions led to, before a new level took the place of those that ended.
        """
        env, pool = self.env, self.pool
        greedy = is_greedy(envs.env_id, self.greedy_share) if self.greedy_share else False
        choice_bits, level_bits = words.T
        memory = env.kernel.once(jax.vmap(know_one)(envs.env_state))  # else features find it anew, many times
        reads_map = self.observation is MAP
        seen = memory if reads_map else env.kernel.once(self.observation.of(env)(envs.env_state))
        carry, ready = self._read(envs.carry, seen, envs.reset[None])
        carry, logits, value = self.act(carry, ready, envs.reset[None])
        option_state, choice = self.controller.choose(
            envs.option_state, choice_bits, memory, envs.reset, logits[0], greedy
        )  # fmt: skip
        env_state, outcome = step_envs(env, key, envs.env_id, envs.env_state, envs.t, choice.action)
        terminated, truncated = outcome.terminated, outcome.truncated & ~outcome.terminated
        done = terminated | truncated
        visits, bonus = (None, None) if envs.visits is None else visit(envs.visits, env_state)
        index = (level_bits % pool.agent.shape[0]).astype(jnp.int32)
        level = jax.tree.map(itemgetter(index), pool)
        row = dict(
            observation=jax.tree.map(itemgetter(0), ready), reset=envs.reset, action=choice.index,
            log_prob=choice.log_prob, value=value[0], reward=outcome.reward, success=outcome.success, age=envs.t,
            terminated=terminated, truncated=truncated, option_boundary=choice.option_boundary,
            action_mask=choice.action_mask, bonus=bonus,
            kept_memory=memory if self.keep_memory and not self.stores_map else None,
        )  # fmt: skip
        after = Envs(
            env_state=where_done(done, level, env_state),
            t=jnp.where(done, 0, envs.t + 1),
            reset=done,
            carry=carry,
            env_id=envs.env_id,
            option_state=option_state,
            visits=None if visits is None else where_done(done, jnp.zeros_like(visits), visits),
        )
        return after, row, env_state

    def value(self, state: tuple[Any, Any, jax.Array]) -> jax.Array:
        """V `float32[1, N]` of what N environments observe: (carry, observation (N,), reset (1, N))."""
        carry, seen, reset = state
        return self.act(*self._read(carry, seen, reset), reset)[2]


def rollout(
    env: GridTask, act: Act, key: jax.Array, envs: Envs, pool: State, num_steps: int,
    controller: Controller = Primitive(),  # noqa: B008 (frozen)
    observation: Observation = MAP, keep_memory: bool = True, prepare: Prepare | None = None, greedy_share: float = 0.0,
) -> tuple[Envs, Rollout]:  # fmt: skip
    """Runs every environment for `num_steps` steps.

    Args:
        env: the task's environment.
        act: the student with its parameters.
        key: random key.
        envs: where to start.
        pool: levels to start new episodes on, leading axis M.
        num_steps: T; at most `env.max_steps`, so that an environment is truncated at most once.
        controller: turns the student's logits into actions.
        observation: what the student observes.
        keep_memory: store memory maps beside the observations; where those are memory maps, they are stored once.
        prepare: of observations, what the student reads; it is found once, and is what is stored.
        greedy_share: of the environments, evenly spread over their ids, where the most probable choices are taken.
            `log_prob` is the student's own there too, as if they had been drawn.

    Returns:
        The environments afterwards, and the rollout.
    """
    if num_steps > env.max_steps:
        raise ValueError(f"a rollout of {num_steps} steps is longer than an episode of {env.max_steps}")
    play = Play(env, act, pool, controller, observation, keep_memory, prepare, greedy_share)
    observe = observation.of(env)
    aside, shown = (_same, observe) if env.kernel.few else (observe, _same)  # in the loop a TPU compiles it for minutes

    def step(
        state: tuple[Envs, Any, Any], drawn: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[Envs, Any, Any], dict[str, Any]]:
        envs, cut_seen, cut_carry = state
        envs, row, reached = play.step(envs, *drawn)
        # The only states whose value is not that of a later row: keep them aside, one an environment (see `num_steps`).
        cut_seen = where_done(row["truncated"], aside(reached), cut_seen)
        cut_carry = where_done(row["truncated"], envs.carry, cut_carry)
        return (envs, cut_seen, cut_carry), row

    start = (envs, aside(envs.env_state), envs.carry)
    keys = jax.random.split(key, num_steps)
    words = jax.vmap(random_words, in_axes=(0, None))(keys, envs.env_id)  # of all steps at once: fewer kernels
    (envs, cut_seen, cut_carry), rows = scan(step, start, (keys, words), env.kernel)
    last = envs.carry, observe(envs.env_state), envs.reset[None]
    cut = cut_carry, shown(cut_seen), jnp.zeros_like(envs.reset)[None]
    last_value, cut_value = (_at_once if env.kernel.few else _in_turn)(play.value, last, cut)
    next_value = jnp.where(rows["truncated"], cut_value, jnp.concatenate([rows["value"][1:], last_value]))
    return envs, Rollout(next_value=next_value, carry=start[0].carry, observes_memory=play.stores_map, **rows)


def step_envs(
    env: GridTask, key: jax.Array, env_id: jax.Array, env_state: State, t: jax.Array, action: jax.Array
) -> tuple[State, Outcome]:  # fmt: skip
    """One step of N environments; what moves at random draws from each environment's own id."""
    if env.task.before_step is None:
        return jax.vmap(env.transition)(env_state, t, action)
    keys = per_env_keys(jax.random.fold_in(key, 1), env_id)
    return jax.vmap(env.transition)(env_state, t, action, keys)


def _in_turn(function: Callable[[Any], jax.Array], *arguments: Any) -> jax.Array:
    """A function of each argument, one after the other by the same code: half of it is compiled."""
    return cast(jax.Array, jax.lax.map(function, jax.tree.map(lambda *leaves: jnp.stack(leaves), *arguments)))


def _at_once(function: Callable[[Any], jax.Array], first: Any, second: Any) -> tuple[jax.Array, jax.Array]:
    """The same for two arguments of `value_of`, put behind each other: a TPU takes one pass for both."""
    (carry, seen, reset), (other_carry, other_seen, other_reset) = first, second

    def behind(leaf: jax.Array, other: jax.Array) -> jax.Array:
        return jnp.concatenate([leaf, other])

    both = jax.tree.map(behind, (carry, seen), (other_carry, other_seen))
    values = function((*both, jnp.concatenate([reset, other_reset], axis=1)))
    return values[:, : reset.shape[1]], values[:, reset.shape[1] :]


def _same(tree: Any) -> Any:
    return tree


def _one_step(tree: Any) -> Any:
    return jax.tree.map(itemgetter(None), tree)
