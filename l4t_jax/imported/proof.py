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
from l4t_jax.envs.cells import COLOURS, DIR_X, DIR_Y, EMPTY_CODE, WALL_CODE
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import State
from l4t_jax.imported.finding import because, told
from l4t_jax.imported.original import Original
from l4t_jax.imported.playing import LONGEST, Episode

ROWS = 64  # episodes compared in one call
KINDS = (
    "nothing that is seen", "nothing", "wall", "floor", "open door", "key", "ball", "box", "goal", "lava", "agent",
    "closed door", "locked door",
)  # fmt: skip


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
        return f"the agent carries {_thing(state.carrying)} and would carry {_thing(ours['carrying'])}"
    differs = np.argwhere(state.cells != ours["cells"])
    if len(differs):
        x, y = (int(value) for value in differs[0])
        return f"the cell ({x}, {y}) holds {_thing(state.cells[x, y])} and would hold {_thing(ours['cells'][x, y])}"
    return None


def _unlike(view: np.ndarray, ours: dict[str, np.ndarray], seen: np.ndarray) -> str | None:
    """What of the original's view, cell codes, is not what ours shows and has seen; None if it is. Updates `seen`.

    Args:
        view: `uint8[v, v]`, the agent in the middle of its last row, looking up.
        ours: our state.
        seen: `bool[W, H]` cells that were in the original's view before.
    """
    x, y, d = (int(value) for value in ours["agent"])
    size = len(view)
    across, down = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    ahead, right = size - 1 - down, across - size // 2
    at_x, at_y = x + ahead * DIR_X[d] - right * DIR_Y[d], y + ahead * DIR_Y[d] + right * DIR_X[d]
    inside = (at_x >= 0) & (at_x < seen.shape[0]) & (at_y >= 0) & (at_y < seen.shape[1])
    shown = np.full(view.shape, WALL_CODE, np.uint8)
    shown[inside] = ours["cells"][at_x[inside], at_y[inside]]
    shown[size // 2, size - 1] = ours["carrying"] or EMPTY_CODE
    differs = np.argwhere((view != 0) & (view != shown))
    if len(differs):
        i, j = differs[0]
        return f"its view has {_thing(view[i, j])} at ({i}, {j}) and would have {_thing(shown[i, j])}"
    lit = inside & (view != 0)
    seen[at_x[lit], at_y[lit]] = True
    differs = np.argwhere(seen != ours["seen"])
    if len(differs):
        i, j = differs[0]
        has, would = ("", "not ") if seen[i, j] else ("not ", "")
        return f"the agent has {has}seen the cell ({i}, {j}) and would {would}have"
    return None


def _pose(agent: np.ndarray) -> str:
    x, y, d = (int(value) for value in agent)
    return f"({x}, {y}) facing {('right', 'down', 'left', 'up')[d]}"


def _thing(code: Any) -> str:
    kind, colour = int(code) & 15, int(code) >> 4
    word = KINDS[kind] if kind < len(KINDS) else f"thing of kind {kind}"
    return word if kind < 2 else f"a {COLOURS[colour] if colour < len(COLOURS) else colour} {word}"
