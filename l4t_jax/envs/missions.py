"""Missions: what an episode asks for, drawn with the level, as a small vector of integers and as MiniGrid's words.

Imports nothing of the package. A mission's values are codes on the device; `Mission.say` is for the host.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True)
class Mission:
    """How a task's missions are coded and said.

    Attributes:
        fields: (name, words) of each value: value i is an index into the words of field i.
        text: the words of the drawn values -> the mission as MiniGrid says it.
    """

    fields: tuple[tuple[str, tuple[str, ...]], ...]
    text: Callable[[tuple[str, ...]], str]

    def say(self, values: Sequence[int]) -> str:
        """The mission of these values, one a field, as MiniGrid says it."""
        return self.text(tuple(words[int(value)] for value, (_, words) in zip(values, self.fields, strict=True)))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many words each field has."""
        return tuple(len(words) for _, words in self.fields)
