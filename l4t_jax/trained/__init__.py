"""Trained students to take: those of the ladder's tasks, in the package, each by the name of its task.

Host package. A trained student is a run folder in `data/NAME` with what it takes to play, and no more: `config.json`,
the parameters in `student.npz`, and `card.json`, which says where they come from, what they came to and the hash of
that file. Where the task has no teacher file of its own, or was brought in, `teacher.json` and `levels.npz` are there
too. `benchmarks/students.py` writes them. What plays the students of a run folder takes such a name too (`find`).
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from l4t_jax.config import with_home
from l4t_jax.envs.registry import get_task, is_brought_in
from l4t_jax.errors import CheckpointError, RunFolderError, UnknownTask, did_you_mean
from l4t_jax.files import write_json, write_whole
from l4t_jax.reporting import run_folder

FORMAT, VERSION = "l4t-trained", 1
DATA = Path(__file__).parent / "data"
CARD, PARAMS = "card.json", "student.npz"


def list_students() -> list[str]:
    """The names of the trained students in the package."""
    return sorted(path.parent.name for path in DATA.glob(f"*/{CARD}"))


def card(name: str) -> dict[str, Any]:
    """What is known of a trained student: its card.

    Args:
        name: of its task; capitals do not matter, and MiniGrid's ids are names too.

    Returns:
        `task`, `total_steps`, `seed` (which of the run's students it is), `teacher`, `observation`, `parameters`;
        `heldout`: its success with 95 % intervals, return and length on held-out levels, `sampled` and `greedy`, and
        those of `teacher` and `random`; `made`: when, by which code, versions and device; `file` and its `sha256`.

    Raises:
        RunFolderError: there is no such student; with the near names.
    """
    found = _named(name)
    if found is None:
        raise RunFolderError(f"there is no trained student named {name!r}; {_near(name)}")
    return run_folder.read(found / CARD)


def find(run: str | Path) -> Path:
    """The folder that is meant by a run folder's path or by the name of a trained student. A folder comes first.

    Args:
        run: `~` is the home folder.

    Raises:
        RunFolderError: it is a name, but no student's; with the near names.
    """
    path = Path(with_home(run))
    if path.exists() or path.parent != Path() or path.name in ("", ".."):
        return path
    found = _named(path.name)
    if found is None:
        raise RunFolderError(
            f"there is no folder {path}, and no trained student of that name; {_near(path.name)}; a run leaves a "
            "folder such as runs/SimpleDoorKey-l4t-0"
        )
    return found


def spelled(run: str | Path) -> str:
    """How a setting keeps a run: a trained student by its name, any other by its absolute path."""
    try:
        folder = find(run).absolute()
    except RunFolderError:  # a run's folder that is gone by now
        folder = Path(with_home(run)).absolute()
    return folder.name if folder.parent == DATA else str(folder)


def is_trained(folder: Path) -> bool:
    """Whether a folder holds a trained student, and not a run."""
    return (folder / CARD).is_file()


def beside(folder: Path, name: str) -> Path:
    """Where a file that is made of a run goes: into its folder; of a trained student, into the working folder.

    Args:
        folder: as `find` gives it.
        name: of the file.
    """
    return Path(f"{folder.name}-{name}") if is_trained(folder) else folder / name


def params(folder: Path, which: str = "last") -> Any:
    """The parameters of a trained student as numpy arrays, leading axis seeds (one).

    Args:
        folder: of the student.
        which: "last"; a trained student has no others.

    Raises:
        CheckpointError: the file is not the one that its card speaks of, cannot be read, or other parameters are
            asked for.
    """
    file, said = folder / PARAMS, run_folder.read(folder / CARD)
    if which != "last":
        raise CheckpointError(f"the trained student {folder.name} has its last parameters alone, not the {which}")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != said.get("sha256"):
        raise CheckpointError(f"{file} is damaged or another student's: its hash is not the one in {CARD}")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        named = {name: arrays[name][None] for name in arrays.files}
    return traverse_util.unflatten_dict(named, sep="/")


def write(folder: Path, settings: dict[str, Any], one: Any, said: dict[str, Any]) -> dict[str, Any]:
    """Writes a trained student; the same content gives the same bytes.

    Args:
        folder: where to; it is made.
        settings: of the run, as in its `config.json`.
        one: the student's parameters, nested dicts without an axis of seeds.
        said: its card but for `format`, `version`, `file`, `bytes` and `sha256`, which are added.

    Returns:
        The card.
    """
    buffer = io.BytesIO()
    named: dict[str, Any] = traverse_util.flatten_dict(one, sep="/")
    np.savez_compressed(buffer, allow_pickle=False, **{name: np.asarray(leaf) for name, leaf in named.items()})
    content = buffer.getvalue()
    file = dict(file=PARAMS, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    whole = dict(format=FORMAT, version=VERSION, **said, **file)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / PARAMS, content)
    write_json(folder / run_folder.CONFIG, settings)
    write_json(folder / CARD, whole)
    return whole


def _named(name: str) -> Path | None:
    """The folder of the student of that name."""
    known = {one.lower(): one for one in list_students()}
    found = known.get(name.lower())
    if found is None and not is_brought_in(name):
        try:
            found = known.get(get_task(name).name.lower())
        except UnknownTask:
            return None
    return None if found is None else DATA / found


def _near(name: str) -> str:
    return did_you_mean(name, list_students(), "`list_students` names them")
