"""Advantages and loss terms: arrays in, numbers out. No networks, no environments.

Device module, imports nothing of the package. Time index t runs over the rollout's steps 0..T-1; every array is
time-major, `[T, ...]`. Sources: Schulman et al. 2016 (GAE), 2017 (PPO); LLM4Teach, arXiv 2311.13373, section 4
(distillation).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import cast

import chex
import jax
import jax.numpy as jnp


def advantages(
    reward: jax.Array,
    value: jax.Array,
    next_value: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    gamma: float,
    gae_lambda: float,
    option_boundary: jax.Array | None = None,
    at_once: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Generalised advantage estimates that tell termination from truncation, over actions or over options.

    Args:
        reward: `float32[T, ...]` r_{t+1}, for the action at t.
        value: `float32[T, ...]` V(s_t).
        next_value: `float32[T, ...]` V of the state the action at t led to: of s_{t+1} within an episode, of the
            episode's true final state where it was truncated. Not read where it terminated.
        terminated: `bool[T, ...]` the action at t ended the episode: nothing comes after.
        truncated: `bool[T, ...]` the episode was cut off after the action at t: its value goes on, its trace does not.
        gamma: discount.
        gae_lambda: 1 gives discounted returns.
        option_boundary: `bool[T, ...]` whether the action at t was a new choice, or one made earlier went on; None:
            always a choice. A choice is then worth its rewards until the next one, k steps later, plus gamma^k times
            what comes after (semi-Markov); lambda counts choices. Rows that are no choice mean nothing.
        at_once: all steps in a few operations (an associative scan) instead of one after the other; sums round
            differently then.

    Returns:
        Advantages and value targets (advantage + value), `float32[T, ...]` each.
    """
    chex.assert_equal_shape([reward, value, next_value, terminated, truncated])
    if option_boundary is None:
        option_boundary = jnp.ones_like(terminated)
    goes_on = ~(terminated | truncated)
    if at_once:
        later_boundary = jnp.concatenate([option_boundary[1:], jnp.ones_like(option_boundary[:1])])
        later_value = jnp.concatenate([value[1:], jnp.zeros_like(value[:1])])
        # An advantage is `own` plus `share` of the next step's.
        share = gamma * jnp.where(goes_on, jnp.where(later_boundary, gae_lambda, 1.0), 0.0)
        after = jnp.where(goes_on & ~later_boundary, later_value, jnp.where(terminated, 0.0, next_value))
        advantage = _sums_of_shares(reward + gamma * after - value, share)
        return advantage, advantage + value

    def back(later: tuple[jax.Array, ...], now: tuple[jax.Array, ...]) -> tuple[tuple[jax.Array, ...], jax.Array]:
        later_advantage, later_worth, later_boundary = later
        reward, value, next_value, terminated, goes_on, option_boundary = now
        chosen_anew = next_value + gae_lambda * later_advantage
        after = jnp.where(goes_on, jnp.where(later_boundary, chosen_anew, later_worth), next_value)
        worth = reward + gamma * jnp.where(terminated, 0.0, after)  # of the choice under way, from this step on
        return (worth - value, worth, option_boundary), worth - value

    end = (jnp.zeros_like(value[0]), jnp.zeros_like(value[0]), jnp.ones_like(option_boundary[0]))
    _, advantage = jax.lax.scan(
        back, end, (reward, value, next_value, terminated, goes_on, option_boundary), reverse=True
    )
    return advantage, advantage + value


def _sums_of_shares(own: jax.Array, share: jax.Array) -> jax.Array:
    """x_t = own_t + share_t * x_{t+1}, x_T = 0, for all t at once: `float32[T, ...]` each."""

    def joined(later: tuple[jax.Array, jax.Array], now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return now[0] + now[1] * later[0], now[1] * later[1]

    return jax.lax.associative_scan(joined, (own, share), reverse=True)[0]


def mean(x: jax.Array, weight: jax.Array | None, axis: str | None = None) -> jax.Array:
    """The mean over all elements (of all devices of `axis`), or the weighted one; 0 where all weights are."""
    total = jnp.sum(x if weight is None else x * weight)
    count = _count(x.size, weight)
    if axis is not None:
        total, count = cast(tuple[jax.Array, jax.Array], jax.lax.psum((total, count), axis))
    return total / jnp.maximum(count, 1e-9)


def means(terms: Mapping[str, jax.Array], weight: jax.Array | None) -> dict[str, jax.Array]:
    """`mean` of each of several arrays of one shape, by name: by one reduction, not one for each."""
    rows = jnp.stack([jnp.ravel(term if weight is None else term * weight) for term in terms.values()])
    found = jnp.sum(rows, axis=1) / jnp.maximum(_count(rows.shape[1], weight), 1e-9)
    return {name: found[i] for i, name in enumerate(terms)}


def _count(number: int, weight: jax.Array | None) -> jax.Array:
    """What a sum of so many elements is divided by for their mean, or the weighted one: `float32[]`."""
    return jnp.float32(number) if weight is None else jnp.sum(weight, dtype=jnp.float32)


def normalise(x: jax.Array, weight: jax.Array | None = None, axis: str | None = None) -> jax.Array:
    """Mean 0 and standard deviation 1 over all elements (plus 1e-5, as the reference does), weighted if asked."""
    centred = x - mean(x, weight, axis)
    return centred / (jnp.sqrt(mean(jnp.square(centred), weight, axis)) + 1e-5)


def log_policy(logits: jax.Array) -> jax.Array:
    """log pi of logits `float32[..., A]`, the actions first: `float32[A, ...]`, as the terms below read it.

    Here and below sums over actions are written out. Without reductions over A a GPU needs a quarter fewer kernels for
    a gradient.
    """
    by_action = jnp.moveaxis(logits, -1, 0)
    shifted = by_action - jax.lax.stop_gradient(functools.reduce(jnp.maximum, by_action))[None]
    return shifted - jnp.log(_sum_over_actions(jnp.exp(shifted)))[None]


def _sum_over_actions(terms: jax.Array) -> jax.Array:
    """The sum of `float32[A, ...]` over its first axis."""
    return functools.reduce(jnp.add, terms)


def log_probability(log_pi: jax.Array, action: jax.Array) -> jax.Array:
    """log pi(action), `float32[...]`, of `float32[A, ...]` from `log_policy` and `int32[...]` actions."""
    index = jnp.arange(len(log_pi)).reshape(-1, *[1] * action.ndim)
    return _sum_over_actions(jnp.where(action[None] == index, log_pi, 0.0))


def policy_loss(
    log_prob: jax.Array, old_log_prob: jax.Array, advantage: jax.Array, clip: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """PPO's clipped surrogate of each step, whose mean is to be minimised (PPO, equation 7), and whether its ratio is
    clipped (1 or 0): `float32[...]` each.

    Args:
        log_prob: `float32[...]` log pi(a_t | s_t) now.
        old_log_prob: `float32[...]` when the action was taken.
        advantage: `float32[...]`.
        clip: epsilon.
    """
    chex.assert_equal_shape([log_prob, old_log_prob, advantage])
    ratio = jnp.exp(log_prob - old_log_prob)
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -jnp.minimum(ratio * advantage, clipped * advantage), (jnp.abs(ratio - 1.0) > clip).astype(jnp.float32)


def value_loss(value: jax.Array, old_value: jax.Array, target: jax.Array, clip: float | jax.Array) -> jax.Array:
    """The larger of the clipped and the unclipped squared error of each step; without a half, as in the reference."""
    chex.assert_equal_shape([value, old_value, target])
    clipped = old_value + jnp.clip(value - old_value, -clip, clip)
    return jnp.maximum(jnp.square(value - target), jnp.square(clipped - target))


def entropy(log_pi: jax.Array) -> jax.Array:
    """The entropy of the policy at each step, in nats, `float32[...]` of `float32[A, ...]` from `log_policy`."""
    return -_sum_over_actions(jnp.exp(log_pi) * log_pi)


def distillation_loss(log_pi: jax.Array, teacher: jax.Array) -> jax.Array:
    """Cross-entropy from the teacher's action distribution to the student's at each step, `float32[...]`.

    That of a row of zeros (no guidance for that state) is 0.

    Args:
        log_pi: `float32[A, ...]` of the student, from `log_policy`.
        teacher: `float32[..., A]`, each row summing to 1, or all zero.
    """
    teacher = jnp.moveaxis(teacher, -1, 0)
    chex.assert_equal_shape([log_pi, teacher])
    return -_sum_over_actions(teacher * log_pi)


def adaptive_coefficient(student: jax.Array | float, teacher: jax.Array | float) -> jax.Array:
    """The share of the distillation weight that is left: 1 at first, 0 while the student does as well as its teacher.

    Args:
        student: `float32[...]` its success.
        teacher: success of the teacher; nothing is left of one that never succeeds.
    """
    left = jnp.clip(1.0 - student / jnp.maximum(teacher, 1e-3), 0.0, 1.0)
    return jnp.where(
        (left < 0.02) | (jnp.asarray(teacher) <= 0), 0.0, left
    )  # for next to nothing, it need not be asked


def linear_coefficient(progress: jax.Array, start: float, floor: float, fall: float, off: float) -> jax.Array:
    """The distillation weight at a share of the run: a straight fall from `start` to `floor`, then 0 from `off` on.

    Args:
        progress: `float32[]` share of the run done, 0..1.
        start: weight at 0.
        floor: weight from `fall` on.
        fall: share of the run at which `floor` is reached.
        off: share of the run from which the weight is 0.
    """
    along = jnp.clip(progress / jnp.maximum(fall, 1e-9), 0.0, 1.0)
    return jnp.where(progress >= off, 0.0, start + (floor - start) * along)
