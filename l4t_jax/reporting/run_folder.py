"""The files of a run folder: settings, curves, summary, and the lock that lets only one process use it.

Host module.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l4t_jax.errors import RunFolderError
from l4t_jax.files import dumps, write_whole

CONFIG, METRICS, SUMMARY, TEACHER = "config.json", "metrics.jsonl", "summary.json", "teacher.json"
ASKED = "asked.jsonl"  # of a run whose LLM is asked while it learns: `teacher.live_log`
LEVELS = "levels.json"  # of a run whose held-out levels are a file's
LOCK = ".lock"


def read(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        RunFolderError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RunFolderError(f"{path} is not JSON: {error}") from error


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run folder's `metrics.jsonl`; of a run that was killed, without a line that it had not finished.

    Raises:
        RunFolderError: a line is not JSON.
    """
    path = folder / METRICS
    *whole, rest = path.read_text(encoding="utf-8").split("\n")
    records = []
    for number, line in enumerate(whole, start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise RunFolderError(f"line {number} of {path} is not JSON: {error}") from error
    with contextlib.suppress(ValueError):
        records.append(json.loads(rest))
    return records


def read_values(folder: Path) -> dict[str, Any]:
    """The settings in a run folder's `config.json`, as they are written.

    Raises:
        RunFolderError: it is not a run folder.
    """
    if folder.is_file():
        raise RunFolderError(
            f"{folder} is a file, not a run folder; an exported student acts without this package, as its card says"
        )
    if not folder.is_dir():
        raise RunFolderError(
            f"there is no folder {folder}; give the folder that a run left, such as runs/SimpleDoorKey-l4t-0"
        )
    file = folder / CONFIG
    if not file.is_file():
        inner = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
        hint = f"; did you mean {folder / inner[0]}?" if inner else f": it has no {CONFIG}"
        raise RunFolderError(f"{folder} is not a run folder{hint}")
    values = read(file)
    if "env" in values and "imports" not in values:
        raise RunFolderError(f"{folder} was left by l4t_jax 0.1, which this version cannot read; train it anew")
    return values


def animations(folder: Path) -> dict[str, Path]:
    """The animations in a run folder: of the student, and of the teacher if there is one."""
    paths = {who: folder / f"{who}.gif" for who in ("student", "teacher")}
    return {who: path for who, path in paths.items() if path.is_file()}


def new_folder(run_dir: str | None, default: str) -> Path:
    """Makes an empty run folder.

    Args:
        run_dir: the user's folder, or None.
        default: the folder if `run_dir` is None; `-2`, `-3`, ... is added if it exists already.

    Raises:
        RunFolderError: `run_dir` is not empty, or the folder cannot be made.
    """
    path = Path(run_dir if run_dir is not None else default)
    try:
        if run_dir is not None:
            path.mkdir(parents=True, exist_ok=True)
            if any(inner.name != LOCK for inner in path.iterdir()):
                raise RunFolderError(f"{path} is not empty; pass another `run_dir`, or empty it first")
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
            try:
                candidate.mkdir()
                return candidate
            except FileExistsError:
                number += 1
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        why = error.strerror if isinstance(error, OSError) else error
        raise RunFolderError(f"the run folder {path} cannot be made: {why}; pass another `run_dir`") from error


def resume_command(folder: Path) -> str:
    """The Python call that resumes a run. Commands print it as a command line."""
    return f"`train(resume={str(folder)!r})`"


class Lock:
    """Locks a run folder for one process, until `release` or until the process ends in any way.

    Raises:
        RunFolderError: another process holds it, or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        import filelock

        self._path = folder / LOCK
        self._lock = filelock.FileLock(self._path, thread_local=False)
        try:
            self._lock.acquire(blocking=False)
        except filelock.Timeout as error:
            who = ""
            with contextlib.suppress(OSError):
                who = self._path.read_text(encoding="utf-8").strip()
            who = who or "another process"
            raise RunFolderError(f"{folder} is in use by {who}; wait for it, or stop it") from error
        except OSError as error:
            raise RunFolderError(f"{folder} cannot be written: {error.strerror}") from error
        with contextlib.suppress(OSError):  # a full disk: the lock works without the owner's name
            self._path.write_text(f"process {os.getpid()} on {platform.node()}\n", encoding="utf-8")

    def release(self) -> None:
        """Releases the lock and removes the lock file; a second call does nothing."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self._path.unlink()  # before the release: filelock does not lock a deleted file
            self._lock.release()


class Writer:
    """Writes `metrics.jsonl` during a run.

    Args:
        folder: the run folder.
        records: of a resumed run; the file is rewritten with these records only.
    """

    def __init__(self, folder: Path, records: Sequence[dict[str, Any]] = ()) -> None:
        write_whole(folder / METRICS, "".join(dumps(record) + "\n" for record in records))
        self._file = (folder / METRICS).open("a", encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        """Appends one record."""
        self._file.write(dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file; every record was flushed before."""
        with contextlib.suppress(OSError):
            self._file.close()
