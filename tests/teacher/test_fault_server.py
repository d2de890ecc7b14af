"""A server that answers for a while and then has one of 26 faults: no hang, no leak, no paid answer lost."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from test_openai_backend import FAULTS, KEY, TASK, Behaviour, Handler, _key, backend, serve
from test_openai_servers import WORDS, _refuse

from l4t_jax.errors import BackendError
from l4t_jax.teacher import recording as asking
from l4t_jax.teacher.cache import Cache
from l4t_jax.teacher.ledger import Ledger
from l4t_jax.teacher.recording import Ask

assert _key  # the fixture: the key is set, and no proxy
BEHAVIOURS: dict[str, Behaviour] = {
    **{name: behaviour for name, (behaviour, _) in FAULTS.items()},
    **{name: _refuse(status, said) for name, (status, said, _) in WORDS.items()},
}
PAID = 7  # answers before the fault


def test_there_are_25_faults_and_more() -> None:
    assert len(BEHAVIOURS) >= 25


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_fault_after_some_answers_ends_soon_in_one_sentence_and_loses_none_of_them(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = [0]

    def behave(handler: Handler, body: dict[str, Any]) -> None:
        with handler.server.lock:
            good[0] += 1
            mine = good[0]
        if mine > PAID:
            BEHAVIOURS[name](handler, body)
        else:
            handler.say(f"explore, says {handler.headers['Authorization']}")

    told: list[str] = []
    with serve(behave) as server:
        start, ledger = time.monotonic(), Ledger()
        with pytest.raises(BackendError) as caught:
            llm = backend(server, timeout=0.5, retries=1, concurrency=3)
            asking.record(TASK, llm, Ask(samples=3), Cache(tmp_path), told.append, ledger=ledger)
        assert time.monotonic() - start < 45  # a server that hangs does so for ever
        assert len(list(tmp_path.glob("*/0*.json"))) == PAID == ledger.calls - ledger.failed
        good[0] = -1000  # the server is mended
        again = Ledger()
        asking.record(TASK, backend(server, timeout=60.0), Ask(samples=3), Cache(tmp_path), told.append, ledger=again)
        assert (again.calls, again.cached) == (18 - PAID, PAID)
    out, err = capfd.readouterr()
    assert "\n" not in str(caught.value)
    assert all(KEY not in text for text in (str(caught.value), *told, out, err))
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.rglob("*.json"))
    assert all(KEY not in json.dumps(request["body"]) for request in server.requests)
