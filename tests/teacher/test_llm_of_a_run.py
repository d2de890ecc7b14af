"""An LLM as a run's teacher. It answers with the plans of the task's own file."""

import dataclasses
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from small_runs import TINY, Spy, lines

import l4t_jax
from l4t_jax import api, commandline, run
from l4t_jax.abstraction import symbolic
from l4t_jax.config import Config
from l4t_jax.envs import get_task
from l4t_jax.errors import Interrupted
from l4t_jax.teacher import backends, grammar, live
from l4t_jax.teacher import file as teacher_file
from l4t_jax.teacher import recording as asking
from l4t_jax.teacher.backends import BackendError
from l4t_jax.teacher.grammar import write_plan

pytestmark = pytest.mark.usefixtures("compiled_once")


TASK = get_task("DoorKey")


SHIPPED = teacher_file.shipped(TASK)


SAYS = {
    symbolic.Symbolic(tuple(state["sees"]), state["holds"]).sentence: [
        write_plan(tuple(step) for step in plan["skills"])
        for plan in state["plans"]
        for _ in range(round(plan["p"] * 50))
    ]
    for state in SHIPPED["states"]
}


class LLM:
    """Knows its answers, and what it was asked; is out of order so many times at first."""

    scores, constrains = False, False

    def __init__(self, broken: int = 0) -> None:
        self.identity: dict[str, Any] = {"backend": "llm", "model": "llm"}
        self.asked: list[str] = []
        self.broken = broken

    def sample(self, request: Any, numbers: Any) -> Iterator[tuple[int, str]]:
        if self.broken:
            self.broken -= 1
            raise BackendError("the LLM is out of order")
        self.asked.append(request.state.sentence)
        for number in numbers:
            yield number, SAYS[request.state.sentence][number]


class Listener(Spy):
    """Keeps the notices too, and how often the LLM had been asked when training began."""

    def __init__(self, llm: LLM) -> None:
        super().__init__()
        self.llm, self.before = llm, -1
        self.notices: list[str] = []

    def notice(self, words: str) -> None:
        self.notices.append(words)

    def begin(self, total_steps: int, teacher: float | None, run_dir: str) -> None:
        super().begin(total_steps, teacher, run_dir)
        self.before = len(self.llm.asked)


@pytest.fixture
def taught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[api.Result, Listener]]:
    """Trains under an `LLM`."""

    def train(llm: LLM, **settings: Any) -> tuple[api.Result, Listener]:
        monkeypatch.setitem(backends._OPENERS, "llm", lambda name, task, options: llm)
        spy = Listener(llm)
        more = dict(cache=str(tmp_path / "cache"), run_dir=str(tmp_path / "run")) | settings
        return l4t_jax.train(TINY, progress=spy, teacher="llm:x", samples=50, **more), spy

    return train


def unguided(result: api.Result) -> list[float]:
    return [max(record["train"]["unguided"]) for record in result.records]


def test_a_table_with_a_hole_is_not_taken_for_complete(
    taught: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = grammar.situations
    monkeypatch.setattr(asking, "situations", lambda task, states=None: listed(task, states)[1:])
    with pytest.raises(BackendError, match="was not asked for Agent sees <nothing>, holds <nothing>"):
        taught(LLM())
    assert not (tmp_path / "run").exists()


def test_states_of_a_task_too_rich_to_list_are_asked_for_once_they_were_met(
    taught: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar, "MOST_STATES", 4)
    monkeypatch.setattr(live, "MOST_PLANS", 6)  # the shape of `tiny`'s table
    monkeypatch.setattr(live, "MOST_STEPS", 4)
    llm = LLM(broken=1)
    result, spy = taught(llm, distill_fall=1.0, distill_off=1.0)
    assert spy.before == 0 and spy.began[0][1] is None
    # Nothing is known in the first block, and the first asking fails: that costs the second its guidance, no more.
    assert unguided(result)[:2] == [1, 1] and unguided(result)[2] < 0.5
    assert any("no guidance yet where Agent sees <nothing>, holds <nothing>. the LLM" in one for one in spy.notices)
    content = teacher_file.load(result.run_dir / "teacher.json")
    assert {symbolic.Symbolic(tuple(s["sees"]), s["holds"]).sentence for s in content["states"]} == set(llm.asked)
    assert len(llm.asked) == len(set(llm.asked)) >= 2
    assert result.summary["teacher"] == "llm:x (asked while training)"
    assert result.summary["heldout"]["teacher"]["success"] > 0.5
    assert all(set(record["train"]) == set(result.records[0]["train"]) for record in result.records)


@pytest.mark.slow  # test_live holds the log itself in the default tier
def test_a_run_that_asks_while_it_learns_goes_on_with_the_answers_of_its_log(
    taught: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_PLANS", 6)  # the shape of `tiny`'s table
    monkeypatch.setattr(live, "MOST_STEPS", 4)
    settings = dict(ask_when="met", distill_fall=1.0, distill_off=1.0, save_every=0)
    whole, _ = taught(LLM(), run_dir=str(tmp_path / "whole"), cache=str(tmp_path / "a"), **settings)

    def stop(self: Listener, record: dict[str, Any]) -> None:
        if record["updates"] == whole.records[1]["updates"]:
            os.kill(os.getpid(), signal.SIGTERM)

    first, second = LLM(), LLM()
    with monkeypatch.context() as patch:
        patch.setattr(Listener, "evaluated", stop)
        with pytest.raises(Interrupted):
            taught(first, run_dir=str(tmp_path / "run"), cache=str(tmp_path / "b"), **settings)
    shutil.rmtree(tmp_path / "b")  # the log alone knows the answers
    monkeypatch.setitem(backends._OPENERS, "llm", lambda name, task, options: second)
    result = l4t_jax.train(resume=tmp_path / "run")
    assert not set(first.asked) & set(second.asked)
    assert [record["train"] for record in result.records] == [record["train"] for record in whole.records]
    assert result.summary["heldout"] == whole.summary["heldout"]
    assert result.summary["ledger"]["calls"] == whole.summary["ledger"]["calls"] == 50 * len(first.asked + second.asked)
    assert (
        json.loads((tmp_path / "run" / "teacher.json").read_text())["states"]
        == (json.loads((tmp_path / "whole" / "teacher.json").read_text())["states"])
    )


def test_a_server_is_asked_for_all_states_before_training_and_its_key_is_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server says the key in every answer."""
    key = "sk-test-0123456789abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    seen: list[str] = []
    training: list[bool] = []

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(self.headers["Authorization"])
            training.append((tmp_path / "run").exists())
            plan = SAYS[body["messages"][-1]["content"]][body["seed"]]
            answer = {"choices": [{"message": {"content": f"{plan}\nYour key is {seen[-1]}."}}], "key": seen[-1]}
            raw = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        settings = dict(
            teacher="openai:small", base_url=f"http://127.0.0.1:{server.server_address[1]}/v1", samples=50,
            cache=tmp_path / "cache", run_dir=tmp_path / "run",
        )  # fmt: skip
        tiny = {name: value for name, value in dataclasses.asdict(TINY).items() if value != getattr(Config(), name)}
        words = [f"{commandline.flag(name)}={value}" for name, value in (tiny | settings).items()]
        assert run.main([*words, "--json"]) == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert len(seen) == 6 * 50 and set(seen) == {f"Bearer {key}"} and not any(training)
    out, err = capfd.readouterr()
    summary = json.loads(out)
    assert summary["teacher"] == "openai:small (llm)"
    assert (summary["ledger"]["calls"], summary["ledger"]["cached"]) == (300, 0)
    assert key not in out + err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"config.json", "summary.json", "teacher.json"} <= {path.name for path in files}
    assert all(key.encode() not in path.read_bytes() for path in files)
    assert "Bearer [key]" in "".join(path.read_text() for path in (tmp_path / "cache").rglob("0*.json"))
    assert "[6/6] Agent sees" in err
    content = teacher_file.load(tmp_path / "run" / "teacher.json")
    assert (content["made"], content["source"]["samples"]) == ("llm", 50)
    plans = [[(plan["p"], plan["skills"]) for plan in state["plans"]] for state in content["states"]]
    assert sorted(plans) == sorted([(p["p"], p["skills"]) for p in s["plans"]] for s in SHIPPED["states"])
    assert lines(tmp_path / "run")[0]["train"]["unguided"] == [0, 0]
