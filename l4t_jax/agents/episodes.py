"""A rollout of whole episodes, as the reference system collects them; `rollout` is the one of a fixed number of steps.

Device module. Every environment plays one episode to its end. If these have fewer steps than are wanted, further
episodes are played one after the other, each by the next environment in turn, until there are enough. So which episodes
a rollout holds does not depend on how long they are, beyond the number of the further ones. The loop takes as many
turns as the episodes need. Rows in which an environment does not play are padding (`Rollout.valid`).
"""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp

from l4t_jax.agents.rollout import Envs, Play, Rollout, random_words, where_done
from l4t_jax.agents.trees import zeros_of


def most_rows(num_envs: int, max_steps: int, least_steps: int) -> int:
    """The most turns that a rollout can take: T of the rows that are kept.

    The first episodes take L turns and have at least L + num_envs - 1 steps. Further ones begin while there are fewer
    than `least_steps` steps, and the last takes `max_steps` at most.
    """
    return max_steps + max(0, least_steps - num_envs)


def most_steps(num_envs: int, max_steps: int, least_steps: int) -> int:
    """The most steps that a rollout can have."""
    return max(num_envs * max_steps, least_steps - 1 + max_steps)


def episodes(play: Play, key: jax.Array, envs: Envs, least_steps: int) -> tuple[Envs, Rollout]:
    """Plays one episode in every environment, and further ones until there are `least_steps` steps.

    Args:
        play: how the student plays.
        key: random key.
        envs: N environments, each at the start of an episode.
        least_steps: of all environments together.

    Returns:
        The environments afterwards, each at the start of another episode, and the rows, leading axes (T, N) with T of
        `most_rows`.
    """
    env, number = play.env, envs.t.shape[0]
    turns = most_rows(number, env.max_steps, least_steps)

    def step(envs: Envs, playing: jax.Array, key: jax.Array) -> tuple[Envs, dict[str, Any]]:
        after, row, reached = play.step(envs, key, random_words(key, envs.env_id))
        cut = row["truncated"] & playing

        def values() -> jax.Array:  # of the true final states
            observed = play.observation.of(env)(reached)
            return play.value((after.carry, observed, jnp.zeros_like(envs.reset)[None]))[0]

        cut_value = cast(jax.Array, jax.lax.cond(jnp.any(cut), values, lambda: jnp.zeros_like(row["value"])))
        return where_done(playing, after, envs), row | dict(next_value=cut_value, valid=playing)

    def turn(state: tuple[Any, ...]) -> tuple[Any, ...]:
        index, envs, playing, steps, further, rows = state
        envs, row = step(envs, playing, jax.random.fold_in(key, index))

        def put(whole: jax.Array, one: jax.Array) -> jax.Array:
            return cast(jax.Array, jax.lax.dynamic_update_index_in_dim(whole, one, index, 0))

        rows = jax.tree.map(put, rows, row)
        steps = steps + jnp.sum(playing, dtype=jnp.int32)
        playing = playing & ~(row["terminated"] | row["truncated"])
        more = ~jnp.any(playing) & (steps < least_steps)
        playing = playing | (more & (jnp.arange(number) == further % number))
        return index + 1, envs, playing, steps, further + more, rows

    playing = jnp.ones(number, bool)

    def of_all_turns(row: jax.Array) -> jax.Array:
        return jnp.broadcast_to(row, (turns, *row.shape))

    nothing = jax.tree.map(of_all_turns, zeros_of(step, envs, playing, key)[1])
    start = jnp.int32(0), envs, playing, jnp.int32(0), jnp.int32(0), nothing
    _, after, _, _, _, rows = jax.lax.while_loop(lambda state: jnp.any(state[2]), turn, start)
    later = jnp.concatenate([rows["value"][1:], jnp.zeros_like(rows["value"][:1])])
    rows["next_value"] = jnp.where(rows["truncated"], rows["next_value"], later)
    return after, Rollout(carry=envs.carry, observes_memory=play.stores_map, **rows)
