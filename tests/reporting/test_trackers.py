"""TensorBoard and Weights & Biases: curves, the teacher's line, settings, results and animations, read back."""

import re
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_runs import events

from l4t_jax import errors
from l4t_jax.config import Config
from l4t_jax.reporting import trackers
from l4t_jax.reporting.trackers import TensorBoard, Wandb

RECORD = dict(
    steps=640, train=dict(loss=[0.5, 1.5], gone=[float("nan"), 1.0]), validation=dict(success=[0.25, 0.75]),
    time=dict(train_s=2.0),
)  # fmt: skip
WATCHED = {**RECORD, "parts": {"picks up the key": [0.5, 1.0]}}
TEACHER = {"success": 0.9, "return": 0.8}
SUMMARY: dict[str, Any] = dict(
    task="SimpleDoorKey", total_steps=640,
    heldout=dict(
        student={
            "success": [0.5, 0.75], "return": [0.4, 0.6], "length": [10.0, 20.0], "greedy": {"success": [0.25, 0.5]},
        },
        teacher={"success": 0.9},
    ),
)  # fmt: skip
RESULTS = {
    "heldout/success": 0.625, "heldout/return": 0.5, "heldout/length": 15.0, "heldout/success/greedy": 0.375,
    "heldout/success/teacher": 0.9,
}  # fmt: skip


def test_a_line_as_curves_has_the_mean_and_each_seed() -> None:
    wanted = {
        "train/loss": 1.0, "train/loss/seed 0": 0.5, "train/loss/seed 1": 1.5, "validation/success": 0.5,
        "validation/success/seed 0": 0.25, "validation/success/seed 1": 0.75, "time/train_s": 2.0,
    }  # fmt: skip
    assert dict(trackers.flat(RECORD)) == wanted
    line = {"validation/success/teacher": 0.9, "validation/return/teacher": 0.8}
    part = "parts/picks up the key"
    parts = {part: 0.75, f"{part}/seed 0": 0.5, f"{part}/seed 1": 1.0}
    assert dict(trackers.flat(WATCHED, TEACHER)) == wanted | line | parts


def test_hyperparameters_are_what_decides_a_run() -> None:
    import dataclasses

    settings = dataclasses.asdict(Config(seed=3, wandb="mine", run_dir="here", prompt=None).resolved(150))
    imports = ({"name": "/home/me/mine.py", "sha256": "0"},)
    shown = trackers.hyperparameters({**settings, "imports": imports, "price": (1.0, 2.0)})
    assert shown["seed"] == 3 and shown["algo"] == "l4t" and shown["imports"] == "/home/me/mine.py"
    assert not {"wandb", "run_dir", "prompt", "price", "devices"} & set(shown)
    assert trackers.hyperparameters({"imports": (), "hidden": 3}) == {"hidden": 3}


@pytest.fixture
def animated(tmp_path: Path) -> Path:
    """A run folder with an animation of the student alone."""
    frames = [Image.fromarray(np.full((20, 30), shade, np.uint8)) for shade in (0, 200)]
    frames[0].save(tmp_path / "student.gif", save_all=True, append_images=frames[1:])
    return tmp_path


# TensorBoard


def test_tensorboard_has_curves_settings_results_and_animations(animated: Path) -> None:
    from tensorboardX.proto.layout_pb2 import Layout  # pyright: ignore
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData  # pyright: ignore

    writer = TensorBoard(animated)
    writer.begin({"seed": 3, "algo": "l4t", "learning_rate": 0.5, "wandb": None}, TEACHER, [])
    writer.write(WATCHED)
    writer.finish(SUMMARY)
    writer.close()
    (file,) = animated.glob("events.out.tfevents.*")
    values = [(event.step, value) for event in events(file) for value in event.summary.value]
    scalars = {
        value.tag: value.simple_value for step, value in values if step == 640 and value.HasField("simple_value")
    }
    curves = {name.replace(" ", "_"): value for name, value in trackers.flat(WATCHED, TEACHER)}
    assert scalars == pytest.approx(curves | RESULTS)

    plugins = {value.tag: value.metadata.plugin_data for _, value in values if value.metadata.plugin_data.plugin_name}
    start, experiment, end = (
        HParamsPluginData.FromString(plugins[f"_hparams_/{name}"].content)
        for name in ("session_start_info", "experiment", "session_end_info")
    )
    chosen = start.session_start_info.hparams
    assert (chosen["seed"].number_value, chosen["algo"].string_value, len(chosen)) == (3.0, "l4t", 3)
    metrics = {info.name.tag for info in experiment.experiment.metric_infos}
    assert metrics == set(TensorBoard.METRICS) and metrics <= set(scalars), "each is a curve that there is"
    assert end.session_end_info.status == 1  # STATUS_SUCCESS

    (image,) = [value.image for _, value in values if value.HasField("image")]
    assert image.encoded_image_string == (animated / "student.gif").read_bytes()
    assert (image.width, image.height) == (30, 20)

    (layout,) = [value.tensor.string_val[0] for _, value in values if value.tag == "custom_scalars__config__"]
    charts = Layout.FromString(layout).category[0].chart
    matched = [[tag for tag in curves if any(re.match(one, tag) for one in chart.multiline.tag)] for chart in charts]
    success = "validation/success"
    assert matched == [
        [success, f"{success}/seed_0", f"{success}/seed_1", f"{success}/teacher"],
        ["validation/return/teacher"],
    ]


def test_a_resumed_run_tells_tensorboard_to_drop_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import SessionLog  # pyright: ignore

    for earlier in ([], [RECORD]):
        writer = TensorBoard(tmp_path)
        writer.begin({"seed": 3}, None, earlier)
        writer.write({**RECORD, "steps": 640 * (len(earlier) + 1)})
        writer.close()
    first, second = sorted(tmp_path.glob("events.out.tfevents.*"), key=lambda path: path.name.split(".")[-1])
    starts = [
        [event.step for event in events(one) if event.session_log.status == SessionLog.START] for one in (first, second)
    ]
    assert starts == [[], [641]]
    assert min(event.step for event in events(second) if event.summary.value) == 641


def test_a_run_that_is_cut_short_has_no_end_in_tensorboard(tmp_path: Path) -> None:
    writer = TensorBoard(tmp_path)
    writer.begin({"seed": 3}, None, [])
    writer.close()
    (file,) = tmp_path.glob("events.out.tfevents.*")
    tags = {value.tag for event in events(file) for value in event.summary.value}
    assert "_hparams_/session_start_info" in tags and "_hparams_/session_end_info" not in tags


# Weights & Biases


def test_wandb_gets_the_settings_the_curves_the_results_and_the_animations(
    animated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    run = types.SimpleNamespace(
        log=lambda values, step: told.append((step, values)),
        summary={},
        finish=lambda exit_code: told.append(exit_code),
    )
    fake: Any = types.ModuleType("wandb")
    fake.Settings = dict
    fake.Video = lambda path, format: (path, format)
    fake.init = lambda **given: (told.append(given), run)[1]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    shown = Wandb("mine", animated, {"seed": 3})
    shown.begin({"seed": 3}, TEACHER, [RECORD])
    shown.write({**WATCHED, "steps": 1280})
    shown.finish(SUMMARY)
    shown.close()
    assert (told[0]["project"], told[0]["config"], told[0]["dir"]) == ("mine", {"seed": 3}, str(animated))
    assert told[1] == (640, dict(trackers.flat(RECORD, TEACHER))), "what a resumed run had before"
    assert told[2] == (1280, dict(trackers.flat(WATCHED, TEACHER)))
    assert told[3] == (640, {**RESULTS, "animation/student": (str(animated / "student.gif"), "gif")})
    assert run.summary == SUMMARY and told[4] == 0
    Wandb("mine", animated, {}).close()
    assert told[-1] == 1  # not finished: it failed


def test_wandb_itself_keeps_a_run_offline(animated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    shown = Wandb("mine", animated, {"seed": 3})
    shown.begin({"seed": 3}, TEACHER, [])
    shown.write(RECORD)
    shown.finish(SUMMARY)
    shown.close()
    (kept,) = animated.glob("wandb/offline-run-*/run-*.wandb")
    until = time.monotonic() + 60
    while b"heldout" not in kept.read_bytes() and time.monotonic() < until:  # it writes in a process of its own
        time.sleep(0.1)
    assert b"success" in kept.read_bytes() and b"heldout" in kept.read_bytes()
    (video,) = animated.glob("wandb/offline-run-*/files/media/videos/animation/*.gif")
    assert video.read_bytes() == (animated / "student.gif").read_bytes()


def test_a_refusal_of_wandb_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(dir: str, **given: Any) -> None:
        (Path(dir) / "wandb").mkdir()
        raise RuntimeError("No API key\nconfigured.")

    fake: Any = types.ModuleType("wandb")
    fake.Settings, fake.init = dict, init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with pytest.raises(errors.WandbError) as refused:
        Wandb("mine", tmp_path, {})
    assert str(refused.value).startswith("`wandb=mine`: No API key configured; set WANDB_API_KEY, or WANDB_MODE=off")
    assert "\n" not in str(refused.value) and not any(tmp_path.iterdir())
