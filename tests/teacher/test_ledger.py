"""The ledger: what asking cost, and limits that are not passed and lose nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_openai_backend import ASKED, TASK, Handler, _key, backend, serve
from test_recording import Fake

from l4t_jax.errors import BackendError
from l4t_jax.teacher import recording as asking
from l4t_jax.teacher.__main__ import main
from l4t_jax.teacher.backends import Answer, Request, completion
from l4t_jax.teacher.cache import Cache
from l4t_jax.teacher.ledger import Ledger
from l4t_jax.teacher.recording import Ask

assert _key  # the fixture: the key is set, and no proxy


def _counted(handler: Handler, body: dict[str, Any], said: str = "explore") -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    handler.answer(200, json.dumps({"choices": [{"message": {"content": said}}], "usage": usage}).encode())


def test_a_recording_knows_its_calls_tokens_dollars_and_cached_answers(tmp_path: Path) -> None:
    with serve(_counted) as server:
        first = Ledger(price=(2.0, 8.0))
        content = asking.record(TASK, backend(server), Ask(samples=3), Cache(tmp_path), ledger=first)
        again = Ledger(price=(2.0, 8.0))
        asking.record(TASK, backend(server), Ask(samples=4), Cache(tmp_path), ledger=again)
    found = content["source"]["ledger"]
    assert found.pop("seconds") > 0
    assert found == {
        "calls": 18, "failed": 0, "estimated": 0, "tokens_in": 1800, "tokens_out": 180, "cached": 0,
        "dollars": pytest.approx(18 * (100 * 2 + 10 * 8) / 1e6),
    }  # fmt: skip
    assert (again.calls, again.cached) == (6, 18)


def test_a_call_that_is_sent_again_counts_again_and_one_without_an_answer_has_no_tokens() -> None:
    def falters(handler: Handler, body: dict[str, Any]) -> None:
        if len(server.requests) == 1:
            handler.answer(503, b"", {"Retry-After": "0"})
        elif len(server.requests) == 2:
            _counted(handler, body, "")
        else:
            _counted(handler, body)

    ledger = Ledger()
    with serve(falters) as server:
        asked = Request(ASKED.messages, None, None, ASKED.sampling, ledger)
        assert dict(backend(server, retries=3).sample(asked, [0])) == {0: Answer("explore")}
    assert (ledger.calls, ledger.failed, ledger.tokens_in, ledger.tokens_out) == (3, 1, 200, 20)


@pytest.mark.parametrize("concurrency", [1, 8])
def test_max_calls_is_not_passed_and_every_answer_is_kept(concurrency: int, tmp_path: Path) -> None:
    with serve(_counted) as server:
        for limit, calls in ((5, 5), (8, 13)):
            ledger = Ledger(max_calls=limit)
            with pytest.raises(BackendError, match=rf"`max_calls={limit}` is reached.* the same command continues"):
                asking.record(
                    TASK, backend(server, concurrency=concurrency), Ask(samples=3), Cache(tmp_path), ledger=ledger
                )
            assert (ledger.calls, len(server.requests)) == (limit, calls)
            assert len(list(tmp_path.glob("*/0*.json"))) == calls
        asking.record(TASK, backend(server), Ask(samples=3), Cache(tmp_path), ledger=Ledger(max_calls=5))
        assert len(server.requests) == 18


def test_max_cost_is_not_passed_with_many_calls_under_way(tmp_path: Path) -> None:
    dear = (1e6, 1e6)  # a dollar a token
    with serve(_counted) as server:
        ledger = Ledger(price=dear, max_cost=1500)
        with pytest.raises(BackendError, match="`max_cost=1500` would be passed by a call of at most"):
            asking.record(TASK, backend(server), Ask(samples=3, max_tokens=10), Cache(tmp_path), ledger=ledger)
    assert ledger.dollars is not None and 0 < ledger.dollars <= 1500
    assert ledger.calls == len(server.requests) == len(list(tmp_path.glob("*/0*.json"))) > 0


def test_a_backend_that_counts_nothing_is_counted_by_its_answers(tmp_path: Path) -> None:
    fake, ledger = Fake(scores=False), Ledger(max_calls=7)
    with pytest.raises(BackendError, match="`max_calls=7` is reached after 7 calls"):
        asking.record(TASK, fake, Ask(samples=3), Cache(tmp_path), ledger=ledger)
    assert len(fake.asked) == ledger.calls == ledger.estimated == 7
    assert len(list(tmp_path.glob("*/0*.json"))) == 7
    assert ledger.tokens_in > 7 * 50 and ledger.tokens_out == 7 * 2


def test_a_prompt_whose_plans_are_scored_is_one_call() -> None:
    ledger = Ledger()
    asking.record(TASK, Fake(), Ask(ask="score"), ledger=ledger)
    assert (ledger.calls, ledger.tokens_out) == (6, 0)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"usage": {"prompt_tokens": 5, "completion_tokens": 2}}, (5, 2)),
        ({"usage": {"input_tokens": 5, "output_tokens": 2}}, (5, 2)),
        ({"usage": {"prompt_tokens": 5}}, (5, 0)),
        ({"usage": {"prompt_tokens": "5", "completion_tokens": True}}, None),
        ({"usage": None}, None),
        ({}, None),
        ([], None),
    ],
)
def test_usage_is_read_as_servers_give_it(said: Any, found: Any) -> None:
    assert completion.usage(said) == found


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(price=(-1, 0)), "`price` must be two numbers of at least 0"),
        (dict(max_calls=0), "`max_calls` must be at least 1"),
        (dict(max_cost=0), "`max_cost` must be above 0"),
        (dict(max_cost=1), "`max_cost` needs `price`"),
    ],
)
def test_a_wrong_limit_is_named(settings: Any, said: str) -> None:
    with pytest.raises(BackendError, match=said):
        Ledger(**settings)


def test_a_ledger_goes_on_from_its_content() -> None:
    first = Ledger(price=(2, 8))
    with first.call(100, 1, 10) as call:
        call.book((50, 7), 100, 30)
    second = Ledger(price=(2, 8))
    second.resume(json.loads(json.dumps(first.content)))
    assert second == first
    assert str(second) == "1 calls, 50 tokens in, 7 out, 0 s, 0.0002 dollars"


def test_the_command_stops_at_its_limit_in_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["record", "--teacher", "file:shipped", "--ask", "sample", "--samples", "2", "--out",
             str(tmp_path / "t.json"), "--cache", str(tmp_path / "cache"), "--max-calls", "7"]  # fmt: skip
    assert main(words) == 2
    assert not (tmp_path / "t.json").exists()
    assert "error: --max-calls 7 is reached after 7 calls; the answers so far are cached" in capfd.readouterr().err
    assert main(words) == 0
    assert json.loads((tmp_path / "t.json").read_text())["source"]["ledger"]["cached"] == 7
