"""Student networks: the protocol and registry (`base`), the paper's (`paper`), the default (`ego`).

Device package: imports `envs` and `kernels`.
"""

from l4t_jax.agents.students import ego, paper  # noqa: F401  (registered in this order)
from l4t_jax.agents.students.base import (
    Carry,
    StudentNetwork,
    is_recurrent,
    make_student,
    prepare,
    register_student,
    run,
    student_names,
)

__all__ = [
    "Carry", "StudentNetwork", "is_recurrent", "make_student", "prepare", "register_student", "run", "student_names",
]  # fmt: skip
