"""How other libraries reach the tasks: `import_hooks` tells navix and Gymnasium of them, `gym_envs` is Gymnasium's own.

Imports nothing: `import l4t_jax` comes through here. navix's form is `envs.navix`, which the trainer steps itself.
"""
