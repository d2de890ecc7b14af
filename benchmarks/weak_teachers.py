"""What a weak LLM's advice is worth: `python benchmarks/weak_teachers.py [--json]`.

Students trained on each of the shipped teacher files of SmolLM2-135M, and by PPO alone, on SimpleDoorKey with the
default preset and equal environment steps, at each of several budgets. Run folders are kept under `--runs`, and one
that is whole is not run again. The result is `results/smollm2-teachers.json` with a table beside it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import comparison
import tyro

from l4t_jax import api, files
from l4t_jax.agents.algorithms import get_algorithm
from l4t_jax.config import Config
from l4t_jax.reporting import run_folder
from l4t_jax.teacher import file

RESULTS = Path(__file__).parent / "results"
EXAMPLES = Path(file.__file__).parent / "data" / "examples"
TASK = "SimpleDoorKey"
TEACHERS = {
    "ppo": None,
    **{name: EXAMPLES / f"{TASK}.smollm2-{name}.json" for name in ("scored", "divided", "sampled")},
}
SAID = {
    "ppo": f"none ({get_algorithm('ppo').label})",
    "scored": "`--ask score`",
    "divided": "`--ask score --divide-prior 1`",
    "sampled": "`--ask sample`",
}
COLUMNS = ("teacher", "its own success", "student's success", "area", "steps to 0.5", "steps to 0.9", "got to 0.9")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure."""

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
        path = TEACHERS[name]
        how = dict(algo="ppo") if path is None else dict(teacher=f"file:{path}")
        config = Config(env=TASK, num_seeds=settings.seeds, total_steps=steps, run_dir=str(folder))
        api.train(config, **how, **more)
    found = comparison.measured(folder)
    teacher = "none" if TEACHERS[name] is None else f"file:{TEACHERS[name].name}"
    return {"variant": name, **found, "teacher": teacher}  # no path of the machine it ran on


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
                SAID[one["variant"]],
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
    runs = [run(settings, name, steps) for steps in settings.steps for name in TEACHERS]
    result = dict(command="python benchmarks/weak_teachers.py", seeds=settings.seeds, runs=runs, below=below(runs))
    text = files.dumps(result, indent=1)
    if settings.json:
        print(text)
    else:
        print(table(runs))
    if settings.out is not None or not settings.json:
        out = Path(settings.out or RESULTS)
        out.mkdir(parents=True, exist_ok=True)
        (out / "smollm2-teachers.json").write_text(text + "\n", encoding="utf-8")
        (out / "smollm2-teachers.md").write_text(table(runs), encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
