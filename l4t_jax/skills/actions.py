"""What every step of a plan would do now, for a whole batch of memory maps, with one search for all of them.

Device module: pure, jittable. A plan is then a walk over the entries of a table (`teacher.policy`).
"""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from l4t_jax.abstraction.scene import Scene
from l4t_jax.abstraction.symbolic import state_of
from l4t_jax.envs.cells import DONE
from l4t_jax.envs.state import MemoryMap
from l4t_jax.envs.task import Task
from l4t_jax.kernels import PORTABLE, Kernels
from l4t_jax.skills import objects
from l4t_jax.skills.base import Search, Skill, get_skill
from l4t_jax.skills.paths import Path, shortest_paths
from l4t_jax.skills.plan_codes import steps


class SkillActions(struct.PyTreeNode):
    """What a batch of agents could do (batch axes `*B`).

    Attributes:
        state: `int32[*B]` ids of the symbolic states.
        actions: `int32[codes, *B]` of every step in the order of `plan_codes.steps`: an action 0..6, or `SATISFIED`.
    """

    state: jax.Array
    actions: jax.Array


def skill_actions(task: Task, memory: MemoryMap, kernel: Kernels = PORTABLE, act: bool = True) -> SkillActions:
    """Symbolic states and the actions of all steps; a function of the memory maps alone.

    Args:
        task: static.
        memory: leading axes `*B`.
        kernel: how it is computed.
        act: without, only the states are found, and `actions` has no codes.
    """
    scene = Scene.of(task, memory, kernel)
    found = _Searches(scene)
    reach = {i: objects.way_to(scene, i) for i, role in enumerate(task.objects) if role.reach}
    for search in reach.values():
        found.ask(search)
    number = {role.name: i for i, role in enumerate(task.objects)}
    asked: list[tuple[Skill, int, list[Any] | None]] = []
    for skill, *names in steps(task)[1:] if act else ():
        role = number[names[0]] if names else -1
        one = get_skill(skill)
        search = one.search(scene, role)
        asked.append((one, role, None if search is None else found.ask(search)))
    found.run()

    within_reach = {i: found.path(found.ask(search)).found for i, search in reach.items()}
    state = state_of(scene, within_reach)
    if not act:
        return SkillActions(state, jnp.zeros((0, *state.shape), jnp.int32))
    actions = [jnp.full(state.shape, DONE, jnp.int32)]  # the step that does nothing
    for one, role, keys in asked:
        actions.append(one.act(scene, role, None if keys is None else found.path(keys)).astype(jnp.int32))
    return SkillActions(state, jnp.stack(actions))


def symbolic_states(task: Task, memory: MemoryMap, kernel: Kernels = PORTABLE) -> jax.Array:
    """The ids of the symbolic states of memory maps, leading axes `*B` -> `int32[*B]`."""
    return skill_actions(task, memory, kernel, act=False).state


class _Searches:
    """Searches collected by key and run as one, the search a further batch axis."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._asked: dict[Any, Search] = {}
        self._paths: dict[Any, Path] = {}

    def ask(self, search: Search) -> list[Any]:
        """Adds a search and those that count otherwise; what they are then called, the first first."""
        keys: list[Any] = []
        asked: Search | None = search
        while asked is not None:
            keys.append(object() if asked.key is None else asked.key)
            self._asked.setdefault(keys[-1], asked)
            asked = asked.otherwise
        return keys

    def run(self) -> None:
        if not self._asked:
            return
        scene, asked = self._scene, self._asked
        passable, targets = [one.passable for one in asked.values()], [one.targets for one in asked.values()]
        paths = shortest_paths(passable, targets, scene.agent, scene.kernel, scene.packed)
        self._paths = {key: jax.tree.map(itemgetter(i), paths) for i, key in enumerate(asked)}

    def path(self, keys: list[Any]) -> Path:
        """The first path found of those searches."""
        path = self._paths[keys[-1]]
        for key in reversed(keys[:-1]):
            first = self._paths[key]
            path = jax.tree.map(partial(jnp.where, first.found), first, path)
        return path
