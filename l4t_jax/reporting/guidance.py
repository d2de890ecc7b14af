"""Guidance: what to try when a run did not learn, or learned less than its teacher, in words.

Host module. A rule is a function that gives a sentence or two, or None where it has nothing to say. It says what was
measured before it says what to try. Messages name settings in backticks; a command writes its options.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from l4t_jax.evaluation import intervals
from l4t_jax.reporting.findings import Findings
from l4t_jax.teacher import file

Rule = Callable[[Findings], str | None]

MOST_STATES = 3  # states that a sentence names
RISE = 0.02  # of success, over a quarter of the run, from which on a curve is still rising
LOST = 0.1  # share of the levels lost at one part that is worth naming
APART = 0.05  # between drawn and most probable actions
ALONE = 0.2  # of one seed below the others
FALL = 0.1  # of success, from its highest to the end
GONE = 0.02  # share of the highest distillation weight below which there is none
TIGHT = 0.7  # share of the limit of steps that successful episodes take, where it is tight
HARM = -0.05  # worth of advice, in standard deviations of the advantage
SEEN = 0.01  # share of the labelled steps of a state that counts


def weight_is_zero(found: Findings) -> str | None:
    """The teacher was not followed at all: it is no better than the random policy."""
    if not (found.uses_teacher and found.follows_success and found.falls_short) or found.weights.any():
        return None
    if not found.has_teacher:
        return None
    return (
        f"The teacher got weight 0: alone it succeeds on {found.success('teacher'):.3f} of the levels, the random "
        f"policy on {found.success('random'):.3f}. So the students learned without it. Try a better teacher: "
        "`teacher refine` asks an LLM for better plans in the states in which it fails."
    )


def teacher_is_weak(found: Findings) -> str | None:
    """The teacher itself fails often: in which states."""
    if not found.has_teacher or not found.uses_teacher or not found.falls_short or found.success("teacher") >= 0.9:
        return None
    ends = _listed([(said, f"{share:.0%}") for said, share in found.failed_in("teacher")])
    where = f" Its failed episodes end in these states: {ends}." if ends else ""
    state = "" if found.config.trust == "state" else "; `trust=state` follows it only in the states in which it helps"
    return (
        f"The teacher alone succeeds on {found.success('teacher'):.3f} of the levels.{where} Look at its plans there "
        f"(`teacher show`), or ask an LLM for better ones (`teacher refine`){state}."
    )


def states_without_plans(found: Findings) -> str | None:
    """The students met states for which the teacher has no plan."""
    shares = [np.mean(record["train"].get("unguided", 0.0)) for record in found.records]
    if not found.uses_teacher or not found.falls_short or max(shares) < SEEN:
        return None
    absent = [] if found.teacher is None else file.missing(found.task, dict(found.teacher))
    names = _listed([(state.sentence, "") for state in absent])
    return (
        f"The teacher had no plan on {max(shares):.0%} of the steps at most"
        + (f"; its file has none for {len(absent)} states, such as {names}" if names else "")
        + ". Record plans for them with `teacher record`, or write them into its file."
    )


def advice_does_harm(found: Findings) -> str | None:
    """With `trust=state`: in which states the teacher's actions were worse than the students' own."""
    advice = found.records[-1].get("advice")
    if advice is None or found.teacher is None or not found.falls_short:
        return None
    total = sum(advice["steps"])
    bad = [
        (worth, file.state_of(state).sentence, steps)
        for state, worth, steps in zip(found.teacher["states"], advice["worth"], advice["steps"], strict=True)
        if worth is not None and worth <= HARM and steps >= SEEN * total
    ]
    if not bad:
        return None
    names = _listed([(said, f"worth {worth:+.2f} over {steps:,} steps") for worth, said, steps in sorted(bad)])
    return (
        f"The advice was worse than what the students did themselves in these states: {names}. Look at its plans there "
        "(`teacher show`), or ask an LLM for better ones (`teacher refine`)."
    )


def reward_never_met(found: Findings) -> str | None:
    """Without a teacher, students that do no better than the random policy."""
    if found.uses_teacher or not found.falls_short:
        return None
    if intervals.better(found.played["student"], found.played["random"]):
        return None
    return (
        f"The students succeed on {found.success('student'):.3f} of the levels, the random policy on "
        f"{found.success('random'):.3f}: they have hardly ever met the reward. "
        + (
            "Try `algo=l4t`: the task has a teacher."
            if found.task.teacher
            else "Try `algo=l4t` with a teacher: `teacher record` asks an LLM for one."
        )
    )


def hard_part(found: Findings) -> str | None:
    """The part of the task at which most levels are lost, and whether the teacher can do it."""
    needed, success = found.needed, found.success("student")
    if success >= 0.9 or not needed:
        return None
    done = found.parts("student")
    steps = [("", 1.0), *((name, done[name]) for name in needed), ("succeeds", success)]
    drops = [before - now for (_, before), (_, now) in itertools.pairwise(steps)]
    at = int(np.argmax(drops))
    if drops[at] < LOST:
        return None
    name = steps[at + 1][0]
    chain = ", ".join(f"{one} {share:.2f}" for one, share in steps[1:])
    ends = _listed([(said, f"{share:.0%}") for said, share in found.failed_in("student")])
    said = f'Share of the levels on which a student does each part: {chain}. Most are lost at "{name}".'
    if ends:
        said += f" Failed episodes end in these states: {ends}."
    if not found.has_teacher or not found.uses_teacher:
        return said
    theirs = found.success("teacher") if name == "succeeds" else found.parts("teacher")[name]
    if theirs >= steps[at + 1][1] + LOST:
        return f"{said} The teacher does it on {theirs:.2f}, so there is more to learn from it."
    return f"{said} The teacher does it on {theirs:.2f} only: it needs better plans there."


def limit_is_tight(found: Findings) -> str | None:
    """Failures run out of steps, and successes nearly do."""
    who = "teacher" if found.has_teacher else "student"
    cut, length, limit = found.out_of_steps(who), found.winning_length(who), found.task.max_steps
    if not found.falls_short or cut is None or length is None or cut < 0.5 or length < TIGHT * limit:
        return None
    whose = "the teacher's" if who == "teacher" else "the students'"
    return (
        f"The limit of {limit} steps is tight: {whose} successful episodes take {length:.0f} on average, and {cut:.0%} "
        "of the failed ones run out of steps. For a task of your own, try a larger max_steps."
    )


def ends_badly(found: Findings) -> str | None:
    """Failures are steps that end an episode badly, such as into lava."""
    cut = found.out_of_steps("student")
    if not found.falls_short or cut is None or cut >= 0.5:
        return None
    said = (
        f"Of the students' failed episodes {1 - cut:.0%} end by a step that fails the task, such as into lava, not by "
        "the limit of steps."
    )
    lost = {who: _badly(found, who) for who in found.played}
    if "student, greedy" in lost and lost["student, greedy"] < 0.5 * lost["student"]:
        return (
            f"{said} With the most probable actions it happens on {lost['student, greedy']:.3f} of the levels instead "
            f"of {lost['student']:.3f}: take those."
        )
    if found.has_teacher and found.uses_teacher and lost["teacher"] >= 0.5 * lost["student"]:
        return f"{said} It happens to the teacher too, on {lost['teacher']:.3f} of the levels: its plans lead there."
    return said


def weight_gone_early(found: Findings) -> str | None:
    """The distillation weight was gone while the students were still far below their teacher, and they stayed there."""
    weights, most = found.weights, found.weights.max()
    if not found.below_teacher or most <= 0:
        return None
    left = np.flatnonzero(weights > GONE * most)
    first = int(left[-1]) + 1
    if first >= len(weights) or found.curve[first] >= 0.9 * found.success("teacher"):
        return None
    said = (
        f"The distillation weight was gone from step {found.records[first]['steps']:,} on, when the students succeeded "
        f"on {found.curve[first]:.3f} of the validation levels; their teacher succeeds on "
        f"{found.success('teacher'):.3f} of the held-out ones. "
    )
    config = found.config
    if config.distill_off < 1 or config.distill_fall < 1:
        return said + "Keep it longer: `distill_fall=1` and `distill_off=1`, or more `total_steps`."
    return (
        said
        + "Keep it longer with more `total_steps`"
        + (", or let it follow success: `anneal=success`." if config.anneal == "clock" else ".")
    )


def fell_back(found: Findings) -> str | None:
    """Success was much higher before the end."""
    curve = found.curve
    best = int(curve.argmax())
    if curve[best] < curve[-1] + FALL:
        return None
    rate = found.config.learning_rate
    return (
        f"Success on the validation levels was {curve[best]:.3f} after {found.records[best]['steps']:,} steps and "
        f"{curve[-1]:.3f} at the end. The best parameters of each seed are kept: `evaluate` plays them with its "
        f"checkpoint best. Try a lower learning rate, such as `learning_rate={rate / 2:g}`."
    )


def still_rising(found: Findings) -> str | None:
    """Success was still rising at the end."""
    curve, config = found.curve, found.config
    quarter = len(curve) // 4
    if not found.falls_short or not quarter:
        return None
    last, before = float(curve[-quarter:].mean()), float(curve[-2 * quarter : -quarter].mean())
    levels = config.validation_levels * config.num_seeds * quarter
    noise = 2 * float(np.sqrt((last * (1 - last) + before * (1 - before)) / levels))
    if last - before <= max(RISE, noise):
        return None
    return (
        f"Success was still rising: from {before:.3f} to {last:.3f} in the last quarter of the run. Try more steps: "
        f"`total_steps={2 * config.total_steps}`."
    )


def one_seed_fails(found: Findings) -> str | None:
    """One student is far below the others."""
    seeds = found.seeds
    if len(seeds) < 3:
        return None
    worst, middle = int(seeds.argmin()), float(np.median(seeds))
    if seeds[worst] > middle - ALONE:
        return None
    best = max(record["validation"]["success"][worst] for record in found.records)
    return (
        f"Seed {worst} (counted from 0) ends at {seeds[worst]:.3f}, the middle one of the {len(seeds)} at "
        f"{middle:.3f}: the same settings end differently by chance. Its highest success on the validation levels was "
        f"{best:.3f}; the checkpoint best has the parameters of then."
    )


def greedy_repeats(found: Findings) -> str | None:
    """Drawn actions succeed much more often than the most probable ones."""
    if not _apart(found, "student", "student, greedy"):
        return None
    share = found.config.greedy_share
    return (
        f"Drawn actions succeed on {found.success('student'):.3f} of the levels, the most probable ones on "
        f"{found.success('student, greedy'):.3f}: without chance a student repeats itself until its steps run out. "
        "Draw its actions, or train it for longer"
        + (" with a share of greedy environments, `greedy_share=0.125`." if share == 0 else ".")
    )


def chance_costs(found: Findings) -> str | None:
    """The most probable actions succeed much more often than drawn ones."""
    if not _apart(found, "student, greedy", "student"):
        return None
    coefficient = found.config.entropy_coef
    return (
        f"The most probable actions succeed on {found.success('student, greedy'):.3f} of the levels, drawn ones on "
        f"{found.success('student'):.3f}: the students are still undecided. Take the most probable action, or train "
        "longer" + (f" or with a smaller entropy bonus than `entropy_coef={coefficient:g}`." if coefficient else ".")
    )


RULES: tuple[Rule, ...] = (
    weight_is_zero, teacher_is_weak, states_without_plans, advice_does_harm, reward_never_met, hard_part,
    limit_is_tight, ends_badly, weight_gone_early, fell_back, still_rising, one_seed_fails, greedy_repeats,
    chance_costs,
)  # fmt: skip
# What can be told half-way; the others compare with the end.
HALF_WAY: tuple[Rule, ...] = (states_without_plans, advice_does_harm, reward_never_met, hard_part)


def of(found: Findings, rules: tuple[Rule, ...] = RULES) -> list[dict[str, str]]:
    """What the rules say: `rule`, its name, and `said`; for `summary.json`."""
    answers = ((rule.__name__, rule(found)) for rule in rules)
    return [dict(rule=name, said=said) for name, said in answers if said is not None]


def _listed(named: list[tuple[str, str]]) -> str:
    """The first few states with what is said of each, in one line."""
    shown = [f"{said.rstrip('.')}" + (f" ({about})" if about else "") for said, about in named[:MOST_STATES]]
    return "; ".join(shown)


def _badly(found: Findings, who: str) -> float:
    """The share of all episodes that end by a step that fails."""
    played: Any = found.played[who]
    won, length = np.asarray(played.success, bool), np.asarray(played.length)
    return float(np.mean(~won & (length < found.task.max_steps)))


def _apart(found: Findings, more: str, less: str) -> bool:
    """Whether one succeeds more often than the other, by far and beyond doubt."""
    if not {more, less} <= set(found.played):
        return False
    far = found.success(more) - found.success(less) >= APART
    return far and intervals.better(found.played[more], found.played[less])
