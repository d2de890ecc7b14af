"""The teacher on the device: memory maps in, action distributions out.

Device module: pure, jittable, batched. A teacher is a table: for every symbolic state, plans (`skills.plan_codes`) with
their probabilities. Its labels are a function of the memory map and the carried's pickup_position (`types.MemoryMap`),
so they can be computed for a whole rollout at once, or again for any stored map.
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


class TeacherTable(struct.PyTreeNode):
    """A task's teacher as arrays: a row for each of R symbolic states, and a last one for all others.

    Attributes:
        row: `int32[symbolic.num_states(task)]` the row of each id; R for ids that have none.
        plans: `int32[R + 1, P, L]` step codes; plans are filled up with the noop code.
        probability: `float32[R + 1, P]`, each known state's sum to 1, those of others, and of the last row, to 0.
        success: `float32[]`, the teacher's own share of levels that end well, 0 if that is no better than chance: what
            the distillation weight is annealed by (`losses.adaptive_coefficient`); 1 where it has not been measured.
        grows: static; the host fills it between blocks, and wants to be told which states are met.
    """

    row: jax.Array
    plans: jax.Array
    probability: jax.Array
    success: jax.Array | float = 1.0
    grows: bool = struct.field(pytree_node=False, default=False)


class TeacherOutput(struct.PyTreeNode):
    """What the teacher says of a batch of memory maps (leading axes `*B`).

    Attributes:
        distribution: `float32[*B, 7]` over actions: the mixture of the plans' actions. All zero where the table does
            not know the state, so that a cross-entropy with it vanishes.
        state: `int32[*B]` id of the symbolic state.
    """

    distribution: jax.Array
    state: jax.Array


def walk(plans: jax.Array, outcomes: jax.Array) -> jax.Array:
    """The action of each plan: that of its first step which is not already satisfied; done when there is none.

    Args:
        plans: `int32[*B, P, L]` step codes.
        outcomes: `int32[codes, *B]` from `skills.actions.skill_actions`.

    Returns:
        `int32[*B, P]`.
    """
    # Four bits an outcome, eight to a word: a look-up is a shift (gathered one by one they took three times as long).
    codes, *batch = outcomes.shape
    groups = jnp.pad(outcomes - SATISFIED, [(0, -codes % 8), *[(0, 0)] * len(batch)]).astype(jnp.uint32)
    place = jnp.arange(0, 32, 4, dtype=jnp.uint32).reshape(1, 8, *[1] * len(batch))
    words = jnp.sum(groups.reshape(-1, 8, *batch) << place, axis=1, dtype=jnp.uint32)[..., None]

    action = jnp.full(plans.shape[:-1], DONE, jnp.int32)
    for step in reversed(range(plans.shape[-1])):
        code = plans[..., step].astype(jnp.uint32)
        word = words[0]
        for number, later in enumerate(words[1:], 1):
            word = jnp.where(code >= 8 * number, later, word)
        outcome = (word >> 4 * (code & 7) & 15).astype(jnp.int32) + SATISFIED
        action = jnp.where(outcome == SATISFIED, action, outcome)
    return action


def teacher_output(
    task: Task, table: TeacherTable, memory: MemoryMap, kernel: Kernels = PORTABLE
) -> TeacherOutput:  # fmt: skip
    """The soft teacher: the probability-weighted mixture of every plan's action.

    A hard teacher is a sample of it: drawing a plan and taking its action is drawing from the mixture.
    """
    found = skill_actions(task, memory, kernel)
    row = table.row[found.state]
    actions = walk(table.plans[row], found.actions)  # (*B, P)
    weight = table.probability[row]
    distribution = jnp.zeros((*found.state.shape, NUM_ACTIONS), jnp.float32)
    for plan in range(actions.shape[-1]):  # a sum over an axis of plans takes ten times as long on a CPU
        chosen = actions[..., plan, None] == jnp.arange(NUM_ACTIONS)
        distribution = distribution + jnp.where(chosen, weight[..., plan, None], 0.0)
    return TeacherOutput(distribution=distribution, state=found.state)
