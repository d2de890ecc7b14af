"""A local language model in Hugging Face transformers: a hub id, a folder, or a GGUF file; on a CPU or GPU.

Host module; importing it imports torch. The common prefix of the prompts is processed once, and so is each prompt: all
texts that continue a prompt share its key-value cache. Sampling is done here and not by `generate`, for two reasons.
Every answer has its own random generator, so answer 7 is the same if 10 or 20 are asked for, in any batches. And an
answer can be restricted to given choices by masking all other tokens.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from l4t_jax.config import with_home
from l4t_jax.teacher.backends import Answer, BackendError, Options, Request
from l4t_jax.teacher.backends.chat_template import answer_text, end_tokens, longest, prompt_text, prompt_tokens, room
from l4t_jax.teacher.backends.completion import CUT
from l4t_jax.teacher.prompt import Message

try:  # imported by name, because type checking runs without the extra
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
except ImportError as error:
    raise BackendError(
        f"`teacher=transformers:MODEL` needs the extra llm ({error.name} is not installed); "
        "pip install torch transformers accelerate gguf brings it"
    ) from error

_ENDS = 1 << 20  # bytes at each end of a weights file that are hashed for a local model's revision


class TransformersBackend:
    """A causal language model.

    Args:
        model: a hub id, a folder, a .gguf file, or the name of an installed package that carries a .gguf file.
        options: `device`, `batch` and `threads` are used.
    """

    scores = True
    constrains = True

    def __init__(self, model: str, options: Options) -> None:
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self._batch = max(1, options.batch)
        self._device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        path = _local(model)
        try:
            where, arguments = model, {}
            if path is not None and path.is_file():
                where, arguments = str(path.parent), {"gguf_file": path.name}
            elif path is not None:
                where = str(path)
            dtype = torch.float32 if self._device.type == "cpu" else "auto"
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(where, **arguments)
            loaded = transformers.AutoModelForCausalLM.from_pretrained(where, dtype=dtype, **arguments)
            self._model = loaded.to(self._device).eval()
        except Exception as error:  # the library raises whatever its parts raise
            said = str(error).strip().splitlines()
            reason = said[0] if said else type(error).__name__
            raise BackendError(f"the model {model!r} cannot be loaded: {reason}") from error
        # transformers 5 calls the key-value cache `cache`, for some models first; elsewhere it has its old name.
        names = inspect.signature(self._model.forward).parameters
        self._cache_name = "cache" if "cache" in names else "past_key_values"
        config = self._model.config
        self._ends = end_tokens(self._tokenizer, self._model.generation_config, config)
        self._limit = longest(self._tokenizer, config)
        self._text = ""  # of the last prompt
        self._last: list[int] = []  # tokens of the last prompt
        self._head: list[int] = []  # tokens of the common prefix of the last two prompts, and their key-value cache
        self._head_cache: Any = None
        self.identity: dict[str, Any] = {
            "backend": "transformers",
            "model": model if path is None else path.name,
            "revision": _fingerprint(path) if path else getattr(config, "_commit_hash", None) or "unknown",
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
        }

    # Prompts

    def _prompt(self, messages: Sequence[Message], wanted: int, least: int) -> tuple[list[int], int]:
        """(tokens of a chat up to the answer, largest number of tokens of the answer); see `chat_template.room`."""
        self._text = prompt_text(self._tokenizer, messages)
        tokens = prompt_tokens(self._tokenizer, self._text)
        return tokens, room(tokens, self._limit, wanted, least)

    def _answer_tokens(self, text: str) -> list[int]:
        """The tokens of a whole answer, including the end token."""
        return [*self._tokenizer(text, add_special_tokens=False)["input_ids"], self._ends[0]]

    @torch.inference_mode()
    def _read(self, tokens: list[int]) -> tuple[Any, Any]:
        """The prompt's key-value cache, and the log-probabilities (V,) of the answer's first token."""
        head = self._head
        if not head or len(head) >= len(tokens) or tokens[: len(head)] != head:
            alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(self._last, tokens[:-1], strict=False))
            head = self._head = tokens[: len(list(alike))]
            whole = torch.tensor([head], device=self._device)
            self._head_cache = self._model(whole, use_cache=True)[self._cache_name] if head else None
        self._last = tokens
        rest = torch.tensor([tokens[len(head) :]], device=self._device)
        out = self._model(rest, use_cache=True, **{self._cache_name: copy.deepcopy(self._head_cache)})
        return out[self._cache_name], out.logits[0, -1].float()

    # The two ways to ask

    @torch.inference_mode()
    def score(self, request: Request, texts: Sequence[str]) -> list[float]:
        answers = [self._answer_tokens(text) for text in texts]
        most = max(map(len, answers))
        cache, first = self._read(self._prompt(request.messages, most, most)[0])
        first = torch.log_softmax(first, dim=-1)
        prefix = cache.get_seq_length()
        by_length = sorted(range(len(answers)), key=lambda i: len(answers[i]))
        found = [0.0] * len(answers)
        for start in range(0, len(answers), self._batch):
            chosen = by_length[start : start + self._batch]
            longest = len(answers[chosen[-1]])
            rows = torch.full((len(chosen), longest), self._ends[0], device=self._device)
            real = torch.zeros((len(chosen), longest), dtype=torch.bool, device=self._device)
            for row, i in enumerate(chosen):
                rows[row, : len(answers[i])] = torch.tensor(answers[i], device=self._device)
                real[row, : len(answers[i])] = True
            total = first[rows[:, 0]]
            if longest > 1:
                mine = copy.deepcopy(cache)
                mine.batch_repeat_interleave(len(chosen))
                seen = torch.ones((len(chosen), prefix), dtype=torch.bool, device=self._device)
                mask = torch.cat([seen, real[:, :-1]], dim=1)  # padding is last, so no real token attends to it
                logits = self._model(rows[:, :-1], attention_mask=mask.long(), **{self._cache_name: mine}).logits
                each = torch.log_softmax(logits.float(), dim=-1).gather(-1, rows[:, 1:, None])[..., 0]
                total = total + (each * real[:, 1:]).sum(dim=-1)
            for row, i in enumerate(chosen):
                found[i] = float(total[row])
        return found

    @torch.inference_mode()
    def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, Answer]]:
        choices = [self._answer_tokens(text) for text in request.choices or ()]
        least = min(request.sampling.max_tokens, max(map(len, choices), default=1))
        tokens, most = self._prompt(request.messages, request.sampling.max_tokens, least)
        cache, first = self._read(tokens)
        allowed = _tree(choices) if choices else None
        request = dataclasses.replace(request, sampling=dataclasses.replace(request.sampling, max_tokens=most))
        for start in range(0, len(numbers), self._batch):
            yield from self._sample(request, numbers[start : start + self._batch], copy.deepcopy(cache), first, allowed)

    def _sample(
        self, request: Request, numbers: Sequence[int], cache: Any, first: Any, allowed: dict[int, Any] | None
    ) -> Iterator[tuple[int, Answer]]:
        """A batch of answers, sampled token by token; each is yielded when it ends."""
        sampling, prompt = request.sampling, self._text
        asked = repr([dict(message) for message in request.messages])
        generators = [_generator(f"{sampling.seed + number} {asked}") for number in numbers]
        live = list(range(len(numbers)))  # rows of the cache, as indices into `numbers`
        texts: list[list[int]] = [[] for _ in numbers]
        nodes = [allowed for _ in numbers]
        cache.batch_repeat_interleave(len(live))
        logits = first[None].expand(len(live), -1)
        for position in range(1, sampling.max_tokens + 1):
            stay, tokens = [], []
            for row, i in enumerate(live):
                token = _draw(logits[row].cpu(), sampling.temperature, sampling.top_p, generators[i], nodes[i])
                inner = nodes[i]
                if inner is not None:
                    nodes[i] = inner[token]
                if token not in self._ends:
                    texts[i].append(token)
                ended = token in self._ends or (nodes[i] is not None and not nodes[i])
                if ended or position == sampling.max_tokens:
                    text = answer_text(self._tokenizer, texts[i], prompt)
                    fault = (None, "") if ended else (CUT, f"{position} tokens")
                    yield numbers[i], Answer(text, *fault, tokens=(len(self._last), position))
                else:
                    stay.append(row)
                    tokens.append(token)
            if not stay:
                return
            if len(stay) < len(live):
                cache.batch_select_indices(torch.tensor(stay, device=self._device))
                live = [live[row] for row in stay]
            out = self._model(torch.tensor(tokens, device=self._device)[:, None], **{self._cache_name: cache})
            logits = out.logits[:, -1].float()


def _generator(name: str) -> Any:
    """A random generator for each name. With one seed for all states, all states would use the same random numbers."""
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1)


def _draw(logits: Any, temperature: float, top_p: float, generator: Any, allowed: dict[int, Any] | None) -> int:
    """A token sampled from logits `float32[V]`."""
    if allowed is not None:
        mask = torch.full_like(logits, -math.inf)
        open_now = torch.tensor(list(allowed))
        mask[open_now] = logits[open_now]
        logits = mask
    if temperature == 0:
        return int(torch.argmax(logits))
    p = torch.softmax(logits.double() / temperature, dim=-1)
    if top_p < 1:
        ordered, index = torch.sort(p, descending=True, stable=True)
        ordered[ordered.cumsum(-1) - ordered >= top_p] = 0.0
        p = torch.zeros_like(p).scatter(-1, index, ordered)
    return int(torch.multinomial(p, 1, generator=generator))


def _tree(sequences: Sequence[Sequence[int]]) -> dict[int, Any]:
    """Token sequences as a prefix tree of nested dictionaries: the tokens that may follow."""
    root: dict[int, Any] = {}
    for sequence in sequences:
        node = root
        for token in sequence:
            node = node.setdefault(token, {})
    return root


def _local(model: str) -> Path | None:
    """The folder or file of a model name; None for a hub id.

    Raises:
        BackendError: the name looks like a path, but nothing is there.
    """
    path = Path(with_home(model))
    if path.exists():
        return path
    if model.endswith(".gguf") or model.startswith(("/", "./", "../", "~")):
        raise BackendError(f"there is no model at {model}; name a folder, a .gguf file or a hub id")
    if "/" not in model:
        found = importlib.util.find_spec(model.replace("-", "_")) if model.replace("-", "_").isidentifier() else None
        for folder in (found.submodule_search_locations or []) if found is not None else []:
            files = sorted(Path(folder).rglob("*.gguf"))
            if files:
                return files[0]
    return None


def _fingerprint(path: Path) -> str:
    """A hash of a local model, 16 hex digits: the names and sizes of its files, and both ends of each file."""
    whole = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        size = file.stat().st_size
        whole.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as stream:
            whole.update(stream.read(_ENDS))
            stream.seek(max(0, size - _ENDS))
            whole.update(stream.read(_ENDS))
    return whole.hexdigest()[:16]
