"""Run folders as finished runs leave them, with made-up figures: what comparisons read, without training."""

import dataclasses
from pathlib import Path

import numpy as np

from l4t_jax import files
from l4t_jax.config import Config
from l4t_jax.evaluation import intervals
from l4t_jax.reporting import run_folder
from l4t_jax.training.trainer import Trainer


def write(config: Config, name: str, end: float, half: float, evaluations: int = 20, rate: float = 4e4) -> None:
    """Writes the settings, curves and summary of a run.

    Args:
        config: of the run, with its folder.
        name: of the experiment; its figures follow from it.
        end: success at the end.
        half: share of the run after which half of it is reached.
        evaluations: points of the curve.
        rate: environment steps a second.
    """
    rng = np.random.default_rng(list(name.encode()))
    resolved = Trainer.create(config).config
    seeds, total, folder = resolved.num_seeds, resolved.total_steps, Path(str(resolved.run_dir))
    folder.mkdir(parents=True)
    files.write_json(folder / run_folder.CONFIG, dataclasses.asdict(resolved))
    at = np.linspace(0, 1, evaluations + 1)[1:]
    speed = half * rng.uniform(0.8, 1.3, seeds)
    success = np.clip(
        end / (1 + np.exp((speed - at[:, None]) / 0.05)) + rng.normal(0, 0.01, (evaluations, seeds)), 0, 1
    )
    steps = [round(total * share) for share in at]
    with (folder / run_folder.METRICS).open("w") as out:
        for step, row in zip(steps, success, strict=True):
            clock = dict(train_s=step * seeds / rate, evaluate_s=0.0, env_steps_per_s=rate)
            validation = {"success": row.tolist(), "return": (0.9 * row).tolist(), "length": [1.0] * seeds}
            out.write(files.dumps(dict(steps=step, validation=validation, time=clock)) + "\n")
    last = np.clip(end + rng.normal(0, 0.005, seeds), 0, 1)
    greedy = np.clip(last - 0.02, 0, 1)
    alone = {"success": 0.57, "return": 0.5, "length": 80.0}
    summary = {
        "task": resolved.env, "algo": resolved.algo, "teacher": resolved.teacher, "device": "cpu: made up, 2 cores",
        "versions": {"l4t_jax": "0"}, "total_steps": total, "env_steps_per_s": rate,
        "seconds": {"compile": 10.0, "train": total * seeds / rate, "evaluate": 5.0},
        "heldout": {
            "levels": 1000,
            "student": {
                "success": last.tolist(), "return": (0.9 * last).tolist(),
                "greedy": {"success": greedy.tolist(), "return": (0.9 * greedy).tolist()},
            },
            "teacher": None if resolved.teacher == "none" else alone,
            "random": {"success": 0.06, "return": 0.03, "length": 140.0},
        },
        "steps_to_success": intervals.steps_to_success(steps, success.tolist(), 512),
    }  # fmt: skip
    files.write_json(folder / run_folder.SUMMARY, summary)
