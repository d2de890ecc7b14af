"""The project's own files agree with each other."""

import re
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_ci_runs_the_readmes_test_command_word_for_word() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    (command,) = [block for block in blocks if "-m pytest -n 2\n" in block and "uv venv" in block]
    assert (ROOT / ".ci" / "run").read_text().endswith(command)


def test_the_pins_name_no_host_and_do_not_pull_torch() -> None:
    pins = (ROOT / "requirements.txt").read_text()
    assert "://" not in pins
    assert "--" not in pins
    assert not re.search(r"^(torch|nvidia-|transformers)", pins, flags=re.MULTILINE)


# Command lines are made in these; all others name a setting, such as `num_envs`, and the commands write --num-envs.
COMMANDS = {
    "run.py", "evaluate.py", "export.py", "tasks.py", "__main__.py", "teacher/__main__.py", "teacher/commands.py",
    "commandline/__init__.py", "commandline/options.py",
}  # fmt: skip


def test_command_line_words_stand_in_the_commands_alone() -> None:
    package = ROOT / "l4t_jax"
    found = [
        f"{path.relative_to(package).as_posix()}:{number}: {line.strip()}"
        for path in package.rglob("*.py")
        if path.relative_to(package).as_posix() not in COMMANDS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"(?<![\w-])--[a-z]", line) and "python -m l4t_jax" not in line  # a preset says its command
    ]
    assert found == []


# Of version 0.1; the field has others: level, environments, carried object, role, symbolic state, subtask, ...
PRIVATE_WORDS = r"\b(boards?|worlds|cargo(es)?|nouns?|weaned|errands?|sighting|own_bits|listened|from afar)\b"


def test_the_fields_words_are_used() -> None:
    pages = [path for folder in ("l4t_jax", "tests", "docs", "benchmarks") for path in (ROOT / folder).rglob("*")]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in (ROOT / "README.md", *pages)
        if path.suffix in (".py", ".md", ".jinja", ".txt") and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(PRIVATE_WORDS, line, re.IGNORECASE)
    ]
    assert found == []


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    build = pytest.importorskip("hatchling.build")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        wheel = zipfile.ZipFile(tmp_path / build.build_wheel(str(tmp_path)))
    packed = {name for name in wheel.namelist() if name.startswith("l4t_jax/")}
    source = {path.relative_to(ROOT).as_posix() for path in (ROOT / "l4t_jax").rglob("*") if path.is_file()}
    assert packed == {name for name in source if not name.endswith(".pyc")}
    assert "l4t_jax/reporting/templates/report.html.jinja" in packed
