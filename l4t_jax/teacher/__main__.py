"""`python -m l4t_jax.teacher`: record a teacher file from an LLM, show it, measure it, compare two."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from l4t_jax.envs import Task, get_task
from l4t_jax.errors import ConfigError, Refusal, TeacherFileError, UnknownTask
from l4t_jax.teacher import file
from l4t_jax.teacher.backends import Options, open_backend
from l4t_jax.teacher.cache import Cache, default_folder
from l4t_jax.teacher.grammar import situations, write_plan
from l4t_jax.teacher.prompt import load
from l4t_jax.teacher.recording import Ask, estimate, record


@dataclasses.dataclass(frozen=True)
class Record:
    """Asks an LLM for every symbolic state of a task and writes its answers as a teacher file."""

    teacher: str
    """transformers:MODEL (a hub id, a folder, a .gguf file, a package that carries one), openai:MODEL, or file:PATH."""
    env: str = "SimpleDoorKey"
    """Task to ask for."""
    out: Path | None = None
    """The teacher file to write; TASK.json by default."""
    ask: tyro.conf.OmitArgPrefixes[Ask] = dataclasses.field(default_factory=Ask)
    base_url: str | None = None
    """Server of openai:MODEL, such as http://127.0.0.1:8080/v1; OPENAI_BASE_URL or OpenAI's own by default."""
    timeout: float = 60.0
    """Seconds that one request to a server may take."""
    retries: int = 4
    """How often a request that failed for a passing reason is sent again."""
    concurrency: int = 8
    """Requests to a server under way at a time."""
    extra: str = "{}"
    """Further fields of each request as JSON, such as '{"top_k": 0, "min_p": 0}' for llama.cpp's server."""
    device: str | None = None
    """Device of a local model: cpu, cuda, ...; an accelerator by default if there is one."""
    batch: int = 16
    """Texts that a local model works on at a time."""
    threads: int | None = None
    """CPU threads of a local model."""
    cache: Path | None = None
    """Folder in which answers are kept as they come; L4T_CACHE or ~/.cache/l4t_jax/answers by default."""
    price: tuple[float, float] | None = None
    """Dollars for a million tokens in and out, for the estimate of the cost."""
    dry_run: bool = False
    """Print the prompts and the estimate, and ask nothing."""

    def run(self) -> None:
        task = get_task(self.env)
        out = self.out or Path(f"{task.name}.json")
        if self.dry_run:
            how = self.ask.checked(None)
            if self.ask.ask is None and self.teacher.startswith("openai:"):
                how = dataclasses.replace(how, ask="sample")
            prompt = load(task, how.prompt)
            for asked in situations(task):
                print(f"=== {asked.state.sentence}")
                for message in prompt.messages(asked.state.sentence):
                    print(f"[{message['role']}]\n{message['content']}\n")
            self._say_cost(task, how)
            return
        if out.is_dir() or not out.resolve().parent.is_dir():
            raise TeacherFileError(
                f"the teacher file {out} cannot be written: its folder is not there, or it is a folder"
            )
        options = Options.of(self)
        backend = open_backend(self.teacher, task, options)
        how = self.ask.checked(backend)
        self._say_cost(task, how)
        content = record(task, backend, how, Cache(self.cache or default_folder()), _tell)
        file.save(content, out)
        vain = file.missing(task, content)
        note = f"; no usable answer in {len(vain)} of them: there it gives no guidance" if vain else ""
        print(f"{out}: {len(content['states'])} states in {content['source']['seconds']:.0f} s{note}")

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


@dataclasses.dataclass(frozen=True)
class Show:
    """Prints a teacher as a person reads it: states, plans, probabilities, entropy, unusable answers."""

    teacher: Annotated[str, tyro.conf.Positional] = "SimpleDoorKey"
    """A teacher file, or a task whose own is meant."""
    most: int = 8
    """Plans shown of each state."""

    def run(self) -> None:
        content, name = _read(self.teacher)
        print(f"{name}: {content['task']}, {content['made']}. {content.get('about', '')}")
        for key, value in (content.get("source") or {}).items():
            print(f"  {key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
        for state in content["states"]:
            print(f"\n{_sentence(state)}   {_counts(state)}")
            for entry in state["plans"][: self.most]:
                print(f"  {entry['p']:7.4f}  {_written(entry)}")
            rest = state["plans"][self.most :]
            if rest:
                print(f"  {sum(entry['p'] for entry in rest):7.4f}  {len(rest)} further plans")


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Plays a teacher on held-out levels."""

    env: str = "SimpleDoorKey"
    """Task to play."""
    teacher: str = "shipped"
    """shipped (the task's own teacher file), or file:PATH."""
    levels: int = 1000
    """Held-out levels, the same for every teacher and student."""
    seed: int = 0
    """Seed of the teacher's actions."""
    json: bool = False
    """Print one JSON object and nothing else."""

    def run(self) -> None:
        task = get_task(self.env)
        content = _resolve(self.teacher, task)
        if not 1 <= self.levels <= 1_000_000:
            raise ConfigError(f"--levels must be from 1 to 1000000, not {self.levels}")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"--seed must be from 0 to {2**31 - 1}, not {self.seed}")
        found = evaluate(task, content, self.levels, self.seed)
        if self.json:
            print(json.dumps(found))
            return
        low, high = found["success_interval"]
        print(
            f"{task.name}, {found['teacher']}, {self.levels:,} held-out levels: success {found['success']:.3f} "
            f"(95 %: {low:.3f} to {high:.3f}), return {found['return']:.3f}, length {found['length']:.1f}"
        )
        if found["unguided"]:
            print(f"without guidance in: {'; '.join(found['unguided'])}")


@dataclasses.dataclass(frozen=True)
class Diff:
    """Prints where two teachers differ: the distance of their distributions, and the plans that gain and lose most."""

    a: Annotated[str, tyro.conf.Positional]
    """A teacher file, or a task whose own is meant."""
    b: Annotated[str, tyro.conf.Positional]
    """Another."""
    most: int = 4
    """Plans shown of each state."""

    def run(self) -> None:
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


def evaluate(task: Task, content: dict[str, Any], levels: int, seed: int = 0) -> dict[str, Any]:
    """Success, return and length of a teacher on the first `levels` held-out levels of a task.

    Args:
        task: whose levels.
        content: of a teacher file.
        levels: how many.
        seed: of the actions drawn from the teacher.
    """
    import jax
    import numpy as np

    from l4t_jax.config import Config
    from l4t_jax.evaluation import playing
    from l4t_jax.reporting.run_folder import wilson
    from l4t_jax.training.trainer import Trainer

    trainer = Trainer.create(Config(env=task.name, algo="ppo"))
    table = file.to_table(task, content)
    policy = playing.teacher_policy(task, table)
    start = trainer.levels(levels, "test")
    play = jax.jit(lambda key, env_states: playing.play(trainer.env, policy, (), key, env_states))
    episodes = jax.device_get(play(jax.random.key(seed), start))
    success = np.asarray(episodes.success, np.float64)
    return {
        "task": task.name,
        "teacher": content["made"],
        "levels": levels,
        "success": float(success.mean()),
        "success_interval": list(wilson(float(success.sum()), levels)),
        "return": float(np.asarray(episodes.reward, np.float64).mean()),
        "length": float(np.asarray(episodes.length, np.float64).mean()),
        "unguided": [state.sentence for state in file.missing(task, content)],
    }


def entropy(probabilities: list[float]) -> float:
    """Of a distribution, in bits."""
    return -sum(p * math.log2(p) for p in probabilities if p > 0) + 0.0


def _read(name: str) -> tuple[dict[str, Any], str]:
    """A teacher file by path, `file:PATH`, or the name of the task whose own is meant."""
    path = name.removeprefix("file:")
    if Path(path).exists() or name != path:
        return file.load(path), path
    try:
        task = get_task(name)
    except UnknownTask as error:
        raise TeacherFileError(f"there is no file {name}, and {error}") from None
    return file.shipped(task), f"{task.name}'s own"


def _resolve(spec: str, task: Task) -> dict[str, Any]:
    if spec == "shipped":
        return file.shipped(task)
    if spec.startswith("file:") or Path(spec).exists():
        return file.load(spec.removeprefix("file:"))
    raise TeacherFileError(f"--teacher must be shipped or file:PATH, not {spec!r}; record makes a file from an LLM")


def _sentence(state: dict[str, Any]) -> str:
    return file.Symbolic(tuple(state["sees"]), state["holds"]).sentence


def _written(entry: dict[str, Any]) -> str:
    return write_plan(tuple(step) for step in entry["skills"]) or "nothing"


def _counts(state: dict[str, Any]) -> str:
    parts = [f"entropy {entropy([entry['p'] for entry in state['plans']]):.2f} bits"]
    if "answers" in state:
        parts.append(f"{state['answers']} answers, {state.get('unusable', 0)} unusable")
    if state.get("noops"):
        parts.append(f"{state['noops']} steps that name nothing known")
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
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    commands = {"record": Record, "show": Show, "evaluate": Evaluate, "diff": Diff}
    chosen = tyro.extras.subcommand_cli_from_dict(
        commands, prog="python -m l4t_jax.teacher", description=__doc__, args=arguments
    )
    try:
        chosen.run()
    except Refusal as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; answers are kept as they come, the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
