"""What a run sends to TensorBoard and to Weights & Biases: curves, settings, results, animations.

Host module. Both hear the same four calls from the loop: `begin`, `write` for every line of `metrics.jsonl`, `finish`,
`close`.
"""

from __future__ import annotations

import abc
import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from l4t_jax.config import MAY_CHANGE
from l4t_jax.errors import WandbError
from l4t_jax.reporting import run_folder

GROUPS = ("train", "validation", "parts", "time")  # of a line of `metrics.jsonl`
EVENTS = "events.out.tfevents.*"


class Tracker(abc.ABC):
    """Where the figures of a run are sent."""

    @abc.abstractmethod
    def begin(
        self, settings: Mapping[str, Any], teacher: Mapping[str, float] | None, earlier: Sequence[dict[str, Any]]
    ) -> None:
        """The run starts, or goes on.

        Args:
            settings: of the run.
            teacher: its averages on the validation levels, drawn beside the students'; None without a teacher.
            earlier: the lines of `metrics.jsonl` that a resumed run has already.
        """

    @abc.abstractmethod
    def write(self, record: dict[str, Any]) -> None:
        """A line of `metrics.jsonl`; `record["steps"]` is its x value."""

    @abc.abstractmethod
    def finish(self, summary: dict[str, Any]) -> None:
        """The run is finished: its results, and the animations in its folder."""

    @abc.abstractmethod
    def close(self) -> None:
        """The process is done with the run, finished or not."""


def flat(record: Mapping[str, Any], teacher: Mapping[str, float] | None = None) -> Iterator[tuple[str, float]]:
    """A line of `metrics.jsonl` as (curve name, value): the mean over seeds, then each seed; only finite values.

    Args:
        record: the line.
        teacher: its averages, which are a level line beside the curve of each.
    """
    for group in GROUPS:
        for name, value in record.get(group, {}).items():
            values = np.atleast_1d(np.asarray(value, float))
            if np.isfinite(values).all():
                yield f"{group}/{name}", float(values.mean())
                if values.size > 1:
                    yield from ((f"{group}/{name}/seed {seed}", float(one)) for seed, one in enumerate(values))
    for name, value in (teacher or {}).items():
        yield f"validation/{name}/teacher", float(value)


def hyperparameters(settings: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """The settings that decide what a run comes to, as a table of runs shows them; those without a value are left out.

    Args:
        settings: of the run.
    """
    shown: dict[str, bool | int | float | str] = {}
    for name, value in settings.items():
        if name in MAY_CHANGE or value is None or value == ():
            continue
        if name == "imports":
            value = " ".join(one["name"] if isinstance(one, Mapping) else str(one) for one in value)
        shown[name] = value if isinstance(value, bool | int | float | str) else str(value)
    return shown


def results(summary: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a finished run that a table of runs shows, means over the seeds."""
    student, teacher = summary["heldout"]["student"], summary["heldout"]["teacher"]
    found = {f"heldout/{name}": student[name] for name in ("success", "return", "length")}
    found["heldout/success/greedy"] = student["greedy"]["success"]
    if teacher is not None:
        found["heldout/success/teacher"] = teacher["success"]
    return {name: float(np.mean(value)) for name, value in found.items()}


class TensorBoard(Tracker):
    """Writes a TensorBoard events file into the run folder.

    It is written in the caller's thread, so a failed write is an `OSError` there. tensorboardX's `SummaryWriter` is not
    used, because it writes in its own thread behind a bounded queue: on a full disk that thread dies with a traceback,
    and the queue fills and blocks the run forever. Its file format and file names are used.

    The hyper-parameters are those of TensorBoard's HPARAMS page, the animations are on its IMAGES page, and CUSTOM
    SCALARS has the students and the teacher in one chart.

    Args:
        folder: the run folder. Where it has an events file already, the new one tells TensorBoard to drop the later
            steps of the older one.
    """

    METRICS = ("heldout/success", "heldout/success/greedy", "heldout/return", "validation/success")

    def __init__(self, folder: Path) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        self._folder = folder
        self._files = len(list(folder.glob(EVENTS)))
        # The name ends in a number, because a run can be resumed within the second in which it was stopped.
        self._events = EventsWriter(str(folder / "events"), f".{os.getpid()}.{self._files}")
        self._teacher: Mapping[str, float] | None = None

    def begin(
        self, settings: Mapping[str, Any], teacher: Mapping[str, float] | None, earlier: Sequence[dict[str, Any]]
    ) -> None:
        from tensorboardX.proto.event_pb2 import SessionLog  # pyright: ignore
        from tensorboardX.summary import custom_scalars, hparams

        self._teacher = teacher
        step = earlier[-1]["steps"] + 1 if earlier else 0
        if self._files:
            self._event(step, file_version="brain.Event:2")
            self._event(step, session_log=SessionLog(status=SessionLog.START))
        about, start, _ = hparams(hyperparameters(settings), dict.fromkeys(self.METRICS, 0.0))
        names = ("success", "return")
        charts = {name: ["Multiline", [rf"validation/{name}(/teacher|/seed_\d+)?$"]] for name in names}
        for summary in (about, start, custom_scalars({"students and teacher": charts})):
            self._event(step, summary=summary)
        self._events.flush()

    def write(self, record: dict[str, Any]) -> None:
        self._scalars(record["steps"], dict(flat(record, self._teacher)))
        self._events.flush()

    def finish(self, summary: dict[str, Any]) -> None:
        from PIL import Image
        from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore
        from tensorboardX.summary import hparams

        step = summary["total_steps"]
        self._scalars(step, results(summary))
        for who, path in run_folder.animations(self._folder).items():
            with Image.open(path) as shown:
                width, height = shown.size
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes())
            self._event(step, summary=Summary(value=[Summary.Value(tag=f"animation/{who}", image=image)]))
        self._event(step, summary=hparams({}, {})[2])
        self._events.flush()

    def close(self) -> None:
        """Closes the file; all was flushed before."""
        with contextlib.suppress(OSError):
            self._events.close()

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX.summary import scalar

        for name, value in values.items():
            self._event(step, summary=scalar(name, value))

    def _event(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore

        self._events.write_event(Event(wall_time=time.time(), step=step, **content))


class Wandb(Tracker):
    """Sends a run to a Weights & Biases project, for `Config(wandb=PROJECT)`.

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
        self._folder = folder
        self._teacher: Mapping[str, float] | None = None
        self._finished = False

    def begin(
        self, settings: Mapping[str, Any], teacher: Mapping[str, float] | None, earlier: Sequence[dict[str, Any]]
    ) -> None:
        self._teacher = teacher
        for record in earlier:  # a resumed run is a new one there
            self.write(record)

    def write(self, record: dict[str, Any]) -> None:
        self._run.log(dict(flat(record, self._teacher)), step=record["steps"])

    def finish(self, summary: dict[str, Any]) -> None:
        import wandb

        sent: dict[str, Any] = {**results(summary)}
        for who, path in run_folder.animations(self._folder).items():
            sent[f"animation/{who}"] = wandb.Video(str(path), format="gif")
        self._run.log(sent, step=summary["total_steps"])
        self._run.summary.update(summary)
        self._finished = True

    def close(self) -> None:
        """Ends the run there; one that is not finished is marked as failed."""
        self._run.finish(exit_code=0 if self._finished else 1)
