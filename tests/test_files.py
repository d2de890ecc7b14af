"""Files appear whole or not at all, and JSON is strict."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from l4t_jax import files


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert files.write_whole(path, "one") and files.write_whole(path, b"\xc3\xa9")
    assert path.read_text(encoding="utf-8") == "é"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_with_keep_the_first_writer_wins(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert files.write_whole(path, "first", keep=True)
    assert not files.write_whole(path, "second", keep=True)
    assert path.read_text() == "first" and len(list(tmp_path.iterdir())) == 1


def test_with_keep_a_file_system_without_links_still_gets_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    assert files.write_whole(tmp_path / "a.txt", "first", keep=True)
    assert (tmp_path / "a.txt").read_text() == "first"


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    files.write_whole(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_whole(path, "new")
    assert path.read_text() == "old" and [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_json_is_strict(tmp_path: Path) -> None:
    value = {1: np.float32(0.5), "a": np.asarray([1, 2]), "b": (math.nan, -math.inf, np.float64("nan")), "c": "é"}
    files.write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"1": 0.5, "a": [1, 2], "b": [None, None, None], "c": "é"}
    assert "é" in text and text.endswith("\n")
