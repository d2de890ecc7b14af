"""The teacher on the device: memory maps in, action distributions out.

Device module: pure, jittable, batched. A teacher is a table: for every symbolic state, plans (`skills.plan_codes`) and
their probabilities. Its labels are a function of the memory map alone (`envs.state.MemoryMap`), so they can be computed
for a whole rollout at once, or again for any stored map.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.envs.cells import DONE, NUM_ACTIONS
from l4t_jax.envs.state import MemoryMap
from l4t_jax.envs.task import Task
from l4t_jax.kernels import PORTABLE, Kernels
from l4t_jax.skills.actions import skill_actions
from l4t_jax.skills.base import SATISFIED
from l4t_jax.skills.plan_codes import says_done


class TeacherTable(struct.PyTreeNode):
    """A task's teacher as arrays: one row for each of R symbolic states, and a last row for all others.

    Attributes:
        row: `int32[symbolic.num_states(task)]` the row of each id; R for ids without plans.
        plans: `int32[R + 1, P, L]` step codes; plans are padded with the noop code.
        probability: `float32[R + 1, P]`. A row sums to 1 if its state has plans, else (as in the last row) to 0.
        success: `float32[]` the teacher's own success, by which the distillation weight is annealed
            (`losses.adaptive_coefficient`); 0 if it is not significantly better than a random policy, 1 if it was not
            measured.
        follow: `float32[]` the share of the plans' action in a label; the rest is spread evenly over all actions. 1 but
            for a teacher that does better so (`training.first_trust`).
        grows: static; the host adds rows between blocks, so the metrics must say which states were met.
    """

    row: jax.Array
    plans: jax.Array
    probability: jax.Array
    success: jax.Array | float = 1.0
    follow: jax.Array | float = 1.0
    grows: bool = struct.field(pytree_node=False, default=False)


class TeacherOutput(struct.PyTreeNode):
    """The teacher's output for a batch of memory maps (leading axes `*B`).

    Attributes:
        distribution: `float32[*B, 7]` over actions: the mixture of the plans' actions. All zero where the table has no
            plans for the state, so its cross-entropy is 0.
        state: `int32[*B]` id of the symbolic state.
    """

    distribution: jax.Array
    state: jax.Array


def walk(plans: jax.Array, outcomes: jax.Array, idle: int = DONE) -> jax.Array:
    """The action of each plan: that of its first step which is not already satisfied.

    Args:
        plans: `int32[*B, P, L]` step codes.
        outcomes: `int32[codes, *B]` from `skills.actions.skill_actions`.
        idle: the action when there is no such step.

    Returns:
        `int32[*B, P]`.
    """
    # Four bits per outcome, eight outcomes per word: a look-up is a shift. A gather took three times as long.
    codes, *batch = outcomes.shape
    groups = jnp.pad(outcomes - SATISFIED, [(0, -codes % 8), *[(0, 0)] * len(batch)]).astype(jnp.uint32)
    place = jnp.arange(0, 32, 4, dtype=jnp.uint32).reshape(1, 8, *[1] * len(batch))
    words = jnp.sum(groups.reshape(-1, 8, *batch) << place, axis=1, dtype=jnp.uint32)[..., None]

    action = jnp.full(plans.shape[:-1], idle, jnp.int32)
    for step in reversed(range(plans.shape[-1])):
        code = plans[..., step].astype(jnp.uint32)
        word = words[0]
        for number, later in enumerate(words[1:], 1):
            word = jnp.where(code >= 8 * number, later, word)
        outcome = (word >> 4 * (code & 7) & 15).astype(jnp.int32) + SATISFIED
        action = jnp.where(outcome == SATISFIED, action, outcome)
    return action


def _idled(task: Task, outcomes: jax.Array) -> jax.Array:
    """Outcomes with the task's idle action in place of done, where that says that a step can do nothing."""
    if task.idle == DONE:
        return outcomes
    meant = jnp.asarray(says_done(task)).reshape(-1, *[1] * (outcomes.ndim - 1))
    return jnp.where((outcomes == DONE) & ~meant, task.idle, outcomes)


def teacher_output(
    task: Task, table: TeacherTable, memory: MemoryMap, kernel: Kernels = PORTABLE
) -> TeacherOutput:  # fmt: skip
    """The soft label: the mixture of the plans' actions, weighted by the plans' probabilities.

    A hard label is a sample from this mixture, which is the same as sampling a plan and taking its action. With a
    `follow` below 1, the mixture with actions at random.
    """
    found = skill_actions(task, memory, kernel)
    row = table.row[found.state]
    actions = walk(table.plans[row], _idled(task, found.actions), task.idle)  # (*B, P)
    weight = table.probability[row]
    distribution = jnp.zeros((*found.state.shape, NUM_ACTIONS), jnp.float32)
    for plan in range(actions.shape[-1]):  # on a CPU a sum over the axis of plans takes ten times as long
        chosen = actions[..., plan, None] == jnp.arange(NUM_ACTIONS)
        distribution = distribution + jnp.where(chosen, weight[..., plan, None], 0.0)
    spread = jnp.sum(weight, axis=-1, keepdims=True) * ((1.0 - table.follow) / NUM_ACTIONS)
    distribution = table.follow * distribution + spread
    return TeacherOutput(distribution=distribution, state=found.state)
