"""Farama's environments beside ours: a task's original, its levels in our form, and ours in its.

Host module, needs the extra `minigrid`. What a family's rules keep beside the grid (the object to pick up, the target's
place, the obstacles in their order) is read from a level's targets and written back here, and nowhere else.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401  # pyright: ignore[reportUnusedImport]  registers the ids
import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Door, WorldObj
from minigrid.minigrid_env import MiniGridEnv

from l4t_jax.envs import Layout, Task
from l4t_jax.envs import minigrid as twin
from l4t_jax.envs.cells import DOOR_CLOSED, DOOR_OPEN, EMPTY
from l4t_jax.envs.targets import PLACE
from l4t_jax.errors import ConfigError
from l4t_jax.evaluation.sights import encode_one


def make(minigrid_id: str) -> MiniGridEnv:
    """One of Farama's environments without its wrappers, not reset; several ids call themselves out of date."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gym.make(minigrid_id).unwrapped  # pyright: ignore[reportReturnType]


def original(task: Task) -> MiniGridEnv:
    """What a task is compared with: MiniGrid's environment of its id, or the paper's on Farama's package.

    Raises:
        ConfigError: there is none, or its map or view has another size.
    """
    if task.minigrid_id is not None:
        if task.minigrid_id not in gym.registry:
            raise ConfigError(f"{task.name} says that it is {task.minigrid_id}, which Farama's package does not have")
        env = make(task.minigrid_id)
    elif task.name in twin.ENVS:
        env = twin.ENVS[task.name]()
    else:
        raise ConfigError(f"{task.name} is none of MiniGrid's environments, so there is nothing to compare it with")
    theirs, ours = (env.width, env.height, env.agent_view_size), (task.width, task.height, task.view)
    if theirs != ours:
        raise ConfigError(
            "{} has a map of {} x {} cells and a view of {}, ".format(task.name, *ours)
            + "but {} one of {} x {} and a view of {}".format(task.minigrid_id or "Farama's", *theirs)
        )
    return env


# Cell codes


def code_of(cell: WorldObj | None) -> int:
    """The cell code of one of Farama's objects, or of None, where nothing is."""
    return EMPTY if cell is None else encode_one(*cell.encode())


def object_of(code: int) -> WorldObj | None:
    """The object that a cell code stands for, None for empty floor."""
    kind, colour = code & 15, code >> 4
    state = kind - (DOOR_CLOSED - 1) if kind >= DOOR_CLOSED else 0
    return WorldObj.decode(DOOR_OPEN if state else kind, colour, state)


def cells_of(env: MiniGridEnv) -> np.ndarray:
    """The grid as it is now, `uint8[W, H]` cell codes, x first."""
    return np.array([code_of(cell) for cell in env.grid.grid], np.uint8).reshape(env.height, env.width).T


def carried(env: MiniGridEnv) -> int:
    """The code of what the agent carries, 0 for nothing."""
    return 0 if env.carrying is None else code_of(env.carrying)


# Levels


@functools.cache
def missions(task: Task) -> dict[str, tuple[int, ...]]:
    """All missions of a task: the sentence, and the values that stand for it."""
    if task.mission is None:
        return {task.text: ()}
    vectors = itertools.product(*(range(size) for size in task.mission.sizes))
    return {task.mission.say(vector): vector for vector in vectors}


def read_level(env: MiniGridEnv, task: Task, targets: Targets | None = None) -> Layout:
    """The level that a Farama environment stands on, as `task.layout` would give it; NumPy arrays.

    Args:
        env: just reset, or within an episode.
        task: ours.
        targets: of the episode; of an environment that was just reset by default.

    Raises:
        ConfigError: its mission is none of the task's.
    """
    said = missions(task)
    if task.mission is not None and env.mission not in said:
        raise ConfigError(f"{task.name} has no mission that reads {env.mission!r}, as one of {_name_of(env)} does")
    inside = [code_of(cell.contains) if isinstance(cell, Box) and cell.contains else 0 for cell in env.grid.grid]
    contents = np.array(inside, np.uint8).reshape(env.height, env.width).T
    fields: dict[str, Any] = {
        "cells": cells_of(env),
        "agent": np.asarray([*env.agent_pos, env.agent_dir], np.int8),
        "mission": np.asarray(said[env.mission], np.int8) if task.mission else None,
        "targets": (targets or Targets(env, task.family)).now(env),
        "contents": contents if contents.any() else None,
    }
    return Layout(**fields)


def _name_of(env: MiniGridEnv) -> str:
    return type(env).__name__ if env.spec is None else env.spec.id


def write_level(env: MiniGridEnv, task: Task, level: Layout) -> None:
    """Starts an episode of a Farama environment on a level of the task (NumPy arrays), in place of a drawn one."""
    env.reset()  # a level is drawn even so: it clears what the last episode left
    cells = np.asarray(level.cells)
    contents = np.zeros_like(cells) if level.contents is None else np.asarray(level.contents)
    env.grid = Grid(env.width, env.height)
    for x, y in np.ndindex(cells.shape):
        thing = object_of(int(cells[x, y]))
        if thing is not None:
            env.put_obj(thing, x, y)
            if isinstance(thing, Box):
                thing.contains = object_of(int(contents[x, y])) if contents[x, y] else None
    x, y, env.agent_dir = (int(value) for value in level.agent)
    env.agent_pos = (x, y)
    env.carrying = None if level.carrying is None else object_of(int(level.carrying))
    env.mission = task.say(None if level.mission is None else np.asarray(level.mission).tolist())
    _install(env, task, level)


def _install(env: Any, task: Task, level: Layout) -> None:
    """Sets what the rules of a family look at beside the grid."""
    at, family = env.grid.get, task.family

    def place(bit: int) -> tuple[int, int]:
        x, y = np.argwhere(np.asarray(level.targets) >> bit & 1)[0]
        return int(x), int(y)

    def thing(kind: type, *colours: str) -> Any:
        found = (one for one in env.grid.grid if isinstance(one, kind))
        return next(one for one in found if not colours or one.color in colours)

    if family == "Unlock":
        env.door = thing(Door)
    elif family in ("UnlockPickup", "BlockedUnlockPickup"):
        env.obj = thing(Box)
    elif family == "KeyCorridor":
        env.obj = thing(Ball)
    elif family == "ObstructedMaze":
        env.obj = thing(Ball, "blue")
    elif family == "RedBlueDoors":
        env.red_door, env.blue_door = thing(Door, "red"), thing(Door, "blue")
    elif family == "GoToDoor":
        env.target_pos = place(0)
    elif family == "GoToObject":
        env.target_pos = place(PLACE)
    elif family == "Fetch":
        wanted = at(*place(0))
        env.targetType, env.targetColor = wanted.type, wanted.color
    elif family == "PutNear":
        env.move_pos, env.target_pos = place(0), place(PLACE)
        moved = at(*env.move_pos)
        env.move_type, env.moveColor = moved.type, moved.color
    elif family == "Memory":
        env.success_pos, env.failure_pos = (_before(place(bit), env.height) for bit in (0, 1))
    elif family == "Dynamic-Obstacles":
        env.obstacles = [at(*place(bit)) for bit in range(np.count_nonzero(np.asarray(level.targets)))]


def _before(place: tuple[int, int], height: int) -> tuple[int, int]:
    """The cell of Memory's hallway from which an object at `place` is looked at."""
    x, y = place
    return x, y - 1 if y > height // 2 else y + 1


class Targets:
    """What the mission of a Farama episode points at, taken from its first state: objects to follow, and places."""

    def __init__(self, env: Any, family: str) -> None:
        self.objects: list[tuple[Any, int]] = []
        self.places: list[tuple[Any, int]] = []
        at = env.grid.get
        if family == "GoToDoor":
            self.objects = [(at(*env.target_pos), 0)]
        elif family == "GoToObject":
            self.objects, self.places = [(at(*env.target_pos), 0)], [(env.target_pos, PLACE)]
        elif family == "Fetch":
            alike = (env.targetType, env.targetColor)
            self.objects = [(o, 0) for o in env.grid.grid if o and (o.type, o.color) == alike]
        elif family == "PutNear":
            self.objects = [(at(*env.move_pos), 0), (at(*env.target_pos), 1)]
            self.places = [(env.target_pos, PLACE)]
        elif family == "Memory":
            ends = (env.success_pos, env.failure_pos)
            away = [(x, y + (1 if y > env.height // 2 else -1)) for x, y in ends]
            cue = (1, env.height // 2 - 1)
            self.objects = [(at(*place), bit) for bit, place in enumerate([*away, cue])]
        elif family == "Dynamic-Obstacles":
            self.objects = [(ball, bit) for bit, ball in enumerate(env.obstacles)]

    def now(self, env: Any) -> np.ndarray | None:
        """`uint8[W, H]` targets as they are, or None where the family has none."""
        if not self.objects:
            return None
        targets = np.zeros((env.height, env.width), np.uint8)
        cells = {id(cell): divmod(index, env.width) for index, cell in enumerate(env.grid.grid) if cell}
        for thing, bit in self.objects:
            if id(thing) in cells:
                targets[cells[id(thing)]] |= 1 << bit
        for (x, y), bit in self.places:
            targets[y, x] |= 1 << bit
        return targets.T

    def carried(self, env: Any) -> np.ndarray | None:
        """`uint8[]` bits of the carried object, or None where the family has no targets."""
        if not self.objects:
            return None
        return np.uint8(sum(1 << bit for thing, bit in self.objects if thing is env.carrying))  # pyright: ignore
