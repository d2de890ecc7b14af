"""A task as a navix environment: `navix.make("L4T-SimpleDoorKey-v0")`.

Device module. The trainer calls `GridTask.transition` on bare states (no autoreset, no rendering); `reset` and `step`
are navix's own interface to it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import navix
from flax import struct
from navix import observations as navix_observations
from navix.environments.environment import Environment, StepType, Timestep
from navix.spaces import Continuous, Discrete

from l4t_jax import kernels
from l4t_jax.envs import dynamics, visibility
from l4t_jax.envs.cells import (
    DOOR_LOCKED,
    DOOR_OPEN,
    GOAL,
    KEY,
    LAVA,
    LEFT,
    NUM_ACTIONS,
    PICKUP,
    TOGGLE,
    WALL,
    colour_of,
    kind_of,
)
from l4t_jax.envs.state import Layout, MemoryMap, State, as_observation
from l4t_jax.envs.success import goal_reached, lava_entered
from l4t_jax.envs.task import DOORS, Task

if TYPE_CHECKING:
    from navix.states import State as NavixState


class Outcome(struct.PyTreeNode):
    """What a step led to (no batch axis).

    Attributes:
        reward: `float32[]`: `1 - 0.9 * (t + 1) / max_steps` on success, the task's penalty on failure, else 0.
        success: `bool[]` the step ended the episode well.
        terminated: `bool[]` the episode ended by itself.
        truncated: `bool[]` the episode reached its last step. Both may hold; for learning, termination wins.
    """

    reward: jax.Array
    success: jax.Array
    terminated: jax.Array
    truncated: jax.Array


class TaskState(struct.PyTreeNode):
    """The `state` of a `GridTask`'s timestep.

    Attributes:
        key: random key for the next autoreset.
        env_state: the true state.
        cache: navix's rendering cache, None unless it was passed to `reset`.
    """

    key: jax.Array
    env_state: State
    cache: Any = None


class GridTask(Environment):
    """A `Task` as a navix environment: `navix.make("L4T-SimpleDoorKey-v0")`.

    It keeps navix's interface (`reset`, `step` with deferred autoreset, `Timestep`, spaces) and runs MiniGrid's rules.
    `observation_fn` is `known_map` by default; navix's own observation functions work too, on `to_navix(state)`.
    `reward_fn`, `termination_fn`, `transitions_fn` and `action_set` are not used: the task decides all four.
    """

    # flax's `field` has no types.
    task: Task = struct.field(pytree_node=False, kw_only=True)  # pyright: ignore[reportUnknownVariableType]
    kernel: kernels.Kernels = struct.field(  # pyright: ignore[reportUnknownVariableType]
        pytree_node=False, kw_only=True, default=kernels.PORTABLE
    )

    @classmethod
    def create(  # pyright: ignore[reportIncompatibleMethodOverride] (navix's takes its settings one by one)
        cls, task: Task, observation_fn: Callable[..., Any] | None = None, **kwargs: Any
    ) -> GridTask:
        """Builds the environment.

        Args:
            task: what it runs.
            observation_fn: `TaskState` -> observation, or one of `navix.observations`; None is `known_map`.
            **kwargs: navix's further settings (`max_steps`, `gamma`, `disable_autoreset`, `observation_space`).
        """
        if observation_fn is None:
            observation_fn = known_map
            kwargs.setdefault(
                "observation_space", Discrete.create(256, shape=(task.width, task.height, 4), dtype=jnp.uint8)
            )
        elif getattr(observation_fn, "__module__", None) == navix_observations.__name__:
            kwargs.setdefault("observation_space", cls._get_obs_space_from_fn(task.width, task.height, observation_fn))
            observation_fn = _OnNavixState(observation_fn)
        kwargs.setdefault("max_steps", task.max_steps)
        kwargs.setdefault(
            "reward_space",
            Continuous.create(shape=(), minimum=jnp.float32(min(task.penalty, 0.0)), maximum=jnp.float32(1)),
        )
        env = super().create(height=task.height, width=task.width, observation_fn=observation_fn, task=task, **kwargs)
        return cast(GridTask, env)

    def initial(self, key: jax.Array) -> State:
        """The state at the start of an episode, on a level drawn with `key`."""
        return self.begin(self.task.layout(key))

    def begin(self, layout: Layout) -> State:
        """The state at the start of an episode on a given level, the first view seen."""
        state = dynamics.start(layout)
        if self.task.before_step is not None:
            state = state.replace(last_seen=jnp.zeros_like(state.cells))
        return self._look(state)

    def _look(self, state: State) -> State:
        return visibility.look(state, self.task.view, self.task.see_through, self.kernel)

    def observe(self, state: State) -> MemoryMap:
        """What the agent knows: what teachers read, and students unless they ask for another observation."""
        return visibility.know(state)

    def transition(
        self, state: State, t: jax.Array, action: jax.Array, key: jax.Array | None = None
    ) -> tuple[State, Outcome]:
        """One step of one environment, without autoreset: what the trainer runs.

        Args:
            state: before the action.
            t: `int32[]` steps taken before this one in the episode.
            action: `int32[]` one of the task's actions.
            key: random key of the step; only tasks with `before_step` need one.

        Returns:
            The next state and what the step led to.
        """
        task = self.task
        before = None
        if task.before_step is not None:
            if key is None:
                raise ValueError(f"things of {task.name} move by themselves, so a step needs a random key")
            before, state = state, task.before_step(key, state)
        step = self.kernel.once(dynamics.act(state, self._meant(action), t, before))
        next_state = self._look(step.next_state)
        success = task.success(step)
        failure = task.failure(step)
        ends = success | failure | goal_reached(step) | lava_entered(step)
        steps = t + 1
        won = 1.0 - 0.9 * (steps.astype(jnp.float32) / self.max_steps)
        reward = jnp.where(success, won, 0.0 if task.penalty == 0 else jnp.where(failure, task.penalty, 0.0))
        outcome = Outcome(reward, success, ends, steps >= self.max_steps)
        # Else XLA steps the environment anew for everything that reads it: the next map, the reset, the episode's end.
        return self.kernel.once((next_state, outcome))

    def _meant(self, action: jax.Array) -> jax.Array:
        """The action of MiniGrid's seven that the task takes an action for."""
        if self.task.num_actions < NUM_ACTIONS:
            action = jnp.where(action >= self.task.num_actions, LEFT, action)
        return jnp.where(action == PICKUP, TOGGLE, action) if self.task.pickup_toggles else action

    def _reset(self, key: jax.Array, cache: Any = None) -> Timestep:
        layout_key, state_key = jax.random.split(key)
        # Any: a TaskState takes the place of navix's own State.
        state = cast(Any, TaskState(key=state_key, env_state=self.initial(layout_key), cache=cache))
        return Timestep(
            t=jnp.int32(0),
            observation=self.observation_fn(state),
            action=jnp.int32(-1),
            reward=jnp.float32(0),
            step_type=StepType.TRANSITION.astype(jnp.int32),
            state=state,
            info={"return": jnp.float32(0)},
        )

    def reset(self, key: jax.Array, cache: Any = None) -> Timestep:
        """Starts a new episode; see navix. Every leaf has the dtype it has after `step`, so `step` compiles once."""
        return self._reset(key, cache)

    def _step(self, timestep: Timestep, action: jax.Array) -> Timestep:
        action = jnp.asarray(action, jnp.int32)
        state = cast(Any, timestep.state)  # a TaskState, see `_reset`
        next_key, step_key = jax.random.split(state.key) if self.task.before_step else (state.key, None)
        env_state, outcome = self.transition(state.env_state, timestep.t, action, step_key)
        state = state.replace(env_state=env_state, key=next_key)
        step_type = jnp.where(
            outcome.terminated,
            StepType.TERMINATION,
            jnp.where(outcome.truncated, StepType.TRUNCATION, StepType.TRANSITION),
        )
        return Timestep(
            t=timestep.t + 1,
            observation=self.observation_fn(state),
            action=action,
            reward=outcome.reward,
            step_type=step_type.astype(jnp.int32),
            state=state,
            info={**timestep.info, "return": timestep.info["return"] + outcome.reward},
        )


def known_map(state: TaskState) -> jax.Array:
    """The default observation: the map with memory, `uint8[W, H, 4]` (see `types.as_observation`)."""
    return as_observation(visibility.know(state.env_state))


@dataclasses.dataclass(frozen=True)
class _OnNavixState:
    """Lets one of navix's observation functions read a `TaskState`."""

    function: Callable[[NavixState], jax.Array]

    def __call__(self, state: TaskState) -> jax.Array:
        return self.function(to_navix(state.env_state, state.key))


def to_navix(state: State, key: jax.Array) -> NavixState:
    """The state as navix's own `State`, for its observation and rendering functions.

    navix holds a fixed number of entities; cells without one are placed on its discard pile. It knows no unlocked,
    closed door without a key: such a door `requires` -1.
    """
    from navix.components import DISCARD_PILE_COORDS, EMPTY_POCKET_ID
    from navix.entities import Door, Entity, Goal, Key, Lava, Player
    from navix.rendering.cache import RenderingCache
    from navix.states import State as NavixState

    cells = state.cells.T  # [H, W], as navix has it
    kind, colour = kind_of(cells), colour_of(cells)
    rows, cols = jnp.meshgrid(jnp.arange(cells.shape[0]), jnp.arange(cells.shape[1]), indexing="ij")
    places = jnp.stack([rows, cols], axis=-1).reshape(-1, 2)

    def lying(*kinds: int) -> tuple[jax.Array, jax.Array]:
        """Positions of up to four cells of `kinds`, the rest on the discard pile, and their flat indices."""
        hit = jnp.isin(kind, jnp.asarray(kinds, jnp.uint8)).reshape(-1)
        flat = jnp.nonzero(hit, size=4, fill_value=hit.size)[0]
        found = flat < hit.size
        flat = jnp.where(found, flat, 0)
        return jnp.where(found[:, None], places[flat], DISCARD_PILE_COORDS), flat

    key_at, key_flat = lying(KEY)
    door_at, door_flat = lying(*DOORS)
    goal_at, _ = lying(GOAL)
    lava_at, _ = lying(LAVA)
    door_kind = kind.reshape(-1)[door_flat]
    ids = 1 + colour.reshape(-1).astype(jnp.int32)
    pocket = jnp.where(
        state.carrying == 0, EMPTY_POCKET_ID, 1 + colour_of(state.carrying).astype(jnp.int32)
    )  # one id a colour: that is what a door compares
    player = Player.create(
        position=state.agent[1::-1].astype(jnp.int32),
        direction=state.agent[2].astype(jnp.int32),
        pocket=pocket,
    )
    entities: dict[str, Entity] = {
        "player": jax.tree.map(itemgetter(None), player),
        "key": Key.create(position=key_at, colour=colour.reshape(-1)[key_flat], id=ids[key_flat]),
        "door": Door.create(
            position=door_at,
            requires=jnp.where(door_kind == DOOR_LOCKED, ids[door_flat], -1),
            colour=colour.reshape(-1)[door_flat],
            open=door_kind == DOOR_OPEN,
        ),
        "goal": Goal.create(position=goal_at, probability=jnp.ones(4)),
        "lava": Lava.create(position=lava_at),
    }
    grid = jnp.where(kind == WALL, -1, 0)
    return NavixState(key=key, grid=grid, cache=RenderingCache.init(grid), entities=entities)


def make_env(task: Task, **kwargs: Any) -> GridTask:
    """The task's navix environment; keyword arguments go to `GridTask.create`."""
    return GridTask.create(task=task, **kwargs)


def register_with_navix(task: Task) -> None:
    """Makes `navix.make("L4T-NAME-v0")` build the task; as ever with navix, registering again replaces."""
    for name in task.versioned_names:
        navix.register_env(f"L4T-{name}", functools.partial(make_env, task))
