"""Skills: what plans are made of. `base` says what one is, `explore` and `objects` hold the built-in ones, `paths`
finds ways, `plan_codes` codes the steps of plans, `actions` says what every step would do now.
"""

from l4t_jax.skills import explore, objects

__all__ = ["explore", "objects"]  # imported for their registration
