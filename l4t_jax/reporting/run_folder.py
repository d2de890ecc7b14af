"""The files of a run folder: settings, curves, summary, and the lock that lets only one process use it.

Host module.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from l4t_jax.errors import RunFolderError, WandbError
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
    """The lines of a run folder's `metrics.jsonl`."""
    return [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]


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


class Wandb:
    """Sends a run's curves and summary to a Weights & Biases project, for `Config(wandb=PROJECT)`.

    Args:
        project: its name.
        folder: the run folder, which holds wandb's own files too.
        config: the run's settings.

    Raises:
        WandbError: wandb is not installed, or fails.
    """

    def __init__(self, project: str, folder: Path, config: dict[str, Any]) -> None:
        try:
            import wandb

            settings = wandb.Settings(silent=True, console="off", login_timeout=20)
            self._run = wandb.init(project=project, dir=str(folder), name=folder.name, config=config, settings=settings)
        except Exception as error:  # wandb raises many types; the run has not started yet
            shutil.rmtree(folder / "wandb", ignore_errors=True)
            said = " ".join(str(error).split()).rstrip(".")
            raise WandbError(
                f"`wandb={project}`: {said}; set WANDB_API_KEY, or WANDB_MODE=offline to keep the curves here"
            ) from error

    def write(self, record: dict[str, Any]) -> None:
        """Sends one line of `metrics.jsonl`."""
        self._run.log(dict(flat(record)), step=record["steps"])

    def close(self, summary: dict[str, Any] | None) -> None:
        """Ends the run on Weights & Biases; without a summary it is marked as failed."""
        if summary is not None:
            self._run.summary.update(summary)
        self._run.finish(exit_code=0 if summary is not None else 1)


def flat(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """A line of `metrics.jsonl` as (curve name, value): the mean over seeds, then each seed; only finite values."""
    for group in ("train", "validation", "time"):
        for name, value in record[group].items():
            values = np.atleast_1d(np.asarray(value, float))
            if np.isfinite(values).all():
                yield f"{group}/{name}", float(values.mean())
                if values.size > 1:
                    yield from ((f"{group}/{name}/seed {seed}", float(one)) for seed, one in enumerate(values))


class Writer:
    """Writes `metrics.jsonl` and TensorBoard events during a run.

    Both are written in the caller's thread, so a failed write is an `OSError` there. tensorboardX's `SummaryWriter` is
    not used, because it writes in its own thread behind a bounded queue. On a full disk that thread dies with a
    traceback, and the queue fills and blocks the run forever. Its file format and file names are used.

    Args:
        folder: the run folder.
        records: of a resumed run. `metrics.jsonl` is rewritten with these records only. The new TensorBoard events file
            tells TensorBoard to drop later steps from the older files.
    """

    def __init__(self, folder: Path, records: Sequence[dict[str, Any]] = ()) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore

        earlier = len(list(folder.glob("events.out.tfevents.*")))
        write_whole(folder / METRICS, "".join(dumps(record) + "\n" for record in records))
        self._file = (folder / METRICS).open("a", encoding="utf-8")
        # The name ends in a number, because a run can be resumed within the second in which it was stopped.
        self._events = EventsWriter(str(folder / "events"), f".{os.getpid()}.{earlier}")
        if earlier:
            after = records[-1]["steps"] + 1 if records else 0
            for event in (
                Event(step=after, file_version="brain.Event:2"),
                Event(step=after, session_log=SessionLog(status=SessionLog.START)),
            ):
                event.wall_time = time.time()
                self._events.write_event(event)

    def write(self, record: dict[str, Any]) -> None:
        """Appends one record; `record["steps"]` is its x value on the curves."""
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore
        from tensorboardX.summary import scalar

        self._file.write(dumps(record) + "\n")
        self._file.flush()
        for name, value in flat(record):
            event = Event(summary=scalar(name, value), wall_time=time.time(), step=record["steps"])
            self._events.write_event(event)
        self._events.flush()

    def close(self) -> None:
        """Closes the files; every record was flushed before."""
        for file in (self._file, self._events):
            with contextlib.suppress(OSError):
                file.close()
