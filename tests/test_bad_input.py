"""Generated mistakes: settings, command lines and teacher files. Each is taken or refused in one sentence, never worse.

The full tier, `python -m pytest -m slow tests/test_bad_input.py`, is more than 20,000 cases.
"""

import contextlib
import copy
import dataclasses
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l4t_jax import api, options
from l4t_jax.config import PRESETS, Config
from l4t_jax.run import Command
from l4t_jax.tasks import get_task
from l4t_jax.teacher import file
from l4t_jax.trainer import Trainer

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
    hint = options._plain(HINTS[name])
    return [word for word in get_args(hint) if isinstance(word, str)] or ["DoorKey"]


def value_of(name: str) -> st.SearchStrategy[Any]:
    """Mostly of the right kind, else anything."""
    return st.one_of(st.sampled_from(choices(name)), NUMBERS, NUMBERS, ANYTHING)


MISTAKES = st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: value_of(name) for name in names})
)


def sentence(error: Exception) -> None:
    """A refusal is one that commands catch, and one line."""
    assert isinstance(error, (*api.REFUSALS, options.OptionError)), repr(error)
    assert str(error).strip() and "\n" not in str(error), str(error)


def config_case(given_settings: dict[str, Any]) -> None:
    try:
        trainer = Trainer.create(Config(**given_settings))
    except Exception as error:
        sentence(error)
        return
    config = trainer.config
    assert all(value is not None for name, value in dataclasses.asdict(config).items() if name in PRESETS["fast"])
    assert trainer.total_updates >= 1 and trainer.steps_per_update >= 1


ARGUMENTS = st.lists(
    st.one_of(
        st.sampled_from(FIELDS).flatmap(lambda name: st.tuples(st.just(options.flag(name)), value_of(name).map(str))),
        st.sampled_from(FIELDS).flatmap(lambda name: value_of(name).map(lambda v: (f"{options.flag(name)}={v}",))),
        st.tuples(st.text(max_size=8)),
        st.tuples(st.text(max_size=8).map(lambda word: "--" + word)),
        st.sampled_from([("--json",), ("--list-tasks",), ("--resume",), ("--",), ("-",), ("--seed",), ("-s", "3")]),
    ),
    max_size=4,
).map(lambda parts: [word for part in parts for word in part])


def command_case(argv: list[str]) -> None:
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            command = options.parse(Command, argv, "run", "")
        config = Config(**{name: getattr(command, name) for name in FIELDS})
        Trainer.create(config)
    except SystemExit as ended:  # --help
        assert ended.code == 0 and any(word in ("-h", "--help") for word in argv)
    except Exception as error:
        sentence(error)


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


def teacher_case(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    task = get_task("SimpleDoorKey")
    try:
        table = file.to_table(task, file.load(path))
    except Exception as error:
        sentence(error)
        return
    total = table.probability.sum(axis=-1)
    assert bool((((total - 1) ** 2 < 1e-6) | (total == 0)).all())


def tier(cases: int, strategy: st.SearchStrategy[Any], test: Callable[[Any], None]) -> None:
    """Runs a test on generated cases; the same ones every time."""
    quiet = settings(
        max_examples=cases, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    quiet(given(strategy)(lambda case: test(case)))()


@pytest.mark.parametrize("cases", [1000, pytest.param(12_000, marks=pytest.mark.slow)])
def test_settings_are_taken_or_refused_in_a_sentence(cases: int) -> None:
    tier(cases, MISTAKES, config_case)


@pytest.mark.parametrize("cases", [300, pytest.param(5_000, marks=pytest.mark.slow)])
def test_command_lines_are_taken_or_refused_in_a_sentence(cases: int) -> None:
    tier(cases, ARGUMENTS, command_case)


@pytest.mark.parametrize("cases", [700, pytest.param(5_000, marks=pytest.mark.slow)])
def test_teacher_files_are_taken_or_refused_in_a_sentence(cases: int, tmp_path: Path) -> None:
    path = tmp_path / "teacher.json"
    tier(cases, teacher_files(), lambda text: teacher_case(text, path))
