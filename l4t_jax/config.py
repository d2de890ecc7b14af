"""Every setting of a run: `Config` is what a user says, `Settings` what a run has; command lines are made from them.

Imports nothing of the package but its errors. A preset is a set of values for the settings that are left at None: what
a user gives always wins (`Config.resolved`). Messages name a setting in backticks; a command writes its option.
"""

# pyright: reportGeneralTypeIssues=false
# `Settings` takes defaults away from fields of `Config`; all of its fields are keyword-only, so that is sound.
from __future__ import annotations

import dataclasses
import math
import os
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from l4t_jax.errors import ConfigError, takes
from l4t_jax.presets import PRESETS, TOTAL_STEPS

Preset = Literal["fast", "frugal", "paper"]
LARGEST = 2**40  # of any number: what is beyond is a slip, and overflows somewhere
# Of sizes that are allocated or counted in 32 bits: what is beyond fits no machine.
MOST = {
    "num_seeds": 2**20, "epochs": 2**16, "warmup_updates": 2**31 - 1, "warmup_epochs": 2**16, "hidden": 2**16,
    "level_pool": 2**24, "evaluations": 1_000_000, "validation_levels": 1_000_000, "heldout_levels": 1_000_000,
    "devices": 2**16, "least_steps": 2**24,
}  # fmt: skip
AT_LEAST_1 = (
    "num_seeds", "total_steps", "num_envs", "num_steps", "epochs", "warmup_epochs", "minibatches", "hidden",
    "level_pool", "evaluations", "validation_levels", "heldout_levels", "distill_updates", "least_steps",
    "minibatch_size",
)  # fmt: skip
ABOVE_0 = ("learning_rate", "adam_eps", "clip", "max_grad_norm")
NOT_BELOW_0 = (
    "save_every", "warmup_updates", "bonus", "learning_rate_end", "entropy_coef", "value_coef", "distill_coef",
    "distill_floor",
)  # fmt: skip
FROM_0_TO_1 = ("gamma", "gae_lambda", "greedy_share", "distill_fall", "distill_off")
# Settings that do not decide what a run comes to.
MAY_CHANGE = ("run_dir", "save_every", "devices", "wandb", "price", "max_calls", "max_cost")


@dataclasses.dataclass(frozen=True)
class Import:
    """An extension that a run was made with.

    Attributes:
        name: the absolute path of a file, or the name of a module.
        sha256: of its file.
    """

    name: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a training run. Those that show None take their value from the preset."""

    env: str = "SimpleDoorKey"
    """Task to learn; `python -m l4t_jax.tasks` names them all."""
    imports: tuple[str | Import, ...] = ()
    """A Python file or a module of yours that registers tasks, skills, students, observations, algorithms or backends;
    may be repeated."""
    algo: str = "l4t"
    """l4t: PPO with a distillation loss that fades. ppo: PPO alone, no teacher. hrl: PPO over the
    teacher's skills as options, no teacher. distill: distillation alone, no reward."""
    teacher: str = "shipped"
    """shipped (the task's own teacher file), skills (no plans: its skills at random), none, file:PATH, or an LLM, asked
    before training: transformers:MODEL (a hub id, a folder, a .gguf file, a package that carries one) or openai:MODEL
    (any OpenAI-compatible server)."""
    teacher_mode: Literal["soft", "hard"] = "soft"
    """soft: labels are the teacher's action distribution. hard: one plan is sampled each step; its action is the
    label."""
    preset: Preset = "fast"
    """fast: least wall-clock. frugal: fewest environment steps. paper: the paper's network, losses and schedule."""
    student: str | None = None
    """ego: MLP on a view centred on and turned with the agent. cnn: the paper's. lstm: the paper's recurrent one. gru:
    a recurrent one that reads what ego reads, for `observation=view`."""
    observation: str | None = None
    """What the student observes: map: all that the agent has seen in the episode. view: what it sees now, MiniGrid's
    own view, for a recurrent student. The teacher always reads the map."""
    student_from: str | None = None
    """Folder of a run whose last students this run starts from (each of its seeds from one of them in turn), or the
    name of a trained student; on the same task or on another with the same objects. Their network is taken over; their
    optimizer is not."""
    seed: int = 0
    """Seed of the run; it fixes the run on one device and version."""
    num_seeds: int = 1
    """Independent students trained in one program, with seeds derived from the run's; side by side, or with
    `rollouts=episodes` in turn."""
    total_steps: int | None = None
    """Environment steps to train for, of each seed. The last update is a whole one, so that there may be a few more."""
    num_envs: int | None = None
    """Environments that run side by side."""
    rollouts: Literal["steps", "episodes"] | None = None
    """What is played between updates. steps: `num_steps` of each environment. episodes: one whole episode of each
    environment, then further ones until there are `least_steps` steps."""
    num_steps: int | None = None
    """Steps each environment takes between updates, with `rollouts=steps`; at most the task's max_steps."""
    least_steps: int = 256
    """Fewest steps between updates, of all environments together, with `rollouts=episodes`."""
    greedy_share: float | None = None
    """Share of the environments in which the student takes its most probable action while training, so that it meets
    its own loops and leaves them. In the others its actions are drawn."""
    learning_rate: float | None = None
    """Adam's learning rate at the start."""
    learning_rate_end: float | None = None
    """Adam's learning rate at the end; it falls linearly."""
    adam_eps: float | None = None
    """Adam's epsilon."""
    epochs: int | None = None
    """Passes over a rollout in each update."""
    warmup_updates: int | None = None
    """Warm-up: the first so many updates make `warmup_epochs` passes instead of `epochs`, as long as success in
    training is below half of the teacher's. Without a teacher there is none."""
    warmup_epochs: int | None = None
    """Passes over a rollout in each update of the warm-up."""
    minibatches: int | None = None
    """Minibatches a pass; divides the steps between updates (of a recurrent student, the environments)."""
    minibatch_size: int = 128
    """Steps of a minibatch, with `rollouts=episodes`; what is left over at the end of a pass is dropped. Not for
    recurrent students, which have `minibatches` of whole environments."""
    gamma: float = 0.99
    """Discount."""
    gae_lambda: float | None = None
    """Lambda of the generalised advantage estimate; 1 is the paper's discounted return."""
    clip: float = 0.2
    """PPO's clipping range, of the policy ratio and of the value."""
    entropy_coef: float | None = None
    """Weight of the entropy bonus."""
    bonus: float = 0.0
    """Weight of an episodic count bonus, added to the reward while training: 1 / sqrt(n) at the n-th visit of a place
    in an episode. 0: none. Returns are always the task's."""
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
    nears the teacher's own; a teacher that is no better than a random policy gets weight 0."""
    trust: Literal["whole", "part", "state"] = "part"
    """With `anneal=success`. whole: labels are the teacher's actions. part: they are mixed with steps at random where
    the teacher alone succeeds more often so. state: also, in each symbolic state the weight of each step, and of the
    labels, follows what it has been worth to the student."""
    distill_fall: float | None = None
    """Share of the run over which the weight falls."""
    distill_off: float | None = None
    """Share of the run after which the weight is 0."""
    distill_updates: int | None = None
    """Updates that these shares are of; all of the run's, except in preset paper. Where updates differ in their steps
    and this is not said, the shares are of the run's steps."""
    hidden: int | None = None
    """Width of the student's hidden layers."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number type of the student's matrix products; parameters stay float32."""
    devices: int | None = None
    """Devices to spread the environments over; as many as there are and divide their number by default. One with
    `rollouts=episodes`."""
    kernels: Literal["auto", "reference", "portable", "cpu", "gpu", "tpu"] = "auto"
    """How programs are tuned: auto: for the platform they run on. reference: the plain form of everything, slow.
    portable: packed words without a processor's own layouts. cpu, gpu, tpu: for such a processor."""
    level_pool: int = 2048
    """Training levels at hand at a time; each block of updates draws new ones."""
    evaluations: int | None = None
    """How often success on the validation levels is measured while training."""
    validation_levels: int = 512
    """Levels of each such measurement."""
    heldout_levels: int = 1000
    """Held-out levels of the evaluation after training."""
    levels_from: str | None = None
    """A level file (`python -m l4t_jax.tasks export` writes one), the first levels of which are the held-out ones; by
    default they are the task's own, the same for everyone."""
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
    ask_when: Literal["auto", "before", "met"] = "auto"
    """When an LLM is asked. before: about all symbolic states, before training. met: while training, about those that
    were met. auto: before, if the task has at most 4096 of them."""
    samples: int = 10
    """Answers drawn from an LLM for each symbolic state (where answers are drawn)."""
    temperature: float = 1.0
    """Temperature of an LLM's answers (where answers are drawn)."""
    constrain: Literal["auto", "off"] = "auto"
    """auto: an LLM's answers are kept to known plans where it can. off: free text (where answers are drawn)."""
    divide_prior: float = 0.0
    """Divide the likelihood of a plan by that under a state that says nothing, to this power (likelihoods only)."""
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
    price: tuple[float, float] | None = None
    """Dollars per million input tokens and per million output tokens of an LLM, to count the cost in dollars."""
    max_calls: int | None = None
    """Stop before an LLM is called more often than this; its answers are kept."""
    max_cost: float | None = None
    """Stop before more dollars than this are spent on an LLM; its answers are kept. Needs `price`."""

    def __post_init__(self) -> None:
        """numpy's numbers become Python's, paths become words, and `~` the home folder."""
        for field in dataclasses.fields(self):
            value = _as_python(getattr(self, field.name))
            if field.name == "imports":
                value = _as_imports(value)
            elif field.name == "price" and isinstance(value, list):  # from JSON
                value = tuple(value)
            elif isinstance(value, str):
                value = with_home(value)
            object.__setattr__(self, field.name, value)

    def check_kinds(self) -> None:
        """Raises `ConfigError` unless every value is of its field's kind, or None where that is the default."""
        _check_kinds(shallow(self))

    def resolved(self, max_steps: int, student: Mapping[str, Any] | None = None) -> Settings:
        """The same with the preset's values in place of None, checked.

        Args:
            max_steps: of the task: rollouts are no longer than an episode can be.
            student: settings that the run's student has defaults of its own for; they replace the preset's.

        Raises:
            ConfigError: a value is out of range; the message names one that would do.
        """
        self.check_kinds()
        given = shallow(self)
        values = {"observation": "map"} | PRESETS[self.preset]
        values["total_steps"] = TOTAL_STEPS.get(self.env, {}).get(self.preset, values["total_steps"])
        values |= student or {}
        values["num_steps"] = min(values["num_steps"], max_steps)
        values |= {name: value for name, value in given.items() if value is not None}
        resolved: dict[str, Any] = {name: values.get(name) for name in given}
        settings = Settings(**resolved)
        settings.check(max_steps)
        return settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Config):
    """The settings of a run, resolved: what a preset decides is decided. See `Config` for what each means."""

    student: str
    observation: str
    total_steps: int
    num_envs: int
    rollouts: Literal["steps", "episodes"] = "steps"  # of the runs before it was a setting
    num_steps: int
    greedy_share: float
    learning_rate: float
    learning_rate_end: float
    adam_eps: float = 1e-5  # of the runs before it was a setting
    epochs: int
    warmup_updates: int = 0  # of the runs before these were settings
    warmup_epochs: int = 1
    minibatches: int
    gae_lambda: float
    entropy_coef: float
    distill_coef: float
    distill_floor: float
    anneal: Literal["clock", "success"]
    distill_fall: float
    distill_off: float
    hidden: int
    evaluations: int

    def resolved(self, max_steps: int, student: Mapping[str, Any] | None = None) -> Settings:
        """The same, checked for a task of so many steps; see `Config.resolved`."""
        self.check(max_steps)
        return self

    @property
    def steps(self) -> int:
        """`num_steps`."""
        return self.num_steps

    def check(self, max_steps: int) -> None:
        """Raises `ConfigError` unless every value is in range; see `check_minibatches` for what a student decides."""
        values = shallow(self)
        _check_kinds(values, resolved=True)
        for name, value in values.items():
            _check_range(name, value)
        if self.rollouts == "episodes":
            self._check_episodes()
            return
        if self.num_steps > max_steps:
            raise ConfigError(
                f"`num_steps` must be at most {max_steps}, the steps of an episode of {self.env}, not {self.num_steps}"
            )
        updates = -(-self.total_steps // (self.num_envs * self.num_steps))
        warm = min(self.warmup_updates, updates)
        times = (updates * self.epochs + warm * max(self.warmup_epochs - self.epochs, 0)) * self.minibatches
        if times >= 2**31:
            warmup = f"the first {warm} with `warmup_epochs={self.warmup_epochs}`, " if warm else ""
            raise ConfigError(
                f"`total_steps={self.total_steps}` would change the student {times} times ({updates} updates, "
                f"`epochs={self.epochs}`, {warmup}`minibatches={self.minibatches}`); at most {2**31 - 1} can be counted"
            )

    def _check_episodes(self) -> None:
        """The same for what rollouts of whole episodes cannot be."""
        if self.devices not in (None, 1):
            raise ConfigError(f"`rollouts=episodes` is for one device, not `devices={self.devices}`")
        if self.trust == "state" and self.anneal == "success":
            raise ConfigError("`trust=state` is for `rollouts=steps`; `trust=part` would do")
        passes, of = self.epochs, f"`epochs={self.epochs}`"
        if self.warmup_updates and self.warmup_epochs > passes:  # its updates may be all of the run's
            passes, of = self.warmup_epochs, f"`warmup_epochs={self.warmup_epochs}`"
        times = passes * (self.total_steps // self.minibatch_size)
        if max(times, self.total_steps) >= 2**31:
            raise ConfigError(
                f"`total_steps={self.total_steps}` are {self.total_steps} steps and change the student up to {times} "
                f"times (with {of}); at most {2**31 - 1} can be counted"
            )

    def check_minibatches(self, recurrent: bool) -> None:
        """Raises `ConfigError` unless minibatches divide what they cut: a recurrent student's environments, else steps.

        Args:
            recurrent: whether the run's student is.
        """
        if self.rollouts == "episodes" and not recurrent:
            if self.minibatch_size > self.least_steps:
                raise ConfigError(
                    f"`minibatch_size` must be at most `least_steps={self.least_steps}`, not {self.minibatch_size}"
                )
            return
        name = "num_envs" if recurrent else "num_steps"
        divided, wanted = getattr(self, name), self.minibatches
        if divided % wanted:
            small = [m for m in range(1, math.isqrt(divided) + 1) if divided % m == 0]
            near = min((*small, *(divided // m for m in small)), key=lambda m: (abs(m - wanted), m))
            raise ConfigError(f"`minibatches` must divide `{name}={divided}`; {near} would, {wanted} does not")


def shallow(config: Config) -> dict[str, Any]:
    """The settings by name, as they are (`dataclasses.asdict` makes dicts of the imports)."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def with_home(path: str | os.PathLike[str]) -> str:
    """A path or another word; its `~`, at the start or behind the colon of `file:~/mine.json`, is the home folder."""
    word = os.fspath(path)
    kind, colon, rest = word.partition(":")
    try:
        return kind + colon + os.path.expanduser(rest) if rest.startswith("~") else os.path.expanduser(word)
    except ValueError:  # `~` and then what no user's name can hold
        return word


def unknown_choice(setting: str, value: object, choices: Sequence[str]) -> NoReturn:
    """Refuses a name that is not registered.

    Raises:
        ConfigError: with the near matches and all choices.
    """
    raise ConfigError(f"`{setting}` cannot be {value!r}; {takes(str(value), choices)}")


def _as_python(value: Any) -> Any:
    """numpy's scalars as Python's numbers, paths as words, the rest as it is."""
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _as_imports(value: Any) -> Any:
    """Imports as a tuple of words and `Import`s; what is none of these is refused when the settings are checked."""
    if isinstance(value, str | os.PathLike | Import | Mapping):
        value = (value,)
    if not isinstance(value, list | tuple):
        return value

    def one(item: Any) -> Any:
        if isinstance(item, Mapping) and set(item) == {"name", "sha256"}:
            return Import(**item)
        return _as_python(item)

    return tuple(one(item) for item in value)


def _check_kinds(values: dict[str, Any], resolved: bool = False) -> None:
    """Raises `ConfigError` unless every value is of its field's kind, or None where that is the default."""
    for name, hint in get_type_hints(Settings if resolved else Config).items():
        value = values[name]
        if name == "imports":
            if not isinstance(value, tuple) or not all(isinstance(one, str | Import) for one in value):
                raise ConfigError(f"`imports` must be Python files or modules, not {value!r}")
            continue
        kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        if value is None and type(None) in kinds:
            continue
        kind = next(one for one in kinds if one is not type(None))
        if get_origin(kind) is tuple:
            number = len(get_args(kind))
            if not isinstance(value, tuple) or [type(one) in (int, float) for one in value] != [True] * number:
                raise ConfigError(f"`{name}` must be {number} numbers, not {value!r}")
        elif get_origin(kind) is Literal:
            if not isinstance(value, str) or value not in get_args(kind):
                raise ConfigError(f"`{name}` must be one of {', '.join(get_args(kind))}, not {value!r}")
        elif kind is str:
            if not isinstance(value, str):
                raise ConfigError(f"`{name}` must be a word, not {value!r}")
        elif isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
            raise ConfigError(f"`{name}` must be a {'whole ' if kind is int else ''}number, not {value!r}")
        elif not -LARGEST <= value <= LARGEST:  # nan is not either
            raise ConfigError(f"`{name}` must be a number of at most {LARGEST:g}, not {value!r}")


def _check_range(name: str, value: Any) -> None:
    """Raises `ConfigError` unless a number is in its setting's range."""
    if value is None:
        return
    if name in AT_LEAST_1 and value < 1:
        raise ConfigError(f"`{name}` must be at least 1, not {value}")
    if name in MOST and value > MOST[name]:
        raise ConfigError(f"`{name}` must be at most {MOST[name]}, not {value}")
    if name in ABOVE_0 and value <= 0:
        raise ConfigError(f"`{name}` must be above 0, not {value:g}")
    if name in NOT_BELOW_0 and value < 0:
        raise ConfigError(f"`{name}` must not be below 0, not {value:g}")
    if name in FROM_0_TO_1 and not 0 <= value <= 1:
        raise ConfigError(f"`{name}` must be from 0 to 1, not {value:g}")
    if name == "seed" and not 0 <= value < 2**31:
        raise ConfigError(f"`seed` must be from 0 to {2**31 - 1}, not {value}")
