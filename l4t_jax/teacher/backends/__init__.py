"""Backends: the LLMs behind one small protocol. Each kind is imported on first use.

Host module. `open_backend` takes "transformers:MODEL", "openai:MODEL" or "file:PATH"; `register_backend` adds a kind.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.envs.task import Task
from l4t_jax.errors import BackendError
from l4t_jax.extensions import Registry
from l4t_jax.teacher.ledger import Ledger
from l4t_jax.teacher.prompt import Message


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How answers are sampled.

    Attributes:
        temperature: divides the logits; 0 takes the most probable token each time.
        top_p: tokens are sampled from the smallest set with this probability.
        max_tokens: an answer is cut after this many tokens.
        seed: answer number i of a question is sampled with seed + i.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 64
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Request:
    """A question to a backend.

    Attributes:
        messages: the chat; the last message is the user's.
        state: the symbolic state in the messages; None for the content-free one.
        choices: the only allowed answers, for constrained output; None for free text.
        sampling: how answers are sampled.
        ledger: of the calls, for backends that book each of them themselves (`counts_calls`).
    """

    messages: Sequence[Message]
    state: Symbolic | None
    choices: Sequence[str] | None = None
    sampling: Sampling = Sampling()
    ledger: Ledger = dataclasses.field(default_factory=Ledger, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Bytes of the messages."""
        return sum(len(message["content"].encode()) for message in self.messages)


@dataclasses.dataclass(frozen=True)
class Answer:
    """A model's answer.

    Attributes:
        text: of the answer; "" if there is none.
        fault: why the answer is incomplete, such as `completion.CUT`; None for a complete one.
        detail: of the fault: the number of tokens, the text of a refusal.
        tokens: (in, out), if the backend counts them.
    """

    text: str
    fault: str | None = None
    detail: str = ""
    tokens: tuple[int, int] | None = dataclasses.field(default=None, compare=False)


class Backend(Protocol):
    """The protocol of a backend.

    Attributes:
        identity: what determines its answers, as JSON: kind, model, revision, versions, options. It is part of the
            cache key and is written into teacher files, so it must not contain secrets.
        scores: whether it can give the likelihood of a given text.
        constrains: whether it can restrict its answers to given choices.
        counts_calls: optional; True if `sample` books every call, those that are sent again too, in the request's
            ledger. For others one call per answer is booked.
    """

    identity: dict[str, Any]
    scores: bool
    constrains: bool

    def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, str | Answer]]:
        """Samples an answer for each number, and yields (number, answer) when each is finished, in any order.

        A `str` is a complete answer.

        Raises:
            BackendError: there is no answer.
        """
        ...

    def score(self, request: Request, texts: Sequence[str]) -> list[float]:
        """The log-likelihood of each text, in nats, as the whole answer to the messages.

        Raises:
            BackendError: the backend cannot score.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Options:
    """A user's options for a backend.

    Attributes:
        base_url: of an OpenAI-compatible server; None is OPENAI_BASE_URL or OpenAI's own.
        timeout: seconds that one request may take.
        retries: how often a request is sent again after a temporary failure.
        concurrency: requests at a time.
        extra: further fields of each request, such as {"top_k": 0}; null leaves a field out.
        device: "cpu", "cuda", ...; None takes an accelerator if there is one.
        batch: texts per batch of a local model.
        threads: CPU threads of a local model; None is the library's default.
    """

    base_url: str | None = None
    timeout: float = 60.0
    retries: int = 4
    concurrency: int = 8
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)
    device: str | None = None
    batch: int = 16
    threads: int | None = None

    @classmethod
    def of(cls, settings: Any) -> Options:
        """From a command's settings: the attributes of the same names, `extra` as JSON.

        Raises:
            BackendError: `extra` is not a JSON object.
        """
        try:
            extra = json.loads(settings.extra.removeprefix("\ufeff"))
        except (ValueError, RecursionError):
            extra = None
        if not isinstance(extra, dict):
            raise BackendError(f"`extra` must be a JSON object such as '{{\"top_k\": 0}}', not {settings.extra!r}")
        names = [field.name for field in dataclasses.fields(cls) if field.name != "extra"]
        return cls(extra=extra, **{name: getattr(settings, name) for name in names if hasattr(settings, name)})


Opener = Callable[[str, Task, Options], Backend]


def _transformers(model: str, task: Task, options: Options) -> Backend:
    from l4t_jax.teacher.backends.transformers import TransformersBackend

    return TransformersBackend(model, options)


def _openai(model: str, task: Task, options: Options) -> Backend:
    from l4t_jax.teacher.backends.openai import OpenAIBackend

    return OpenAIBackend(model, options)


def _file(path: str, task: Task, options: Options) -> Backend:
    from l4t_jax.teacher.backends.file import FileBackend

    return FileBackend(path, task)


_OPENERS = Registry[Opener]("backend", own={"transformers": _transformers, "openai": _openai, "file": _file})


def register_backend(kind: str, opener: Opener) -> None:
    """Adds a kind of backend: `teacher=KIND:NAME` then calls `opener(NAME, task, options)`.

    One that the same file of a user's registered before is replaced.

    Raises:
        ValueError: there is another kind of this name.
    """
    _OPENERS.add(kind, opener)


def kinds() -> list[str]:
    """The names of all kinds of backend."""
    return list(_OPENERS)


def forms() -> str:
    """The form of `teacher` for each kind, for messages."""
    return ", ".join(f"{kind}:{'PATH' if kind == 'file' else 'MODEL'}" for kind in _OPENERS)


def open_backend(spec: str, task: Task, options: Options | None = None) -> Backend:
    """The backend of a name such as "transformers:MODEL".

    Raises:
        BackendError: the kind or the model does not exist, or a library is missing.
    """
    kind, colon, name = spec.partition(":")
    if kind not in _OPENERS or not colon or not name:
        raise BackendError(f"there is no backend {spec!r}; name one as {forms()}")
    return _OPENERS[kind](name, task, options or Options())
