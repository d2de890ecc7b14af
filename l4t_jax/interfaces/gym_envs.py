"""The tasks as Gymnasium environments: `gymnasium.make("l4t_jax/KeyCorridorS3R3-v0")`, and many side by side.

Host module, needs gymnasium. `import l4t_jax` is enough for the ids to be there; `gymnasium.make_vec(ID, num_envs=N)`
makes the vector environment, which runs all N in one compiled program.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from l4t_jax.envs import GridTask, Task, get_task
from l4t_jax.envs.levels import in_split
from l4t_jax.envs.navix import Outcome, make_env
from l4t_jax.envs.state import State, as_observation
from l4t_jax.envs.visibility import know
from l4t_jax.errors import ConfigError

Split = Literal["training", "validation", "test"]
METADATA = {"render_modes": ["rgb_array"], "render_fps": 10}


def observation_space(task: Task) -> spaces.Dict:
    """What an agent is shown.

    `image` is the map with memory, `uint8[W, H, 4]`, x first: object, colour, state (MiniGrid's numbers, 0 where never
    seen in this episode) and direction (4 but at the agent's cell). `mission` holds the values of a mission that is
    drawn with the level, see `Task.mission`; other tasks have none.
    """
    shown: dict[str, spaces.Space] = {"image": spaces.Box(0, 255, (task.width, task.height, 4), np.uint8)}
    if task.mission is not None:
        shown["mission"] = spaces.MultiDiscrete(np.array(task.mission.sizes), dtype=np.int64)
    return spaces.Dict(shown)


def _observed(state: State) -> dict[str, jax.Array]:
    memory = know(state)
    shown = {"image": as_observation(memory)}
    if memory.mission is not None:
        shown["mission"] = memory.mission
    return shown


def _as_shown(observed: dict[str, Any]) -> dict[str, np.ndarray]:
    return {
        name: np.array(value, np.int64 if name == "mission" else np.uint8) for name, value in observed.items()
    }  # fmt: skip


def _draw(env: GridTask, split: Split | None, key: jax.Array) -> State:
    """A state at the start of an episode, on a level of the split; drawn until it is one."""

    def draw(carry: tuple[jax.Array, State]) -> tuple[jax.Array, State]:
        key, again = jax.random.split(carry[0])
        return again, env.initial(key)

    first = draw((key, None))  # pyright: ignore
    if split is None:
        return first[1]
    return jax.lax.while_loop(lambda carry: ~in_split(carry[1], split, env.task), draw, first)[1]


def _checked(task: str | Task, split: Split | None, render_mode: str | None) -> Task:
    if split not in (None, "training", "validation", "test"):
        raise ConfigError(f"`split` must be training, validation, test or None, not {split!r}")
    if render_mode not in (None, *METADATA["render_modes"]):
        raise ConfigError(f"`render_mode` must be rgb_array or None, not {render_mode!r}")
    return get_task(task) if isinstance(task, str) else task


def _picture(state: State) -> np.ndarray:
    from l4t_jax.reporting import render

    one = jax.device_get(state)
    return np.asarray(render.world_image(one.cells, one.agent, one.seen, int(one.carrying)))


class TaskEnv(gym.Env):
    """A task as a Gymnasium environment; see `observation_space` for what it shows.

    Args:
        task: its name, or itself.
        render_mode: "rgb_array", or None.
        split: draw levels of this split alone; None: of all.
    """

    metadata: ClassVar[dict[str, Any]] = METADATA

    def __init__(self, task: str | Task, render_mode: str | None = None, split: Split | None = None) -> None:
        self.task = _checked(task, split, render_mode)
        self.render_mode = render_mode
        self.observation_space = observation_space(self.task)
        self.action_space = spaces.Discrete(self.task.num_actions)
        env = make_env(self.task)

        def step(state: State, t: jax.Array, action: jax.Array, key: jax.Array) -> tuple[State, Outcome, Any]:
            state, outcome = env.transition(state, t, action, key)
            return state, outcome, _observed(state)

        def begin(key: jax.Array) -> tuple[State, Any]:
            state = _draw(env, split, key)
            return state, _observed(state)

        self._step, self._begin = jax.jit(step), jax.jit(begin)
        self._state: Any = None
        self._t = 0

    @property
    def mission(self) -> str:
        """The mission of the episode in MiniGrid's words."""
        drawn = self._state.mission
        return self.task.say(None if drawn is None else np.asarray(drawn).tolist())

    def _key(self) -> jax.Array:
        return jax.random.key(int(self.np_random.integers(2**31)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        with jax.enable_x64(False):
            self._state, shown = self._begin(self._key())
        self._t = 0
        return _as_shown(shown), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        with jax.enable_x64(False):
            key = self._key()
            self._state, outcome, shown = self._step(self._state, np.int32(self._t), np.int32(action), key)
        self._t += 1
        info = {"success": bool(outcome.success)}
        return _as_shown(shown), float(outcome.reward), bool(outcome.terminated), bool(outcome.truncated), info

    def render(self) -> Any:
        return _picture(self._state) if self.render_mode == "rgb_array" else None


class VectorTaskEnv(VectorEnv):
    """Many environments of a task in one compiled program.

    An environment whose episode has ended starts the next one at the following step, whose action it ignores
    (Gymnasium's next-step autoreset).

    Args:
        task: its name, or itself.
        num_envs: how many.
        render_mode: "rgb_array", or None.
        split: draw levels of this split alone; None: of all.
    """

    metadata: ClassVar[dict[str, Any]] = {**METADATA, "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self, task: str | Task, num_envs: int = 1, render_mode: str | None = None, split: Split | None = None
    ) -> None:
        self.task = _checked(task, split, render_mode)
        if num_envs < 1:
            raise ConfigError(f"`num_envs` must be at least 1, not {num_envs}")
        self.num_envs, self.render_mode = num_envs, render_mode
        self.single_observation_space = observation_space(self.task)
        self.single_action_space = spaces.Discrete(self.task.num_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        env = make_env(self.task)

        def begin(key: jax.Array) -> State:
            return jax.vmap(lambda key: _draw(env, split, key))(jax.random.split(key, num_envs))

        def step(state: State, t: jax.Array, over: jax.Array, actions: jax.Array, key: jax.Array) -> Any:
            level_key, step_key = jax.random.split(key)
            keys = jax.random.split(step_key, num_envs)
            after, outcome = jax.vmap(env.transition)(state, t, actions, keys)
            fresh = jax.lax.cond(jnp.any(over), begin, lambda _: state, level_key)
            after = jax.tree.map(lambda a, b: jnp.where(over.reshape(-1, *[1] * (a.ndim - 1)), a, b), fresh, after)
            outcome = jax.tree.map(lambda leaf: jnp.where(over, jnp.zeros_like(leaf), leaf), outcome)
            t = jnp.where(over, 0, t + 1)
            return after, t, outcome.terminated | outcome.truncated, outcome, jax.vmap(_observed)(after)

        def start(key: jax.Array) -> Any:
            state = begin(key)
            return state, jnp.zeros(num_envs, jnp.int32), jnp.zeros(num_envs, bool), jax.vmap(_observed)(state)

        self._step, self._start = jax.jit(step), jax.jit(start)
        self._state: Any = None
        self._t: Any = None
        self._over: Any = None

    def _key(self) -> jax.Array:
        return jax.random.key(int(self.np_random.integers(2**31)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        with jax.enable_x64(False):
            self._state, self._t, self._over, shown = self._start(self._key())
        return _as_shown(shown), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        with jax.enable_x64(False):
            found = self._step(self._state, self._t, self._over, np.asarray(actions, np.int32), self._key())
        self._state, self._t, self._over, outcome, shown = found
        outcome = jax.device_get(outcome)
        reward = np.array(outcome.reward, np.float64)
        info = {"success": np.array(outcome.success), "_success": np.ones(self.num_envs, bool)}
        return _as_shown(shown), reward, np.array(outcome.terminated), np.array(outcome.truncated), info

    def render(self) -> Any:
        if self.render_mode != "rgb_array":
            return None
        states = [jax.tree.map(lambda leaf, i=i: leaf[i], self._state) for i in range(self.num_envs)]
        return tuple(_picture(state) for state in states)
