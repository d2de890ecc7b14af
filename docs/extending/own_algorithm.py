"""A learning algorithm: the advantage actor-critic (A2C), one gradient step on each rollout and no teacher.

    python -m l4t_jax.run --import docs/extending/own_algorithm.py --env DoorKey-5x5 --algo a2c
    l4t_jax.train(imports="docs/extending/own_algorithm.py", env="DoorKey-5x5", algo="a2c")

The loss terms of `l4t_jax.agents.losses` take arrays, so any algorithm can use them.
"""

import jax
import jax.numpy as jnp
import optax

from l4t_jax import parallel
from l4t_jax.agents import losses
from l4t_jax.agents.algorithms import Algorithm, register_algorithm
from l4t_jax.agents.students import apply_student


class A2C(Algorithm):
    """Policy gradient with a value baseline. Source: Mnih et al. 2016."""

    name, label, colour = "a2c", "A2C", "#882255"  # on the command line, in tables, of its curves
    uses_teacher = False  # with True, `table` is the teacher; `agents/algorithms/l4t.py` shows what to do with it

    def update(self, setup, key, params, kept, rows, env_id, table, progress, axes):
        """One update from a rollout of T steps of N environments.

        `kept` is what the algorithm keeps between updates: by default the state of `setup.optimizer`.
        """
        config = setup.config
        advantage, target = losses.advantages(
            rows.reward, rows.value, rows.next_value, rows.terminated, rows.truncated, config.gamma, config.gae_lambda
        )  # (T, N)
        advantage = losses.normalise(advantage, axis=axes.mesh)

        def loss(params):
            _, logits, value = apply_student(setup.student, params, rows.carry, rows.observation, rows.reset)
            log_pi = losses.log_policy(logits)  # (actions, T, N)
            policy = -jnp.mean(losses.log_probability(log_pi, rows.action) * advantage)
            error = jnp.mean(jnp.square(value - target))
            entropy = jnp.mean(losses.entropy(log_pi))
            total = policy + config.value_coef * error - config.entropy_coef * entropy
            return total, dict(loss=total, policy_loss=policy, value_loss=error, entropy=entropy)

        gradient, terms = jax.grad(loss, has_aux=True)(params)
        if axes.mesh is not None:  # the environments are spread over devices
            gradient, terms = parallel.mean((gradient, terms), axes.mesh)
        change, kept = setup.optimizer.update(gradient, kept, params)
        return optax.apply_updates(params, change), kept, terms


register_algorithm(A2C())
