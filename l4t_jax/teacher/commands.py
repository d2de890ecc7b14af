"""What `python -m l4t_jax.teacher` does: record a teacher file from an LLM, show it, evaluate it, compare two."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l4t_jax import commandline, extensions
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.commandline import json_only, print_json
from l4t_jax.envs import Task, get_task
from l4t_jax.errors import ConfigError, RunFolderError, TeacherFileError, UnknownTask
from l4t_jax.evaluation.teachers import evaluate_teacher
from l4t_jax.evaluation.trials import Trials
from l4t_jax.reporting import advice, run_folder
from l4t_jax.teacher import file
from l4t_jax.teacher.backends import Options, open_backend
from l4t_jax.teacher.cache import Cache, default_folder
from l4t_jax.teacher.grammar import situations, write_plan
from l4t_jax.teacher.ledger import Ledger
from l4t_jax.teacher.prompt import load
from l4t_jax.teacher.recording import Ask, Asker, estimate, record
from l4t_jax.teacher.refine import How, Refiner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asking(Ask):
    """How an LLM is asked and reached, and what that may cost."""

    teacher: str
    """transformers:MODEL (a hub id, a folder, a .gguf file, a package that carries one), openai:MODEL, or file:PATH."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours that registers tasks or backends; may be repeated."""
    base_url: str | None = None
    """Server of openai:MODEL, such as http://127.0.0.1:8080/v1; OPENAI_BASE_URL or OpenAI's own by default."""
    timeout: float = 60.0
    """Seconds that one request to a server may take."""
    retries: int = 4
    """How often a request is sent again after a temporary failure."""
    concurrency: int = 8
    """Requests to a server at a time."""
    extra: str = "{}"
    """Further fields of each request as JSON, such as '{"top_k": 0, "min_p": 0}' for llama.cpp's server."""
    device: str | None = None
    """Device of a local model: cpu, cuda, ...; an accelerator by default if there is one."""
    batch: int = 16
    """Texts per batch of a local model."""
    threads: int | None = None
    """CPU threads of a local model."""
    cache: str | None = None
    """Folder of the answer cache; L4T_CACHE or ~/.cache/l4t_jax/answers by default."""
    price: tuple[float, float] | None = None
    """Dollars per million input tokens and per million output tokens, to count the cost in dollars."""
    max_calls: int | None = None
    """Stop before the LLM is called more often than this; the answers are kept."""
    max_cost: float | None = None
    """Stop before more dollars than this are spent; the answers are kept. Needs --price."""

    def how(self) -> Ask:
        """How to ask."""
        return Ask(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Ask)})

    def answers(self) -> Cache:
        """Where answers are kept."""
        return Cache(self.cache or default_folder())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record(Asking):
    """Asks an LLM for every symbolic state of a task and writes its answers as a teacher file."""

    env: str = "SimpleDoorKey"
    """Task to ask for."""
    out: str | None = None
    """The teacher file to write."""
    dry_run: bool = False
    """Print the prompts and the cost estimate, and ask nothing."""

    def execute(self) -> None:
        extensions.load_all(self.imports)
        task = get_task(self.env)
        ledger = Ledger.of(self)
        if self.dry_run:
            return self._show_prompts(task)
        out = _writable(Path(self.out or f"{task.name}.json"))
        backend = open_backend(self.teacher, task, Options.of(self))
        how = self.how().checked(backend)
        self._say_cost(task, how)
        content = record(task, backend, how, self.answers(), _tell, ledger=ledger)
        file.save(content, out)
        vain = file.missing(task, content)
        note = f"; {len(vain)} of them have no usable answer and give no guidance" if vain else ""
        print(f"{out}: {len(content['states'])} states in {content['source']['seconds']:.0f} s{note}")

    def _show_prompts(self, task: Task) -> None:
        how = self.how().checked(None)
        if self.ask is None and self.teacher.startswith("openai:"):
            how = dataclasses.replace(how, ask="sample")
        prompt = load(task, how.prompt)
        for asked in situations(task):
            print(f"=== {asked.state.sentence}")
            for message in prompt.messages(asked.state.sentence):
                print(f"[{message['role']}]\n{message['content']}\n")
        self._say_cost(task, how)

    def _say_cost(self, task: Task, how: Ask) -> None:
        cost = estimate(task, how)
        kind = "answers drawn" if how.ask == "sample" else "plans scored"
        tokens = f"about {cost.tokens_in:,} tokens in" + (
            f", at most {cost.tokens_out:,} out" if cost.tokens_out else ""
        )
        money = ""
        if self.price is not None:
            dollars = (cost.tokens_in * self.price[0] + cost.tokens_out * self.price[1]) / 1e6
            money = f", at most {dollars:.4f} dollars"
        _tell(f"{task.name}: {cost.questions} states, {cost.requests} {kind}, {tokens}{money}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refine(Asking):
    """Asks an LLM again for the symbolic states whose advice lost most, and keeps what measures better."""

    file: str = dataclasses.field(metadata={"positional": True})
    """The teacher file to refine."""
    run: str | None = None
    """Folder of a run that learned from the file: states that its students trusted least are asked about first."""
    env: str | None = None
    """Task to play; the file's own by default."""
    out: str | None = None
    """The teacher file to write."""
    questions: int = 24
    """States asked about, at most; a state counts each time it is asked about."""
    least: float = 0.01
    """States that lost a smaller share of the episodes than this are not asked about."""
    plans: int = 6
    """Most frequent plans of a state's answers that are tried alone, beside all of its answers together."""
    levels: int = 512
    """Validation levels of a trial; as many others confirm the result."""

    def execute(self) -> None:
        extensions.load_all(self.imports)
        content = file.load(self.file)
        task = get_task(self.env or content["task"])
        file.to_table(task, content)  # refuses a file of another task
        path = Path(self.file)
        out = _writable(Path(self.out) if self.out else path.with_name(f"{path.stem}-refined{path.suffix}"))
        for name, least, most in (("questions", 1, 10_000), ("plans", 1, 100), ("levels", 16, 100_000)):
            if not least <= getattr(self, name) <= most:
                raise ConfigError(f"`{name}` must be from {least} to {most}, not {getattr(self, name)}")
        if not 0 < self.least < 1:
            raise ConfigError(f"`least` must be above 0 and below 1, not {self.least:g}")
        worth = None if self.run is None else _worth(Path(self.run))
        backend = open_backend(self.teacher, task, Options.of(self))
        asker = Asker(task, backend, self.how(), self.answers(), _tell, Ledger.of(self))
        most = max((len(state["plans"]) for state in content["states"]), default=1)
        trials = Trials(task, self.levels, plans=min(MOST_PLANS, max(most, self.samples)))
        how = How(self.questions, self.least, self.plans)
        refined = Refiner(asker, trials.decide, trials.confirm, how, worth).refine(content)
        file.save(refined, out)
        found = refined["source"]["refined"][-1]
        kept = sum(one["kept"] for one in found["states"])
        (before, after), (old, new) = found["success"], found["confirmed"]
        print(
            f"{out}: {kept} of {len(found['states'])} answers kept; success {before:.3f} to {after:.3f} on the levels "
            f"that decided, {old:.3f} to {new:.3f} on {self.levels:,} others; {asker.ledger}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompt:
    """Prints the prompt of a task as a prompt file, in which {state} is filled in for each symbolic state."""

    env: str = dataclasses.field(default="SimpleDoorKey", metadata={"positional": True})
    """A task."""
    prompt: str | None = None
    """A prompt file to fill in; the task's own prompt by default."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours that registers tasks or skills; may be repeated."""

    def execute(self) -> None:
        extensions.load_all(self.imports)
        found = load(get_task(self.env), self.prompt)
        print(found.text)
        _tell(f"{found.name}, hash {found.digest}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Show:
    """Prints a teacher in readable form: states, plans, probabilities, entropy, unusable answers."""

    teacher: str = dataclasses.field(default="SimpleDoorKey", metadata={"positional": True})
    """A teacher file, the folder of a run, or the name of a task with a teacher of its own. Of a run, each state shows
    what its advice was worth to the student."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours that registers tasks; may be repeated."""
    most: int = 8
    """Plans shown of each state."""

    def execute(self) -> None:
        extensions.load_all(self.imports)
        content, name = _read(self.teacher)
        print(f"{name}: {content['task']}, {content['made']}. {content.get('about', '')}")
        for key, value in (content.get("source") or {}).items():
            print(f"  {key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
        folder = Path(self.teacher)
        learned = (advice.of_run(folder) if folder.is_dir() else None) or [None] * len(content["states"])
        for state, worth in zip(content["states"], learned, strict=True):
            said = "" if worth is None else f", {advice.in_words(worth)}"
            print(f"\n{_sentence(state)}   {_counts(state)}{said}")
            for entry in state["plans"][: self.most]:
                print(f"  {entry['p']:7.4f}  {_written(entry)}")
            rest = state["plans"][self.most :]
            if rest:
                print(f"  {sum(entry['p'] for entry in rest):7.4f}  {len(rest)} further plans")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Plays a teacher on held-out levels."""

    env: str = "SimpleDoorKey"
    """Task to play."""
    teacher: str = "shipped"
    """shipped (the task's own teacher file), skills (no plans: its skills at random), or file:PATH."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours that registers tasks; may be repeated."""
    levels: int = 1000
    """Held-out levels, the same for every teacher and student."""
    seed: int = 0
    """Seed of the teacher's actions."""
    json: bool = False
    """Print one JSON object and nothing else."""

    def execute(self) -> None:
        with json_only(self.json):
            extensions.load_all(self.imports)
            task = get_task(self.env)
            content = _resolve(self.teacher, task)
            if not 1 <= self.levels <= 1_000_000:
                raise ConfigError(f"`levels` must be from 1 to 1000000, not {self.levels}")
            if not 0 <= self.seed < 2**31:
                raise ConfigError(f"`seed` must be from 0 to {2**31 - 1}, not {self.seed}")
            found = evaluate_teacher(task, content, self.levels, self.seed)
            if self.json:
                return print_json(found)
        low, high = found["success_interval"]
        print(
            f"{task.name}, {found['teacher']}, {self.levels:,} held-out levels: success {found['success']:.3f} "
            f"(95 %: {low:.3f} to {high:.3f}), return {found['return']:.3f}, length {found['length']:.1f}"
        )
        if found["unguided"]:
            print(f"no guidance for: {'; '.join(found['unguided'])}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diff:
    """Prints where two teachers differ: the total variation of their distributions, and the plans that change most."""

    a: str = dataclasses.field(metadata={"positional": True})
    """A teacher file, or the name of a task with a teacher of its own."""
    b: str = dataclasses.field(metadata={"positional": True})
    """Another one."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours that registers tasks; may be repeated."""
    most: int = 4
    """Plans shown of each state."""

    def execute(self) -> None:
        extensions.load_all(self.imports)
        (first, first_name), (second, second_name) = _read(self.a), _read(self.b)
        left, right = _distributions(first), _distributions(second)
        print(f"a: {first_name} ({first['made']})\nb: {second_name} ({second['made']})")
        for key in dict.fromkeys([*left, *right]):
            p, q = left.get(key), right.get(key)
            if p is None or q is None:
                print(f"\n{key}   only in {'a' if q is None else 'b'}")
                continue
            change = {plan: q.get(plan, 0.0) - p.get(plan, 0.0) for plan in dict.fromkeys([*p, *q])}
            distance = sum(abs(d) for d in change.values()) / 2
            print(f"\n{key}   total variation {distance:.3f}")
            for plan, d in sorted(change.items(), key=lambda item: -abs(item[1]))[: self.most]:
                if abs(d) > 5e-5:
                    print(f"  {p.get(plan, 0.0):6.3f} -> {q.get(plan, 0.0):6.3f}  {plan}")


MOST_PLANS = 64  # of a state, in a trial; a table with more takes long to compile


def entropy(probabilities: list[float]) -> float:
    """Of a distribution, in bits."""
    return -sum(p * math.log2(p) for p in probabilities if p > 0) + 0.0


def _read(name: str) -> tuple[dict[str, Any], str]:
    """The teacher file at a path or `file:PATH`, or the teacher of the named task; and its name."""
    path = name.removeprefix("file:")
    if (Path(path) / run_folder.TEACHER).is_file():
        return file.load(Path(path) / run_folder.TEACHER), path
    if Path(path).exists() or name.startswith("file:"):
        return file.load(path), path
    try:
        task = get_task(name)
    except UnknownTask as error:
        raise TeacherFileError(f"there is no file {name}, and {error}") from None
    return file.shipped(task), f"{task.name}'s own"


def _resolve(spec: str, task: Task) -> dict[str, Any]:
    if spec == "shipped":
        return file.shipped(task)
    if spec == "skills":
        return file.skills_alone(task)
    path = spec.removeprefix("file:")
    if spec.startswith("file:") or Path(path).exists():
        return file.load(path)
    raise TeacherFileError(
        f"`teacher` must be shipped, skills or file:PATH, not {spec!r}; record makes a file from an LLM"
    )


def _worth(folder: Path) -> dict[Symbolic, float] | None:
    """What the advice in each state was worth to a run's students; None if the run did not measure it.

    Raises:
        RunFolderError: it is not the folder of a run with a teacher.
    """
    if not (folder / run_folder.TEACHER).is_file() or not (folder / run_folder.METRICS).is_file():
        raise RunFolderError(f"{folder} is not the folder of a run with a teacher")
    states, learned = file.load(folder / run_folder.TEACHER)["states"], advice.of_run(folder)
    if learned is None:
        _tell(
            f"the run in {folder} did not measure what its teacher's states are worth; a replay of the teacher decides"
        )
        return None
    pairs = zip(states, learned, strict=True)
    return {file.state_of(state): one["worth"] for state, one in pairs if one["worth"] is not None}


def _writable(out: Path) -> Path:
    """A path that a teacher file can be written to; checked before an LLM is paid.

    Raises:
        TeacherFileError: its folder is not there, or it is a folder.
    """
    if out.is_dir() or not out.resolve().parent.is_dir():
        raise TeacherFileError(f"the teacher file {out} cannot be written: its folder is not there, or it is a folder")
    return out


def _sentence(state: dict[str, Any]) -> str:
    return file.state_of(state).sentence


def _written(entry: dict[str, Any]) -> str:
    return write_plan(tuple(step) for step in entry["skills"]) or "nothing"


def _counts(state: dict[str, Any]) -> str:
    parts = [f"entropy {entropy([entry['p'] for entry in state['plans']]):.2f} bits"]
    if "answers" in state:
        parts.append(f"{state['answers']} answers, {state.get('unusable', 0)} unusable")
    if state.get("noops"):
        parts.append(f"{state['noops']} steps without a known skill or object")
    if "scored" in state:
        parts.append(f"{state['scored']} plans scored")
    if "in_grammar" in state:
        parts.append(f"{state['in_grammar']:.2g} of free answers in the grammar")
    return ", ".join(parts)


def _distributions(content: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Sentence -> plan as written -> probability."""
    found: dict[str, dict[str, float]] = {}
    for state in content["states"]:
        plans = found.setdefault(_sentence(state), {})
        for entry in state["plans"]:
            plans[_written(entry)] = plans.get(_written(entry), 0.0) + entry["p"]
    return found


def _tell(line: str) -> None:
    line = commandline.in_options(line, {*commandline.settings_of(Record), *commandline.settings_of(Refine)})
    print(line, file=sys.stderr, flush=True)


COMMANDS = {"record": Record, "refine": Refine, "prompt": Prompt, "show": Show, "evaluate": Evaluate, "diff": Diff}


def run(name: str, words: Sequence[str], prog: str) -> None:
    """Runs one of `COMMANDS` with the words of its command line.

    Raises:
        Refusal: the message says what would be right.
    """
    cls = COMMANDS[name]
    out = "FILE-refined.json" if name == "refine" else "TASK.json"
    defaults = {"out": out, "env": "the file's own", "ask": "score where the backend can"}
    command = commandline.parse(cls, words, prog, cls.__doc__ or "", defaults.get)
    try:
        command.execute()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the answers so far are cached, and the same command continues") from None
