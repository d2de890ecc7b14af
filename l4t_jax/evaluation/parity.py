"""A task beside Farama's own environment, step by step: `python -m l4t_jax.tasks check`, and the tests.

Host module, needs the extra `minigrid`. Many episodes run side by side, on levels of either side's generator, under
random, interaction-seeking and, where the task has a teacher, teacher-driven actions. Every level and every step is
compared: map, agent, what it carries, its memory map, MiniGrid's view, mission, reward, ending. The random numbers
of a step, as of moving obstacles, are Farama's, replayed here.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.envs import Layout, Task, visibility
from l4t_jax.envs.cells import (
    ACTIONS,
    DIR_X,
    DIR_Y,
    DONE,
    DROP,
    EMPTY,
    FORWARD,
    LEFT,
    NUM_ACTIONS,
    PICKUP,
    RIGHT,
    TOGGLE,
    WALL,
)
from l4t_jax.envs.families.dynamic_obstacles import moved_to
from l4t_jax.envs.navix import GridTask, make_env
from l4t_jax.envs.state import State
from l4t_jax.envs.task import DOORS, PORTABLE
from l4t_jax.errors import ConfigError
from l4t_jax.evaluation.sights import in_words, view_of, window
from l4t_jax.teacher import file
from l4t_jax.teacher.policy import teacher_output

EPISODES = 32  # side by side
LATE = 4  # of so many episodes one starts shortly before its limit, so that endings by time are met
REWARD_TOLERANCE = 1e-6
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Difference:
    """The first step of an episode that is not the same on both sides.

    Attributes:
        episode: its number.
        level: whose generator drew its level, "ours" or "Farama's".
        step: of the episode; 0 is its start, before any action.
        action: the action's name; None at the start.
        fields: what differs -> (ours, Farama's), as a person reads it.
    """

    episode: int
    level: str
    step: int
    action: str | None
    fields: dict[str, tuple[str, str]]


@dataclasses.dataclass
class Comparison:
    """What a comparison came to.

    Attributes:
        steps: that were compared.
        episodes: that were begun.
        differences: episodes with a step that differs; each is given up there.
        successes, failures, truncations: endings that both sides agreed on.
        first: the first difference.
    """

    steps: int = 0
    episodes: int = 0
    differences: int = 0
    successes: int = 0
    failures: int = 0
    truncations: int = 0
    first: Difference | None = None


def compare(task: Task, steps: int, seed: int = 0, teacher: bool = True) -> Comparison:
    """Compares a task with its original until at least `steps` steps are compared.

    Args:
        task: one of MiniGrid's, or of the paper's.
        steps: how many, over all episodes.
        seed: of levels and actions.
        teacher: whether a quarter of the episodes is driven by the task's teacher, and one by teacher and chance.

    Raises:
        ConfigError: Farama's package is not installed, or has no such environment.
    """
    try:
        from l4t_jax.evaluation import farama
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"comparing with Farama's environments needs the extra 'minigrid' (pip install 'l4t-jax[minigrid]'): "
            f"{error.name} is not installed"
        ) from error
    originals = [farama.original(task) for _ in range(EPISODES)]
    with jax.enable_x64(False):
        return _Comparing(task, originals, seed, teacher).run(steps)


class _Ours:
    """The compiled programs of a task, for `EPISODES` environments."""

    def __init__(self, task: Task, teacher: bool) -> None:
        self.task = task
        moves = task.before_step is not None
        # In place of random numbers a step gets the places that the obstacles move to.
        played = dataclasses.replace(task, before_step=lambda to, state: moved_to(state, to)) if moves else task
        env = make_env(played)
        self.draw = jax.jit(lambda key: jax.vmap(task.layout)(jax.random.split(key, EPISODES)))
        self.begin = jax.jit(jax.vmap(lambda layout: _known(env.begin(layout))))
        self.step = jax.jit(jax.vmap(functools.partial(_stepped, env)))
        self.advise: Callable[[State], jax.Array] | None = None
        if teacher and task.teacher is not None:
            table = file.to_table(task, file.shipped(task))
            self.advise = jax.jit(
                lambda state: teacher_output(task, table, jax.vmap(visibility.know)(state)).distribution
            )


def _known(state: State) -> tuple[State, jax.Array]:
    """The state, and the cells of its memory map, `uint8[W, H]`."""
    return state, visibility.know(state).cells


def _stepped(env: GridTask, state: State, t: jax.Array, action: jax.Array, to: jax.Array | None) -> Any:
    """The state after a step, its memory map, the cells in view then, `bool[W, H]`, and what the step led to."""
    state, outcome = env.transition(state, t, action, to)
    fresh = state.replace(seen=jnp.zeros_like(state.seen))
    return *_known(state), visibility.look(fresh, env.task.view, env.task.see_through, env.kernel).seen, outcome


class _Comparing:
    """A comparison under way: a row of every array is an episode."""

    def __init__(self, task: Task, originals: list[Any], seed: int, teacher: bool) -> None:
        from l4t_jax.evaluation import farama

        self.farama, self.task, self.originals = farama, task, originals
        self.ours = _Ours(task, teacher)
        self.rng = np.random.default_rng(seed)
        self.key = jax.random.key(seed)
        self.drawn: list[Layout] = []  # levels of ours that are to be played
        for number, env in enumerate(originals):
            env.reset(seed=seed * EPISODES + number)
        self.drivers = ("random", "seek", *(("teacher", "mixed") if self.ours.advise else ()))
        self.found = Comparison()
        self.episode = np.zeros(EPISODES, int)
        self.whose = [""] * EPISODES
        self.t, self.begun = np.zeros(EPISODES, np.int32), np.zeros(EPISODES, np.int32)
        self.gathered = np.zeros((EPISODES, task.width, task.height), np.uint8)  # cells as Farama's views showed them
        self.levels: list[Any] = [None] * EPISODES
        self.state: Any = None
        self.known: Any = None  # the memory maps of `state`
        self.looks: list[Any] = [None] * EPISODES  # Farama's observations

    def run(self, steps: int) -> Comparison:
        self.start(np.ones(EPISODES, bool))
        while self.found.steps < steps:
            action = self.choose()
            theirs = [env.step(int(one)) for env, one in zip(self.originals, action, strict=True)]
            to = None
            if self.task.before_step is not None:
                to = np.array([[ball.cur_pos for ball in env.obstacles] for env in self.originals], np.int32)
            self.state, self.known, now, outcome = self.ours.step(self.state, self.t, action, to)
            self.t = self.t + 1  # not in place: the program may still read the array
            self.found.steps += EPISODES
            ended = self.judge(action, now, outcome, theirs)
            if ended.any():
                self.start(ended)
        return self.found

    def start(self, rows: np.ndarray) -> None:
        """Starts episodes in these rows, `bool[N]`; a start that differs counts, and its row is started anew."""
        while rows.any():
            for row in np.flatnonzero(rows):
                self.begin_row(int(row))
            begun = self.ours.begin(jax.tree.map(lambda *leaves: np.stack(leaves), *self.levels))
            if self.state is not None:
                begun = jax.tree.map(_where(rows), begun, (self.state, self.known))
            self.state, self.known = begun
            for row in np.flatnonzero(rows):
                self.looks[row] = self.originals[row].gen_obs()
            self.gathered[rows] = 0
            rows = rows & self.compare(rows, None, self.state.seen, {}, {})

    def begin_row(self, row: int) -> None:
        """A new level in a row, of the side whose turn it is."""
        env = self.originals[row]
        if self.found.episodes % 2 == 0:
            env.reset()
            level, whose = self.farama.read_level(env, self.task), "Farama's"
        else:
            if not self.drawn:
                self.key, key = jax.random.split(self.key)
                drawn = jax.device_get(self.ours.draw(key))
                self.drawn = [jax.tree.map(operator.itemgetter(i), drawn) for i in range(EPISODES)]
            level, whose = self.drawn.pop(), "ours"
            self.farama.write_level(env, self.task, level)
        self.levels[row] = level._replace(carrying=np.uint8(0) if level.carrying is None else level.carrying)
        late = self.found.episodes % LATE == 0
        most = self.task.max_steps
        self.t[row] = self.begun[row] = self.rng.integers(max(most - 30, 0), most) if late else 0
        env.step_count = int(self.t[row])
        self.episode[row], self.whose[row] = self.found.episodes, whose
        self.found.episodes += 1

    def choose(self) -> np.ndarray:
        """An action a row, `int32[N]`."""
        state = self.state
        agents, cells = np.asarray(state.agent, int), np.asarray(state.cells)
        advice = None
        if self.ours.advise is not None:
            advice = np.asarray(self.ours.advise(state))
            advice = np.where(advice.sum(axis=1, keepdims=True) > 0, advice, 1 / NUM_ACTIONS)
        rows = np.arange(EPISODES)
        x, y = (agents[:, i] + np.asarray(step)[agents[:, 2]] for i, step in enumerate((DIR_X, DIR_Y)))
        inside = (x >= 0) & (x < cells.shape[1]) & (y >= 0) & (y < cells.shape[2])
        ahead = np.where(inside, cells[rows, x * inside, y * inside] & 15, WALL)
        chance = np.full((EPISODES, NUM_ACTIONS), 1 / NUM_ACTIONS)
        seek = _seek(ahead, np.asarray(state.carrying) != 0)
        mixed = chance if advice is None else 0.8 * advice + 0.2 * chance
        driver = self.episode % len(self.drivers)
        weights = np.stack([chance, seek, *([advice, mixed] if advice is not None else [])])[driver, rows]
        bounds = np.cumsum(weights, axis=1)
        return np.argmax(self.rng.random((EPISODES, 1)) * bounds[:, -1:] < bounds, axis=1).astype(np.int32)

    def judge(self, action: np.ndarray, now: Any, outcome: Any, theirs: list[Any]) -> np.ndarray:
        """Compares a step; which episodes are over, `bool[N]`."""
        ours = {name: np.asarray(getattr(outcome, name)) for name in ("reward", "terminated", "truncated", "success")}
        looks, *results = zip(*theirs, strict=True)
        self.looks = list(looks)
        farama = {
            name: np.array(one) for name, one in zip(("reward", "terminated", "truncated"), results, strict=False)
        }
        farama["success"] = farama["reward"] > 0
        differs = self.compare(np.ones(EPISODES, bool), action, now, ours, farama)
        same = ~differs
        self.found.successes += int((same & ours["success"]).sum())
        self.found.failures += int((same & ours["terminated"] & ~ours["success"]).sum())
        self.found.truncations += int((same & ours["truncated"]).sum())
        return differs | ours["terminated"] | ours["truncated"]

    def compare(
        self, rows: np.ndarray, action: np.ndarray | None, now: Any, ours: Arrays, theirs: Arrays
    ) -> np.ndarray:
        """Notes what differs after a step, or at the start where `action` is None; which rows differ, `bool[N]`."""
        here, there = self.ours_knows(now) | ours, self.farama_knows() | theirs
        wrong: Arrays = {}
        for name, mine in here.items():
            other = there[name]
            if name == "reward":
                wrong[name] = np.abs(mine.astype(float) - other.astype(float)) > REWARD_TOLERANCE
            else:
                wrong[name] = (mine != other).reshape(EPISODES, -1).any(axis=1)
        differs = np.any(list(wrong.values()), axis=0) & rows
        self.found.differences += int(differs.sum())
        if self.found.first is None and differs.any():
            row = int(np.argmax(differs))
            self.found.first = Difference(
                int(self.episode[row]),
                self.whose[row],
                int(self.t[row] - self.begun[row]),
                None if action is None else ACTIONS[int(action[row])],
                {name: _said(name, here[name][row], there[name][row]) for name in wrong if wrong[name][row]},
            )
        return differs

    def ours_knows(self, now: Any) -> Arrays:
        """Our side: what there is, what the agent knows and what it sees."""
        state, known = jax.device_get((self.state, self.known))
        missions = [None] * EPISODES if state.mission is None else state.mission.tolist()
        return {
            "map": state.cells,
            "agent": state.agent,
            "carrying": state.carrying,
            "memory": known,
            "view": _view(np.where(now, state.cells, 0), state.agent, self.task.view, state.carrying),
            "mission": np.array([self.task.say(mission) for mission in missions]),
        }

    def farama_knows(self) -> Arrays:
        """Farama's side. What the agent knows is gathered from the cells that its views show."""
        agents = np.array([(*env.agent_pos, env.agent_dir) for env in self.originals], np.int8)
        view = view_of(np.array([look["image"] for look in self.looks]))
        x, y, inside = window(agents, self.task.view, self.gathered.shape[1:])
        view = np.where(inside, view, 0)  # off the map it shows walls
        cells = np.stack([self.farama.cells_of(env) for env in self.originals])
        carrying = np.array([self.farama.carried(env) for env in self.originals])
        row, ahead, aside = np.nonzero(view)
        at = row, x[row, ahead, aside], y[row, ahead, aside]
        self.gathered[at] = cells[at]
        memory = self.gathered.copy()
        memory[np.arange(EPISODES), agents[:, 0], agents[:, 1]] = np.where(carrying == 0, EMPTY, carrying)
        return {
            "map": cells,
            "agent": agents,
            "carrying": carrying,
            "memory": memory,
            "view": view,
            "mission": np.array([look["mission"] for look in self.looks]),
        }


def _where(rows: np.ndarray) -> Callable[[Any, Any], Any]:
    def chosen(new: Any, old: Any) -> Any:
        return jnp.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return chosen


def _seek(ahead: np.ndarray, carries: np.ndarray) -> np.ndarray:
    """Weights of actions that meddle with what is ahead, `float[N, 7]`, from its kind and whether hands are full."""
    thing, door = np.isin(ahead, PORTABLE), np.isin(ahead, DOORS)
    logits = np.zeros((len(ahead), NUM_ACTIONS))
    logits[:, [LEFT, RIGHT, FORWARD]] = 1.5, 1.5, 3.0
    logits[:, PICKUP] = np.where(thing, 4.0, 0.0)
    logits[:, TOGGLE] = np.where(door, 4.0, np.where(thing, 1.5, 0.0))
    logits[:, DONE] = np.where(thing | door, 2.0, -2.0)
    logits[:, DROP] = np.where(carries, 1.0, 0.0)
    return np.exp(logits)


def _view(cells: np.ndarray, agents: np.ndarray, view: int, carrying: np.ndarray) -> np.ndarray:
    """MiniGrid's view of a map of which only the cells in view are shown, `uint8[N, v, v]` codes, row 0 the agent's."""
    x, y, inside = window(agents, view, cells.shape[1:])
    shown = np.where(inside, cells[np.arange(len(cells))[:, None, None], x, y], 0)
    shown[:, 0, view // 2] = np.where(carrying == 0, EMPTY, carrying)  # its own cell
    return shown


def _said(name: str, ours: np.ndarray, theirs: np.ndarray) -> tuple[str, str]:
    """A field of both sides as a person reads it; of a map or a view the first few cells that differ."""
    if ours.ndim < 2:
        return tuple(in_words(int(side)) if name == "carrying" else str(side.tolist()) for side in (ours, theirs))  # pyright: ignore
    cells = [tuple(int(v) for v in at) for at in np.argwhere(ours != theirs)[:4]]
    return tuple(", ".join(f"{at}: {in_words(int(side[at]))}" for at in cells) for side in (ours, theirs))  # pyright: ignore
