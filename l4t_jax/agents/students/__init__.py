"""Student networks: the protocol and registry (`base`), the paper's (`paper`), the default (`ego`).

Device package: imports `envs` and `kernels`.
"""

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
from l4t_jax.agents.students.ego import EgoMLP
from l4t_jax.agents.students.paper import PaperCNN, PaperLSTM

__all__ = [
    "Carry", "StudentNetwork", "is_recurrent", "make_student", "prepare", "register_student", "run", "student_names",
]  # fmt: skip

register_student("ego", EgoMLP)
register_student("cnn", PaperCNN)
register_student("lstm", PaperLSTM)
