"""What `teacher refine` gains: `python benchmarks/refine_teachers.py --gguf smollm2=PATH.gguf`.

Two kinds of teachers are refined on each task: the table that a small LLM gives, by that LLM; and the task's own table
with half of its states wrong, by each small LLM and by one that knows (the task's own table answers for it). With
`--starts own` the task's own table as it is, by each small LLM. The LLMs run in llama.cpp's server (package xllamacpp)
with one thread and one slot: every question begins as the last one did, and the slot keeps that part. Of a task with
more than 32 states an LLM's table has those that it meets on the validation levels when it plays; the others it never
needs. Success is measured on test levels, which play no part in refining. One result a file under `--out`; what is
there is not run again, and answers are kept, so the command can be stopped at any time. The result is
`results/refined-teachers.json` with a table beside it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tyro

from l4t_jax import files
from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.envs import Task, get_task
from l4t_jax.evaluation.intervals import wilson
from l4t_jax.evaluation.trials import Trials
from l4t_jax.teacher import corrupt, file
from l4t_jax.teacher import recording as asking
from l4t_jax.teacher.backends import Backend, Options, open_backend
from l4t_jax.teacher.cache import Cache
from l4t_jax.teacher.grammar import situation, situations
from l4t_jax.teacher.ledger import Ledger
from l4t_jax.teacher.recording import Ask, Asker
from l4t_jax.teacher.refine import How, Refiner
from l4t_jax.training import compilation

RESULTS = Path(__file__).parent / "results"
PORT = 8401  # of the first LLM: a server's address is part of the question, so it must stay the same
KNOWS = "the task's own table"
LISTED = 32  # states of a task whose whole table an LLM is asked for
SERVER = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel = sys.argv[1], 4096, 1
params.hostnames, params.port, params.cpuparams.n_threads = ["127.0.0.1"], int(sys.argv[2]), 1
server = xllamacpp.Server(params)
while True: time.sleep(3600)
"""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure."""

    gguf: tuple[str, ...] = ()
    """NAME=PATH of each small LLM's weights."""
    tasks: tuple[str, ...] = (
        "SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "DivergedDoorKey", "KeyCorridorS3R3", "UnlockPickup",
    )  # fmt: skip
    """Tasks."""
    levels: int = 128
    """Validation levels of a trial."""
    test_parts: int = 8
    """Test levels of the final measurement, in multiples of `levels`."""
    samples: int = 4
    """Answers drawn for each question."""
    questions: int = 12
    """Questions of a refinement, at most."""
    starts: tuple[str, ...] = ("corrupted", "recorded")
    """Teachers that are refined."""
    minutes: float = 1e9
    """Nothing new is begun after this time."""
    out: str = "runs/refine-teachers"
    """Folder of the single results."""
    results: str = str(RESULTS)
    """Folder of the table made from them."""
    json: bool = False
    """Print one JSON object and nothing else on standard output."""


@contextlib.contextmanager
def serving(path: str, port: int) -> Iterator[str]:
    """llama.cpp's server with a model; its address."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, path, str(port)], stderr=subprocess.DEVNULL)
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                if answer.status == 200:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"llama.cpp's server does not start with {path} on port {port}")
            time.sleep(0.2)
        yield f"{url}/v1"
    finally:
        process.kill()
        process.wait()


@dataclasses.dataclass
class Bench:
    """The programs of one task, compiled when they are needed."""

    settings: Settings
    task: Task

    @functools.cached_property
    def trials(self) -> Trials:
        return Trials(self.task, self.settings.levels, plans=self.settings.samples)

    @functools.cached_property
    def _tested(self) -> dict[str, float]:
        return {}

    def success(self, content: dict[str, Any]) -> float:
        """On test levels."""
        name = json.dumps(content["states"])
        if name not in self._tested:
            self._tested[name] = self.trials.test(content, self.settings.test_parts)
        return self._tested[name]

    def _recorded(self, asker: Asker) -> dict[str, Any]:
        """The LLM's own table: of all states, or, if they are many, of those that it meets on validation levels.

        It plays, and is asked about the first unknown state of each episode, until there is none.
        """
        entries: dict[Symbolic, dict[str, Any]] = {}
        rich = len(symbolic.enumerate_states(self.task)) > LISTED
        of_id = functools.cache(functools.partial(situation, self.task))
        wanted = {} if rich else {asked.state: asked for asked in situations(self.task)}
        while True:
            for state, asked in wanted.items():
                entries[state] = asker.state(asked)
            content = asking.made(asker, list(entries.values()), asker.ledger.seconds)
            if not rich:
                return content
            trial = self.trials.decide(content)
            _tell(f"{len(entries)} states recorded, success {trial.success.mean():.3f}")
            paths = ([of_id(int(state)) for state in path if state >= 0] for path in trial.states.T)
            firsts = (next((one for one in path if one.state not in entries), None) for path in paths)
            wanted = {asked.state: asked for asked in firsts if asked is not None}
            if not wanted:
                return content

    def measure(self, backend: Backend, start: str) -> dict[str, Any]:
        """One refinement: success before and after, and what it took."""
        settings, task = self.settings, self.task
        ask = Ask(ask="sample", samples=settings.samples, max_tokens=48)
        cache, recording, ledger = Cache(Path(settings.out) / "answers"), Ledger(), Ledger()
        if start == "recorded":
            content = self._recorded(Asker(task, backend, ask, cache, _tell, recording))
        elif start == "corrupted":
            content = corrupt.corrupt(file.shipped(task), task, 0.5, seed=0)
        else:
            content = file.shipped(task)
        asker = Asker(task, backend, ask, cache, _tell, ledger)
        began = time.perf_counter()
        refined = Refiner(asker, self.trials.decide, self.trials.confirm, How(questions=settings.questions)).refine(
            content
        )
        seconds = time.perf_counter() - began
        (how,) = refined["source"]["refined"]
        return dict(
            before=self.success(content), after=self.success(refined), own=self.success(file.shipped(task)),
            validation=how["success"],
            confirmed=how["confirmed"], fell_back=how["fell_back"], questions=len(how["states"]),
            kept=sum(one["kept"] for one in how["states"]), calls=ledger.calls + ledger.cached,
            tokens_in=ledger.tokens_in, tokens_out=ledger.tokens_out,
            recorded=len(content["states"]) if start == "recorded" else 0,
            recording_calls=recording.calls + recording.cached,
            seconds=round(seconds, 1), states=how["states"],
        )  # fmt: skip


def main() -> None:
    settings = tyro.cli(Settings)
    compilation.keep_compiled()
    began, out = time.monotonic(), Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    models = dict(one.split("=", 1) for one in settings.gguf)
    for name in settings.tasks:
        bench = Bench(settings, get_task(name))
        for number, llm in enumerate([KNOWS, *models]):
            todo = [
                start
                for start in settings.starts
                if (llm != KNOWS or start == "corrupted")
                and not (out / f"{name}-{llm.replace(' ', '_')}-{start}.json").is_file()
            ]
            if not todo or time.monotonic() - began > 60 * settings.minutes:
                continue
            with contextlib.ExitStack() as stack:
                if llm == KNOWS:
                    backend = open_backend("file:shipped", bench.task)
                else:
                    url = stack.enter_context(serving(models[llm], PORT + number))
                    extra = {"top_k": 0, "min_p": 0}
                    options = Options(base_url=url, timeout=600, concurrency=1, extra=extra)
                    backend = open_backend(f"openai:{llm}", bench.task, options)
                for start in todo:
                    if time.monotonic() - began > 60 * settings.minutes:
                        break
                    _tell(f"{name}, {llm}, {start}")
                    found = {"task": name, "llm": llm, "start": start, **bench.measure(backend, start)}
                    files.write_json(out / f"{name}-{llm.replace(' ', '_')}-{start}.json", found)
    runs = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    if settings.json:
        print(json.dumps({"runs": runs}))
        return
    results = Path(settings.results)
    results.mkdir(parents=True, exist_ok=True)
    files.write_json(results / "refined-teachers.json", {"settings": _said(settings), "runs": runs})
    (results / "refined-teachers.md").write_text(table(settings, runs))
    print(table(settings, runs))


def _said(settings: Settings) -> dict[str, Any]:
    names = ("levels", "test_parts", "samples", "questions")
    return {name: getattr(settings, name) for name in names}


def table(settings: Settings, runs: list[dict[str, Any]]) -> str:
    """One line a refinement, in the order of the tasks."""
    columns = ("task", "teacher", "refined by", "success before (95 %)", "after (95 %)", "the task's own", "questions",
               "kept", "calls", "calls for the LLM's table")  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    order = {name: at for at, name in enumerate(settings.tasks)}
    for one in sorted(runs, key=lambda one: (order.get(one["task"], 99), one["start"], one["llm"])):
        start = {"corrupted": "half of its states wrong", "own": "the task's own"}.get(one["start"], "the LLM's table")
        before, after = (_interval(one[when], settings.levels * settings.test_parts) for when in ("before", "after"))
        lines.append(
            f"| {one['task']} | {start} | {one['llm']} | {before} | {after} | {one['own']:.3f} | {one['questions']} | "
            f"{one['kept']} | {one['calls']} | {one['recording_calls'] or ''} |"
        )
    return "\n".join([*lines, ""])


def _interval(success: float, levels: int) -> str:
    low, high = wilson(success * levels, levels)
    return f"{success:.3f} ({low:.3f} to {high:.3f})"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
