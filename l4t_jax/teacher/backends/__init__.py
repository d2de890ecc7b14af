"""Backends: what answers for an LLM. One small protocol; each kind is imported when it is first asked for.

Host module. `open_backend("transformers:MODEL")`, `"openai:MODEL"`, `"file:PATH"`; `register_backend` adds a kind.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.envs.task import Task
from l4t_jax.errors import BackendError
from l4t_jax.extensions import may_register
from l4t_jax.teacher.prompt import Message


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        temperature: divides the logits; 0 takes the most probable token each time.
        top_p: tokens are drawn from the smallest set with this probability.
        max_tokens: an answer is cut after so many.
        seed: answer number i of a question is drawn with seed + i.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 64
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Request:
    """What a backend is asked.

    Attributes:
        messages: the chat, the last message the user's.
        state: the symbolic state they tell of; None for the content-free one.
        choices: the only texts that may be answered, where output is constrained; None for free text.
        sampling: how answers are drawn.
    """

    messages: Sequence[Message]
    state: Symbolic | None
    choices: Sequence[str] | None = None
    sampling: Sampling = Sampling()


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        text: of the answer; "" where there is none.
        fault: why it is not a whole answer, such as `completion.CUT`; None for a whole one.
        detail: what more is known of the fault: the tokens, the words of a refusal.
    """

    text: str
    fault: str | None = None
    detail: str = ""


class Backend(Protocol):
    """What answers for an LLM.

    Attributes:
        identity: what decides its answers, as JSON: kind, model, revision, versions, options. It is part of the name
            under which answers are kept and is written into teacher files, so it must hold no secret.
        scores: whether it can tell the likelihood of a given text.
        constrains: whether it can keep its answers to given choices.
    """

    identity: dict[str, Any]
    scores: bool
    constrains: bool

    def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, str | Answer]]:
        """Draws an answer for each number, and yields (number, answer) as each is finished, in any order.

        A text is a whole answer.

        Raises:
            BackendError: it does not answer.
        """
        ...

    def score(self, request: Request, texts: Sequence[str]) -> list[float]:
        """The log-likelihood of each text, in nats, as the whole answer to the messages.

        Raises:
            BackendError: it cannot.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Options:
    """What the user says about a backend beyond its name.

    Attributes:
        base_url: of an OpenAI-compatible server; None is OPENAI_BASE_URL or OpenAI's own.
        timeout: seconds that one request may take.
        retries: how often a request that failed for a passing reason is sent again.
        concurrency: requests under way at a time.
        extra: further fields of each request, such as {"top_k": 0}; null leaves a field out.
        device: "cpu", "cuda", ...; None takes an accelerator if there is one.
        batch: texts that a local model works on at a time.
        threads: CPU threads of a local model; None leaves it to the library.
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


_OPENERS: dict[str, Opener] = {"transformers": _transformers, "openai": _openai, "file": _file}


def register_backend(kind: str, opener: Opener) -> None:
    """Adds a kind of backend: `teacher=KIND:NAME` then calls `opener(NAME, task, options)`.

    One that the same file of a user's registered before is replaced.

    Raises:
        ValueError: there is another kind of this name.
    """
    if not may_register("backend", kind, kind in _OPENERS):
        raise ValueError(f"there is already a backend named {kind}; choose another name")
    _OPENERS[kind] = opener


def kinds() -> list[str]:
    """The kinds of backend there are."""
    return list(_OPENERS)


def forms() -> str:
    """How each kind is named on a command line, in words."""
    return ", ".join(f"{kind}:{'PATH' if kind == 'file' else 'MODEL'}" for kind in _OPENERS)


def open_backend(spec: str, task: Task, options: Options | None = None) -> Backend:
    """The backend that a user names.

    Raises:
        BackendError: there is no such kind, no such model, or a library is missing.
    """
    kind, colon, name = spec.partition(":")
    if kind not in _OPENERS or not colon or not name:
        raise BackendError(f"there is no backend {spec!r}; name one as {forms()}")
    return _OPENERS[kind](name, task, options or Options())
