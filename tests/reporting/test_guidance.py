"""Guidance: each rule speaks of a run that it is about, and is silent of one that is nearly so."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from l4t_jax import commandline, run
from l4t_jax.config import Config
from l4t_jax.envs import get_task
from l4t_jax.evaluation.parts import Watched
from l4t_jax.evaluation.playing import Episodes
from l4t_jax.reporting import findings, guidance
from l4t_jax.reporting.findings import Findings
from l4t_jax.teacher import file

TASK, LEVELS = get_task("SimpleDoorKey"), 1000
LIMIT = TASK.max_steps
SEES, PICKS, SEES_DOOR, OPENS = "sees the key", "picks up the key", "sees the door", "opens the door"


def played(
    success: float | list[float], cut: float = 1.0, length: int = 30, done: dict[str, float] | None = None,
    last: int = 0,
) -> Episodes:  # fmt: skip
    """Episodes on 1,000 levels, the first ones successful; a part is done on the first levels too.

    Args:
        success: the share of the levels; a list has one value a seed.
        cut: of the failed episodes, the share that runs out of steps.
        length: of the successful episodes.
        done: part -> the share of the levels; every part of every level by default.
        last: the symbolic state in which all end.
    """
    share = np.asarray(success)[..., None]
    at = (np.arange(LEVELS) + 0.5) / LEVELS
    won = at < share

    def bits(*names: str) -> np.ndarray:
        hits = [np.broadcast_to(at < (done or {}).get(name, 1.0), won.shape) for name in names]
        return sum((hit.astype(np.uint32) << np.uint32(i) for i, hit in enumerate(hits)), np.uint32(0))

    watched: Any = Watched(done=bits(PICKS, OPENS), seen=bits(SEES, SEES_DOOR), last=np.full(won.shape, last))
    failed_at = np.where(at >= 1 - cut * (1 - share), LIMIT, 5)
    steps: Any = np.where(won, length, failed_at)
    return Episodes(success=won, reward=won * 0.9, length=steps, watched=watched)  # pyright: ignore


def lines(
    curve: list[float], weights: list[float] | None = None, unguided: float = 0.0, advice: dict[str, Any] | None = None
) -> list[dict[str, Any]]:  # fmt: skip
    """Lines of `metrics.jsonl`."""
    weights = weights or [0.5] * len(curve)
    found = [
        dict(
            steps=1000 * (i + 1), validation=dict(success=[one]), train=dict(distill_weight=weight, unguided=[unguided])
        )
        for i, (one, weight) in enumerate(zip(curve, weights, strict=True))
    ]
    return found if advice is None else [*found[:-1], {**found[-1], "advice": advice}]


LEARNED = [0.2, 0.6, 0.9, 0.97, 0.99, 0.999, 0.999, 0.999]


def found(
    student: Any = 0.999, greedy: Any = None, teacher: Any = 0.999, random: Any = 0.01,
    records: list[dict[str, Any]] | None = None, uses_teacher: bool = True, follows: bool = True,
    task: Any = TASK, content: Any = None, **settings: Any,
) -> Findings:  # fmt: skip
    """A run; what is not given is that of one that learned."""

    def as_played(one: Any) -> Episodes:
        return one if isinstance(one, Episodes) else played(one)

    seeds = as_played(student)
    seeds = seeds if np.ndim(seeds.success) == 2 else played([float(np.mean(seeds.success))])
    whose = {"student": seeds, "student, greedy": seeds if greedy is None else as_played(greedy)}
    whose |= {} if teacher is None else {"teacher": as_played(teacher)}
    config = Config(num_seeds=len(np.atleast_2d(seeds.success)), **settings).resolved(LIMIT)
    return Findings(
        task=task, config=config, records=records or lines(LEARNED), played={**whose, "random": as_played(random)},
        uses_teacher=uses_teacher, follows_success=follows, teacher=content,
    )  # fmt: skip


FLAT = [0.4] * 8
NOTHING = [0.0] * 8
CONTENT = file.shipped(TASK)
EMPTY = {**CONTENT, "states": [{**state, "plans": []} for state in CONTENT["states"]]}
NUMBER = len(CONTENT["states"])
STUCK = dict(success=[0.3], done={PICKS: 0.95, OPENS: 0.3})


def advice(worth: float, steps: int) -> dict[str, Any]:
    """Of the first state so; 10,000 harmless steps in each other one."""
    return dict(
        steps=[steps, *[10_000] * (NUMBER - 1)], worth=[worth, *[0.1] * (NUMBER - 1)], trust=[0.5] * NUMBER
    )  # fmt: skip


# rule -> a run that it speaks of, what it says then, and runs of which it is silent.
CASES: dict[Callable[..., Any], tuple[Findings, str, list[Findings]]] = {
    guidance.weight_is_zero: (
        found(0.02, teacher=0.02, records=lines(FLAT, NOTHING)),
        "The teacher got weight 0: alone it succeeds on 0.020 of the levels, the random policy on 0.010.",
        [
            found(0.02, teacher=0.02, records=lines(FLAT)),  # it had a weight
            found(0.02, teacher=0.02, records=lines(FLAT, NOTHING), follows=False),  # the clock's doing
            found(0.99, teacher=0.02, records=lines(FLAT, NOTHING)),  # it learned all the same
            found(0.02, teacher=None, records=lines(FLAT, NOTHING), uses_teacher=False),
        ],
    ),
    guidance.teacher_is_weak: (
        found(0.5, teacher=played(0.5, last=1)),
        "The teacher alone succeeds on 0.500 of the levels. Its failed episodes end in these states: Agent sees <key>, "
        "holds <nothing> (100%).",
        [found(0.5, teacher=0.95), found(0.99, teacher=0.5), found(0.5, teacher=None, uses_teacher=False)],
    ),
    guidance.states_without_plans: (
        found(0.5, records=lines(FLAT, unguided=0.25), content=EMPTY),
        f"The teacher had no plan on 25% of the steps at most; its file has none for {NUMBER} states, such as Agent "
        "sees <nothing>, holds <nothing>;",
        [
            found(0.5, records=lines(FLAT, unguided=0.005), content=EMPTY),
            found(0.999, records=lines(LEARNED, unguided=0.25), content=EMPTY),
        ],
    ),
    guidance.advice_does_harm: (
        found(0.5, records=lines(FLAT, advice=advice(-0.3, 5000)), content=CONTENT),
        f"in these states: {file.state_of(CONTENT['states'][0]).sentence[:-1]} (worth -0.30 over 5,000 steps).",
        [
            found(0.5, records=lines(FLAT, advice=advice(-0.01, 5000)), content=CONTENT),
            found(0.5, records=lines(FLAT, advice=advice(-0.3, 5)), content=CONTENT),  # hardly met
            found(0.999, records=lines(LEARNED, advice=advice(-0.3, 5000)), content=CONTENT),
            found(0.5, content=CONTENT),  # not learned
        ],
    ),
    guidance.reward_never_met: (
        found(0.01, teacher=None, uses_teacher=False),
        "The students succeed on 0.010 of the levels, the random policy on 0.010: they have hardly ever met the "
        "reward. Try `algo=l4t`: the task has a teacher.",
        [found(0.1, teacher=None, uses_teacher=False), found(0.01)],
    ),
    guidance.hard_part: (
        found(played(**STUCK, last=3), teacher=played(0.99, done={OPENS: 0.99})),
        f"Share of the levels on which a student does each part: {SEES} 1.00, {SEES_DOOR} 1.00, {PICKS} 0.95, {OPENS} "
        f'0.30, succeeds 0.30. Most are lost at "{OPENS}". Failed episodes end in these states: Agent sees <key>, '
        "<door>, holds <nothing> (100%). The teacher does it on 0.99, so there is more to learn from it.",
        [
            found(played([0.95], done={OPENS: 0.95})),
            found(played([0.0], done={PICKS: 0.5, OPENS: 0.0}), teacher=0.0, random=0.0),  # nobody knows what it takes
        ],
    ),
    guidance.limit_is_tight: (
        found(0.5, teacher=played(0.6, length=120)),
        "The limit of 150 steps is tight: the teacher's successful episodes take 120 on average, and 100% of the "
        "failed ones run out of steps.",
        [
            found(0.5, teacher=played(0.6, length=30)),
            found(0.5, teacher=played(0.6, length=120, cut=0.1)),
            found(0.999, teacher=played(0.6, length=120)),
        ],
    ),
    guidance.ends_badly: (
        found(played([0.7], cut=0.1), teacher=played(0.9, cut=0.0)),
        "Of the students' failed episodes 90% end by a step that fails the task",
        [found(played([0.7], cut=0.9)), found(played([0.999], cut=0.0))],
    ),
    guidance.weight_gone_early: (
        found(0.5, records=lines([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5, 0.5], [1, 0.6, 0.3, 0, 0, 0, 0, 0])),
        "The distillation weight was gone from step 4,000 on, when the students succeeded on 0.400",
        [
            found(0.5, records=lines([0.4] * 8, [1, 0, 0.5, 0, 0, 0, 0, 0.2])),  # it came again
            found(0.99, teacher=1.0, records=lines([0.95] * 8, [1, 0.6, 0.3, 0, 0, 0, 0, 0])),
            found(0.5, records=lines(FLAT, NOTHING)),  # there never was any
        ],
    ),
    guidance.fell_back: (
        found(0.5, records=lines([0.2, 0.9, 0.9, 0.5])),
        "Success on the validation levels was 0.900 after 2,000 steps and 0.500 at the end.",
        [found(0.85, records=lines([0.2, 0.9, 0.9, 0.85])), found()],
    ),
    guidance.still_rising: (
        found(0.5, records=lines([0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 0.5]), total_steps=4096),
        "Success was still rising: from 0.250 to 0.450 in the last quarter of the run. Try more steps: "
        "`total_steps=8192`.",
        [
            found(0.5, records=lines([0.1, 0.3, 0.5, 0.5, 0.5, 0.5, 0.5, 0.51])),
            found(0.999),
            found(0.5, records=lines([0.1, 0.2, 0.3])),  # too few evaluations to tell
            # 0.05 more on 16 levels twice is within what chance does: 2 sqrt(2 x 0.5 x 0.5 / 32) = 0.25
            found(0.5, records=lines([0.4] * 6 + [0.5, 0.5]), validation_levels=16),
        ],
    ),
    guidance.one_seed_fails: (
        found(played([0.99, 0.34, 0.98]), records=[
            {**one, "validation": dict(success=[0.9, 0.6, 0.9])} for one in lines(LEARNED)
        ]),
        "Seed 1 (counted from 0) ends at 0.340, the middle one of the 3 at 0.980",
        [found(played([0.99, 0.9, 0.98])), found(played([0.99, 0.34]))],
    ),
    guidance.greedy_repeats: (
        found(0.99, greedy=0.8, greedy_share=0.0),
        "Drawn actions succeed on 0.990 of the levels, the most probable ones on 0.800: without chance a student "
        "repeats itself until its steps run out. Draw its actions, or train it for longer with a share of greedy "
        "environments, `greedy_share=0.125`.",
        [found(0.99, greedy=0.97), found(0.8, greedy=0.99)],
    ),
    guidance.chance_costs: (
        found(0.8, greedy=0.99),
        "The most probable actions succeed on 0.990 of the levels, drawn ones on 0.800: the students are still "
        "undecided.",
        [found(0.97, greedy=0.99), found(0.99, greedy=0.8)],
    ),
}  # fmt: skip


def test_every_rule_has_its_cases() -> None:
    assert list(CASES) == list(guidance.RULES) and set(guidance.HALF_WAY) <= set(guidance.RULES)


@pytest.mark.parametrize("rule", guidance.RULES, ids=lambda rule: rule.__name__)
def test_a_rule_speaks_of_what_it_is_about_and_of_nothing_else(rule: Callable[[Findings], str | None]) -> None:
    spoken, words, silent = CASES[rule]
    said = rule(spoken)
    assert said is not None and words in said
    assert [rule(one) for one in silent] == [None] * len(silent)
    assert dict(rule=rule.__name__, said=said) in guidance.of(spoken)


def test_a_run_that_learned_hears_nothing() -> None:
    assert guidance.of(found()) == []


def test_what_is_said_names_options_that_there_are() -> None:
    """A setting in backticks is one of the run's, so that the command prints its option."""
    known = commandline.settings_of(run.Command)
    for spoken, _, _ in CASES.values():
        for one in guidance.of(spoken):
            shown = commandline.in_options(one["said"], known)
            quoted = [word for word in shown.split("`")[1::2] if not word.startswith(("teacher ", "evaluate"))]
            assert quoted == [] and one["said"][0].isupper() and one["said"].endswith(".")


def test_how_failures_end_depends_on_who_else_fails_so() -> None:
    both = found(played([0.7], cut=0.0), teacher=played(0.7, cut=0.0))
    assert "It happens to the teacher too, on 0.300 of the levels" in str(guidance.ends_badly(both))
    drawn = found(played([0.7], cut=0.0), greedy=played([0.95], cut=0.0))
    assert "on 0.050 of the levels instead of 0.300: take those" in str(guidance.ends_badly(drawn))


def test_the_hard_part_of_a_teacher_that_cannot_do_it_either() -> None:
    weak = found(played(**STUCK), teacher=played(0.32, done={OPENS: 0.32}))
    assert "The teacher does it on 0.32 only: it needs better plans there." in str(guidance.hard_part(weak))
    alone = found(played(**STUCK), teacher=None, uses_teacher=False)
    assert "teacher" not in str(guidance.hard_part(alone))


def test_success_takes_the_parts_that_successful_episodes_share() -> None:
    some = found(played([0.4], done={PICKS: 0.2}), teacher=None)  # half of the successes do without
    assert PICKS not in some.needed and OPENS in some.needed
    few = found(played([0.004]), greedy=0.0, teacher=None, random=0.0)
    assert few.needed == []  # 4 successes show nothing


def test_episodes_of_other_simulators_are_not_watched() -> None:
    def unwatched(one: Episodes) -> Episodes:
        return one.replace(watched=None)

    bare = dataclasses.replace(found(0.3), played={who: unwatched(one) for who, one in found(0.3).played.items()})
    assert bare.needed == [] and bare.failed_in("student") == [] and guidance.hard_part(bare) is None
    assert findings.in_summary(bare) == dict(parts={}, failed_in={})


@pytest.mark.parametrize("student, teacher, looks", [(0.9, None, True), (0.97, 0.999, True), (0.97, 0.97, False)])
def test_a_run_looks_back_at_how_episodes_ended_if_it_falls_short(
    monkeypatch: pytest.MonkeyPatch, student: float, teacher: float | None, looks: bool
) -> None:
    def back(task: Any, watched: Any) -> Any:
        return watched.replace(last=np.ones_like(watched.done))

    monkeypatch.setattr(findings.parts, "looked_back", back)
    run = found(student, teacher=teacher)
    assert run.falls_short is looks
    assert (run.looked_back() is not run) is looks
    assert bool(np.all(run.looked_back().played["student"].watched.last == 1)) is looks


def test_the_summary_has_parts_by_seed_and_the_states_of_failures() -> None:
    shown = findings.in_summary(found(played([0.5, 0.9], done={PICKS: 0.75}, last=1), teacher=0.6))
    assert shown["parts"]["student"] == {
        SEES: [1.0, 1.0],
        PICKS: [0.75, 0.75],
        SEES_DOOR: [1.0, 1.0],
        OPENS: [1.0, 1.0],
    }
    assert shown["parts"]["teacher"][PICKS] == 1.0
    assert shown["failed_in"]["student"] == [["Agent sees <key>, holds <nothing>.", 1.0]]
