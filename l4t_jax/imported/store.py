"""Pools of levels on disk: one file each, with its levels, what its task is, and a hash of both.

Host module. A file is NumPy's npz, written whole or not at all, named ID@HASH.npz; its `facts` are JSON. A file that
is damaged, or is none of these, is refused by `read` and passed over by `newest`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from l4t_jax.envs import Layout, Task
from l4t_jax.envs.pools import LevelPool
from l4t_jax.errors import CannotImport, ConfigError
from l4t_jax.files import dumps, write_whole
from l4t_jax.imported.building import Facts, task_of

FORMAT, VERSION = "l4t-levels", 1
BESIDE = ("proven", "drawn", "asked", "source")  # facts that say how a pool came to be
SHOWN = 8  # hex digits of a hash in a task's name


def folder() -> Path:
    """Where pools are kept: `$L4T_LEVELS`, or the user's cache folder."""
    own = os.environ.get("L4T_LEVELS")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "l4t_jax" / "levels"


def safe(gym_id: str) -> str:
    """An id as part of a file's name."""
    return re.sub(r"[^\w.+-]", "_", gym_id)


def digest(facts: Facts, levels: Layout) -> str:
    """A hash of all that decides the task, levels and rules, 64 hex digits."""
    deciding = {name: value for name, value in dataclasses.asdict(facts).items() if name not in BESIDE}
    found = hashlib.sha256(dumps(deciding).encode())
    for name, leaf in levels._asdict().items():
        if leaf is not None:
            found.update(f"{name} {leaf.dtype} {leaf.shape}".encode())
            found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def name_of(facts: Facts, whole: str) -> str:
    """The task's name: it says which levels it has."""
    return f"{safe(facts.id)}@{whole[:SHOWN]}"


def content(facts: Facts, levels: Layout) -> bytes:
    """A pool as the bytes of its file."""
    whole = digest(facts, levels)
    head = dict(format=FORMAT, version=VERSION, sha256=whole, facts=dataclasses.asdict(facts))
    out = io.BytesIO()
    arrays: Any = {name: leaf for name, leaf in levels._asdict().items() if leaf is not None}
    np.savez_compressed(out, facts=np.frombuffer(dumps(head).encode(), np.uint8), **arrays)
    return out.getvalue()


def write(facts: Facts, levels: Layout) -> Task:
    """Keeps a pool; the task.

    Raises:
        ConfigError: it cannot be written.
    """
    whole = digest(facts, levels)
    path = folder() / f"{name_of(facts, whole)}.npz"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content(facts, levels))
    except OSError as error:
        raise ConfigError(f"the levels of {facts.id} cannot be kept in {path.parent}: {error.strerror}") from error
    return task_of(facts, LevelPool(levels, whole), name_of(facts, whole))


def read(path: Path) -> tuple[Facts, Task]:
    """A pool from its file.

    Raises:
        CannotImport: it cannot be read, is no such file, or is damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        content = json.loads(arrays.pop("facts").tobytes())
        if content["format"] != FORMAT or content["version"] != VERSION:
            raise CannotImport(f"{path} holds levels of another version ({content['version']})")
        values = content["facts"]
        facts = Facts(**{**values, "mission": tuple(tuple(place) for place in values["mission"])})
        levels = Layout(**arrays)
        if digest(facts, levels) != content["sha256"]:
            raise CannotImport(f"{path} is damaged: its levels are not those that were written")
        return facts, task_of(facts, LevelPool(levels, content["sha256"]), name_of(facts, content["sha256"]))
    except OSError as error:
        raise CannotImport(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, (CannotImport, ConfigError)):
            raise
        raise CannotImport(f"{path} holds no pool of levels, or is damaged") from error


def newest(gym_id: str, source: str) -> tuple[Facts, Task] | None:
    """The pool of an environment that was written last, from files as they are now; None if none is kept."""
    name = safe(gym_id)
    paths = [path for path in folder().glob("*@*.npz") if path.name.rpartition("@")[0] == name]
    for path in sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True):
        try:
            facts, task = read(path)
        except ConfigError:
            continue
        if facts.id == gym_id and facts.source == source:
            return facts, task
    return None


def named(name: str) -> tuple[Facts, Task]:
    """The task of that name, with the levels that the name says.

    Raises:
        CannotImport: they are not kept any more, or damaged.
    """
    path = folder() / f"{name}.npz"
    if not path.is_file():
        raise CannotImport(
            f"the levels of {name} are not in {path.parent}; a run goes on, and is evaluated, on the levels that it "
            "began with, so bring that file back"
        )
    facts, task = read(path)
    if task.name != name:
        raise CannotImport(f"{path} holds the levels of {task.name}")
    return facts, task
