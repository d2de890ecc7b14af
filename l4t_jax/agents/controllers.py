"""Who turns a student's logits into actions: directly, or through the skills as options (hierarchical RL).

Device module. `Primitive` draws one of the seven actions. `OverSkills` is the hierarchical baseline: the student's
logits are over the steps of a plan (`skills.plan` codes); a step once chosen acts until it is satisfied, can do nothing
more, has acted once where it is a single action, or the symbolic state changes; then the student chooses again, among
the steps that would do something now. Options after Sutton, Precup and Singh 1999; the baseline is LLM4Teach's
"hierarchical RL", which has the teacher's skills but not the teacher.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.agents import losses
from l4t_jax.envs.cells import DONE, NUM_ACTIONS
from l4t_jax.envs.state import MemoryMap
from l4t_jax.envs.task import Task
from l4t_jax.kernels import PORTABLE, Kernels, select
from l4t_jax.skills.actions import skill_actions
from l4t_jax.skills.base import NOOP, get_skill
from l4t_jax.skills.plan_codes import decode_step, num_codes, says_done

IMPOSSIBLE = -1e9  # the logit of a choice that the mask excludes


class Choice(struct.PyTreeNode):
    """What was chosen in N environments.

    Attributes:
        index: `int32[N]` which of the student's outputs.
        action: `int32[N]` the primitive action it comes to.
        log_prob: `float32[N]` of the index, among those of the mask.
        option_boundary: `bool[N]` whether the student chose now; None if it always does.
        action_mask: `bool[N, outputs]` what it could choose among; None if all.
    """

    index: jax.Array
    action: jax.Array
    log_prob: jax.Array
    option_boundary: jax.Array | None = None
    action_mask: jax.Array | None = None


def draw(bits: jax.Array, logits: jax.Array, greedy: bool | jax.Array) -> jax.Array:
    """Choices `int32[N]` from logits `float32[N, A]`, or the most probable ones.

    By inversion, from 24 bits of one random word each `uint32[N]`: `jax.random.categorical` takes A words and as many
    logarithms. What has no probability is never drawn.
    """
    by_choice = jnp.moveaxis(logits, -1, 0)
    most = functools.reduce(jnp.maximum, by_choice)  # as in `losses.log_policy`: no reductions over the choices
    below = list(itertools.accumulate(jnp.exp(by_choice - most[None])))
    place = (bits >> 8).astype(jnp.float32) * 2.0**-24 * below[-1]  # less than the whole, as rounded too
    sampled = sum((place >= edge).astype(jnp.int32) for edge in below[:-1])
    highest = select(list(by_choice == most[None]), range(len(below)), 0)
    return jnp.where(greedy, highest, sampled)


def _log_prob(logits: jax.Array, choice: jax.Array) -> jax.Array:
    return losses.log_probability(losses.log_policy(logits), choice)


@dataclasses.dataclass(frozen=True)
class Primitive:
    """The student's outputs are the seven actions."""

    chooses_actions: ClassVar[bool] = True

    @property
    def outputs(self) -> int:
        return NUM_ACTIONS

    def begin(self, num_envs: int) -> Any:
        """What it remembers of `num_envs` environments: nothing."""
        return ()

    def choose(
        self, option_state: Any, bits: jax.Array, memory: MemoryMap, reset: jax.Array, logits: jax.Array,
        greedy: bool | jax.Array = False,
    ) -> tuple[Any, Choice]:  # fmt: skip
        """One choice in each of N environments.

        Args:
            option_state: from `begin`, or the last call.
            bits: random words, `uint32[N]`.
            memory: memory maps, leading axis N.
            reset: `bool[N]` an episode starts.
            logits: `float32[N, outputs]` of the student.
            greedy: take the most probable choice instead of drawing one.
        """
        action = draw(bits, logits, greedy)
        return option_state, Choice(index=action, action=action, log_prob=_log_prob(logits, action))


class OptionState(struct.PyTreeNode):
    """The options under way in N environments: their step codes and the symbolic states they were chosen in,
    `int32[N]`.
    """

    option: jax.Array
    state: jax.Array


@dataclasses.dataclass(frozen=True)
class OverSkills:
    """The student's outputs are the steps of a plan of `task`."""

    task: Task
    kernel: Kernels = PORTABLE
    chooses_actions: ClassVar[bool] = False

    @property
    def outputs(self) -> int:
        return num_codes(self.task)

    def begin(self, num_envs: int) -> OptionState:
        """Nothing under way in `num_envs` environments."""
        return OptionState(option=jnp.zeros(num_envs, jnp.int32), state=jnp.full(num_envs, -1, jnp.int32))

    def choose(
        self, option_state: OptionState, bits: jax.Array, memory: MemoryMap, reset: jax.Array, logits: jax.Array,
        greedy: bool | jax.Array = False,
    ) -> tuple[OptionState, Choice]:  # fmt: skip
        """As `Primitive.choose`; goes on with the option under way where it is not over."""
        observed = skill_actions(self.task, memory, self.kernel)
        would_do = jnp.moveaxis(observed.actions, 0, -1)  # (N, outputs)
        acts = (would_do >= 0) & ((would_do < DONE) | jnp.asarray(says_done(self.task)))
        single = jnp.asarray([_one_action(decode_step(self.task, code)[0]) for code in range(self.outputs)])
        still = jnp.take_along_axis(acts, option_state.option[:, None], axis=-1)[:, 0]
        option_boundary = reset | ~still | single[option_state.option] | (observed.state != option_state.state)
        action_mask = acts | ~jnp.any(acts, axis=-1, keepdims=True)
        masked = jnp.where(action_mask, logits, IMPOSSIBLE)
        option = jnp.where(option_boundary, draw(bits, masked, greedy), option_state.option)
        would_do = jnp.where(acts, would_do, self.task.idle)
        action = jnp.take_along_axis(would_do, option[:, None], axis=-1)[:, 0]
        choice = Choice(
            index=option, action=action, log_prob=_log_prob(masked, option), option_boundary=option_boundary,
            action_mask=action_mask,
        )  # fmt: skip
        return OptionState(option=option, state=observed.state), choice


def _one_action(skill: str) -> bool:
    return skill != NOOP and get_skill(skill).one_action


Controller = Primitive | OverSkills
