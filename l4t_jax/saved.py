"""Reading what a run left: its settings and its students' parameters, to play them or to start a new run from them.

Host module, for `api` and `student`. A run is given as its folder, or as the name of a trained student. The extensions
that the run was made with are loaded first. A run that starts from saved students (fine-tuning) takes their network and
their last parameters, and nothing else: its optimizer starts afresh, and so does the teacher's weight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from l4t_jax import extensions, imported, trained
from l4t_jax.config import Config, Settings
from l4t_jax.envs import Task, get_task
from l4t_jax.errors import CannotImport, CheckpointError, ConfigError, ExtensionError, RunFolderError, UnknownTask
from l4t_jax.reporting import run_folder
from l4t_jax.training import checkpoint
from l4t_jax.training.checkpoint import Which
from l4t_jax.training.trainer import Trainer

INHERITED = ("student", "observation", "hidden")  # what makes a network, where a new run's settings say nothing


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """A run folder, read.

    Attributes:
        folder: the run folder.
        settings: of the run.
        task: that it learned.
        params: its students' parameters, leading axis seeds.
    """

    folder: Path
    settings: Settings
    task: Task
    params: Any


def read_settings(
    folder: Path, imports: Sequence[extensions.Importable] = (), strict: bool = False
) -> tuple[Settings, Task]:
    """The settings of the run in a folder, and its task.

    Args:
        folder: the run folder.
        imports: extensions to load beside those of the run; one with the hash of a run's own stands in for it.
        strict: refuse an extension that has changed since the run began.

    Raises:
        RunFolderError: it is not a run folder.
        ExtensionError: an extension of the run cannot be loaded, or has changed.
    """
    file, values = folder / run_folder.CONFIG, run_folder.read_values(folder)
    try:
        settings = Settings(**values)
        extensions.load_all(settings.imports, imports, strict)
        imported.take_from(folder)
        task = get_task(settings.env)
        settings.check(task.max_steps)
    except (ExtensionError, CannotImport):
        raise
    except (TypeError, ConfigError, UnknownTask) as error:
        raise RunFolderError(f"{file} does not hold a run's settings: {error}") from error
    return settings, task


def open_run(run_dir: str | Path, which: Which, imports: Sequence[extensions.Importable] = ()) -> SavedRun:
    """The run in a folder.

    Args:
        run_dir: the folder, or the name of a trained student; `~` is the home folder.
        which: of the parameters, "last" or "best".
        imports: as for `read_settings`.

    Raises:
        RunFolderError, CheckpointError: `run_dir` is not a run folder, or holds no student yet.
        ExtensionError: an extension of the run cannot be loaded.
    """
    folder = trained.find(run_dir)
    settings, task = read_settings(folder, imports)
    params = trained.params(folder, which) if trained.is_trained(folder) else checkpoint.restore_params(folder, which)
    saved = SavedRun(folder, settings, task, params)
    mine = own_shapes(Trainer(config=settings, task=task))
    if mine != saved_shapes(saved):
        host = checkpoint.newest_host(folder) or {}
        raise CheckpointError(f"the student in {folder} {checkpoint.misfit(saved_shapes(saved), mine, host)}")
    return saved


def measured(folder: Path, seed: int) -> dict[str, Any] | None:
    """What a run measured of one of its students at the end; None of a run that is not finished.

    Args:
        folder: as `trained.find` gives it.
        seed: which of the run's students, counted from 0.

    Returns:
        `algo`, `total_steps`; `teacher`: how it was said, "none" without one; `heldout`: `levels`, and success, return
        and length on them, `sampled`, `greedy`, and of `teacher` and `random`.
    """
    if trained.is_trained(folder):
        card = run_folder.read(folder / trained.CARD)
        return dict(
            algo=card["algo"], total_steps=card["total_steps"], teacher=card["teacher"]["name"], heldout=card["heldout"]
        )
    if not (folder / run_folder.SUMMARY).is_file():
        return None
    summary = run_folder.read(folder / run_folder.SUMMARY)
    heldout = summary["heldout"]
    own = {name: values[seed] for name, values in heldout["student"].items() if name != "greedy"}
    greedy = {name: values[seed] for name, values in heldout["student"]["greedy"].items()}
    return dict(
        algo=summary["algo"],
        total_steps=summary["total_steps"],
        teacher=summary["teacher"],
        heldout=dict(
            levels=heldout["levels"], sampled=own, greedy=greedy, teacher=heldout["teacher"], random=heldout["random"]
        ),
    )


def player(saved: SavedRun, env: str | None = None) -> Trainer:
    """What plays a run's students on another task, or on their own.

    They go on reading the objects and the mission of the task that they learned, on the maps of the one that they play.

    Args:
        saved: the run.
        env: the other task's name.

    Raises:
        UnknownTask, ConfigError: there is no such task, or it is not for these students.
    """
    task = saved.task if env is None else get_task(env)
    steps = min(saved.settings.num_steps, task.max_steps)
    settings = dataclasses.replace(saved.settings, env=task.name, num_steps=steps, devices=None)
    trainer = Trainer(config=settings, task=task, learned=saved.task)
    why = None if task is saved.task else _cannot_play(saved, trainer)
    if why is not None:
        raise ConfigError(
            f"this student ({settings.student}, trained on {saved.task.name}) cannot play {task.name}: {why}"
        )
    return trainer


def _cannot_play(saved: SavedRun, trainer: Trainer) -> str | None:
    """Why a run's students cannot play a trainer's task, in words; None if they can."""
    old, new = saved.task, trainer.task
    missions = [None if task.mission is None else task.mission.fields for task in (old, new)]
    if missions[0] != missions[1]:
        return f"the missions of {new.name} are not those of {old.name}"
    if not trainer.controller.chooses_actions and (old.objects, old.skills) != (new.objects, new.skills):
        return f"it chooses skills of {old.name}"
    marks = any(role.target is not None for role in trainer.student.task.objects)
    if marks and jax.eval_shape(trainer.env.initial, jax.random.key(0)).targets is None:
        return f"it reads what the mission of {old.name} points at"
    if own_shapes(trainer) != saved_shapes(saved):
        mine, other = (trainer.observation.network_task(task) for task in (old, new))
        return f"its network is made for maps of {mine.width} x {mine.height}, not {other.width} x {other.height}"
    return None


def own_shapes(trainer: Trainer) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters of a trainer's student."""
    return checkpoint.shapes(jax.eval_shape(trainer.init, jax.random.key(0)).params)


def saved_shapes(saved: SavedRun) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the saved parameters, of one student."""
    return {name: shape[1:] for name, shape in checkpoint.shapes(saved.params).items()}


def one_student(saved: SavedRun, seed: int) -> Any:
    """The parameters of one of a run's students.

    Raises:
        ConfigError: the run has no such seed.
    """
    if not 0 <= seed < saved.settings.num_seeds:
        raise ConfigError(f"the run has {saved.settings.num_seeds} students, counted from 0; there is no {seed}")
    return jax.tree.map(lambda leaf: leaf[seed], saved.params)


def inherit(config: Config) -> tuple[Config, SavedRun | None]:
    """The settings of a new run, those that make its network taken from the run that it starts from.

    Those are `INHERITED` and the extensions.

    Args:
        config: of the new run; nothing is inherited where its `student_from` is None.

    Returns:
        The settings, `student_from` as a trained student's name or an absolute path, and the run that it starts from.

    Raises:
        ConfigError: `student_from` is not a word, or the settings contradict the saved network.
        RunFolderError, CheckpointError: the folder holds no student.
    """
    if config.student_from is None:
        return config, None
    config.check_kinds()
    saved = open_run(config.student_from, "last")
    theirs = saved.settings
    for name in INHERITED:
        given, own = getattr(config, name), getattr(theirs, name)
        if given not in (None, own):
            raise ConfigError(f"`{name}={given}` contradicts the students of {config.student_from}, which have {own}")
    network = {name: getattr(theirs, name) for name in INHERITED}
    imports = (*config.imports, *(one for one in theirs.imports if one not in config.imports))
    return dataclasses.replace(config, imports=imports, student_from=trained.spelled(saved.folder), **network), saved


def first_params(trainer: Trainer, saved: SavedRun) -> Any:
    """The parameters that a run's students start from, leading axis seeds: the saved students' in turn.

    Raises:
        ConfigError: they are not for this task or algorithm.
    """
    why = _cannot_learn(trainer, saved)
    if why is not None:
        raise ConfigError(
            f"`student_from={trainer.config.student_from}`: this student ({saved.settings.student}, trained on "
            f"{saved.task.name}) cannot go on learning {trainer.task.name}: {why}"
        )
    whose = np.arange(trainer.config.num_seeds) % saved.settings.num_seeds
    return jax.tree.map(lambda leaf: np.asarray(leaf)[whose], saved.params)


def first_again(trainer: Trainer, folder: Path) -> Any:
    """The same for a run that is to go on; None where it needs none, or has a checkpoint to go on from.

    Args:
        trainer: of the run.
        folder: of the run.

    Raises:
        ConfigError, RunFolderError, CheckpointError: the run that it starts from is gone, or is another by now.
    """
    if trainer.config.student_from is None or checkpoint.newest_host(folder) is not None:
        return None
    return first_params(trainer, open_run(trainer.config.student_from, "last"))


def _cannot_learn(trainer: Trainer, saved: SavedRun) -> str | None:
    """Why a run's students cannot start from the saved ones, in words; None if they can."""
    before = Trainer(config=saved.settings, task=saved.task)
    old, new = (one.observation.network_task(one.task) for one in (before, trainer))
    acts = [one.controller.chooses_actions for one in (before, trainer)]
    if acts[0] != acts[1]:
        outputs = ["actions" if one else "skills" for one in acts]
        return f"it chooses {outputs[0]}, and `algo={trainer.config.algo}` is for students that choose {outputs[1]}"
    if not acts[0] and old.skills != new.skills:
        return f"it chooses skills of {old.name}, which are not those of {new.name}"
    missions = [None if task.mission is None else task.mission.fields for task in (old, new)]
    if missions[0] != missions[1]:
        return f"the missions of {new.name} are not those of {old.name}"
    if [role.meant for role in old.objects] != [role.meant for role in new.objects]:
        names = [", ".join(role.name for role in task.objects) or "no objects" for task in (old, new)]
        return f"it tells apart {names[0]}, and {new.name} has {names[1]}"
    if own_shapes(trainer) != saved_shapes(saved):
        return f"its network is made for maps of {old.width} x {old.height}, not {new.width} x {new.height}"
    return None
