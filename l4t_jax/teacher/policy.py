"""The teacher on the device: known maps in, action distributions out.

Device module: pure, jittable, batched. A teacher is a table: for every symbolic state, plans (`skills.plan` codes) with
their probabilities. Its labels are a function of the known map and the cargo's origin (`types.KnownMap`), so they can
be computed for a whole rollout at once, or again for any stored map.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.skills import library
from l4t_jax.symbolic import sight
from l4t_jax.tasks.task import Task
from l4t_jax.types import DONE, NUM_ACTIONS, KnownMap


class TeacherTable(struct.PyTreeNode):
    """A task's teacher as arrays; `S = symbolic.num_states(task)`.

    Attributes:
        plans: `int32[S, P, L]` step codes; plans are filled up with the noop code.
        probability: `float32[S, P]`, each known state's sum to 1, an unknown state's to 0.
        success: `float32[]`, the teacher's own share of boards that end well, 0 if that is no better than chance: what
            the distillation weight is annealed by (`losses.weaned`); 1 where it has not been measured.
        grows: static; the host fills it between blocks, and wants to be told which states are met.
    """

    plans: jax.Array
    probability: jax.Array
    success: jax.Array | float = 1.0
    grows: bool = struct.field(pytree_node=False, default=False)


class Guidance(struct.PyTreeNode):
    """What the teacher says of a batch of known maps (leading axes `*B`).

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
        outcomes: `int32[codes, *B]` from `skills.library.outcomes`.

    Returns:
        `int32[*B, P]`.
    """
    # Four bits an outcome, eight to a word: a look-up is a shift (gathered one by one they took three times as long).
    codes, *batch = outcomes.shape
    groups = jnp.pad(outcomes - library.SATISFIED, [(0, -codes % 8), *[(0, 0)] * len(batch)]).astype(jnp.uint32)
    place = jnp.arange(0, 32, 4, dtype=jnp.uint32).reshape(1, 8, *[1] * len(batch))
    words = jnp.sum(groups.reshape(-1, 8, *batch) << place, axis=1, dtype=jnp.uint32)[..., None]

    action = jnp.full(plans.shape[:-1], DONE, jnp.int32)
    for step in reversed(range(plans.shape[-1])):
        code = plans[..., step].astype(jnp.uint32)
        word = words[0]
        for number, later in enumerate(words[1:], 1):
            word = jnp.where(code >= 8 * number, later, word)
        outcome = (word >> 4 * (code & 7) & 15).astype(jnp.int32) + library.SATISFIED
        action = jnp.where(outcome == library.SATISFIED, action, outcome)
    return action


def guide(task: Task, table: TeacherTable, known: KnownMap) -> Guidance:
    """The soft teacher: the probability-weighted mixture of every plan's action.

    A hard teacher is a sample of it: drawing a plan and taking its action is drawing from the mixture.
    """
    sighting = sight(task, known)
    outcome = library.outcomes(task, known, sighting)
    actions = walk(table.plans[sighting.state], outcome)  # (*B, P)
    weight = table.probability[sighting.state]
    distribution = jnp.zeros((*sighting.state.shape, NUM_ACTIONS), jnp.float32)
    for plan in range(actions.shape[-1]):  # a sum over an axis of plans takes ten times as long on a CPU
        chosen = actions[..., plan, None] == jnp.arange(NUM_ACTIONS)
        distribution = distribution + jnp.where(chosen, weight[..., plan, None], 0.0)
    return Guidance(distribution=distribution, state=sighting.state)
