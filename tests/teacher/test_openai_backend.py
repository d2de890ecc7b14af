"""The OpenAI-compatible backend against servers on loopback that behave, and that do not."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from l4t_jax.config import Config
from l4t_jax.envs import get_task
from l4t_jax.errors import NoPlans
from l4t_jax.teacher import __main__ as command
from l4t_jax.teacher import recording as asking
from l4t_jax.teacher.backends import Answer, BackendError, Options, Request, Sampling, open_backend
from l4t_jax.teacher.cache import Cache
from l4t_jax.teacher.recording import Ask

TASK = get_task("SimpleDoorKey")
KEY = "sk-test-0123456789abcdef"
ASKED = Request([{"role": "user", "content": "Agent sees <key>, holds <nothing>."}], None, None, Sampling())
Behaviour = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    """One request: the server's behaviour answers it."""

    server: "Server"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            asked = {
                "path": self.path,
                "headers": {name.title(): value for name, value in self.headers.items()},
                "body": body,
                "at": time.monotonic(),
            }
            self.server.requests.append(asked)
        self.server.behaviour(self, body)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def say(self, text: Any) -> None:
        self.answer(200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour, self.lock, self.requests = behaviour, threading.Lock(), []
        self.stop = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up are part of the tests

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def serve(behaviour: Behaviour) -> Iterator[Server]:
    server = Server(behaviour)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "openai_base_url"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def backend(server: Server | str, **options: Any) -> Any:
    url = server if isinstance(server, str) else server.url
    return open_backend("openai:small", TASK, Options(base_url=url, **{"timeout": 2.0, "retries": 0, **options}))


def ask(server: Server | str, number: int = 1, **options: Any) -> list[str]:
    found = dict(backend(server, **options).sample(ASKED, range(number)))
    return [found[i].text for i in range(number)]


# Servers that behave


def test_a_request_is_what_the_chat_api_asks_for() -> None:
    with serve(lambda h, body: h.say("explore")) as server:
        asked = Request(ASKED.messages, None, ["explore", "go to <key>"], Sampling(0.7, 0.9, 32, 5))
        assert list(backend(server, extra={"top_k": 0}).sample(asked, [2])) == [(2, Answer("explore"))]
        (request,) = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["Authorization"] == f"Bearer {KEY}"
    body = request["body"]
    schema = body.pop("response_format")["json_schema"]["schema"]
    assert schema["properties"]["plan"]["enum"] == ["explore", "go to <key>"]
    assert body == {
        "model": "small", "messages": list(ASKED.messages), "temperature": 0.7, "top_p": 0.9, "max_tokens": 32,
        "seed": 7, "top_k": 0,
    }  # fmt: skip


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_extra_fields_are_a_json_object(mark: str) -> None:
    assert Options.of(Config(extra=mark + '{"top_k": 0}')).extra == {"top_k": 0}
    for wrong in ("[1]", "{", "top_k"):
        with pytest.raises(BackendError, match="`extra` must be a JSON object"):
            Options.of(Config(extra=mark + wrong))


def test_requests_run_side_by_side_and_no_more_than_told() -> None:
    now, most, lock = [0], [0], threading.Lock()

    def slow(handler: Handler, body: dict[str, Any]) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.15)
        with lock:
            now[0] -= 1
        handler.say(f"answer {body['seed']}")

    with serve(slow) as server:
        assert ask(server, 12, concurrency=4) == [f"answer {i}" for i in range(12)]
    assert 2 <= most[0] <= 4


def test_a_passing_failure_is_tried_again_after_the_wait_the_server_asks_for() -> None:
    def limited(handler: Handler, body: dict[str, Any]) -> None:
        if len(server.requests) == 1:
            handler.answer(429, b'{"error": {"message": "slow down"}}', {"Retry-After": "0.4"})
        else:
            handler.say("explore")

    with serve(limited) as server:
        assert ask(server, retries=2) == ["explore"]
        first, second = server.requests
    assert second["at"] - first["at"] >= 0.4


def test_without_a_wait_asked_for_the_waits_grow() -> None:
    def broken(handler: Handler, body: dict[str, Any]) -> None:
        if len(server.requests) < 3:
            handler.answer(500, b"oops")
        else:
            handler.say("explore")

    with serve(broken) as server:
        assert ask(server, retries=2) == ["explore"]
        at = [request["at"] for request in server.requests]
    assert at[1] - at[0] >= 0.3
    assert at[2] - at[1] > at[1] - at[0]


# Servers that do not


def _hang(handler: Handler, body: dict[str, Any]) -> None:
    handler.server.stop.wait(30)


def _trickle(handler: Handler, body: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.stop.wait(0.05):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def _trickle_headers(handler: Handler, body: dict[str, Any]) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.server.stop.wait(0.05):
        handler.wfile.write(b"X-More: 1\r\n")
        handler.wfile.flush()


def _echo_key(status: int) -> Behaviour:
    def refuse(handler: Handler, body: dict[str, Any]) -> None:
        said = {"error": {"message": f"bad {handler.headers['Authorization']}"}}
        handler.answer(status, json.dumps(said).encode())

    return refuse


def _cut(handler: Handler, body: dict[str, Any]) -> None:
    handler.answer(200, b'{"choices": [{"message": {"content": "expl')


def _hang_up(handler: Handler, body: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices"')


FAULTS: dict[str, tuple[Behaviour, str]] = {
    "hang": (_hang, "did not answer within 0.5 s"),
    "trickle": (_trickle, "did not answer within 0.5 s"),
    "trickle headers": (_trickle_headers, "did not answer within 0.5 s|breaks the connection"),
    "401": (_echo_key(401), r"answers 401: the environment variable OPENAI_API_KEY holds a key that it does not take"),
    "403": (_echo_key(403), "answers 403"),
    "404": (_echo_key(404), r"has no model 'small', or `base_url` lacks /v1"),
    "400": (_echo_key(400), r"answers 400, it does not take the request \(bad Bearer \[key\]\)$"),
    "429": (_echo_key(429), r"answers 429 \(bad Bearer \[key\]\) \(asked 2 times\)"),
    "500": (_echo_key(500), r"answers 500 \(bad Bearer \[key\]\) \(asked 2 times\)"),
    "302": (lambda h, body: h.answer(302, b"", {"Location": "http://127.0.0.1:9/"}), r"refused \(redirected to"),
    "cut JSON": (_cut, "not JSON, or is cut short"),
    "hang up": (_hang_up, "not JSON, or is cut short"),
    "other JSON": (lambda h, body: h.answer(200, b'{"object": "list"}'), r"without choices\[0\]"),
    "deep JSON": (lambda h, body: h.answer(200, b"[" * 200_000), "not JSON"),
    "a body without end": (lambda h, body: h.answer(200, b" " * (9 << 20)), "more than 8 MiB"),
    "a page": (lambda h, body: h.answer(502, b"<html>" + b"x" * 9000), r"answers 502 \(<html>x"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_server_ends_in_one_clear_sentence_in_bounded_time(name: str) -> None:
    behaviour, said = FAULTS[name]
    with serve(behaviour) as server:
        start = time.monotonic()
        with pytest.raises(BackendError, match=said) as caught:
            ask(server, timeout=0.5, retries=1)
        assert time.monotonic() - start < 60  # a server that hangs does so for ever
    message = str(caught.value)
    assert KEY not in message
    assert "\n" not in message
    assert len(message) < 500


def test_a_server_that_is_not_there_ends_in_one_clear_sentence() -> None:
    with serve(_hang) as server:
        gone = server.url
    with pytest.raises(BackendError, match=r"cannot be reached: .*refused \(asked 2 times\)"):
        ask(gone, retries=1)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:8080", "must be like"),
        ("ftp://host/v1", "must be like"),
        ("http://host:port/v1", "must be like"),
        (f"http://user:{KEY}@host/v1", "must hold no user"),
        (f"http://host/v1?key={KEY}", "must hold no user"),
    ],
)
def test_a_wrong_address_is_named_without_what_may_be_secret(url: str, said: str) -> None:
    with pytest.raises(BackendError, match=said) as caught:
        backend(url)
    assert KEY not in str(caught.value)


def test_openai_itself_is_not_asked_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(BackendError, match="needs a key in the environment variable OPENAI_API_KEY"):
        open_backend("openai:small", TASK, Options())


ANSWERS: dict[str, tuple[Any, int, int]] = {  # what the model says -> unusable of 3 answers, steps that name nothing
    "plan": ("go to <key>, pick up <key>", 0, 0),
    "constrained": ('{"plan": "explore"}', 0, 0),
    "prose": ("I am sorry, but I cannot plan for an agent in such a place.", 3, 0),
    "empty": ("", 3, 0),
    "nothing": (None, 3, 0),
    "a list": ([{"type": "text", "text": "explore"}], 0, 0),
    "a megabyte": ("explore the " * 90_000, 0, 0),
    "a megabyte of noise": ("x" * 1_000_000, 3, 0),
    "unknown skill": ("teleport <key>", 3, 0),
    "unknown object": ("explore, go to <moon>", 0, 3),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_odd_answer_is_counted(name: str, tmp_path: Path) -> None:
    text, unusable, noops = ANSWERS[name]
    with serve(lambda h, body: h.say(text)) as server:
        if unusable == 3:  # in every state: there is no teacher, and nothing to keep
            with pytest.raises(NoPlans, match="none of the 18 answers has a plan"):
                asking.record(TASK, backend(server), Ask(samples=3), Cache(tmp_path))
            assert not list(tmp_path.rglob("*.json"))
            return
        content = asking.record(TASK, backend(server), Ask(samples=3), Cache(tmp_path))
    assert [s["unusable"] for s in content["states"]] == [unusable] * 6
    assert [s["noops"] for s in content["states"]] == [noops] * 6
    assert [s["answers"] for s in content["states"]] == [3] * 6
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.json")) < 6 * 3 * 80_000


def test_answers_that_came_before_a_failure_are_not_asked_for_again(tmp_path: Path) -> None:
    def falters(handler: Handler, body: dict[str, Any]) -> None:
        if len(server.requests) > 8:
            handler.answer(401, b"")
        else:
            handler.say("explore")

    with serve(falters) as server:
        with pytest.raises(BackendError, match=r"answers 401.*the same command continues from there"):
            asking.record(TASK, backend(server, concurrency=1), Ask(samples=3), Cache(tmp_path))
        assert len(list(tmp_path.glob("*/0*.json"))) == 8
        server.behaviour = lambda h, body: h.say("explore")
        before = len(server.requests)
        asking.record(TASK, backend(server), Ask(samples=3), Cache(tmp_path))
        assert len(server.requests) - before == 18 - 8


@pytest.mark.parametrize("status", [200, 401, 500])
def test_the_key_is_nowhere_but_in_the_requests_header(
    status: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def echo(handler: Handler, body: dict[str, Any]) -> None:
        if status == 200:
            handler.say(f"explore {handler.headers['Authorization']}")
        else:
            _echo_key(status)(handler, body)

    with serve(echo) as server:
        code = command.main(
            ["record", "--teacher", "openai:small", "--base-url", server.url, "--samples", "2", "--retries", "0",
             "--out", str(tmp_path / "out.json"), "--cache", str(tmp_path / "cache")]
        )  # fmt: skip
    assert code == (0 if status == 200 else 2)
    out, err = capfd.readouterr()
    assert KEY not in out + err
    assert "Traceback" not in err
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert bool(files) == (status == 200)
    assert all(KEY.encode() not in file.read_bytes() for file in files)
    assert all(request["headers"]["Authorization"] == f"Bearer {KEY}" for request in server.requests)
    assert all(KEY not in json.dumps(request["body"]) for request in server.requests)
