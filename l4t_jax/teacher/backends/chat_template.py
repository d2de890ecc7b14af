"""The chat format of a local model: its chat template, its end tokens, its context length.

Host module without torch. Some models have a template that fails, several templates, a template that drops the system
message, no end token, or several. Each case works here, or gives one clear sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from l4t_jax.errors import BackendError
from l4t_jax.teacher.prompt import Message
from l4t_jax.teacher.reasoning import final, opening_at_end

_NO_LIMIT = 10**9  # tokenizers use 1e30 for an unknown limit


def template_of(tokenizer: Any) -> str | None:
    """The model's chat template; None for a base model. Of several, the default one or the first one for chat."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, list):  # several templates in an old configuration file
        template = {entry["name"]: entry["template"] for entry in template}
    if not isinstance(template, dict):
        return template or None
    chat = [name for name in template if name not in ("tool_use", "rag")]
    names = ["default", *chat, *template]
    return next((template[name] for name in names if template.get(name)), None)


def prompt_text(tokenizer: Any, messages: Sequence[Message]) -> str:
    """A chat as the model's prompt, up to the start of its answer.

    A template that fails on a message, or drops one, gets the chat in another form: the system message as part of the
    first user message, or the whole chat as one user message.

    Raises:
        BackendError: the template fails on each form, or drops the last message.
    """
    template = template_of(tokenizer)
    if template is None:
        return "\n\n".join(message["content"] for message in messages) + "\n"
    failure: Exception | None = None
    for chat in _forms(messages):
        try:
            text = _rendered(tokenizer, template, chat)
        except Exception as error:  # templates can raise: some on a system message, some on anything
            failure = failure or error
            continue
        if _says_all(text, chat):
            return text
    if failure is not None:
        raise BackendError(f"the model's chat template fails: {_line(failure)}") from failure
    raise BackendError("the model's chat template drops the last message; use another model or template")


def _forms(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """The forms of a chat, the usual one first."""
    yield messages
    if messages[0]["role"] == "system" and len(messages) > 2:
        first, second, *rest = messages
        yield [{"role": "user", "content": f"{first['content']}\n\n{second['content']}"}, *rest]
    if len(messages) > 1:
        yield [{"role": "user", "content": "\n\n".join(message["content"] for message in messages)}]


def prompt_tokens(tokenizer: Any, text: str) -> list[int]:
    """The tokens of `prompt_text`. A chat template adds its special tokens itself.

    A base model gets the special tokens before a text, and not those after it: an end token would end the prompt.
    """
    bare = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if template_of(tokenizer) is not None:
        return bare
    whole = list(tokenizer(text, add_special_tokens=True)["input_ids"])
    for before in range(len(whole) - len(bare) + 1):
        if whole[before : before + len(bare)] == bare:
            return whole[: before + len(bare)]
    return whole


def _rendered(tokenizer: Any, template: str, messages: Sequence[Message]) -> str:
    return tokenizer.apply_chat_template(
        list(messages), chat_template=template, add_generation_prompt=True, tokenize=False, enable_thinking=False
    )


def _says_all(text: str, chat: Sequence[Message]) -> bool:
    """Whether a prompt contains all messages, ignoring white space; a system message may stand anywhere."""
    text, at = "".join(text.split()), 0
    for message in chat:
        content = "".join(message["content"].split())
        if message["role"] == "system":
            if content not in text:
                return False
            continue
        at = text.find(content, at)
        if at < 0:
            return False
        at += len(content)
    return True


def _line(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return said[0][:200] if said else type(error).__name__


def end_tokens(tokenizer: Any, *configs: Any) -> list[int]:
    """The tokens that end an answer, the usual one first. For a base model: the line end, if it has such a token.

    Args:
        tokenizer: the model's.
        configs: other objects that may have `eos_token_id`: the generation and model configurations.

    Raises:
        BackendError: there is no end token, so an answer would never end.
    """
    found: list[Any] = []
    if template_of(tokenizer) is None:
        newline = list(tokenizer("\n", add_special_tokens=False)["input_ids"])
        if newline and newline[-1] != getattr(tokenizer, "unk_token_id", None):
            return [newline[-1]]
    for source in (tokenizer, *configs):
        named = getattr(source, "eos_token_id", None)
        found += named if isinstance(named, (list, tuple)) else [named]
    ends = [token for token in dict.fromkeys(found) if isinstance(token, int) and token >= 0]
    if not ends:
        raise BackendError("the model has no token that ends an answer; its tokenizer must have an eos_token")
    return ends


def longest(tokenizer: Any, config: Any) -> int | None:
    """The model's context length in tokens, prompt and answer together; None if it is unknown."""
    text = getattr(config, "text_config", None) or config
    sources = [(text, name) for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")]
    for source, name in [*sources, (tokenizer, "model_max_length")]:
        limit = getattr(source, name, None)
        if isinstance(limit, (int, float)) and not isinstance(limit, bool) and 0 < limit < _NO_LIMIT:
            return int(limit)
    return None


def room(tokens: Sequence[int], limit: int | None, wanted: int, least: int = 1) -> int:
    """The largest number of tokens that an answer may have.

    Args:
        tokens: of the prompt.
        limit: the model's context length (`longest`).
        wanted: the user's limit for an answer.
        least: the number of tokens that an answer needs at least.

    Raises:
        BackendError: the prompt leaves no room for `least` tokens.
    """
    if limit is None or len(tokens) + wanted <= limit:
        return wanted
    if len(tokens) + least > limit:
        raise BackendError(
            f"the prompt has {len(tokens)} tokens and the answer needs {least}, but the model's context length is "
            f"{limit}; use a shorter prompt (`prompt`) or another model"
        )
    return limit - len(tokens)


def answer_text(tokenizer: Any, tokens: Sequence[int], prompt: str) -> str:
    """An answer's text without the reasoning, whose marks may be special tokens and may start in the prompt."""
    marked = opening_at_end(prompt) + tokenizer.decode(tokens, skip_special_tokens=False)
    said = final(marked)
    if said == marked.strip():
        return tokenizer.decode(tokens, skip_special_tokens=True)
    special = [re.escape(token) for token in getattr(tokenizer, "all_special_tokens", []) if token]
    return re.sub("|".join(special), "", said).strip() if special else said
