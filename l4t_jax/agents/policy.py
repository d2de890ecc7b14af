"""Policies: what plays whole episodes. A student becomes one here.

Device module. A policy is a function of what it carries, the states of B environments and which of them start an
episode; it gives logits over the seven actions. It observes the states itself: a student as its `Observation` says, the
teacher as a memory map.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp

from l4t_jax.agents.controllers import Controller
from l4t_jax.agents.students import StudentNetwork, apply_student
from l4t_jax.envs.cells import NUM_ACTIONS
from l4t_jax.envs.state import State
from l4t_jax.envs.visibility import know
from l4t_jax.parallel import per_env_bits

# (carry, states (B,), reset bool (B,)) -> carry, logits float32 (B, 7)
Policy = Callable[[Any, State, jax.Array], tuple[Any, jax.Array]]
# states (B,) -> what a student reads of them (B,); see `Observation.of`
Observe = Callable[[State], Any]


def one_step(
    student: StudentNetwork, params: Any, carry: Any, observation: Any, reset: jax.Array
) -> tuple[Any, jax.Array]:
    """The student on one step of B environments: its carry after, and logits `float32[B, outputs]`."""
    one = jax.tree.map(itemgetter(None), observation)
    carry, logits, _ = apply_student(student, params, carry, one, reset[None])
    return carry, logits[0]


def student_policy(student: StudentNetwork, params: Any, observe: Observe) -> Policy:
    """A student whose outputs are the seven actions, with its parameters and what it observes."""

    def policy(carry: Any, env_state: State, reset: jax.Array) -> tuple[Any, jax.Array]:
        return one_step(student, params, carry, observe(env_state), reset)

    return policy


def controlled_policy(
    student: StudentNetwork, params: Any, observe: Observe, controller: Controller, key: jax.Array,
    greedy: bool | jax.Array, env_id: jax.Array,
) -> tuple[Any, Policy]:  # fmt: skip
    """A student under a controller, and what it starts from in B environments.

    Where the outputs are not the actions, the carry holds the options under way and the time, and the logits leave one
    action: it is the controller that draws.

    Args:
        student, params: the network and its parameters.
        observe: what it observes.
        controller: what the student's outputs mean.
        key: random key for the controller's choices.
        greedy: take the most probable choices.
        env_id: `int32[B]` the environments' own numbers, from which their random numbers come.
    """
    carry = student.initial_carry(env_id.shape[0])
    if controller.chooses_actions:
        return carry, student_policy(student, params, observe)

    def policy(carry: Any, env_state: State, reset: jax.Array) -> tuple[Any, jax.Array]:
        student_carry, option_state, t = carry
        student_carry, logits = one_step(student, params, student_carry, observe(env_state), reset)
        bits = per_env_bits(jax.random.fold_in(key, t), env_id, 1)[:, 0]
        option_state, choice = controller.choose(option_state, bits, jax.vmap(know)(env_state), reset, logits, greedy)
        return (student_carry, option_state, t + 1), jnp.log(jax.nn.one_hot(choice.action, NUM_ACTIONS))

    return (carry, controller.begin(env_id.shape[0]), jnp.int32(0)), policy
