"""Asks an LLM for a task's plans and makes a teacher file from its answers.

Host module. There are two ways to ask.

*Score*: the LLM gives the log-likelihood of every plan of the finite grammar (`grammar.plans`) as the whole answer.
Normalised over the grammar, this is exactly the LLM's distribution over plans. With `divide_prior` = b, each likelihood
is divided by the plan's likelihood under a content-free state, to the power b (contextual calibration). This removes a
weak model's general preference for a plan.

*Sample*: answers are sampled and parsed. Their frequencies are the distribution. Answers without a plan are counted as
unusable.

Every usable answer is cached as it arrives (`cache`), so the same command continues after an interruption. An answer
that is empty, cut off or without a plan is not cached, so it is asked for again.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from l4t_jax.envs.task import Task
from l4t_jax.errors import BudgetSpent, NoPlans
from l4t_jax.teacher import file
from l4t_jax.teacher import prompt as prompts
from l4t_jax.teacher.backends import Answer, Backend, BackendError, Request, Sampling
from l4t_jax.teacher.backends.completion import CUT, REASONING, WHOLE
from l4t_jax.teacher.cache import Cache
from l4t_jax.teacher.grammar import Plan, Situation, TooManyStates, plans, situations, write_plan
from l4t_jax.teacher.ledger import Call, Ledger
from l4t_jax.teacher.parser import Parsed, parse, parse_cut
from l4t_jax.teacher.prompt import Message
from l4t_jax.teacher.reasoning import final, whole

Report = Callable[[str], None]
NO_PLAN = "without a plan"  # a fault beside those of `backends.completion`


@dataclasses.dataclass(frozen=True)
class Ask:
    """How to ask. The field's text is the command line's help."""

    ask: Literal["score", "sample"] | None = None
    """score: the exact likelihood of every plan of the grammar. sample: sample answers and parse them. Default: score
    if the backend can."""
    samples: int = 10
    """Answers drawn for each state (`ask=sample`)."""
    temperature: float = 1.0
    """Temperature of the answers (`ask=sample`); 0 takes the most probable token each time."""
    top_p: float = 1.0
    """Tokens are drawn from the smallest set with this probability (`ask=sample`)."""
    max_tokens: int = 64
    """An answer is cut after this many tokens (`ask=sample`)."""
    seed: int = 0
    """Seed of the answers (`ask=sample`)."""
    constrain: Literal["auto", "off"] = "auto"
    """auto: answers are restricted to the grammar's plans if the backend can. off: free text (`ask=sample`)."""
    divide_prior: float = 0.0
    """Divide each plan's likelihood by its likelihood under a content-free state, to this power: 0 not at all, 1 in
    full (`ask=score`)."""
    min_p: float = 0.001
    """Plans less probable than this are left out of the file, and the others are renormalised (`ask=score`)."""
    prompt: str | None = None
    """File with the prompt; the task's own by default."""

    @classmethod
    def of(cls, settings: Any) -> Ask:
        """From a run's settings: the attributes of the same names, except `seed`, which is the run's own seed."""
        names = [field.name for field in dataclasses.fields(cls) if field.name != "seed"]
        return cls(**{name: getattr(settings, name) for name in names if hasattr(settings, name)})

    def checked(self, backend: Backend | None) -> Ask:
        """A copy with `ask` resolved.

        Raises:
            BackendError: a value is out of range, or the backend cannot be asked so.
        """
        scores = backend is None or backend.scores
        how = self.ask or ("score" if scores else "sample")

        def require(condition: bool, message: str) -> None:
            if not condition:
                raise BackendError(message)

        require(
            how == "sample" or scores,
            "`ask=score` needs a backend that gives likelihoods, such as transformers:MODEL; use `ask=sample` here",
        )
        require(1 <= self.samples <= 10_000, f"`samples` must be from 1 to 10000, not {self.samples}")
        require(0 <= self.temperature <= 10, f"`temperature` must be from 0 to 10, not {self.temperature:g}")
        require(0 < self.top_p <= 1, f"`top_p` must be above 0 and at most 1, not {self.top_p:g}")
        require(1 <= self.max_tokens <= 131_072, f"`max_tokens` must be from 1 to 131072, not {self.max_tokens}")
        require(0 <= self.seed < 2**31, f"`seed` must be from 0 to {2**31 - 1}, not {self.seed}")
        require(0 <= self.divide_prior <= 2, f"`divide_prior` must be from 0 to 2, not {self.divide_prior:g}")
        require(0 <= self.min_p < 0.5, f"`min_p` must be at least 0 and below 0.5, not {self.min_p:g}")
        return dataclasses.replace(self, ask=how)


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a recording, estimated from the length of the texts at four characters per token.

    Attributes:
        questions: number of states.
        requests: number of answers sampled, or of texts scored.
        tokens_in, tokens_out: of all requests together; `tokens_out` is an upper bound.
    """

    questions: int
    requests: int
    tokens_in: int
    tokens_out: int


def estimate(task: Task, ask: Ask) -> Cost:
    """The cost of asking about all states of a task."""
    asked = situations(task)
    prompt = prompts.load(task, ask.prompt)
    heads = [sum(len(m["content"]) for m in prompt.messages(s.state.sentence)) // 4 for s in asked]
    if ask.ask == "sample":
        number = len(asked) * ask.samples
        return Cost(len(asked), number, sum(heads) * ask.samples, number * ask.max_tokens)
    texts = [[write_plan(plan) for plan in plans(s)] for s in asked]
    union = {text for some in texts for text in some} if ask.divide_prior else set()
    lengths = sum(len(text) // 4 + 1 for some in [*texts, list(union)] for text in some)
    return Cost(len(asked), sum(map(len, texts)) + len(union), sum(heads) + lengths, 0)


@dataclasses.dataclass
class Asker:
    """Asks a backend about states of a task, one at a time, and caches the answers.

    Attributes:
        task, backend, cache: to use; without a cache no answer is stored.
        ask: how to ask.
        report: called with a line about each step.
        ledger: counts the calls and stops them at its limits.
    """

    task: Task
    backend: Backend
    ask: Ask
    cache: Cache | None = None
    report: Report = lambda line: None
    ledger: Ledger = dataclasses.field(default_factory=Ledger)

    def __post_init__(self) -> None:
        self.ask = self.ask.checked(self.backend)
        self.prompt = prompts.load(self.task, self.ask.prompt)
        self.faults: Counter[tuple[str, str]] = Counter()  # (fault, detail) of the answers
        self._prior: dict[str, float] = {}

    def state(self, asked: Situation, more: Sequence[Message] = ()) -> dict[str, Any]:
        """The teacher file's entry for one symbolic state.

        Args:
            asked: the state.
            more: messages that follow the prompt's.

        Raises:
            BackendError: the backend does not answer.
            CacheError: the answers cannot be cached.
        """
        request = self._request(asked, more)
        return self._score(asked, request) if self.ask.ask == "score" else self._sample(asked, request)

    def source(self) -> dict[str, Any]:
        """How the answers were asked for, for the teacher file."""
        ask = self.ask
        how: dict[str, Any]
        if ask.ask == "score":
            how = {"ask": "score", "divide_prior": ask.divide_prior, "min_p": ask.min_p}
        else:
            names = ("samples", "temperature", "top_p", "max_tokens", "seed")
            how = {"ask": "sample", **{name: getattr(ask, name) for name in names}, "constrained": self._constrains}
        where = {"file": self.prompt.name, "hash": self.prompt.digest}
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        return {**self.backend.identity, **how, "prompt": where, "date": today}

    @property
    def _constrains(self) -> bool:
        return self.ask.constrain == "auto" and self.backend.constrains

    def _question(self, request: Request, **more: Any) -> dict[str, Any]:
        """The cache key of an answer."""
        return {"backend": self.backend.identity, "messages": list(request.messages), **more}

    # Scoring

    def _likelihoods(self, request: Request, texts: Sequence[str]) -> list[float]:
        """Log-likelihoods, from the cache if they are there."""
        question = self._question(request, ask="score", texts=list(texts))
        kept = self.cache.get(question, "scores") if self.cache else None
        scores = kept.get("log_likelihood") if kept else None
        if isinstance(scores, list) and len(scores) == len(texts) and all(isinstance(s, float) for s in scores):
            self.ledger.cached += 1
        else:
            with self.ledger.timed(), self.ledger.call(request.size, len(request.messages), 0) as call:
                scores = [float(s) for s in self.backend.score(request, texts)]
                call.book(None, request.size + sum(map(len, texts)), 0)
            if not all(math.isfinite(s) and s <= 1e-3 for s in scores):
                raise BackendError(
                    f"the backend gives log-likelihoods such as {max(scores):g}; they must be 0 or below"
                )
            if self.cache:
                self.cache.put(question, "scores", {"log_likelihood": scores})
        return scores

    def _score(self, asked: Situation, request: Request) -> dict[str, Any]:
        ask, choices = self.ask, plans(asked)
        texts = [write_plan(plan) for plan in choices]
        scores = self._likelihoods(request, texts)
        logits = scores
        if ask.divide_prior:
            prior = self._priors(texts)
            logits = [score - ask.divide_prior * prior[text] for score, text in zip(scores, texts, strict=True)]
        largest = max(logits)
        weights = [math.exp(logit - largest) for logit in logits]
        p = [weight / sum(weights) for weight in weights]
        kept = [(share, plan) for share, plan in zip(p, choices, strict=True) if share >= ask.min_p]
        mass = math.fsum(math.exp(score) for score in scores)
        return {
            **_named(asked),
            "scored": len(choices),
            "in_grammar": float(f"{mass:.4g}"),  # the probability that a free answer is a plan of the grammar
            "plans": _plans(kept),
        }

    def _priors(self, texts: Sequence[str]) -> dict[str, float]:
        """Log-likelihoods under the content-free state; of all plans of the task at once if they can be listed."""
        missing = [text for text in texts if text not in self._prior]
        if missing:
            try:
                listed = [write_plan(plan) for one in situations(self.task) for plan in plans(one)]
            except TooManyStates:
                listed = []
            wanted = list(dict.fromkeys([*listed, *missing]))
            request = Request(self.prompt.messages(prompts.CONTENT_FREE), None)
            self._prior.update(zip(wanted, self._likelihoods(request, wanted), strict=True))
        return self._prior

    # Sampling

    def _request(self, asked: Situation, more: Sequence[Message]) -> Request:
        choices = [write_plan(plan) for plan in plans(asked)] if self._constrains else None
        ask = self.ask
        sampling = Sampling(ask.temperature, ask.top_p, ask.max_tokens, ask.seed)
        messages = [*self.prompt.messages(asked.state.sentence), *more]
        return Request(messages, asked.state, choices, sampling, self.ledger)

    def _sample(self, asked: Situation, request: Request) -> dict[str, Any]:
        question = self._question(
            request, ask="sample", sampling=dataclasses.asdict(request.sampling), choices=request.choices
        )
        read: dict[int, Parsed] = {}
        for number in range(self.ask.samples):
            kept = self.cache.get(question, f"{number:04d}") if self.cache else None
            if kept is not None and isinstance(kept.get("text"), str):
                found = self._parse(asked, kept["text"])
                if found.steps is not None:
                    read[number] = found
        self.ledger.cached += len(read)
        missing = [number for number in range(self.ask.samples) if number not in read]
        with self.ledger.timed():
            for number, answer in self._answers(request, missing) if missing else ():
                read[number] = self._take(asked, question, number, answer)
        counts = Counter(read[number].steps for number in sorted(read))
        unusable = counts.pop(None, 0)
        shares = [(count / (len(read) - unusable), plan) for plan, count in counts.items() if plan is not None]
        noops = sum(found.noops for found in read.values())
        return {
            **_named(asked), "answers": len(read), "unusable": unusable, "noops": noops, "plans": _plans(shares),
        }  # fmt: skip

    def _answers(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, Answer]]:
        """The backend's answers, with their calls booked. What is under way at a limit of the ledger still arrives."""
        if getattr(self.backend, "counts_calls", False):
            for number, answer in self.backend.sample(request, numbers):
                yield number, Answer(answer) if isinstance(answer, str) else answer
            return
        calls: dict[int, Call] = {}
        spent: BudgetSpent | None = None
        try:
            for number in numbers:
                calls[number] = self.ledger.begin(request.size, len(request.messages), request.sampling.max_tokens)
        except BudgetSpent as error:
            spent = error
        try:
            for number, answer in self.backend.sample(request, list(calls)) if calls else ():
                answer = Answer(answer) if isinstance(answer, str) else answer
                call = calls.pop(number)
                call.book(answer.tokens, request.size, len(answer.text))
                self.ledger.end(call)
                yield number, answer
        finally:
            for call in calls.values():
                self.ledger.end(call)
        if spent is not None:
            raise spent

    def _take(self, asked: Situation, question: dict[str, Any], number: int, answer: Answer) -> Parsed:
        """Parses an answer and caches it if it is usable. Another recorder's cached answer takes precedence."""
        text = whole(final(answer.text)) if answer.fault else answer.text
        found = parse_cut(answer.text, list(asked.objects), asked.skills) if answer.fault else self._parse(asked, text)
        if found.steps is None:
            fault = (answer.fault, answer.detail) if answer.fault else (NO_PLAN, _quoted(answer.text))
            self.faults[fault] += 1
        elif self.cache:
            kept = self.cache.put(question, f"{number:04d}", {"text": text}).get("text")
            other = self._parse(asked, kept) if isinstance(kept, str) and kept != text else found
            if other.steps is not None:
                return other
            self.cache.put(question, f"{number:04d}", {"text": text}, replace=True)  # the cached answer is unusable
        return found

    def _parse(self, asked: Situation, text: str) -> Parsed:
        return parse(text, list(asked.objects), asked.skills)

    def what_failed(self) -> str:
        """The unusable answers by fault: "3 cut off at `max_tokens` (64 tokens), 1 empty"."""
        faults: dict[str, Counter[str]] = {}
        for (fault, detail), count in self.faults.items():
            faults.setdefault(fault, Counter())[detail] += count
        parts = []
        for fault, details in sorted(faults.items(), key=lambda item: -item[1].total()):
            detail = details.most_common(1)[0][0]
            parts.append(f"{details.total()} {fault}" + (f" ({detail})" if detail else ""))
        return ", ".join(parts)


def _named(asked: Situation) -> dict[str, Any]:
    return {"sees": list(asked.state.sees), "holds": asked.state.holds}


def _plans(found: Iterable[tuple[float, Plan]]) -> list[dict[str, Any]]:
    """Plans as in the file: the most probable first, probabilities with six digits and sum 1."""
    ordered = sorted(found, key=lambda pair: (-pair[0], pair[1]))
    total = math.fsum(p for p, _ in ordered)
    return [{"p": round(p / total, 6), "skills": [list(step) for step in plan]} for p, plan in ordered]


def record(
    task: Task,
    backend: Backend,
    ask: Ask,
    cache: Cache | None = None,
    report: Report = lambda line: None,
    states: Iterable[int] | None = None,
    ledger: Ledger | None = None,
) -> dict[str, Any]:
    """Asks about every symbolic state that can occur, or about the given ids, and makes a teacher file of the answers.

    Args:
        task: the task.
        backend: answers the questions.
        ask: how to ask.
        cache: stores answers as they arrive.
        report: called with a line about each step.
        states: ids of symbolic states; by default all that can occur.
        ledger: counts the calls and stops them at its limits.

    Returns:
        The content of a teacher file (`file.save`).

    Raises:
        BackendError, CacheError, PromptError: the message says what would help, and where the answers so far are.
        NoPlans: no answer has a plan.
        TooManyStates: the message says what can be done instead.
    """
    asker = Asker(task, backend, ask, cache, report, ledger or Ledger())
    questions = situations(task, states)
    entries = []
    start = time.monotonic()
    for number, asked in enumerate(questions):
        try:
            entry = asker.state(asked)
        except BackendError as error:
            if cache is None or not (number or asker.ask.ask == "sample"):
                raise
            raise BackendError(
                f"{error}; the answers so far are cached in {cache.folder}, and the same command continues from there"
            ) from error
        entries.append(entry)
        taken = time.monotonic() - start
        left = taken / (number + 1) * (len(questions) - number - 1)
        done = f"[{number + 1}/{len(questions)}] {asked.state.sentence} {summary(entry)}"
        report(f"{done}; {taken:.0f} s, {left:.0f} s to go")
    report(f"asking took {asker.ledger}")
    _refuse_useless(entries, asker)
    if asker.faults:
        report(f"of {sum(entry['answers'] for entry in entries)} answers {asker.what_failed()}")
    return made(asker, entries, time.monotonic() - start)


def _refuse_useless(entries: list[dict[str, Any]], asker: Asker) -> None:
    """Raises `NoPlans` if no answer has a plan: a file of such answers would not be a teacher."""
    if not entries or any(entry["plans"] for entry in entries):
        return
    answers = sum(entry.get("answers", 0) for entry in entries)
    help_ = ""
    if any(fault in (CUT, REASONING) and detail != WHOLE for fault, detail in asker.faults):
        help_ = "; raise `max_tokens`"
    elif (REASONING, WHOLE) in asker.faults:  # vLLM: its parser takes all up to a closing mark for reasoning
        help_ = "; if the model writes no reasoning, start the server without a reasoning parser"
    raise NoPlans(f"none of the {answers} answers has a plan, so there is no teacher: {asker.what_failed()}{help_}")


def _quoted(text: str) -> str:
    """The beginning of an answer, for a message."""
    line = "".join(letter for letter in " ".join(text[:400].split()) if letter.isprintable())
    return f"such as {line[:60]!r}" if line else ""


def made(asker: Asker, entries: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """The content of a teacher file with these states."""
    model = asker.backend.identity.get("model", "an LLM")
    how = "scored" if asker.ask.ask == "score" else "sampled"
    content = {
        "format": file.FORMAT,
        "version": file.VERSION,
        "task": asker.task.name,
        "made": getattr(asker.backend, "made", "llm"),
        "about": f"{model}, {how}.",
        "source": {**asker.source(), "seconds": round(seconds, 1), "ledger": asker.ledger.content},
        "states": entries,
    }
    file.check(content, "the new teacher file")
    return content


def summary(entry: dict[str, Any]) -> str:
    """The most probable plan of a state in the file, in one line."""
    if not entry["plans"]:
        return f"no usable answer of {entry.get('answers', 0)}"
    best = entry["plans"][0]
    unusable = f", {entry['unusable']} of {entry['answers']} unusable" if entry.get("unusable") else ""
    return f"{write_plan(tuple(step) for step in best['skills'])} ({best['p']:.2f}{unusable})"
