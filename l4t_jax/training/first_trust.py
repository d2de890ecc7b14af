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
MORE = 4  # times as many episodes where no share is better than the random policy: few may not tell little from none
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


Played = Callable[[float, int], tuple[Episodes, Episodes]]


def first_trust(played: Played, whole: float = 1.0, mix: bool = True, more: int = MORE) -> FirstTrust:
    """How far to follow a teacher.

    Args:
        played: (share of the teacher's plans, how many times) -> episodes on the validation levels, of the random
            policy, and of the teacher with that share of its plans and the rest steps at random. Each time has other
            draws.
        whole: the share with which the teacher is as it is.
        mix: whether lower shares may be followed.
        more: how many times all are played again if no share is better than the random policy.

    Returns:
        The share `whole` unless with a lower one the success is significantly higher: the 95 % intervals do not
        overlap. The same for its being better than the random policy.
    """
    first = _of_episodes(played, whole, mix, times=1)
    return _of_episodes(played, whole, mix, more) if mix and more > 1 and first.success == 0 else first


def _of_episodes(played: Played, whole: float, mix: bool, times: int) -> FirstTrust:
    random, teacher = played(whole, times)
    found: Mapping[float, Episodes] = {whole: teacher}
    if mix and _success(teacher) < GOOD:
        found = found | {share: played(share, times)[1] for share in SHARES if share < whole}
    best = whole
    for share, episodes in found.items():
        if intervals.better(episodes, found[best]):
            best = share
    listen = intervals.better(found[best], random)
    return FirstTrust(best, _success(found[best])) if listen else FirstTrust(whole, 0.0)


def _success(episodes: Episodes) -> float:
    return float(np.mean(episodes.success))
