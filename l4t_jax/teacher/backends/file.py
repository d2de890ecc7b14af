"""A teacher file as a backend, which answers from its table. For experiments and tests; needs no LLM."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.envs.task import Task
from l4t_jax.teacher import file
from l4t_jax.teacher.backends import BackendError, Request
from l4t_jax.teacher.grammar import write_plan


class FileBackend:
    """Answers with the plans of a teacher file, sampled with their probabilities.

    Args:
        path: of a teacher file, or "shipped" for the task's own.
        task: the task.
    """

    scores = True
    constrains = False

    def __init__(self, path: str, task: Task) -> None:
        try:
            content = file.shipped(task) if path == "shipped" else file.load(path)
        except file.TeacherFileError as error:
            raise BackendError(str(error)) from error
        self.identity: dict[str, Any] = {"backend": "file", "model": content["about"], "revision": file.digest(content)}
        self.made: str = content["made"]
        self._plans: dict[Symbolic, dict[str, float]] = {}
        for state in content["states"]:
            written = self._plans.setdefault(file.state_of(state), {})
            for plan in state["plans"]:
                text = write_plan(tuple(step) for step in plan["skills"])
                written[text] = written.get(text, 0.0) + plan["p"]

    def _of(self, request: Request) -> dict[str, float]:
        state = request.state
        return {} if state is None else self._plans.get(state, {})

    def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
        plans = self._of(request)
        asked = hashlib.sha256(repr(request.state).encode()).hexdigest()
        for number in numbers:
            draw = random.Random(f"{request.sampling.seed + number} {asked}")
            yield number, draw.choices(list(plans), list(plans.values()))[0] if plans else ""

    def score(self, request: Request, texts: Sequence[str]) -> list[float]:
        plans = self._of(request)
        return [math.log(max(plans.get(text, 0.0), 1e-9)) for text in texts]
