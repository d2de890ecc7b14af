"""Asking between blocks of training: what is met is asked for once, and no failure ends a run."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.envs import get_task
from l4t_jax.teacher import file
from l4t_jax.teacher import live as live_module
from l4t_jax.teacher.backends import BackendError, Request, open_backend
from l4t_jax.teacher.live import LiveTeacher
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
    assert teacher.meet([EMPTY, BLUE])
    after = teacher.table
    assert after.plans.shape == before.plans.shape  # so that nothing is compiled again
    memory = np.flatnonzero(np.asarray(after.probability).sum(-1))
    assert set(memory) == {EMPTY, BLUE}
    assert not teacher.meet([EMPTY, BLUE])
    assert teacher.meet([RED])  # says the same as BLUE once colours are renamed
    assert len(backend.asked) == 2
    assert len(teacher.content["states"]) == 2


def test_all_that_is_met_makes_the_table_that_asking_first_makes(backend: Counted) -> None:
    teacher = LiveTeacher(Asker(TASK, backend, Ask(ask="score")))
    states = np.asarray(symbolic.enumerate_states(TASK))
    teacher.meet(states.tolist())
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
    assert not teacher.meet([BLUE])
    assert "no guidance yet where Agent sees" in told[0]
    assert "out of order" in told[0]
    backend.broken = False
    assert teacher.meet([BLUE])


def test_a_task_beyond_any_table_is_named(backend: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MOST_IDS", 10)
    with pytest.raises(BackendError, match="fewer objects"):
        LiveTeacher(Asker(TASK, backend, Ask(ask="score")))
