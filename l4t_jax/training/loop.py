"""The one host loop: a run from its compiling to its summary.

Host module, called by `api.train`. It compiles the programs, calls blocks of updates, each of which ends at an
evaluation on the validation levels, writes down what they give, and measures the last students on the test levels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import platform
import shlex
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax import files, parallel
from l4t_jax.config import Config
from l4t_jax.errors import DamagedCheckpoint, Diverged, Interrupted, TooLarge
from l4t_jax.evaluation import heldout
from l4t_jax.evaluation.playing import Episodes
from l4t_jax.reporting import run_folder
from l4t_jax.reporting.progress import Progress
from l4t_jax.teacher import file as teacher_file
from l4t_jax.teacher.live import LiveTeacher
from l4t_jax.teacher.policy import TeacherTable
from l4t_jax.training import checkpoint, compilation
from l4t_jax.training.trainer import Trainer


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run leaves.

    Attributes:
        summary: the content of `summary.json`.
        run_dir: the run folder.
        config: resolved, as it ran.
        params: the students' last parameters, numpy arrays with leading axis seeds.
        records: the lines of `metrics.jsonl`.
        heldout: episodes on the test levels by name ("student", "student, greedy", "teacher", "random"), numpy
            arrays (levels,), the students' (seeds, levels).
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
    """One run between its compiling and its end; `__init__` allocates nothing on the device.

    Args:
        trainer: the run's.
        teacher: the run's.
        folder: the run folder, which is this process's.
        progress: hears what happens.
        stop: what signals ask for.
        resumed: whether the folder may hold a checkpoint to go on from.
    """

    def __init__(
        self, trainer: Trainer, teacher: Teacher, folder: Path, progress: Progress, stop: Stop, resumed: bool
    ) -> None:
        self.trainer, self.config, self.teacher = trainer, trainer.config, teacher
        self.table = table = teacher.table
        self.folder, self.progress, self.stop = folder, progress, stop
        self._resumed = resumed
        config = self.config
        assert config.evaluations is not None
        self.seeds = config.num_seeds
        self.seconds = {"compile": 0.0, "train": 0.0, "evaluate": 0.0}
        self.records: list[dict[str, Any]] = []
        # Where blocks end, in updates: as even as can be.
        blocks = min(config.evaluations, trainer.total_updates)
        self.ends = [round((i + 1) * trainer.total_updates / blocks) for i in range(blocks)]

        self.wandb = (
            run_folder.Wandb(config.wandb, folder, dataclasses.asdict(config))
            if config.wandb and parallel.is_main()
            else None
        )
        progress.phase("compiling")
        began = time.perf_counter()
        self.measure = heldout.Measure(trainer, table, self.seeds, config.validation_levels)
        with memory_errors(config):
            self._compiled = self._compile()
        self.seconds["compile"] = time.perf_counter() - began
        self.state: Any = None  # on the device
        self._kept: Any = None  # the same on the host: blocks overwrite the former
        self.best: Any = None
        self._best_score: list[tuple[float, float]] = [(-1.0, -1.0)] * self.seeds
        self._writer: run_folder.Writer | None = None
        self._checkpoints: checkpoint.Checkpoints | None = None
        self._saved = time.monotonic()
        self._summary: dict[str, Any] | None = None

    def _compile(self) -> dict[str, Any]:
        config = self.config
        needed = _program_bytes_at_least(self.trainer)
        free = compilation.free_bytes()
        if free is not None and needed > free * compilation.HEADROOM:
            raise TooLarge(_too_large(self.trainer, self.table, needed, free))
        longest = max(end - begin for begin, end in itertools.pairwise([0, *self.ends]))
        made = training_programs(self.trainer, self.table, longest)
        params = made["block"][1][0].params
        needed = 4 * sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(params))  # gradients and Adam's moments too
        if free is not None and needed > free * compilation.HEADROOM:
            raise TooLarge(
                f"a student of --hidden {config.hidden} needs at least {compilation.in_words(needed)} of memory and "
                f"{compilation.in_words(free)} are free; try a smaller --hidden or fewer --num-seeds"
            )
        levels = {"validation": config.validation_levels, "test": config.heldout_levels}
        made |= self.measure.programs(params, levels, pictures=True)
        compiled = compilation.compile_all(made)
        sizes = {name: compilation.needed_bytes(one) * self.trainer.sharing_memory for name, one in compiled.items()}
        largest = max(sizes, key=sizes.__getitem__)
        if free is not None and sizes[largest] > free * compilation.HEADROOM:
            if largest in ("levels", "student", "others", "picture"):
                raise TooLarge(
                    f"evaluating needs at least {compilation.in_words(sizes[largest])} of memory and "
                    f"{compilation.in_words(free)} are free; try fewer "
                    "--validation-levels, --heldout-levels or --num-seeds"
                )
            raise TooLarge(_too_large(self.trainer, self.table, sizes[largest], free))
        return compiled

    def train(self) -> None:
        """From the first update, or the last checkpoint's, to the last."""
        config, trainer = self.config, self.trainer
        self._checkpoints = checkpoint.Checkpoints(self.folder, config)
        done = self._restore() if self._resumed else 0
        self._writer = run_folder.Writer(self.folder, self.records)
        with self._timed("evaluate"):
            self.measure.use(self._compiled)
            chance, teacher = self.measure.others(config.seed, "validation", config.validation_levels)
        if self.teacher.live is not None:
            teacher = None  # it was not asked yet, and knows nothing
        self.teacher_validation = None if teacher is None else heldout.averages(teacher)
        if self.table is not None and teacher is not None:
            listen = heldout.better(teacher, chance)
            self.table = self.table.replace(success=np.float32(teacher.success.mean() if listen else 0.0))
            if not listen and config.anneal == "success" and config.algo == "l4t":
                self.progress.notice(
                    f"the teacher succeeds on {teacher.success.mean():.3f} of the validation levels, no better than "
                    f"chance ({chance.success.mean():.3f}): it is not listened to (--anneal clock would)"
                )
        if self.state is None:
            self.state = trainer.put(self._compiled["init"](np.int32(config.seed)))
            self._kept = checkpoint.to_host(self.state)
        shown = None if self.teacher_validation is None else self.teacher_validation["success"]
        total = trainer.total_updates * trainer.steps_per_update
        self.progress.begin(total, shown, str(self.folder))
        if self.records:
            self.progress.evaluated(self.records[-1])
        with self.stop.after_block(f"stopped at once; {again(self.folder)} goes on from the last checkpoint"):
            for index, (begin, end) in enumerate(itertools.pairwise([0, *self.ends])):
                if end <= done:
                    continue
                self._block(index, begin, end)
                if parallel.broadcast(self.stop.asked is not None) and end < trainer.total_updates:
                    self._save(wait=True)
                    raise Interrupted(
                        f"stopped after {self.records[-1]['steps']:,} of {total:,} steps; the state of the run and its "
                        f"best student are saved, and {again(self.folder)} goes on",
                        self.stop.asked or signal.SIGTERM,  # another process may have been asked
                    )
                if parallel.broadcast(time.monotonic() - self._saved >= config.save_every):
                    self._save()
            self._save(wait=True)
        if parallel.broadcast(self.stop.asked is not None):
            words = f"stopped after training; {again(self.folder)} measures the student"
            raise Interrupted(words, self.stop.asked or signal.SIGTERM)

    def _restore(self) -> int:
        """Takes over the newest whole checkpoint, if there is one; the number of updates done."""
        assert self._checkpoints is not None
        template = jax.eval_shape(lambda: _initial(self.trainer, 0))
        with warnings.catch_warnings(record=True, category=DamagedCheckpoint) as said:
            warnings.simplefilter("always", DamagedCheckpoint)
            saved = self._checkpoints.restore(template)
        for warning in said:
            self.progress.notice(str(warning.message))
        if saved is None:
            self.progress.notice(f"{self.folder} has no checkpoint to go on from: starting from the first update")
            return 0
        self._kept, self.best = checkpoint.to_host(saved.state), saved.best
        self.state = self.trainer.put(saved.state)
        self.records = saved.host["records"]
        self._best_score = [(success, reward) for success, reward in saved.host["best"]]
        for name in ("train", "evaluate"):
            self.seconds[name] += saved.host["seconds"][name]
        done = int(np.asarray(self._kept.updates).reshape(-1)[0])
        steps = self.trainer.steps_per_update
        self.progress.notice(f"going on after {done * steps:,} of {self.trainer.total_updates * steps:,} steps")
        return done

    def _block(self, index: int, begin: int, end: int) -> None:
        config, trainer = self.config, self.trainer
        count = end - begin
        with self._timed("train"):
            self.state, values = self._compiled["block"](self.state, self.table, np.int32(count))
            _wait(values)
        met = values.pop("met", None)
        values = {name: np.asarray(value)[:, :count] for name, value in values.items()}  # (seeds, count)
        now = checkpoint.to_host(self.state)
        self._check_finite(values, now, begin, end)
        self._kept = now
        with self._timed("evaluate"):
            episodes = self.measure.students(
                self.state.params, config.seed, "validation", config.validation_levels, index
            )
        steps = end * trainer.steps_per_update
        values = {name: value.mean(axis=1) for name, value in values.items()}  # (seeds,)
        weight = float(values.pop("distill_weight").mean())
        record = dict(
            steps=steps,
            updates=end,
            train=dict(distill_weight=weight, **{name: value.tolist() for name, value in values.items()}),
            validation=heldout.averages(episodes),
            time=dict(
                train_s=self.seconds["train"],
                evaluate_s=self.seconds["evaluate"],
                env_steps_per_s=steps * self.seeds / self.seconds["train"],
            ),
        )
        record = files.strict(record)
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
        files.write_json(self.folder / run_folder.TEACHER, live.content)

    def _keep_best(self, validation: dict[str, list[float]]) -> None:
        """Of each seed, keeps the parameters just evaluated if they did better than all before."""
        score = list(zip(validation["success"], validation["return"], strict=False))
        better = np.asarray([new > old for new, old in zip(score, self._best_score, strict=False)])
        if not better.any():
            return
        now = self._kept.params
        self._best_score = [max(new, old) for new, old in zip(score, self._best_score, strict=False)]
        if self.best is None:
            self.best = now
        else:
            self.best = jax.tree.map(
                lambda new, old: np.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old), now, self.best
            )

    def _check_finite(self, values: dict[str, np.ndarray], now: Any, begin: int, end: int) -> None:
        """Raises `Diverged`, after saving the state before the block, unless all numbers after it are finite."""
        bad = {name: ~np.isfinite(value) for name, value in values.items()}  # (seeds, count)
        any_bad = np.logical_or.reduce(list(bad.values()))
        if any_bad.any():
            at = int(any_bad.any(axis=0).argmax())
            seed = int(any_bad[:, at].argmax())
            name = next(name for name in bad if bad[name][seed, at])
            where = f"at update {begin + at + 1}: {name} is {values[name][seed, at]}"
        else:
            leaves = jax.tree.leaves((now.params, now.opt_state))
            finite = [np.isfinite(x).reshape(self.seeds, -1).all(axis=1) for x in leaves if x.dtype.kind == "f"]
            each = np.logical_and.reduce(finite)
            if each.all():
                return
            seed = int((~each).argmax())
            where = f"by update {end}: not all parameters are finite"
        self._save(wait=True)
        of = f" (seed {seed} of {self.seeds}, counted from 0)" if self.seeds > 1 else ""
        raise Diverged(
            f"training went wrong {where}{of}; the last good state, after {begin} updates, is saved in {self.folder}; "
            "the same settings would come to the same: try a lower --learning-rate or --max-grad-norm"
        )

    def _save(self, wait: bool = False) -> None:
        """Saves the state on the host and what was recorded up to it."""
        assert self._checkpoints is not None
        teacher = self.teacher.content
        host = dict(
            best=[list(score) for score in self._best_score], seconds=self.seconds, records=self.records,
            versions=versions(), teacher=teacher,
            teacher_hash=None if teacher is None else teacher_file.digest(teacher),
        )  # fmt: skip
        updates = self.records[-1]["updates"] if self.records else 0
        best = self._kept.params if self.best is None else self.best
        self._checkpoints.save(updates, self._kept, best, json.loads(files.dumps(host)))
        if wait:
            self._checkpoints.wait()
        self._saved = time.monotonic()

    def finish(self) -> Result:
        """Measures the last students on the test levels, draws the pictures, writes the summary."""
        from l4t_jax.reporting import pictures, webpage

        config, trainer = self.config, self.trainer
        self.stop.words = f"stopped after training; {again(self.folder)} measures the student"
        self.progress.phase("measuring on held-out levels")
        levels = config.heldout_levels
        with self._timed("evaluate"):
            params = self.state.params
            episodes = {
                "student": self.measure.students(params, config.seed, "test", levels),
                "student, greedy": self.measure.students(params, config.seed, "test", levels, greedy=True),
            }
            random, teacher = self.measure.others(config.seed, "test", levels)
            if teacher is not None:
                episodes["teacher"] = teacher
            episodes["random"] = random
        steps = trainer.total_updates * trainer.steps_per_update
        averages = {name: heldout.averages(played) for name, played in episodes.items()}
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
                levels=levels,
                student={**averages["student"], "greedy": averages["student, greedy"]},
                teacher=averages.get("teacher"),
                random=averages["random"],
            ),
            steps_to_success=run_folder.steps_to_success(
                [record["steps"] for record in self.records],
                [record["validation"]["success"] for record in self.records],
                config.validation_levels,
            ),
        )
        summary = files.strict(summary)
        self.progress.phase("drawing")
        student, shown = self.measure.traces(params, config.seed, "test", 0)
        pictures.pictures(self.folder, trainer.task, self.table, student, shown)
        pictures.curves(self.folder, trainer.task, self.records, self.teacher_validation)
        result = Result(
            summary=summary, run_dir=self.folder, config=config, params=checkpoint.to_host(params),
            records=self.records, heldout=episodes,
        )  # fmt: skip
        webpage.write(result, self.teacher_validation)
        files.write_json(self.folder / run_folder.SUMMARY, summary)  # the last file: it says that the run is finished
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


def _initial(trainer: Trainer, seed: Any) -> Any:
    """The `TrainState` before the first update, leading axis seeds."""
    return trainer.init_seeds(jax.random.split(heldout.run_key(seed, "training"), trainer.config.num_seeds))


def training_programs(trainer: Trainer, table: TeacherTable | None, longest: int) -> dict[str, tuple[Any, tuple]]:
    """The programs that make a state (from the seed) and that run a block of updates."""

    def init(seed: Any) -> Any:
        return _initial(trainer, seed)

    def block(state: Any, table: TeacherTable | None, count: Any) -> Any:
        return trainer.train_seeds(state, table, longest, count)

    number = jax.ShapeDtypeStruct((), jnp.int32)
    state = trainer.specs(jax.eval_shape(init, number))
    return {
        "block": (
            jax.jit(block, donate_argnums=0, compiler_options=compilation.tuned()),
            (state, trainer.specs(table), number),
        ),
        "init": (jax.jit(init), (number,)),
    }


def _program_bytes_at_least(trainer: Trainer) -> int:
    """Bytes of the maps of one rollout: a floor under what a block needs, known without compiling it."""
    config, task = trainer.config, trainer.task
    return config.num_seeds * trainer.steps_per_update * task.width * task.height


def _too_large(trainer: Trainer, table: TeacherTable | None, needed: int, free: int) -> str:
    """The sentence for a run that does not fit, with a number of environments that does: it was compiled and
    measured.
    """
    config = trainer.config
    assert config.num_envs is not None and config.minibatches is not None
    least = config.minibatches if config.student == "lstm" else 1
    number, estimate, fits = config.num_envs, needed, free * compilation.HEADROOM
    while estimate > fits:
        scaled = min(int(number * fits / estimate), number - 1)
        number = 1 << (scaled.bit_length() - 1) if scaled > 0 else 0
        if number < least:
            return (
                f"this run needs {compilation.in_words(estimate)} even with few environments, and "
                f"{compilation.in_words(free)} are free; try fewer --num-seeds, --num-steps or a smaller --level-pool"
            )
        kept = config.devices if config.devices is not None and number % config.devices == 0 else None
        smaller = dataclasses.replace(config, num_envs=number, devices=kept)
        smaller = Trainer(config=smaller, task=trainer.task).spread()
        if _program_bytes_at_least(smaller) > fits:
            estimate = _program_bytes_at_least(smaller)
            continue
        compiled = compilation.compile_all(training_programs(smaller, table, 1))
        estimate = max(compilation.needed_bytes(one) for one in compiled.values()) * smaller.sharing_memory
    return (
        f"--num-envs {config.num_envs} needs at least {compilation.in_words(needed)} of memory and "
        f"{compilation.in_words(free)} are free; --num-envs {number} fits"
    )


@contextlib.contextmanager
def memory_errors(config: Config) -> Iterator[None]:
    """Memory that ran out after all, as a sentence."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not compilation.out_of_memory(error):
            raise
        assert config.num_envs is not None
        raise TooLarge(
            f"the device's memory ran out with --num-envs {config.num_envs}; "
            f"try --num-envs {max(config.num_envs // 4, 1)}"
        ) from error


class Stop:
    """What Ctrl-C and SIGTERM ask a run for: the first to stop soon, the second to stop at once.

    Attributes:
        asked: the number of the first signal, None before it.
        words: what the run says if it stops now.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self.words = "stopped before training began"
        self._patient = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Signals come here. Only in the main thread: others may not set handlers."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def after_block(self, words: str) -> Iterator[None]:
        """Within, the first signal is only noted in `asked`; a second one stops at once with `words`."""
        self.words, self._patient = words, True
        try:
            yield
        finally:
            self._patient = False

    def _hear(self, number: int, frame: Any) -> None:
        if self._patient and self.asked is None:
            self.asked = number
            return
        raise Interrupted(self.words, number)


def again(folder: Path) -> str:
    """The command that goes on with a run."""
    return f"`python -m l4t_jax.run --resume {shlex.quote(str(folder))}`"


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
    return f"cpu: {name}, {parallel.cores()} cores"


def versions() -> dict[str, str]:
    """Versions of what decides a run's figures."""
    from l4t_jax import __version__

    found = {"l4t_jax": __version__, "python": platform.python_version()}
    for name in ("jax", "jaxlib", "flax", "optax", "navix", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
