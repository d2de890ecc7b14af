"""The command's refusals of an LLM as the teacher of a run; `tests/test_api.py` has the runs themselves."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from test_openai_backend import KEY, Handler, serve

from l4t_jax import run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--teacher", "gpt-5"],
            "--teacher must be shipped, skills, none, transformers:MODEL, openai:MODEL, file:PATH, not",
        ),
        (["--teacher", "openai:m", "--base-url", "localhost"], "--base-url must be like"),
        (["--teacher", "openai:m", "--base-url", "http://127.0.0.1:9/v1", "--ask", "score"], "--ask score needs"),
        (["--teacher", "openai:m", "--base-url", "http://127.0.0.1:9/v1", "--extra", "x"], "--extra must be a JSON"),
        (["--teacher", "openai:m", "--base-url", "http://127.0.0.1:9/v1", "--samples", "0"], "--samples must be"),
        (["--teacher", "openai:m", "--base-url", "http://127.0.0.1:9/v1", "--retries", "0"], "cannot be reached"),
        (["--teacher", "openai:m", "--base-url", f"http://127.0.0.1:9/{KEY}"], "must not hold the key"),
        (["--teacher", f"openai:{KEY}", "--base-url", "http://127.0.0.1:9/v1"], "must not hold the key"),
        (["--teacher", "openai:m", "--extra", f'{{"key": "{KEY}"}}'], "must not hold the key"),
        (["--teacher", "openai:m", "--base-url", "http://127.0.0.1:9/v1", "--prompt", "no"], "prompt file no cannot"),
    ],
)
def test_a_teacher_that_cannot_be_asked_ends_the_command_in_one_sentence(
    words: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert run.main([*words, "--cache", "cache", "--run-dir", "run"]) == 2
    out, err = capfd.readouterr()
    last = err.strip().splitlines()[-1]
    assert out == ""
    assert last.startswith("error: ") and said in last
    assert "Traceback" not in err and KEY not in err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("status", [401, 500])
def test_a_server_that_says_the_key_again_is_not_quoted(
    status: int, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def echo(handler: Handler, body: dict[str, Any]) -> None:
        said = {"error": {"message": f"bad {handler.headers['Authorization']}"}}
        handler.answer(status, json.dumps(said).encode())

    with serve(echo) as server:
        words = ["--teacher", "openai:m", "--base-url", server.url, "--retries", "0"]
        assert run.main([*words, "--cache", "cache", "--run-dir", "run"]) == 2
    out, err = capfd.readouterr()
    assert server.requests[0]["headers"]["Authorization"] == f"Bearer {KEY}"
    assert err.strip().splitlines()[-1].startswith(f"error: the server at {server.url} answers {status}")
    assert "Traceback" not in err and KEY not in out + err
    assert os.listdir(tmp_path) == []
