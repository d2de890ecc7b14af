"""One update of a student from one rollout: PPO plus distillation, epochs of minibatches.

Device module. Minibatches cut every environment's own steps (or, for a recurrent student, the environments), never
across environments, so that environments can be spread over devices without moving a row: each device learns from its
own, and the gradients are averaged. Rollouts of whole episodes (`agents.episodes`) are on one device: their minibatches
are drawn from all valid rows (`update_in_sizes`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from flax import struct

from l4t_jax import parallel
from l4t_jax.agents import losses
from l4t_jax.agents.controllers import IMPOSSIBLE
from l4t_jax.agents.rollout import Rollout
from l4t_jax.agents.students import StudentNetwork, apply_student, is_recurrent
from l4t_jax.agents.trees import zeros_of
from l4t_jax.kernels import PORTABLE, Kernels

PIECE = 32  # steps of whole episodes that a recurrent student learns from at a time


class Batch(struct.PyTreeNode):
    """What the loss reads, leading axes (T, N): see `losses` for each term."""

    observation: Any
    reset: jax.Array
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    advantage: jax.Array
    target: jax.Array
    teacher: jax.Array | None
    carry: Any  # leading axis N
    env_id: jax.Array  # leading axis N
    option_boundary: jax.Array | None = None
    action_mask: jax.Array | None = None
    valid: jax.Array | None = None  # which rows are steps; None: all

    @property
    def weight(self) -> jax.Array | None:
        """Of each row in the means of the loss; None: all alike."""
        return self.option_boundary if self.valid is None else self.valid


class Weights(struct.PyTreeNode):
    """Weights of the loss terms, scalars.

    Attributes:
        reward: 1, or 0 to learn from the teacher alone.
        distill, entropy, value: of the respective terms.
        clip: PPO's clipping range.
    """

    reward: jax.Array | float
    distill: jax.Array | float
    entropy: jax.Array | float
    value: jax.Array | float
    clip: jax.Array | float


def make_batch(
    rollout: Rollout, teacher: jax.Array | None, env_id: jax.Array, gamma: float, gae_lambda: float,
    axis: str | None = None, kernel: Kernels = PORTABLE,
) -> Batch:  # fmt: skip
    """Adds advantages (normalised over the whole rollout, all devices') and the teacher's labels.

    Padding, if there is some, is in no mean; its advantages are 0.

    Args:
        rollout: leading axes (T, N).
        teacher: labels `float32[T, N, 7]`, if any.
        env_id: `int32[N]` the environments' own numbers.
        gamma, gae_lambda: of the advantages.
        axis: of the mesh that the environments are spread over, if they are.
        kernel: how it is computed.
    """
    advantage, target = losses.advantages(
        rollout.reward, rollout.value, rollout.next_value, rollout.terminated, rollout.truncated, gamma, gae_lambda,
        rollout.option_boundary, kernel.few,
    )  # fmt: skip
    batch = Batch(
        observation=rollout.observation, reset=rollout.reset, action=rollout.action, log_prob=rollout.log_prob,
        value=rollout.value, advantage=advantage, target=target, teacher=teacher, carry=rollout.carry, env_id=env_id,
        option_boundary=rollout.option_boundary, action_mask=rollout.action_mask, valid=rollout.valid,
    )  # fmt: skip
    normal = losses.normalise(advantage, batch.weight, axis)
    return batch.replace(advantage=normal if rollout.valid is None else jnp.where(rollout.valid, normal, 0.0))


def loss(
    student: StudentNetwork, params: Any, batch: Batch, weights: Weights
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The whole loss of a batch, and its terms by name."""
    apply = apply_student if batch.valid is None or not is_recurrent(student) else partial(_in_pieces, batch.valid)
    _, logits, value = apply(student, params, batch.carry, batch.observation, batch.reset)
    if batch.action_mask is not None:
        logits = jnp.where(batch.action_mask, logits, IMPOSSIBLE)
    log_pi = losses.log_policy(logits)
    log_prob = losses.log_probability(log_pi, batch.action)
    policy, clipped = losses.policy_loss(log_prob, batch.log_prob, batch.advantage, weights.clip)
    each = dict(
        policy_loss=policy, value_loss=losses.value_loss(value, batch.value, batch.target, weights.clip),
        entropy=losses.entropy(log_pi), clipped=clipped, kl=batch.log_prob - log_prob,
    )  # fmt: skip
    if batch.teacher is not None:
        each["distill_loss"] = losses.distillation_loss(log_pi, batch.teacher)
    terms = losses.means(each, batch.weight)
    total = weights.reward * (
        terms["policy_loss"] + weights.value * terms["value_loss"] - weights.entropy * terms["entropy"]
    )
    if batch.teacher is not None:
        total = total + weights.distill * terms["distill_loss"]
    return total, dict(loss=total, **terms)


def _in_pieces(
    valid: jax.Array, student: StudentNetwork, params: Any, carry: Any, observation: Any, reset: jax.Array
) -> tuple[Any, jax.Array, jax.Array]:
    """`apply_student`, `PIECE` steps at a time, without the pieces that are padding alone: their outputs are zeros.

    How many rows are steps is known only when the program runs. The gradient goes through each piece anew, so that
    nothing of a piece is kept but the carry before it.

    Args:
        valid: `bool[T, N]` which rows are steps; those of an environment best first (`_steps_first`).
        student, params, carry, observation, reset: as for `apply_student`.
    """
    steps = len(valid)
    pieces = -(-steps // PIECE)

    def cut(leaf: jax.Array) -> jax.Array:
        filled = jnp.concatenate([leaf, jnp.zeros((pieces * PIECE - steps, *leaf.shape[1:]), leaf.dtype)])
        return filled.reshape(pieces, PIECE, *leaf.shape[1:])

    def play(carry: Any, observation: Any, reset: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
        return apply_student(student, params, carry, observation, reset)

    played = cast(Callable[[Any, Any, jax.Array], tuple[Any, jax.Array, jax.Array]], jax.checkpoint(play))

    def piece(carry: Any, rows: tuple[Any, jax.Array, jax.Array]) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        observation, reset, valid = rows
        nothing = zeros_of(played, carry, observation, reset)[1:]

        def run() -> tuple[Any, tuple[jax.Array, jax.Array]]:
            after, logits, value = played(carry, observation, reset)
            return after, (logits, value)

        return cast(Any, jax.lax.cond(jnp.any(valid), run, lambda: (carry, nothing)))

    carry, found = jax.lax.scan(piece, carry, jax.tree.map(cut, (observation, reset, valid)))
    logits, value = (leaf.reshape(-1, *leaf.shape[2:])[:steps] for leaf in found)
    return carry, logits, value


def _steps_first(batch: Batch) -> Batch:
    """A batch with each environment's steps before its padding, in their order."""
    assert batch.valid is not None
    order = jnp.argsort(~batch.valid, axis=0, stable=True)

    def moved(leaf: jax.Array) -> jax.Array:
        return jnp.take_along_axis(leaf, order.reshape(*order.shape, *[1] * (leaf.ndim - 2)), axis=0)

    return jax.tree.map(moved, batch.replace(carry=(), env_id=())).replace(carry=batch.carry, env_id=batch.env_id)


def minibatches(key: jax.Array, batch: Batch, count: int, by_env: bool, kernel: Kernels = PORTABLE) -> Batch:
    """Shuffles a batch and cuts it: every leaf gets a leading axis `count`.

    Args:
        key: random key; with an environment's own number it gives the environment's order.
        batch: leading axes (T, N).
        count: of minibatches; divides T, or N if `by_env`.
        by_env: cut the environments, each with all its steps (for recurrent students), instead of each environment's
            steps. Of every `count` environments in a row, each minibatch gets one.
        kernel: how it is computed. If `few` is set, steps and environments of a minibatch are merged into one axis,
            behind an axis of length 1: a GPU then needs no transposes.
    """
    steps, num_envs = batch.action.shape
    if by_env:
        groups = batch.env_id.reshape(-1, count)[:, 0] // count
        draw = parallel.per_env_bits(key, groups, count)
        order = (jnp.argsort(draw, axis=1) + jnp.arange(0, num_envs, count)[:, None]).T  # (count, groups)

        def cut(leaf: jax.Array, axis: int) -> jax.Array:
            return jnp.moveaxis(jnp.take(leaf, order, axis=axis), axis, 0)

        rows = jax.tree.map(partial(cut, axis=1), batch.replace(carry=(), env_id=()))
        carry, own = jax.tree.map(partial(cut, axis=0), (batch.carry, batch.env_id))
        return rows.replace(carry=carry, env_id=own)

    draw = parallel.per_env_bits(key, batch.env_id, steps)
    order = jnp.argsort(draw, axis=1).T  # each environment its own order
    shape = (1, steps // count * num_envs) if kernel.few else (steps // count, num_envs)

    def shuffle(leaf: jax.Array) -> jax.Array:
        index = order.reshape(steps, num_envs, *([1] * (leaf.ndim - 2)))
        leaf = kernel.by_row(lambda rows: jnp.take_along_axis(rows, index, axis=0, mode="promise_in_bounds"), leaf, 2)
        return leaf.reshape(count, *shape, *leaf.shape[2:])

    rows = jax.tree.map(shuffle, batch.replace(carry=(), env_id=()))
    env_id = jnp.concatenate([batch.env_id] * (shape[1] // num_envs))
    return rows.replace(carry=(), env_id=jnp.broadcast_to(env_id, (count, *env_id.shape)))


def update(
    student: StudentNetwork,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    params: Any,
    opt_state: Any,
    batch: Batch,
    weights: Weights,
    epochs: int | jax.Array,
    count: int,
    axis: str | None = None,
    kernel: Kernels = PORTABLE,
    done: jax.Array | None = None,
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """`epochs` passes over a batch, `count` minibatches each; the environments spread over the mesh's `axis`, if
    given.

    Args:
        epochs: a number, or an `int32[]` that the program finds when it runs.
        done: `float32[]` share of the run, for an optimizer that takes it (`agents.optimizer`).

    Returns:
        Parameters, optimizer state, and the loss terms averaged over all minibatches.
    """
    names: list[str] = []
    batch = batch if batch.valid is None else _steps_first(batch)
    by_env, learn = is_recurrent(student), learner(student, optimizer, weights, names, axis, done)

    def epoch(state: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], jax.Array]:
        return jax.lax.scan(learn, state, minibatches(key, batch, count, by_env, kernel))

    if isinstance(epochs, int):
        (params, opt_state), terms = jax.lax.scan(epoch, (params, opt_state), jax.random.split(key, epochs))
        means = jnp.mean(terms, axis=(0, 1))
    else:
        (params, opt_state), means = _passes(epoch, (params, opt_state), key, epochs)
    return params, opt_state, {name: means[i] for i, name in enumerate(names)}


def _passes(
    epoch: Callable[[Any, jax.Array], tuple[Any, jax.Array]], state: Any, key: jax.Array, number: jax.Array
) -> tuple[Any, jax.Array]:
    """A number of epochs that is known when the program runs: the state after them, and the terms' means over all."""

    def with_means(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        state, terms = epoch(state, key)
        return state, jnp.mean(terms, axis=0)

    def one(index: jax.Array, now: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        state, terms = with_means(now[0], jax.random.fold_in(key, index))
        return state, now[1] + terms

    nothing = zeros_of(with_means, state, key)[1]
    state, sums = cast(tuple[Any, jax.Array], jax.lax.fori_loop(0, number, one, (state, nothing)))
    return state, sums / number


def update_in_sizes(
    student: StudentNetwork, optimizer: optax.GradientTransformation, key: jax.Array, params: Any, opt_state: Any,
    batch: Batch, weights: Weights, epochs: int | jax.Array, size: int, done: jax.Array | None = None,
) -> tuple[Any, Any, dict[str, jax.Array]]:  # fmt: skip
    """`epochs` passes over the valid rows of a batch, in minibatches of `size` rows drawn from all environments.

    The rows that are left over at the end of a pass are dropped. For students that are not recurrent. Arguments as for
    `update`.

    Returns:
        Parameters, optimizer state, and the loss terms averaged over all minibatches.
    """
    assert batch.valid is not None, "otherwise `update` cuts every environment's own steps"
    names: list[str] = []
    valid, learn = batch.valid.reshape(-1), learner(student, optimizer, weights, names, done=done)

    def flat(leaf: jax.Array) -> jax.Array:
        return leaf.reshape(-1, *leaf.shape[2:])

    rows: Batch = jax.tree.map(flat, batch.replace(carry=(), env_id=(), valid=None))
    count = jnp.sum(valid) // size
    keys = jax.random.split(key, epochs) if isinstance(epochs, int) else None

    def minibatch(order: jax.Array, index: jax.Array | int) -> Batch:
        chosen = jax.lax.dynamic_slice_in_dim(order, index * size, size)

        def of(leaf: jax.Array) -> jax.Array:
            return leaf[chosen][None]

        return cast(Batch, jax.tree.map(of, rows))

    def epoch(index: jax.Array, state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        own = keys[index] if keys is not None else jax.random.fold_in(key, index)
        draw = jax.random.bits(own, valid.shape) >> 1  # below what padding gets
        order = jnp.argsort(jnp.where(valid, draw, jnp.uint32(2**32 - 1)))

        def step(index: jax.Array, state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            params, opt_state, sums = state
            (params, opt_state), terms = learn((params, opt_state), minibatch(order, index))
            return params, opt_state, sums + terms

        return cast(tuple[Any, Any, Any], jax.lax.fori_loop(0, count, step, state))

    nothing = zeros_of(learn, (params, opt_state), minibatch(jnp.arange(valid.size), 0))[1]
    after = cast(tuple[Any, Any, Any], jax.lax.fori_loop(0, epochs, epoch, (params, opt_state, nothing)))
    means = after[2] / jnp.maximum(count * epochs, 1)
    return after[0], after[1], {name: means[i] for i, name in enumerate(names)}


def learner(
    student: StudentNetwork, optimizer: optax.GradientTransformation, weights: Weights, names: list[str],
    axis: str | None = None, done: jax.Array | None = None,
) -> Callable[[tuple[Any, Any], Batch], tuple[tuple[Any, Any], jax.Array]]:  # fmt: skip
    """What one minibatch does to (parameters, optimizer state), and its loss terms, `float32[n]`.

    Args:
        names: gets the names of the terms, in their order, once they are known.
        student, optimizer, weights, axis, done: as for `update`.
    """

    def loss_of(params: Any, minibatch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        return loss(student, params, minibatch, weights)

    gradient = jax.value_and_grad(loss_of, has_aux=True)

    def step(state: tuple[Any, Any], minibatch: Batch) -> tuple[tuple[Any, Any], jax.Array]:
        params, opt_state = state
        (_, terms), grads = gradient(params, minibatch)
        if axis is not None:
            if minibatch.option_boundary is not None:  # its means are over choices: more of them, more weight
                choices = jnp.sum(minibatch.option_boundary, dtype=jnp.float32)
                weight = choices / jnp.maximum(jax.lax.pmean(choices, axis), 1e-9)

                def weighted(leaf: jax.Array) -> jax.Array:
                    return leaf * weight

                grads, terms = jax.tree.map(weighted, (grads, terms))
            grads, terms = parallel.mean((grads, terms), axis)
        terms["grad_norm"] = optax.tree.norm(grads)
        share = {} if done is None else {"done": done}
        updates, opt_state = optax.with_extra_args_support(optimizer).update(grads, opt_state, params, **share)
        names[:] = sorted(terms)
        return (optax.apply_updates(params, updates), opt_state), jnp.stack([terms[name] for name in names])

    return step
