"""The proof that a task does what its original does: the same levels and actions, every step compared.

Host module.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.envs import Layout, Task
from l4t_jax.envs.cells import EMPTY_CODE, WALL_CODE
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import State
from l4t_jax.evaluation.sights import in_words, window
from l4t_jax.imported.finding import because, told
from l4t_jax.imported.original import Original
from l4t_jax.imported.playing import LONGEST, Episode

ROWS = 64  # episodes compared in one call


@functools.partial(jax.jit, static_argnums=0)
def _replay(task: Task, levels: Layout, age: jax.Array, actions: jax.Array) -> Any:
    """Plays actions `int32[R, T]` on levels, leading axis R; what is compared, leading axes R and T (or T + 1)."""
    env = make_env(task)

    def shown(state: State) -> dict[str, jax.Array]:
        return dict(cells=state.cells, seen=state.seen, agent=state.agent, carrying=state.carrying)

    def play(level: Layout, age: jax.Array, actions: jax.Array) -> Any:
        state = env.begin(level)

        def step(state: Any, now: tuple[jax.Array, jax.Array]) -> Any:
            after, outcome = env.transition(state, *now)
            return after, (shown(after), outcome)

        _, (after, outcome) = jax.lax.scan(step, state, (age + jnp.arange(len(actions)), actions))
        return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), shown(state), after), outcome

    return jax.vmap(play)(levels, age, actions)


def prove(original: Original, task: Task, played: Sequence[Episode], levels: Layout, endings: bool = True) -> None:
    """Compares every step of an original's episodes with the task's.

    Args:
        original: for its name.
        task: what is to do the same.
        played: the episodes.
        levels: of the episodes, as the task's own are; NumPy arrays with a leading axis.
        endings: compare rewards and ends too.

    Raises:
        CannotImport: a step differs; the first that does is shown.
    """
    for at in range(0, len(played), ROWS):
        some = [*range(at, min(at + ROWS, len(played)))]
        index = [*some, *some[:1] * (ROWS - len(some))]
        batch = jax.tree.map(lambda leaf, index=index: leaf[np.array(index)], levels)
        actions = np.zeros((ROWS, LONGEST), np.int32)
        for row, i in enumerate(index):
            actions[row, : len(played[i].actions)] = played[i].actions
        ages = np.array([played[i].age for i in index], np.int32)
        shown, outcome = jax.device_get(_replay(task, batch, ages, actions))
        for row, i in enumerate(some):
            values = None if levels.mission is None else levels.mission[i]
            mine, led_to = jax.tree.map(lambda leaf, row=row: leaf[row], (shown, outcome))
            _compare(original, task, played[i], values, mine, led_to if endings else None)


def _compare(original: Original, task: Task, episode: Episode, values: Any, shown: Any, outcome: Any) -> None:
    """Raises `CannotImport` at the first step of an episode that differs."""
    mission, seen = task.say(values), np.zeros((task.width, task.height), bool)
    for t, (look, state) in enumerate(zip(episode.looks, episode.states, strict=True)):
        ours = {name: leaf[t] for name, leaf in shown.items()}
        why = _difference(look, state, ours, mission) or _unlike(look.view, ours, seen)
        if t and why is None and outcome is not None:
            paid, ended, cut = (leaf[t - 1] for leaf in (outcome.reward, outcome.terminated, outcome.truncated))
            if abs(look.reward - paid) > 1e-6:
                why = f"the reward is {look.reward:.6g} and would be {paid:.6g}"
            elif look.terminated != ended:
                why = "the episode ends and would go on" if look.terminated else "the episode goes on and would end"
            elif look.truncated != cut:
                why = f"the episode is {'' if look.truncated else 'not '}cut off and would {'' if cut else 'not '}be"
        if why is not None:
            where = f"at {told(episode, t - 1)}" if t else f"at the start of the level of seed {episode.seed}"
            random = "; its step() draws random numbers" if episode.drew else ""
            original.refuse(f"{where} {why} by the rules of MiniGrid and `{task.success}`{random}{because(original)}")


def _difference(look: Any, state: Any, ours: dict[str, np.ndarray], mission: str) -> str | None:
    """What differs between the original and ours after a step, in words; None if nothing does."""
    if look.mission != mission:
        return f"the mission is {look.mission!r} and would be {mission!r}"
    if tuple(state.agent) != tuple(ours["agent"]):
        return f"the agent is at {_pose(state.agent)} and would be at {_pose(ours['agent'])}"
    if state.carrying != ours["carrying"]:
        return f"the agent carries {in_words(state.carrying)} and would carry {in_words(ours['carrying'])}"
    differs = np.argwhere(state.cells != ours["cells"])
    if len(differs):
        x, y = (int(value) for value in differs[0])
        return f"the cell ({x}, {y}) holds {in_words(state.cells[x, y])} and would hold {in_words(ours['cells'][x, y])}"
    return None


def _unlike(view: np.ndarray, ours: dict[str, np.ndarray], seen: np.ndarray) -> str | None:
    """What of the original's view, cell codes, is not what ours shows and has seen; None if it is. Updates `seen`.

    Args:
        view: `uint8[v, v]`, by cells ahead and cells from the left.
        ours: our state.
        seen: `bool[W, H]` cells that were in the original's view before.
    """
    size = len(view)
    x, y, inside = (one[0] for one in window(ours["agent"][None], size, seen.shape))
    shown = np.where(inside, ours["cells"][x, y], WALL_CODE)
    shown[0, size // 2] = ours["carrying"] or EMPTY_CODE
    differs = np.argwhere((view != 0) & (view != shown))
    if len(differs):
        ahead, left = differs[0]
        at = f"({left}, {size - 1 - ahead})"  # as MiniGrid's image has it
        return f"its view has {in_words(view[ahead, left])} at {at} and would have {in_words(shown[ahead, left])}"
    lit = inside & (view != 0)
    seen[x[lit], y[lit]] = True
    differs = np.argwhere(seen != ours["seen"])
    if len(differs):
        i, j = differs[0]
        has, would = ("", "not ") if seen[i, j] else ("not ", "")
        return f"the agent has {has}seen the cell ({i}, {j}) and would {would}have"
    return None


def _pose(agent: np.ndarray) -> str:
    x, y, d = (int(value) for value in agent)
    return f"({x}, {y}) facing {('right', 'down', 'left', 'up')[d]}"
