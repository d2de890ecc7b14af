"""What lies between this program and a model: addresses, proxies, redirects, compression, and requests refused."""

import gzip
import json
import subprocess
import sys
from typing import Any

import pytest
from test_openai_backend import ASKED, KEY, TASK, Behaviour, Handler, _key, ask, backend, serve

from l4t_jax.teacher.backends import Answer, BackendError, Options, Request, Sampling, completion, open_backend

assert _key  # the fixture: the key is set, and no proxy


def _explore(handler: Handler, body: dict[str, Any]) -> None:
    handler.say("explore")


def _refuse(status: int, said: Any) -> Behaviour:
    return lambda handler, body: handler.answer(status, json.dumps(said).encode())


# Imports


def test_the_client_is_imported_when_a_server_is_first_asked_and_not_before() -> None:
    code = (
        "import sys, l4t_jax, l4t_jax.api, l4t_jax.teacher.__main__, l4t_jax.teacher.backends\n"
        "assert 'openai' not in sys.modules, 'imported too early'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_without_the_client_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.delitem(sys.modules, "l4t_jax.teacher.backends.openai", raising=False)
    with pytest.raises(BackendError, match=r"^`teacher=openai:MODEL` needs the extra llm \(openai is not installed\)"):
        open_backend("openai:small", TASK, Options(base_url="http://127.0.0.1:9/v1"))


# Addresses


@pytest.mark.parametrize(
    ("form", "path"),
    [
        ("http://127.0.0.1:{}/v1/", "/v1/chat/completions"),
        ("  http://127.0.0.1:{}/v1 \n", "/v1/chat/completions"),
        ("http://127.0.0.1:{}", "/chat/completions"),
        ("http://127.0.0.1:{}/v1/chat/completions", "/v1/chat/completions"),
        ("http://127.0.0.1:{}/mödel x/v1", "/m%C3%B6del%20x/v1/chat/completions"),
        ("HTTP://localhost:{}/v1", "/v1/chat/completions"),
    ],
)
def test_an_address_is_taken_as_people_paste_it(form: str, path: str) -> None:
    with serve(_explore) as server:
        assert ask(form.format(server.server_address[1])) == ["explore"]
        assert server.requests[0]["path"] == path


@pytest.mark.parametrize("url", ["http://host:99999/v1", "http://ho st/v1", "http://", "", "://x"])
def test_an_address_that_is_none_is_one_sentence(url: str) -> None:
    with pytest.raises(BackendError) as caught:
        list(open_backend("openai:m", TASK, Options(base_url=url or " ", retries=0, timeout=2)).sample(ASKED, [0]))
    assert "\n" not in str(caught.value)
    assert "base_url" in str(caught.value)


def test_openai_base_url_is_the_address_unless_one_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(_explore) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/\n")
        found = dict(open_backend("openai:m", TASK, Options(retries=0)).sample(ASKED, [0]))
        assert found == {0: Answer("explore")}


# Proxies and redirects


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_is_used_with_its_credentials(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(_explore) as proxy:
        monkeypatch.setenv(name, f"http://me:secret@127.0.0.1:{proxy.server_address[1]}")
        assert ask("http://models.example/v1") == ["explore"]
        (request,) = proxy.requests
    assert request["path"] == "http://models.example/v1/chat/completions"
    assert request["headers"]["Proxy-Authorization"] == "Basic bWU6c2VjcmV0"


def test_no_proxy_goes_straight_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(_explore) as proxy, serve(_explore) as server:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        assert ask(server) == ["explore"]
        assert (len(proxy.requests), len(server.requests)) == (0, 1)


@pytest.mark.parametrize("proxy", ["http://me:secret@127.0.0.1:9", "http://me:secret@127.0.0.1:99999", "socks5://h:1"])
def test_a_proxy_that_cannot_be_used_is_one_sentence_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(BackendError) as caught:
        ask("http://models.example/v1")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_that_keeps_the_request_is_followed_on_one_host_with_the_key(status: int) -> None:
    def moved(handler: Handler, body: dict[str, Any]) -> None:
        if handler.path.startswith("/v1/"):
            handler.answer(status, b"", {"Location": "/api/v1/chat/completions"})
        else:
            handler.say("explore")

    with serve(moved) as server:
        assert ask(server) == ["explore"]
        assert [r["headers"]["Authorization"] for r in server.requests] == [f"Bearer {KEY}"] * 2


def test_the_key_does_not_follow_a_redirect_to_another_host() -> None:
    with serve(_refuse(401, {"error": {"message": "who are you?"}})) as other:
        target = f"http://localhost:{other.server_address[1]}/v1/chat/completions"
        with (
            serve(lambda h, body: h.answer(307, b"", {"Location": target})) as server,
            pytest.raises(BackendError, match=r"answers 401.*redirected to http://localhost:\d+/v1.*who are you"),
        ):
            ask(server)
        assert [request["headers"].get("Authorization") for request in other.requests] == [None]


def test_redirects_in_a_circle_are_one_sentence() -> None:
    with serve(lambda h, body: h.answer(307, b"", {"Location": "/v1/chat/completions"})) as server:
        with pytest.raises(BackendError, match=r"cannot be asked \(TooManyRedirects"):
            ask(server)
        assert len(server.requests) < 30


def test_a_compressed_answer_is_read_and_one_that_only_says_so_is_tried_again() -> None:
    said = json.dumps({"choices": [{"message": {"content": "explore"}}]}).encode()

    def zipped(handler: Handler, body: dict[str, Any]) -> None:
        good = len(server.requests) > 1
        handler.answer(200, gzip.compress(said) if good else said, {"Content-Encoding": "gzip"})

    with serve(zipped) as server:
        assert ask(server, retries=1) == ["explore"]
        assert len(server.requests) == 2


def test_no_key_is_no_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with serve(_explore) as server:
        assert ask(server) == ["explore"]
        assert "Authorization" not in server.requests[0]["headers"]


# What a server says, as it says it

WORDS: dict[str, tuple[int, Any, str]] = {
    "200, error": (200, {"error": {"message": "no such model", "code": 404}}, "has no model 'small'.*no such model"),
    "200, error without code": (200, {"error": "Unexpected endpoint"}, r"answers 200 with an error \(Unexpected endp"),
    "200, error in the choice": (200, {"choices": [{"error": {"code": 400, "message": "bad"}}]}, "answers 400.*bad"),
    "200, message": (200, {"object": "error", "message": "too long", "code": 40303}, "answers 40303.*too long"),
    "422, detail": (
        422, {"detail": [{"loc": ["body", "stop"], "msg": "Field required", "type": "missing"}]},
        r"answers 422, it does not take the request \(body.stop: Field required\)$",
    ),
    "422, detail as text": (422, {"detail": "model is loading wrong"}, r"\(model is loading wrong\)$"),
    "400, a list": (400, [{"error": {"code": 400, "message": "API key not valid"}}], r"\(API key not valid\)$"),
    "400, schema": (400, {"error": {"message": "'response_format' is no good"}}, r"is no good\)$"),
    "413": (413, {"message": "too large"}, r"answers 413 \(too large\)$"),
    "429, quota": (429, {"error": {"code": "insufficient_quota", "message": "pay"}}, r"429 \(insufficient_quota pay"),
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_a_refusal_is_shown_in_the_servers_words_and_not_sent_again(name: str) -> None:
    status, said, sentence = WORDS[name]
    with serve(_refuse(status, said)) as server:
        with pytest.raises(BackendError, match=sentence) as caught:
            ask(server, retries=3)
        assert len(server.requests) == 1
    assert "`constrain" not in str(caught.value)


@pytest.mark.parametrize("code", [429, 502, "503"])
def test_a_passing_error_inside_a_200_is_sent_again(code: Any) -> None:
    def busy(handler: Handler, body: dict[str, Any]) -> None:
        if len(server.requests) == 1:
            handler.answer(200, json.dumps({"error": {"code": code, "message": "provider is busy"}}).encode())
        else:
            handler.say("explore")

    with serve(busy) as server:
        assert ask(server, retries=1) == ["explore"]


def test_a_server_that_streams_unasked_is_told_how_not_to() -> None:
    with (
        serve(lambda h, body: h.answer(200, b'data: {"choices": []}\n\ndata: [DONE]\n\n')) as server,
        pytest.raises(BackendError, match=r"""streams without being asked to; `extra={"stream": false}`"""),
    ):
        ask(server)


# Requests shaped by the user, and by what a server says


def _picky(refused: dict[str, Any], **body: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """(answers, request bodies) of a server that refuses fields: name -> the error that it gives."""

    def behave(handler: Handler, asked: dict[str, Any]) -> None:
        for field, error in refused.items():
            if field in asked:
                handler.answer(*error) if isinstance(error, tuple) else _refuse(400, error)(handler, asked)
                return
        handler.say("explore")

    with serve(behave) as server:
        found = [a.text for _, a in backend(server, **body).sample(ASKED, range(3))]
        return found, [request["body"] for request in server.requests]


OPENAI_SAYS = {
    "max_tokens": {"error": {
        "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
        "instead.", "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter"}},
    "temperature": {"error": {
        "message": "Unsupported value: 'temperature' does not support 1 with this model. Only the default (1) value is "
        "supported.", "param": "temperature", "code": "unsupported_value"}},
    "top_p": {"error": {"message": "Unsupported parameter: 'top_p' is not supported with this model."}},
    "seed": (422, json.dumps(
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}
    ).encode()),
}  # fmt: skip


def test_a_reasoning_models_parameter_names_are_found_from_what_the_server_says() -> None:
    answers, bodies = _picky(OPENAI_SAYS, concurrency=1)
    assert answers == ["explore"] * 3
    assert len(bodies) == 3 + 4  # four refusals of the first request, and never again
    assert bodies[-1].keys() == {"model", "messages", "max_completion_tokens"}
    assert bodies[-1]["max_completion_tokens"] == 64


def test_requests_under_way_together_find_them_together() -> None:
    answers, bodies = _picky(OPENAI_SAYS, concurrency=3)
    assert answers == ["explore"] * 3
    assert bodies[-1].keys() == {"model", "messages", "max_completion_tokens"}


def test_a_temperature_that_a_model_does_not_take_is_not_dropped_in_silence() -> None:
    asked = Request(ASKED.messages, None, None, Sampling(temperature=0.3))
    with serve(_refuse(400, OPENAI_SAYS["temperature"])) as server:
        with pytest.raises(BackendError, match=r"""`extra={"temperature": null}` leaves the field out"""):
            list(backend(server).sample(asked, [0]))
        assert len(server.requests) == 1
        server.behaviour = lambda h, body: h.say("explore")
        list(backend(server, extra={"temperature": None}).sample(asked, [0]))
        assert "temperature" not in server.requests[-1]["body"]


def test_fields_can_be_removed_renamed_and_replaced() -> None:
    extra = {"seed": None, "max_tokens": None, "max_completion_tokens": 99, "response_format": None, "top_p": 0.5}
    asked = Request(ASKED.messages, None, ["explore"], Sampling())
    with serve(_explore) as server:
        list(backend(server, extra=extra).sample(asked, [0]))
        body = server.requests[0]["body"]
    assert body == {
        "model": "small", "messages": list(ASKED.messages), "temperature": 1.0, "top_p": 0.5,
        "max_completion_tokens": 99,
    }  # fmt: skip


@pytest.mark.parametrize("field", ["model", "messages"])
def test_what_other_options_say_is_not_changed_by_extra(field: str) -> None:
    with pytest.raises(BackendError, match=f"`extra` cannot change '{field}'"):
        backend("http://127.0.0.1:9/v1", extra={field: None})


def test_a_schema_that_a_server_cannot_keep_to_is_advised_about_where_it_says_so() -> None:
    asked = Request(ASKED.messages, None, ["explore"], Sampling())
    with (
        serve(_refuse(400, {"error": {"message": "response_format type json_schema is unavailable"}})) as server,
        pytest.raises(BackendError, match=r"needs `constrain=off`$"),
    ):
        list(backend(server).sample(asked, [0]))


# Answers that are not a text


def _choice(message: dict[str, Any], end: str | None = "stop") -> Behaviour:
    said = json.dumps({"choices": [{"message": {"role": "assistant", **message}, "finish_reason": end}]}).encode()
    return lambda handler, body: handler.answer(200, said)


CALL = [{"id": "1", "type": "function", "function": {"name": "go_to", "arguments": "{}"}}]
KINDS: dict[str, tuple[Behaviour, Answer]] = {
    "parts": (_choice({"content": [{"type": "text", "text": "go to <key>,"}, {"type": "text", "text": "explore"}]}),
              Answer("go to <key>,\nexplore")),
    "thinking and text": (_choice({"content": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "open it"}]}, {"type": "text", "text": "explore"}
    ]}), Answer("explore")),
    "output_text": (_choice({"content": [{"type": "output_text", "text": {"value": "explore"}}]}), Answer("explore")),
    "reasoning beside": (_choice({"reasoning_content": "open <door>", "content": "explore"}), Answer("explore")),
    "reasoning alone": (_choice({"reasoning_content": "open <door>", "content": None}, None),
                        Answer("", completion.REASONING)),
    "reasoning alone, ended": (_choice({"reasoning": "open <door>", "content": None}),  # vLLM's reasoning parsers
                               Answer("", completion.REASONING, completion.WHOLE)),
    "reasoning cut": (_choice({"reasoning_content": "open <door>", "content": None}, "length"),
                      Answer("", completion.CUT, "64 tokens")),
    "null, cut": (_choice({"content": None}, "length"), Answer("", completion.CUT, "64 tokens")),
    "text, cut": (_choice({"content": "go to <ke"}, "length"), Answer("go to <ke", completion.CUT, "64 tokens")),
    "text, cut in Claude's word": (_choice({"content": "go to <ke"}, "max_tokens"),
                                   Answer("go to <ke", completion.CUT, "64 tokens")),
    "text, cut in Gemini's word": (_choice({"content": "go to <ke"}, "MAX_TOKENS"),
                                   Answer("go to <ke", completion.CUT, "64 tokens")),
    "filter in Gemini's word": (_choice({"content": None}, "SAFETY"), Answer("", completion.FILTERED)),
    "JSON that the server has parsed": (_choice({"content": {"plan": ["explore"]}}), Answer('{"plan": ["explore"]}')),
    "refusal": (_choice({"content": None, "refusal": "I will not."}), Answer("", completion.REFUSED, "I will not.")),
    "refusal part": (_choice({"content": [{"type": "refusal", "refusal": "No."}]}),
                     Answer("", completion.REFUSED, "No.")),
    "tool call": (_choice({"content": None, "tool_calls": CALL}, "tool_calls"), Answer("", completion.TOOL, "go_to")),
    "function call": (_choice({"content": None, "function_call": {"name": "f"}}), Answer("", completion.TOOL, "f")),
    "filter": (_choice({"content": ""}, "content_filter"), Answer("", completion.FILTERED)),
    "completions": (lambda h, body: h.answer(200, b'{"choices": [{"text": "explore"}]}'), Answer("explore")),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_an_answer_says_what_it_is(name: str) -> None:
    behaviour, answer = KINDS[name]
    with serve(behaviour) as server:
        assert list(backend(server, retries=2).sample(ASKED, [0])) == [(0, answer)]
        assert len(server.requests) == 1


def test_an_empty_answer_is_asked_for_again_and_then_returned_as_empty() -> None:
    with serve(_choice({"content": ""})) as server:
        assert list(backend(server, retries=2).sample(ASKED, [0])) == [(0, Answer("", completion.EMPTY))]
        assert len(server.requests) == 3
        replies = iter(["", "explore"])
        server.behaviour = lambda h, body: h.say(next(replies))
        assert list(backend(server, retries=2).sample(ASKED, [0])) == [(0, Answer("explore"))]


def test_an_answer_that_the_server_breaks_off_is_asked_for_again() -> None:
    with serve(_choice({"content": "go to <ke"}, "insufficient_system_resource")) as server:
        assert list(backend(server, retries=0).sample(ASKED, [0])) == [(0, Answer("go to <ke", completion.BROKEN))]
        replies = iter([("go to <ke", "abort"), ("explore", "stop")])

        def say(handler: Handler, body: dict[str, Any]) -> None:
            text, end = next(replies)
            _choice({"content": text}, end)(handler, body)

        server.behaviour = say
        assert list(backend(server, retries=2).sample(ASKED, [0])) == [(0, Answer("explore"))]


def test_a_reader_that_goes_away_ends_the_requests_under_way() -> None:
    def slow(handler: Handler, body: dict[str, Any]) -> None:
        if body["seed"] > 0:
            handler.server.stop.wait(5)
        handler.say("explore")

    with serve(slow) as server:
        answers = backend(server, concurrency=2, timeout=30.0).sample(ASKED, range(40))
        assert next(iter(answers)) == (0, Answer("explore"))
        answers.close()  # type: ignore[attr-defined]
        assert len(server.requests) <= 4


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 503, 529])
def test_a_status_that_passes_is_tried_again(status: int) -> None:
    def busy(handler: Handler, body: dict[str, Any]) -> None:
        if len(server.requests) == 1:
            handler.answer(status, b"busy", {"Retry-After": "0"})
        else:
            handler.say("explore")

    with serve(busy) as server:
        assert ask(server, retries=1) == ["explore"]
        assert len(server.requests) == 2
