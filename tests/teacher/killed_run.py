"""A run whose LLM is asked while it learns, which kills itself; `test_killed_runs` starts it. Not a test module.

    python killed_run.py TASK TEACHER_FILE RUN_FOLDER CACHE [MOMENT NUMBER]

It goes on with the run in the folder, if there is one. The moments are those before its answer, its block's end, the
end of its block's line in the log, and its checkpoint of this number, from 0.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from small_runs import TINY

import l4t_jax
from l4t_jax.envs import get_task
from l4t_jax.teacher import backends
from l4t_jax.teacher.backends import Request
from l4t_jax.teacher.live_log import LiveLog
from l4t_jax.training.checkpoint import Checkpoints

NAME, TEACHER, RUN, CACHE = sys.argv[1:5]
MOMENT, LEFT = (sys.argv[5], [int(sys.argv[6])]) if len(sys.argv) > 5 else ("", [0])
TASK = get_task(NAME)


def passed(moment: str) -> None:
    """Dies at the moment that was asked for."""
    if moment == MOMENT:
        if LEFT[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        LEFT[0] -= 1


def before(moment: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def also(*args: Any, **more: Any) -> Any:
        passed(moment)
        return function(*args, **more)

    return also


class Scripted:
    """Answers from a teacher file, and writes down each call."""

    scores, constrains = False, False
    identity = {"backend": "scripted", "model": "scripted"}  # noqa: RUF012

    def __init__(self) -> None:
        self.inner: Any = backends.open_backend(f"file:{TEACHER}", TASK)

    def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
        for number, text in self.inner.sample(request, numbers):
            passed("answer")
            with (Path(RUN).parent / "calls").open("a") as stream:
                stream.write(f"{request.state}\n")
            yield number, text


def half_a_line(log: Any, line: dict[str, Any]) -> None:
    with log._path.open("ab") as stream:
        stream.write(b'{"block": 1, "sta')
    passed("line")
    log._path.write_bytes(log._path.read_bytes().removesuffix(b'{"block": 1, "sta'))
    write(log, line)


write = LiveLog._write
backends.register_backend("scripted", lambda name, task, options: Scripted())
LiveLog.end = before("end", LiveLog.end)  # type: ignore[method-assign]
Checkpoints.save = before("checkpoint", Checkpoints.save)  # type: ignore[method-assign]
if MOMENT == "line":
    LiveLog._write = half_a_line  # type: ignore[method-assign]

if (Path(RUN) / "config.json").is_file():
    l4t_jax.train(resume=RUN)
else:
    l4t_jax.train(
        TINY, env=TASK.name, teacher="scripted:x", ask_when="met", samples=2, run_dir=RUN, cache=CACHE, save_every=0,
        num_seeds=1, anneal="clock", num_envs=16, num_steps=32, total_steps=16 * 32 * 16, evaluations=8, minibatches=2,
    )  # fmt: skip
