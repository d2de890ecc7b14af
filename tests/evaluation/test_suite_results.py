"""What the long checks of MiniGrid's suite have come to so far, as it is kept: `benchmarks/results/suite`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import reporting
from imported import environments

from l4t_jax.envs import get_task, list_tasks

FOLDER = Path(__file__).parents[2] / "benchmarks" / "results" / "suite"


def rows(name: str) -> dict[str, dict[str, Any]]:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["rows"]


OF_MINIGRID = {name for name in list_tasks() if get_task(name).minigrid_id}
PAPERS = {"SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "DivergedDoorKey"}
ONE_LEVEL = {"Empty-5x5", "Empty-6x6", "Empty-8x8", "Empty-16x16", "DistShift1", "DistShift2"}  # compared cell by cell


def test_no_step_of_any_task_differs() -> None:
    found = rows("parity")
    assert found.keys() == OF_MINIGRID | PAPERS
    for name, row in found.items():
        assert row["family"] == (get_task(name).family or "LLM4Teach")
        assert row["differences"] == 0 and row["steps"] >= 10_000 and row["truncations"] > 0, name
    families = {row["family"] for row in found.values()}
    assert all(sum(row["steps"] for row in found.values() if row["family"] == one) >= 100_000 for one in families)


def test_a_thousand_levels_of_every_task_that_can_be_won_are_solved() -> None:
    found = rows("solved")
    assert found.keys() == OF_MINIGRID - {"Playground"}
    for name, row in found.items():
        assert row["limit"] == get_task(name).max_steps and row["longest"] <= row["limit"]
        assert row["solved"] == row["levels"] == 1_000, name
        assert (row["plays_with_obstacles"] is not None) == (row["family"] == "Dynamic-Obstacles")


def test_levels_of_every_task_are_distributed_as_minigrids() -> None:
    found = rows("statistics")
    assert found.keys() == (OF_MINIGRID - ONE_LEVEL) | PAPERS
    for name, row in found.items():
        assert row["levels"] >= 5_000 and row["statistics"] >= 9 and row["least_chance"] >= 1e-8, name


def test_environments_of_users_ran_or_were_refused_in_one_sentence() -> None:
    found = rows("runs-of-users-environments")
    assert found.keys() == environments.WITHIN.keys() | environments.REFUSED.keys() and len(found) > 20
    for gym_id, row in found.items():
        if gym_id in environments.WITHIN:
            assert row["task"].startswith(gym_id) and row["steps"] >= 20_000
        else:
            assert re.search(environments.REFUSED[gym_id][2], row["refused"]) and "\n" not in row["refused"]


def test_at_least_70_of_babyais_ids_are_proven() -> None:
    found = rows("babyai")
    assert len(found) >= 70 and all(row["success"] and row["steps"] >= 1_500 for row in found.values())


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
