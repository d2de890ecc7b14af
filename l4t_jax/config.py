"""Every setting of a run, in one frozen dataclass; the command line is made from it.

Imports nothing of the package but its errors. A preset is a set of values for the settings that are left at None: what
a user gives always wins (`Config.resolved`).
"""

from __future__ import annotations

import dataclasses
import math
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from l4t_jax.errors import ConfigError

Algo = Literal["l4t", "ppo", "hrl", "distill"]
Preset = Literal["fast", "frugal", "paper"]
StudentName = Literal["ego", "cnn", "lstm"]
LARGEST = 2**40  # of any number: what is beyond is a slip, and overflows somewhere
# Of sizes that are allocated or counted in 32 bits: what is beyond fits no machine.
MOST = {
    "num_seeds": 2**20, "epochs": 2**16, "hidden": 2**16, "level_pool": 2**24,
    "evaluations": 1_000_000, "validation_levels": 1_000_000, "heldout_levels": 1_000_000, "devices": 2**16,
}  # fmt: skip
MAY_CHANGE = ("run_dir", "save_every", "devices", "wandb")  # settings that do not decide what a run comes to


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a training run. Those that show None take their value from the preset."""

    env: str = "SimpleDoorKey"
    """Task to learn; --list-tasks names them all."""
    algo: Algo = "l4t"
    """l4t: PPO with a distillation loss that fades. ppo: PPO alone, no teacher. hrl: PPO over the
    teacher's skills as options, no teacher. distill: distillation alone, no reward."""
    teacher: str = "shipped"
    """shipped (the task's own teacher file), none, file:PATH, or an LLM, asked before training: transformers:MODEL (a
    hub id, a folder, a .gguf file, a package that carries one) or openai:MODEL (any OpenAI-compatible server)."""
    teacher_mode: Literal["soft", "hard"] = "soft"
    """soft: labels are the teacher's action distribution. hard: one plan is sampled each step; its action is the
    label."""
    preset: Preset = "fast"
    """fast: least wall-clock. frugal: fewest environment steps. paper: the paper's network, losses and schedule."""
    student: StudentName | None = None
    """ego: MLP on a view centred on and turned with the agent. cnn: the paper's. lstm: the paper's recurrent one."""
    seed: int = 0
    """Seed of the run; it fixes the run on one device and version."""
    num_seeds: int = 1
    """Independent students trained side by side in one program, with seeds derived from --seed."""
    total_steps: int | None = None
    """Environment steps to train for, of each seed. Rounded up to whole updates."""
    num_envs: int | None = None
    """Environments that run side by side."""
    num_steps: int | None = None
    """Steps each environment takes between updates; at most the task's max_steps."""
    learning_rate: float | None = None
    """Adam's learning rate at the start."""
    learning_rate_end: float | None = None
    """Adam's learning rate at the end; it falls linearly."""
    epochs: int | None = None
    """Passes over a rollout in each update."""
    minibatches: int | None = None
    """Minibatches a pass; divides --num-steps (--num-envs for a recurrent student)."""
    gamma: float = 0.99
    """Discount."""
    gae_lambda: float | None = None
    """Lambda of the generalised advantage estimate; 1 is the paper's discounted return."""
    clip: float = 0.2
    """PPO's clipping range, of the policy ratio and of the value."""
    entropy_coef: float | None = None
    """Weight of the entropy bonus."""
    value_coef: float = 0.5
    """Weight of the value loss."""
    max_grad_norm: float = 0.5
    """Gradients are scaled down to this global norm."""
    distill_coef: float | None = None
    """Weight of the distillation loss at the start."""
    distill_floor: float | None = None
    """Weight at the end of its linear fall."""
    anneal: Literal["clock", "success"] | None = None
    """clock: the distillation weight falls with the steps alone. success: also as the student's success in training
    nears the teacher's own; a teacher that is no better than chance is not listened to."""
    distill_fall: float | None = None
    """Share of the run over which the weight falls."""
    distill_off: float | None = None
    """Share of the run after which the weight is 0."""
    hidden: int | None = None
    """Width of the student's hidden layers."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number type of the student's matrix products; parameters stay float32."""
    devices: int | None = None
    """Devices to spread the environments over; as many as there are and divide --num-envs by default."""
    level_pool: int = 2048
    """Training levels at hand at a time; each block of updates draws new ones."""
    evaluations: int | None = None
    """How often success on the validation levels is measured while training."""
    validation_levels: int = 512
    """Levels of each such measurement."""
    heldout_levels: int = 1000
    """Held-out levels of the evaluation after training."""
    run_dir: str | None = None
    """Folder for the results; runs/TASK-ALGO-SEED by default."""
    wandb: str | None = None
    """Weights & Biases project to send the curves to as well."""
    save_every: float = 120.0
    """Seconds between two checkpoints while training, which are made after evaluations; 0: after each."""
    # How an LLM is asked and reached: some of the options of `python -m l4t_jax.teacher record`, by the same names.
    ask: Literal["score", "sample"] | None = None
    """An LLM as the teacher: score: the exact likelihood of every plan. sample: draw answers and parse them. By
    default, score where it can."""
    samples: int = 10
    """Answers drawn from an LLM for each symbolic state (--ask sample)."""
    temperature: float = 1.0
    """Temperature of an LLM's answers (--ask sample)."""
    constrain: Literal["auto", "off"] = "auto"
    """auto: an LLM's answers are kept to known plans where it can. off: free text (--ask sample)."""
    divide_prior: float = 0.0
    """Divide a plan's likelihood by that under a state that says nothing, to this power (--ask score)."""
    prompt: str | None = None
    """File with an LLM's prompt; the task's own by default."""
    base_url: str | None = None
    """Server of openai:MODEL; OPENAI_BASE_URL or OpenAI's own by default."""
    timeout: float = 60.0
    """Seconds that one request to a server may take."""
    retries: int = 4
    """How often a request that failed for a passing reason is sent again."""
    concurrency: int = 8
    """Requests to a server under way at a time."""
    extra: str = "{}"
    """Further fields of each request to a server, as JSON."""
    cache: str | None = None
    """Folder in which an LLM's answers are kept; L4T_CACHE or ~/.cache/l4t_jax/answers by default."""

    def resolved(self, max_steps: int) -> Config:
        """The same with the preset's values in place of None, checked.

        Args:
            max_steps: of the task: rollouts are no longer than an episode can be.

        Raises:
            ConfigError: a value is out of range, or sizes do not divide; the message names a value that would do.
        """
        _check_kinds(dataclasses.asdict(self))
        values = dict(PRESETS[self.preset])
        values["total_steps"] = TOTAL_STEPS.get(self.env, {}).get(self.preset, values["total_steps"])
        if self.student is not None:
            values |= STUDENTS.get(self.student, {})
        values |= {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        config = dataclasses.replace(self, **values)
        if self.num_steps is None:
            config = dataclasses.replace(config, num_steps=min(config.steps, max_steps))
        config.check(max_steps)
        return config

    @property
    def taught(self) -> bool:
        """Whether the run learns from a teacher."""
        return self.teacher != "none" and self.algo not in ("ppo", "hrl")

    @property
    def steps(self) -> int:
        """`num_steps` of a resolved config."""
        assert self.num_steps is not None
        return self.num_steps

    def check(self, max_steps: int) -> None:
        """Raises `ConfigError` unless every value of a resolved config is in range."""

        def require(condition: bool, message: str) -> None:
            if not condition:
                raise ConfigError(message)

        values: dict[str, Any] = dataclasses.asdict(self)
        _check_kinds(values)
        for name in (
            "num_seeds", "total_steps", "num_envs", "num_steps", "epochs", "minibatches", "hidden", "level_pool",
            "evaluations", "validation_levels", "heldout_levels",
        ):  # fmt: skip
            require(values[name] >= 1, f"--{name.replace('_', '-')} must be at least 1, not {values[name]}")
        for name, most in MOST.items():
            if values[name] is not None:
                option = "--" + name.replace("_", "-")
                require(values[name] <= most, f"{option} must be at most {most}, not {values[name]}")
        for name in ("learning_rate",):
            require(values[name] > 0, f"--{name.replace('_', '-')} must be above 0, not {values[name]:g}")
        for name in ("save_every", "learning_rate_end", "entropy_coef", "value_coef", "distill_coef", "distill_floor"):
            require(values[name] >= 0, f"--{name.replace('_', '-')} must not be below 0, not {values[name]:g}")
        for name in ("gamma", "gae_lambda", "distill_fall", "distill_off"):
            require(
                0 <= values[name] <= 1,
                f"--{name.replace('_', '-')} must be from 0 to 1, not {values[name]:g}",
            )
        for name in ("clip", "max_grad_norm"):
            require(values[name] > 0, f"--{name.replace('_', '-')} must be above 0, not {values[name]:g}")
        require(0 <= self.seed < 2**31, f"--seed must be from 0 to {2**31 - 1}, not {self.seed}")
        require(
            self.steps <= max_steps,
            f"--num-steps must be at most {max_steps}, the steps of an episode of {self.env}, not {self.num_steps}",
        )
        divided, what = (self.num_envs, "--num-envs") if self.student == "lstm" else (self.num_steps, "--num-steps")
        assert divided is not None and self.minibatches is not None
        wanted = self.minibatches
        if divided % wanted:
            small = [m for m in range(1, math.isqrt(divided) + 1) if divided % m == 0]
            near = min((*small, *(divided // m for m in small)), key=lambda m: (abs(m - wanted), m))
            raise ConfigError(f"--minibatches must divide {what} {divided}; {near} would, {wanted} does not")
        assert self.num_envs is not None and self.total_steps is not None
        assert self.epochs is not None
        updates = -(-self.total_steps // (self.num_envs * self.steps))
        times = updates * self.epochs * self.minibatches
        require(
            times < 2**31,
            f"--total-steps {self.total_steps} would change the student {times} times ({updates} updates, --epochs "
            f"{self.epochs}, --minibatches {self.minibatches}); at most {2**31 - 1} can be counted",
        )
        if self.algo in ("l4t", "distill"):
            require(self.teacher != "none", f"--algo {self.algo} needs a teacher; --algo ppo runs without one")


def _check_kinds(values: dict[str, Any]) -> None:
    """Raises `ConfigError` unless every value is of its field's kind, or None where that is the default."""
    for name, hint in get_type_hints(Config).items():
        value, option = values[name], "--" + name.replace("_", "-")
        kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        if value is None and type(None) in kinds:
            continue
        kind = next(one for one in kinds if one is not type(None))
        if get_origin(kind) is Literal and name != "student":  # others can be added to those (`register_student`)
            if not isinstance(value, str) or value not in get_args(kind):
                raise ConfigError(f"{option} must be one of {', '.join(get_args(kind))}, not {value!r}")
        elif kind is str or name == "student":
            if not isinstance(value, str):
                raise ConfigError(f"{option} must be a word, not {value!r}")
        elif isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
            raise ConfigError(f"{option} must be a {'whole ' if kind is int else ''}number, not {value!r}")
        elif not -LARGEST <= value <= LARGEST:  # nan is not either
            raise ConfigError(f"{option} must be a number of at most {LARGEST:g}, not {value!r}")


# The figures that decided are in docs/training.md, those to expect are from benchmarks/results: reproduce (five seeds,
# 1,000 held-out levels each) and time-to-result-SimpleDoorKey-cpu.json. "To 0.90": environment steps until validation
# success was 0.90 twice in a row, median.
PRESETS: dict[str, dict[str, Any]] = {
    # python -m l4t_jax.run --env SimpleDoorKey
    #   21 s on two CPU cores, 11 s once its programs are kept; 2 s of them training.
    #   Success and return to expect: SimpleDoorKey 0.999, 0.876 (to 0.90: 41 thousand); LavaDoorKey 0.999, 0.873 (82);
    #   ColoredDoorKey 0.999, 0.876 (201); DivergedDoorKey 0.997, 0.752 (242); DoorKey-8x8 1.000, 0.976 (29).
    # A rollout of 128 x 32 steps reaches 0.95 on SimpleDoorKey at 24 thousand steps, 256 x 32 at 46, 256 x 64 at 90
    # (learning rate 0.002) or 140 (0.001); clipping gradients at 5 changes nothing.
    "fast": dict(
        student="ego", total_steps=1_000_000, num_envs=128, num_steps=32, learning_rate=2e-3, learning_rate_end=2e-4,
        epochs=2, minibatches=8, gae_lambda=0.95, entropy_coef=0.001, distill_coef=1.0, distill_floor=0.0,
        anneal="success", distill_fall=0.5, distill_off=0.5, hidden=128, evaluations=20,
    ),
    # python -m l4t_jax.run --env SimpleDoorKey --preset frugal
    #   26 s on two CPU cores. To 0.90: SimpleDoorKey 7 thousand steps, LavaDoorKey 40, ColoredDoorKey 104,
    #   DivergedDoorKey 352, DoorKey-8x8 6. At the end: SimpleDoorKey 0.995, 0.839; LavaDoorKey 0.996, 0.857;
    #   ColoredDoorKey 0.995, 0.859; DivergedDoorKey 0.866, 0.630 (one seed of five at 0.336); DoorKey-8x8 1.000, 0.974.
    # 64 x 16 steps reach 0.95 on SimpleDoorKey at 11 thousand with 4 epochs, at 7 with 8.
    "frugal": dict(
        student="ego", total_steps=500_000, num_envs=64, num_steps=16, learning_rate=1e-3, learning_rate_end=1e-4,
        epochs=8, minibatches=4, gae_lambda=0.95, entropy_coef=0.001, distill_coef=1.0, distill_floor=0.0,
        anneal="success", distill_fall=0.5, distill_off=0.5, hidden=128, evaluations=100,
    ),
    # python -m l4t_jax.run --env SimpleDoorKey --preset paper
    #   Its 4 million steps take half an hour of training on two CPU cores (3 thousand steps a second) and were not run
    #   to their end; after 60 thousand: 0.013, 0.006 (the reference system: 0.69 in training after 105 thousand).
    "paper": dict(
        student="cnn", total_steps=4_000_000, num_envs=10, num_steps=128, learning_rate=1e-3, learning_rate_end=1e-3,
        epochs=3, minibatches=8, gae_lambda=1.0, entropy_coef=0.001, distill_coef=10.0, distill_floor=0.1,
        anneal="clock", distill_fall=0.66, distill_off=1.0, hidden=64, evaluations=40,
    ),
}  # fmt: skip

# Environment steps by task, where a task needs fewer or more than its preset says.
TOTAL_STEPS: dict[str, dict[str, int]] = {
    "SimpleDoorKey": {"fast": 400_000, "frugal": 64_000},
    "LavaDoorKey": {"fast": 800_000, "frugal": 400_000},
    "ColoredDoorKey": {"fast": 1_000_000, "frugal": 400_000},
    "DivergedDoorKey": {"fast": 1_200_000, "frugal": 800_000},
    "DoorKey-5x5": {"fast": 200_000, "frugal": 64_000},
    "DoorKey-6x6": {"fast": 200_000, "frugal": 64_000},
    "DoorKey-8x8": {"fast": 300_000, "frugal": 64_000},
    "DoorKey-16x16": {"fast": 600_000, "frugal": 200_000},
}

STUDENTS: dict[str, dict[str, Any]] = {
    "cnn": dict(hidden=64),
    "lstm": dict(hidden=256),
}
