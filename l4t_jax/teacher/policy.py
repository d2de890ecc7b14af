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
from l4t_jax.skills.plan_codes import NOOP_CODE, says_done


class TeacherTable(struct.PyTreeNode):
    """A task's teacher as arrays: one row for each of R symbolic states, and a last row for all others.

    Attributes:
        row: `int32[symbolic.num_states(task)]` the row of each id; R for ids without plans.
        plans: `int32[R + 1, P, L]` step codes; plans are padded with the noop code.
        probability: `float32[R + 1, P]`. A row sums to 1 if its state has plans, else (as in the last row) to 0.
        success: `float32[]` the teacher's own success, by which the distillation weight is annealed
            (`losses.adaptive_coefficient`); 0 if it is not significantly better than a random policy, 1 if it was not
            measured.
        follow: `float32[]` the share of the plans in a label; the rest is spread evenly over all steps that can do
            something now. 1 but for a teacher that does better so (`training.first_trust`).
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


class Advised(struct.PyTreeNode):
    """What the teacher advises a batch of agents (leading axes `*B`): its P plans, then every step of the task alone.

    Attributes:
        state: `int32[*B]` ids of the symbolic states.
        step: `int32[*B, P]` code of the step that each plan is at.
        action: `int32[P + codes, *B]` of each.
        weight: `float32[P + codes, *B]` of each. They sum to 1, or to 0 where the table has no plans for the state.
    """

    state: jax.Array
    step: jax.Array
    action: jax.Array
    weight: jax.Array


def _packed(values: jax.Array, bits: int) -> jax.Array:
    """Values in words of 32 bits, so that a look-up is a shift; a gather took three times as long on a CPU.

    Args:
        values: `int32[V, *B]`, each below 2 ** `bits`.
        bits: 1, 2, 4 or 8.

    Returns:
        `uint32[words, *B, 1]`.
    """
    number, *batch = values.shape
    each = 32 // bits
    groups = jnp.pad(values, [(0, -number % each), *[(0, 0)] * len(batch)]).astype(jnp.uint32)
    place = jnp.arange(0, 32, bits, dtype=jnp.uint32).reshape(1, each, *[1] * len(batch))
    return jnp.sum(groups.reshape(-1, each, *batch) << place, axis=1, dtype=jnp.uint32)[..., None]


def _look_up(words: jax.Array, index: jax.Array, bits: int) -> jax.Array:
    """The values of an index `int32[*B, P]`, in words from `_packed`: `int32[*B, P]`."""
    each, word = 32 // bits, words[0]
    for later, other in enumerate(words[1:], 1):
        word = jnp.where(index >= each * later, other, word)
    at = (index % each).astype(jnp.uint32)
    return (word >> bits * at & (2**bits - 1)).astype(jnp.int32)


def walk(plans: jax.Array, satisfied: jax.Array) -> jax.Array:
    """The step that each plan is at: its first which is not satisfied, or the noop if all are.

    Args:
        plans: `int32[*B, P, L]` step codes.
        satisfied: `bool[codes, *B]`.

    Returns:
        Step codes, `int32[*B, P]`.
    """
    words = _packed(satisfied.astype(jnp.int32), bits=1)
    at = jnp.full(plans.shape[:-1], NOOP_CODE, jnp.int32)
    for place in reversed(range(plans.shape[-1])):
        code = plans[..., place]
        at = jnp.where(_look_up(words, code, bits=1) == 1, at, code)
    return at


def advise(
    task: Task, table: TeacherTable, memory: MemoryMap, kernel: Kernels = PORTABLE, others: float = 0.0
) -> Advised:  # fmt: skip
    """What the teacher advises.

    The plans' weights are their probabilities. With a `follow` below 1 the rest is spread evenly over all steps that
    can do something now. Where none can, the plans keep it.

    Args:
        task: that the teacher knows.
        table: the teacher.
        memory: leading axes `*B`.
        kernel: how it is computed.
        others: least share that is spread.
    """
    found = skill_actions(task, memory, kernel)
    row = table.row[found.state]
    meant = jnp.asarray(says_done(task)).reshape(-1, *[1] * row.ndim)
    satisfied = found.actions == SATISFIED
    able = ~satisfied & ((found.actions != DONE) | meant)
    action = jnp.where(able, found.actions, task.idle)
    step, said = walk(table.plans[row], satisfied), table.probability[row]
    count = jnp.sum(able, axis=0)
    share = jnp.where(count > 0, 1.0 - jnp.minimum(table.follow, 1.0 - others), 0.0)
    each = jnp.sum(said, axis=-1) * share / jnp.maximum(count, 1)
    return Advised(
        state=found.state,
        step=step,
        action=jnp.concatenate([jnp.moveaxis(_look_up(_packed(action, bits=4), step, bits=4), -1, 0), action]),
        weight=jnp.concatenate([jnp.moveaxis(said, -1, 0) * (1.0 - share), jnp.where(able, each, 0.0)]),
    )


def mixture(action: jax.Array, weight: jax.Array) -> jax.Array:
    """The soft label: the mixture of the actions, `float32[*B, 7]`.

    A hard label is a sample from it, which is the same as sampling a plan and taking its action.

    Args:
        action: `int32[C, *B]`.
        weight: `float32[C, *B]`.
    """
    label = jnp.zeros((*action.shape[1:], NUM_ACTIONS), jnp.float32)
    for one, share in zip(action, weight, strict=True):  # on a CPU a sum over C takes ten times as long
        label = label + jnp.where(one[..., None] == jnp.arange(NUM_ACTIONS), share[..., None], 0.0)
    return label


def teacher_output(
    task: Task, table: TeacherTable, memory: MemoryMap, kernel: Kernels = PORTABLE
) -> TeacherOutput:  # fmt: skip
    """The teacher's soft labels (`mixture`) and the symbolic states."""
    advised = advise(task, table, memory, kernel)
    return TeacherOutput(distribution=mixture(advised.action, advised.weight), state=advised.state)
