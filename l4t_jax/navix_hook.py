"""Makes `navix.make("L4T-SimpleDoorKey-v0")` work after `import l4t_jax` alone, which does not import navix.

Imports nothing of the package until navix is there: the tasks register themselves with navix when `l4t_jax.envs` is
imported, and that is done as soon as anybody imports navix, at once if somebody has.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _WhenNavixComes(importlib.abc.MetaPathFinder):
    """Finds navix as Python does, and adds to its loading that the tasks are registered."""

    def __init__(self) -> None:
        self._looking = False

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != "navix" or self._looking:
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
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _register()

        loader.exec_module = exec_module


def _register() -> None:
    if "l4t_jax.envs" not in sys.modules:  # else it is imported already, or just now: it is what imports navix
        importlib.import_module("l4t_jax.envs")


def install() -> None:
    """Registers the tasks with navix: now if it is imported, else as soon as it is."""
    if "navix" in sys.modules:
        _register()
    elif not any(isinstance(finder, _WhenNavixComes) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenNavixComes())
