"""docs/tutorial.md: its blocks are the committed files, its teacher covers the task, and it runs from top to bottom."""

import json
import re
from pathlib import Path

import docs_commands as written
import pytest
from docs_commands import ROOT

from l4t_jax import extensions
from l4t_jax.envs import get_task
from l4t_jax.teacher import file

PAGE = ROOT / "docs" / "tutorial.md"
FOLDER = ROOT / "docs" / "tutorial"
RUN = "runs/NextRoom-l4t-0"


def blocks() -> list[tuple[str, str]]:
    """(language, text) of each block of the page, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def is_of_file(language: str, text: str) -> bool:
    return language == "python" and text.startswith("# next_room.py")


def test_the_blocks_make_the_committed_files() -> None:
    parts = [text for language, text in blocks() if is_of_file(language, text)]
    assert "\n\n".join(parts) == (FOLDER / "next_room.py").read_text()
    (teacher,) = [text for language, text in blocks() if language == "json"]
    assert teacher == (FOLDER / "next_room.json").read_text()


@pytest.mark.usefixtures("own_tasks")
def test_the_teacher_has_a_plan_wherever_the_ball_is_not_held() -> None:
    extensions.load_extension(FOLDER / "next_room.py")
    task = get_task("NextRoom")
    missing = file.missing(task, file.shipped(task))
    assert missing and all(state.holds == "ball" for state in missing)


@pytest.mark.slow
@pytest.mark.usefixtures("own_tasks", "compiled_once")
def test_the_page_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a reader does it: the blocks in their order, in an empty folder; commands at a small scale."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("L4T_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(written, "PLACES", {"RUN": RUN})
    with written.answering() as url:
        for language, text in blocks():
            if is_of_file(language, text):
                with Path("next_room.py").open("a") as out:
                    out.write(text)
            elif language == "json":
                Path("next_room.json").write_text(text)
            elif language == "python":
                small = text.replace("total_steps=100_000", "**SIZES")
                exec(compile(small, PAGE.name, "exec"), {"SIZES": written.SIZES})
            elif language == "bash":
                for command in filter(None, text.splitlines()):
                    assert written.run(written.small(command, url)) == 0, command
                    if "teacher evaluate" in command:
                        assert re.search(r"\b1\.000\b", capfd.readouterr().out)
    assert Path("NextRoom.png").is_file() and (Path(RUN) / "play.html").is_file()
    assert json.loads((Path(RUN) / "summary.json").read_text())["task"] == "NextRoom"
