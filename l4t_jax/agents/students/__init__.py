"""Student networks: the protocol and registry (`base`), the paper's (`paper`), the default (`ego`), `gru` for views.

Device package: imports `config`, `envs` and `kernels`.
"""

from l4t_jax.agents.students.base import (
    Carry,
    RegisteredStudent,
    StudentNetwork,
    apply_student,
    get_student,
    is_recurrent,
    make_student,
    prepare,
    prepares,
    register_student,
    student_names,
)
from l4t_jax.agents.students.ego import EgoMLP
from l4t_jax.agents.students.gru import EgoGRU
from l4t_jax.agents.students.paper import PaperCNN, PaperLSTM

__all__ = [
    "Carry", "RegisteredStudent", "StudentNetwork", "apply_student", "get_student", "is_recurrent", "make_student",
    "prepare", "prepares", "register_student", "student_names",
]  # fmt: skip

register_student("ego", EgoMLP)
register_student("cnn", PaperCNN, defaults=dict(hidden=64))
register_student("lstm", PaperLSTM, defaults=dict(hidden=256))
register_student("gru", EgoGRU)
