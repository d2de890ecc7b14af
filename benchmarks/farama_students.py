"""`python benchmarks/farama_students.py RUN ...`: students of MiniGrid's ids on Farama's own environments.

Students are a run's, trained in JAX. They are played in JAX on held-out levels, and on levels of Farama's generator
(`reset(seed=0)`, `reset(seed=1)`, ...), of the same split. There it reads a map made of what Farama's environment shows
step by step; levels, rules, rewards and endings are Farama's. Each run gives a file `OUT/TASK.json`. Needs the extra
`minigrid`. Not for tasks whose obstacles move by themselves.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from minigrid.core.constants import DIR_TO_VEC

from l4t_jax import files, saved
from l4t_jax.envs import Task
from l4t_jax.envs.cells import PICKUP
from l4t_jax.envs.levels import in_split
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import State
from l4t_jax.evaluation import farama
from l4t_jax.evaluation.intervals import wilson
from l4t_jax.evaluation.playing import Players, choose
from l4t_jax.reporting import run_folder

AT_A_TIME = 128  # layouts tested per call


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to play."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Run folders."""
    levels: int = 300
    """Levels of Farama's for each student."""
    out: str = "benchmarks/results/ladder/farama"
    """Folder of the results."""


class Game:
    """One of Farama's environments, and what an agent knows of its episode."""

    def __init__(self, task: Task) -> None:
        self.task, self.env = task, farama.original(task)

    def reset(self, seed: int) -> None:
        self.env.reset(seed=seed)
        self.targets = farama.Targets(self.env, self.task.family)
        self.mission = farama.missions(self.task)[self.env.mission] if self.task.mission else None
        self.seen = np.zeros((self.env.width, self.env.height), bool)
        self.pickup_position = np.full(2, -1, np.int8)
        self._look()

    def step(self, action: int) -> tuple[float, bool]:
        """The reward, and whether the episode is over."""
        before = self.env.carrying
        _, reward, terminated, truncated, _ = self.env.step(action)
        if self.env.carrying is None:
            self.pickup_position[:] = -1
        elif before is None and action == PICKUP:
            self.pickup_position[:] = np.asarray(self.env.agent_pos) + DIR_TO_VEC[self.env.agent_dir]
        self._look()
        return float(reward), terminated or truncated

    def _look(self) -> None:
        env = self.env
        _, visible = env.gen_obs_grid()  # (v, v), the agent in the middle of the last row, looking up
        across, down = np.nonzero(visible)
        ahead, right = env.agent_view_size - 1 - down, across - env.agent_view_size // 2
        (fx, fy), (px, py) = DIR_TO_VEC[env.agent_dir], env.agent_pos
        x, y = px + ahead * fx - right * fy, py + ahead * fy + right * fx
        on_map = (x >= 0) & (x < env.width) & (y >= 0) & (y < env.height)
        self.seen[x[on_map], y[on_map]] = True

    def state(self) -> State:
        """NumPy arrays; what boxes hold is left out, which no student reads."""
        leaves: dict[str, Any] = dict(
            cells=farama.cells_of(self.env),
            seen=self.seen.copy(),
            agent=np.asarray([*self.env.agent_pos, self.env.agent_dir], np.int8),
            carrying=np.uint8(farama.carried(self.env)),
            pickup_position=self.pickup_position.copy(),
            mission=None if self.mission is None else np.asarray(self.mission, np.int8),
            targets=self.targets.now(self.env),
            carried_targets=self.targets.carried(self.env),
        )
        return State(**leaves)


def test_seeds(task: Task, number: int) -> list[int]:
    """The first `number` seeds of `reset` whose levels are in the test split."""
    env, game = make_env(task), farama.original(task)
    mine = jax.jit(lambda layouts: in_split(jax.vmap(env.begin)(layouts), "test", task))
    found: list[int] = []
    for first in itertools.count(0, AT_A_TIME):
        drawn = []
        for seed in range(first, first + AT_A_TIME):
            game.reset(seed=seed)
            drawn.append(farama.read_level(game, task))
        drawn = [one._replace(contents=np.zeros_like(one.cells) if one.contents is None else one.contents)
                 if any(other.contents is not None for other in drawn) else one for one in drawn]  # fmt: skip
        hit = np.asarray(mine(jax.tree.map(lambda *leaves: np.stack(leaves), *drawn)))
        found += [first + i for i, one in enumerate(hit) if one]
        if len(found) >= number:
            return found[:number]
    raise AssertionError


def play(players: Players, params: Any, key: jax.Array, seeds: list[int], greedy: bool) -> np.ndarray:
    """Success of one student on the levels of Farama's with these seeds, `bool[len(seeds)]`."""
    task, number = players.env.task, len(seeds)
    games = [Game(task) for _ in seeds]
    for game, seed in zip(games, seeds, strict=True):
        game.reset(seed)
    index = jnp.arange(number)

    @jax.jit
    def act(carry: Any, states: State, t: Any) -> tuple[Any, jax.Array]:
        _, policy = players.policy(params, key, index, greedy)
        carry, logits = policy(carry, states, jnp.broadcast_to(t == 0, (number,)))
        return carry, choose(jax.random.fold_in(key, t), index, logits, greedy)

    carry = players.policy(params, key, index, greedy)[0]
    success, live, shown = np.zeros(number, bool), set(range(number)), [game.state() for game in games]
    for t in range(task.max_steps):
        carry, actions = act(carry, jax.tree.map(lambda *leaves: np.stack(leaves), *shown), np.int32(t))
        for i in sorted(live):
            reward, over = games[i].step(int(np.asarray(actions)[i]))
            success[i] |= reward > 0
            shown[i] = games[i].state()
            if over:
                live.discard(i)
        if not live:
            break
    return success


def measure(folder: Path, levels: int) -> dict[str, Any]:
    """A run's students in both."""
    run = saved.open_run(folder, "last")
    trainer = saved.player(run)
    summary = run_folder.read(folder / run_folder.SUMMARY)
    task = trainer.task
    seeds = test_seeds(task, levels)
    found: dict[str, Any] = dict(task=task.name, levels=levels)
    for name, greedy in (("sampled", False), ("greedy", True)):
        each = []
        for i, key in enumerate(jax.random.split(jax.random.key(0), trainer.config.num_seeds)):
            one = jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), run.params)
            each.append(play(trainer.players, one, key, seeds, greedy))
        there = np.concatenate(each)
        student = summary["heldout"]["student"]
        here = student["greedy"]["success"] if greedy else student["success"]
        trials = summary["heldout"]["levels"] * len(here)
        found[name] = dict(
            farama=float(there.mean()), farama_interval=list(wilson(float(there.sum()), there.size)),
            farama_seeds=[float(one.mean()) for one in each],
            jax=float(np.mean(here)), jax_interval=list(wilson(float(np.mean(here)) * trials, trials)),
        )  # fmt: skip
    return found


def main(settings: Settings) -> None:
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    for run in settings.runs:
        found = measure(Path(run), settings.levels)
        files.write_json(out / f"{found['task']}.json", files.strict(found))
        for name in ("sampled", "greedy"):
            one = found[name]
            print(f"{found['task']}, {name}: Farama's {one['farama']:.3f} ({one['farama_interval'][0]:.3f} to "
                  f"{one['farama_interval'][1]:.3f}), JAX {one['jax']:.3f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
