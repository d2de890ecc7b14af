"""Weights & Biases: offline into the run folder, and one sentence where it cannot be."""

import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

from l4t_jax import errors
from l4t_jax.reporting import run_folder

RECORD = dict(
    steps=640, train=dict(loss=[0.5, 1.5], gone=[float("nan"), 1.0]), validation=dict(success=[0.25, 0.75]),
    time=dict(train_s=2.0),
)  # fmt: skip


def test_a_line_as_curves_has_the_mean_and_each_seed() -> None:
    assert dict(run_folder.flat(RECORD)) == {
        "train/loss": 1.0, "train/loss/seed 0": 0.5, "train/loss/seed 1": 1.5, "validation/success": 0.5,
        "validation/success/seed 0": 0.25, "validation/success/seed 1": 0.75, "time/train_s": 2.0,
    }  # fmt: skip


def test_wandb_gets_the_settings_the_curves_and_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    run = types.SimpleNamespace(
        log=lambda values, step: told.append((step, values)),
        summary={},
        finish=lambda exit_code: told.append(exit_code),
    )
    fake: Any = types.ModuleType("wandb")
    fake.Settings = dict
    fake.init = lambda **given: (told.append(given), run)[1]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    shown = run_folder.Wandb("mine", tmp_path, {"seed": 3})
    shown.write(RECORD)
    shown.close({"task": "SimpleDoorKey"})
    run_folder.Wandb("mine", tmp_path, {}).close(None)
    assert (told[0]["project"], told[0]["config"], told[0]["dir"]) == ("mine", {"seed": 3}, str(tmp_path))
    assert told[1] == (640, dict(run_folder.flat(RECORD)))
    assert run.summary == {"task": "SimpleDoorKey"}
    assert (told[2], told[4]) == (0, 1)  # without a summary it failed


def test_wandb_itself_keeps_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    shown = run_folder.Wandb("mine", tmp_path, {"seed": 3})
    shown.write(RECORD)
    shown.close({"task": "SimpleDoorKey"})
    (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    until = time.monotonic() + 60
    while b"success" not in kept.read_bytes() and time.monotonic() < until:  # it writes in a process of its own
        time.sleep(0.1)
    assert b"success" in kept.read_bytes()


def test_a_refusal_of_wandb_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(dir: str, **given: Any) -> None:
        (Path(dir) / "wandb").mkdir()
        raise RuntimeError("No API key\nconfigured.")

    fake: Any = types.ModuleType("wandb")
    fake.Settings, fake.init = dict, init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with pytest.raises(errors.WandbError) as refused:
        run_folder.Wandb("mine", tmp_path, {})
    assert str(refused.value).startswith("`wandb=mine`: No API key configured; set WANDB_API_KEY, or WANDB_MODE=off")
    assert "\n" not in str(refused.value) and not any(tmp_path.iterdir())
