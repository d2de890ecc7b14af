"""What the long checks of MiniGrid's suite have come to so far, as it is kept: `benchmarks/results/suite`."""

import json
from pathlib import Path
from typing import Any

import pytest
import reporting

from l4t_jax.envs import get_task

FOLDER = Path(__file__).parents[2] / "benchmarks" / "results" / "suite"


def rows(name: str) -> dict[str, dict[str, Any]]:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["rows"]


def test_no_step_that_was_compared_differed() -> None:
    for name, row in rows("parity").items():
        assert row["family"] == (get_task(name).family or "LLM4Teach")
        assert row["differences"] == 0 and row["steps"] >= 10_000 and row["truncations"] > 0, name


def test_all_levels_that_were_tried_are_solved() -> None:
    for name, row in rows("solved").items():
        assert row["limit"] == get_task(name).max_steps and row["longest"] <= row["limit"]
        assert row["solved"] == row["levels"] == 1_000, name


def test_a_row_is_of_the_code_as_it_is_whatever_its_comments_say(monkeypatch: pytest.MonkeyPatch) -> None:
    path = reporting.PACKAGE / "envs" / "success.py"
    now, content = reporting.digest(("envs",)), reporting.CODE[path]
    for change, same in (
        ((b"\n\n\ndef", b"\n\n\n# a comment\ndef"), True),
        ((b"The agent stepped onto a goal.", b"On a goal."), True),
        ((b"== LAVA", b"==   LAVA"), True),
        ((b"== LAVA", b"!= LAVA"), False),
    ):
        assert change[0] in content
        monkeypatch.setitem(reporting.CODE, path, content.replace(*change))
        assert (reporting.digest(("envs",)) == now) == same
    assert reporting.digest(("imported",)) == reporting.digest(("imported",)) != now
