"""Teachers: `policy` on the device, the rest on the host; `open_teacher` and `open_live` are what a run calls.

`file` is the teacher file; `prompt`, `grammar`, `parse`, `ask` and `cache` make one from an LLM's answers, which
`backends` bring; `python -m l4t_jax.teacher` is their command. The package's own teacher files are in `data/`.
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
    from l4t_jax.teacher.live import LiveTeacher
    from l4t_jax.teacher.recording import Ask


def open_teacher(
    spec: str,
    task: Task,
    ask: Ask | None = None,
    options: Options | None = None,
    cache: str | Path | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, Any] | None, str]:
    """A run's teacher: the content of a teacher file, and a few words for summaries that say which it is.

    An LLM is asked for every symbolic state that can occur, before training; answers that are kept from earlier are
    not asked for again, so the second run with the same teacher starts at once.

    Args:
        spec: "shipped", "none", "file:PATH", "transformers:MODEL" or "openai:MODEL".
        task: what it is to teach.
        ask, options: how an LLM is asked and reached.
        cache: folder in which its answers are kept; None is `cache.default_folder()`.
        report: is told in a line what was done.

    Returns:
        (content, words such as "shipped (recorded)"); the content is None for "none".

    Raises:
        TeacherFileError, BackendError, PromptError, CacheError: with what would be right.
    """
    from l4t_jax.teacher import file

    if spec == "none":
        return None, "none"
    if spec == "shipped":
        content = file.shipped(task)
        return content, file.describe(content, "shipped")
    if spec.startswith("file:"):
        content = file.load(spec.removeprefix("file:"))
        return content, file.describe(content, spec)
    from l4t_jax.teacher import recording as asking
    from l4t_jax.teacher.backends import BackendError

    with contextlib.ExitStack() as stack:
        backend = _open(spec, task, options, stack)
        content = asking.record(task, backend, ask or asking.Ask(), _cache(cache), report)
    vain = file.missing(task, content)
    entries = {(tuple(state["sees"]), state["holds"]) for state in content["states"]}
    unasked = [state.sentence for state in vain if (state.sees, state.holds) not in entries]
    if unasked:  # the proof that training needs no LLM: every state that can occur has its answers
        raise BackendError(f"the teacher {spec} was not asked for {'; '.join(unasked)}")
    if vain:
        report(f"no usable answer, and so no guidance, where {' '.join(state.sentence for state in vain)}")
    return content, file.describe(content, spec)


def asks_llm(spec: str) -> bool:
    """Whether a teacher has to be asked, instead of read."""
    return spec not in ("none", "shipped") and not spec.startswith("file:")


def listed(spec: str, task: Task) -> bool:
    """Whether all that a teacher has to say can be had before training: not of an LLM, of a task too rich to list."""
    from l4t_jax.teacher.grammar import enumerable

    return not asks_llm(spec) or enumerable(task)


@contextlib.contextmanager
def open_live(
    spec: str,
    task: Task,
    ask: Ask | None = None,
    options: Options | None = None,
    cache: str | Path | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Iterator[LiveTeacher]:
    """An LLM that is asked while training goes on; the arguments are `open_teacher`'s.

    Raises:
        BackendError, PromptError: with what would be right.
    """
    from l4t_jax.teacher import recording as asking
    from l4t_jax.teacher.live import LiveTeacher

    with contextlib.ExitStack() as stack:
        backend = _open(spec, task, options, stack)
        yield LiveTeacher(asking.Asker(task, backend, ask or asking.Ask(), _cache(cache), report))


def _open(spec: str, task: Task, options: Options | None, stack: contextlib.ExitStack) -> Backend:
    from l4t_jax.teacher.backends import BackendError, forms, kinds, open_backend

    if spec.partition(":")[0] not in kinds():
        raise BackendError(f"`teacher` must be shipped, none, {forms()}, not {spec!r}")
    backend = open_backend(spec, task, options)
    if hasattr(backend, "close"):
        stack.callback(backend.close)  # pyright: ignore
    return backend


def _cache(folder: str | Path | None) -> Cache:
    from l4t_jax.teacher.cache import Cache, default_folder

    return Cache(folder or default_folder())
