"""What a student observes, and the registry of observations.

Device module. The teacher, and the skills that options are made of, read the memory map (`envs.visibility.know`). A
student reads what its `Observation` makes of the environment's state:

- `map`: the same memory map, all that was seen in this episode; the default.
- `view`: MiniGrid's own partial view, what is seen now and nothing of before, as a map in the agent's own frame; for a
  recurrent student. It holds no `targets`: those may tell what the real agent could not know (in MiniGrid's Memory,
  which object matches). What the mission asks for stands in the mission alone.

To add an observation, write a pure function and `register_observation(Observation(NAME, FUNCTION))`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import COLOURS
from l4t_jax.envs.navix import GridTask
from l4t_jax.envs.state import MemoryMap, State, from_observation
from l4t_jax.envs.task import DOORS, Role, Task
from l4t_jax.envs.visibility import know, see
from l4t_jax.extensions import Registry
from l4t_jax.kernels import Kernels


def _same(task: Task) -> Task:
    return task


@dataclasses.dataclass(frozen=True)
class Observation:
    """What a student observes of the state of its environment.

    Attributes:
        name: as in `Config(observation=NAME)`.
        observe: the task, the state of one environment, and how to compute -> what the student's network reads: a
            pytree of arrays. It is pure and jittable, and must tell no more than the agent may know. What it gives is
            kept for every step of a rollout, so small numbers are best kept as `uint8`. Students that name no
            observation of their own read any that is a `MemoryMap`.
        network_task: the task -> the task as the student's network is told it: `width` and `height` of the maps that
            it reads, and the `objects` that it tells apart.
        pose: of observations that are maps: the task -> x, y and direction of the agent, where they are the same in
            all of them.
    """

    name: str
    observe: Callable[[Task, State, Kernels], Any]
    network_task: Callable[[Task], Task] = _same
    pose: Callable[[Task], tuple[int, int, int]] | None = None

    def of(self, env: GridTask) -> Callable[[State], Any]:
        """The observation as a function of the states of many environments, one leading axis."""
        return jax.vmap(lambda state: self.observe(env.task, state, env.kernel))

    def template(self, env: GridTask) -> Any:
        """The shapes and dtypes of one environment's observation."""

        def observed(key: jax.Array) -> Any:
            return self.observe(env.task, env.initial(key), env.kernel)

        return jax.eval_shape(observed, jax.random.key(0))

    # Maps as plain arrays, for students outside a run: MiniGrid's object, colour and state of each cell.

    def as_arrays(self, template: Any) -> Any:
        """The plain form of an observation, as shapes and dtypes.

        A map is `uint8[W, H, 4]`: object, colour, state, and 4 but at the agent's cell its direction; `uint8[W, H, 3]`
        where `pose` says where the agent is. Where there is a mission, it is a dict: `map`, `mission`, and if the map
        has them `targets` and `carried_targets`. Other observations are their own plain form.

        Args:
            template: see `template`.
        """
        if not isinstance(template, MemoryMap):
            return template
        planes = 4 if self.pose is None else 3
        array = jax.ShapeDtypeStruct((*template.cells.shape, planes), jnp.uint8)
        further = {name: getattr(template, name) for name in FURTHER if getattr(template, name) is not None}
        return dict(map=array, **further) if further else array

    def from_arrays(self, task: Task, template: Any, arrays: Any) -> Any:
        """An observation from its plain form (`as_arrays`); leading axes are batch axes.

        Args:
            task: that is played.
            template: see `template`.
            arrays: its plain form.
        """
        if not isinstance(template, MemoryMap):
            return arrays
        parts = cast(dict[str, Any], arrays) if isinstance(arrays, dict) else dict(map=arrays)
        further = {name: parts[name] for name in FURTHER if name in parts}
        array = jnp.asarray(parts["map"]).astype(jnp.uint8)
        *batch, width, height, _ = array.shape
        if self.pose is not None:
            x, y, direction = self.pose(task)
            plane = jnp.full((width, height, 1), 4, jnp.uint8).at[x, y].set(direction)
            array = jnp.concatenate([array, jnp.broadcast_to(plane, (*batch, *plane.shape))], axis=-1)
        return from_observation(array, jnp.full((*batch, 2), -1, jnp.int8)).replace(**further)


FURTHER = ("mission", "targets", "carried_targets")  # what a map has beside its cells where the task has a mission


def _map(task: Task, state: State, kernel: Kernels) -> MemoryMap:
    return know(state)


def _view(task: Task, state: State, kernel: Kernels) -> MemoryMap:
    return see(state, task.view, task.see_through, kernel)


def _told_apart(objects: tuple[Role, ...]) -> tuple[Role, ...]:
    """Objects without targets: in place of one that a target marks, its kinds in every colour that it may have."""
    found: dict[str, Role] = {}
    for role in objects:
        if role.target is None:
            found[role.name] = dataclasses.replace(role, needs=None)
            continue
        doors = set(role.kinds) & set(DOORS)
        colours = range(len(COLOURS)) if role.colour is None else (role.colour,)
        for kinds in [role.kinds] if doors else [(kind,) for kind in role.kinds]:
            for colour in colours:
                name = f"{COLOURS[colour]} {' '.join(map(str, kinds))}"
                found[name] = Role(name, kinds, colour)
    return tuple(found.values())


def _view_task(task: Task) -> Task:
    return dataclasses.replace(task, width=task.view, height=task.view, objects=_told_apart(task.objects))


MAP = Observation("map", _map)
VIEW = Observation("view", _view, _view_task, lambda task: (task.view // 2, task.view - 1, 3))

_OBSERVATIONS = Registry[Observation]("observation")


def register_observation(observation: Observation) -> None:
    """Makes an observation available by its name; one that the same file of a user's registered before is replaced.

    Raises:
        ValueError: there is another observation of this name.
    """
    _OBSERVATIONS.add(observation.name, observation)


def observation_names() -> list[str]:
    """Names of all registered observations, in the order of their registration."""
    return list(_OBSERVATIONS)


def get_observation(name: str) -> Observation:
    """The observation of a name.

    Raises:
        ConfigError: there is none; the message names all there are.
    """
    return _OBSERVATIONS.named(name)


register_observation(MAP)
register_observation(VIEW)
