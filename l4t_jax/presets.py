"""The presets: what they set, what they take and what they come to; and the steps that some tasks need.

Imports nothing of the package. The figures that decided are in docs/training.md, those to expect are from
benchmarks/results: reproduce (five seeds, 1,000 held-out levels each) and time-to-result-SimpleDoorKey-cpu.json. "To
0.90": environment steps until validation success was 0.90 twice in a row, median.
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # python -m l4t_jax.run --env SimpleDoorKey
    #   24 s on two CPU cores, 7 s once its programs are kept; 2 s of them training.
    #   Success and return to expect: SimpleDoorKey 1.000, 0.880 (to 0.90: 20 thousand); LavaDoorKey 1.000, 0.878 (82);
    #   ColoredDoorKey 1.000, 0.881 (98); DivergedDoorKey 1.000, 0.754 (152); DoorKey-8x8 1.000, 0.976 (25).
    # A rollout of 128 x 32 steps reaches 0.95 on SimpleDoorKey at 24 thousand steps, 256 x 32 at 46, 256 x 64 at 90
    # (learning rate 0.002) or 140 (0.001); clipping gradients at 5 changes nothing.
    "fast": dict(
        student="ego", total_steps=1_000_000, num_envs=128, rollouts="steps", num_steps=32, learning_rate=2e-3,
        learning_rate_end=2e-4, epochs=2, warmup_updates=24, warmup_epochs=16, minibatches=8, gae_lambda=0.95,
        entropy_coef=0.001, distill_coef=1.0, distill_floor=0.0, anneal="success", distill_fall=0.5, distill_off=0.5,
        adam_eps=1e-5, hidden=128, evaluations=20, greedy_share=0.125,
    ),
    # python -m l4t_jax.run --env SimpleDoorKey --preset frugal
    #   To 0.90: SimpleDoorKey 6 thousand steps, LavaDoorKey 24, ColoredDoorKey 76, DivergedDoorKey 128, DoorKey-8x8 6.
    #   At the end: SimpleDoorKey 0.999, 0.848; LavaDoorKey 0.999, 0.860; ColoredDoorKey 0.999, 0.862; DivergedDoorKey
    #   0.984, 0.688 (lowest seed 0.925); DoorKey-8x8 1.000, 0.974.
    # 64 x 16 steps reach 0.95 on SimpleDoorKey at 11 thousand with 4 epochs, at 7 with 8.
    "frugal": dict(
        student="ego", total_steps=500_000, num_envs=64, rollouts="steps", num_steps=16, learning_rate=1e-3,
        learning_rate_end=1e-4, epochs=8, warmup_updates=0, warmup_epochs=8, minibatches=4, gae_lambda=0.95,
        entropy_coef=0.001, distill_coef=1.0, distill_floor=0.0, anneal="success", distill_fall=0.5, distill_off=0.5,
        adam_eps=1e-5, hidden=128, evaluations=100, greedy_share=0.125,
    ),
    # python -m l4t_jax.run --env SimpleDoorKey --preset paper
    #   The weight ends at iteration 3,000. An iteration has 1,500 steps at first, and little more than 256 once the
    #   student is as quick as its teacher. Measured to 600 thousand steps (docs/training.md).
    # An iteration is the reference's: a whole episode of each environment and at least 256 steps, minibatches of 128.
    # With `rollouts=steps`: 10 x 65 rows in minibatches of 130. `minibatches` are a recurrent student's, of 2
    # environments each.
    "paper": dict(
        student="cnn", total_steps=2_000_000, num_envs=10, rollouts="episodes", num_steps=65, learning_rate=1e-3,
        learning_rate_end=1e-3, epochs=3, warmup_updates=0, warmup_epochs=3, minibatches=5, gae_lambda=1.0,
        entropy_coef=0.001, distill_coef=10.0, distill_floor=0.1, anneal="clock", distill_fall=0.66, distill_off=1.0,
        distill_updates=3000, adam_eps=1e-8, hidden=64, evaluations=40, greedy_share=0.0,
    ),
}  # fmt: skip

# Environment steps by task, where a task needs fewer or more than its preset says.
TOTAL_STEPS: dict[str, dict[str, int]] = {
    "SimpleDoorKey": {"fast": 400_000, "frugal": 64_000},
    "LavaDoorKey": {"fast": 800_000, "frugal": 400_000},
    "ColoredDoorKey": {"fast": 1_000_000, "frugal": 400_000},
    "DivergedDoorKey": {"fast": 1_200_000, "frugal": 800_000},
    "DoorKey-5x5": {"fast": 200_000, "frugal": 64_000},
    "DoorKey-6x6": {"fast": 200_000, "frugal": 64_000},
    "DoorKey-8x8": {"fast": 300_000, "frugal": 64_000},
    "DoorKey-16x16": {"fast": 600_000, "frugal": 200_000},
}
# Those of the ladder (benchmarks/ladder_rows.py), and ids of the same family that are no harder.
_HARD = {
    200_000: "KeyCorridorS3R1 KeyCorridorS3R2 KeyCorridorS3R3 ObstructedMaze-1Dl ObstructedMaze-1Dlh "
    "ObstructedMaze-1Dlhb",
    300_000: "UnlockPickup BlockedUnlockPickup GoToDoor-5x5 GoToDoor-6x6 GoToDoor-8x8 GoToObject-6x6-N2 "
    "GoToObject-8x8-N2 Fetch-5x5-N2 Fetch-6x6-N2 Fetch-8x8-N3 PutNear-6x6-N2 PutNear-8x8-N3 MemoryS7 MemoryS9 "
    "MemoryS11 MemoryS13 RedBlueDoors-6x6 RedBlueDoors-8x8 LavaCrossingS9N1 LavaCrossingS9N2 LavaCrossingS9N3 "
    "Dynamic-Obstacles-5x5 Dynamic-Obstacles-6x6 Dynamic-Obstacles-8x8 MultiRoom-N2-S4 MultiRoom-N4-S5",
    400_000: "LockedRoom MultiRoom-N6",
    600_000: "KeyCorridorS4R3 KeyCorridorS5R3 ObstructedMaze-2Dl ObstructedMaze-2Dlh ObstructedMaze-2Dlhb",
    1_000_000: "KeyCorridorS6R3",
    2_000_000: "ObstructedMaze-1Q ObstructedMaze-2Q ObstructedMaze-Full",
}
TOTAL_STEPS |= {name: {"fast": steps, "frugal": steps} for steps, names in _HARD.items() for name in names.split()}
