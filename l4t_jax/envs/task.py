"""What a task is: its layouts, when it ends, what can be named in it, and its navix environment.

Device module. A `Task` is a frozen description; `GridTask` is the navix `Environment` that runs one. The trainer calls
`GridTask.transition` on bare environments (no autoreset, no rendering); `reset` and `step` are navix's own interface
to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import navix
from flax import struct
from navix import observations as navix_observations
from navix.environments.environment import Environment, StepType, Timestep
from navix.spaces import Continuous, Discrete

from l4t_jax.envs import dynamics
from l4t_jax.envs.cells import (
    COLOURS,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    GOAL,
    GREY,
    KEY,
    LAVA,
    WALL,
    colour_of,
    kind_of,
)
from l4t_jax.envs.state import MemoryMap, State, as_observation

if TYPE_CHECKING:
    from navix.states import State

DOORS = (DOOR_OPEN, DOOR_CLOSED, DOOR_LOCKED)


@dataclasses.dataclass(frozen=True)
class Role:
    """A thing that plans can name.

    Attributes:
        name: as it stands in sentences and plans, such as "key" or "blue key".
        kinds: the kinds of cell it may be (`types.KEY`, ...).
        colour: its colour, or None where any colour will do.
        nth: which of the matching cells it is, counted in scan order (x first); 0 is the first.
        is_same_as: objects that share this word are states of one object, so at most one of them is there at a time.
    """

    name: str
    kinds: tuple[int, ...]
    colour: int | None = None
    nth: int = 0
    is_same_as: str | None = None

    @property
    def portable(self) -> bool:
        """Whether it can be carried."""
        return self.kinds == (KEY,)


Layout = tuple[jax.Array, jax.Array]


def door_opened(outcome: dynamics.Outcome) -> jax.Array:
    """Success of the paper's tasks: a toggle left the door open."""
    return outcome.door_opened


def goal_reached(outcome: dynamics.Outcome) -> jax.Array:
    """Success of MiniGrid's own tasks: the agent stepped onto the goal."""
    return outcome.reached_goal


@dataclasses.dataclass(frozen=True)
class Task:
    """A task, complete: what `register_task` takes.

    Attributes:
        name: as on the command line.
        width, height: cells of the map, walls included; at most 32 each.
        max_steps: an episode is truncated after this many steps.
        layout: a random key -> (`uint8[width, height]` cell codes, `int8[3]` the agent's x, y, direction).
        success: what an action led to -> whether the episode ends well, `bool[]`.
        objects: what plans can name; sentences name portable things first, then the others, in this order.
        view: width of the square window the agent sees, odd; MiniGrid's own is 7, the paper's 3.
        rename_colours: whether sentences speak of color1, color2, ... by first appearance instead of real colours.
        skills: names of the skills that plans may use.
        further_kinds: kinds of cell that its layouts hold beside floor, walls and objects, such as `types.LAVA`.
        description: the task in one or two sentences, as an LLM is told.
        teacher: file name of the task's own teacher among the package's, or None.
        aliases: other names for it.
    """

    name: str
    width: int
    height: int
    max_steps: int
    layout: Callable[[jax.Array], Layout]
    success: Callable[[dynamics.Outcome], jax.Array]
    objects: tuple[Role, ...]
    view: int = 7
    rename_colours: bool = False
    skills: tuple[str, ...] = ("explore", "go_to", "pick_up", "drop", "open")
    further_kinds: tuple[int, ...] = ()
    description: str = ""
    teacher: str | None = None
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (3 <= self.width <= 32 and 3 <= self.height <= 32):
            raise ValueError(
                f"task {self.name}: a map is 3 to 32 cells wide and high, not {self.width} x {self.height}"
            )
        if self.view % 2 == 0 or not 3 <= self.view <= 15:
            raise ValueError(f"task {self.name}: the view must be odd and from 3 to 15, not {self.view}")
        if self.max_steps < 1:
            raise ValueError(f"task {self.name}: max_steps must be at least 1, not {self.max_steps}")
        if len({role.name for role in self.objects}) != len(self.objects):
            raise ValueError(f"task {self.name}: two objects have the same name")

    def make(self, **kwargs: Any) -> GridTask:
        """The task's navix environment; keyword arguments go to `GridTask.create`."""
        return GridTask.create(task=self, **kwargs)


class TaskState(struct.PyTreeNode):
    """The `state` of a `GridTask`'s timestep.

    Attributes:
        key: random key for the next autoreset.
        environment: the true environment.
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

    task: Task = struct.field(pytree_node=False, kw_only=True)

    @classmethod
    def create(cls, task: Task, observation_fn: Callable | None = None, **kwargs: Any) -> GridTask:  # pyright: ignore
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
        kwargs.setdefault("reward_space", Continuous.create(shape=(), minimum=jnp.float32(0), maximum=jnp.float32(1)))
        return super().create(height=task.height, width=task.width, observation_fn=observation_fn, task=task, **kwargs)  # pyright: ignore

    def initial(self, key: jax.Array) -> State:
        """A environment at the start of an episode, on a layout drawn with `key`."""
        cells, agent = self.task.layout(key)
        return dynamics.start(cells, agent, self.task.view)

    def transition(
        self, env_state: State, t: jax.Array, action: jax.Array
    ) -> tuple[State, jax.Array, jax.Array, jax.Array]:
        """One step of one environment, without autoreset: what the trainer runs.

        Args:
            environment: the environment before the action.
            t: `int32[]` steps taken before this one in the episode.
            action: `int32[]` one of MiniGrid's seven.

        Returns:
            The next environment; the reward `float32[]`, `1 - 0.9 * (t + 1) / max_steps` on success, else 0; whether it
            terminated and whether it is truncated, `bool[]`. Both hold for an episode that ends by itself at the
            last step; for learning, termination wins.
        """
        env_state, outcome = jax.lax.optimization_barrier(dynamics.act(env_state, action))
        env_state = dynamics.look(env_state, self.task.view)
        success = self.task.success(outcome)
        steps = t + 1
        reward = jnp.where(success, 1.0 - 0.9 * (steps.astype(jnp.float32) / self.max_steps), 0.0)
        terminated = success | outcome.fell | outcome.reached_goal
        # Else XLA steps the environment anew for everything that reads it: the next map, the reset, the episode's end.
        return jax.lax.optimization_barrier((env_state, reward, terminated, steps >= self.max_steps))

    def _reset(self, key: jax.Array, cache: Any = None) -> Timestep:
        layout_key, state_key = jax.random.split(key)
        state = TaskState(key=state_key, env_state=self.initial(layout_key), cache=cache)
        return Timestep(
            t=jnp.int32(0),
            observation=self.observation_fn(state),  # pyright: ignore
            action=jnp.int32(-1),
            reward=jnp.float32(0),
            step_type=StepType.TRANSITION.astype(jnp.int32),
            state=state,  # pyright: ignore
            info={"return": jnp.float32(0)},
        )

    def reset(self, key: jax.Array, cache: Any = None) -> Timestep:
        """Starts a new episode; see navix. Every leaf has the dtype it has after `step`, so `step` compiles once."""
        return self._reset(key, cache)

    def _step(self, timestep: Timestep, action: jax.Array) -> Timestep:
        action = jnp.asarray(action, jnp.int32)
        state = timestep.state
        env_state, reward, terminated, truncated = self.transition(state.env_state, timestep.t, action)  # pyright: ignore
        state = state.replace(env_state=env_state)
        step_type = jnp.where(
            terminated, StepType.TERMINATION, jnp.where(truncated, StepType.TRUNCATION, StepType.TRANSITION)
        )
        return Timestep(
            t=timestep.t + 1,
            observation=self.observation_fn(state),
            action=action,
            reward=reward,
            step_type=step_type.astype(jnp.int32),
            state=state,
            info={**timestep.info, "return": timestep.info["return"] + reward},
        )


def known_map(state: TaskState) -> jax.Array:
    """The default observation: the map with memory, `uint8[W, H, 4]` (see `types.as_observation`)."""
    return as_observation(dynamics.know(state.env_state))


def observe(env_state: State) -> MemoryMap:
    """What students and teachers read: the same as `known_map`, one byte a cell."""
    return dynamics.know(env_state)


@dataclasses.dataclass(frozen=True)
class _OnNavixState:
    """Lets one of navix's observation functions read a `TaskState`."""

    function: Callable[[State], jax.Array]

    def __call__(self, state: TaskState) -> jax.Array:
        return self.function(to_navix(state.env_state, state.key))


def to_navix(env_state: State, key: jax.Array) -> State:
    """The environment as navix's own `State`, for its observation and rendering functions.

    navix holds a fixed number of entities; cells without one are placed on its discard pile. It knows no unlocked,
    closed door without a key: such a door `requires` -1.
    """
    from navix.components import DISCARD_PILE_COORDS, EMPTY_POCKET_ID
    from navix.entities import Door, Goal, Key, Lava, Player
    from navix.rendering.cache import RenderingCache
    from navix.states import State as NavixState

    cells = env_state.cells.T  # [H, W], as navix has it
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
        env_state.carrying == 0, EMPTY_POCKET_ID, 1 + colour_of(env_state.carrying).astype(jnp.int32)
    )  # one id a colour: that is what a door compares
    player = Player.create(
        position=env_state.agent[1::-1].astype(jnp.int32),
        direction=env_state.agent[2].astype(jnp.int32),
        pocket=pocket,
    )
    entities = {
        "player": jax.tree.map(lambda leaf: leaf[None], player),
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


def describe_code(cell: int) -> str:
    """A cell code in words, such as "yellow key": for messages and pictures."""
    names = {
        0: "unseen", 1: "empty", 2: "wall", 3: "floor", 4: "open door", 5: "key", 6: "ball", 7: "box", 8: "goal",
        9: "lava", 11: "closed door", 12: "locked door",
    }  # fmt: skip
    kind, colour = cell & 15, cell >> 4
    name = names.get(kind, f"kind {kind}")
    return f"{COLOURS[colour]} {name}" if kind in (4, 5, 6, 7, 11, 12) and colour <= GREY else name


def register_with_navix(task: Task) -> None:
    """Makes `navix.make("L4T-NAME-v0")` build the task; as ever with navix, registering again replaces."""
    for name in (task.name, *task.aliases):
        navix.register_env(f"L4T-{name}-v0", task.make)
