"""`python -m l4t_jax.tasks`: the list, and what its commands print, write and refuse."""

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l4t_jax import tasks
from l4t_jax.evaluation import parity

FIELDS = {"name", "minigrid_id", "family", "mission", "size", "max_steps", "symbolic_states", "teacher"}


def answer(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = tasks.main(words)
    return code, *capfd.readouterr()


def test_all_are_listed_with_what_a_program_wants_to_know(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capfd, "--json")
    found = json.loads(out)["tasks"]
    assert code == 0 and len(found) > 75 and all(set(one) >= FIELDS for one in found)
    (one,) = (one for one in found if one["name"] == "KeyCorridorS3R3")
    assert (one["minigrid_id"], one["size"], one["max_steps"]) == ("MiniGrid-KeyCorridorS3R3-v0", [7, 7], 270)


def test_levels_are_shown_as_text_and_as_a_picture(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = answer(capfd, "show", "MiniGrid-DoorKey-5x5-v0", "--levels", "3")
    assert (code, err) == (0, "")
    assert out.count("mission: use the key to open the door and then get to the goal") == 3
    assert out.count("state: Agent sees <") == 3
    rows = [line for line in out.splitlines() if line.startswith("##")]
    assert len([row for row in rows if len(row) == 10]) == 15 and out.count("ky") == 3 and out.count("Gg") == 3
    assert "a cell is two characters, kind and colour" in out  # a stranger reads "+rob" as a word otherwise
    assert out.count("=y") == 3 and sum(out.count(sign * 2) for sign in ">v<^") >= 3
    with Image.open(tmp_path / "DoorKey-5x5.png") as picture:
        assert picture.width > 2 * 240 and len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_shown_levels_are_told_as_json_too(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "levels.png"
    code, out, _ = answer(capfd, "show", "Fetch-5x5-N2", "--levels", "2", "--out", str(path), "--json")
    found = json.loads(out)
    assert code == 0 and path.is_file() and found["picture"] == str(path)
    assert len(found["levels"]) == 2 and all(len(level["hash"]) == 8 for level in found["levels"])
    assert all(level["mission"].split()[-1] in ("key", "ball") for level in found["levels"])


def test_a_comparison_without_a_difference_ends_with_0(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capfd, "check", "MiniGrid-Empty-5x5-v0", "--steps", "500", "--json")
    found = json.loads(out)
    assert (code, found["task"], found["differences"], found["first"]) == (0, "Empty-5x5", 0, None)
    assert 500 <= found["steps"] < 500 + parity.EPISODES
    code, out, _ = answer(capfd, "check", "Empty-5x5", "--steps", "500")
    assert code == 0 and "Empty-5x5 and MiniGrid-Empty-5x5-v0: 512 steps" in out and " 0 differences" in out


def test_a_difference_ends_with_1_and_shows_the_first_step(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = parity.Difference(3, "ours", 17, "forward", {"reward": ("0.0", "0.97"), "map": ("(1, 2): empty", "wall")})
    made = parity.Comparison(steps=512, episodes=40, differences=2, first=first)
    monkeypatch.setattr(parity, "compare", lambda *_: made)
    code, out, _ = answer(capfd, "check", "Empty-5x5")
    assert code == 1
    assert "episode 3, on a level of ours, at step 17, action forward" in out and "reward: 0.0 here, 0.97 there" in out
    code, out, _ = answer(capfd, "check", "Empty-5x5", "--json")
    assert code == 1 and json.loads(out)["first"]["fields"]["reward"] == ["0.0", "0.97"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shwo", "Empty-5x5"], "there is no tasks command 'shwo'; did you mean show?"),
        (["show"], "NAME is missing"),
        (["show", "Emty-5x5"], "did you mean Empty-5x5"),
        (["show", "Empty-5x5", "--levels", "0"], "--levels must be from 1 to 64, not 0"),
        (["show", "Empty-5x5", "--out", "/nowhere/at/all.png"], "cannot be written"),
        (["check", "Empty-5x5", "--steps", "0"], "--steps must be from 1"),
        (["check", "Empty-5x5", "--seed", "-1"], "--seed must be from 0"),
        (["check", "MiniGrid-ObstructedMaze-Full-v0"], "use MiniGrid-ObstructedMaze-Full-v1"),
        (["--josn"], "did you mean --json"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(words: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = answer(capfd, *words)
    assert code == 2 and out == "" and err.startswith("error: ") and err.count("\n") == 1 and said in err


def test_without_the_extra_the_check_says_what_to_install(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "l4t_jax.evaluation" and "farama" in (args[2] or ()):
            raise ModuleNotFoundError("No module named 'minigrid'", name="minigrid")
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    code, _, err = answer(capfd, "check", "Empty-5x5")
    assert code == 2 and "pip install 'l4t-jax[minigrid]'" in err and "minigrid is not installed" in err
