"""Refining: which states are asked about, in what words, and that only what measures better is kept."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.envs import get_task
from l4t_jax.errors import BackendError
from l4t_jax.teacher import file, refine
from l4t_jax.teacher.backends import Request
from l4t_jax.teacher.ledger import Ledger
from l4t_jax.teacher.recording import Ask, Asker
from l4t_jax.teacher.refine import How, Refiner, Trial

TASK = get_task("SimpleDoorKey")
NOTHING, KEY, BOTH = Symbolic((), None), Symbolic(("key",), None), Symbolic(("key", "door"), None)
HOLDS = Symbolic(("door",), "key")
IDS = {state: symbolic.encode(TASK, state) for state in (NOTHING, KEY, BOTH, HOLDS)}
RIGHT = {NOTHING: "explore", KEY: "go to <key>, pick up <key>", HOLDS: "go to <door>, open <door>"}
N, STEPS = 40, 10


def trial(success: Sequence[bool], paths: Sequence[Sequence[Symbolic]], noisy: Sequence[bool] | None = None) -> Trial:
    states = np.full((STEPS, len(paths)), -1)
    for episode, path in enumerate(paths):
        states[: len(path), episode] = [IDS[state] for state in path]
    won = np.array(success)
    return Trial(won, won if noisy is None else np.array(noisy), np.array([len(p) for p in paths]), states, STEPS)


def test_a_failed_episode_is_lost_where_it_spent_its_steps_or_where_it_ended_early() -> None:
    played = trial(
        [False, False, True, False],
        [[KEY] * 8 + [BOTH] * 2, [NOTHING] * 3 + [BOTH], [NOTHING] * 2, [NOTHING] * 10],
    )
    assert refine.lost(TASK, played) == pytest.approx({KEY: 0.2, BOTH: 0.05 + 0.25, NOTHING: 0.25})


def test_what_happened_is_told_in_words() -> None:
    played = trial(
        [True, False, False, False],
        [[KEY, BOTH], [NOTHING] + [KEY] * 9, [KEY], [NOTHING] * 10],
    )
    assert refine.happened(TASK, played, KEY) == (
        "The agent came to this situation in 3 of 4 episodes; 1 of these solved the task. In 1 of them it was still in "
        "this situation when the time was up. In 1 of them the episode ended in this situation without success. In 1 "
        "of them the next situation was: Agent sees <key>, <door>, holds <nothing>."
    )
    entry = {"sees": ["key"], "holds": None, "plans": [{"p": 1.0, "skills": [["go_to", "key"]]}]}
    said, asked = refine.question(TASK, played, entry, KEY)
    assert said == {"role": "assistant", "content": "go to <key>"}
    assert asked["content"].startswith("This plan was tried. The agent came to")
    assert asked["content"].endswith("in the same form.\nAgent sees <key>, holds <nothing>.")
    assert refine.question(TASK, played, None, KEY) == []


@pytest.mark.parametrize(
    ("old", "new", "noisy", "expected"),
    [
        (20, 30, (20, 20), True),
        (20, 21, (20, 20), False),  # may be luck
        (20, 20, (20, 30), True),  # other states are wrong too: random actions help past them
        (20, 19, (20, 40), False),  # no success may be lost
        (20, 20, (20, 20), False),
    ],
)
def test_more_levels_must_be_solved_and_none_lost(old: int, new: int, noisy: tuple[int, int], expected: bool) -> None:
    def of(number: int, random: int) -> Trial:
        return trial(np.arange(N) < number, [[NOTHING]] * N, np.arange(N) < random)  # type: ignore[arg-type]

    assert refine.better(of(new, noisy[1]), of(old, noisy[0])) == expected


def table(**plans: str) -> dict[str, Any]:
    """A teacher of three states, each with one plan, "explore" unless told otherwise."""
    states = []
    for name, state in (("nothing", NOTHING), ("key", KEY), ("holds", HOLDS)):
        skills = [part.replace("<", "").replace(">", "").split(" ") for part in plans.get(name, "explore").split(", ")]
        steps = [["_".join(words[:-1]), words[-1]] if len(words) > 1 else words for words in skills]
        states.append({"sees": list(state.sees), "holds": state.holds, "plans": [{"p": 1.0, "skills": steps}]})
    return {"format": "l4t-teacher", "version": 1, "task": TASK.name, "made": "llm", "states": states}


def measure(content: dict[str, Any]) -> Trial:
    """Where each of three states has the right plan, all is solved; random actions help past each wrong one."""
    plans = {
        file.state_of(state): ", ".join(text for _, text in refine._written(state)[:1]) for state in content["states"]
    }
    wrong = [state for state, right in RIGHT.items() if plans.get(state) != right]
    solved = 0 if wrong else N
    path = [NOTHING, KEY, HOLDS][: max(1, [*RIGHT].index(wrong[0]) + 1)] if wrong else [NOTHING]
    paths = [path + [path[-1]] * (STEPS - len(path)) if wrong else path] * N
    return trial(np.arange(N) < solved, paths, np.arange(N) < N - 12 * len(wrong))  # type: ignore[arg-type]


class Knows:
    """Gives the right plan, or one of its own."""

    scores = constrains = False
    identity = {"backend": "knows", "model": "knows"}  # noqa: RUF012

    def __init__(self, says: str | None = None, fails_after: int = 10**9) -> None:
        self.says, self.left = says, fails_after
        self.asked: list[Request] = []

    def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
        if self.left == 0:
            raise BackendError("out of order")
        self.left -= 1
        self.asked.append(request)
        assert request.state is not None
        for number in numbers:
            yield number, self.says or RIGHT[request.state]


def refiner(backend: Any, confirm: Any = measure, ledger: Ledger | None = None, **how: Any) -> Refiner:
    asker = Asker(TASK, backend, Ask(ask="sample", samples=2), ledger=ledger or Ledger())
    return Refiner(asker, measure, confirm, How(**how))


def test_the_states_that_lose_are_asked_about_one_after_another_until_nothing_is_lost() -> None:
    llm = Knows()
    found = refiner(llm).refine(table())
    assert [request.state for request in llm.asked] == [KEY, HOLDS]
    assert [m["role"] for m in llm.asked[0].messages][-2:] == ["assistant", "user"]
    assert measure(found).success.all()
    (how,) = found["source"]["refined"]
    assert (how["success"], how["confirmed"], how["fell_back"]) == ([0.0, 1.0], [0.0, 1.0], False)
    assert how["ledger"]["calls"] == 4
    first, second = how["states"]
    assert (first["sees"], first["holds"], first["kept"]) == (["key"], None, True)
    assert first["lost"] == pytest.approx(0.9)
    assert first["from"] == [[1.0, "explore"]] and first["to"] == [[1.0, RIGHT[KEY]]]
    assert first["success"] == [0.0, 0.0] and first["noisy"] == [0.4, 0.7]  # only random actions show the gain
    assert second["success"] == [0.0, 1.0]
    assert "of these solved the task" in first["why"]


def test_advice_that_does_not_measure_better_changes_nothing_and_is_not_asked_for_for_ever() -> None:
    llm = Knows("go to <door>")
    before = table()
    found = refiner(llm).refine(before)
    assert found["states"] == before["states"]
    assert 1 <= len(llm.asked) <= len(RIGHT)
    assert not any(one["kept"] for one in found["source"]["refined"][0]["states"])


def test_a_teacher_that_falls_on_new_levels_stays_as_it_was() -> None:
    before = table()

    def confirm(content: dict[str, Any]) -> Trial:
        return trial(np.arange(N) < (8 if content["states"] == before["states"] else 7), [[NOTHING]] * N)  # type: ignore

    found = refiner(Knows(), confirm).refine(before)
    assert found["states"] == before["states"]
    (how,) = found["source"]["refined"]
    assert (how["fell_back"], how["confirmed"], how["success"]) == (True, [0.2, 0.2], [0.0, 0.0])


@pytest.mark.parametrize("stop", ["budget", "fault"])
def test_what_was_gained_before_the_budget_or_the_server_ends_is_kept(stop: str) -> None:
    llm = Knows(fails_after=1) if stop == "fault" else Knows()
    found = refiner(llm, ledger=Ledger(max_calls=2) if stop == "budget" else None).refine(table())
    (how,) = found["source"]["refined"]
    assert [one["kept"] for one in how["states"]] == [True]
    assert dict(file.to_rows(TASK, found, [IDS[KEY]])) == file.to_rows(TASK, table(key=RIGHT[KEY]), [IDS[KEY]])


def test_a_server_that_never_answers_is_an_error_and_no_file() -> None:
    with pytest.raises(BackendError, match="out of order"):
        refiner(Knows(fails_after=0)).refine(table())


def test_the_number_of_questions_is_a_limit_and_small_losses_are_left() -> None:
    assert len(refiner(Knows(), questions=1).refine(table())["source"]["refined"][0]["states"]) == 1
    assert refiner(Knows(), least=0.95).refine(table())["source"]["refined"][0]["states"] == []


def test_a_runs_own_worth_of_the_states_decides_where_it_is_given() -> None:
    llm = Knows()
    one = refiner(llm)
    one.worth = {NOTHING: -1.0, KEY: 0.5}
    one.refine(table(nothing="explore"))
    assert llm.asked[0].state == NOTHING


def test_a_refined_teacher_can_be_refined_again_and_says_both() -> None:
    once = refiner(Knows(), questions=1).refine(table())
    twice = refiner(Knows()).refine(once)
    assert [len(one["states"]) for one in twice["source"]["refined"]] == [1, 1]


def test_advice_that_helps_only_together_is_kept_together() -> None:
    """Even random actions do not help past the other state."""

    def hard(content: dict[str, Any]) -> Trial:
        played = measure(content)
        return dataclasses.replace(played, noisy=played.success, states=np.full_like(played.states, IDS[KEY]))

    def path(content: dict[str, Any]) -> Trial:
        played = hard(content)
        if not played.success.all():
            played.states[: STEPS // 3] = IDS[HOLDS]
        return played

    asker = Asker(TASK, Knows(), Ask(ask="sample", samples=2))
    found = Refiner(asker, path, measure).refine(table())
    first, second = found["source"]["refined"][0]["states"]
    assert first["kept"] and second["kept"]
    assert first["success"] == [0.0, 0.0] and second["success"] == [0.0, 1.0]
    assert second["together_with"] == [KEY.sentence]
    assert measure(found).success.all()


def test_a_state_asked_in_vain_is_asked_again_once_another_is_mended() -> None:
    class Slow(Knows):
        def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
            self.says = "drop <key>" if request.state == HOLDS and len(self.asked) == 0 else None
            yield from super().sample(request, numbers)

    def both(content: dict[str, Any]) -> Trial:
        played = measure(content)
        if not played.success.all():
            played.states[:] = IDS[KEY]
            played.states[: 2 * STEPS // 3] = IDS[HOLDS]
        return played

    llm = Slow()
    found = Refiner(Asker(TASK, llm, Ask(ask="sample", samples=2)), both, measure).refine(table())
    assert [request.state for request in llm.asked] == [HOLDS, KEY, HOLDS]
    assert measure(found).success.all()
