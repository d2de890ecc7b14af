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

from l4t_jax import files, parallel
from l4t_jax.agents.students import make_student
from l4t_jax.commandline import flag
from l4t_jax.config import MAY_CHANGE, MOST, Config
from l4t_jax.envs import Task, get_task
from l4t_jax.envs.state import MemoryMap, from_observation
from l4t_jax.errors import CannotWrite, CheckpointError, ConfigError, Interrupted, RunFolderError, UnknownTask
from l4t_jax.evaluation import heldout
from l4t_jax.evaluation.playing import Episodes, student_policy
from l4t_jax.reporting import run_folder
from l4t_jax.reporting.progress import Progress
from l4t_jax.teacher import asks_llm, listed, open_live, open_teacher
from l4t_jax.teacher import file as teacher_file
from l4t_jax.teacher.backends import Options
from l4t_jax.teacher.recording import Ask
from l4t_jax.training import checkpoint, compilation
from l4t_jax.training.checkpoint import Which
from l4t_jax.training.loop import Result, Run, Stop, Teacher, again, memory_errors
from l4t_jax.training.trainer import Trainer

__all__ = ["Result", "Student", "evaluate", "load_student", "train"]

Simulator = Literal["jax", "minigrid"]


def train(
    config: Config | None = None,
    *,
    resume: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Result:
    """Trains students and measures them, as `python -m l4t_jax.run` does.

    Args:
        config: the settings; `Config()` if left out.
        resume: the folder of a run that was stopped or killed: it goes on from its last whole checkpoint, or from its
            start if it has none, and comes to what it would have come to. Its settings are in the folder; a `config` or
            settings that contradict them are refused (but `save_every`, `devices` and `wandb` may change). Of a run
            that is finished the result is read (without `heldout`).
        progress: hears what happens; silent by default (`progress.make()` gives the command's).
        **settings: fields of `Config` that replace the config's.

    Raises:
        ConfigError, UnknownTask, TeacherFileError, RunFolderError, CheckpointError: a setting or a folder cannot be,
            and what would do; or the disk is full.
        BackendError, PromptError, CacheError: an LLM cannot be asked, or does not answer.
        Diverged: a number of the training is not finite.
        Interrupted: Ctrl-C or SIGTERM; the message says what is saved.
    """
    progress = progress or Progress()
    try:
        stop = Stop()
        with stop.listening():
            if resume is None:
                return _train(_with_settings(config or Config(), settings), progress, stop)
            given = settings if config is None else {**_not_default(config), **settings}
            _with_settings(Config(), given)
            return _go_on(Path(resume), given, progress, stop)
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


def _not_default(config: Config) -> dict[str, Any]:
    default = dataclasses.asdict(Config())
    return {name: value for name, value in dataclasses.asdict(config).items() if value != default[name]}


def _train(config: Config, progress: Progress, stop: Stop) -> Result:
    """A new run, in a new folder."""
    compilation.keep_compiled()
    trainer = Trainer.create(config).spread()
    with contextlib.ExitStack() as stack:
        teacher = _load_teacher(trainer, progress, stack)
        config = trainer.config
        with _folder(config, f"runs/{trainer.task.name}-{config.algo}-{config.seed}") as folder:
            return _in_folder(folder, trainer, teacher, progress if parallel.is_main() else Progress(), stop)


@contextlib.contextmanager
def _folder(config: Config, default: str) -> Iterator[Path]:
    """The run folder; of many processes only the first makes it, the others write what nobody keeps."""
    if not parallel.is_main():
        if not parallel.broadcast(True):
            raise RunFolderError("the first process has no run folder; it says why")
        with tempfile.TemporaryDirectory(prefix="l4t-", ignore_cleanup_errors=True) as nowhere:
            yield Path(nowhere)
        return
    try:
        folder = run_folder.new_folder(config.run_dir, default)
    except RunFolderError:
        parallel.broadcast(False)
        raise
    parallel.broadcast(True)
    yield folder


def _in_folder(folder: Path, trainer: Trainer, teacher: Teacher, progress: Progress, stop: Stop) -> Result:
    config = trainer.config
    lock = run_folder.Lock(folder)
    try:
        try:
            with _disk_errors(folder):
                files.write_json(folder / run_folder.CONFIG, dataclasses.asdict(config))
                if teacher.content is not None:
                    files.write_json(folder / run_folder.TEACHER, teacher.content)
            run = Run(trainer, teacher, folder, progress, stop, resumed=False)
        except BaseException:
            lock.release()
            for name in (run_folder.CONFIG, run_folder.TEACHER):  # nothing else is in it yet
                (folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise
        return _run(run)
    finally:
        lock.release()


def _go_on(folder: Path, given: dict[str, Any], progress: Progress, stop: Stop) -> Result:
    """A run whose folder is there already."""
    if jax.process_count() > 1:
        raise ConfigError("--resume is for one process; a run on many hosts cannot go on yet")
    config, task = _read_config(folder)
    config = _agreed(config, folder, given)
    stop.words = f"stopped before training went on; {again(folder)} starts it again"
    if (folder / run_folder.SUMMARY).is_file():
        progress.notice(f"the run in {folder} is finished; there is nothing to do")
        return _finished(folder, config)
    if config.taught and not listed(config.teacher, task):
        raise ConfigError(f"{config.teacher} is asked while {task.name} is learned; such a run cannot go on yet")
    compilation.keep_compiled()
    lock = run_folder.Lock(folder)
    try:
        trainer = Trainer(config=config, task=task).spread()
        with contextlib.ExitStack() as stack:
            teacher = _teacher_again(trainer, folder, progress, stack)
            return _run(Run(trainer, teacher, folder, progress, stop, resumed=True))
    finally:
        lock.release()


def _run(run: Run) -> Result:
    try:
        with memory_errors(run.config), _disk_errors(run.folder):
            run.train()
            return run.finish()
    finally:
        run.close()


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """What cannot be written, as a sentence."""
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            f"{error.filename or folder} cannot be written: {checkpoint.reason(error)}; when that is mended, "
            f"{again(folder)} goes on from the last checkpoint"
        ) from error
    except CheckpointError as error:
        if not isinstance(error, CannotWrite):
            raise
        raise CheckpointError(f"{error}; when that is mended, {again(folder)} goes on from there") from error


def _agreed(config: Config, folder: Path, given: dict[str, Any]) -> Config:
    """A saved run's settings with those of the given that may change.

    Raises:
        ConfigError: one of the others contradicts the run's.
    """
    free = {name: value for name, value in given.items() if name in MAY_CHANGE and name != "run_dir"}
    for name, value in given.items():
        if name in free or value is None:
            continue
        saved: Any = getattr(config, name)
        if name == "env":
            same = get_task(value).name == saved
        elif name == "run_dir":
            same = Path(value).absolute() == folder.absolute()
            saved = str(folder)
        else:
            same = value == saved
        if not same:
            raise ConfigError(
                f"{flag(name)} {value} contradicts the run in {folder}, which has {saved}: a run goes on with its own "
                f"settings ({' and '.join(flag(name) for name in MAY_CHANGE if name != 'run_dir')} may change); for "
                "others, start a new one without --resume"
            )
    config = dataclasses.replace(config, **free)
    config.check(get_task(config.env).max_steps)
    return config


def _teacher_again(trainer: Trainer, folder: Path, progress: Progress, stack: contextlib.ExitStack) -> Teacher:
    """The teacher that a saved run learned from.

    Raises:
        RunFolderError: the folder's is not that one.
    """
    path = folder / run_folder.TEACHER
    saved = checkpoint.newest_host(folder)
    if saved is None and not path.is_file():  # killed before its teacher was written down
        teacher = _load_teacher(trainer, progress, stack)
        if teacher.content is not None:
            files.write_json(path, teacher.content)
        return teacher
    content = teacher_file.load(path) if path.is_file() else None
    if saved is not None:
        kept = saved["teacher"]
        if content is None and kept is not None:
            progress.notice(f"{path} is missing: the checkpoint's copy is used")
            content = kept
            files.write_json(path, content)
        if (None if content is None else teacher_file.digest(content)) != saved["teacher_hash"]:
            raise RunFolderError(
                f"{path} is not the teacher that this run learned from (hash {saved['teacher_hash']}); "
                "remove it, and the checkpoint's copy is used"
            )
    if content is None:
        return Teacher("none")
    name = teacher_file.describe(content, trainer.config.teacher)
    return Teacher(name, content, trainer.put(teacher_file.to_table(trainer.task, content)))


def _finished(folder: Path, config: Config) -> Result:
    return Result(
        summary=run_folder.read(folder / run_folder.SUMMARY), run_dir=folder, config=config,
        params=checkpoint.restore_params(folder), records=run_folder.read_records(folder), heldout={},
    )  # fmt: skip


def _load_teacher(trainer: Trainer, progress: Progress, stack: contextlib.ExitStack) -> Teacher:
    """A run's teacher; an LLM is asked here for all that it will be asked for, if that can be listed."""
    config, task = trainer.config, trainer.task
    spec = config.teacher
    if not config.taught:
        return Teacher("none")
    if jax.process_count() > 1 and asks_llm(spec):
        raise ConfigError(f"many processes cannot share {spec}: `teacher record` first, and pass --teacher file:PATH")
    how = Ask.of(config), Options.of(config), config.cache, progress.notice
    if not listed(spec, task):
        live = stack.enter_context(open_live(spec, task, *how))
        return Teacher(f"{spec} (asked while training)", live.content, trainer.put(live.table), live)
    if asks_llm(spec):
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
    params: Any


def _read_config(folder: Path) -> tuple[Config, Task]:
    """The settings of the run in a folder, and its task.

    Raises:
        RunFolderError: it is not a run folder.
    """
    if not folder.is_dir():
        raise RunFolderError(
            f"there is no folder {folder}; give the folder that a run left, such as runs/SimpleDoorKey-l4t-0"
        )
    if not (folder / run_folder.CONFIG).is_file():
        inner = sorted(path.parent.name for path in folder.glob(f"*/{run_folder.CONFIG}"))
        hint = f"; did you mean {folder / inner[0]}?" if inner else f": it has no {run_folder.CONFIG}"
        raise RunFolderError(f"{folder} is not a run folder{hint}")
    values = run_folder.read(folder / run_folder.CONFIG)
    try:
        config = Config(**values)
        task = get_task(config.env)
        config.check(task.max_steps)
    except (TypeError, ConfigError, UnknownTask) as error:
        raise RunFolderError(f"{folder / run_folder.CONFIG} does not hold a run's settings: {error}") from error
    return config, task


def _open(run_dir: str | Path, which: Which) -> _Saved:
    folder = Path(run_dir)
    config, task = _read_config(folder)
    saved = _Saved(config=config, task=task, params=checkpoint.restore_params(folder, which))
    theirs = {name: shape[1:] for name, shape in checkpoint.shapes(saved.params).items()}
    mine = _own_shapes(Trainer(config=config, task=task))
    if mine != theirs:
        host = checkpoint.newest_host(folder) or {}
        raise CheckpointError(f"the student in {folder} {checkpoint.misfit(theirs, mine, host)}")
    return saved


def _own_shapes(trainer: Trainer) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters of a trainer's student."""
    return checkpoint.shapes(jax.eval_shape(trainer.init, jax.random.key(0)).params)


def evaluate(
    run_dir: str | Path,
    *,
    levels: int | None = None,
    env: str | None = None,
    checkpoint: Which = "last",
    simulator: Simulator = "jax",
    watch: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measures a saved run's students again on held-out levels.

    Args:
        run_dir: the run folder.
        levels: how many; the run's own number by default, 10 to watch.
        env: another task that the same student can play; the run's own by default.
        checkpoint: "last", or "best" by success on the validation levels.
        simulator: "jax", or "minigrid": Farama's, on the first levels of its own that are in the test split.
        watch: shows the first student on MiniGrid in a window, sampled actions only; hears how each episode ended.

    Returns:
        `success`, `return` and `length` (means over levels and seeds, actions sampled), `levels`, `task`,
        `checkpoint`, `simulator`, `intervals` (95 %, all levels of all seeds taken together), `seeds` (the same
        three, a value a seed) and `greedy` (likewise, the most probable action taken; None if watched). On the run's
        own task, number of levels and simulator these are the numbers of `summary.json`.

    Raises:
        RunFolderError, CheckpointError: `run_dir` is not a run folder, or holds no student yet.
        UnknownTask, ConfigError: `env` is unknown or not for this student; `levels` is below 1; MiniGrid is not
            installed, does not know the task or has no display.
    """
    if watch is not None and simulator != "minigrid":
        raise ConfigError("--watch shows MiniGrid's own window; add --simulator minigrid")
    compilation.keep_compiled()
    saved = _open(run_dir, checkpoint)
    if levels is None:
        levels = saved.config.heldout_levels if watch is None else 10
    if not 1 <= levels <= MOST["heldout_levels"]:
        raise ConfigError(f"--levels must be from 1 to {MOST['heldout_levels']}, not {levels}")
    task = saved.task if env is None else get_task(env)
    steps = min(saved.config.steps, task.max_steps)
    config = dataclasses.replace(saved.config, env=task.name, num_steps=steps, devices=None)
    trainer = Trainer(config=config, task=task).spread()
    _check_fits(trainer, saved)
    sampled, greedy = _played(trainer, saved.params, levels, simulator, watch)
    pooled = heldout.intervals(sampled)
    return files.strict(
        dict(
            task=task.name,
            levels=levels,
            checkpoint=checkpoint,
            simulator=simulator,
            **{name: mean for name, (mean, _, _) in pooled.items()},
            intervals={name: [low, high] for name, (_, low, high) in pooled.items()},
            seeds=heldout.averages(sampled),
            greedy=None if greedy is None else heldout.averages(greedy),
        )
    )


def _played(
    trainer: Trainer, params: Any, levels: int, where: Simulator, watch: Callable[[str], None] | None
) -> tuple[Episodes, Episodes | None]:
    """Sampled and, unless watched, greedy episodes, leading axes (seeds, levels)."""
    config = trainer.config
    if where == "minigrid":
        from l4t_jax.evaluation import simulator

        key = heldout.run_key(config.seed, "test")
        if watch is not None:
            return simulator.watch(trainer, params, key, levels, watch), None
        return simulator.measure(trainer, params, key, levels)
    players = heldout.Measure(trainer, None, config.num_seeds, config.validation_levels)
    made = players.programs(params, {"test": levels}, pictures=False)
    del made["others"]
    players.use(compilation.compile_all(made))
    sampled = players.students(params, config.seed, "test", levels)
    return sampled, players.students(params, config.seed, "test", levels, greedy=True)


def _check_fits(trainer: Trainer, saved: _Saved) -> None:
    """Raises `ConfigError` unless the saved parameters are those of the trainer's student."""
    if _own_shapes(trainer) != {name: shape[1:] for name, shape in checkpoint.shapes(saved.params).items()}:
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
        self.network = make_student(config.student, task, config.hidden, config.dtype)
        self._logits = jax.jit(self._forward)
        self.reset()

    def reset(self) -> None:
        """Begins a new episode."""
        self._carry: Any = self.network.initial_carry(1)  # pyright: ignore
        self._fresh = True

    def _forward(self, carry: Any, known: MemoryMap, fresh: jax.Array) -> tuple[Any, jax.Array]:
        known = jax.tree.map(lambda leaf: leaf[None], known)
        carry, logits = student_policy(self.network, self.params)(carry, known, fresh[None])
        return carry, logits[0]

    def logits(self, observation: Any) -> jax.Array:
        """Scores of the seven actions, `float32[7]`; a recurrent student takes it as the next step of its episode.

        Args:
            observation: `uint8[W, H, 4]` as the task's navix environment gives it, or a `MemoryMap`.
        """
        known = observation
        if not isinstance(observation, MemoryMap):
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
        checkpoint: "last", or "best" by success on the validation levels.

    Raises:
        RunFolderError, CheckpointError: `run_dir` is not a run folder, or holds no student yet.
        ConfigError: the run has no such seed.
    """
    saved = _open(run_dir, checkpoint)
    if saved.config.algo == "hrl":
        raise ConfigError("a student of --algo hrl chooses skills, not actions; `evaluate` plays it")
    if not 0 <= seed < saved.config.num_seeds:
        raise ConfigError(f"the run has {saved.config.num_seeds} students, counted from 0; there is no {seed}")
    return Student(saved.config, saved.task, jax.tree.map(lambda leaf: jnp.asarray(leaf[seed]), saved.params))
