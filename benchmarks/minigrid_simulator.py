"""`python benchmarks/minigrid_simulator.py`: students trained in JAX, played on Farama's own simulator.

Trains a student of each of the paper's tasks with the default settings (1 to 3 minutes each on two cores), measures it
in JAX on held-out boards and on Farama's minigrid on as many boards that its own generator draws, of the same split.
Writes `benchmarks/results/minigrid-simulator.json`; exits 1 if a success on MiniGrid is outside the 95 % interval of
the one in JAX. Needs the extra `minigrid`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from l4t_jax import api, loop, metrics
from l4t_jax.config import Config

PAPER_TASKS = ("SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "DivergedDoorKey")
RESULTS = Path(__file__).parent / "results" / "minigrid-simulator.json"


def compare(config: Config, folder: Path) -> dict[str, Any]:
    """One task's student in both simulators.

    Args:
        config: of the run; `heldout_boards` boards are played in each simulator.
        folder: the run folder; trained if there is no run in it yet.

    Returns:
        `jax` and `minigrid`: the figures of `api.evaluate`; `inside`: whether MiniGrid's success is within the 95 %
        interval of the one in JAX; `difference`: MiniGrid's less JAX's, and its own 95 % interval, Newcombe's.
    """
    if not (folder / metrics.SUMMARY).is_file():
        api.train(dataclasses.replace(config, run_dir=str(folder)))
    figures = {name: api.evaluate(folder, boards=config.heldout_boards, simulator=name) for name in ("jax", "minigrid")}
    here, there = figures["jax"], figures["minigrid"]
    low, high = here["intervals"]["success"]
    return dict(
        steps=metrics.read(folder / metrics.SUMMARY)["total_steps"],
        **figures,
        inside=low <= there["success"] <= high,
        difference=[there["success"] - here["success"], *newcombe(there, here)],
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
    parser.add_argument("--boards", type=int, default=1000, help="boards in each simulator (default: 1000)")
    parser.add_argument("--runs", type=Path, default=Path("runs/minigrid-simulator"), help="run folders, one a task")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file to write")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for task in given.tasks:
        try:
            found[task] = compare(Config(env=task, heldout_boards=given.boards), given.runs / task)
        except api.REFUSALS as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        one = found[task]
        low, high = one["jax"]["intervals"]["success"]
        print(
            f"{task}: JAX {one['jax']['success']:.3f} ({low:.3f} to {high:.3f}), "
            f"MiniGrid {one['minigrid']['success']:.3f}: {'inside' if one['inside'] else 'OUTSIDE'}",
            flush=True,
        )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    metrics.write(given.out, dict(device=loop.device_name(), versions=loop.versions(), tasks=found))
    return 0 if all(one["inside"] for one in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
