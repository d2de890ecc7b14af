"""The teacher of one run: its name, its file's content, and the table for the device.

Host module.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from l4t_jax.teacher.live import LiveTeacher
from l4t_jax.teacher.policy import TeacherTable


@dataclasses.dataclass(frozen=True)
class RunTeacher:
    """A run's teacher.

    Attributes:
        name: in tables and summaries.
        content: of its teacher file; None without one.
        table: the same for the device.
        live: an LLM that is asked between blocks for the states that were met; None otherwise.
    """

    name: str
    content: dict[str, Any] | None = None
    table: TeacherTable | None = None
    live: LiveTeacher | None = None

    @property
    def ledger(self) -> dict[str, Any] | None:
        """What asking an LLM for its plans has cost (`teacher.ledger`); None for plans that say nothing about it."""
        content = self.content if self.live is None else self.live.content
        source = (content or {}).get("source")
        return source.get("ledger") if isinstance(source, dict) else None
