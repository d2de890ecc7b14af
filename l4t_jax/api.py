"""Training and evaluating from Python: `train`, `evaluate`, `load_student`.

Host module. What a command or a notebook asks for is looked through here, and refused in one sentence where it cannot
be; the run itself is `loop.Run`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from l4t_jax import checkpoint, devices, measure, metrics, programs
from l4t_jax.checkpoint import CheckpointError, Which
from l4t_jax.config import Config, ConfigError
from l4t_jax.evaluation import Episodes, student_policy
from l4t_jax.loop import Interrupted, Result, Run, Teacher, memory_errors
from l4t_jax.metrics import RunFolderError, WandbError
from l4t_jax.networks import make_student
from l4t_jax.progress import Progress
from l4t_jax.tasks import Task, UnknownTask, get_task
from l4t_jax.teacher import file as teacher_file
from l4t_jax.teacher import listed, open_live, open_teacher
from l4t_jax.teacher.ask import Ask
from l4t_jax.teacher.backends import BackendError, Options
from l4t_jax.teacher.cache import CacheError
from l4t_jax.teacher.file import TeacherFileError
from l4t_jax.teacher.prompt import PromptError
from l4t_jax.trainer import Trainer
from l4t_jax.types import KnownMap, from_observation

__all__ = ["REFUSALS", "Interrupted", "Result", "Student", "evaluate", "load_student", "train"]

Simulator = Literal["jax", "minigrid"]

# What a command answers in one sentence; everything else is a bug and shows its traceback.
REFUSALS = (
    ConfigError, UnknownTask, TeacherFileError, RunFolderError, CheckpointError, WandbError, BackendError, PromptError,
    CacheError,
)  # fmt: skip


def train(config: Config | None = None, *, progress: Progress | None = None, **settings: Any) -> Result:
    """Trains students and measures them, as `python -m l4t_jax.run` does.

    Args:
        config: the settings; `Config()` if left out.
        progress: hears what happens; silent by default (`progress.make()` gives the command's).
        **settings: fields of `Config` that replace the config's.

    Raises:
        ConfigError, UnknownTask, TeacherFileError, RunFolderError: a setting cannot be, and what would do.
        BackendError, PromptError, CacheError: an LLM cannot be asked, or does not answer.
        Interrupted: Ctrl-C; the message says what is saved.
    """
    progress = progress or Progress()
    try:
        return _train(_with_settings(config or Config(), settings), progress)
    finally:
        progress.close()


def _with_settings(config: Config, settings: dict[str, Any]) -> Config:
    import difflib

    fields = [field.name for field in dataclasses.fields(Config)]
    for name in settings:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=3, cutoff=0.4)
            raise ConfigError(
                f"there is no setting {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
            )
    return dataclasses.replace(config, **settings)


def _train(config: Config, progress: Progress) -> Result:
    programs.keep_compiled()
    trainer = Trainer.create(config).spread()
    with contextlib.ExitStack() as stack:
        teacher = _load_teacher(trainer, progress, stack)
        return _run(trainer, teacher, progress)


def _run(trainer: Trainer, teacher: Teacher, progress: Progress) -> Result:
    config = trainer.config
    with _folder(config, f"runs/{trainer.task.name}-{config.algo}-{config.seed}") as folder:
        return _in_folder(folder, trainer, teacher, progress if devices.first() else Progress())


@contextlib.contextmanager
def _folder(config: Config, default: str) -> Iterator[Path]:
    """The run folder; of many processes only the first makes it, the others write what nobody keeps."""
    if not devices.first():
        if not devices.agreed(True):
            raise RunFolderError("the first process has no run folder; it says why")
        with tempfile.TemporaryDirectory(prefix="l4t-", ignore_cleanup_errors=True) as nowhere:
            yield Path(nowhere)
        return
    try:
        folder = metrics.new_folder(config.run_dir, default)
    except RunFolderError:
        devices.agreed(False)
        raise
    devices.agreed(True)
    yield folder


def _in_folder(folder: Path, trainer: Trainer, teacher: Teacher, progress: Progress) -> Result:
    config = trainer.config
    try:
        run = Run(trainer, teacher, folder, progress)
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()  # nothing is in it yet
        raise
    metrics.write(folder / metrics.CONFIG, dataclasses.asdict(config))
    if teacher.content is not None:
        metrics.write(folder / metrics.TEACHER, teacher.content)
    try:
        with memory_errors(config):
            run.train()
            return run.finish()
    finally:
        run.close()


def _load_teacher(trainer: Trainer, progress: Progress, stack: contextlib.ExitStack) -> Teacher:
    """A run's teacher; an LLM is asked here for all that it will be asked for, if that can be listed."""
    config, task = trainer.config, trainer.task
    spec = config.teacher
    if spec == "none" or config.algo in ("ppo", "hrl"):  # those learn without one
        return Teacher("none")
    if jax.process_count() > 1 and spec != "shipped" and not spec.startswith("file:"):
        raise ConfigError(f"many processes cannot share {spec}: `teacher record` first, and pass --teacher file:PATH")
    how = Ask.of(config), Options.of(config), config.cache, progress.notice
    if not listed(spec, task):
        live = stack.enter_context(open_live(spec, task, *how))
        return Teacher(f"{spec} (asked while training)", live.content, trainer.put(live.table), live)
    if spec != "shipped" and not spec.startswith("file:"):
        progress.phase(f"asking the teacher ({spec.partition(':')[0]})")
    try:
        content, name = open_teacher(spec, task, *how)
    except KeyboardInterrupt:
        raise Interrupted("stopped while the teacher was asked; its answers are kept as they come") from None
    assert content is not None
    return Teacher(name, content, trainer.put(teacher_file.to_table(task, content)))


# --- A run that is over -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Saved:
    """A run folder, read."""

    config: Config
    task: Task
    teacher: dict[str, Any] | None
    params: Any


def _open(run_dir: str | Path, which: Which) -> _Saved:
    folder = Path(run_dir)
    if not folder.is_dir():
        raise RunFolderError(
            f"there is no folder {folder}; give the folder that a run left, such as runs/SimpleDoorKey-l4t-0"
        )
    if not (folder / metrics.CONFIG).is_file():
        inner = sorted(path.parent.name for path in folder.glob(f"*/{metrics.CONFIG}"))
        hint = f"; did you mean {folder / inner[0]}?" if inner else f": it has no {metrics.CONFIG}"
        raise RunFolderError(f"{folder} is not a run folder{hint}")
    values = metrics.read(folder / metrics.CONFIG)
    try:
        config = Config(**values)
        task = get_task(config.env)
        config.check(task.max_steps)
    except (TypeError, ConfigError) as error:
        raise RunFolderError(f"{folder / metrics.CONFIG} does not hold a run's settings: {error}") from error
    teacher = None
    if (folder / metrics.TEACHER).is_file():
        teacher = teacher_file.load(folder / metrics.TEACHER)
    return _Saved(config=config, task=task, teacher=teacher, params=checkpoint.restore_params(folder, which))


def evaluate(
    run_dir: str | Path,
    *,
    boards: int | None = None,
    env: str | None = None,
    checkpoint: Which = "last",
    simulator: Simulator = "jax",
    watch: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measures a saved run's students again on held-out boards.

    Args:
        run_dir: the run folder.
        boards: how many; the run's own number by default, 10 to watch.
        env: another task that the same student can play; the run's own by default.
        checkpoint: "last", or "best" by success on the validation boards.
        simulator: "jax", or "minigrid": Farama's, on the first boards of its own that are in the test split.
        watch: shows the first student on MiniGrid in a window, sampled actions only; hears how each episode ended.

    Returns:
        `success`, `return` and `length` (means over boards and seeds, actions sampled), `boards`, `task`,
        `checkpoint`, `simulator`, `intervals` (95 %, all boards of all seeds taken together), `seeds` (the same
        three, a value a seed) and `greedy` (likewise, the most probable action taken; None if watched). On the run's
        own task, number of boards and simulator these are the numbers of `summary.json`.

    Raises:
        RunFolderError, CheckpointError: `run_dir` is not a run folder, or holds no student yet.
        UnknownTask, ConfigError: `env` is unknown or not for this student; `boards` is below 1; MiniGrid is not
            installed, does not know the task or has no display.
    """
    if watch is not None and simulator != "minigrid":
        raise ConfigError("--watch shows MiniGrid's own window; add --simulator minigrid")
    programs.keep_compiled()
    saved = _open(run_dir, checkpoint)
    if boards is None:
        boards = saved.config.heldout_boards if watch is None else 10
    if boards < 1:
        raise ConfigError(f"--boards must be at least 1, not {boards}")
    task = saved.task if env is None else get_task(env)
    steps = min(saved.config.steps, task.max_steps)
    config = dataclasses.replace(saved.config, env=task.name, num_steps=steps, devices=None)
    trainer = Trainer(config=config, task=task).spread()
    _check_fits(trainer, saved)
    sampled, greedy = _played(trainer, saved.params, boards, simulator, watch)
    pooled = measure.intervals(sampled)
    return metrics.strict(
        dict(
            task=task.name,
            boards=boards,
            checkpoint=checkpoint,
            simulator=simulator,
            **{name: mean for name, (mean, _, _) in pooled.items()},
            intervals={name: [low, high] for name, (_, low, high) in pooled.items()},
            seeds=measure.averages(sampled),
            greedy=None if greedy is None else measure.averages(greedy),
        )
    )


def _played(
    trainer: Trainer, params: Any, boards: int, where: Simulator, watch: Callable[[str], None] | None
) -> tuple[Episodes, Episodes | None]:
    """Sampled and, unless watched, greedy episodes, leading axes (seeds, boards)."""
    config = trainer.config
    if where == "minigrid":
        from l4t_jax import simulator

        key = measure.run_key(config.seed, "test")
        if watch is not None:
            return simulator.watch(trainer, params, key, boards, watch), None
        return simulator.measure(trainer, params, key, boards)
    players = measure.Measure(trainer, None, config.num_seeds, config.validation_boards)
    made = players.programs(params, {"test": boards}, pictures=False)
    del made["others"]
    players.use(programs.compile_all(made))
    sampled = players.students(params, config.seed, "test", boards)
    return sampled, players.students(params, config.seed, "test", boards, greedy=True)


def _check_fits(trainer: Trainer, saved: _Saved) -> None:
    """Raises `ConfigError` unless the saved parameters are those of the trainer's student."""
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    mine = {jax.tree_util.keystr(path): x.shape for path, x in jax.tree_util.tree_leaves_with_path(state.params)}
    theirs = {jax.tree_util.keystr(path): x.shape[1:] for path, x in jax.tree_util.tree_leaves_with_path(saved.params)}
    if mine != theirs:
        raise ConfigError(
            f"this student ({saved.config.student}, trained on {saved.task.name}) cannot play {trainer.task.name}: "
            "its network is made for other maps or objects"
        )


class Student:
    """A trained student that acts.

    A recurrent one remembers what it has seen since the last `reset`; call that at the start of every episode.
    """

    def __init__(self, config: Config, task: Task, params: Any) -> None:
        assert config.student is not None and config.hidden is not None
        self.config, self.task, self.params = config, task, params
        self._network = make_student(config.student, task, config.hidden, config.dtype)
        self._logits = jax.jit(self._forward)
        self.reset()

    def reset(self) -> None:
        """Begins a new episode."""
        self._carry: Any = self._network.initial_carry(1)  # pyright: ignore
        self._fresh = True

    def _forward(self, carry: Any, known: KnownMap, fresh: jax.Array) -> tuple[Any, jax.Array]:
        known = jax.tree.map(lambda leaf: leaf[None], known)
        carry, logits = student_policy(self._network, self.params)(carry, known, fresh[None])
        return carry, logits[0]

    def logits(self, observation: Any) -> jax.Array:
        """Scores of the seven actions, `float32[7]`; a recurrent student takes it as the next step of its episode.

        Args:
            observation: `uint8[W, H, 4]` as the task's navix environment gives it, or a `KnownMap`.
        """
        known = observation
        if not isinstance(observation, KnownMap):
            shape = (self.task.width, self.task.height, 4)
            observation = jnp.asarray(observation)
            if observation.shape != shape:
                raise ValueError(f"an observation of {self.task.name} has shape {shape}, not {observation.shape}")
            known = from_observation(observation.astype(jnp.uint8), jnp.full((2,), -1, jnp.int8))
        self._carry, logits = self._logits(self._carry, known, jnp.asarray(self._fresh))
        self._fresh = False
        return logits

    def act(self, observation: Any, key: jax.Array | None = None) -> int:
        """An action, one of MiniGrid's seven: drawn with `key`, or without one the most probable.

        Args:
            observation: see `logits`.
            key: random key.
        """
        logits = self.logits(observation)
        return int(jnp.argmax(logits) if key is None else jax.random.categorical(key, logits))


def load_student(run_dir: str | Path, *, seed: int = 0, checkpoint: Which = "last") -> Student:
    """A saved student.

    Args:
        run_dir: the run folder.
        seed: which of the run's students, counted from 0.
        checkpoint: "last", or "best" by success on the validation boards.

    Raises:
        RunFolderError, CheckpointError: `run_dir` is not a run folder, or holds no student yet.
        ConfigError: the run has no such seed.
    """
    saved = _open(run_dir, checkpoint)
    if not 0 <= seed < saved.config.num_seeds:
        raise ConfigError(f"the run has {saved.config.num_seeds} students, counted from 0; there is no {seed}")
    return Student(saved.config, saved.task, jax.tree.map(lambda leaf: jnp.asarray(leaf[seed]), saved.params))
