"""The README: each of its figures is that of a committed file, or stands in the list of those that nobody measured."""

import json
import re
from typing import Any

from docs_commands import ROOT
from test_extending import FILES, MOST_LINES

from l4t_jax.config import Config
from l4t_jax.envs import get_task

RESULTS = ROOT / "benchmarks" / "results"


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def measured() -> list[str]:
    """The README's phrases with measured figures, made from the committed results."""
    time = read("time-to-result-SimpleDoorKey-cpu.json")
    cold = time["median"]["cold"]
    assert cold["heldout_success"] > 0.99 and time["device"].endswith("2 cores")
    results = read("reproduce/results.json")
    of = {(run["task"], run["variant"]): run["success"]["value"] for run in results["runs"]}
    weak = next(run for run in read("smollm2-teachers.json")["runs"] if "score" in run["teacher"])
    small = {run["variant"]: run for run in read("small-llms-KeyCorridorS3R3.json")["runs"]}
    solved = {name: sum(one > 0.99 for one in run["success"]["seeds"]) for name, run in small.items()}
    assert solved == {"gemma3": 6, "skills": 3, "smollm2": 3, "ppo": 0}  # of six, as the README says in words
    assert small["gemma3"]["teacher_alone"]["success"] == 0
    blocks = read("blocks-gpu-nvidia-h200.json")["programs"]
    gpu = [blocks[f"SimpleDoorKey-fast-block-{envs}x1"]["steps_per_s"] / 1e6 for envs in (16384, 65536)]
    version = ".".join(time["versions"]["l4t_jax"].split(".")[:2])
    diverged = results["teachers"]["DivergedDoorKey"]["drawn"]["success"]
    return [
        f"SimpleDoorKey takes {cold['whole']:.0f} s on two CPU cores",
        f"{cold['compile']:.0f} s of it compiling ([measured with version {version}]",
        f"the same command again takes {time['median']['warm']['whole']:.0f} s",
        f"at {gpu[0]:.0f} million steps a second with 16,384 environments and at {gpu[1]:.0f} million with 65,536",
        f"the teacher succeeds on {percent(diverged)} of the levels",
        f"PPO alone on {percent(of['DivergedDoorKey', 'ppo'])}",
        f"the student on {percent(of['DivergedDoorKey', 'l4t'], 1)}",
        f"SmolLM2-135M's plans for SimpleDoorKey succeed on {percent(weak['teacher_alone']['success'])} of the levels",
        f"students taught by them, on {percent(weak['success']['value'], 1)}",
        f"take six students of six to {percent(small['gemma3']['success']['value'])}",
    ]


def stated() -> list[str]:
    """Phrases with numbers that are settings, sizes, names and versions."""
    levels, diverged = Config().heldout_levels, get_task("DivergedDoorKey")
    return [
        f"{levels:,} held-out levels",
        f"a {diverged.width} x {diverged.height} room, two doors",
        f"a room of 5 to {get_task('SimpleDoorKey').width} cells each way",
        "MiniGrid's view of 7 x 7 cells", "95 % interval",
        f"files of at most {MOST_LINES} lines",
        "74 of BabyAI's", "Gemma 3 270M's plans for KeyCorridorS3R3",
        "in 15 minutes", "On one H200 it trains",
        "from 3.9 on", "Python 3.12", "(1 GB;",
        "arXiv 2311.13373", "IJCAI 2024", "Apache-2.0", "come from 0.1", "docs/from-0.1.md",
        "1. What", "2. Before", "3. Scripted", "4. A small",
    ]  # fmt: skip


def prose() -> str:
    """The README without code, addresses, HTML and the table of results (test_ladder.py holds that one)."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^\| task \|.*?\n\n", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"</?\w+[^>]*>", "", text)


def test_each_figure_of_the_readme_is_that_of_a_committed_file() -> None:
    text = " ".join(prose().split())
    for phrase in measured():
        assert phrase in text, phrase
    assert len(FILES) == 7 and "seven files" in text


def test_no_other_figure_stands_in_the_readme() -> None:
    text = " ".join(prose().split())
    for phrase in sorted((*measured(), *stated()), key=len, reverse=True):
        text = text.replace(phrase, "")
    text = re.sub(r"`[^`]*`", "", re.sub(r"\]\([^)]*\)", "]", text))  # names of tasks, addresses
    assert re.findall(r".{20}(?<![A-Za-z])\d[\d.,]*.{0,10}", text) == []
