"""Playing whole episodes on given boards: students, the teacher and chance, measured alike.

Device module. Each board is played once, from its start to its end; boards that end early wait, masked, until the last
one is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.devices import own_bits
from l4t_jax.hierarchy import OverSkills, draw
from l4t_jax.networks import Student, run
from l4t_jax.tasks.task import GridTask, Task, observe
from l4t_jax.teacher.policy import TeacherTable, guide
from l4t_jax.types import NUM_ACTIONS, KnownMap, World

# (carry, known (B,), reset (B,)) -> carry, logits (B, 7)
Policy = Callable[[Any, KnownMap, jax.Array], tuple[Any, jax.Array]]


class Episodes(struct.PyTreeNode):
    """One episode a board, leading axis B.

    Attributes:
        success: `bool[B]` the episode ended well.
        reward: `float32[B]` its return, undiscounted.
        length: `int32[B]` its steps.
    """

    success: jax.Array
    reward: jax.Array
    length: jax.Array


def play(
    env: GridTask, policy: Policy, carry: Any, key: jax.Array, boards: World, greedy: bool | jax.Array = False,
    index: jax.Array | None = None,
) -> Episodes:  # fmt: skip
    """Plays every board to its end.

    Args:
        env: the task's environment.
        policy: gives logits; actions are sampled from them, or the largest taken if `greedy`.
        carry: what the policy starts from, leading axis B.
        key: random key for the sampling.
        boards: worlds at the start of an episode, leading axis B.
        greedy: take the most probable action.
        index: `int32[B]` the boards' own numbers, from which their random numbers come; 0, 1, ... by default.
    """
    number = boards.agent.shape[0]
    own = jnp.arange(number) if index is None else index
    know = jax.vmap(observe)

    def busy(state: tuple[Any, ...]) -> jax.Array:
        return jnp.any(~state[2]) & (state[1] < env.max_steps)

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        world, t, done, carry, episodes = state
        carry, logits = policy(carry, know(world), jnp.broadcast_to(t == 0, (number,)))
        action = choose(jax.random.fold_in(key, t), own, logits, greedy)
        world, reward, terminated, truncated = jax.vmap(env.transition)(world, jnp.broadcast_to(t, (number,)), action)
        live = ~done
        episodes = Episodes(
            success=episodes.success | (live & (reward > 0)),
            reward=episodes.reward + jnp.where(live, reward, 0.0),
            length=episodes.length + live.astype(jnp.int32),
        )
        return world, t + 1, done | terminated | truncated, carry, episodes

    nothing = Episodes(
        success=jnp.zeros(number, bool),
        reward=jnp.zeros(number, jnp.float32),
        length=jnp.zeros(number, jnp.int32),
    )
    start = (boards, jnp.int32(0), jnp.zeros(number, bool), carry, nothing)
    return jax.lax.while_loop(busy, step, start)[-1]


def choose(key: jax.Array, index: jax.Array, logits: jax.Array, greedy: bool | jax.Array) -> jax.Array:
    """Actions `int32[B]`, drawn from logits `float32[B, 7]` by the boards' own numbers, or the most probable ones."""
    return draw(own_bits(key, index, 1)[:, 0], logits, greedy)


def student_policy(student: Student, params: Any) -> Policy:
    """A student with its parameters as a policy."""

    def policy(carry: Any, known: KnownMap, reset: jax.Array) -> tuple[Any, jax.Array]:
        known = jax.tree.map(lambda leaf: leaf[None], known)
        carry, logits, _ = run(student, params, carry, known, reset[None])
        return carry, logits[0]

    return policy


def option_policy(
    student: Student, params: Any, controller: OverSkills, key: jax.Array, greedy: bool | jax.Array, index: jax.Array
) -> Policy:
    """A student over skills: its carry holds the options under way, and its logits leave one action; see `play`."""

    def policy(carry: Any, known: KnownMap, reset: jax.Array) -> tuple[Any, jax.Array]:
        student_carry, memory, t = carry
        one = jax.tree.map(lambda leaf: leaf[None], known)
        student_carry, logits, _ = run(student, params, student_carry, one, reset[None])
        bits = own_bits(jax.random.fold_in(key, t), index, 1)[:, 0]
        memory, choice = controller.choose(memory, bits, known, reset, logits[0], greedy)
        return (student_carry, memory, t + 1), jnp.log(jax.nn.one_hot(choice.action, NUM_ACTIONS))

    return policy


def teacher_policy(task: Task, table: TeacherTable) -> Policy:
    """The teacher, its action drawn from the mixture of its plans; by chance where it knows nothing."""

    def policy(carry: Any, known: KnownMap, reset: jax.Array) -> tuple[Any, jax.Array]:
        distribution = guide(task, table, known).distribution
        known_state = jnp.sum(distribution, axis=-1, keepdims=True) > 0
        return carry, jnp.log(jnp.where(known_state, distribution, 1.0 / NUM_ACTIONS))

    return policy


def random_policy(carry: Any, known: KnownMap, reset: jax.Array) -> tuple[Any, jax.Array]:
    """All seven actions alike."""
    return carry, jnp.zeros((*known.carrying.shape, NUM_ACTIONS))
