"""The one host loop: a run from its compiling to its summary.

Host module, called by `api.train`. It compiles the programs, calls blocks of updates, each of which ends at an
evaluation on the validation levels, writes down what they give, and evaluates the last students on the test levels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from l4t_jax import files, parallel
from l4t_jax.errors import DamagedCheckpoint, Diverged, Interrupted
from l4t_jax.evaluation import intervals, level_file, parts
from l4t_jax.evaluation.heldout import Evaluator, join
from l4t_jax.evaluation.playing import Episodes
from l4t_jax.reporting import advice, findings, guidance, machine, pictures, run_folder, webpage
from l4t_jax.reporting.findings import Findings
from l4t_jax.reporting.progress import Progress
from l4t_jax.reporting.result import Result
from l4t_jax.reporting.run_folder import resume_command
from l4t_jax.reporting.trackers import TensorBoard, Tracker, Wandb
from l4t_jax.teacher import file as teacher_file
from l4t_jax.teacher.live_log import LiveLog
from l4t_jax.teacher.policy import TeacherTable
from l4t_jax.training import checkpoint, programs
from l4t_jax.training.best import BestParams
from l4t_jax.training.blocks import Blocks, Done
from l4t_jax.training.first_trust import first_trust
from l4t_jax.training.run_teacher import RunTeacher
from l4t_jax.training.signals import Stop
from l4t_jax.training.trainer import Trainer


class Run:
    """One run between its compiling and its end; `__init__` allocates nothing on the device.

    Args:
        trainer: the run's.
        teacher: the run's.
        folder: the run folder, which is this process's.
        progress: hears what happens.
        stop: what signals ask for.
        resumed: whether the folder may hold a checkpoint to go on from.
        first: the students' first parameters, leading axis seeds; None for random ones.
    """

    def __init__(
        self, trainer: Trainer, teacher: RunTeacher, folder: Path, progress: Progress, stop: Stop, resumed: bool,
        first: Any = None,
    ) -> None:  # fmt: skip
        self.trainer, self.config, self.teacher = trainer, trainer.config, teacher
        self.table = table = teacher.table
        self.folder, self.progress, self.stop = folder, progress, stop
        self._resumed, self._first = resumed, first
        config = self.config
        self.seeds = config.num_seeds
        self.seconds = {"compile": 0.0, "train": 0.0, "evaluate": 0.0}
        self.records: list[dict[str, Any]] = []
        self.blocks = Blocks.of(trainer)

        self.trackers: list[Tracker] = []
        if config.wandb and parallel.is_main():
            self.trackers.append(Wandb(config.wandb, folder, dataclasses.asdict(config)))
        progress.phase("compiling")
        began = time.perf_counter()
        given = None
        if config.levels_from is not None:
            given = level_file.to_levels(level_file.load(folder / run_folder.LEVELS), trainer.task, config.levels_from)
        self.evaluator = Evaluator(trainer.players, table, config.validation_levels, given, watch=True)
        with programs.memory_errors(config):
            self._compiled = programs.compile_run(trainer, table, self.evaluator, self.blocks.longest, first)
        self.seconds["compile"] = time.perf_counter() - began
        self.state: Any = None  # on the device
        self._kept: Any = None  # the same on the host: blocks overwrite the former
        self._others: dict[str, Episodes] = {}  # of random policy and teacher, on the validation levels
        self.best = BestParams(self.seeds)
        self._writer: run_folder.Writer | None = None
        self._checkpoints: checkpoint.Checkpoints | None = None
        self._saved = time.monotonic()

    def train(self) -> None:
        """From the first update, or the last checkpoint's, to the last."""
        config, trainer = self.config, self.trainer
        self._checkpoints = checkpoint.Checkpoints(self.folder, config)
        if self._resumed:
            self._restore()
        done, number = len(self.records), len(self.blocks.ends)
        self._follow(done)
        self._writer = run_folder.Writer(self.folder, self.records)
        with self._timed("evaluate"):
            self.evaluator.use(self._compiled)
            random, teacher = self.evaluator.others(config.seed, "validation", config.validation_levels)
        if self.teacher.live is not None:
            teacher = None  # it was not asked yet, and knows nothing
        self._others = {"random": random} | ({} if teacher is None else {"teacher": teacher})
        self.teacher_validation = None if teacher is None else intervals.averages(teacher)
        self.trackers.append(TensorBoard(self.folder))
        for tracker in self.trackers:
            tracker.begin(dataclasses.asdict(config), self.teacher_validation, self.records)
        if self.table is not None and teacher is not None:
            self._first_trust(self.table, teacher, random)
        if self.state is None:
            first = () if self._first is None else (self._first,)
            self.state = trainer.put(self._compiled["init"](np.int32(config.seed), *first))
            self._kept = checkpoint.to_host(self.state)
            if self._first is not None:
                self._save(wait=True)  # to go on from, should the run that it starts from be gone by then
        shown = None if self.teacher_validation is None else self.teacher_validation["success"]
        total = self.blocks.total
        self.progress.begin(total, shown, str(self.folder))
        if self.records:
            self.progress.evaluated(self.records[-1])
        with self.stop.after_block(f"stopped at once; {resume_command(self.folder)} goes on from the last checkpoint"):
            for index in range(done, number):
                self._block(index)
                if parallel.broadcast(self.stop.asked is not None) and index + 1 < number:
                    self._save(wait=True)
                    raise Interrupted(
                        f"stopped after {self.records[-1]['steps']:,} of {total:,} steps; the state of the run and its "
                        f"best student are saved, and {resume_command(self.folder)} goes on",
                        self.stop.asked or signal.SIGTERM,  # another process may have been asked
                    )
                if parallel.broadcast(time.monotonic() - self._saved >= config.save_every):
                    self._save()
            self._save(wait=True)
        if parallel.broadcast(self.stop.asked is not None):
            words = f"stopped after training; {resume_command(self.folder)} evaluates the student"
            raise Interrupted(words, self.stop.asked or signal.SIGTERM)

    def _first_trust(self, table: TeacherTable, teacher: Episodes, random: Episodes) -> None:
        """Decides how far the students follow the teacher at first, from what both achieve on the validation levels."""
        config, follows = self.config, self.trainer.algorithm.follows_success(self.config)

        def played(share: float, times: int) -> tuple[Episodes, Episodes]:
            if (share, times) == (table.follow, 1):
                return random, teacher
            one, number = table.replace(follow=np.float32(share)), config.validation_levels
            lots: tuple[list[Episodes], list[Episodes]] = [], []
            for draw in range(times):
                chance, taught = self.evaluator.others(config.seed + draw, "validation", number, one)
                assert taught is not None
                lots[0].append(chance)
                lots[1].append(taught)
            return join(lots[0], times * number), join(lots[1], times * number)

        with self._timed("evaluate"):
            first = first_trust(played, float(table.follow), mix=follows and config.trust != "whole")
        self.table = table.replace(success=np.float32(first.compared), follow=np.float32(first.follow))
        if not follows:
            return
        alone = f"the teacher succeeds on {teacher.success.mean():.3f} of the validation levels"
        if first.success == 0:
            self.progress.notice(
                f"{alone}, no better than the random policy ({random.success.mean():.3f}): it gets weight 0 (not so "
                "with `anneal=clock`)"
            )
        elif first.follow < table.follow:
            self.progress.notice(
                f"{alone}, and on {first.success:.3f} with {1 - first.follow:.0%} of its steps at random: its labels "
                "are mixed so (not so with `trust=whole`)"
            )

    def _restore(self) -> None:
        """Takes over the newest whole checkpoint, if there is one."""
        assert self._checkpoints is not None
        template = jax.eval_shape(lambda: programs.initial_state(self.trainer, 0))
        with warnings.catch_warnings(record=True, category=DamagedCheckpoint) as said:
            warnings.simplefilter("always", DamagedCheckpoint)
            saved = self._checkpoints.restore(template)
        for warning in said:
            self.progress.notice(str(warning.message))
        if saved is None:
            self.progress.notice(f"{self.folder} has no checkpoint to go on from: starting from the first update")
            return
        self._kept = checkpoint.to_host(saved.state)
        self.best = BestParams(self.seeds, saved.best, saved.host["best"])
        self.state = self.trainer.put(saved.state)
        self.records = saved.host["records"]
        for name in ("train", "evaluate"):
            self.seconds[name] += saved.host["seconds"][name]
        done = Done.of(self.trainer, self._kept).mean_steps
        self.progress.notice(f"going on after {done:,} of {self.blocks.total:,} steps")

    def _block(self, index: int) -> None:
        config, trainer = self.config, self.trainer
        with self._timed("train"):
            argument = self.blocks.argument(trainer, index)
            self.state, values = self._compiled["block"](self.state, self.table, argument)
            _wait(values)
        met = values.pop("met", None)
        now = checkpoint.to_host(self.state)
        before, done = Done.of(trainer, self._kept), Done.of(trainer, now)
        counts = done.updates - before.updates  # of each seed
        values = {name: np.asarray(value)[:, : counts.max()] for name, value in values.items()}  # (seeds, updates)
        self._check_finite(values, now, before, done)
        self._kept = now
        with self._timed("evaluate"):
            episodes = self.evaluator.students(
                self.state.params, config.seed, "validation", config.validation_levels, index
            )
        values = {  # (seeds,)
            name: np.stack([own[:count].mean() for own, count in zip(value, counts, strict=True)])
            for name, value in values.items()
        }
        weight = float(values.pop("distill_weight").mean())
        record: dict[str, Any] = dict(
            steps=done.mean_steps,
            updates=done.mean_updates,
            **(dict(seed_steps=done.steps.tolist()) if trainer.by_episodes else {}),
            train=dict(distill_weight=weight, **{name: value.tolist() for name, value in values.items()}),
            validation=intervals.averages(episodes),
            parts={} if episodes.watched is None else parts.shares(trainer.task, episodes.watched),
            time=dict(
                train_s=self.seconds["train"],
                evaluate_s=self.seconds["evaluate"],
                env_steps_per_s=int(done.steps.sum()) / self.seconds["train"],
            ),
        )
        learned = trainer.algorithm.advice(self._kept.opt_state)
        if learned is not None and self.teacher.content is not None and self.teacher.live is None:
            record["advice"] = advice.by_state(trainer.task, self.teacher.content, learned)
        record = files.strict(record)
        self.records.append(record)
        self.best.keep(self._kept.params, record["validation"])
        assert self._writer is not None
        self._writer.write(record)
        for tracker in self.trackers:
            tracker.write(record)
        self.progress.evaluated(record)
        if self.blocks.passes_half(index) and episodes.success.mean() < 0.5:
            for one in guidance.of(self._findings({"student": episodes, **self._others}), guidance.HALF_WAY):
                self.progress.notice(f"half-way: {one['said']}")
        if met is not None:
            self._ask(index, np.flatnonzero(np.asarray(met).any(axis=(0, 1))))

    def _findings(self, played: dict[str, Episodes]) -> Findings:
        """What the run found so far, from episodes by name; a run that falls short looks back at how they ended."""
        config, algorithm, task = self.config, self.trainer.algorithm, self.trainer.task
        found = Findings(
            task=task, config=config, records=self.records, played=played,
            uses_teacher=algorithm.uses_teacher, follows_success=algorithm.follows_success(config),
            teacher=None if self.teacher.live is not None else self.teacher.content,
        )  # fmt: skip
        return found.looked_back()

    def _follow(self, blocks: int) -> None:
        """A teacher that grows goes on from its log as it was after so many blocks, and writes it from now on."""
        live = self.teacher.live
        if live is None:
            return
        live.show = self.progress.asked
        live.follow(LiveLog(self.folder / run_folder.ASKED), blocks)
        self.table = self.evaluator.table = self.trainer.put(live.table)
        files.write_json(self.folder / run_folder.TEACHER, live.content)

    def _ask(self, index: int, met: np.ndarray) -> None:
        """Asks a teacher that grows for the symbolic states that block `index` met, `int[states]`."""
        live = self.teacher.live
        assert live is not None
        if live.meet(index, met.tolist()):
            self.table = self.evaluator.table = self.trainer.put(live.table)
        files.write_json(self.folder / run_folder.TEACHER, live.content)

    def _check_finite(self, values: dict[str, np.ndarray], now: Any, before: Done, done: Done) -> None:
        """Raises `Diverged`, after saving the state before the block, unless all numbers after it are finite."""
        bad = {name: ~np.isfinite(value) for name, value in values.items()}  # (seeds, updates)
        any_bad = np.logical_or.reduce(list(bad.values()))
        if any_bad.any():
            at = int(any_bad.any(axis=0).argmax())
            seed = int(any_bad[:, at].argmax())
            name = next(name for name in bad if bad[name][seed, at])
            where = f"at update {before.updates[seed] + at + 1}: {name} is {values[name][seed, at]}"
        else:
            leaves = jax.tree.leaves((now.params, now.opt_state))
            finite = [np.isfinite(x).reshape(self.seeds, -1).all(axis=1) for x in leaves if x.dtype.kind == "f"]
            each = np.logical_and.reduce(finite)
            if each.all():
                return
            seed = int((~each).argmax())
            where = f"by update {done.updates[seed]}: not all parameters are finite"
        self._save(wait=True)
        of = f" (seed {seed} of {self.seeds}, counted from 0)" if self.seeds > 1 else ""
        raise Diverged(
            f"training went wrong {where}{of}; the last good state, after {before.mean_updates} updates, is saved in "
            f"{self.folder}; the same settings would come to the same: try a lower `learning_rate` or `max_grad_norm`"
        )

    def _save(self, wait: bool = False) -> None:
        """Saves the state on the host and what was recorded up to it."""
        assert self._checkpoints is not None
        teacher = self.teacher.content
        host = dict(
            best=[list(score) for score in self.best.scores], seconds=self.seconds, records=self.records,
            versions=machine.versions(), teacher=teacher,
            teacher_hash=None if teacher is None else teacher_file.digest(teacher),
        )  # fmt: skip
        updates = self.records[-1]["updates"] if self.records else 0
        best = self._kept.params if self.best.params is None else self.best.params
        self._checkpoints.save(updates, self._kept, best, json.loads(files.dumps(host)))
        if wait:
            self._checkpoints.wait()
        self._saved = time.monotonic()

    def finish(self) -> Result:
        """Evaluates the last students on the test levels, draws the pictures, writes the summary."""
        config, trainer = self.config, self.trainer
        self.stop.words = f"stopped after training; {resume_command(self.folder)} evaluates the student"
        self.progress.phase("evaluating on held-out levels")
        levels = config.heldout_levels
        with self._timed("evaluate"):
            params = self.state.params
            episodes = {
                "student": self.evaluator.students(params, config.seed, "test", levels),
                "student, greedy": self.evaluator.students(params, config.seed, "test", levels, greedy=True),
            }
            random, teacher = self.evaluator.others(config.seed, "test", levels)
            if teacher is not None:
                episodes["teacher"] = teacher
            episodes["random"] = random
        summary = self._summarised(episodes)
        self.progress.phase("drawing")
        student, shown = self.evaluator.traces(params, config.seed, "test", 0)
        pictures.pictures(self.folder, trainer.task, self.table, student, shown)
        pictures.curves(self.folder, trainer.task, self.records, self.teacher_validation)
        result = Result(
            summary=summary, run_dir=self.folder, config=config, params=checkpoint.to_host(params),
            records=self.records, heldout=episodes,
        )  # fmt: skip
        webpage.write(result, self.teacher_validation)
        for tracker in self.trackers:
            tracker.finish(summary)
        files.write_json(self.folder / run_folder.SUMMARY, summary)  # the last file: it says that the run is finished
        return result

    def _summarised(self, episodes: dict[str, Episodes]) -> dict[str, Any]:
        """The content of `summary.json`, from the episodes on the test levels by name."""
        config, trainer = self.config, self.trainer
        done = Done.of(trainer, self._kept)
        averages = {name: intervals.averages(played) for name, played in episodes.items()}
        found = self._findings(episodes)
        return files.strict(
            dict(
                task=trainer.task.name,
                algo=config.algo,
                teacher=self.teacher.name,
                device=machine.device_name(),
                versions=machine.versions(),
                total_steps=done.mean_steps,
                env_steps_per_s=int(done.steps.sum()) / self.seconds["train"],
                seconds=self.seconds,
                heldout=dict(
                    levels=config.heldout_levels,
                    student={**averages["student"], "greedy": averages["student, greedy"]},
                    teacher=averages.get("teacher"),
                    random=averages["random"],
                    **findings.in_summary(found),
                ),
                steps_to_success=intervals.steps_to_success(
                    [record["steps"] for record in self.records],
                    [record["validation"]["success"] for record in self.records],
                    config.validation_levels,
                ),
                ledger=self.teacher.ledger,
                guidance=guidance.of(found),
            )
        )

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._checkpoints is not None:
            self._checkpoints.close()
        for tracker in self.trackers:
            tracker.close()

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - began


def _wait(tree: Any) -> None:
    """`jax.block_until_ready`, but Python's signal handlers go on being called."""
    pause = 0.0005
    for leaf in jax.tree.leaves(tree):
        while not leaf.is_ready():
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)
    jax.block_until_ready(tree)  # raises what the computation raised
