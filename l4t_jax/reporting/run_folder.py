"""The files of a run folder: settings, curves, summary, and the lock that keeps it for one process.

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
LOCK = ".lock"


def read(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        RunFolderError: it is not there, or not JSON.
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
        run_dir: the folder asked for, or None.
        default: the folder where none was asked for; `-2`, `-3`, ... is added if there is one already.

    Raises:
        RunFolderError: the folder asked for is not empty, or cannot be made.
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
    """How to go on with a run, as Python; commands write it as theirs."""
    return f"`train(resume={str(folder)!r})`"


class Lock:
    """Holds a run folder for one process, until `release` or the process's end, however it ends.

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
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its holder's name
            self._path.write_text(f"process {os.getpid()} on {platform.node()}\n", encoding="utf-8")

    def release(self) -> None:
        """Lets go, and removes the lock file; a second time does nothing."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self._path.unlink()  # before it is released: filelock takes no lock on a file that is gone
            self._lock.release()


class Wandb:
    """A run's curves and summary in a Weights & Biases project: what `Config(wandb=PROJECT)` asks for.

    Args:
        project: its name.
        folder: the run folder, which holds wandb's own files too.
        config: the run's settings.

    Raises:
        WandbError: wandb is not there, or refuses.
    """

    def __init__(self, project: str, folder: Path, config: dict[str, Any]) -> None:
        try:
            import wandb

            settings = wandb.Settings(silent=True, console="off", login_timeout=20)
            self._run = wandb.init(project=project, dir=str(folder), name=folder.name, config=config, settings=settings)
        except Exception as error:  # whatever wandb raises, nothing has begun yet
            shutil.rmtree(folder / "wandb", ignore_errors=True)
            said = " ".join(str(error).split()).rstrip(".")
            raise WandbError(
                f"`wandb={project}`: {said}; set WANDB_API_KEY, or WANDB_MODE=offline to keep the curves here"
            ) from error

    def write(self, record: dict[str, Any]) -> None:
        """Sends one line of `metrics.jsonl`."""
        self._run.log(dict(flat(record)), step=record["steps"])

    def close(self, summary: dict[str, Any] | None) -> None:
        """Ends the run over there; without a summary as a failed one."""
        if summary is not None:
            self._run.summary.update(summary)
        self._run.finish(exit_code=0 if summary is not None else 1)


def flat(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """A line of `metrics.jsonl` as curves: (name, value) of what is finite, the mean and each seed's own."""
    for group in ("train", "validation", "time"):
        for name, value in record[group].items():
            values = np.atleast_1d(np.asarray(value, float))
            if np.isfinite(values).all():
                yield f"{group}/{name}", float(values.mean())
                if values.size > 1:
                    yield from ((f"{group}/{name}/seed {seed}", float(one)) for seed, one in enumerate(values))


class Writer:
    """Writes `metrics.jsonl` and TensorBoard events as a run goes on.

    Both are written by the caller's thread: what cannot be written is an `OSError` there. That is why this is not
    tensorboardX's `SummaryWriter`: it writes in a thread of its own behind a bounded queue, and on a full disk that
    thread dies with a traceback and the queue, once full, blocks the run for good. Its file format and names are used.

    Args:
        folder: the run folder.
        records: those of a run that goes on: `metrics.jsonl` then holds these and no others, and TensorBoard, which
            reads a new events file beside the old ones, is told to forget what those say of later steps.
    """

    def __init__(self, folder: Path, records: Sequence[dict[str, Any]] = ()) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore

        resumed = any(folder.glob("events.out.tfevents.*"))
        write_whole(folder / METRICS, "".join(dumps(record) + "\n" for record in records))
        self._file = (folder / METRICS).open("a", encoding="utf-8")
        # The name ends in the process: a run may go on within the second in which it was stopped.
        self._events = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        if resumed:
            after = records[-1]["steps"] + 1 if records else 0
            for event in (
                Event(step=after, file_version="brain.Event:2"),
                Event(step=after, session_log=SessionLog(status=SessionLog.START)),
            ):
                event.wall_time = time.time()
                self._events.write_event(event)

    def write(self, record: dict[str, Any]) -> None:
        """Appends one record; `record["steps"]` is its place on the curves."""
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore
        from tensorboardX.summary import scalar

        self._file.write(dumps(record) + "\n")
        self._file.flush()
        for name, value in flat(record):
            event = Event(summary=scalar(name, value), wall_time=time.time(), step=record["steps"])
            self._events.write_event(event)
        self._events.flush()

    def close(self) -> None:
        """Closes the files; what was written is on the disk already."""
        for file in (self._file, self._events):
            with contextlib.suppress(OSError):
                file.close()
