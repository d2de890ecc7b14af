"""Playing whole episodes on given levels: students, the teacher and the random policy alike.

Device module. Each level is played once, from its start to its end; levels that end early wait, masked, until the last
one is done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from l4t_jax.agents.controllers import OverSkills, draw
from l4t_jax.agents.students import StudentNetwork, run
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.state import MemoryMap, State
from l4t_jax.envs.task import GridTask, Task, observe
from l4t_jax.parallel import per_env_bits
from l4t_jax.teacher.policy import TeacherTable, teacher_output

# (carry, known (B,), reset (B,)) -> carry, logits (B, 7)
Policy = Callable[[Any, MemoryMap, jax.Array], tuple[Any, jax.Array]]


class Episodes(struct.PyTreeNode):
    """One episode a level, leading axis B.

    Attributes:
        success: `bool[B]` the episode ended well.
        reward: `float32[B]` its return, undiscounted.
        length: `int32[B]` its steps.
    """

    success: jax.Array
    reward: jax.Array
    length: jax.Array


@dataclasses.dataclass(frozen=True)
class Players:
    """What evaluation needs to know of a run's students.

    Attributes:
        env: the environment of the task that they play.
        policy: (one student's parameters, random key, levels' ids `int32[B]`, greedy) -> what it starts from, and the
            student as a policy.
        seeds: how many students, the leading axis of their parameters.
        mesh: the devices that levels are spread over; None for one.
    """

    env: GridTask
    policy: Callable[[Any, jax.Array, jax.Array, bool | jax.Array], tuple[Any, Policy]]
    seeds: int
    mesh: Mesh | None = None


def play(
    env: GridTask, policy: Policy, carry: Any, key: jax.Array, levels: State, greedy: bool | jax.Array = False,
    index: jax.Array | None = None,
) -> Episodes:  # fmt: skip
    """Plays every level to its end.

    Args:
        env: the task's environment.
        policy: gives logits; actions are sampled from them, or the largest taken if `greedy`.
        carry: what the policy starts from, leading axis B.
        key: random key for the sampling.
        levels: states at the start of an episode, leading axis B.
        greedy: take the most probable action.
        index: `int32[B]` the levels' ids, from which their random numbers come; 0, 1, ... by default.
    """
    number = levels.agent.shape[0]
    own = jnp.arange(number) if index is None else index
    know = jax.vmap(observe)

    def busy(state: tuple[Any, ...]) -> jax.Array:
        return jnp.any(~state[2]) & (state[1] < env.max_steps)

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        env_state, t, done, carry, episodes = state
        carry, logits = policy(carry, know(env_state), jnp.broadcast_to(t == 0, (number,)))
        action = choose(jax.random.fold_in(key, t), own, logits, greedy)
        env_state, reward, terminated, truncated = jax.vmap(env.transition)(
            env_state, jnp.broadcast_to(t, (number,)), action
        )
        live = ~done
        episodes = Episodes(
            success=episodes.success | (live & (reward > 0)),
            reward=episodes.reward + jnp.where(live, reward, 0.0),
            length=episodes.length + live.astype(jnp.int32),
        )
        return env_state, t + 1, done | terminated | truncated, carry, episodes

    nothing = Episodes(
        success=jnp.zeros(number, bool),
        reward=jnp.zeros(number, jnp.float32),
        length=jnp.zeros(number, jnp.int32),
    )
    start = (levels, jnp.int32(0), jnp.zeros(number, bool), carry, nothing)
    return jax.lax.while_loop(busy, step, start)[-1]


def play_student(
    players: Players, params: Any, key: jax.Array, levels: State, greedy: bool | jax.Array = False,
    index: jax.Array | None = None,
) -> Episodes:  # fmt: skip
    """One student, of parameters `params`, on every level; see `play`."""
    level_id = jnp.arange(levels.agent.shape[0]) if index is None else index
    carry, policy = players.policy(params, key, level_id, greedy)
    return play(players.env, policy, carry, key, levels, greedy, level_id)


def choose(key: jax.Array, index: jax.Array, logits: jax.Array, greedy: bool | jax.Array) -> jax.Array:
    """Actions `int32[B]`, drawn from logits `float32[B, 7]` by the levels' ids, or the most probable ones."""
    return draw(per_env_bits(key, index, 1)[:, 0], logits, greedy)


def student_policy(student: StudentNetwork, params: Any) -> Policy:
    """A student with its parameters as a policy."""

    def policy(carry: Any, memory: MemoryMap, reset: jax.Array) -> tuple[Any, jax.Array]:
        memory = jax.tree.map(lambda leaf: leaf[None], memory)
        carry, logits, _ = run(student, params, carry, memory, reset[None])
        return carry, logits[0]

    return policy


def option_policy(
    student: StudentNetwork, params: Any, controller: OverSkills, key: jax.Array, greedy: bool | jax.Array,
    index: jax.Array,
) -> Policy:  # fmt: skip
    """A student over skills: its carry holds the options under way, and its logits leave one action; see `play`."""

    def policy(carry: Any, memory: MemoryMap, reset: jax.Array) -> tuple[Any, jax.Array]:
        student_carry, control, t = carry
        one = jax.tree.map(lambda leaf: leaf[None], memory)
        student_carry, logits, _ = run(student, params, student_carry, one, reset[None])
        bits = per_env_bits(jax.random.fold_in(key, t), index, 1)[:, 0]
        control, choice = controller.choose(control, bits, memory, reset, logits[0], greedy)
        return (student_carry, control, t + 1), jnp.log(jax.nn.one_hot(choice.action, NUM_ACTIONS))

    return policy


def teacher_policy(task: Task, table: TeacherTable) -> Policy:
    """The teacher, its action drawn from the mixture of its plans; uniformly where it knows nothing."""

    def policy(carry: Any, memory: MemoryMap, reset: jax.Array) -> tuple[Any, jax.Array]:
        distribution = teacher_output(task, table, memory).distribution
        known_state = jnp.sum(distribution, axis=-1, keepdims=True) > 0
        return carry, jnp.log(jnp.where(known_state, distribution, 1.0 / NUM_ACTIONS))

    return policy


def random_policy(carry: Any, memory: MemoryMap, reset: jax.Array) -> tuple[Any, jax.Array]:
    """All seven actions alike."""
    return carry, jnp.zeros((*memory.carrying.shape, NUM_ACTIONS))
