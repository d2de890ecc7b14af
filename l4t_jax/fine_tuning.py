"""Fine-tuning: a run that starts from the students that another run left.

Host module, for `api`. The new run takes the other's network and its last parameters, and nothing else of it: the
optimizer starts afresh, and so does the teacher's weight.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from l4t_jax.config import Config
from l4t_jax.errors import ConfigError
from l4t_jax.saved import SavedRun, open_run, own_shapes, saved_shapes
from l4t_jax.training import checkpoint
from l4t_jax.training.trainer import Trainer

INHERITED = ("student", "observation", "hidden")  # what makes a network, where the new run's settings say nothing


def inherit(config: Config) -> tuple[Config, SavedRun | None]:
    """The settings of a new run, those that make its network taken from the run that it starts from.

    Those are `INHERITED` and the extensions.

    Args:
        config: of the new run; nothing is inherited where its `student_from` is None.

    Returns:
        The settings, `student_from` as an absolute path, and the run that it starts from.

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
    return dataclasses.replace(config, imports=imports, student_from=str(saved.folder.absolute()), **network), saved


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
