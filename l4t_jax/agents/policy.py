"""Policies: what plays whole episodes. A student becomes one here.

Device module. A policy is a function of what it carries, what it observes and which environments start an episode, on
B environments at a time; it gives logits over the seven actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from l4t_jax.agents.controllers import Controller
from l4t_jax.agents.students import StudentNetwork, run
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.state import MemoryMap
from l4t_jax.parallel import per_env_bits

# (carry, memory map (B,), reset bool (B,)) -> carry, logits float32 (B, 7)
Policy = Callable[[Any, MemoryMap, jax.Array], tuple[Any, jax.Array]]


def student_policy(student: StudentNetwork, params: Any) -> Policy:
    """A student whose outputs are the seven actions, with its parameters."""

    def policy(carry: Any, memory: MemoryMap, reset: jax.Array) -> tuple[Any, jax.Array]:
        memory = jax.tree.map(lambda leaf: leaf[None], memory)
        carry, logits, _ = run(student, params, carry, memory, reset[None])
        return carry, logits[0]

    return policy


def controlled_policy(
    student: StudentNetwork, params: Any, controller: Controller, key: jax.Array, greedy: bool | jax.Array,
    env_id: jax.Array,
) -> tuple[Any, Policy]:  # fmt: skip
    """A student under a controller, and what it starts from in B environments.

    Where the outputs are not the actions, the carry holds the options under way and the time, and the logits leave one
    action: it is the controller that draws.

    Args:
        student, params: the network and its parameters.
        controller: what the student's outputs mean.
        key: random key for the controller's choices.
        greedy: take the most probable choices.
        env_id: `int32[B]` the environments' own numbers, from which their random numbers come.
    """
    carry = student.initial_carry(env_id.shape[0])
    if controller.chooses_actions:
        return carry, student_policy(student, params)

    def policy(carry: Any, memory: MemoryMap, reset: jax.Array) -> tuple[Any, jax.Array]:
        student_carry, option_state, t = carry
        one = jax.tree.map(lambda leaf: leaf[None], memory)
        student_carry, logits, _ = run(student, params, student_carry, one, reset[None])
        bits = per_env_bits(jax.random.fold_in(key, t), env_id, 1)[:, 0]
        option_state, choice = controller.choose(option_state, bits, memory, reset, logits[0], greedy)
        return (student_carry, option_state, t + 1), jnp.log(jax.nn.one_hot(choice.action, NUM_ACTIONS))

    return (carry, controller.begin(env_id.shape[0]), jnp.int32(0)), policy
