"""Answers that are of no use: what is counted, what is kept, and that a file of them is no teacher."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from test_recording import TASK, Fake, distribution, of

from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.errors import NoPlans
from l4t_jax.teacher import file
from l4t_jax.teacher import recording as asking
from l4t_jax.teacher.__main__ import main
from l4t_jax.teacher.backends import Answer, BackendError, Request, completion, register_backend
from l4t_jax.teacher.cache import Cache
from l4t_jax.teacher.recording import Ask


class Knows(Fake):
    """Knows what to do where nothing is seen, and nowhere else."""

    def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, str | Answer]]:
        for number, _ in super().sample(request, numbers):
            lost = request.state is not None and (request.state.sees or request.state.holds)
            yield number, "who knows" if lost else "explore"


class Says(Fake):
    """Gives one answer, whole or not, to every question."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(scores=False)
        self.answer = answer

    def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, str | Answer]]:
        for number, _ in super().sample(request, numbers):
            yield number, self.answer


def test_a_state_without_a_usable_answer_gives_no_guidance(tmp_path: Path) -> None:
    content = asking.record(TASK, Knows(), Ask(ask="sample", samples=3))
    file.save(content, tmp_path / "vain.json")
    content = file.load(tmp_path / "vain.json")
    assert len(file.missing(TASK, content)) == 5
    guided = np.asarray(file.to_table(TASK, content).probability).any(axis=1)
    assert [symbolic.decode(TASK, int(state)) for state in np.flatnonzero(guided)] == [Symbolic((), None)]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer("I do not know."), r"18 without a plan \(such as 'I do not know.'\)$"),
        (Answer("", completion.EMPTY), "18 empty$"),
        (Answer("go to <k", completion.CUT, "64 tokens"), r"18 cut off at `max_tokens` \(64 tokens\); raise `max_tok"),
        (Answer("", completion.REASONING), "18 reasoning without an answer; raise `max_tokens`$"),
        (
            Answer("", completion.REASONING, completion.WHOLE),
            r"18 reasoning without an answer \(not cut off\); if the model writes no reasoning, start the server w",
        ),
        (Answer("<think>open <door>", completion.CUT, "64 tokens"), "18 cut off at `max_tokens`"),
        (Answer("", completion.REFUSED, "I will not."), r"18 refused \(I will not.\)$"),
        (Answer("", completion.TOOL, "go_to"), r"18 calls of a tool in place of an answer \(go_to\)$"),
        (Answer("", completion.FILTERED), "18 stopped by the server's content filter$"),
    ],
)
def test_answers_that_are_all_of_no_use_are_no_teacher_and_are_asked_for_again(
    answer: Answer, said: str, tmp_path: Path
) -> None:
    with pytest.raises(NoPlans, match="none of the 18 answers has a plan, so there is no teacher: " + said):
        asking.record(TASK, Says(answer), Ask(samples=3), Cache(tmp_path))
    mended = Fake(scores=False)
    content = asking.record(TASK, mended, Ask(samples=3), Cache(tmp_path))
    assert len(mended.asked) == 18
    assert file.missing(TASK, content) == []


@pytest.mark.usefixtures("own_tasks")
def test_the_command_then_fails_and_leaves_an_earlier_file_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    register_backend("says", lambda name, task, options: Says(Answer(name)))
    out = tmp_path / "out.json"
    words = ["record", "--samples", "2", "--out", str(out), "--teacher"]
    assert main([*words, "says:who knows", "--cache", str(tmp_path / "0")]) == 2
    assert not out.exists()
    assert main([*words, "says:explore", "--cache", str(tmp_path / "1")]) == 0
    good = out.read_bytes()
    assert main([*words, "says:no idea", "--cache", str(tmp_path / "2")]) == 2
    assert out.read_bytes() == good
    assert "error: none of the 12 answers has a plan" in capfd.readouterr().err


def test_useless_answers_that_an_earlier_version_kept_are_asked_for_again(tmp_path: Path) -> None:
    asking.record(TASK, Fake(), Ask(ask="sample", samples=2), Cache(tmp_path))
    kept = sorted(tmp_path.glob("*/0*.json"))
    for path in kept[:3]:
        path.write_text('{"text": ""}')
    asked = []
    for _ in range(2):
        fake = Fake()
        content = asking.record(TASK, fake, Ask(ask="sample", samples=2), Cache(tmp_path))
        assert [state["unusable"] for state in content["states"]] == [0] * 6
        asked.append(len(fake.asked))
    assert asked == [3, 0]
    assert all(json.loads(path.read_text()) == {"text": "explore"} for path in kept)


def test_of_an_answer_cut_off_behind_its_plan_the_plan_is_taken_and_kept(tmp_path: Path) -> None:
    answer = Answer("go to <key>\nI chose this because the k", completion.CUT, "64 tokens")
    content = asking.record(TASK, Says(answer), Ask(samples=2), Cache(tmp_path))
    assert distribution(of(content, "key")) == {"go to <key>": 1.0}
    fake = Says(answer)
    assert asking.record(TASK, fake, Ask(samples=2), Cache(tmp_path))["states"] == content["states"]
    assert fake.asked == []


def test_answers_of_no_use_among_others_are_told_of_by_their_fault() -> None:
    said: list[str] = []
    asking.record(TASK, Knows(), Ask(ask="sample", samples=2), report=said.append)
    assert said[-1] == "of 12 answers 10 without a plan (such as 'who knows')"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Ask(samples=0), "`samples` must be"),
        (Ask(temperature=-1), "`temperature` must be"),
        (Ask(top_p=0), "`top_p` must be"),
        (Ask(max_tokens=0), "`max_tokens` must be"),
        (Ask(seed=-1), "`seed` must be"),
        (Ask(divide_prior=3), "`divide_prior` must be"),
        (Ask(min_p=0.5), "`min_p` must be"),
        (Ask(ask="score"), "`ask=score` needs a backend that gives likelihoods"),
    ],
)
def test_a_wrong_setting_is_named(settings: Ask, said: str) -> None:
    with pytest.raises(BackendError, match=said):
        asking.record(TASK, Fake(scores=False), settings)


def test_every_line_of_the_table_of_behaviours_names_its_test() -> None:
    page = (Path(__file__).parents[2] / "docs" / "teachers.md").read_text(encoding="utf-8")
    _, _, table = page.partition("| server or model | what was tried | what happens | test |\n")
    lines = table.partition("\n\n")[0].splitlines()[1:]
    named = [re.fullmatch(r".*\| `(\w+)` \|", line) for line in lines]
    assert len(lines) >= 60
    here = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert [
        line for line, name in zip(lines, named, strict=True) if not name or f"def test_{name[1]}(" not in here
    ] == []
