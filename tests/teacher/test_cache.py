"""Kept answers: whole or not there, the first one wins, and nothing on disk can break a recorder."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from l4t_jax.teacher.cache import Cache, CacheError, default_folder

QUESTION = {"backend": {"model": "m"}, "messages": [{"role": "user", "content": "Agent sees <key>"}]}


def test_an_answer_is_found_again_under_its_question_and_name(tmp_path: Path) -> None:
    Cache(tmp_path).put(QUESTION, "0003", {"text": "explore"})
    again = Cache(tmp_path)
    assert again.get(QUESTION, "0003") == {"text": "explore"}
    assert again.get(QUESTION, "0004") is None
    assert again.get({**QUESTION, "backend": {"model": "other"}}, "0003") is None


def test_the_first_answer_wins(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert cache.put(QUESTION, "0000", {"text": "first"}) == {"text": "first"}
    assert cache.put(QUESTION, "0000", {"text": "second"}) == {"text": "first"}
    assert cache.get(QUESTION, "0000") == {"text": "first"}


@pytest.mark.parametrize("broken", [b"", b'{"text": "expl', b"\xff\xfe", b"[1, 2]", b"[" * 100_000])
def test_an_answer_that_cannot_be_read_is_asked_for_again(tmp_path: Path, broken: bytes) -> None:
    cache = Cache(tmp_path)
    cache.put(QUESTION, "0000", {"text": "explore"})
    (file,) = tmp_path.glob("*/0000.json")
    file.write_bytes(broken)
    assert cache.get(QUESTION, "0000") is None
    assert cache.put(QUESTION, "0000", {"text": "again"}) == {"text": "again"}
    assert cache.get(QUESTION, "0000") == {"text": "again"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match=r"cannot be kept in .*file"):
        Cache(tmp_path / "file").put(QUESTION, "0000", {"text": "explore"})


def test_the_folder_is_the_environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("L4T_CACHE", str(tmp_path))
    assert default_folder() == tmp_path


def _write_many(folder: str, who: str) -> None:
    cache = Cache(folder)
    for number in range(200):
        cache.put(QUESTION, f"{number:04d}", {"text": f"answer {number}", "by": who})


def test_two_recorders_at_once_agree_on_every_answer(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(str(tmp_path), who)) for who in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    cache = Cache(tmp_path)
    for number in range(200):
        kept = cache.get(QUESTION, f"{number:04d}")
        assert kept is not None
        assert kept["text"] == f"answer {number}"
    assert not list(tmp_path.glob("*/.*"))  # nothing half-written


def test_a_kill_leaves_only_whole_answers(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=_write_many, args=(str(tmp_path), "a"))
    writer.start()
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("*/0*.json"))) < 20:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    names = sorted(file.stem for file in tmp_path.glob("*/0*.json"))
    assert names == [f"{number:04d}" for number in range(len(names))]
    assert all(Cache(tmp_path).get(QUESTION, name) == {"text": f"answer {int(name)}", "by": "a"} for name in names)
