"""Refines a teacher: asks an LLM again for the symbolic states whose advice lost most, and keeps what measures better.

Host module. Levels are played by the caller (`Measure`); this module decides what to ask and what to keep.

*Which states.* A failed episode is lost in the states where it spent its steps, or, if it ended before its time was up,
in its last one. Summed over the episodes this is the success that each state lost (`lost`). It needs no run: a replay
of the teacher alone measures it. A run's own worth of the states can take its place.

*What is kept.* The teacher is played on the same levels with each new advice: all answers together, and each of the
most frequent plans alone. Advice is kept only if no success is lost and significantly more levels are solved, with the
teacher's own actions or with a share of them random. Where several states are wrong, success is 0 whichever of them is
mended. There the random actions help past the others, and the advice for all states that were asked in vain is tried
together. At the end the refined teacher must not be below the first one on levels that played no part.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.envs.task import Task
from l4t_jax.errors import BackendError
from l4t_jax.teacher import file
from l4t_jax.teacher.grammar import Situation, situation, write_plan
from l4t_jax.teacher.prompt import Message
from l4t_jax.teacher.recording import Asker, summary

Content = dict[str, Any]
SIGNIFICANT = 2.0  # standard deviations by which more levels must be solved
MOST_NEXT = 3  # following states that an LLM is told of


@dataclasses.dataclass(frozen=True)
class Trial:
    """A teacher's episodes on N levels, once with its own actions and once with some of them random.

    Attributes:
        success: `bool[N]` with its own actions.
        noisy: `bool[N]` the success with some random actions.
        length: `int[N]` steps of each episode with its own actions.
        states: `int[T, N]` symbolic state ids of these episodes before each step.
        max_steps: of an episode.
    """

    success: np.ndarray
    noisy: np.ndarray
    length: np.ndarray
    states: np.ndarray
    max_steps: int


Measure = Callable[[Content], Trial]


@dataclasses.dataclass(frozen=True)
class How:
    """How much to try.

    Attributes:
        questions: states asked about, at most; a state counts each time.
        least: states that lost a smaller share of the episodes are not asked about.
        plans: most frequent plans of a state's answers that are tried alone.
    """

    questions: int = 24
    least: float = 0.01
    plans: int = 6


def better(new: Trial, old: Trial) -> bool:
    """Whether a teacher loses no success and solves significantly more levels (a sign test on the same levels)."""
    return new.success.sum() >= old.success.sum() and (_more(new.success, old.success) or _more(new.noisy, old.noisy))


def _more(new: np.ndarray, old: np.ndarray) -> bool:
    gained, lost = int((new & ~old).sum()), int((~new & old).sum())
    return gained - lost > SIGNIFICANT * math.sqrt(gained + lost)


def lost(task: Task, trial: Trial) -> dict[Symbolic, float]:
    """The success that each state lost, as a share of all episodes; the values sum to the share of failed episodes."""
    found: Counter[Symbolic] = Counter()
    number = len(trial.success)
    for episode in np.flatnonzero(~trial.success):
        steps = int(trial.length[episode])
        path = trial.states[:steps, episode]
        path = path[-1:] if steps < trial.max_steps else path
        for state, count in zip(*np.unique(path, return_counts=True), strict=True):
            found[_renamed(task, int(state))] += count / len(path) / number
    return dict(found)


def _renamed(task: Task, state: int) -> Symbolic:
    return symbolic.rename(task, symbolic.decode(task, state))[0]


def happened(task: Task, trial: Trial, state: Symbolic) -> str:
    """What came of a state's advice, in words for an LLM."""
    ids = [one for one in np.unique(trial.states) if one >= 0 and _renamed(task, int(one)) == state]
    met = solved = stuck = ended = 0
    after: Counter[Symbolic] = Counter()
    for episode in range(len(trial.success)):
        steps = int(trial.length[episode])
        here = np.flatnonzero(np.isin(trial.states[:steps, episode], ids))
        if not len(here):
            continue
        met += 1
        solved += bool(trial.success[episode])
        last = int(here[-1])
        if last < steps - 1:
            after[_renamed(task, int(trial.states[last + 1, episode]))] += 1
        elif not trial.success[episode]:
            stuck += steps >= trial.max_steps
            ended += steps < trial.max_steps
    number = len(trial.success)
    parts = [f"The agent came to this situation in {met} of {number} episodes; {solved} of these solved the task."]
    if stuck:
        parts.append(f"In {stuck} of them it was still in this situation when the time was up.")
    if ended:
        parts.append(f"In {ended} of them the episode ended in this situation without success.")
    for following, count in after.most_common(MOST_NEXT):
        parts.append(f"In {count} of them the next situation was: {following.sentence}")
    return " ".join(parts)


def question(task: Task, trial: Trial, entry: Mapping[str, Any] | None, state: Symbolic) -> list[Message]:
    """The messages that follow a state's first question: its advice so far, what came of it, the question again."""
    told = f"{happened(task, trial, state)} Give a better plan, in the same form.\n{state.sentence}"
    plans = entry["plans"] if entry else []
    if not plans:
        return []
    best = write_plan(tuple(step) for step in plans[0]["skills"])
    return [{"role": "assistant", "content": best}, {"role": "user", "content": f"This plan was tried. {told}"}]


def replaced(content: Content, entry: Mapping[str, Any]) -> Content:
    """A teacher with another entry for the entry's state."""
    return {**content, "states": [*(_by_state(content) | {file.state_of(entry): dict(entry)}).values()]}


def _by_state(content: Content) -> dict[Symbolic, dict[str, Any]]:
    """The entries of a teacher by their states."""
    return {file.state_of(entry): entry for entry in content["states"]}


def variants(entry: Mapping[str, Any], most: int) -> list[dict[str, Any]]:
    """The advice to try of a state's new answers: all of them together, and each of the most frequent plans alone."""
    plans = entry["plans"]
    if not plans:
        return []
    alone = [{**entry, "plans": [{**plan, "p": 1.0}]} for plan in plans[:most]]
    return [dict(entry), *alone] if len(plans) > 1 else alone


@dataclasses.dataclass
class Refiner:
    """Asks, tries and keeps.

    Attributes:
        asker: asks the LLM; its ledger holds the limits.
        measure: plays a teacher on the levels that decide what is kept.
        confirm: plays a teacher on levels that play no part before the end.
        how: how much to try.
        worth: of the states, from a run: the lowest are asked about first; None measures them.
    """

    asker: Asker
    measure: Measure
    confirm: Measure
    how: How = How()
    worth: Mapping[Symbolic, float] | None = None

    def __post_init__(self) -> None:
        self.task = self.asker.task
        self.report = self.asker.report
        self._situations: dict[Symbolic, Situation] = {}  # of the states met
        self._log: list[dict[str, Any]] = []
        self._vain: dict[Symbolic, dict[str, Any]] = {}  # answers since the teacher last changed, none of them kept

    def refine(self, content: Content) -> Content:
        """The refined teacher: the content of a teacher file, with what was asked and why in `source.refined`.

        Raises:
            BackendError: the LLM does not answer the first question.
        """
        best, trial = content, self.measure(content)
        first = trial
        self.report(f"before: {_scores(trial)}")
        for _ in range(self.how.questions):
            worst = self._worst(trial)
            if worst is None:
                break
            try:
                best, trial = self._improve(best, trial, *worst)
            except BackendError as error:
                if not self._log:
                    raise
                self.report(f"stopped: {error}; what was gained is kept")
                break
        return self._finished(content, best, first, trial)

    def _worst(self, trial: Trial) -> tuple[Situation, float] | None:
        """The situation to ask about next and the success that it lost; None if there is none."""
        for one in np.unique(trial.states):
            if one >= 0:
                asked = situation(self.task, int(one))
                self._situations.setdefault(asked.state, asked)
        losses = {
            state: share
            for state, share in lost(self.task, trial).items()
            if share >= self.how.least and state not in self._vain
        }
        if not losses:
            return None
        worth = self.worth or {}
        state = min(losses, key=lambda state: (worth.get(state, 0.0), -losses[state]))
        return self._situations[state], losses[state]

    def _improve(self, best: Content, trial: Trial, asked: Situation, share: float) -> tuple[Content, Trial]:
        """Asks about one state. Returns the best teacher and its trial."""
        before = _by_state(best).get(asked.state)
        entry = self.asker.state(asked, question(self.task, trial, before, asked.state))
        found, now = best, trial
        for tried in self._candidates(best, before, entry):
            mine = self.measure(tried)
            if better(mine, trial) and (now is trial or _sum(mine) > _sum(now)):
                found, now = tried, mine
        kept = now is not trial
        after = _by_state(found)
        changed = [file.state_of(one) for one in found["states"] if one not in best["states"]]
        self._log.append(
            {
                "sees": list(asked.state.sees), "holds": asked.state.holds, "lost": round(share, 4),
                "why": happened(self.task, trial, asked.state), "kept": kept, "from": _written(before),
                "to": _written(after[asked.state] if kept else entry),
                "success": [_mean(trial.success), _mean(now.success)],
                "noisy": [_mean(trial.noisy), _mean(now.noisy)],
            }
        )  # fmt: skip
        if kept:
            others = [self._log[self._place(state)] for state in changed if state != asked.state]
            for one in others:
                one["kept"] = True
            if others:
                self._log[-1]["together_with"] = [state.sentence for state in changed if state != asked.state]
            self._vain.clear()  # what happens in the other states is new
            said = "; ".join(f"{state.sentence} {summary(after[state])}" for state in changed)
            self.report(f"{asked.state.sentence} lost {share:.3f}: {said}; {_scores(now)}")
        else:
            self._vain[asked.state] = entry
            self.report(f"{asked.state.sentence} lost {share:.3f}: nothing better found")
        return found, now

    def _candidates(self, best: Content, before: Mapping[str, Any] | None, entry: dict[str, Any]) -> Iterator[Content]:
        """The teachers to try: with each variant of the new advice, and with that of all states asked in vain besides.

        Together they may succeed where none does alone, because the others' advice is wrong.
        """
        for one in variants(entry, self.how.plans):
            if before is None or one["plans"] != before["plans"]:
                yield replaced(best, one)
        if self._vain:
            together = replaced(best, entry) if entry["plans"] else best
            for other in self._vain.values():
                together = replaced(together, other) if other["plans"] else together
            yield together

    def _place(self, state: Symbolic) -> int:
        """The last line of the log about a state."""
        return max(i for i, one in enumerate(self._log) if file.state_of(one) == state)

    def _finished(self, content: Content, best: Content, first: Trial, last: Trial) -> Content:
        """The better of both teachers on new levels, with its provenance."""
        old, new = self.confirm(content), self.confirm(best) if best is not content else None
        fell = new is not None and bool(new.success.sum() < old.success.sum())
        if fell and new is not None:
            self.report(f"on new levels {_mean(new.success)}, before {_mean(old.success)}: the teacher stays as it was")
            best = content
        source = best.get("source") or {}
        refined = {
            "by": self.asker.source(), "ledger": self.asker.ledger.content, "levels": len(first.success),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "success": [_mean(first.success), _mean(first.success if fell else last.success)],
            "confirmed": [_mean(old.success), _mean(old.success if fell or new is None else new.success)],
            "fell_back": fell, "states": self._log,
        }  # fmt: skip
        made = {**best, "source": {**source, "refined": [*source.get("refined", []), refined]}}
        file.check(made, "the refined teacher")
        return made


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 4)


def _sum(trial: Trial) -> int:
    return int(trial.success.sum() + trial.noisy.sum())


def _scores(trial: Trial) -> str:
    return f"success {trial.success.mean():.3f}, with random actions {trial.noisy.mean():.3f}"


def _written(entry: Mapping[str, Any] | None) -> list[list[Any]]:
    """The plans of an entry as [probability, plan in words]."""
    plans = entry["plans"] if entry else []
    return [[plan["p"], write_plan(tuple(step) for step in plan["skills"])] for plan in plans]
