"""Teachers. A run calls `open_teacher` or `open_live`.

`policy` runs on the device; all other modules are host code. `file` reads and writes teacher files. `recording` makes
one from an LLM's answers, with `prompt`, `grammar`, `parser`, `cache` and `backends`; its command is
`python -m l4t_jax.teacher`. The package's own teacher files are in `data/`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from l4t_jax.envs.task import Task
    from l4t_jax.teacher.backends import Backend, Options
    from l4t_jax.teacher.cache import Cache
    from l4t_jax.teacher.ledger import Ledger
    from l4t_jax.teacher.live import LiveTeacher
    from l4t_jax.teacher.recording import Ask


def open_teacher(
    spec: str,
    task: Task,
    ask: Ask | None = None,
    options: Options | None = None,
    cache: str | Path | None = None,
    report: Callable[[str], None] = lambda line: None,
    ledger: Ledger | None = None,
) -> tuple[dict[str, Any] | None, str]:
    """A run's teacher: the content of a teacher file, and a description for summaries.

    An LLM is asked about every symbolic state that can occur, before training. Its answers are cached, so a second run
    with the same teacher starts at once.

    Args:
        spec: "shipped", "skills", "none", "file:PATH", "transformers:MODEL" or "openai:MODEL".
        task: the task.
        ask, options: how an LLM is asked and reached.
        cache: folder of the answer cache; None is `cache.default_folder()`.
        report: called with a line about each step.
        ledger: counts an LLM's calls and stops them at its limits.

    Returns:
        (content, description such as "shipped (recorded)"); the content is None for "none".

    Raises:
        TeacherFileError, BackendError, PromptError, CacheError: the message says what would be right.
    """
    from l4t_jax.teacher import file

    if spec == "none":
        return None, "none"
    if spec == "shipped":
        content = file.shipped(task)
        return content, file.describe(content, "shipped")
    if spec == "skills":
        return file.skills_alone(task), "skills at random, no plans"
    if spec.startswith("file:"):
        content = file.load(spec.removeprefix("file:"))
        return content, file.describe(content, spec)
    from l4t_jax.teacher import recording as asking
    from l4t_jax.teacher.backends import BackendError

    with contextlib.ExitStack() as stack:
        backend = _open(spec, task, options, stack)
        content = asking.record(task, backend, ask or asking.Ask(), _cache(cache), report, ledger=ledger)
    vain = file.missing(task, content)
    entries = {file.state_of(entry) for entry in content["states"]}
    unasked = [state.sentence for state in vain if state not in entries]
    if unasked:  # training must need no LLM: every state that can occur must have been asked about
        raise BackendError(f"the teacher {spec} was not asked for {'; '.join(unasked)}")
    if vain:
        report(f"no usable answer, so no guidance, for: {' '.join(state.sentence for state in vain)}")
    return content, file.describe(content, spec)


def asks_llm(spec: str) -> bool:
    """Whether the teacher is an LLM, which is asked, instead of a file, which is read."""
    return spec not in ("none", "shipped", "skills") and not spec.startswith("file:")


def listed(spec: str, task: Task, when: str = "auto") -> bool:
    """Whether all plans of a teacher are available before training.

    They are not if the teacher is an LLM that is to be asked during training.

    Args:
        spec: the teacher.
        task: the task.
        when: "before", "met" (during training, about the states that were met), or "auto": before training, unless the
            task has too many symbolic states to ask about all of them.
    """
    from l4t_jax.teacher.grammar import enumerable

    return not asks_llm(spec) or when == "before" or (when == "auto" and enumerable(task))


@contextlib.contextmanager
def open_live(
    spec: str,
    task: Task,
    ask: Ask | None = None,
    options: Options | None = None,
    cache: str | Path | None = None,
    report: Callable[[str], None] = lambda line: None,
    ledger: Ledger | None = None,
) -> Iterator[LiveTeacher]:
    """An LLM that is asked during training. The arguments are those of `open_teacher`.

    Raises:
        BackendError, PromptError: the message says what would be right.
    """
    from l4t_jax.teacher import recording as asking
    from l4t_jax.teacher.ledger import Ledger
    from l4t_jax.teacher.live import LiveTeacher

    with contextlib.ExitStack() as stack:
        backend = _open(spec, task, options, stack)
        asker = asking.Asker(task, backend, ask or asking.Ask(), _cache(cache), report, ledger or Ledger())
        yield LiveTeacher(asker)


def _open(spec: str, task: Task, options: Options | None, stack: contextlib.ExitStack) -> Backend:
    from l4t_jax.teacher.backends import BackendError, forms, kinds, open_backend

    if spec.partition(":")[0] not in kinds():
        raise BackendError(f"`teacher` must be shipped, skills, none, {forms()}, not {spec!r}")
    backend = open_backend(spec, task, options)
    if hasattr(backend, "close"):
        stack.callback(backend.close)  # pyright: ignore
    return backend


def _cache(folder: str | Path | None) -> Cache:
    from l4t_jax.teacher.cache import Cache, default_folder

    return Cache(folder or default_folder())
