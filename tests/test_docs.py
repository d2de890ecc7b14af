"""The examples of the documentation, run as they stand there."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import tyro

from l4t_jax import networks, options, reproduce, run
from l4t_jax.skills import library
from l4t_jax.teacher import __main__ as teacher

evaluate_command = importlib.import_module("l4t_jax.evaluate")  # as an attribute it is the function
DOCS = Path(__file__).parents[1] / "docs"


def example(page: str, heading: str) -> str:
    """The Python block under a heading of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    return code


@pytest.mark.parametrize(
    ("page", "heading", "said"),
    [
        ("extending.md", "A task", "the teacher reaches the goal on 100% of 64 boards"),
        ("extending.md", "A skill", "patrolling opens the door on "),
        ("extending.md", "A student", "report.html"),
        ("teachers.md", "A backend of one's own", ""),
    ],
)
@pytest.mark.usefixtures("own_tasks")
def test_an_example_of_the_documentation_runs(
    page: str, heading: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(networks, "STUDENTS", dict(networks.STUDENTS))
    monkeypatch.setattr(library, "_OWN", {})
    exec(compile(example(page, heading), f"{page}: {heading}", "exec"), {"__name__": "example"})
    assert said in capsys.readouterr().out


def test_every_page_is_reached_from_the_readme_or_the_design() -> None:
    linked = "".join((DOCS.parent / name).read_text() for name in ("README.md", "docs/design.md"))
    assert [page.name for page in DOCS.glob("*.md") if page.name not in linked] == []


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in (DOCS.parent / "README.md", DOCS.parent / "benchmarks" / "README.md", *DOCS.glob("*.md")):
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


# Commands


PAGES = ("README.md", "benchmarks/README.md", *(f"docs/{page.name}" for page in DOCS.glob("*.md")))
STARTS = ("python -m l4t_jax.", "python benchmarks/")


def commands() -> list[str]:
    """Every command of the project in the pages' shell blocks, without what stands before it and its comment."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```(?:bash|console|sh)?\n(.*?)```", (DOCS.parent / page).read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                at = [line.find(start) for start in STARTS if start in line]
                if at:
                    found.append(line[min(at) :].partition(" #")[0].strip())
    return list(dict.fromkeys(found))


PARSERS = {
    "l4t_jax.run": run.Command,
    "l4t_jax.evaluate": evaluate_command.Command,
    "l4t_jax.reproduce": reproduce.Command,
}


def parsed(words: list[str]) -> None:
    """Parses a command's words with the command's own parser; wrong ones raise."""
    if words[0] == "-m" and words[1] in PARSERS:
        options.parse(PARSERS[words[1]], words[2:], "", "")
    elif words[:2] == ["-m", "l4t_jax.teacher"]:
        verbs = {verb.__name__.lower(): verb for verb in (teacher.Record, teacher.Show, teacher.Evaluate, teacher.Diff)}
        tyro.extras.subcommand_cli_from_dict(verbs, args=words[2:])
    else:  # benchmarks: their options are parsed by their own tests, and their runs take minutes
        assert (DOCS.parent / words[0]).is_file()


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_documentation_is_one(command: str) -> None:
    parsed(shlex.split(command)[1:])


def test_the_commands_are_found_and_a_wrong_one_is_noticed() -> None:
    assert len(commands()) >= 10 and any("l4t_jax.run --env DoorKey" in one for one in commands())
    with pytest.raises(options.OptionError):
        parsed(["-m", "l4t_jax.run", "--evn", "DoorKey"])
    with pytest.raises(SystemExit):
        parsed(["-m", "l4t_jax.teacher", "show", "--no-such-option", "3"])
