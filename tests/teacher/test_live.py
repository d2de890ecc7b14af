"""Asking between blocks of training: what is met is asked for once, and no failure ends a run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.envs import get_task
from l4t_jax.errors import TeacherFileError
from l4t_jax.teacher import file
from l4t_jax.teacher import live as live_module
from l4t_jax.teacher.backends import BackendError, Request, open_backend
from l4t_jax.teacher.ledger import Ledger
from l4t_jax.teacher.live import LiveTeacher
from l4t_jax.teacher.live_log import LiveLog
from l4t_jax.teacher.recording import Ask, Asker

TASK = get_task("ColoredDoorKey")
EMPTY = symbolic.encode(TASK, Symbolic((), None))
BLUE, RED = (symbolic.encode(TASK, Symbolic((f"{colour} key",), None)) for colour in ("blue", "red"))


class Counted:
    """Answers from the task's own file; counts what it is asked, and can be out of order."""

    scores, constrains = True, False

    def __init__(self) -> None:
        self.inner = open_backend("file:shipped", TASK)
        self.identity = self.inner.identity
        self.asked: list[Any] = []
        self.broken = False

    def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
        return self.inner.sample(request, numbers)

    def score(self, request: Request, texts: Sequence[str]) -> list[float]:
        if self.broken:
            raise BackendError("the backend is out of order")
        self.asked.append(request.state)
        return self.inner.score(request, texts)


@pytest.fixture
def backend() -> Counted:
    return Counted()


def test_what_is_met_is_asked_for_once_and_guides_from_then_on(backend: Counted) -> None:
    teacher = LiveTeacher(Asker(TASK, backend, Ask(ask="score")))
    before = teacher.table
    assert not np.asarray(before.probability).any()
    assert teacher.meet(0, [EMPTY, BLUE])
    after = teacher.table
    assert after.plans.shape == before.plans.shape  # so that nothing is compiled again
    memory = np.flatnonzero(np.asarray(after.probability).sum(-1))
    assert set(memory) == {EMPTY, BLUE}
    assert not teacher.meet(1, [EMPTY, BLUE])
    assert teacher.meet(2, [RED])  # says the same as BLUE once colours are renamed
    assert len(backend.asked) == 2
    assert len(teacher.content["states"]) == 2


def test_all_that_is_met_makes_the_table_that_asking_first_makes(backend: Counted) -> None:
    teacher = LiveTeacher(Asker(TASK, backend, Ask(ask="score")))
    states = np.asarray(symbolic.enumerate_states(TASK))
    teacher.meet(0, states.tolist())
    assert file.missing(TASK, teacher.content) == []
    whole = file.to_table(TASK, teacher.content)
    most = whole.probability.shape[-1]
    np.testing.assert_allclose(
        np.asarray(teacher.table.probability)[states, :most],
        np.asarray(whole.probability)[whole.row[states]],
        atol=1e-5,
    )


def test_a_backend_out_of_order_costs_guidance_and_is_asked_again(backend: Counted) -> None:
    told: list[str] = []
    teacher = LiveTeacher(Asker(TASK, backend, Ask(ask="score"), report=told.append))
    backend.broken = True
    assert not teacher.meet(0, [BLUE])
    assert "no guidance yet where Agent sees" in told[0]
    assert "out of order" in told[0]
    backend.broken = False
    assert teacher.meet(1, [BLUE])


def test_a_task_beyond_any_table_is_named(backend: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MOST_IDS", 10)
    with pytest.raises(BackendError, match="fewer objects"):
        LiveTeacher(Asker(TASK, backend, Ask(ask="score")))


# The log: a run that was killed goes on with the same answers


def followed(backend: Any, path: Path, blocks: int, **more: Any) -> LiveTeacher:
    teacher = LiveTeacher(Asker(TASK, backend, Ask(ask="score"), **more))
    teacher.follow(LiveLog(path), blocks)
    return teacher


def same(a: LiveTeacher, b: LiveTeacher) -> bool:
    alike = np.array_equal(a.table.plans, b.table.plans) and np.array_equal(a.table.probability, b.table.probability)
    return alike and a.content["states"] == b.content["states"]


def test_what_was_answered_is_taken_from_the_log_block_by_block(backend: Counted, tmp_path: Path) -> None:
    first = followed(backend, tmp_path / "log", 0)
    first.meet(0, [EMPTY])
    before = followed(backend, tmp_path / "log", 0)  # as it stood after the first block
    before.meet(0, [EMPTY])
    first.meet(1, [EMPTY, BLUE])
    first.meet(2, [BLUE, RED])
    asked = len(backend.asked)
    backend.broken = True  # it must not be asked again
    again = followed(backend, tmp_path / "log", 1)
    assert same(again, before)
    assert again.meet(1, [EMPTY, BLUE]) and again.meet(2, [BLUE, RED])
    assert same(again, first)
    assert same(followed(backend, tmp_path / "log", 3), first)
    assert len(backend.asked) == asked == 2
    assert len((tmp_path / "log").read_text().splitlines()) == 3 + 3  # a state, a block's end


def test_a_block_that_was_cut_short_goes_on_with_the_states_that_are_left(backend: Counted, tmp_path: Path) -> None:
    first = followed(backend, tmp_path / "log", 0)
    first.meet(0, [EMPTY, BLUE])
    lines = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    (tmp_path / "log").write_bytes(lines[0] + lines[1][:20])  # killed within the second line
    del backend.asked[:]
    again = followed(backend, tmp_path / "log", 0)
    assert again.meet(0, [EMPTY, BLUE])
    assert len(backend.asked) == 1
    assert same(again, first)
    assert len((tmp_path / "log").read_bytes().splitlines()) == 3


def test_a_block_in_which_asking_failed_fails_again_and_not_the_one_after(backend: Counted, tmp_path: Path) -> None:
    first = followed(backend, tmp_path / "log", 0)
    backend.broken = True
    first.meet(0, [BLUE])
    backend.broken = False
    again = followed(backend, tmp_path / "log", 0)
    assert not again.meet(0, [BLUE]) and again.meet(1, [BLUE])


def test_the_numbers_of_states_met_asked_and_waiting_are_shown(backend: Counted, tmp_path: Path) -> None:
    shown: list[tuple[int, int, int]] = []
    teacher = followed(backend, tmp_path / "log", 0)
    teacher.show = lambda *numbers: shown.append(numbers)
    teacher.meet(0, [EMPTY, BLUE])
    assert shown == [(2, 1, 1), (2, 2, 0), (2, 2, 0)]
    backend.broken = True
    teacher.meet(1, [symbolic.encode(TASK, Symbolic(("blue key", "blue door"), None))])
    assert shown[-1] == (3, 2, 1)
    again = followed(backend, tmp_path / "log", 2)
    again.show = lambda *numbers: shown.append(numbers)
    again.meet(2, [])
    assert shown[-1] == (3, 2, 1)


def test_the_budget_of_a_run_counts_what_was_spent_before_it_was_killed(backend: Counted, tmp_path: Path) -> None:
    told: list[str] = []
    first = followed(backend, tmp_path / "log", 0, ledger=Ledger(max_calls=1))
    first.meet(0, [EMPTY])
    again = followed(backend, tmp_path / "log", 1, ledger=Ledger(max_calls=1), report=told.append)
    assert not again.meet(1, [BLUE]) and not again.meet(2, [BLUE])
    assert [line for line in told if "`max_calls=1` is reached" in line] == told  # said once
    assert len(told) == 1
    more = followed(backend, tmp_path / "log", 3, ledger=Ledger(max_calls=2))
    assert more.meet(3, [BLUE])


@pytest.mark.parametrize("line", ["{}", "[]", "hello", '{"block": 0, "state": 1}', '{"block": "x", "ledger": {}}'])
def test_a_file_that_is_no_log_is_one_sentence(line: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"{line}\n")
    with pytest.raises(TeacherFileError, match=r"line 1 of .*log is not one of a teacher's log"):
        LiveLog(tmp_path / "log")
