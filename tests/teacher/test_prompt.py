"""Prompt files: what they hold, and one clear sentence for each mistake in one."""

import re
from pathlib import Path

import pytest

from l4t_jax.envs import get_task, list_tasks
from l4t_jax.skills.base import get_skill
from l4t_jax.teacher import prompt
from l4t_jax.teacher.__main__ import main
from l4t_jax.teacher.grammar import situations
from l4t_jax.teacher.parser import parse

TASK = get_task("SimpleDoorKey")
SMALL = "[system]\nYou plan. {task}\n[user]\n{state}\n"


def test_a_task_is_told_with_its_description_its_skills_and_the_state(task_name: str) -> None:
    task = get_task(task_name)
    own = prompt.load(task)
    for asked in situations(task):
        messages = own.messages(asked.state.sentence)
        assert [m["role"] for m in messages][-1] == "user"
        assert messages[-1]["content"].endswith(asked.state.sentence)
        assert task.description in messages[0]["content"]
        assert all(skill.replace("_", " ") in messages[0]["content"] for skill in task.skills)
        assert not any("{" in m["content"] for m in messages)


def test_a_user_replaces_it_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(SMALL)
    found = prompt.load(TASK, path).messages("Agent sees <key>, holds <nothing>.")
    assert found == [
        {"role": "system", "content": f"You plan. {TASK.description}"},
        {"role": "user", "content": "Agent sees <key>, holds <nothing>."},
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_is_read_as_any_editor_writes_it(encoding: str, end: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(SMALL.replace("\n", end).encode(encoding))
    assert prompt.load(TASK, path).sections == prompt.parse(TASK, SMALL, "mine.txt").sections


@pytest.mark.parametrize(
    "text",
    [
        "[System]:\nYou plan. {task}\n [USER] \n{state}\n",
        "[system]\nYou plan. {task}\n\ufeff[user]\n{state}\n",  # two files, one behind the other
        "\u200b[system]\u00a0\nYou plan. {task}\n[user]\u3000\n{state}\n",  # copied from a page
    ],
)
def test_sections_are_known_in_any_case_and_beside_spaces_that_are_not_seen(text: str) -> None:
    assert prompt.parse(TASK, text, "mine.txt").sections == prompt.parse(TASK, SMALL, "mine.txt").sections


def test_its_hash_is_that_of_what_it_says() -> None:
    texts = {"one": SMALL, "same": SMALL + "\n", "other": "[user]\n{state}"}
    one, same, other = (prompt.parse(TASK, text, name) for name, text in texts.items())
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("You plan. {state}", "must begin with a section"),
        ("", "must begin with a section such as .user., alone on a line, and has none$"),
        ("You plan.\n[user]\n{state}", "must begin with a section such as .system., and has text before the first$"),
        ("[robot]\n{state}", r"has a section \[robot\]"),
        ("[user]\nhello", "must have {state} exactly once"),
        ("[user]\n{state}\n[assistant]\nexplore", "must have {state} exactly once"),
        ("[user]\n{state} {state}", "must have {state} exactly once"),
        ("[user]\n{state} {room}", r"has a field {room}"),
        ("[user]\nhello\n[system]\n{state}", "only at its beginning"),
    ],
)
def test_a_mistake_in_a_prompt_is_named(text: str, said: str) -> None:
    with pytest.raises(prompt.PromptError, match=said):
        prompt.parse(TASK, text, "mine.txt")


def test_a_prompt_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(prompt.PromptError, match=r"nowhere\.txt cannot be read"):
        prompt.load(TASK, tmp_path / "nowhere.txt")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(prompt.PromptError, match="cannot be read"):
        prompt.load(TASK, tmp_path / "bytes.txt")


# A task's own


def test_it_tells_what_each_skill_does_the_mission_and_the_objects(task_name: str) -> None:
    task = get_task(task_name)
    told = prompt.load(task).sections[0][1]
    assert all(get_skill(name).sentence.replace("OBJECT", "the object") in told for name in task.skills)
    assert prompt._mission(task) in told
    if not task.rename_colours:
        assert all(f"<{role.name}>" in told for role in task.objects)


@pytest.mark.parametrize("name", list_tasks())
def test_its_examples_can_be_followed_and_give_no_advice(name: str) -> None:
    task = get_task(name)
    sections = prompt.load(task).sections[1:]
    for (_, asked), (role, answer) in zip(sections[:-1:2], sections[1::2], strict=True):
        assert role == "assistant"
        names = re.findall("<(.*?)>", asked)
        found = parse(answer, names, task.skills)
        assert found.steps is not None
        assert found.noops == 0
        assert not {name for step in found.steps for name in step[1:]} & {role.name for role in task.objects}


def test_the_command_prints_a_prompt_file_that_says_the_same(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["prompt", "KeyCorridorS3R3"]) == 0
    out, err = capfd.readouterr()
    (tmp_path / "mine.txt").write_text(out)
    task = get_task("KeyCorridorS3R3")
    mine, own = prompt.load(task, tmp_path / "mine.txt"), prompt.load(task)
    assert mine.sections == own.sections
    assert err == f"made for KeyCorridorS3R3, hash {own.digest}\n"
    assert mine.digest == own.digest
