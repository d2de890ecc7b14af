"""How far a run follows its teacher at first: measured on the validation levels, before the first update.

Host module, for `loop`. A teacher that is right in some states and wrong in others may never succeed alone: it walks to
the key and then stands still. With some of its steps replaced by random ones it gets out of such a state by chance, and
the states in which it is right still help. So a teacher that often fails is also played with a share of its plans, the
rest drawn evenly from all steps that can do something now (go to the key, pick it up, explore, ...). The best share is
what its labels say and what the student is compared with. With the share 0 the skills teach alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from l4t_jax.evaluation import intervals
from l4t_jax.evaluation.playing import Episodes

SHARES = (0.75, 0.5, 0.25, 0.0)  # of the teacher's plans, beside all of them
MORE = 4  # times as many episodes for a teacher that shows no success with any share
LEAST = 0.1  # success that students are compared with: below it they could not yet learn from rewards alone
GOOD = 0.9  # a teacher that succeeds as often is followed as it is


@dataclasses.dataclass(frozen=True)
class FirstTrust:
    """How a teacher is followed at first.

    Attributes:
        follow: the share of its plans in the labels.
        success: what the teacher, followed so, achieves alone; 0 if that is no better than the random policy.
    """

    follow: float
    success: float

    @property
    def compared(self) -> float:
        """The success that the students' is compared with: at least `LEAST`, or 0 for a teacher that gets no weight."""
        return max(self.success, LEAST) if self.success > 0 else 0.0


def first_trust(
    teacher: Episodes, random: Episodes, mixed: Callable[[float], Episodes] | None, whole: float = 1.0
) -> FirstTrust:
    """How far to follow a teacher.

    Args:
        teacher: its episodes on the validation levels, when it acts alone.
        random: those of the random policy.
        mixed: the teacher's with a share of its plans, the rest steps at random; None to follow it as it is or not at
            all.
        whole: the share of its plans in `teacher`.

    Returns:
        The share `whole` unless with a lower one the success is significantly higher: the 95 % intervals do not
        overlap. The same for its being better than the random policy.
    """
    found: Mapping[float, Episodes] = {whole: teacher}
    if mixed is not None and _success(teacher) < GOOD:
        found = found | {share: mixed(share) for share in SHARES if share < whole}
    best = whole
    for share, episodes in found.items():
        if intervals.better(episodes, found[best]):
            best = share
    listen = intervals.better(found[best], random)
    return FirstTrust(best, _success(found[best])) if listen else FirstTrust(whole, 0.0)


def _success(episodes: Episodes) -> float:
    return float(np.mean(episodes.success))
