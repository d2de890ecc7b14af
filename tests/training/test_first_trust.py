"""How far a teacher is followed at first: which share of its actions does best, and when none is any good."""

import numpy as np

from l4t_jax.evaluation.playing import Episodes
from l4t_jax.training.first_trust import LEAST, FirstTrust, Played, first_trust


def episodes(successes: int, levels: int = 512) -> Episodes:
    won = np.arange(levels) < successes
    return Episodes(success=won, reward=won.astype(np.float32), length=np.ones(levels, np.int32))  # pyright: ignore


def followed(teacher: int, random: int, **mixed: int) -> FirstTrust:
    """Successes of 512: of the teacher, the random policy, with 0.75, 0.5, 0.25 and none of the teacher's plans."""
    asked = {1.0: teacher, 0.75: mixed["most"], 0.5: mixed["half"], 0.25: mixed["some"], 0.0: mixed["none"]}
    return first_trust(lambda share, times: (episodes(random), episodes(asked[share])))


def test_the_share_that_does_best_is_followed() -> None:
    assert followed(40, 0, most=180, half=98, some=16, none=0) == FirstTrust(0.75, 180 / 512)
    assert followed(0, 12, most=26, half=60, some=42, none=20) == FirstTrust(0.5, 60 / 512)


def test_the_skills_alone_are_followed_where_the_plans_only_do_harm() -> None:
    assert followed(0, 12, most=0, half=10, some=40, none=90) == FirstTrust(0.0, 90 / 512)


def test_a_teacher_that_says_how_far_its_plans_are_meant_is_not_followed_further() -> None:
    asked: list[float] = []

    def played(share: float, times: int) -> tuple[Episodes, Episodes]:
        asked.append(share)
        return episodes(12), episodes(60 if len(asked) == 1 else 30)

    assert first_trust(played, whole=0.5) == FirstTrust(0.5, 60 / 512)
    assert asked == [0.5, 0.25, 0.0]
    assert first_trust(lambda share, times: (episodes(12), episodes(60)), whole=0.0) == FirstTrust(0.0, 60 / 512)
    assert first_trust(lambda share, times: (episodes(12), episodes(12)), whole=0.0) == FirstTrust(0.0, 0.0)


def test_where_no_share_is_better_than_chance_all_are_played_more_often() -> None:
    """7 of 512 are not told from 1 of 512 (0.007 to 0.028, 0.000 to 0.011); four times as many are."""
    asked: list[tuple[float, int]] = []

    def played(share: float, times: int) -> tuple[Episodes, Episodes]:
        asked.append((share, times))
        return episodes(times, 512 * times), episodes(7 * times if share == 0.5 else 0, 512 * times)

    assert first_trust(played) == FirstTrust(0.5, 7 / 512)
    assert asked == [(share, times) for times in (1, 4) for share in (1.0, 0.75, 0.5, 0.25, 0.0)]
    assert first_trust(played, more=1) == FirstTrust(1.0, 0.0)


def test_another_share_must_be_significantly_better() -> None:
    # 300 of 512: 0.543 to 0.628; 320: 0.582 to 0.666; the intervals overlap.
    assert followed(300, 0, most=320, half=310, some=200, none=90) == FirstTrust(1.0, 300 / 512)


def test_a_teacher_that_helps_with_no_share_gets_no_weight() -> None:
    assert followed(0, 12, most=4, half=10, some=14, none=12) == FirstTrust(1.0, 0.0)


def test_a_good_teacher_is_not_mixed_and_without_shares_there_is_only_the_whole() -> None:
    def played(teacher: int, random: int) -> Played:
        def once(share: float, times: int) -> tuple[Episodes, Episodes]:
            assert (share, times) == (1.0, 1)
            return episodes(random), episodes(teacher)

        return once

    assert first_trust(played(470, 12)) == FirstTrust(1.0, 470 / 512)
    assert first_trust(played(40, 0), mix=False) == FirstTrust(1.0, 40 / 512)
    assert first_trust(played(12, 12), mix=False) == FirstTrust(1.0, 0.0)


def test_students_are_not_compared_with_less_than_they_can_go_on_from() -> None:
    assert FirstTrust(0.5, 0.015).compared == LEAST
    assert FirstTrust(1.0, 0.4).compared == 0.4
    assert FirstTrust(1.0, 0.0).compared == 0.0
