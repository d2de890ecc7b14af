"""Generated mistakes: settings, command lines and teacher files. Each is taken or refused in one sentence, never worse.

The full tier, `python -m pytest -m slow tests/test_bad_input.py`, is more than 20,000 cases.
"""

import contextlib
import copy
import dataclasses
import io
import json
import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reporting import reported

from l4t_jax import api, commandline, errors, parallel, run
from l4t_jax.config import MOST, PRESETS, Config
from l4t_jax.envs import get_task
from l4t_jax.evaluation import heldout
from l4t_jax.teacher import file
from l4t_jax.training import programs
from l4t_jax.training.trainer import Trainer

HINTS = get_type_hints(Config)
FIELDS = [field.name for field in dataclasses.fields(Config)]
WORDS = st.one_of(
    st.sampled_from(
        ["DoorKey", "SimpleDoorKey", "DorKey", "l4t", "ppo", "shipped", "none", "file:", "file:/nowhere", "lstm"]
    ),
    st.text(max_size=12),
)
NUMBERS = st.one_of(
    st.integers(-3, 40), st.sampled_from([0, 64, 128, 10**9, 2**31, 2**63, 10**30, -1]), st.integers(),
    st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, 1e308, 1e-308, 0.5]),
)  # fmt: skip
ANYTHING = st.one_of(WORDS, NUMBERS, st.none(), st.booleans(), st.lists(st.integers(), max_size=2), st.just({}))


def choices(name: str) -> list[Any]:
    """The words that a setting may be."""
    hint = commandline.options._plain(HINTS[name])
    return [word for word in get_args(hint) if isinstance(word, str)] or ["DoorKey"]


def value_of(name: str) -> st.SearchStrategy[Any]:
    """Mostly of the right kind, else anything."""
    return st.one_of(st.sampled_from(choices(name)), NUMBERS, NUMBERS, ANYTHING)


MISTAKES = st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: value_of(name) for name in names})
)


def sentence(error: Exception) -> None:
    """A refusal is one that commands catch, and one line."""
    assert isinstance(error, errors.Refusal), repr(error)
    assert str(error).strip() and "\n" not in str(error), str(error)


def config_case(given_settings: dict[str, Any]) -> str:
    try:
        trainer = Trainer.create(Config(**given_settings))
    except Exception as error:
        sentence(error)
        return "refused"
    config = trainer.config
    assert all(value is not None for name, value in dataclasses.asdict(config).items() if name in PRESETS["fast"])
    assert trainer.total_updates >= 1 and trainer.steps_per_update >= 1
    return "taken"


ARGUMENTS = st.lists(
    st.one_of(
        st.sampled_from(FIELDS).flatmap(
            lambda name: st.tuples(st.just(commandline.flag(name)), value_of(name).map(str))
        ),
        st.sampled_from(FIELDS).flatmap(lambda name: value_of(name).map(lambda v: (f"{commandline.flag(name)}={v}",))),
        st.tuples(st.text(max_size=8)),
        st.tuples(st.text(max_size=8).map(lambda word: "--" + word)),
        st.sampled_from([("--json",), ("--list-tasks",), ("--resume",), ("--",), ("-",), ("--seed",), ("-s", "3")]),
    ),
    max_size=4,
).map(lambda parts: [word for part in parts for word in part])


class Began(Exception):
    """A run would begin."""


@pytest.fixture
def no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command as it is, up to where a run compiles; no other processes are joined."""

    def train(config: Config, *_: Any) -> None:
        Trainer.create(config).spread()
        raise Began

    monkeypatch.setattr(api, "_train", train)
    monkeypatch.setattr(parallel, "join", lambda _: None)
    monkeypatch.chdir(tmp_path)


def command_case(argv: list[str]) -> str:
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            code = run.main(argv)
    except SystemExit as ended:  # --help
        assert ended.code == 0 and any(word in ("-h", "--help") for word in argv)
        return "taken"
    except Began:
        return "taken"
    if code == 0:
        assert any(word.startswith(("--list", "--print")) for word in argv)
        return "taken"
    lines = said.getvalue().splitlines()
    assert code == 2 and len(lines) == 1 and lines[0].startswith("error: ") and len(lines[0]) > 10, said.getvalue()
    return "refused"


SHIPPED = file.shipped(get_task("SimpleDoorKey"))


@st.composite
def teacher_files(draw: st.DrawFn) -> str:
    """A teacher file with some mistakes: values changed anywhere, keys dropped, text cut or changed."""
    content: Any = copy.deepcopy(SHIPPED)
    for _ in range(draw(st.integers(1, 3))):
        node, path = content, draw(st.lists(st.integers(0, 30), min_size=1, max_size=6))
        for at, step in enumerate(path):
            if not isinstance(node, dict | list) or not node:
                break
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = keys[step % len(keys)]
            if at == len(path) - 1 or not isinstance(node[key], dict | list) or not node[key]:
                how = draw(st.integers(0, 3))
                if how == 0:
                    del node[key]
                elif how == 1 and isinstance(node, list):
                    node.append(copy.deepcopy(node[key]))
                else:
                    node[key] = draw(ANYTHING)
                break
            node = node[key]
    text = json.dumps(content)
    if draw(st.integers(0, 9)) == 0:
        cut = draw(st.integers(0, len(text)))
        text = text[:cut] + draw(st.text(max_size=3))
    return text


def teacher_case(text: str, path: Path) -> str:
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    task = get_task("SimpleDoorKey")
    try:
        table = file.to_table(task, file.load(path))
    except Exception as error:
        sentence(error)
        return "refused"
    total = table.probability.sum(axis=-1)
    assert bool((((total - 1) ** 2 < 1e-6) | (total == 0)).all())
    return "taken"


def tier(cases: int, strategy: st.SearchStrategy[Any], test: Callable[[Any], str]) -> dict[str, Any]:
    """Runs a test on generated cases, the same ones every time; how many there were and how they ended."""
    ends: Counter[str] = Counter()
    began = time.monotonic()
    quiet = settings(
        max_examples=cases, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    quiet(given(strategy)(lambda case: ends.update([test(case)])))()
    assert set(ends) == {"taken", "refused"}  # both, or the cases show little
    return dict(cases=ends.total(), **ends, seconds=round(time.monotonic() - began, 1))


def test_settings_are_taken_or_refused_in_a_sentence() -> None:
    tier(1000, MISTAKES, config_case)


@pytest.mark.usefixtures("no_run")
def test_command_lines_are_taken_or_refused_in_a_sentence() -> None:
    tier(300, ARGUMENTS, command_case)


def test_teacher_files_are_taken_or_refused_in_a_sentence(tmp_path: Path) -> None:
    tier(700, teacher_files(), lambda text: teacher_case(text, tmp_path / "teacher.json"))


@pytest.mark.slow
@pytest.mark.usefixtures("no_run")
def test_twenty_two_thousand_mistakes_are_taken_or_refused_in_a_sentence(tmp_path: Path) -> None:
    found = {
        "settings": tier(12_000, MISTAKES, config_case),
        "command lines": tier(5_000, ARGUMENTS, command_case),
        "teacher files": tier(5_000, teacher_files(), lambda text: teacher_case(text, tmp_path / "teacher.json")),
    }
    total = sum(kind["cases"] for kind in found.values())
    with reported("bad-input", dict(cases=total, **found)):
        assert total >= 20_000


def test_the_largest_sizes_that_are_taken_can_be_counted() -> None:
    """A run of them is traced, up to where its memory would be measured; one more of any is refused."""
    updates = (2**31 - 1) // (MOST["epochs"] * 2)
    sizes = dict(num_envs=64, num_steps=32, minibatches=2, devices=1, total_steps=64 * 32 * updates)
    config = Config(**{**MOST, **sizes}, algo="ppo")
    trainer = Trainer.create(config).spread()
    made = programs.training_programs(trainer, None, trainer.total_updates)
    levels = {"validation": config.validation_levels, "test": config.heldout_levels}
    played = heldout.Evaluator(trainer.players, None, config.validation_levels)
    made |= played.programs(made["block"][1][0].params, levels, pictures=True)
    for function, arguments in made.values():
        function.eval_shape(*arguments)
    for name, most in MOST.items():
        with pytest.raises(errors.Refusal, match=f"`{name}` must be at most {most}, not {most + 1}"):
            Trainer.create(dataclasses.replace(config, **{name: most + 1}))
    with pytest.raises(errors.Refusal, match="can be counted"):
        Trainer.create(dataclasses.replace(config, total_steps=config.total_steps + 1))


def test_devices_in_a_spoilt_config_do_not_come_before_its_refusal(tmp_path: Path, capsys: Any) -> None:
    whole = dataclasses.asdict(Config(num_envs=8).resolved(150))
    (tmp_path / "config.json").write_text(json.dumps({**whole, "devices": "two"}))
    assert run.main(["--resume", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "--devices must be a whole number, not 'two'" in said
