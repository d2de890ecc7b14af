"""What a weak LLM's advice is worth: `python benchmarks/weak_teachers.py [--json]`.

Students trained on each of a task's teacher files by small LLMs, and by PPO alone, with the default preset and equal
environment steps, at each of several budgets: SimpleDoorKey with SmolLM2-135M's, or (`--task KeyCorridorS3R3`) that
task with SmolLM2-135M's, Gemma 3 270M's and its skills at random. Run folders are kept under `--runs`, and one that
is whole is not run again. The result is `results/smollm2-teachers.json` or `results/small-llms-KeyCorridorS3R3.json`
with a table beside it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import comparison
import tyro

from l4t_jax import api, files
from l4t_jax.agents.algorithms import get_algorithm
from l4t_jax.config import Config
from l4t_jax.reporting import run_folder
from l4t_jax.teacher import file

RESULTS = Path(__file__).parent / "results"
EXAMPLES = Path(file.__file__).parent / "data" / "examples"


@dataclasses.dataclass(frozen=True)
class Taught:
    """A way to be taught.

    Attributes:
        said: in the table.
        teacher: the name of a file among the examples, "skills", or None for PPO alone.
    """

    said: str
    teacher: str | None

    @property
    def file(self) -> Path | None:
        return EXAMPLES / self.teacher if self.teacher is not None and self.teacher.endswith(".json") else None


PPO = Taught(f"none ({get_algorithm('ppo').label})", None)
TEACHERS = {
    "SimpleDoorKey": {
        "ppo": PPO,
        "scored": Taught("`--ask score`", "SimpleDoorKey.smollm2-scored.json"),
        "divided": Taught("`--ask score --divide-prior 1`", "SimpleDoorKey.smollm2-divided.json"),
        "sampled": Taught("`--ask sample`", "SimpleDoorKey.smollm2-sampled.json"),
    },
    "KeyCorridorS3R3": {
        "ppo": PPO,
        "skills": Taught("skills at random, no plans", "skills"),
        "smollm2": Taught("SmolLM2-135M, scored", "KeyCorridorS3R3.smollm2-scored.json"),
        "gemma3": Taught("Gemma 3 270M, sampled", "KeyCorridorS3R3.gemma3-sampled.json"),
    },
}
FILES = {"SimpleDoorKey": "smollm2-teachers", "KeyCorridorS3R3": "small-llms-KeyCorridorS3R3"}
COLUMNS = ("teacher", "its own success", "student's success", "area", "steps to 0.5", "steps to 0.9", "got to 0.9")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure."""

    task: Literal["SimpleDoorKey", "KeyCorridorS3R3"] = "SimpleDoorKey"
    """Task to learn."""
    steps: tuple[int, ...] = (400_000, 800_000)
    """Environment steps of a seed: one comparison for each."""
    seeds: int = 5
    """Students of each run."""
    runs: str = "runs/weak-teachers"
    """Folder for the run folders."""
    out: str | None = None
    """Folder for the JSON file and the table; benchmarks/results by default, none with --json."""
    json: bool = False
    """Print one JSON object and nothing else on standard output."""


def run(settings: Settings, name: str, steps: int, **more: Any) -> dict[str, Any]:
    """The figures of one teacher at one budget."""
    folder = Path(settings.runs) / f"{steps}-{name}"
    if not (folder / run_folder.SUMMARY).is_file():
        taught = TEACHERS[settings.task][name]
        teacher = taught.teacher if taught.file is None else f"file:{taught.file}"
        how = dict(algo="ppo") if teacher is None else dict(teacher=teacher)
        config = Config(env=settings.task, num_seeds=settings.seeds, total_steps=steps, run_dir=str(folder))
        api.train(config, **how, **more)
    found, taught = comparison.measured(folder), TEACHERS[settings.task][name]
    teacher = f"file:{taught.teacher}" if taught.file else taught.teacher or "none"  # no path of the machine it ran on
    return {"variant": name, **found, "teacher": teacher, "said": taught.said}


def below(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each teacher and budget: whether its students end below the lower end of PPO alone's interval."""
    alone = {one["total_steps"]: one["success"]["low"] for one in runs if one["variant"] == "ppo"}
    return [
        dict(
            variant=one["variant"],
            total_steps=one["total_steps"],
            success=one["success"]["value"],
            ppo_low=alone[one["total_steps"]],
            below=one["success"]["value"] < alone[one["total_steps"]],
        )
        for one in runs
        if one["variant"] != "ppo"
    ]


def table(runs: list[dict[str, Any]]) -> str:
    """The figures as a Markdown table."""

    def figure(one: dict[str, Any]) -> str:
        return f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"

    def steps(one: dict[str, Any], level: str) -> str:
        median = one["steps_to_success"][level]["median"]
        return "never" if median is None else f"{median:,}"

    lines = []
    for budget in dict.fromkeys(one["total_steps"] for one in runs):
        lines += [
            f"{budget:,} environment steps a seed:",
            "",
            f"| {' | '.join(COLUMNS)} |",
            "|---" * len(COLUMNS) + "|",
        ]
        for one in (one for one in runs if one["total_steps"] == budget):
            teacher = one["teacher_alone"]
            there = [seed for seed in one["steps_to_success"]["0.90"]["seeds"] if seed is not None]
            cells = (
                one["said"],
                "" if teacher is None else f"{teacher['success']:.3f}",
                figure(one["success"]),
                figure(one["area"]),
                steps(one, "0.50"),
                steps(one, "0.90"),
                f"{len(there)} of {len(one['success']['seeds'])}",
            )
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main(settings: Settings) -> None:
    runs = [run(settings, name, steps) for steps in settings.steps for name in TEACHERS[settings.task]]
    command = f"python benchmarks/weak_teachers.py --task {settings.task}"
    result = dict(command=command, seeds=settings.seeds, runs=runs, below=below(runs))
    text = files.dumps(result, indent=1)
    if settings.json:
        print(text)
    else:
        print(table(runs))
    if settings.out is not None or not settings.json:
        out = Path(settings.out or RESULTS)
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{FILES[settings.task]}.json").write_text(text + "\n", encoding="utf-8")
        (out / f"{FILES[settings.task]}.md").write_text(table(runs), encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
