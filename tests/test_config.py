"""Settings: kinds, ranges, numpy's numbers, paths, and what a preset decides."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l4t_jax.config import PRESETS, Config, ConfigError, Import, Settings
from l4t_jax.training.trainer import Trainer


def test_numpy_numbers_are_python_numbers() -> None:
    config = Config(num_envs=np.int64(64), gamma=np.float32(0.5), seed=np.array(3), clip=np.float64(0.1))  # pyright: ignore
    assert (config.num_envs, config.gamma, config.seed, config.clip) == (64, 0.5, 3, 0.1)
    assert [type(value) for value in (config.num_envs, config.gamma, config.seed)] == [int, float, int]
    assert config.resolved(150).num_envs == 64
    with pytest.raises(ConfigError, match="`seed` must be a whole number, not True"):
        Config(seed=np.bool_(True)).resolved(150)  # pyright: ignore


def test_paths_are_words_and_the_home_folder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = Config(
        run_dir=Path("~/runs/x"),
        cache="~/answers",
        prompt="~/p.txt",
        teacher="file:~/t.json",  # pyright: ignore
    )
    assert config.run_dir == "/home/me/runs/x"
    assert (config.cache, config.prompt, config.teacher) == (
        "/home/me/answers", "/home/me/p.txt", "file:/home/me/t.json",
    )  # fmt: skip
    assert Config(teacher="openai:a~b").teacher == "openai:a~b"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a.py", ("a.py",)),
        (Path("a.py"), ("a.py",)),
        (["a.py", "b"], ("a.py", "b")),
        ([{"name": "a", "sha256": "0"}], (Import("a", "0"),)),
    ],
)
def test_imports_are_a_tuple(given: Any, kept: Any) -> None:
    config = Config(imports=given)
    assert config.imports == kept
    assert Config(**dataclasses.asdict(config)) == config


@pytest.mark.parametrize("given", [3, [3], [{"name": "a"}], None])
def test_other_imports_are_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="`imports` must be Python files or modules"):
        Config(imports=given).resolved(150)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_decides_what_is_left_open_and_no_more(preset: Any) -> None:
    settings = Config(preset=preset, env="LavaDoorKey", hidden=17, num_steps=16).resolved(150)
    assert isinstance(settings, Settings)
    for name, value in {**PRESETS[preset], "hidden": 17, "num_steps": 16}.items():
        if name != "total_steps":
            assert getattr(settings, name) == value
    assert settings.total_steps == {"fast": 800_000, "frugal": 400_000, "paper": 2_000_000}[preset]
    assert settings.resolved(150) is settings


def test_of_a_warm_up_longer_than_the_run_only_the_runs_updates_count() -> None:
    """A pass of the warm-up is made instead of one of `epochs`, not beside it."""
    assert Config(total_steps=4096 * 20, warmup_updates=2**30).resolved(150).warmup_updates == 2**30
    steps = 4096 * ((2**31 - 1) // (8 * 2**16))
    assert Config(total_steps=steps, warmup_updates=2**31 - 1, warmup_epochs=2**16, epochs=2**16).resolved(150)


def test_a_warm_up_that_is_too_long_to_be_counted_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        Config(total_steps=4096 * 5000, warmup_updates=9999, warmup_epochs=2**16).resolved(150)
    assert str(error.value) == (
        "`total_steps=20480000` would change the student 2621440000 times (5000 updates, `epochs=2`, the first 5000 "
        "with `warmup_epochs=65536`, `minibatches=8`); at most 2147483647 can be counted"
    )
    episodes: dict[str, Any] = dict(rollouts="episodes", total_steps=2**23, warmup_epochs=2**16)
    with pytest.raises(ConfigError, match=r"up to 4294967296 times \(with `warmup_epochs=65536`\); at most"):
        Config(**episodes, warmup_updates=1).resolved(150)
    assert Config(**episodes, warmup_updates=0).resolved(150)  # without a warm-up its passes are not made


def test_a_rollout_is_no_longer_than_an_episode() -> None:
    assert Config(preset="paper").resolved(40).num_steps == 40
    with pytest.raises(ConfigError, match="`num_steps` must be at most 40, the steps of an episode"):
        Config(num_steps=48).resolved(40)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (dict(num_envs=0), "`num_envs` must be at least 1, not 0"),
        (dict(epochs=2**16 + 1), "`epochs` must be at most 65536, not 65537"),
        (dict(warmup_updates=2**31), "`warmup_updates` must be at most 2147483647, not 2147483648"),
        (dict(learning_rate=0.0), "`learning_rate` must be above 0, not 0"),
        (dict(save_every=-1), "`save_every` must not be below 0, not -1"),
        (dict(gamma=1.5), "`gamma` must be from 0 to 1, not 1.5"),
        (dict(seed=2**31), "`seed` must be from 0 to 2147483647, not 2147483648"),
        (dict(entropy_coef=float("nan")), "`entropy_coef` must be a number of at most"),
        (dict(anneal="soon"), "`anneal` must be one of clock, success, not 'soon'"),
        (dict(env=3), "`env` must be a word, not 3"),
        (dict(total_steps=2**40, num_steps=1, num_envs=1, minibatches=1), "at most 2147483647 can be counted"),
    ],
)
def test_a_wrong_value_is_refused_by_its_setting(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config(**given).resolved(150)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (dict(minibatches=7), "`minibatches` must divide `num_steps=32`; 8 would, 7 does not"),
        (dict(student="lstm", num_envs=96, minibatches=5), "must divide `num_envs=96`; 4 would"),
        (dict(student="eggo"), "`student` cannot be 'eggo'; did you mean ego?"),
        (dict(observation="veiw"), "`observation` cannot be 'veiw'; did you mean view?"),
    ],
)
def test_what_a_student_decides_is_refused_where_it_is_known(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        Trainer.create(Config(**given))
    assert words in str(error.value)


def test_a_student_has_defaults_of_its_own_and_what_is_given_wins() -> None:
    assert Trainer.create(Config(student="lstm")).config.hidden == 256
    assert Trainer.create(Config(student="lstm", hidden=8)).config.hidden == 8
    assert Trainer.create(Config(student="cnn")).config.hidden == 64
    assert Trainer.create(Config(preset="paper", student="ego")).config.hidden == 64  # the preset's
    assert Trainer.create(Config()).config.observation == "map"
