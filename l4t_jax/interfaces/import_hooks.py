"""After `import l4t_jax`, `navix.make("L4T-DoorKey-v0")` and `gymnasium.make("l4t_jax/DoorKey-v0")` know the tasks.

Neither navix nor Gymnasium is imported for that. The tasks register themselves with both when `l4t_jax.envs` is
imported, and that is done as soon as anybody imports one of the two, at once if somebody has. navix is imported without
what only its own agents use (`stand_ins`).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from l4t_jax.interfaces import stand_ins

REGISTRIES = ("navix", "gymnasium")


class _WhenOneComes(importlib.abc.MetaPathFinder):
    """Finds a module as Python does, and adds to its loading that the tasks are registered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._looking = False

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != self.name or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            self._extend(spec.loader)
        return spec

    def _extend(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # the loader is as it was
            with stand_ins.in_place() if self.name == "navix" else contextlib.nullcontext():
                execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _register(self.name)

        loader.exec_module = exec_module


def _register(name: str) -> None:
    if "l4t_jax.envs" not in sys.modules:  # else it is imported already, or just now: it is what imports navix
        importlib.import_module("l4t_jax.envs")
    elif name == "gymnasium" and "l4t_jax.envs.registry" in sys.modules:
        sys.modules["l4t_jax.envs.registry"].register_all_with_gymnasium()


def install() -> None:
    """Registers the tasks with navix and Gymnasium: now if one is imported, else as soon as it is."""
    for name in REGISTRIES:
        if name in sys.modules:
            _register(name)
        elif not any(isinstance(finder, _WhenOneComes) and finder.name == name for finder in sys.meta_path):
            sys.meta_path.insert(0, _WhenOneComes(name))
