"""Levels as a JSON file, to keep and to share: `python -m l4t_jax.tasks export`, and the setting `levels_from`.

Host module. Version 1:

    {"format": "l4t-levels", "version": 1, "task": "KeyCorridorS3R3", "minigrid_id": "MiniGrid-KeyCorridorS3R3-v0",
     "split": "test", "size": [7, 7], "levels": [
        {"hash": "09f3a1c2", "mission": "pick up the red ball", "mission_values": [0], "agent": [3, 4, 1],
         "cells": ["52525252525252", ...]}, ...]}

`cells` has a string a column, x = 0 first, and in it two hexadecimal digits a cell from the top: the cell's code,
`kind | colour << 4` (`envs.cells`). `agent` is x, y and direction. Where the task's levels have them, `targets` and
`contents` are written as `cells` is, and `mission_values` and `carrying` as numbers. `hash` is `levels.level_hash` of
all that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import msgspec
import numpy as np

from l4t_jax import files
from l4t_jax.envs import Layout, Task, get_task
from l4t_jax.envs.cells import (
    BALL,
    BOX,
    COLOURS,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    EMPTY,
    FLOOR,
    GOAL,
    KEY,
    LAVA,
    WALL,
)
from l4t_jax.envs.levels import heldout_levels, in_split, level_hash
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import State
from l4t_jax.errors import LevelFileError, UnknownTask

FORMAT, VERSION = "l4t-levels", 1
PLACEABLE = (EMPTY, WALL, FLOOR, GOAL, LAVA, KEY, BALL, BOX, DOOR_OPEN, DOOR_CLOSED, DOOR_LOCKED)
_Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]


class _Level(msgspec.Struct, omit_defaults=True):
    hash: str
    agent: tuple[int, int, int]
    cells: list[str]
    mission: str = ""
    mission_values: list[int] | None = None
    targets: list[str] | None = None
    contents: list[str] | None = None
    carrying: _Byte = 0


class _LevelFile(msgspec.Struct):
    format: Literal["l4t-levels"]
    version: Literal[1]
    task: str
    split: Literal["validation", "test"]
    size: tuple[int, int]
    levels: Annotated[list[_Level], msgspec.Meta(min_length=1)]
    minigrid_id: str | None = None


def export(task: Task, number: int, split: Literal["validation", "test"]) -> dict[str, Any]:
    """The first `number` levels of a split, those of every evaluation, as the content of a file."""
    env = make_env(task)

    def draw() -> tuple[State, jax.Array]:
        levels = heldout_levels(env, number, split)
        return levels, level_hash(levels)

    with jax.enable_x64(False):
        levels, hashes = jax.device_get(jax.jit(draw)())

    def described(i: int) -> _Level:
        values = None if levels.mission is None else levels.mission[i].tolist()
        return _Level(
            hash=f"{int(hashes[i]):08x}",
            agent=tuple(levels.agent[i].tolist()),
            cells=_written(levels.cells[i]),
            mission=task.say(values),
            mission_values=values,
            targets=None if levels.targets is None else _written(levels.targets[i]),
            contents=None if levels.contents is None else _written(levels.contents[i]),
            carrying=int(levels.carrying[i]),
        )

    content = _LevelFile(
        format=FORMAT,
        version=VERSION,
        task=task.name,
        minigrid_id=task.minigrid_id,
        split=split,
        size=(task.width, task.height),
        levels=[described(i) for i in range(number)],
    )
    return msgspec.to_builtins(content)


def save(content: dict[str, Any], path: Path) -> None:
    """Writes a level file, whole or not at all.

    Raises:
        LevelFileError: it cannot be written.
    """
    try:
        files.write_json(path, content)
    except OSError as error:
        raise LevelFileError(f"the level file {path} cannot be written: {error.strerror or error}") from error


def load(source: str | Path) -> dict[str, Any]:
    """Reads a level file.

    Raises:
        LevelFileError: it is not there, not JSON, or not a level file of this version.
    """
    try:
        content = json.loads(files.read_text(source))
    except OSError as error:
        raise LevelFileError(f"the level file {source} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise LevelFileError(f"the level file {source} cannot be read: it is not UTF-8 or UTF-16 text") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise LevelFileError(f"the level file {source} is not JSON: {error}") from error
    try:
        msgspec.convert(content, _LevelFile)
    except msgspec.ValidationError as error:
        raise LevelFileError(f"{source} is not a level file of version {VERSION}: {_sentence(error)}") from None
    return content


def read(source: str | Path, task: Task) -> State:
    """The levels of a file as held-out levels of a task; see `load` and `to_levels`."""
    return to_levels(load(source), task, str(source))


def to_levels(content: dict[str, Any], task: Task, name: str = "the level file") -> State:
    """The levels of a file's content as held-out levels of a task: states, numpy arrays, leading axis levels.

    Args:
        content: of a level file.
        task: whose levels they are to be.
        name: of the file, for messages.

    Raises:
        LevelFileError: they are another task's, are not what their hashes say, or may have been trained on.
    """
    file = msgspec.convert(content, _LevelFile)
    try:
        whose = get_task(file.task).name
    except UnknownTask:
        whose = file.task
    if whose != task.name or file.size != (task.width, task.height):
        raise LevelFileError(
            f"{name} holds levels of {file.task} ({file.size[0]} x {file.size[1]}), not of {task.name} "
            f"({task.width} x {task.height})"
        )
    if file.split != "test":
        raise LevelFileError(f"{name} holds levels of the {file.split} split; held-out levels are of the test split")
    shape = jax.eval_shape(task.layout, jax.random.key(0))
    layouts = []
    for number, level in enumerate(file.levels):
        try:
            layouts.append(_layout(level, task, shape))
        except (ValueError, OverflowError) as error:
            raise LevelFileError(f"{name}, level {number}: {error}") from None
    with jax.enable_x64(False):
        begin = jax.jit(jax.vmap(make_env(task).begin))
        states = begin(jax.tree.map(lambda *leaves: np.stack(leaves), *layouts))
        hashes, held_out = jax.device_get((level_hash(states), in_split(states, "test", task)))
    for number, level in enumerate(file.levels):
        if f"{int(hashes[number]):08x}" != level.hash:
            raise LevelFileError(f"{name}, level {number} has changed: its hash is not {level.hash}")
        if not held_out[number]:
            raise LevelFileError(f"{name}, level {number} is not of the test split, so students may train on it")
    return jax.device_get(states)


def _layout(level: _Level, task: Task, shape: Layout) -> Layout:
    """A level of a file as the task's generator would give it.

    Raises:
        ValueError: it cannot be one, with the reason.
    """
    cells = _read(level.cells, task, "cells")
    kinds, colours = cells & 15, cells >> 4
    if not np.isin(kinds, PLACEABLE).all() or (colours >= len(COLOURS)).any():
        raise ValueError('"cells" has a code that stands for nothing')
    x, y, direction = level.agent
    if not (0 <= x < task.width and 0 <= y < task.height and 0 <= direction < 4):
        raise ValueError(f'"agent" must be x, y and direction on the map, not {list(level.agent)}')
    if kinds[x, y] not in (EMPTY, FLOOR, GOAL, DOOR_OPEN):
        raise ValueError('"agent" stands where nobody can')
    values = None if level.mission_values is None else np.array(level.mission_values, np.int8)
    sizes = () if task.mission is None else task.mission.sizes
    if (values is None) != (shape.mission is None) or any(
        not 0 <= value < size for value, size in zip(level.mission_values or (), sizes, strict=True)
    ):
        raise ValueError(f'"mission_values" must be {len(sizes)} numbers of the missions of {task.name}')
    maps = {}
    for name in ("targets", "contents"):
        given = getattr(level, name)
        if (given is None) != (getattr(shape, name) is None):
            raise ValueError(f'"{name}" {"is missing" if given is None else f"is not for levels of {task.name}"}')
        maps[name] = None if given is None else _read(given, task, name)
    return Layout(cells, np.array(level.agent, np.int8), values, **maps, carrying=np.uint8(level.carrying))  # pyright: ignore[reportArgumentType]


def _written(codes: np.ndarray) -> list[str]:
    """`uint8[W, H]` as a string a column."""
    return [column.tobytes().hex() for column in codes]


def _read(columns: list[str], task: Task, name: str) -> np.ndarray:
    if len(columns) != task.width or any(len(column) != 2 * task.height for column in columns):
        raise ValueError(f'"{name}" must be {task.width} columns of {2 * task.height} hexadecimal digits')
    try:
        return np.array([list(bytes.fromhex(column)) for column in columns], np.uint8)
    except ValueError:
        raise ValueError(f'"{name}" must be hexadecimal digits') from None


def _sentence(error: msgspec.ValidationError) -> str:
    """msgspec's message in one line: "Expected `int`, got `str` - at `$.levels[3].agent[0]`"."""
    reason, _, path = str(error).partition(" - at ")
    where = path.strip("`").removeprefix("$").removeprefix(".")
    return (f"{where}: " if where else "") + reason[:1].lower() + reason[1:].replace("`", "")
