"""How a local model is spoken to: its chat template, the tokens that end an answer, what it can read at a time.

Host module without torch. Models come with templates that fail, that are several, that drop the system message, with no
end token, with several: each works here, or is one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from l4t_jax.errors import BackendError
from l4t_jax.teacher.prompt import Message
from l4t_jax.teacher.reasoning import final, opening_at_end

_NO_LIMIT = 10**9  # tokenizers say 1e30 where they know none


def template_of(tokenizer: Any) -> str | None:
    """The model's chat template; None for a base model. Of several the default one, or the first that is for chat."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, list):  # as old configuration files have several
        template = {entry["name"]: entry["template"] for entry in template}
    if not isinstance(template, dict):
        return template or None
    chat = [name for name in template if name not in ("tool_use", "rag")]
    names = ["default", *chat, *template]
    return next((template[name] for name in names if template.get(name)), None)


def prompt_text(tokenizer: Any, messages: Sequence[Message]) -> str:
    """A chat as the model reads it, up to where its answer begins.

    Raises:
        BackendError: the template fails, or leaves out what is asked.
    """
    template = template_of(tokenizer)
    if template is None:
        return "\n\n".join(message["content"] for message in messages) + "\n"
    try:
        text = _rendered(tokenizer, template, messages)
    except Exception as error:  # a template is a program: some raise on a system message, some on anything
        if messages[0]["role"] != "system":
            raise BackendError(f"the model's chat template fails: {_line(error)}") from error
        text = None
    if messages[0]["role"] == "system" and (text is None or not _says(text, messages[0])):
        first, second, *rest = messages  # it goes before the first of the user
        joined = {"role": "user", "content": f"{first['content']}\n\n{second['content']}"}
        try:
            text = _rendered(tokenizer, template, [joined, *rest])
        except Exception as error:
            raise BackendError(f"the model's chat template fails: {_line(error)}") from error
    if text is None or not _says(text, messages[-1]):
        raise BackendError("the model's chat template leaves out what is asked; another model or template would do")
    return text


def prompt_tokens(tokenizer: Any, text: str) -> list[int]:
    """The tokens of `prompt_text`. A chat template writes its special tokens itself."""
    chat = template_of(tokenizer) is not None
    return list(tokenizer(text, add_special_tokens=not chat)["input_ids"])


def _rendered(tokenizer: Any, template: str, messages: Sequence[Message]) -> str:
    return tokenizer.apply_chat_template(
        list(messages), chat_template=template, add_generation_prompt=True, tokenize=False, enable_thinking=False
    )


def _says(text: str, message: Message) -> bool:
    """Whether a prompt holds a message, however its white space is written."""
    return "".join(message["content"].split()) in "".join(text.split())


def _line(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return said[0][:200] if said else type(error).__name__


def end_tokens(tokenizer: Any, *configs: Any) -> list[int]:
    """The tokens that end an answer, the usual one first; of a base model the end of the line, where it has one.

    Args:
        tokenizer: the model's.
        configs: what else may name them as `eos_token_id`: generation and model configuration.

    Raises:
        BackendError: there is none, and an answer would never end.
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
        raise BackendError("the model names no token that ends an answer (eos_token); its tokenizer must have one")
    return ends


def longest(tokenizer: Any, config: Any) -> int | None:
    """How many tokens the model reads, prompt and answer together; None where it does not say."""
    text = getattr(config, "text_config", None) or config
    sources = [(text, name) for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")]
    for source, name in [*sources, (tokenizer, "model_max_length")]:
        limit = getattr(source, name, None)
        if isinstance(limit, (int, float)) and not isinstance(limit, bool) and 0 < limit < _NO_LIMIT:
            return int(limit)
    return None


def room(tokens: Sequence[int], limit: int | None, wanted: int, least: int = 1) -> int:
    """How many tokens an answer may have.

    Args:
        tokens: of the prompt.
        limit: of the model (`longest`).
        wanted: how many the answer may have by the user's will.
        least: how many it must be able to have.

    Raises:
        BackendError: the prompt leaves no room for them.
    """
    if limit is None or len(tokens) + wanted <= limit:
        return wanted
    if len(tokens) + least > limit:
        raise BackendError(
            f"the prompt has {len(tokens)} tokens and the answer needs {least}, and the model reads {limit} in all; a "
            "shorter prompt (`prompt`) or another model would do"
        )
    return limit - len(tokens)


def answer_text(tokenizer: Any, tokens: Sequence[int], prompt: str) -> str:
    """An answer's text. Marks of reasoning may be special tokens, and may begin in the prompt; the reasoning goes."""
    marked = opening_at_end(prompt) + tokenizer.decode(tokens, skip_special_tokens=False)
    said = final(marked)
    if said == marked.strip():
        return tokenizer.decode(tokens, skip_special_tokens=True)
    special = [re.escape(token) for token in getattr(tokenizer, "all_special_tokens", []) if token]
    return re.sub("|".join(special), "", said).strip() if special else said
