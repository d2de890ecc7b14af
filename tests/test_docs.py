"""The documentation: its commands at a small scale, the names it uses, its links. Its examples: test_extending.py."""

import dataclasses
import importlib
import re
import shlex
import shutil
from pathlib import Path

import docs_commands as written
import pytest
import tyro
from docs_commands import PAGES, ROOT

from l4t_jax import commandline, tasks
from l4t_jax.envs import get_task
from l4t_jax.teacher import commands as teacher_commands
from l4t_jax.teacher import file, recording

DOCS = ROOT / "docs"


def test_every_page_is_reached_from_the_readme_or_the_design() -> None:
    linked = "".join((ROOT / name).read_text() for name in ("README.md", "docs/design.md"))
    assert [page.name for page in DOCS.glob("*.md") if page.name not in linked] == []


# Commands


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What commands are given: `run`, made by the README's first command, `stopped` half-way, and a teacher file."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert written.run(f"{written.small(written.FIRST, '')} --run-dir run") == 0
    shutil.copytree(folder / "run", folder / "stopped")
    (folder / "stopped" / "summary.json").unlink()
    shutil.rmtree(max((folder / "stopped" / "checkpoints").iterdir(), key=lambda saved: int(saved.name)))
    file.save(file.shipped(get_task("SimpleDoorKey")), folder / "mine.json")
    return folder


@pytest.mark.xdist_group("docs")
def test_the_first_command_leaves_what_the_readme_says(place: Path) -> None:
    assert written.FIRST in written.commands()
    (said,) = re.findall(r"leaves\s+a folder:(.*?)\. ", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    names = re.findall(r"`([^`]+)`", said)
    assert len(names) >= 7 and [name for name in names if not (place / "run" / name).exists()] == []


@pytest.mark.xdist_group("docs")
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[pytest.mark.slow] if entry in written.SLOW else [])
        for command in written.commands()
        if (entry := written.entry_of(command)) in written.SMALL and command != written.FIRST
        if "next_room.py" not in command  # test_tutorial.py runs these, in their order
    ],
    ids=str,
)
@pytest.mark.usefixtures("own_tasks")
def test_a_command_of_the_documentation_runs(
    command: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with written.answering() as url:
        assert written.run(written.small(command, url)) == 0
    if "--resume" in command:
        assert (tmp_path / "stopped" / "summary.json").is_file()
    elif "l4t_jax.run" in command and "--help" not in command:
        assert len(list(tmp_path.glob("runs/*/summary.json"))) == 1


@pytest.mark.slow
@pytest.mark.xdist_group("docs")
def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    found: dict = {"SIZES": written.SIZES}
    exec(compile(code.replace("num_seeds=3", "num_seeds=3, **SIZES"), "README.md", "exec"), found)
    assert found["student"].task.name == "SimpleDoorKey"


def test_every_command_is_run_or_has_its_reason() -> None:
    found = written.commands()
    assert [command for command in found if written.entry_of(command) is None] == []
    assert len([command for command in found if written.entry_of(command) in written.SMALL]) > 20
    assert written.entry_of("python -m l4t_jax.rnu --env DoorKey") is None
    assert written.run("python -m l4t_jax.run --evn DoorKey") == 2
    assert written.run("python -m l4t_jax.teacher show --no-such-option 3") == 2


@pytest.mark.usefixtures("own_tasks")
@pytest.mark.parametrize("command", written.commands(), ids=str)
def test_the_options_of_a_command_are_its_own_and_the_files_it_names_are_there(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of those that are not run, or in the full tier alone."""
    for one in written.dry(command):
        assert written.run(one) == 0
    for script, words in re.findall(r"python benchmarks/(\w+)\.py(.*)", command):
        monkeypatch.syspath_prepend(ROOT / "benchmarks")
        module = importlib.import_module(script)
        if not hasattr(module, "Settings"):  # its command line is read as the commands' are
            continue
        assert not words or tyro.cli(module.Settings, args=shlex.split(words))
    for name in re.findall(r"(?<!\S)(?:tests/\S+|benchmarks/\S+\.py|\.ci/\w+|\w+\.txt|\w+\.toml)", command):
        assert (ROOT / name).exists(), name


def test_the_options_that_are_named_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    names = ("l4t_jax.run", "l4t_jax.evaluate", "l4t_jax.compare.__main__", "l4t_jax.export", "l4t_jax.play.__main__")
    names += ("reproduce", "ladder", "students", "play_parity")
    commands = [importlib.import_module(name).Command for name in names]
    commands += [tasks.Show, tasks.Check, tasks.Export, tasks.Bring]
    classes = (
        *commands,
        teacher_commands.Record,
        teacher_commands.Refine,
        recording.Ask,
        importlib.import_module("throughput").Settings,
        importlib.import_module("aot").Settings,
        importlib.import_module("refine_teachers").Settings,
    )
    known = {commandline.flag(field.name) for one in classes for field in dataclasses.fields(one)} | {"--import"}
    for page in PAGES:
        for code in re.findall(r"`(--[^`]+)`", (ROOT / page).read_text()):
            named = [word for word in shlex.split(code.replace("[", " ").replace("]", " ")) if word.startswith("--")]
            assert set(named) <= known, f"{page}: {code}"


def test_the_tests_that_are_named_exist() -> None:
    files = {path.stem: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    defined = {*files, *re.findall(r"^def (test_\w+)", "\n".join(files.values()), flags=re.MULTILINE)}
    for page in PAGES:
        text = (ROOT / page).read_text()
        assert set(re.findall(r"\btest_\w+", text)) <= defined, page
        assert [name for name in re.findall(r"\btests/[\w/.]*\w", text) if not (ROOT / name).exists()] == [], page
