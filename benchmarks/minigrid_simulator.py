"""`python benchmarks/minigrid_simulator.py`: students trained in JAX, played on Farama's own simulator.

Trains a student of each of the paper's tasks with the default settings (1 to 3 minutes each on two cores), measures it
in JAX on held-out levels and on Farama's minigrid on as many levels that its own generator draws, of the same split.
Then plays MiniGrid's levels in JAX too, with the same random key, and counts the episodes that are equal.
Writes `benchmarks/results/minigrid-simulator.json`; exits 1 if the 95 % interval of a difference leaves out 0, or an
episode differs. Needs the extra `minigrid`.

Two samples of 1,000 levels differ by chance: of two equal players one in six is outside the other's 95 % interval. So
the interval of the difference is what is judged, and whether MiniGrid's figure is inside JAX's is said beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

import jax

from l4t_jax import api, errors, files
from l4t_jax.config import Config
from l4t_jax.evaluation import playing, simulator
from l4t_jax.reporting import machine, run_folder
from l4t_jax.training import checkpoint
from l4t_jax.training.trainer import Trainer

PAPER_TASKS = ("SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "DivergedDoorKey")
RESULTS = Path(__file__).parent / "results" / "minigrid-simulator.json"


def compare(config: Config, folder: Path) -> dict[str, Any]:
    """One task's student in both simulators.

    Args:
        config: of the run; `heldout_levels` levels are played in each simulator.
        folder: the run folder; trained if there is no run in it yet.

    Returns:
        `jax` and `minigrid`: the figures of `api.evaluate`; `inside`: whether MiniGrid's success is within the 95 %
        interval of the one in JAX; `difference`: MiniGrid's less JAX's, and its own 95 % interval, Newcombe's;
        `same_levels`: of MiniGrid's levels, how many episodes are the same step for step when played in JAX.
    """
    if not (folder / run_folder.SUMMARY).is_file():
        api.train(dataclasses.replace(config, run_dir=str(folder)))
    figures = {name: api.evaluate(folder, levels=config.heldout_levels, simulator=name) for name in ("jax", "minigrid")}
    here, there = figures["jax"], figures["minigrid"]
    low, high = here["intervals"]["success"]
    return dict(
        steps=run_folder.read(folder / run_folder.SUMMARY)["total_steps"],
        **figures,
        inside=low <= there["success"] <= high,
        difference=[there["success"] - here["success"], *newcombe(there, here)],
        same_levels=same_levels(folder, config.heldout_levels),
    )


def same_levels(folder: Path, number: int) -> dict[str, Any]:
    """The first student on MiniGrid's levels, in both simulators with one key: success, return and length compared."""
    trainer = Trainer.create(Config(**run_folder.read(folder / run_folder.CONFIG)))
    params = jax.tree.map(lambda leaf: leaf[0], checkpoint.restore_params(folder))
    key, seeds = jax.random.key(0), simulator.test_seeds(trainer.task, number)
    there = simulator.Player(trainer.players, number).play(params, key, seeds)
    play = jax.jit(functools.partial(playing.play_student, trainer.players))
    here = jax.device_get(play(params, key, simulator.levels(trainer.task, seeds)))
    equal = (here.success == there.success) & (here.length == there.length) & (abs(here.reward - there.reward) < 1e-5)
    return dict(
        levels=number,
        equal_episodes=int(equal.sum()),
        success=[float(here.success.mean()), float(there.success.mean())],
    )


def newcombe(one: dict[str, Any], other: dict[str, Any]) -> tuple[float, float]:
    """95 % interval of the difference of two successes (Newcombe 1998, method 10: from their Wilson intervals)."""
    p, q = one["success"], other["success"]
    (p_low, p_high), (q_low, q_high) = one["intervals"]["success"], other["intervals"]["success"]
    below = ((p - p_low) ** 2 + (q_high - q) ** 2) ** 0.5
    above = ((p_high - p) ** 2 + (q - q_low) ** 2) ** 0.5
    return p - q - below, p - q + above


def main() -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--tasks", nargs="+", default=PAPER_TASKS, choices=PAPER_TASKS)
    parser.add_argument("--levels", type=int, default=1000, help="levels in each simulator (default: 1000)")
    parser.add_argument("--runs", type=Path, default=Path("runs/minigrid-simulator"), help="run folders, one a task")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file to write")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for task in given.tasks:
        try:
            found[task] = compare(Config(env=task, heldout_levels=given.levels), given.runs / task)
        except errors.Refusal as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        one = found[task]
        low, high = one["jax"]["intervals"]["success"]
        print(
            f"{task}: JAX {one['jax']['success']:.3f} ({low:.3f} to {high:.3f}), "
            f"MiniGrid {one['minigrid']['success']:.3f}, {'inside' if one['inside'] else 'outside'}; difference "
            "{:+.4f} ({:+.4f} to {:+.4f}); ".format(*one["difference"])
            + f"{one['same_levels']['equal_episodes']} of {given.levels} equal episodes on the same levels",
            flush=True,
        )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(given.out, dict(device=machine.device_name(), versions=machine.versions(), tasks=found))
    agree = [
        one["difference"][1] <= 0 <= one["difference"][2] and one["same_levels"]["equal_episodes"] == given.levels
        for one in found.values()
    ]
    return 0 if all(agree) else 1


if __name__ == "__main__":
    sys.exit(main())
