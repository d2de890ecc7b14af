"""The project's own files agree with each other."""

import email
import re
import zipfile
from email.message import Message
from pathlib import Path

import pytest

import l4t_jax

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
        if path.suffix in (".py", ".md", ".jinja", ".txt") and path not in (Path(__file__), ROOT / "docs/from-0.1.md")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(PRIVATE_WORDS, line, re.IGNORECASE)
    ]
    assert found == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    build = pytest.importorskip("hatchling.build")
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return zipfile.ZipFile(folder / build.build_wheel(str(folder)))


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    source = {path.relative_to(ROOT).as_posix() for path in (ROOT / "l4t_jax").rglob("*") if path.is_file()}
    assert packed == {name for name in source if not name.endswith(".pyc")}
    assert "l4t_jax/reporting/templates/report.html.jinja" in packed


def test_the_version_is_the_same_wherever_it_stands(wheel: zipfile.ZipFile) -> None:
    version = l4t_jax.__version__
    assert metadata_of(wheel)["Version"] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^## \[(\S+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == version


def test_what_a_package_index_shows_has_no_link_into_the_repository(wheel: zipfile.ZipFile) -> None:
    shown = metadata_of(wheel)
    text = str(shown.get_payload())
    assert shown["Description-Content-Type"] == "text/markdown" and "# l4t_jax" in text
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith("https://")] == []
    assert not re.search(r"<(img|picture|source|br)\b", text)


def test_jax_is_bounded_from_below_alone_so_that_one_that_is_there_stays(wheel: zipfile.ZipFile) -> None:
    needed = [one for one in metadata_of(wheel).get_all("Requires-Dist") or [] if "extra ==" not in one]
    assert [re.sub(r"[\d.]+$", "", one) for one in needed if one.startswith("jax")] == ["jax>="]
    assert [one for one in needed if re.search(r"==|<|~=", one)] == ["navix==4.*"]
    classifiers = metadata_of(wheel).get_all("Classifier") or []
    for python in ("3.12", "3.13"):
        assert f"Programming Language :: Python :: {python}" in classifiers


def metadata_of(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))
