"""What a run found, in the figures that guidance is given from: how far episodes came, and where they failed.

Host module: numpy. The figures are of held-out levels, or of validation levels while the run goes on.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from l4t_jax.abstraction import symbolic
from l4t_jax.config import Settings
from l4t_jax.envs import Task
from l4t_jax.evaluation import intervals, parts
from l4t_jax.evaluation.playing import Episodes

GOOD = 0.95  # a success from which on nothing has to be explained
ENOUGH = 5  # successful episodes that show which parts success takes
SHOWN = 5  # states in `summary.json`
SHARED = 0.95  # share of the successful episodes that do a part, if success takes it


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a run found.

    Attributes:
        task: that was learned.
        config: settings of the run.
        records: the lines of `metrics.jsonl`, at least one.
        played: episodes by name ("student", "student, greedy", "teacher", "random"), as `Result.heldout` has them.
        uses_teacher: whether the algorithm reads a teacher.
        follows_success: whether the teacher's weight depends on the student's success.
        teacher: content of the teacher file; None without one, or while it grows.
    """

    task: Task
    config: Settings
    records: Sequence[Mapping[str, Any]]
    played: Mapping[str, Episodes]
    uses_teacher: bool
    follows_success: bool
    teacher: Mapping[str, Any] | None = None

    def success(self, who: str) -> float:
        """The mean success of students, teacher or random policy."""
        return float(np.mean(self.played[who].success))

    @property
    def seeds(self) -> np.ndarray:
        """The success of each student, `float[seeds]`."""
        return np.mean(self.played["student"].success, axis=-1)

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher was played."""
        return "teacher" in self.played

    @property
    def below_teacher(self) -> bool:
        """Whether the students succeed significantly less often than their teacher."""
        return self.has_teacher and intervals.better(self.played["teacher"], self.played["student"])

    @property
    def falls_short(self) -> bool:
        """Whether there is something to explain."""
        return self.success("student") < GOOD or self.below_teacher

    def looked_back(self) -> Findings:
        """With how the episodes ended (`parts.looked_back`) if the run falls short; else as it is."""
        if not self.falls_short:
            return self
        played = {
            who: one if one.watched is None else one.replace(watched=parts.looked_back(self.task, one.watched))
            for who, one in self.played.items()
        }
        return dataclasses.replace(self, played=played)

    @property
    def curve(self) -> np.ndarray:
        """Mean success on the validation levels at each evaluation."""
        return np.asarray([np.mean(record["validation"]["success"]) for record in self.records])

    @property
    def weights(self) -> np.ndarray:
        """The distillation weight at each evaluation."""
        return np.asarray([record["train"]["distill_weight"] for record in self.records], float)

    def parts(self, who: str) -> dict[str, float]:
        """The share of the episodes that did each part of the task; empty where they were not watched."""
        watched = self.played[who].watched
        if watched is None:
            return {}
        return {name: float(np.mean(share)) for name, share in parts.shares(self.task, watched).items()}

    @property
    def needed(self) -> list[str]:
        """The parts that success takes: nearly all successful episodes did them. Those done most often come first.

        Empty where too few episodes succeeded, of students, teacher and random policy, to tell.
        """
        found: list[tuple[int, dict[str, float]]] = []
        for one in self.played.values():
            won = np.asarray(one.success, bool)
            if one.watched is not None and won.any():
                mine = one.watched.replace(ends=None)
                mine = jax.tree.map(lambda leaf, won=won: np.asarray(leaf)[won], mine)
                found.append((int(won.sum()), parts.shares(self.task, mine)))
        number = sum(won for won, _ in found)
        if number < ENOUGH:
            return []
        shown = [name for name in found[0][1] if sum(won * done[name] for won, done in found) >= SHARED * number]
        reached = [self.parts(who) for who in ("student", "teacher") if who in self.played]
        # What was seen on the way comes after what was done for it, where the same episodes did both.
        return sorted(shown, key=lambda name: (-round(sum(one[name] for one in reached), 2), name.startswith("sees")))

    def out_of_steps(self, who: str) -> float | None:
        """Of the failed episodes, the share that was cut off by the limit of steps; None if none failed."""
        failed = ~np.asarray(self.played[who].success, bool)
        if not failed.any():
            return None
        return float(np.mean(np.asarray(self.played[who].length)[failed] >= self.task.max_steps))

    def winning_length(self, who: str) -> float | None:
        """The mean steps of the successful episodes; None if there are fewer than `ENOUGH`."""
        won = np.asarray(self.played[who].success, bool)
        return float(np.mean(np.asarray(self.played[who].length)[won])) if won.sum() >= ENOUGH else None

    def failed_in(self, who: str) -> list[tuple[str, float]]:
        """The sentences of the symbolic states in which failed episodes ended, and their shares, most first."""
        watched, failed = self.played[who].watched, ~np.asarray(self.played[who].success, bool)
        if watched is None or watched.last is None or not failed.any() or not self.task.objects:
            return []
        counts: Counter[str] = Counter()
        for state, number in Counter(np.asarray(watched.last)[failed].tolist()).items():
            counts[symbolic.rename(self.task, symbolic.decode(self.task, state))[0].sentence] += number
        return [(sentence, number / int(failed.sum())) for sentence, number in counts.most_common()]


def in_summary(found: Findings) -> dict[str, Any]:
    """For `summary.json`, of each policy: `parts`, what share of the episodes did each part of the task (for students a
    list, a value a seed). Of a run that falls short also which objects were seen, and `failed_in`, the symbolic states
    in which most failed episodes ended.
    """
    watched = {who: one.watched for who, one in found.played.items() if one.watched is not None}
    ends = {who: found.failed_in(who)[:SHOWN] for who, one in watched.items() if one.last is not None}
    return dict(
        parts={who: parts.shares(found.task, one) for who, one in watched.items()},
        failed_in={who: [[said, round(share, 4)] for said, share in states] for who, states in ends.items()},
    )
