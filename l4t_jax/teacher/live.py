"""A teacher that is asked during training, for tasks with too many symbolic states to ask about all of them first.

Host module. After each block of updates, `LiveTeacher.meet` gets the states that were met. It asks about the new ones
and puts the answers into a table. The table's shape never changes, so nothing is compiled again. A state without a
usable answer so far gives no guidance; the metric `unguided` counts such steps. With a log (`follow`), a run that was
killed goes on with the same answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np

from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.errors import BudgetSpent
from l4t_jax.skills.plan_codes import NOOP_CODE
from l4t_jax.teacher import file
from l4t_jax.teacher.backends import BackendError
from l4t_jax.teacher.cache import CacheError
from l4t_jax.teacher.grammar import situation
from l4t_jax.teacher.live_log import Block, LiveLog
from l4t_jax.teacher.parser import MOST_STEPS
from l4t_jax.teacher.policy import TeacherTable
from l4t_jax.teacher.recording import Asker, made, summary

MOST_IDS = 1 << 17  # rows of the table, known or not: 64 MiB of plans
MOST_PLANS = 16  # plans per state in the table; less probable ones are left out


Show = Callable[[int, int, int], None]  # numbers of states met, asked about and waiting


class LiveTeacher:
    """A table that grows.

    Args:
        asker: asks the LLM.

    Attributes:
        show: called with the numbers of states met, asked about and waiting, whenever they change.

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
        self._met: set[int] = set()
        self._seconds = 0.0
        self._spent = False  # the budget, in this process
        self._log: LiveLog | None = None
        self.show: Show = lambda met, asked, waiting: None

    @property
    def table(self) -> TeacherTable:
        """The table as arrays for the device, always of the same shape."""
        return TeacherTable(
            row=jnp.arange(len(self._codes), dtype=jnp.int32),
            plans=jnp.asarray(self._codes),
            probability=jnp.asarray(self._probability),
            success=jnp.float32(1),
            follow=jnp.float32(1),
            grows=True,
        )

    @property
    def content(self) -> dict[str, Any]:
        """The content of a teacher file with all answers so far."""
        return made(self.asker, list(self._entries.values()), self._seconds)

    def follow(self, log: LiveLog, blocks: int) -> None:
        """Writes a log from now on, and goes on from where it stood after its first `blocks` blocks.

        Blocks that the log has beyond these take their answers from it when they are met again.
        """
        self._log = log
        for number in range(blocks):
            block = log.blocks.get(number, Block())
            self._met.update(block.met or ())
            for state, entry in block.answers:
                self._learn(state, entry)
        ledgers = [block.ledger for _, block in sorted(log.blocks.items()) if block.ledger is not None]
        if ledgers:
            self.asker.ledger.resume(ledgers[-1])

    def meet(self, block: int, states: Iterable[int]) -> bool:
        """Asks about the met states that were not asked about yet.

        If the backend does not answer, this is reported and these states have no guidance for now. They are asked about
        again when they are met again.

        Args:
            block: number of the block of updates that met them, from 0.
            states: their ids.

        Returns:
            Whether the table changed.
        """
        states = {int(state) for state in states}
        kept = self._log.blocks.get(block, Block()) if self._log is not None else Block()
        new = sorted(states - self._met)
        self._met |= states
        start = time.monotonic()
        changed = False
        for state, entry in list(kept.answers):
            changed |= self._learn(state, entry)
        waiting = sorted(states - self._asked)
        if kept.met is None:
            changed |= self._ask(block, waiting)
            if self._log is not None:
                self._log.end(block, new, self.asker.ledger.content)
        self._seconds += time.monotonic() - start
        self.show(len(self._met), len(self._asked), len(self._met) - len(self._asked))
        return changed

    def _ask(self, block: int, waiting: list[int]) -> bool:
        """Asks about states until the backend fails. Returns whether the table changed."""
        changed = False
        for state in waiting if not self._spent else ():
            asked = situation(self.task, state)
            entry = None
            if asked.state not in self._entries:
                try:
                    entry = self.asker.state(asked)
                except (BackendError, CacheError) as error:
                    self._spent = isinstance(error, BudgetSpent)
                    self.asker.report(f"no guidance yet where {asked.state.sentence} {error}")
                    break
                self.asker.report(f"{asked.state.sentence} {summary(entry)}")
            if self._log is not None:
                self._log.answer(block, state, entry, self.asker.ledger.content)
            changed |= self._learn(state, entry)
            self.show(len(self._met), len(self._asked), len(self._met) - len(self._asked))
        return changed

    def _learn(self, state: int, entry: dict[str, Any] | None) -> bool:
        """Puts the answer for a state into the table; None is that of a state with the same sentence."""
        asked = situation(self.task, state)
        if entry is not None:
            self._entries[asked.state] = entry
        self._asked.add(state)
        self._met.add(state)
        (plans,) = file.to_rows(self.task, {"states": [self._entries[asked.state]]}, [state]).values()
        best = sorted(plans, key=lambda plan: -plan[0])[:MOST_PLANS]
        total = sum(p for p, _ in best)
        for slot, (p, steps) in enumerate(best):
            self._codes[state, slot, : len(steps)] = steps[:MOST_STEPS]
            self._probability[state, slot] = p / total
        return bool(best)
