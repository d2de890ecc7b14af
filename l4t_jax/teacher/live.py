"""A teacher that is asked during training, for tasks with too many symbolic states to ask about all of them first.

Host module. After each block of updates, `LiveTeacher.meet` gets the states that were met. It asks about the new ones
and puts the answers into a table. The table's shape never changes, so nothing is compiled again. A state without a
usable answer so far gives no guidance; the metric `unguided` counts such steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np

from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.skills.plan_codes import NOOP_CODE
from l4t_jax.teacher import file
from l4t_jax.teacher.backends import BackendError
from l4t_jax.teacher.cache import CacheError
from l4t_jax.teacher.grammar import situation
from l4t_jax.teacher.parser import MOST_STEPS
from l4t_jax.teacher.policy import TeacherTable
from l4t_jax.teacher.recording import Asker, made, summary

MOST_IDS = 1 << 17  # rows of the table, known or not: 64 MiB of plans
MOST_PLANS = 16  # plans per state in the table; less probable ones are left out


class LiveTeacher:
    """A table that grows.

    Args:
        asker: asks the LLM.

    Raises:
        BackendError: the task has more symbolic states than a table can hold.
    """

    def __init__(self, asker: Asker) -> None:
        self.asker, self.task = asker, asker.task
        ids = symbolic.num_states(self.task)
        if ids > MOST_IDS:
            raise BackendError(
                f"{self.task.name} has {ids:,} symbolic states, and a table can hold {MOST_IDS:,}; "
                "give the task fewer objects"
            )
        self._codes = np.full((ids, MOST_PLANS, MOST_STEPS), NOOP_CODE, np.int32)
        self._probability = np.zeros((ids, MOST_PLANS), np.float32)
        self._entries: dict[Symbolic, dict[str, Any]] = {}
        self._asked: set[int] = set()
        self._seconds = 0.0

    @property
    def table(self) -> TeacherTable:
        """The table as arrays for the device, always of the same shape."""
        return TeacherTable(
            row=jnp.arange(len(self._codes), dtype=jnp.int32),
            plans=jnp.asarray(self._codes),
            probability=jnp.asarray(self._probability),
            success=jnp.float32(1),
            grows=True,
        )

    @property
    def content(self) -> dict[str, Any]:
        """The content of a teacher file with all answers so far."""
        return made(self.asker, list(self._entries.values()), self._seconds)

    def meet(self, states: Iterable[int]) -> bool:
        """Asks about the met states that were not asked about yet.

        If the backend does not answer, this is reported and these states have no guidance for now. They are asked about
        again when they are met again.

        Returns:
            Whether the table changed.
        """
        changed = False
        start = time.monotonic()
        for state in sorted({int(state) for state in states} - self._asked):
            asked = situation(self.task, state)
            if asked.state not in self._entries:
                try:
                    self._entries[asked.state] = self.asker.state(asked)
                except (BackendError, CacheError) as error:
                    self.asker.report(f"no guidance yet where {asked.state.sentence} {error}")
                    break
                self.asker.report(f"{asked.state.sentence} {summary(self._entries[asked.state])}")
            self._asked.add(state)
            entry = self._entries[asked.state]
            (plans,) = file.to_rows(self.task, {"states": [entry]}, [state]).values()
            best = sorted(plans, key=lambda plan: -plan[0])[:MOST_PLANS]
            total = sum(p for p, _ in best)
            for slot, (p, steps) in enumerate(best):
                self._codes[state, slot, : len(steps)] = steps[:MOST_STEPS]
                self._probability[state, slot] = p / total
            changed = changed or bool(best)
        self._seconds += time.monotonic() - start
        return changed
