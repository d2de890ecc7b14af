"""Plays whole episodes on given levels, with any policy: a student, the teacher or the random policy.

Device module. Each level is played once, from start to end. Episodes that end early are masked until the last one ends;
where episodes can be long, the last of them go on as a smaller group.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from l4t_jax.agents.controllers import draw
from l4t_jax.agents.policy import Policy
from l4t_jax.agents.rollout import step_envs, where_done
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.navix import GridTask
from l4t_jax.envs.state import State
from l4t_jax.envs.task import Task
from l4t_jax.envs.visibility import know
from l4t_jax.evaluation import parts
from l4t_jax.evaluation.parts import Watched
from l4t_jax.kernels import PORTABLE, Kernels
from l4t_jax.parallel import per_env_bits
from l4t_jax.teacher.policy import TeacherTable, teacher_output

__all__ = ["Episodes", "Policy", "choose", "play", "play_with_carry", "random_policy", "teacher_policy"]

# A group of an eighth goes on once no more are left, in tasks of at least so many steps: those that fail take all of
# them. On DoorKey-16x16 (2,560 steps) evaluating was five times the training. Elsewhere the second program is compiled
# for longer than it saves.
LONG, SHARE = 1000, 8


class Episodes(struct.PyTreeNode):
    """One episode per level, leading axis B.

    Attributes:
        success: `bool[B]` whether the episode succeeded.
        reward: `float32[B]` its undiscounted return.
        length: `int32[B]` its number of steps.
        watched: how far it came; None where nobody asked for that.
    """

    success: jax.Array
    reward: jax.Array
    length: jax.Array
    watched: Watched | None = None


@dataclasses.dataclass(frozen=True)
class Players:
    """The students of a run, for evaluation.

    Attributes:
        env: the environment of the task.
        policy: (one student's parameters, random key, level ids `int32[B]`, greedy) -> (initial carry, policy).
        seeds: number of students, the leading axis of their parameters.
        mesh: the devices that levels are sharded over; None for one device.
    """

    env: GridTask
    policy: Callable[[Any, jax.Array, jax.Array, bool | jax.Array], tuple[Any, Policy]]
    seeds: int
    mesh: Mesh | None = None


def play(
    env: GridTask, policy: Policy, carry: Any, key: jax.Array, levels: State, greedy: bool | jax.Array = False,
    level_id: jax.Array | None = None, policy_of: Callable[[jax.Array], Policy] | None = None, watch: bool = False,
) -> Episodes:  # fmt: skip
    """Plays every level to its end.

    Args:
        env: the task's environment.
        policy: returns logits; actions are sampled from them.
        carry: the policy's initial carry; what is of a level has a leading axis B, what is of all has none.
        key: random key for the sampling.
        levels: states at the start of an episode, leading axis B.
        greedy: take the most probable action instead of sampling.
        level_id: `int32[B]` ids that the levels' random numbers depend on; 0, 1, ... by default.
        policy_of: the same policy for the levels of some of the ids; without it all levels stay together.
        watch: note how far each episode came too, `Episodes.watched`.
    """
    num_envs = levels.agent.shape[0]
    own = jnp.arange(num_envs) if level_id is None else level_id
    smaller = num_envs // SHARE if policy_of is not None and env.max_steps >= LONG else 0
    state = _until(env, policy, key, own, greedy, _start(levels, carry, watch), smaller)
    found, ends = state[-1], state[0]
    if smaller:
        assert policy_of is not None
        rows = jnp.argsort(state[2], stable=True)[:smaller]  # those that are not done first
        one, own = _rows(state, rows, num_envs), own[rows]
        one = _until(env, policy_of(own), key, own, greedy, one, 0)
        found, ends = jax.tree.map(
            lambda whole, part: whole.at[rows].set(part),
            (found, ends if watch else ()),
            (one[-1], one[0] if watch else ()),
        )
    return found if found.watched is None else found.replace(watched=parts.ended(found.watched, ends))


def play_with_carry(
    env: GridTask, policy: Policy, carry: Any, key: jax.Array, levels: State, greedy: bool | jax.Array = False,
    level_id: jax.Array | None = None,
) -> tuple[Any, Episodes]:  # fmt: skip
    """`play`, with all levels together, and the policy's last carry."""
    own = jnp.arange(levels.agent.shape[0]) if level_id is None else level_id
    last = _until(env, policy, key, own, greedy, _start(levels, carry), 0)
    return last[3], last[4]


def _start(levels: State, carry: Any, watch: bool = False) -> tuple[Any, ...]:
    """The state of `_until` before the first step."""
    number = levels.agent.shape[0]
    nothing = Episodes(
        success=jnp.zeros(number, bool), reward=jnp.zeros(number, jnp.float32), length=jnp.zeros(number, jnp.int32),
        watched=Watched(jnp.zeros(number, jnp.uint32)) if watch else None,
    )  # fmt: skip
    return levels, jnp.int32(0), jnp.zeros(number, bool), carry, nothing


def _rows(state: Any, rows: jax.Array, number: int) -> Any:
    """Some rows of all leaves that have a leading axis of the levels."""
    return jax.tree.map(lambda leaf: leaf[rows] if leaf.ndim and leaf.shape[0] == number else leaf, state)


def _until(
    env: GridTask, policy: Policy, key: jax.Array, own: jax.Array, greedy: bool | jax.Array, state: Any, left: int
) -> Any:
    """Plays on, until at most `left` are not done, from a state: levels, steps taken, who is done, carry, episodes."""
    number = own.shape[0]

    def busy(state: tuple[Any, ...]) -> jax.Array:
        return (jnp.sum(~state[2]) > left) & (state[1] < env.max_steps)

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        env_state, t, done, carry, episodes = state
        carry, logits = policy(carry, env_state, jnp.broadcast_to(t == 0, (number,)))
        action = choose(jax.random.fold_in(key, t), own, logits, greedy)
        before = env_state
        env_state, outcome = step_envs(
            env, jax.random.fold_in(key, t), own, env_state, jnp.broadcast_to(t, (number,)), action
        )
        live, watched = ~done, episodes.watched
        if watched is not None:
            env_state = where_done(live, env_state, before)  # the state in which each episode ended stays
            watched = parts.after(env.task, watched, before, env_state)
        episodes = Episodes(
            success=episodes.success | (live & outcome.success),
            reward=episodes.reward + jnp.where(live, outcome.reward, 0.0),
            length=episodes.length + live.astype(jnp.int32),
            watched=watched,
        )
        return env_state, t + 1, done | outcome.terminated | outcome.truncated, carry, episodes

    return jax.lax.while_loop(busy, step, state)


def play_student(
    players: Players, params: Any, key: jax.Array, levels: State, greedy: bool | jax.Array = False,
    level_id: jax.Array | None = None, watch: bool = False,
) -> Episodes:  # fmt: skip
    """Plays the student with parameters `params` on every level; see `play`."""
    level_id = jnp.arange(levels.agent.shape[0]) if level_id is None else level_id
    carry, policy = players.policy(params, key, level_id, greedy)

    def policy_of(level_id: jax.Array) -> Policy:
        return players.policy(params, key, level_id, greedy)[1]

    return play(players.env, policy, carry, key, levels, greedy, level_id, policy_of, watch)


def choose(key: jax.Array, level_id: jax.Array, logits: jax.Array, greedy: bool | jax.Array) -> jax.Array:
    """Actions `int32[B]` sampled from logits `float32[B, 7]` (random numbers by level id), or the most probable."""
    return draw(per_env_bits(key, level_id, 1)[:, 0], logits, greedy)


def teacher_policy(task: Task, table: TeacherTable, kernel: Kernels = PORTABLE) -> Policy:
    """The teacher as a policy: samples from the mixture of its plans' actions; uniform in states without plans."""

    def policy(carry: Any, env_state: State, reset: jax.Array) -> tuple[Any, jax.Array]:
        return carry, teacher_logits(teacher_output(task, table, jax.vmap(know)(env_state), kernel).distribution)

    return policy


def teacher_logits(distribution: jax.Array) -> jax.Array:
    """A teacher's distributions over actions `float32[..., 7]` as logits; see `or_uniform`."""
    return jnp.log(or_uniform(distribution))


def or_uniform(distribution: jax.Array) -> jax.Array:
    """A teacher's distributions over actions `float32[..., 7]`; rows of zeros, without a plan, as uniform."""
    known_state = jnp.sum(distribution, axis=-1, keepdims=True) > 0
    return jnp.where(known_state, distribution, 1.0 / NUM_ACTIONS)


def random_policy(carry: Any, env_state: State, reset: jax.Array) -> tuple[Any, jax.Array]:
    """All seven actions with equal probability."""
    return carry, jnp.zeros((*env_state.carrying.shape, NUM_ACTIONS))


def teacher_or_random(task: Task, table: TeacherTable, taught: jax.Array, kernel: Kernels = PORTABLE) -> Policy:
    """`teacher_policy` where `taught`, `bool[]`, else `random_policy`: what plays them is compiled once."""
    teacher = teacher_policy(task, table, kernel)

    def policy(carry: Any, env_state: State, reset: jax.Array) -> tuple[Any, jax.Array]:
        return jax.lax.cond(taught, teacher, random_policy, carry, env_state, reset)

    return policy
