"""The commands: what they print where, how they refuse, and their exit codes."""

import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from l4t_jax import api, commandline, errors, run
from l4t_jax.config import PRESETS, Config
from l4t_jax.evaluate import main as evaluate_main
from l4t_jax.evaluation import intervals
from l4t_jax.evaluation.playing import Episodes
from l4t_jax.reporting import pictures, progress, run_folder


def refused(argv: list[str], capsys: pytest.CaptureFixture[str], main: Any = run.main) -> str:
    """The sentence that a command line is refused with."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--nm-seeds", "3"], "there is no option --nm-seeds; did you mean --num-seeds"),
        (["--steps=3"], "--total-steps"),
        (["--qqqqq"], "see --help"),
        (["--algo", "pop"], "did you mean ppo? It takes l4t, ppo"),
        (["--seed", "x"], "--seed takes a whole number, not 'x'"),
        (["--seed", "1.5"], "--seed takes a whole number"),
        (["--learning-rate", "nan"], "--learning-rate takes a number, not 'nan'"),
        (["--seed"], "--seed needs a value"),
        (["--seed", "--json"], "--seed needs a value"),
        (["--json=1"], "--json takes no value"),
        (["DoorKey"], "'DoorKey' is not an option"),
        (["--env", "DorKey"], "there is no task named 'DorKey'; did you mean DoorKey"),
        (["--num-seeds", "0"], "--num-seeds must be at least 1"),
        (["--env", "DorKey", "--print-config"], "did you mean DoorKey"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(argv, capsys)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argv", "words"),
    [([], "RUN is missing"), (["nowhere"], "there is no folder nowhere"), ([".", "--levls", "3"], "--levels")],
)
def test_evaluate_answers_in_one_sentence(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in refused(argv, capsys, evaluate_main)


def test_a_mistake_is_answered_by_the_process_itself() -> None:
    command = [sys.executable, "-m", "l4t_jax.run", "--nv", "DoorKey"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.count("\n") == 1 and "did you mean --env" in found.stderr


def test_dashes_underscores_capitals_and_powers_of_ten_are_taken() -> None:
    words = ["--num_seeds=3", "--total-steps", "2e6", "--Num-Envs", "64", "--gamma", "0.5", "--list_tasks"]
    command = commandline.parse(run.Command, words, "run", "")
    assert (command.num_seeds, command.total_steps, command.num_envs, command.gamma) == (3, 2_000_000, 64, 0.5)
    assert command.list_tasks and not command.json and command.hidden is None


def test_help_explains_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main(["--help"])
    assert ended.value.code == 0
    out = "".join(capsys.readouterr().out.replace("│", " ").split())
    for name, words in commandline.docs(run.Command).items():
        assert commandline.flag(name) in out
        assert "".join(words.split()) in out
    assert set(commandline.docs(run.Command)) == {field.name for field in dataclasses.fields(run.Command)}
    assert (
        "".join(f"{preset}: {values['num_envs']};" for preset, values in PRESETS.items())[:-1].replace(" ", "") in out
    )


def test_print_config_shows_what_would_run(capfd: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--print-config", "--json", "--num-envs", "32"]) == 0
    shown = json.loads(capfd.readouterr().out)
    settings = dataclasses.asdict(Config(num_envs=32).resolved(150))
    assert shown == {**settings, "imports": [], "run_dir": "runs/SimpleDoorKey-l4t-0"}
    assert run.main(["--print-config"]) == 0
    text = capfd.readouterr().out
    assert all(commandline.flag(name) in text for name in shown)


def test_the_end_of_a_run_says_which_file_to_open(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from l4t_jax.reporting import pictures

    summary = {
        "task": "SimpleDoorKey", "teacher": "none", "total_steps": 1, "env_steps_per_s": 1.0, "guidance": [],
        "heldout": {"levels": 1}, "seconds": dict.fromkeys(("compile", "train", "evaluate"), 0.0),
    }  # fmt: skip
    heldout: Any = {"student": None}  # not empty: a run that was finished before prints nothing
    ended = api.Result(summary=summary, run_dir=tmp_path, config=Config(), params=None, records=[], heldout=heldout)
    monkeypatch.setattr(api, "train", lambda config, progress: ended)
    monkeypatch.setattr(pictures, "table", lambda *_: "")
    assert run.main([]) == 0
    said = "".join(capfd.readouterr().out.split())  # the console wraps lines
    assert said.endswith(f"results:{tmp_path}(openreport.htmlinabrowser)")


def test_list_tasks_names_them_all(capfd: pytest.CaptureFixture[str]) -> None:
    from l4t_jax import list_tasks

    assert run.main(["--list-tasks"]) == 0
    text = capfd.readouterr().out
    assert [line.split()[0] for line in text.splitlines()] == list_tasks()
    assert "DoorKey" in text.splitlines()[0].split("or ")[-1]


def test_json_prints_the_summary_and_nothing_else(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Even where the run, and a program it starts, print on standard output."""
    summary = {"task": "SimpleDoorKey", "figure": np.float32(0.5), "none": float("nan")}

    def train(config: Config, progress: Any) -> api.Result:
        print("chatter")
        os.write(1, b"chatter of a library in C\n")
        return api.Result(summary=summary, run_dir=tmp_path, config=config, params=None, records=[], heldout={})

    monkeypatch.setattr(api, "train", train)
    assert run.main(["--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == {"task": "SimpleDoorKey", "figure": 0.5, "none": None}
    assert err.count("chatter") == 2
    print("after")
    assert capfd.readouterr().out == "after\n"


def test_the_default_folder_of_a_second_run_is_numbered(tmp_path: Path) -> None:
    default = str(tmp_path / "runs" / "A-l4t-0")
    names = [run_folder.new_folder(None, default).name for _ in range(3)]
    assert names == ["A-l4t-0", "A-l4t-0-2", "A-l4t-0-3"]
    asked = tmp_path / "mine"
    assert run_folder.new_folder(str(asked), default) == asked
    assert run_folder.new_folder(str(asked), default) == asked  # still empty
    (asked / "summary.json").write_text("{}")
    with pytest.raises(errors.RunFolderError, match="is not empty"):
        run_folder.new_folder(str(asked), default)


def test_wilson_by_hand() -> None:
    # Wilson 1927; 8 of 10 at 95 %: 0.4902 to 0.9433. None of 10: 0 to 0.2775.
    assert intervals.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert intervals.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert intervals.wilson(1000, 1000)[1] == 1.0


def test_steps_to_success_wants_two_in_a_row_on_enough_levels() -> None:
    steps = [10, 20, 30, 40]
    success = [[0.96, 0.2], [0.4, 0.5], [0.91, 0.6], [0.92, 0.1]]  # seeds 0 and 1
    found = intervals.steps_to_success(steps, success, levels=512)
    assert found == {"0.50": [40, 30], "0.90": [40, None], "0.95": [None, None]}
    assert intervals.steps_to_success(steps, success, levels=511)["0.50"] == [None, None]


def episodes(success: Any, length: Any) -> Episodes:
    success, length = np.asarray(success, bool), np.asarray(length, np.int32)
    return Episodes(success=success, reward=success * np.float32(0.5), length=length)  # pyright: ignore


def test_the_table_says_how_seeds_were_taken_together() -> None:
    heldout = {"student": episodes([[1, 1], [1, 0]], [[4, 4], [4, 8]]), "teacher": episodes([1, 1], [3, 3])}
    console = Console(file=io.StringIO(), width=80)
    console.print(pictures.table(heldout, "T"))
    text = console.file.getvalue()  # pyright: ignore
    row = next(line for line in text.splitlines() if "student " in line)
    # 3 of 4: Wilson 0.301 to 0.954. Returns .5 .5 .5 0: mean .375, sd .25, half 1.96 * .25 / 2. Lengths: mean 5, sd 2.
    assert "0.750 (0.301-0.954)" in row and "0.375 (0.130-0.620)" in row and "5.0 (3.0-7.0)" in row
    assert "mean over 2 seeds" in " ".join(text.split())


def record(steps: int) -> dict[str, Any]:
    return dict(
        steps=steps, updates=1, train=dict(distill_weight=0.25), validation=dict(success=[0.5, 0.7]),
        time=dict(train_s=2.0, evaluate_s=1.0, env_steps_per_s=1234.0),
    )  # fmt: skip


def test_progress_is_plain_and_rare_outside_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    shown = progress.make(out)
    assert isinstance(shown, progress.Lines)
    shown.begin(1000, 0.99, "runs/x")
    shown.asked(12, 10, 2)
    for steps in (250, 500, 750, 1000):
        shown.evaluated(record(steps))
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 and "\x1b" not in out.getvalue()
    assert "validation success 0.600 (teacher 0.990), distillation weight 0.25" in lines[1]
    assert lines[1].endswith(", 12 states met, 10 asked about, 2 waiting")


def test_a_terminal_gets_a_live_bar_unless_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    out = Terminal()
    shown = progress.make(out)
    assert isinstance(shown, progress.Bar)
    shown.begin(1000, 0.99, "runs/x")
    shown.evaluated(record(500))
    shown.close()
    text = out.getvalue()
    assert "0.600" in text and "(teacher 0.990)" in text and "1.23k/s" in text and "0:03 left" in text
    monkeypatch.setenv("CI", "true")
    assert isinstance(progress.make(out), progress.Lines)


def test_the_live_bar_is_whole_in_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    out = io.StringIO()
    shown = progress.Bar(out)
    shown.begin(1_234_567, 0.992, "runs/x")
    shown.asked(1234, 1000, 234)
    shown.evaluated({**record(503_000), "time": dict(train_s=900.0, evaluate_s=1.0, env_steps_per_s=123_456.0)})
    table = shown._bar.get_renderable()
    wide = Console(file=io.StringIO(), width=80)
    wide.print(table)
    text = wide.file.getvalue()  # pyright: ignore
    shown.close()
    assert "…" not in text and "━" in text
    assert "1234 states met, 1000 asked about, 234 waiting" in text
    assert "503k of 1.23M steps" in text and "success 0.600 (teacher 0.992)  distillation 0.25" in text


def test_a_counted_phase_is_a_bar_and_the_next_phase_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    shown = progress.Bar(io.StringIO())
    (bar,) = shown._bar.tasks
    for done in (1_000, 2_500):
        shown.counted("drawing levels of MyEnv-v0", done, 10_000)
    assert (bar.completed, bar.total, bar.percentage) == (2_500, 10_000, 25)
    assert bar.description == "drawing levels of MyEnv-v0" and bar.fields["right"] == "2,500 of 10,000"
    shown.phase("compiling")
    assert (bar.completed, bar.total, bar.description, bar.fields["right"]) == (0, None, "compiling", "")
    shown.close()


def test_a_counted_phase_is_a_line_now_and_then_in_a_pipe() -> None:
    out = io.StringIO()
    shown = progress.Lines(out, every=0)
    shown.counted("drawing levels of MyEnv-v0", 2_500, 10_000)
    rare = progress.Lines(out)
    rare.counted("drawing levels of MyEnv-v0", 5_000, 10_000)
    assert out.getvalue() == "drawing levels of MyEnv-v0: 2,500 of 10,000\n"
