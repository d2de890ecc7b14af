"""Evaluates students, trained in JAX, on Farama's `minigrid`: `evaluate(RUN, simulator="minigrid")`.

Host module; needs the extra `minigrid`. The levels are the simulator's own: `reset(seed=0)`, `reset(seed=1)`, ... Only
levels whose layout is in the test split are played, so no student was trained on them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.envs import Layout, Task
from l4t_jax.envs.cells import DIR_X, DIR_Y, EMPTY, PICKUP, UNSEEN, encode_cells, kind_of
from l4t_jax.envs.levels import in_split
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import State, from_observation
from l4t_jax.errors import ConfigError
from l4t_jax.evaluation.playing import Episodes, Players, choose

if TYPE_CHECKING:
    from l4t_jax.envs.minigrid import KnownMapObservation

AT_A_TIME = 256  # layouts tested per call


def make(task: Task, window: bool = False) -> KnownMapObservation:
    """The task on MiniGrid.

    Args:
        task: a built-in task.
        window: show it in MiniGrid's own window.

    Raises:
        ConfigError: the extra is not installed, or MiniGrid does not have the task.
    """
    try:
        from l4t_jax.envs import minigrid
    except ModuleNotFoundError as error:
        raise ConfigError(f"`simulator=minigrid` needs the extra 'minigrid': {error.name} is not installed") from error
    if task.name not in minigrid.ENVS:
        raise ConfigError(f"{task.name} is not one of MiniGrid's; these are: {', '.join(minigrid.ENVS)}")
    return minigrid.make(task.name, render_mode="human" if window else None)


def levels(task: Task, seeds: list[int]) -> State:
    """The levels of the simulator's `reset` with these seeds, as states in JAX; leading axis `len(seeds)`."""
    env, layouts = make(task), []
    for seed in seeds:
        env.unwrapped.reset(seed=seed)
        layouts.append(env.layout())
    cells, agents = (np.stack(part) for part in zip(*layouts, strict=True))
    start = jax.vmap(lambda cells, agent: make_env(task).begin(Layout(encode_cells(cells), agent)))
    return jax.jit(start)(cells, agents.astype(np.int8))


def test_seeds(task: Task, number: int) -> list[int]:
    """The first `number` seeds of the simulator's `reset` whose layouts are in the test split."""
    mine, found = jax.jit(lambda env_states: in_split(env_states, "test", task)), []
    for first in itertools.count(0, AT_A_TIME):
        seeds = range(first, first + AT_A_TIME)
        hit = np.asarray(mine(levels(task, list(seeds))))
        found += [seed for seed, one in zip(seeds, hit, strict=True) if one]
        if len(found) >= number:
            break
    return found[:number]


class Player:
    """Plays students on `number` levels of the simulator at a time.

    Args:
        players: the students.
        number: levels at a time.
        window: show the level in MiniGrid's own window; only for `number=1`.
    """

    def __init__(self, players: Players, number: int, window: bool = False) -> None:
        task = players.env.task
        self.envs = [make(task, window) for _ in range(number)]
        self._shape, self._max_steps = (number, task.width, task.height, 4), task.max_steps

        def begin(params: Any, key: jax.Array) -> Any:
            return players.policy(params, key, jnp.arange(number), False)[0]

        def act(params: Any, key: jax.Array, greedy: Any, carry: Any, seen: Any, t: Any) -> Any:
            index = jnp.arange(number)
            _, policy = players.policy(params, key, index, greedy)
            carry, logits = policy(carry, state_of(*seen), jnp.broadcast_to(t == 0, (number,)))
            return carry, choose(jax.random.fold_in(key, t), index, logits, greedy)

        self._begin, self._act = jax.jit(begin), jax.jit(act)

    def play(self, params: Any, key: jax.Array, seeds: list[int], greedy: bool = False) -> Episodes:
        """Plays one episode per level.

        Args:
            params: of one student.
            key: random key for its actions.
            seeds: of the levels, at most `number`.
            greedy: take the most probable action.

        Returns:
            numpy arrays, leading axis `len(seeds)`.
        """
        look = np.full(self._shape, 4, np.uint8)
        look[:, 0, 0, 3] = 0  # rows without a level: an agent in a corner
        grid = np.zeros((*self._shape[:3], 3), np.uint8)
        for i, seed in enumerate(seeds):
            look[i] = self.envs[i].reset(seed=seed)[0]
            grid[i], _ = self.envs[i].layout()
        pickup_position = np.full((self._shape[0], 2), -1, np.int8)
        live = np.arange(len(seeds))
        success, reward, length = np.zeros(len(seeds), bool), np.zeros(len(seeds)), np.zeros(len(seeds), np.int32)
        carry = self._begin(params, key)
        for t in range(self._max_steps):
            carry, actions = self._act(params, key, np.bool_(greedy), carry, (grid, look, pickup_position), np.int32(t))
            actions, still = np.asarray(actions), []
            for i in live:
                before = look[i].copy()
                look[i], paid, terminated, truncated, _ = self.envs[i].step(int(actions[i]))
                grid[i], _ = self.envs[i].layout()
                pickup_position[i] = _pickup_position(before, look[i], int(actions[i]), pickup_position[i])
                success[i] |= paid > 0
                reward[i] += paid
                length[i] += 1
                if not (terminated or truncated):
                    still.append(i)
            live = np.asarray(still, int)
            if not still:
                break
        return Episodes(success=success, reward=reward.astype(np.float32), length=length)  # pyright: ignore

    def close(self) -> None:
        """Closes the window, if there is one."""
        for env in self.envs:
            env.close()


def state_of(grid: jax.Array, look: jax.Array, pickup_position: jax.Array) -> State:
    """The states of the simulator's environments, leading axis B, for tasks without a mission.

    Args:
        grid: `uint8[B, W, H, 3]` the whole grids in MiniGrid's encoding.
        look: `uint8[B, W, H, 4]` what `KnownMapObservation` shows of them.
        pickup_position: `int8[B, 2]` where carried objects lay.
    """
    memory = from_observation(look, pickup_position)
    return State(
        cells=encode_cells(grid), seen=kind_of(memory.cells) != UNSEEN, agent=memory.agent, carrying=memory.carrying,
        pickup_position=memory.pickup_position,
    )  # fmt: skip


def _pickup_position(before: np.ndarray, after: np.ndarray, action: int, pickup_position: np.ndarray) -> Any:
    """The position where the carried object was picked up (`MemoryMap.pickup_position`), from the observations
    `uint8[W, H, 4]` before and after a step.
    """
    x, y, carries = _agent(after)
    if carries == EMPTY:
        return -1
    _, _, carried = _agent(before)
    if action == PICKUP and carried == EMPTY:
        direction = int(after[x, y, 3])
        return x + DIR_X[direction], y + DIR_Y[direction]
    return pickup_position


def _agent(look: np.ndarray) -> tuple[int, int, int]:
    """The agent's x and y, and the kind of the carried object (`EMPTY` for none)."""
    x, y = divmod(int(look[..., 3].argmin()), look.shape[1])
    return x, y, int(look[x, y, 0])


def evaluate(players: Players, params: Any, key: jax.Array, number: int) -> tuple[Episodes, Episodes]:
    """Plays every student on the simulator's first `number` test levels.

    Args:
        players: the students.
        params: their parameters, leading axis seeds.
        key: random key for their actions.
        number: of levels.

    Returns:
        Episodes with sampled actions, and episodes with the most probable actions; numpy arrays, leading axes (seeds,
        number).
    """
    seeds = test_seeds(players.env.task, number)
    player = Player(players, number)
    keys = jax.random.split(key, players.seeds)

    def played(greedy: bool) -> Episodes:
        found = [player.play(_student(params, i), one, seeds, greedy) for i, one in enumerate(keys)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *found)

    return played(False), played(True)


def watch(players: Players, params: Any, key: jax.Array, number: int, told: Callable[[str], None]) -> Episodes:
    """Shows the first student on the simulator's first `number` test levels, one by one, in MiniGrid's own window.

    Args:
        players, params, key, number: see `evaluate`.
        told: called with a line about each episode's result.

    Returns:
        numpy arrays, leading axes (1, number).

    Raises:
        ConfigError: there is no display to open a window on.
    """
    import pygame

    player = Player(players, 1, window=True)
    one, found = _student(params, 0), []
    try:
        for i, seed in enumerate(test_seeds(players.env.task, number)):
            episode = player.play(one, jax.random.fold_in(key, i), [seed])
            how = "succeeded" if episode.success[0] else "failed"
            told(f"level {i + 1} (reset seed {seed}): {how} after {episode.length[0]} steps")
            found.append(episode)
    except pygame.error as error:
        raise ConfigError(
            f"`watch` needs a display to open a window on ({error}); without it, `simulator=minigrid` evaluates"
        ) from error
    finally:
        player.close()
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[None], *found)


def _student(params: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), params)
