"""Ctrl-C and SIGTERM: the first stops a run after the current block, the second at once.

Host module.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from l4t_jax.errors import Interrupted


class Stop:
    """What Ctrl-C and SIGTERM ask a run for: the first to stop soon, the second to stop at once.

    Attributes:
        asked: the number of the first signal, None before it.
        words: what the run says if it stops now.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self.words = "stopped before training began"
        self._patient = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Signals come here. Only in the main thread: others may not set handlers."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def after_block(self, words: str) -> Iterator[None]:
        """Within, the first signal is only noted in `asked`; a second one stops at once with `words`."""
        self.words, self._patient = words, True
        try:
            yield
        finally:
            self._patient = False

    def _hear(self, number: int, frame: Any) -> None:
        if self._patient and self.asked is None:
            self.asked = number
            return
        raise Interrupted(self.words, number)
