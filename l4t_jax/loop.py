"""The one host loop: a run from its compiling to its summary.

Host module, called by `api.train`. It compiles the programs, calls blocks of updates, each of which ends at an
evaluation on the validation boards, writes down what they give, and measures the last students on the test boards.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import platform
import signal
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax import checkpoint, devices, measure, metrics, programs
from l4t_jax.config import Config
from l4t_jax.evaluation import Episodes
from l4t_jax.progress import Progress
from l4t_jax.teacher.live import LiveTeacher
from l4t_jax.teacher.policy import TeacherTable
from l4t_jax.trainer import Trainer

SAVE_EVERY = 120.0  # seconds between two checkpoints while training: what a killed run can lose


class Interrupted(KeyboardInterrupt):
    """The run was stopped by Ctrl-C after a whole block; the message says what is saved where."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run leaves.

    Attributes:
        summary: the content of `summary.json`.
        run_dir: the run folder.
        config: resolved, as it ran.
        params: the students' last parameters, numpy arrays with leading axis seeds.
        records: the lines of `metrics.jsonl`.
        heldout: episodes on the test boards by name ("student", "student, greedy", "teacher", "random"), numpy
            arrays (boards,), the students' (seeds, boards).
    """

    summary: dict[str, Any]
    run_dir: Path
    config: Config
    params: Any
    records: list[dict[str, Any]]
    heldout: dict[str, Episodes]


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A run's teacher.

    Attributes:
        name: in tables and summaries.
        content: of its teacher file; None without one.
        table: the same for the device.
        live: an LLM that is asked between blocks for the states that were met; None otherwise.
    """

    name: str
    content: dict[str, Any] | None = None
    table: TeacherTable | None = None
    live: LiveTeacher | None = None


class Run:
    """One run between its compiling and its end; `__init__` allocates nothing on the device."""

    def __init__(self, trainer: Trainer, teacher: Teacher, folder: Path, progress: Progress) -> None:
        self.trainer, self.config, self.teacher = trainer, trainer.config, teacher
        self.table = table = teacher.table
        self.folder, self.progress = folder, progress
        config = self.config
        assert config.evaluations is not None
        self.seeds = config.num_seeds
        self.seconds = {"compile": 0.0, "train": 0.0, "evaluate": 0.0}
        self.records: list[dict[str, Any]] = []
        # Where blocks end, in updates: as even as can be.
        blocks = min(config.evaluations, trainer.total_updates)
        self.ends = [round((i + 1) * trainer.total_updates / blocks) for i in range(blocks)]

        self.wandb = (
            metrics.Wandb(config.wandb, folder, dataclasses.asdict(config))
            if config.wandb and devices.first()
            else None
        )
        progress.phase("compiling")
        began = time.perf_counter()
        self.measure = measure.Measure(trainer, table, self.seeds, config.validation_boards)
        with memory_errors(config):
            self._compiled = self._compile()
        self.seconds["compile"] = time.perf_counter() - began
        self.state: Any = None
        self.best: Any = None
        self._best_score: list[tuple[float, float]] = [(-1.0, -1.0)] * self.seeds
        self._writer: metrics.Writer | None = None
        self._checkpoints: checkpoint.Checkpoints | None = None
        self._saved = time.monotonic()
        self._summary: dict[str, Any] | None = None

    def _compile(self) -> dict[str, Any]:
        config = self.config
        needed = _program_bytes_at_least(self.trainer)
        free = programs.free_bytes()
        if free is not None and needed > free * programs.HEADROOM:
            raise programs.TooLarge(_too_large(self.trainer, self.table, needed, free))
        longest = max(end - begin for begin, end in itertools.pairwise([0, *self.ends]))
        made = training_programs(self.trainer, self.table, longest)
        params = made["block"][1][0].params
        boards = {"validation": config.validation_boards, "test": config.heldout_boards}
        made |= self.measure.programs(params, boards, pictures=True)
        compiled = programs.compile_all(made)
        needed = max(programs.needed_bytes(one) for one in compiled.values()) * self.trainer.sharing_memory
        if free is not None and needed > free * programs.HEADROOM:
            raise programs.TooLarge(_too_large(self.trainer, self.table, needed, free))
        return compiled

    def train(self) -> None:
        """From the first update to the last."""
        config, trainer = self.config, self.trainer
        self._writer = metrics.Writer(self.folder)
        self._checkpoints = checkpoint.Checkpoints(self.folder, config)
        with self._timed("evaluate"):
            self.measure.use(self._compiled)
            _, teacher = self.measure.others(config.seed, "validation", config.validation_boards)
        if self.teacher.live is not None:
            teacher = None  # it was not asked yet, and knows nothing
        self.teacher_validation = None if teacher is None else measure.averages(teacher)
        if self.table is not None and self.teacher_validation is not None:
            self.table = self.table.replace(success=np.float32(self.teacher_validation["success"]))
        self.state = trainer.put(self._compiled["init"](np.int32(config.seed)))
        shown = None if self.teacher_validation is None else self.teacher_validation["success"]
        self.progress.begin(trainer.total_updates * trainer.steps_per_update, shown, str(self.folder))
        with _ctrl_c() as stopped:
            for index, (begin, end) in enumerate(itertools.pairwise([0, *self.ends])):
                self._block(index, end - begin, end)
                if devices.agreed(stopped()) and end < trainer.total_updates:
                    self._save()
                    raise Interrupted(
                        f"stopped after {self.records[-1]['steps']:,} of "
                        f"{trainer.total_updates * trainer.steps_per_update:,} steps; the state of the run and its "
                        f"best student are saved in {self.folder}"
                    )
                if devices.agreed(time.monotonic() - self._saved > SAVE_EVERY):
                    self._save()
            self._save()

    def _block(self, index: int, count: int, end: int) -> None:
        config, trainer = self.config, self.trainer
        with self._timed("train"):
            self.state, values = self._compiled["block"](self.state, self.table, np.int32(count))
            _wait(values)
        with self._timed("evaluate"):
            episodes = self.measure.students(
                self.state.params, config.seed, "validation", config.validation_boards, index
            )
        steps = end * trainer.steps_per_update
        met = values.pop("met", None)
        values = {name: np.asarray(value)[:, :count].mean(axis=1) for name, value in values.items()}  # (seeds,)
        weight = float(values.pop("distill_weight").mean())
        record = dict(
            steps=steps,
            updates=end,
            train=dict(distill_weight=weight, **{name: value.tolist() for name, value in values.items()}),
            validation=measure.averages(episodes),
            time=dict(
                train_s=self.seconds["train"],
                evaluate_s=self.seconds["evaluate"],
                env_steps_per_s=steps * self.seeds / self.seconds["train"],
            ),
        )
        record = metrics.strict(record)
        self.records.append(record)
        self._keep_best(record["validation"])
        assert self._writer is not None
        self._writer.write(record)
        if self.wandb is not None:
            self.wandb.write(record)
        self.progress.evaluated(record)
        if met is not None:
            self._ask(np.flatnonzero(np.asarray(met).any(axis=(0, 1))))

    def _ask(self, met: np.ndarray) -> None:
        """Asks a teacher that grows for the symbolic states just met, `int[states]`."""
        live = self.teacher.live
        assert live is not None
        if live.meet(met.tolist()):
            self.table = self.measure.table = self.trainer.put(live.table)
        metrics.write(self.folder / metrics.TEACHER, live.content)

    def _keep_best(self, validation: dict[str, list[float]]) -> None:
        """Of each seed, keeps the parameters just evaluated if they did better than all before."""
        score = list(zip(validation["success"], validation["return"], strict=False))
        better = np.asarray([new > old for new, old in zip(score, self._best_score, strict=False)])
        if not better.any():
            return
        now = checkpoint.to_host(self.state.params)
        self._best_score = [max(new, old) for new, old in zip(score, self._best_score, strict=False)]
        if self.best is None:
            self.best = now
        else:
            self.best = jax.tree.map(
                lambda new, old: np.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old), now, self.best
            )

    def _save(self) -> None:
        assert self._checkpoints is not None
        host = dict(best=[list(score) for score in self._best_score], seconds=self.seconds, records=len(self.records))
        self._checkpoints.save(self.records[-1]["updates"], self.state, self.best, metrics.strict(host))
        self._saved = time.monotonic()

    def finish(self) -> Result:
        """Measures the last students on the test boards, draws the pictures, writes the summary."""
        from l4t_jax import page, report

        config, trainer = self.config, self.trainer
        self.progress.phase("measuring on held-out boards")
        boards = config.heldout_boards
        with self._timed("evaluate"):
            params = self.state.params
            heldout = {
                "student": self.measure.students(params, config.seed, "test", boards),
                "student, greedy": self.measure.students(params, config.seed, "test", boards, greedy=True),
            }
            random, teacher = self.measure.others(config.seed, "test", boards)
            if teacher is not None:
                heldout["teacher"] = teacher
            heldout["random"] = random
        steps = trainer.total_updates * trainer.steps_per_update
        averages = {name: measure.averages(episodes) for name, episodes in heldout.items()}
        summary = dict(
            task=trainer.task.name,
            algo=config.algo,
            teacher=self.teacher.name,
            device=device_name(),
            versions=versions(),
            total_steps=steps,
            env_steps_per_s=steps * self.seeds / self.seconds["train"],
            seconds=self.seconds,
            heldout=dict(
                boards=boards,
                student={**averages["student"], "greedy": averages["student, greedy"]},
                teacher=averages.get("teacher"),
                random=averages["random"],
            ),
            steps_to_success=metrics.steps_to_success(
                [record["steps"] for record in self.records],
                [record["validation"]["success"] for record in self.records],
                config.validation_boards,
            ),
        )
        summary = metrics.strict(summary)
        self.progress.phase("drawing")
        student, shown = self.measure.traces(params, config.seed, "test", 0)
        report.pictures(self.folder, trainer.task, self.table, student, shown)
        report.curves(self.folder, trainer.task, self.records, self.teacher_validation)
        metrics.write(self.folder / metrics.SUMMARY, summary)
        result = Result(
            summary=summary, run_dir=self.folder, config=config, params=checkpoint.to_host(params),
            records=self.records, heldout=heldout,
        )  # fmt: skip
        page.write(result, self.teacher_validation)
        self._summary = summary
        return result

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._checkpoints is not None:
            self._checkpoints.close()
        if self.wandb is not None:
            self.wandb.close(self._summary)

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - began


def training_programs(trainer: Trainer, table: TeacherTable | None, longest: int) -> dict[str, tuple[Any, tuple]]:
    """The programs that make a state (from the seed) and that run a block of updates."""

    def init(seed: Any) -> Any:
        keys = jax.random.split(measure.run_key(seed, "training"), trainer.config.num_seeds)
        return trainer.init_seeds(keys)

    def block(state: Any, table: TeacherTable | None, count: Any) -> Any:
        return trainer.train_seeds(state, table, longest, count)

    number = jax.ShapeDtypeStruct((), jnp.int32)
    state = trainer.specs(jax.eval_shape(init, number))
    return {
        "block": (jax.jit(block, donate_argnums=0), (state, trainer.specs(table), number)),
        "init": (jax.jit(init), (number,)),
    }


def _program_bytes_at_least(trainer: Trainer) -> int:
    """Bytes of the maps of one rollout: a floor under what a block needs, known without compiling it."""
    config, task = trainer.config, trainer.task
    return config.num_seeds * trainer.steps_per_update * task.width * task.height


def _too_large(trainer: Trainer, table: TeacherTable | None, needed: int, free: int) -> str:
    """The sentence for a run that does not fit, with a number of worlds that does: it was compiled and measured."""
    config = trainer.config
    assert config.num_envs is not None and config.minibatches is not None
    least = config.minibatches if config.student == "lstm" else 1
    number, estimate, fits = config.num_envs, needed, free * programs.HEADROOM
    while estimate > fits:
        scaled = min(int(number * fits / estimate), number - 1)
        number = 1 << (scaled.bit_length() - 1) if scaled > 0 else 0
        if number < least:
            return (
                f"this run needs {programs.in_words(estimate)} even with few worlds, and "
                f"{programs.in_words(free)} are free; try fewer --num-seeds, --num-steps or a smaller --board-pool"
            )
        kept = config.devices if config.devices is not None and number % config.devices == 0 else None
        smaller = dataclasses.replace(config, num_envs=number, devices=kept)
        smaller = Trainer(config=smaller, task=trainer.task).spread()
        if _program_bytes_at_least(smaller) > fits:
            estimate = _program_bytes_at_least(smaller)
            continue
        compiled = programs.compile_all(training_programs(smaller, table, 1))
        estimate = max(programs.needed_bytes(one) for one in compiled.values()) * smaller.sharing_memory
    return (
        f"--num-envs {config.num_envs} needs at least {programs.in_words(needed)} of memory and "
        f"{programs.in_words(free)} are free; --num-envs {number} fits"
    )


@contextlib.contextmanager
def memory_errors(config: Config) -> Iterator[None]:
    """Memory that ran out after all, as a sentence."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not programs.out_of_memory(error):
            raise
        assert config.num_envs is not None
        raise programs.TooLarge(
            f"the device's memory ran out with --num-envs {config.num_envs}; "
            f"try --num-envs {max(config.num_envs // 4, 1)}"
        ) from error


@contextlib.contextmanager
def _ctrl_c() -> Iterator[Any]:
    """Turns the first Ctrl-C into a wish to stop after the block; the second stops at once.

    Yields:
        A function that tells whether to stop.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield lambda: False
        return
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def handler(number: int, frame: Any) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    signal.signal(signal.SIGINT, handler)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _wait(tree: Any) -> None:
    """`jax.block_until_ready`, but Python's signal handlers go on being called."""
    pause = 0.0005
    for leaf in jax.tree.leaves(tree):
        while not leaf.is_ready():
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)
    jax.block_until_ready(tree)  # raises what the computation raised


def device_name() -> str:
    """The device in words, such as "cpu: AMD EPYC 7763, 2 cores"."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return f"{device.platform}: {device.device_kind}"
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    import os

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"cpu: {name}, {cores} cores"


def versions() -> dict[str, str]:
    """Versions of what decides a run's figures."""
    from l4t_jax import __version__

    found = {"l4t_jax": __version__, "python": platform.python_version()}
    for name in ("jax", "jaxlib", "flax", "optax", "navix", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
