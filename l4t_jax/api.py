"""Training and evaluating from Python: `train`, `evaluate`; `load_student` is in `student`.

Host module. What a command or a notebook asks for is looked through here, and refused in one sentence where it cannot
be; the run itself is `loop.Run`. All of it computes in 32 bits, whatever JAX_ENABLE_X64 says.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import jax

from l4t_jax import extensions, imported, parallel, trained
from l4t_jax.config import MAY_CHANGE, MOST, Config, Settings, shallow, with_home
from l4t_jax.envs import get_task
from l4t_jax.envs.registry import is_brought_in
from l4t_jax.errors import CannotWrite, CheckpointError, ConfigError, Interrupted, RunFolderError, did_you_mean
from l4t_jax.evaluation import heldout, intervals, level_file
from l4t_jax.evaluation.playing import Episodes
from l4t_jax.files import strict, write_json
from l4t_jax.reporting import run_folder
from l4t_jax.reporting.progress import Progress
from l4t_jax.reporting.result import Result
from l4t_jax.reporting.run_folder import resume_command
from l4t_jax.saved import first_again, first_params, inherit, open_run, player, read_settings
from l4t_jax.student import Student, load_student
from l4t_jax.teacher import asks_llm, listed, open_live, open_teacher
from l4t_jax.teacher import file as teacher_file
from l4t_jax.teacher.backends import Options
from l4t_jax.teacher.ledger import Ledger
from l4t_jax.teacher.recording import Ask
from l4t_jax.training import checkpoint, compilation
from l4t_jax.training.checkpoint import Which
from l4t_jax.training.loop import Run
from l4t_jax.training.programs import OPTIMIZED, memory_errors
from l4t_jax.training.run_teacher import RunTeacher
from l4t_jax.training.signals import Stop
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
    """Trains students and evaluates them, as `python -m l4t_jax.run` does.

    Args:
        config: the settings; `Config()` if left out.
        resume: the folder of a run that was stopped or killed: it goes on from its last whole checkpoint, or from its
            start if it has none, and comes to what it would have come to. Its settings are in the folder; a `config` or
            settings that contradict them are refused (but `save_every`, `devices`, `wandb`, `price`, `max_calls` and
            `max_cost` may change). Of a run that is finished the result is read (without `heldout`).
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
        with stop.listening(), jax.enable_x64(False):
            if resume is None:
                return _train(_with_settings(config or Config(), settings), progress, stop)
            given = settings if config is None else {**_not_default(config), **settings}
            given = {name: getattr(_with_settings(Config(), given), name) for name in given}
            return _go_on(Path(with_home(resume)), given, progress, stop)
    finally:
        progress.close()


def _with_settings(config: Config, settings: dict[str, Any]) -> Config:
    fields = [field.name for field in dataclasses.fields(Config)]
    for name in settings:
        if name not in fields:
            hint = did_you_mean(name, fields, "", alike=0.4)
            raise ConfigError(f"there is no setting {name!r}" + (hint and f"; {hint}"))
    return dataclasses.replace(config, **settings)


def _not_default(config: Config) -> dict[str, Any]:
    default = shallow(Config())
    return {name: value for name, value in shallow(config).items() if value != default[name]}


def with_extensions(config: Config) -> Config:
    """The settings with their extensions loaded, each with the hash of its file.

    Raises:
        ConfigError: an extension cannot be loaded.
    """
    if not isinstance(config.imports, tuple):
        raise ConfigError(f"`imports` must be Python files or modules, not {config.imports!r}")
    imports = tuple(extensions.as_import(one) for one in config.imports)
    extensions.load_all(imports, strict=True)
    return dataclasses.replace(config, imports=imports)


def _train(config: Config, progress: Progress, stop: Stop) -> Result:
    """A new run, in a new folder."""
    compilation.keep_compiled()
    config, saved = inherit(config)
    config = with_extensions(config)
    if is_brought_in(config.env):
        imported.open_task(config.env, progress)
    trainer, levels = _given_levels(Trainer.create(config).spread())
    first = None if saved is None else first_params(trainer, saved)
    with contextlib.ExitStack() as stack:
        teacher = _load_teacher(trainer, progress, stack)
        config = trainer.config
        with _folder(config, f"runs/{trainer.task.name}-{config.algo}-{config.seed}") as folder:
            progress = progress if parallel.is_main() else Progress()
            return _in_folder(folder, trainer, teacher, levels, first, progress, stop)


def _given_levels(trainer: Trainer) -> tuple[Trainer, dict[str, Any] | None]:
    """The content of the level file that a run asks for, and the trainer with as many held-out levels as it has."""
    path = trainer.config.levels_from
    if path is None:
        return trainer, None
    content = level_file.load(path)
    found = level_file.to_levels(content, trainer.task, path).agent.shape[0]
    config = dataclasses.replace(trainer.config, heldout_levels=min(trainer.config.heldout_levels, found))
    return dataclasses.replace(trainer, config=config), content


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


def _in_folder(
    folder: Path,
    trainer: Trainer,
    teacher: RunTeacher,
    levels: dict[str, Any] | None,
    first: Any,
    progress: Progress,
    stop: Stop,
) -> Result:
    config = trainer.config
    lock = run_folder.Lock(folder)
    try:
        try:
            with _disk_errors(folder):
                write_json(folder / run_folder.CONFIG, dataclasses.asdict(config))
                imported.keep_in(folder, trainer.task)
                if teacher.content is not None:
                    write_json(folder / run_folder.TEACHER, teacher.content)
                if levels is not None:
                    write_json(folder / run_folder.LEVELS, levels)
            run = Run(trainer, teacher, folder, progress, stop, resumed=False, first=first)
        except BaseException:
            lock.release()
            # Nothing else is in the folder yet.
            for name in (run_folder.CONFIG, run_folder.TEACHER, run_folder.LEVELS, imported.FILE):
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
        raise ConfigError("`resume` is for one process; a run on many hosts cannot be resumed yet")
    config, task = read_settings(folder, given.get("imports", ()), strict=True)
    config = _agreed(config, folder, given)
    stop.words = f"stopped before training went on; {resume_command(folder)} starts it again"
    if (folder / run_folder.SUMMARY).is_file():
        progress.notice(f"the run in {folder} is finished; there is nothing to do")
        return _finished(folder, config)
    compilation.keep_compiled()
    lock = run_folder.Lock(folder)
    try:
        trainer = Trainer(config=config, task=task)
        trainer.check()
        trainer = trainer.spread()
        first = first_again(trainer, folder)
        with contextlib.ExitStack() as stack:
            teacher = _teacher_again(trainer, folder, progress, stack)
            return _run(Run(trainer, teacher, folder, progress, stop, resumed=True, first=first))
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
            f"{resume_command(folder)} goes on from the last checkpoint"
        ) from error
    except CheckpointError as error:
        if not isinstance(error, CannotWrite):
            raise
        raise CheckpointError(f"{error}; when that is mended, {resume_command(folder)} goes on from there") from error


def _agreed(config: Settings, folder: Path, given: dict[str, Any]) -> Settings:
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
        elif name == "student_from":
            same = trained.spelled(value) == saved
        elif name == "imports":
            same = {extensions.as_import(one).sha256 for one in value} <= {one.sha256 for one in saved}
            value, saved = " ".join(map(str, value)), " ".join(one.name for one in saved) or "none"
        else:
            same = value == saved
        if not same:
            *some, last = (f"`{name}`" for name in MAY_CHANGE if name != "run_dir")
            may = f"{', '.join(some)} and {last}"
            raise ConfigError(
                f"`{name}={value}` contradicts the run in {folder}, which has {saved}: a run goes on with its own "
                f"settings ({may} may change); for others, start a new one without `resume`"
            )
    config = dataclasses.replace(config, **free)
    config.check(get_task(config.env).max_steps)
    return config


def _teacher_again(trainer: Trainer, folder: Path, progress: Progress, stack: contextlib.ExitStack) -> RunTeacher:
    """The teacher that a saved run learned from.

    Raises:
        RunFolderError: the folder's is not that one.
    """
    if trainer.algorithm.uses_teacher and not listed(trainer.config.teacher, trainer.task, trainer.config.ask_when):
        return _load_teacher(trainer, progress, stack)  # its answers are in the run's log
    path = folder / run_folder.TEACHER
    saved = checkpoint.newest_host(folder)
    if saved is None and not path.is_file():  # killed before its teacher was written down
        teacher = _load_teacher(trainer, progress, stack)
        if teacher.content is not None:
            write_json(path, teacher.content)
        return teacher
    content = teacher_file.load(path) if path.is_file() else None
    if saved is not None:
        kept = saved["teacher"]
        if content is None and kept is not None:
            progress.notice(f"{path} is missing: the checkpoint's copy is used")
            content = kept
            write_json(path, content)
        if (None if content is None else teacher_file.digest(content)) != saved["teacher_hash"]:
            raise RunFolderError(
                f"{path} is not the teacher that this run learned from (hash {saved['teacher_hash']}); "
                "remove it, and the checkpoint's copy is used"
            )
    if content is None:
        return RunTeacher("none")
    name = teacher_file.describe(content, trainer.config.teacher)
    return RunTeacher(name, content, trainer.put(teacher_file.to_table(trainer.task, content)))


def _finished(folder: Path, config: Settings) -> Result:
    return Result(
        summary=run_folder.read(folder / run_folder.SUMMARY), run_dir=folder, config=config,
        params=checkpoint.restore_params(folder), records=run_folder.read_records(folder), heldout={},
    )  # fmt: skip


def _load_teacher(trainer: Trainer, progress: Progress, stack: contextlib.ExitStack) -> RunTeacher:
    """A run's teacher; an LLM is asked here for all that it will be asked for, if that can be listed."""
    config, task = trainer.config, trainer.task
    spec = config.teacher
    if not trainer.algorithm.uses_teacher:
        return RunTeacher("none")
    if jax.process_count() > 1 and asks_llm(spec):
        raise ConfigError(f"many processes cannot share {spec}: `teacher record` first, and pass `teacher=file:PATH`")
    how = Ask.of(config), Options.of(config), config.cache, progress.notice, Ledger.of(config)
    if not listed(spec, task, config.ask_when):
        live = stack.enter_context(open_live(spec, task, *how))
        return RunTeacher(f"{spec} (asked while training)", live.content, trainer.put(live.table), live)
    if asks_llm(spec):
        progress.phase(f"asking the teacher ({spec.partition(':')[0]})")
    try:
        content, name = open_teacher(spec, task, *how)
    except KeyboardInterrupt:
        raise Interrupted("stopped while the teacher was asked; its answers are kept as they come") from None
    assert content is not None
    return RunTeacher(name, content, trainer.put(teacher_file.to_table(task, content)))


def evaluate(
    run_dir: str | Path,
    *,
    levels: int | None = None,
    env: str | None = None,
    checkpoint: Which = "last",
    simulator: Simulator = "jax",
    watch: Callable[[str], None] | None = None,
    imports: Sequence[extensions.Importable] = (),
    levels_from: str | Path | None = None,
) -> dict[str, Any]:
    """Evaluates a saved run's students again on held-out levels.

    Args:
        run_dir: the run folder, or the name of a trained student.
        levels: how many; the run's own number by default, 10 to watch.
        env: another task that the same student can play; the run's own by default.
        checkpoint: "last", or "best" by success on the validation levels.
        simulator: "jax", or "minigrid": Farama's, on the first levels of its own that are in the test split.
        watch: shows the first student on MiniGrid in a window, sampled actions only; hears how each episode ended.
        imports: extensions to load beside those of the run, which are loaded by themselves.
        levels_from: a level file to play, all of its levels by default; the run's own held-out levels if left out.

    Returns:
        `success`, `return` and `length` (means over levels and seeds, actions sampled), `levels`, `task`,
        `checkpoint`, `simulator`, `intervals` (95 %, all levels of all seeds taken together), `seeds` (the same
        three, a value a seed) and `greedy` (likewise, the most probable action taken; None if watched). On the run's
        own task, number of levels and simulator these are the numbers of `summary.json`.

    Raises:
        RunFolderError, CheckpointError: `run_dir` is not a run folder and no student's name, or holds no student yet.
        UnknownTask, ConfigError: `env` is unknown or not for this student; `levels` is below 1; MiniGrid is not
            installed, does not know the task or has no display.
        LevelFileError: `levels_from` is no level file, or not one of this task's.
    """
    if watch is not None and simulator != "minigrid":
        raise ConfigError("`watch` shows MiniGrid's own window; add `simulator=minigrid`")
    compilation.keep_compiled()
    with jax.enable_x64(False):
        saved = open_run(run_dir, checkpoint, imports)
        trainer = player(saved, env).spread()
        if levels_from is not None and simulator != "jax":
            raise ConfigError("`levels_from` is for levels in JAX: MiniGrid draws its own")
        file = levels_from
        if file is None and saved.settings.levels_from and trainer.task.name == saved.task.name and simulator == "jax":
            file = saved.folder / run_folder.LEVELS
        given = None if file is None else level_file.read(file, trainer.task)
        most = MOST["heldout_levels"] if given is None else given.agent.shape[0]
        if levels is None:
            own = saved.settings.heldout_levels if levels_from is None else most
            levels = own if watch is None else 10
        if not 1 <= levels <= most:
            raise ConfigError(f"`levels` must be from 1 to {most}, not {levels}")
        sampled, greedy = _played(trainer, saved.params, levels, simulator, watch, given)
    pooled = intervals.intervals(sampled)
    return strict(
        dict(
            task=trainer.task.name,
            levels=levels,
            checkpoint=checkpoint,
            simulator=simulator,
            **{name: mean for name, (mean, _, _) in pooled.items()},
            intervals={name: [low, high] for name, (_, low, high) in pooled.items()},
            seeds=intervals.averages(sampled),
            greedy=None if greedy is None else intervals.averages(greedy),
        )
    )


def _played(
    trainer: Trainer, params: Any, levels: int, where: Simulator, watch: Callable[[str], None] | None, given: Any
) -> tuple[Episodes, Episodes | None]:
    """Sampled and, unless watched, greedy episodes, leading axes (seeds, levels)."""
    config = trainer.config
    if where == "minigrid":
        from l4t_jax.evaluation import simulator

        key = heldout.run_key(config.seed, "test")
        if watch is not None:
            return simulator.watch(trainer.players, params, key, levels, watch), None
        return simulator.evaluate(trainer.players, params, key, levels)
    evaluator = heldout.Evaluator(trainer.players, None, config.validation_levels, given)
    made = evaluator.programs(params, {"test": levels}, pictures=False)
    del made["others"]
    evaluator.use(compilation.compile_all(made, optimized=OPTIMIZED))
    sampled = evaluator.students(params, config.seed, "test", levels)
    return sampled, evaluator.students(params, config.seed, "test", levels, greedy=True)
