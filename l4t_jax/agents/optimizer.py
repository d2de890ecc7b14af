"""The optimizer of a run: gradients cut at a norm, Adam, a learning rate that falls linearly.

Device module. The rate falls with the number of the optimizer's steps, or, where updates differ in how many they take
(a warm-up), with the share of the run that is done.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from l4t_jax.config import Settings


def make_optimizer(config: Settings, total_updates: int) -> optax.GradientTransformation:
    """The optimizer of a run's settings.

    Args:
        config: the run's.
        total_updates: of the whole run.

    Returns:
        Its `update` takes `done`, `float32[]` the share of the run, if it is to decide the learning rate.
    """
    steps = total_updates * config.epochs * config.minibatches
    return optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.chain(
            optax.scale_by_adam(eps=config.adam_eps),
            _scale_by_falling_rate(config.learning_rate, config.learning_rate_end, steps),
        ),
    )


def _scale_by_falling_rate(start: float, end: float, steps: int) -> optax.GradientTransformationExtraArgs:
    """Multiplies by minus a rate that falls from `start` to `end`: over `steps` calls, or with `done` from 0 to 1."""
    by_calls, by_share = optax.linear_schedule(start, end, steps), optax.linear_schedule(start, end, 1)

    def init(params: optax.Params) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(count=jnp.zeros([], jnp.int32))

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None, *,
        done: jax.Array | None = None, **extra: object,
    ) -> tuple[optax.Updates, optax.OptState]:  # fmt: skip
        del params, extra
        assert isinstance(state, optax.ScaleByScheduleState)
        rate = jnp.asarray(by_calls(state.count) if done is None else by_share(done))

        def scale(leaf: jax.Array) -> jax.Array:
            return jnp.asarray(-rate, leaf.dtype) * leaf

        scaled: optax.Updates = jax.tree.map(scale, updates)
        return scaled, optax.ScaleByScheduleState(count=optax.safe_increment(state.count))

    return optax.GradientTransformationExtraArgs(init, update)
