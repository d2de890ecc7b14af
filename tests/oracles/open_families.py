"""Farama's environments of the open families, as our levels, states and transitions, targets included."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import numpy as np

from l4t_jax.envs.cells import LAVA, WALL
from l4t_jax.envs.registry import get_task
from l4t_jax.envs.state import Layout, State, Transition
from l4t_jax.evaluation.farama import Targets, carried, make, read_level
from oracles import farama

NAMES = (
    *(f"Empty-{kind}" for kind in ("5x5", "Random-5x5", "6x6", "Random-6x6", "8x8", "16x16")),
    *(f"Dynamic-Obstacles-{kind}" for kind in ("5x5", "Random-5x5", "6x6", "Random-6x6", "8x8", "16x16")),
    *(f"{kind}CrossingS{size}" for kind in ("Lava", "Simple") for size in ("9N1", "9N2", "9N3", "11N5")),
    *(f"Memory{kind}" for kind in ("S17Random", "S13Random", "S13", "S11", "S9", "S7")),
    *("DistShift1", "DistShift2", "LavaGapS5", "LavaGapS6", "LavaGapS7"),
    *("GoToDoor-5x5", "GoToDoor-6x6", "GoToDoor-8x8", "GoToObject-6x6-N2", "GoToObject-8x8-N2"),
    *("Fetch-5x5-N2", "Fetch-6x6-N2", "Fetch-8x8-N3", "PutNear-6x6-N2", "PutNear-8x8-N3"),
    *("RedBlueDoors-6x6", "RedBlueDoors-8x8", "Playground"),
)  # the 44 ids, without prefix and version


@cache
def theirs(name: str, number: int) -> Layout:
    """`number` levels of Farama's generator, stacked."""
    task = get_task(name)
    env = make(task.minigrid_id)
    env.reset(seed=20231113)
    levels = []
    for _ in range(number):
        env.agent_pos, env.agent_dir = (-1, -1), -1  # as reset does: else the last agent's cell would be avoided
        env._gen_grid(env.width, env.height)
        levels.append(read_level(env, task))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *levels)


def labels(levels: Layout) -> farama.Labels:
    """The statistics of `farama.labels`, the walls and lava of each line as a whole, and of the targets their number
    and where they are, alone and seen from the agent.
    """
    found = farama.labels(levels)
    blocked = np.isin(levels.cells & 15, (WALL, LAVA)).astype(int)
    found |= {f"column {x}": column for x, column in enumerate((blocked @ (1 << np.arange(blocked.shape[2]))).T)}
    found |= {f"row {y}": row for y, row in enumerate((blocked.swapaxes(1, 2) @ (1 << np.arange(blocked.shape[1]))).T)}
    if levels.targets is not None:
        x, y = np.asarray(levels.agent, int).T[:2]
        for bit in range(8):
            hit = (levels.targets >> bit & 1).reshape(len(levels.targets), -1)
            tx, ty = np.divmod(np.where(hit.any(axis=1), hit.argmax(axis=1), -1), levels.targets.shape[2])
            found[f"number of targets {bit}"] = hit.sum(axis=1).astype(int)
            found[f"target {bit}"] = farama.code(tx, ty)
            found[f"target {bit} from agent"] = farama.code(np.clip(tx - x, -3, 3), np.clip(ty - y, -3, 3))
    return found


class Episode:
    """A Farama episode whose steps are transitions of ours, with what Farama makes of them."""

    def __init__(self, name: str, seed: int) -> None:
        self.task = get_task(name)
        self.env: Any = make(self.task.minigrid_id)
        self.transitions: list[Transition] = []
        self.rewards: list[float] = []
        self.ended: list[bool] = []
        self.reset(seed)

    def reset(self, seed: int | None = None) -> None:
        """Starts a new level; the steps so far are kept."""
        self.env.reset(seed=seed)
        self.marks = Targets(self.env, self.task.family)

    def state(self) -> State:
        """The environment's state, NumPy arrays; nothing is seen."""
        level = read_level(self.env, self.task, self.marks)
        return State(
            level.cells, np.zeros(level.cells.shape, bool), level.agent, np.uint8(carried(self.env)),
            np.full(2, -1, np.int8),
            mission=level.mission, targets=level.targets, carried_targets=self.marks.carried(self.env),
        )  # fmt: skip

    def step(self, action: int) -> tuple[float, bool]:
        """Takes a step of Farama's, keeps it as a transition; its reward and whether it ended the episode."""
        before, t, front = self.state(), self.env.step_count, np.asarray(self.env.front_pos, np.int32)
        _, reward, ended, _, _ = self.env.step(action)
        after = self.state()
        ahead, ahead_after = (state.cells[tuple(front)] for state in (before, after))
        self.transitions.append(
            Transition(before, np.int32(action), after, np.int32(t), front, ahead, ahead_after)  # pyright: ignore
        )
        self.rewards.append(float(reward))
        self.ended.append(ended)
        return float(reward), ended

    def judged(self) -> tuple[np.ndarray, np.ndarray]:
        """What the task's success and failure say of each step, `bool[n]` each."""
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *self.transitions)
        success, failure = jax.jit(jax.vmap(lambda t: (self.task.success(t), self.task.failure(t))))(stacked)
        return np.asarray(success), np.asarray(failure)
