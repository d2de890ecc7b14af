"""Keeps what navix imports for its own agents and benchmarks out of the way until somebody uses it.

navix imports wandb, distrax, rlax and matplotlib's pyplot, of which its environments use nothing: two thirds of the
time that importing it takes. While it is imported, a stand-in takes the place of each that is not there yet. navix's
modules keep the stand-ins, which look each name up in the true module; everybody else gets the true module as ever.
Imports nothing of the package.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

NAMES = ("distrax", "matplotlib", "matplotlib.pyplot", "rlax", "wandb", "wandb.util")


class StandIn(ModuleType):
    """A module that is imported when one of its names is first used.

    Until `now` is set, names are empty classes: all that navix does with them while it is imported is to annotate.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.now = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python asks of every module
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if not self.now:
            return type(name, (), {})
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def in_place() -> Iterator[None]:
    """Stand-ins in `sys.modules` for those of `NAMES` that are not imported yet, as long as the context lasts."""
    missing = [name for name in NAMES if name.partition(".")[0] not in sys.modules]
    made = {name: StandIn(name) for name in missing}
    for name, module in made.items():
        package, _, own = name.rpartition(".")
        if package:
            setattr(made[package], own, module)
    sys.modules.update(made)
    try:
        yield
    finally:
        for name, module in made.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
            module.now = True
