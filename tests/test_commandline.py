"""Command lines from dataclasses, and messages from below in a command's words."""

import dataclasses
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pytest

import l4t_jax
from l4t_jax import __main__ as l4t
from l4t_jax import commandline, errors, run, tasks
from l4t_jax.envs import get_task
from l4t_jax.teacher import cache, file, prompt
from l4t_jax.teacher import commands as teacher


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """For the tests."""

    place: str = dataclasses.field(metadata={"positional": True})
    """Where."""
    model: str
    """Which."""
    imports: tuple[str, ...] = ()
    """Files."""
    price: tuple[float, float] | None = None
    """Dollars."""
    kind: Literal["old", "new"] = "old"
    """Sort."""


def parse(*words: str) -> Command:
    return commandline.parse(Command, words, "test", "")


def test_an_option_may_be_repeated_and_one_may_take_two_values() -> None:
    found = parse("here", "--import", "a.py", "--model=m", "--import=b", "--price", "0.5", "2e0")
    assert found == Command(place="here", model="m", imports=("a.py", "b"), price=(0.5, 2.0))
    assert parse("--model", "m", "here").imports == ()
    assert commandline.given(Command, ["here", "--import=x", "--model", "m"]) == ["model", "imports"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Several:
    """For the tests."""

    places: tuple[str, ...] = dataclasses.field(metadata={"positional": True})
    """Where."""
    imports: tuple[str, ...] = ()
    """Files."""


def test_a_positional_field_may_take_one_word_or_more() -> None:
    found = commandline.parse(Several, ["a", "--import", "x", "b", "--import=y"], "test", "")
    assert found == Several(places=("a", "b"), imports=("x", "y"))
    with pytest.raises(errors.OptionError, match="PLACES is missing"):
        commandline.parse(Several, ["--import", "x"], "test", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["here"], "--model is missing"),
        (["--model", "m"], "PLACE is missing"),
        (["here", "--model", "m", "--price", "1"], "--price needs a value"),
        (["here", "--model", "m", "--price", "1", "two"], "--price takes a number, not 'two'"),
        (["here", "--model", "m", "--imports", "x"], "did you mean --import"),
        (["here", "--model", "m", "--kind", "noew"], "did you mean new"),
        (["here", "there", "--model", "m"], "'there' is not an option"),
    ],
)
def test_a_mistake_is_told(words: list[str], said: str) -> None:
    with pytest.raises(errors.OptionError) as error:
        parse(*words)
    assert said in str(error.value)


def every_command() -> dict[str, type]:
    """The options of each command, by its name behind `l4t`."""
    found: dict[str, type] = {"tasks": tasks.List}
    for name, (module, _) in l4t.COMMANDS.items():
        inner = {"teacher": teacher.COMMANDS, "tasks": tasks.COMMANDS}.get(name)
        if inner is None:
            found[name] = importlib.import_module(module).Command
        else:
            found |= {f"{name} {word}": command for word, command in inner.items()}
    return found


def takes_any_word(command: type) -> list[dataclasses.Field[Any]]:
    """The options of a command that take any word, as every path does."""
    hints = get_type_hints(command)
    return [field for field in dataclasses.fields(command) if hints[field.name] in (str, str | None, tuple[str, ...])]


@pytest.mark.parametrize("name", every_command())
def test_the_home_folder_is_found_in_every_option_that_can_be_a_path(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    command = every_command()[name]
    options = takes_any_word(command)
    assert "imports" in [field.name for field in options]
    for given, found in (("~/mine", "/home/me/mine"), ("file:~/mine", "file:/home/me/mine"), ("a~b", "a~b")):
        words: list[str] = []
        for field in options:
            words += [given] if field.metadata.get("positional") else [commandline.flag(field.name), given]
        parsed = commandline.parse(command, words, "test", "")
        for field in options:
            assert getattr(parsed, field.name) in (found, (found,)), field.name


@pytest.mark.parametrize("place", ["~/nowhere", "~no-such-user/nowhere"])
@pytest.mark.parametrize(
    "call",
    [
        l4t_jax.evaluate,
        l4t_jax.load_student,
        l4t_jax.load_extension,
        lambda place: importlib.import_module("l4t_jax.export")(place),
        lambda place: l4t_jax.train(resume=place),
        lambda place: l4t_jax.train(teacher=f"file:{place}"),
        lambda place: l4t_jax.train(imports=place),
    ],
)
def test_the_home_folder_is_found_from_python(
    call: Callable[[Any], Any], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for given in (place, Path(place)):
        with pytest.raises(errors.Refusal) as refused:
            call(given)
        assert str(Path(place.replace("~/", "/home/me/"))) in str(refused.value)


def test_files_are_read_from_the_home_folder_and_kept_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file.save(file.shipped(get_task("DoorKey")), "~/mine.json")
    assert file.load(tmp_path / "mine.json") == file.load("~/mine.json") == file.shipped(get_task("DoorKey"))
    (tmp_path / "prompt.txt").write_text("[user]\n{state}")
    assert prompt.load(get_task("DoorKey"), "~/prompt.txt").sections == (("user", "{state}"),)
    with pytest.raises(errors.TeacherFileError, match=r"~no-such-user/mine\.json cannot be read"):
        file.load("~no-such-user/mine.json")
    assert cache.Cache("~/answers").folder == tmp_path / "answers"
    monkeypatch.setenv("L4T_CACHE", "~/kept")
    assert cache.default_folder() == tmp_path / "kept"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("`num_envs` must be at least 1", "--num-envs must be at least 1"),
        ("`num_envs=64` fits", "--num-envs 64 fits"),
        ("try fewer num_envs, num_seeds.", "try fewer --num-envs, --num-seeds."),
        ("`seed` and seed", "--seed and seed"),
        ("`imports` can name it", "--import can name it"),
        ("`evaluate` plays it", "`evaluate` plays it"),
        (
            "/tmp/num_envs/x.json, my_num_envs and 'num_envs' stay",
            "/tmp/num_envs/x.json, my_num_envs and 'num_envs' stay",
        ),
        ("`teacher=file:PATH`", "--teacher file:PATH"),
        ("`train(resume='/tmp/my run')` goes on", "`python -m l4t_jax.run --resume '/tmp/my run'` goes on"),
        ("`train(resume='/tmp/run')` goes on", "`python -m l4t_jax.run --resume /tmp/run` goes on"),
    ],
)
def test_settings_in_a_message_become_options(message: str, said: str) -> None:
    assert commandline.in_options(message, commandline.settings_of(run.Command)) == said


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_l4t_alone_names_its_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert l4t.main(words) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in ("run", "evaluate", "export", "teacher", "tasks"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evalute", "x"], "there is no command 'evalute'; did you mean `l4t evaluate`?"),
        (["--env", "DoorKey"], "did you mean `l4t run`?"),
        (["run", "--nv", "DoorKey"], "there is no option --nv; did you mean --env"),
        (["run", "--task", "DoorKey"], "there is no option --task; did you mean --env"),  # what other programs call it
        (["tasks", "check", "x", "--task", "9"], "there is no option --task; see --help"),  # which has no --env
        (["evaluate", "x", "--boardss", "9"], "there is no option --boardss; see --help"),
        (["teacher", "recrd"], "there is no teacher command 'recrd'; did you mean record?"),
        (["teacher", "record"], "--teacher is missing"),
        (["teacher", "evaluate", "--levels", "0"], "--levels must be from 1"),
        (["export"], "RUN is missing"),
        (["tasks", "--jsn"], "did you mean --json"),
    ],
)
def test_l4t_answers_in_one_sentence(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert l4t.main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and said in err


def test_every_command_shows_its_help_under_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["run"], ["evaluate"], ["export"], ["tasks"], ["teacher", "record"], ["teacher", "diff"]):
        with pytest.raises(SystemExit) as ended:
            l4t.main([*words, "--help"])
        assert ended.value.code == 0
        out = capsys.readouterr().out
        assert f"usage: l4t {' '.join(words)} " in out and "--import" in out


def test_the_package_is_a_command_too() -> None:
    found = subprocess.run([sys.executable, "-m", "l4t_jax", "--version"], capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout.split()[0]) == (0, "l4t-jax")
