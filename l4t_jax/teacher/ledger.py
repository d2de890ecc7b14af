"""The ledger of an LLM's calls: their number, tokens, seconds and dollars, and the limits at which asking stops.

Host module. A *call* is one request for an answer, or one prompt whose plans are scored. Before a call its greatest
possible cost is set aside, so a limit is never passed, with any number of calls under way at a time. After it the cost
is what the server says it used, or an estimate at four characters per token. A call that fails has no known price: it
counts as a call, without tokens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any

from l4t_jax.errors import BackendError, BudgetSpent

CHARACTERS = 4  # per token, of an estimate
LEAST_CHARACTERS = 2  # per token, where an estimate must not be too low
MESSAGE = 8  # tokens that a chat format adds to a message, at most

Price = tuple[float, float]  # dollars per million input tokens and per million output tokens


@dataclasses.dataclass
class Call:
    """A call under way.

    Attributes:
        most: dollars set aside.
        tokens: (in, out), once the call is answered; None before, and for a failed call.
        estimated: whether `tokens` is an estimate.
    """

    most: float
    tokens: tuple[int, int] | None = None
    estimated: bool = False

    def book(self, tokens: tuple[int, int] | None, asked: int, said: int) -> None:
        """The call is answered.

        Args:
            tokens: (in, out) as the server counts them; None if it does not say.
            asked, said: characters of the messages and of the answer, for an estimate.
        """
        self.estimated = tokens is None
        self.tokens = tokens or (asked // CHARACTERS, -(-said // CHARACTERS))


@dataclasses.dataclass
class Ledger:
    """What asking has cost so far. It may be shared by threads.

    Attributes:
        price: to count in dollars; None counts none.
        max_calls: asking stops before more calls than this are made; None for no limit.
        max_cost: asking stops before more dollars than this are spent; None for no limit. Needs `price`.
        calls: made; `failed` of them had no answer.
        tokens_in, tokens_out: of all answered calls; for `estimated` of them the server did not count.
        seconds: spent asking.
        cached: answers that were in the cache, so that no call was made.

    Raises:
        BackendError: a limit or a price is out of range.
    """

    price: Price | None = None
    max_calls: int | None = None
    max_cost: float | None = None
    calls: int = 0
    failed: int = 0
    estimated: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    cached: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._aside = 0.0  # dollars, of the calls under way
        if self.price is not None and not all(0 <= p <= 1e6 for p in self.price):
            raise BackendError(f"`price` must be two numbers of at least 0, not {self.price[0]:g} {self.price[1]:g}")
        if self.max_calls is not None and self.max_calls < 1:
            raise BackendError(f"`max_calls` must be at least 1, not {self.max_calls}")
        if self.max_cost is not None and not self.max_cost > 0:
            raise BackendError(f"`max_cost` must be above 0 dollars, not {self.max_cost:g}")
        if self.max_cost is not None and self.price is None:
            raise BackendError("`max_cost` needs `price`: the dollars per million tokens in and out")

    @classmethod
    def of(cls, settings: Any) -> Ledger:
        """From a command's or a run's settings: `price`, `max_calls` and `max_cost`."""
        return cls(settings.price, settings.max_calls, settings.max_cost)

    @property
    def dollars(self) -> float | None:
        """Spent so far; None without a price."""
        return self._cost(self.tokens_in, self.tokens_out) if self.price is not None else None

    def _cost(self, tokens_in: float, tokens_out: float) -> float:
        price = self.price or (0.0, 0.0)
        return (tokens_in * price[0] + tokens_out * price[1]) / 1e6

    def begin(self, asked: int, messages: int, most_out: int) -> Call:
        """Sets aside the greatest cost of a call.

        Args:
            asked: bytes of the messages.
            messages: their number.
            most_out: tokens that the answer may have.

        Raises:
            BudgetSpent: the call could pass a limit; it must not be made.
        """
        most = self._cost(asked / LEAST_CHARACTERS + MESSAGE * (messages + 1), most_out)
        with self._lock:
            if self.max_calls is not None and self.calls >= self.max_calls:
                raise BudgetSpent(f"`max_calls={self.max_calls}` is reached{self._so_far()}")
            spent = self._cost(self.tokens_in, self.tokens_out) + self._aside
            if self.max_cost is not None and spent + most > self.max_cost:
                raise BudgetSpent(
                    f"`max_cost={self.max_cost:g}` would be passed by a call of at most {most:.3g} dollars"
                    f"{self._so_far()}"
                )
            self.calls += 1
            self._aside += most
        return Call(most)

    def end(self, call: Call) -> None:
        """Books a call that is over; without tokens it failed."""
        with self._lock:
            self._aside -= call.most
            self.failed += call.tokens is None
            self.estimated += call.estimated
            tokens_in, tokens_out = call.tokens or (0, 0)
            self.tokens_in += tokens_in
            self.tokens_out += tokens_out

    @contextlib.contextmanager
    def call(self, asked: int, messages: int, most_out: int) -> Iterator[Call]:
        """A call, from `begin` to `end`."""
        call = self.begin(asked, messages, most_out)
        try:
            yield call
        finally:
            self.end(call)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Adds the time within to `seconds`."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - start

    def _so_far(self) -> str:
        spent = f" and {self.dollars:.4f} dollars" if self.dollars is not None else ""
        return f" after {self.calls:,} calls{spent}"

    @property
    def content(self) -> dict[str, Any]:
        """As it stands in teacher files, `summary.json` and a run's log; the inverse is `resume`."""
        names = ("calls", "failed", "estimated", "tokens_in", "tokens_out")
        found: dict[str, Any] = {name: getattr(self, name) for name in names}
        dollars = self.dollars
        found |= {"seconds": round(self.seconds, 3), "cached": self.cached}
        return found | {"dollars": None if dollars is None else round(dollars, 6)}

    def resume(self, content: dict[str, Any]) -> None:
        """Goes on from the counts in `content`."""
        for name in ("calls", "failed", "estimated", "tokens_in", "tokens_out", "seconds", "cached"):
            setattr(self, name, content[name])

    def __str__(self) -> str:
        tokens = f"{self.tokens_in:,} tokens in, {self.tokens_out:,} out"
        about = " (estimated)" if self.estimated else ""
        dollars = "" if self.dollars is None else f", {self.dollars:.4f} dollars"
        failed = f" ({self.failed:,} without an answer)" if self.failed else ""
        cached = f", {self.cached:,} answers from the cache" if self.cached else ""
        return f"{self.calls:,} calls{failed}, {tokens}{about}, {self.seconds:.0f} s{dollars}{cached}"
