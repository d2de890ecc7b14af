"""Asking for plans: what is asked, the distributions that come of the answers, and that no answer is lost."""

import json
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.envs import get_task
from l4t_jax.skills.actions import symbolic_states
from l4t_jax.skills.base import get_skill
from l4t_jax.teacher import file, open_teacher
from l4t_jax.teacher import recording as asking
from l4t_jax.teacher.backends import BackendError, Request, open_backend, register_backend
from l4t_jax.teacher.cache import Cache
from l4t_jax.teacher.grammar import MOST_PLANS, plans, situations, write_plan
from l4t_jax.teacher.recording import Ask

TASK = get_task("SimpleDoorKey")
STATES = {"SimpleDoorKey": 6, "LavaDoorKey": 6, "ColoredDoorKey": 14, "DivergedDoorKey": 9}


class Fake:
    """A backend with an opinion: a logit a plan, one of all states alike, and answers told in advance.

    Args:
        answers: what it says, in turn.
        fails_after: answers or texts after which it breaks down.
    """

    constrains = False

    def __init__(self, answers: Sequence[str] = ("explore",), scores: bool = True, fails_after: int = 10**9) -> None:
        self.identity: dict[str, Any] = {"backend": "fake", "model": "fake"}
        self.scores, self.answers, self.left = scores, answers, fails_after
        self.asked: list[tuple[Request, Any]] = []

    def _spend(self) -> None:
        if self.left == 0:
            raise BackendError("the fake backend broke down")
        self.left -= 1

    def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
        for number in numbers:
            self._spend()
            self.asked.append((request, number))
            yield number, self.answers[number % len(self.answers)]

    def score(self, request: Request, texts: Sequence[str]) -> list[float]:
        self._spend()
        self.asked.append((request, tuple(texts)))
        return [self.log_likelihood(request, text) for text in texts]

    @staticmethod
    def log_likelihood(request: Request, text: str) -> float:
        liking = -1.0 * text.count("go to") - 2.0 * text.count("open")  # wherever it is asked
        if request.state is None:
            return liking - 5
        knows = 3.0 * ("explore" not in text) if request.state.sees else 0.0
        return liking + knows - 20


def of(content: dict[str, Any], *sees: str, holds: str | None = None) -> dict[str, Any]:
    (found,) = (s for s in content["states"] if s["sees"] == list(sees) and s["holds"] == holds)
    return found


def distribution(entry: dict[str, Any]) -> dict[str, float]:
    return {write_plan(tuple(step) for step in plan["skills"]): plan["p"] for plan in entry["plans"]}


# What is asked


@pytest.mark.parametrize(("name", "number"), STATES.items())
def test_the_papers_tasks_have_exactly_the_states_that_can_occur(name: str, number: int) -> None:
    task = get_task(name)
    asked = situations(task)
    assert len(asked) == len({one.state.sentence for one in asked}) == number
    shipped = {(tuple(s["sees"]), s["holds"]) for s in file.shipped(task)["states"]}
    assert {(one.state.sees, one.state.holds) for one in asked} == shipped


def test_the_grammar_is_finite_and_speaks_of_what_is_seen_or_held(task_name: str) -> None:
    for one in situations(get_task(task_name)):
        found = plans(one)
        assert 1 <= len(found) == len(set(found)) <= MOST_PLANS
        there = {*one.state.sees, one.state.holds}
        for plan in found:
            assert 1 <= len(plan) <= 4
            assert all(step[1] in there for step in plan if get_skill(step[0]).takes_object)


def test_the_plans_of_a_state_worked_out_by_hand() -> None:
    (one,) = (s for s in situations(TASK) if s.state == Symbolic((), "key"))
    assert [write_plan(plan) for plan in plans(one)] == [
        "explore", "drop <key>", "explore, drop <key>", "drop <key>, explore", "drop <key>, go to <key>",
    ]  # fmt: skip
    (one,) = (s for s in situations(TASK) if s.state == Symbolic(("key", "door"), None))
    assert "go to <key>, pick up <key>, go to <door>, open <door>" in {write_plan(plan) for plan in plans(one)}


@pytest.mark.parametrize("name", STATES)
def test_the_grammar_holds_nearly_all_that_was_recorded(name: str) -> None:
    task = get_task(name)
    content = file.shipped(task)
    covered = [
        sum(p for plan, p in distribution(of(content, *one.state.sees, holds=one.state.holds)).items()
            if plan in {write_plan(memory) for memory in plans(one)})
        for one in situations(task)
    ]  # fmt: skip
    assert np.mean(covered) > 0.9
    assert min(covered) > 0.6  # "go to <door>" of a door not yet seen is the rest


def test_a_table_that_was_asked_for_is_complete(paper_task: str) -> None:
    task = get_task(paper_task)
    content = asking.record(task, Fake(), Ask(min_p=0))
    assert file.missing(task, content) == []
    table = file.to_table(task, content)
    for state in symbolic.enumerate_states(task):
        assert float(table.probability[table.row[state]].sum()) == pytest.approx(1, abs=1e-5)


# Scoring


def test_scores_become_the_exact_distribution() -> None:
    content = asking.record(TASK, Fake(), Ask(ask="score", min_p=0))
    (one,) = (s for s in situations(TASK) if s.state == Symbolic(("door",), None))
    texts = [write_plan(plan) for plan in plans(one)]
    logit = {text: -text.count("go to") - 2 * text.count("open") + 3 * ("explore" not in text) for text in texts}
    weight = {text: math.exp(value) for text, value in logit.items()}
    expected = {text: w / sum(weight.values()) for text, w in weight.items()}
    entry = of(content, "door")
    assert distribution(entry) == pytest.approx(expected, abs=2e-6)
    assert entry["scored"] == len(texts)
    assert entry["in_grammar"] == pytest.approx(sum(weight.values()) * math.exp(-20), rel=1e-3)


def test_dividing_out_the_prior_leaves_what_the_state_says() -> None:
    content = asking.record(TASK, Fake(), Ask(ask="score", divide_prior=1.0, min_p=0))
    found = distribution(of(content, "door"))  # 3 for each plan without explore, 0 for the others
    plain = {text for text in found if "explore" not in text}
    share = math.exp(3) / (math.exp(3) * len(plain) + len(found) - len(plain))
    assert found == pytest.approx({text: share if text in plain else share / math.exp(3) for text in found}, abs=2e-6)
    half = distribution(of(asking.record(TASK, Fake(), Ask(ask="score", divide_prior=0.5, min_p=0)), "door"))
    assert half["open <door>"] / half["go to <door>"] == pytest.approx(math.exp(-1 / 2), abs=1e-3)


def test_the_prior_is_asked_for_once() -> None:
    fake = Fake()
    asking.record(TASK, fake, Ask(ask="score", divide_prior=1.0))
    free = [texts for request, texts in fake.asked if request.state is None]
    assert len(free) == 1
    assert len(fake.asked) == 6 + 1


def test_unlikely_plans_are_left_out_and_the_rest_sums_to_one() -> None:
    entry = of(asking.record(TASK, Fake(), Ask(ask="score", min_p=0.05)), "key", "door")
    assert len(entry["plans"]) < entry["scored"]
    assert sum(plan["p"] for plan in entry["plans"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 2.0])
def test_likelihoods_that_are_none_are_refused(score: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "log_likelihood", staticmethod(lambda request, text: score))
    with pytest.raises(BackendError, match="they must be 0 or below"):
        asking.record(TASK, Fake(), Ask(ask="score"))


# Sampling


def test_answers_become_frequencies_and_what_is_no_plan_is_counted() -> None:
    answers = ["explore", "explore", "go to <key>, use <key>", "I do not know what to do here.", ""]
    entry = of(asking.record(TASK, Fake(answers), Ask(ask="sample", samples=10)), "key")
    assert (entry["answers"], entry["unusable"], entry["noops"]) == (10, 4, 2)
    assert distribution(entry) == pytest.approx({"explore": 4 / 6, "go to <key>, noop": 2 / 6}, abs=1e-5)


def test_a_backend_that_can_keep_to_the_grammar_is_told_it() -> None:
    fake = Fake()
    fake.constrains = True
    asking.record(TASK, fake, Ask(ask="sample", samples=1))
    assert all(request.choices for request, _ in fake.asked)
    fake.asked.clear()
    asking.record(TASK, fake, Ask(ask="sample", samples=1, constrain="off"))
    assert all(request.choices is None for request, _ in fake.asked)


def test_colours_are_renamed_when_they_are_asked_for_and_named_again_in_the_table() -> None:
    task = get_task("ColoredDoorKey")
    fake = Fake(["go to <color1 key>"], scores=False)
    content = asking.record(task, fake, Ask(samples=1))
    assert all("blue" not in request.messages[-1]["content"] for request, _ in fake.asked)
    table = file.to_table(task, content)
    red_first = symbolic.encode(task, Symbolic(("red key", "blue key"), None))
    from l4t_jax.skills import plan_codes

    assert plan_codes.decode_step(task, int(table.plans[table.row[red_first], 0, 0])) == ("go_to", "red key")


def test_a_name_that_only_some_of_the_states_of_a_sentence_know_is_no_object() -> None:
    """<color1 key> may be the red key, and then there is no <color1 door>."""
    task = get_task("ColoredDoorKey")
    content = asking.record(task, Fake(["explore, go to <color1 door>"], scores=False), Ask(samples=1))
    noop, memory = {"explore, noop": 1.0}, {"explore, go to <color1 door>": 1.0}
    assert distribution(of(content, "color1 key")) == noop
    assert distribution(of(content, "color1 key", "color2 key")) == noop
    assert distribution(of(content, "color1 door")) == memory  # it is blue: there is one of them
    assert distribution(of(content, "color1 key", "color2 door")) == noop
    file.to_table(task, content)


def test_the_names_of_a_sentence_are_those_that_all_its_states_know(task_name: str) -> None:
    task = get_task(task_name)
    common: dict[Symbolic, set[str]] = {}
    for state in symbolic.enumerate_states(task):
        renamed, names = symbolic.rename(task, symbolic.decode(task, state))
        common[renamed] = common.get(renamed, set(names)) & set(names)
    assert {one.state: set(one.objects) for one in situations(task)} == common


# Nothing is lost


@pytest.mark.parametrize(("how", "kept"), [("sample", 8), ("score", 8)])
def test_after_a_failure_the_same_command_goes_on(how: Any, kept: int, tmp_path: Path) -> None:
    task = get_task("DivergedDoorKey")
    settings = Ask(ask=how, samples=4)
    with pytest.raises(BackendError, match=r"broke down; the answers so far are cached in .*continues from there"):
        asking.record(task, Fake(fails_after=kept), settings, Cache(tmp_path))
    fake = Fake()
    content = asking.record(task, fake, settings, Cache(tmp_path))
    assert len(fake.asked) == (9 * 4 if how == "sample" else 9) - kept
    whole = asking.record(task, Fake(), settings)
    assert content["states"] == whole["states"]


def test_more_answers_reuse_the_first_ones(tmp_path: Path) -> None:
    asking.record(TASK, Fake(), Ask(ask="sample", samples=3), Cache(tmp_path))
    fake = Fake()
    asking.record(TASK, fake, Ask(ask="sample", samples=5), Cache(tmp_path))
    assert sorted(number for _, number in fake.asked) == [3] * 6 + [4] * 6


def test_another_model_prompt_or_sampling_asks_anew(tmp_path: Path) -> None:
    cache, settings = Cache(tmp_path / "cache"), Ask(ask="sample", samples=1)
    asking.record(TASK, Fake(), settings, cache)
    (tmp_path / "mine.txt").write_text("[user]\n{state}\n")
    other = Fake()
    other.identity = {**other.identity, "model": "other"}
    for fake, changed in (
        (other, settings),
        (Fake(), Ask(ask="sample", samples=1, temperature=0.5)),
        (Fake(), Ask(ask="sample", samples=1, seed=1)),
        (Fake(), Ask(ask="sample", samples=1, prompt=str(tmp_path / "mine.txt"))),
    ):
        asking.record(TASK, fake, changed, cache)
        assert len(fake.asked) == 6


class Slow(Fake):
    """Takes its time over each answer."""

    def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
        for answer in super().sample(request, numbers):
            time.sleep(0.02)
            yield answer


def _record(folder: str, out: str) -> None:
    content = asking.record(TASK, Slow(), Ask(ask="sample", samples=10), Cache(folder))
    file.save(content, out)


@pytest.mark.slow  # the processes import JAX; test_cache kills a writer in the default tier
def test_a_kill_loses_at_most_the_answer_in_flight(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    recorder = context.Process(target=_record, args=(str(tmp_path / "cache"), str(tmp_path / "out.json")))
    recorder.start()
    deadline = time.monotonic() + 180
    while len(list((tmp_path / "cache").glob("*/0*.json"))) < 25:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert recorder.pid is not None
    os.kill(recorder.pid, signal.SIGKILL)
    recorder.join()
    kept = len(list((tmp_path / "cache").glob("*/0*.json")))
    assert not (tmp_path / "out.json").exists()
    fake = Slow()
    asking.record(TASK, fake, Ask(ask="sample", samples=10), Cache(tmp_path / "cache"))
    assert len(fake.asked) == 60 - kept


def test_two_recorders_at_once_write_the_same_file(tmp_path: Path) -> None:
    outs = [tmp_path / "a.json", tmp_path / "b.json"]
    threads = [threading.Thread(target=_record, args=(str(tmp_path / "cache"), str(out))) for out in outs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    first, second = (json.loads(out.read_text())["states"] for out in outs)
    assert first == second
    assert len(list((tmp_path / "cache").glob("*/0*.json"))) == 60


# What a run calls


@pytest.mark.usefixtures("own_tasks")
def test_a_run_opens_every_kind_of_teacher(tmp_path: Path) -> None:
    assert open_teacher("none", TASK) == (None, "none")
    content, how = open_teacher("shipped", TASK)
    assert (content, how) == (file.shipped(TASK), "shipped (recorded)")
    file.save(file.shipped(TASK), tmp_path / "t.json")
    assert open_teacher(f"file:{tmp_path / 't.json'}", TASK)[0] == content
    register_backend("fake", lambda name, task, options: Fake([name]))
    content, how = open_teacher("fake:explore", TASK, Ask(ask="sample", samples=2), cache=tmp_path / "cache")
    assert how == "fake:explore (llm)"
    assert content is not None
    assert file.missing(TASK, content) == []


@pytest.mark.parametrize("spec", ["", "recorded", "gpt-5", "fake:x", "file", "openai:"])
def test_a_teacher_that_is_none_is_named(spec: str) -> None:
    with pytest.raises((BackendError, file.TeacherFileError)) as caught:
        open_teacher(spec, TASK)
    assert "file:PATH" in str(caught.value)


def test_a_file_answers_for_an_llm() -> None:
    backend = open_backend("file:shipped", TASK)
    content = asking.record(TASK, backend, Ask(ask="sample", samples=200))
    want = distribution(of(file.shipped(TASK), "key", "door"))
    got = distribution(of(content, "key", "door"))
    assert set(got) <= set(want)
    assert sum(abs(got.get(plan, 0) - p) for plan, p in want.items()) / 2 < 0.12


# No state outside the table


@pytest.mark.slow
@pytest.mark.parametrize("name", STATES)
def test_no_state_outside_the_table_is_met_in_a_million_steps(name: str, play: Any, draw: Any) -> None:
    """Half of them driven by the teacher (with and without random actions), half at random and by meddling."""
    task = get_task(name)
    memory = set(symbolic.enumerate_states(task))
    observe = jax.jit(lambda maps: symbolic_states(task, maps))
    steps = {"teacher": 0, "random": 0}
    met: set[int] = set()
    round_ = 0
    while min(steps.values()) < 500_000:
        key = jax.random.key(round_)
        played = play(name, draw(name, key, 4096), jax.random.fold_in(key, 1), task.max_steps)
        live = played.live()
        states = np.asarray(observe(jax.tree.map(jnp.asarray, played.memory)))[:-1]
        met |= set(np.unique(states[live]).tolist())
        driven = np.arange(live.shape[1]) % 4 >= 2
        steps["teacher"] += int(live[:, driven].sum())
        steps["random"] += int(live[:, ~driven].sum())
        round_ += 1
        assert met <= memory, [symbolic.decode(task, state).sentence for state in met - memory]
    assert sum(steps.values()) >= 1_000_000
    assert len({symbolic.rename(task, symbolic.decode(task, state))[0] for state in met}) >= STATES[name] - 1


def test_a_task_too_rich_to_list_its_states_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from l4t_jax.teacher import grammar

    monkeypatch.setattr(grammar, "MOST_STATES", 4)
    with pytest.raises(grammar.TooManyStates, match="too many to ask about all"):
        asking.record(TASK, Fake(), Ask())
    (state,) = (s for s in symbolic.enumerate_states(TASK) if symbolic.decode(TASK, s) == Symbolic(("door",), None))
    content = asking.record(TASK, Fake(), Ask(divide_prior=1.0), states=[state])  # those that are met can be asked for
    assert [entry["sees"] for entry in content["states"]] == [["door"]]
