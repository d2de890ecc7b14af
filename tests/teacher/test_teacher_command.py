"""`python -m l4t_jax.teacher`: record, show, evaluate and diff as a user calls them."""

import json
from pathlib import Path

import pytest

from l4t_jax.envs import get_task
from l4t_jax.teacher import __main__ as command
from l4t_jax.teacher import file


def call(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = command.main(list(arguments))
    return code, *capfd.readouterr()


@pytest.fixture
def recorded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Path:
    out = tmp_path / "mine.json"
    code, said, progress = call(
        capfd, "record", "--teacher", "file:shipped", "--env", "DoorKey", "--ask", "sample", "--samples", "4",
        "--out", str(out), "--cache", str(tmp_path / "cache"),
    )  # fmt: skip
    assert code == 0
    assert said.startswith(f"{out}: 6 states in ")
    assert "6 states, 24 answers drawn" in progress
    assert "[6/6] Agent sees <door>, holds <key>." in progress
    return out


def test_what_was_recorded_is_a_teacher_file(recorded: Path) -> None:
    content = file.load(recorded)
    assert content["source"]["samples"] == 4
    assert file.missing(get_task("DoorKey"), content) == []
    file.to_table(get_task("DoorKey"), content)


def test_show_says_states_plans_probabilities_entropy_and_unusable_answers(
    recorded: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = call(capfd, "show", str(recorded))
    assert code == 0
    assert said.count("Agent sees") == 6
    assert "entropy 0.00 bits, 4 answers, 0 unusable" in said
    assert "go to <key>, pick up <key>" in said
    code, said, _ = call(capfd, "show", "LavaDoorKey", "--most", "1")
    assert code == 0
    assert "0.8400  go to <key>, pick up <key>, go to <door>, open <door>" in said
    assert "4 further plans" in said


def test_evaluate_prints_one_json_object_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    code, said, _ = call(capfd, "evaluate", "--env", "SimpleDoorKey", "--levels", "64", "--json")
    assert code == 0
    found = json.loads(said)
    assert found["levels"] == 64
    assert found["success"] > 0.95
    assert 0.8 < found["return"] < 0.95
    assert 10 < found["length"] < 40
    assert found["unguided"] == []


def test_diff_finds_what_changed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = file.shipped(get_task("DoorKey"))
    file.save(content, tmp_path / "a.json")
    content["states"][0]["plans"] = [{"p": 0.75, "skills": [["explore"]]}, {"p": 0.25, "skills": [["noop"]]}]
    file.save(content, tmp_path / "b.json")
    code, said, _ = call(capfd, "diff", str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    assert code == 0
    assert "Agent sees <nothing>, holds <nothing>.   total variation 0.250" in said
    assert " 1.000 ->  0.750  explore" in said
    assert said.count("total variation 0.000") == 5


def test_a_dry_run_prints_the_prompts_and_the_cost_and_asks_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, said, progress = call(
        capfd, "record", "--teacher", "openai:large", "--env", "ColoredDoorKey", "--dry-run", "--samples", "5",
        "--price", "2", "8", "--out", str(tmp_path / "out.json"),
    )  # fmt: skip
    assert code == 0
    assert said.count("===") == 14
    assert "Agent sees <color1 key>, <color2 key>, holds <nothing>." in said
    assert "14 states, 70 answers drawn" in progress
    assert "dollars" in progress
    assert not (tmp_path / "out.json").exists()


def test_what_was_saved_is_read_again_as_it_was(tmp_path: Path) -> None:
    for name in ("SimpleDoorKey", "ColoredDoorKey", "DoorKey-8x8"):
        content = file.shipped(get_task(name))
        file.save(content, tmp_path / "t.json")
        assert file.load(tmp_path / "t.json") == content
        longest = max(len(plan["skills"]) for state in content["states"] for plan in state["plans"])
        assert longest >= 1
        lines = (tmp_path / "t.json").read_text().splitlines()
        assert len(lines) > sum(len(state["plans"]) for state in content["states"])  # one line a plan, for diff


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["record", "--teacher", "gpt-5"], "there is no backend 'gpt-5'; name one as transformers:MODEL"),
        (["record", "--teacher", "file:nowhere.json"], "the teacher file nowhere.json cannot be read"),
        (["record", "--teacher", "file:shipped", "--env", "DorKey"], "did you mean DoorKey"),
        (["record", "--teacher", "file:shipped", "--out", "nowhere/t.json"], "cannot be written"),
        (["record", "--teacher", "file:shipped", "--samples", "0"], "--samples must be from 1"),
        (["record", "--teacher", "file:shipped", "--prompt", "no.txt"], "the prompt file no.txt cannot be read"),
        (["record", "--teacher", "file:shipped", "--extra", "top_k=0"], "--extra must be a JSON object"),
        (["record", "--teacher", "openai:m", "--base-url", "localhost"], "--base-url must be like"),
        (["show", "nowhere.json"], "there is no file nowhere.json"),
        (["evaluate", "--teacher", "recorded"], "--teacher must be shipped, skills or file:PATH"),
        (["evaluate", "--levels", "0"], "--levels must be from 1"),
        (["evaluate", "--env", "LavaDorKey"], "did you mean LavaDoorKey"),
        (["diff", "SimpleDoorKey", "nowhere.json"], "there is no file nowhere.json"),
    ],
)
def test_a_mistake_ends_in_one_clear_sentence(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("L4T_CACHE", str(tmp_path / "cache"))
    code, out, err = call(capfd, *arguments)
    assert code == 2
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert said in last
    assert "Traceback" not in err
    assert not list(tmp_path.glob("*.json"))


def test_a_file_that_is_none_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.json").write_text('{"format": "other"}')
    code, _, err = call(capfd, "show", str(tmp_path / "t.json"))
    assert code == 2
    assert 'not a teacher file: "format" must be "l4t-teacher"' in err
