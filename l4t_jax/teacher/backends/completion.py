"""Reads a chat server's response: the answer and whether it is complete, an error, and how to change the request.

Host module without HTTP; it reads the JSON of a response. Servers differ from OpenAI's own: content as a list of parts,
reasoning in a separate field, null content, an error inside a 200, a message under `detail` or in a list.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

from l4t_jax.teacher.backends import Answer

PASSING = frozenset({408, 409, 425, 429, *range(500, 600)})  # temporary failures: the same request may succeed later

# Faults of an answer. In messages they follow a number: "3 cut off at `max_tokens`".
CUT = "cut off at `max_tokens`"
REFUSED = "refused"
TOOL = "calls of a tool in place of an answer"
FILTERED = "stopped by the server's content filter"
REASONING = "reasoning without an answer"
EMPTY = "empty"
BROKEN = "broken off by the server"
WHOLE = "not cut off"  # detail of REASONING: the model ended its answer

# `finish_reason` in OpenAI's words and in those of Gemini, Claude, Cohere, Mistral, DeepSeek and vLLM.
_ENDS = {
    CUT: ("length", "max_tokens", "model_length", "max_output_tokens", "max_length", "incomplete"),
    FILTERED: ("content_filter", "safety", "recitation", "blocklist", "prohibited_content", "spii", "error_toxic"),
    BROKEN: ("error", "abort", "aborted", "cancelled", "canceled", "timeout", "insufficient_system_resource"),
}
_WHOLE_ENDS = ("stop", "stop_sequence", "end_turn", "complete", "eos", "eos_token")  # the model ended its answer
_FAULT_OF = {word: fault for fault, words in _ENDS.items() for word in words}


class Refused(Exception):
    """A server refuses a request.

    Args:
        status: the HTTP status.
        words: the server's message.
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


# Answers


def read(said: Any, max_tokens: int) -> Answer | None:
    """The first answer in a chat completion; None if it has none."""
    try:
        choice = said["choices"][0]
        message = choice.get("message")
        if message is None and isinstance(choice.get("text"), str):  # a server of plain completions
            message = {"content": choice["text"]}
        if not isinstance(message, dict) or not {"content", "refusal", "tool_calls", "function_call"} & set(message):
            return None
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    text, refusal, thought = _parts(message.get("content"))
    end = _FAULT_OF.get(_string(choice.get("finish_reason")).lower())
    detail = f"{max_tokens} tokens" if end == CUT else ""
    if text.strip():
        return Answer(text, end, detail)
    refusal = refusal or _string(message.get("refusal"))
    if refusal:
        return Answer("", REFUSED, refusal[:200])
    calls = message.get("tool_calls") or message.get("function_call")
    if calls:
        return Answer("", TOOL, _tool(calls))
    if end is not None:
        return Answer("", end, detail)
    reasoned = thought or any(_string(message.get(name)) for name in ("reasoning_content", "reasoning", "thinking"))
    if not reasoned:
        return Answer("", EMPTY)
    return Answer("", REASONING, WHOLE if _string(choice.get("finish_reason")).lower() in _WHOLE_ENDS else "")


def _parts(content: Any) -> tuple[str, str, bool]:
    """(text, refusal, whether there is reasoning) from a message's content: a string, a part or a list of parts."""
    texts: list[str] = []
    refusal, thought = "", False
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            kind = str(part.get("type", "text")).lower()
            if kind == "refusal":
                refusal = _string(part.get("refusal")) or _string(part.get("text")) or "without a reason"
            elif "think" in kind or "reason" in kind or part.get("thought") is True:
                thought = True
            elif not {"type", "text", "content"} & set(part):  # a plan in JSON that the server has parsed
                texts.append(json.dumps(part, ensure_ascii=False))
            else:
                inner = part.get("text", part.get("content"))
                texts.append(_string(inner.get("value")) if isinstance(inner, dict) else _string(inner))
    return "\n".join(text for text in texts if text), refusal, thought


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _tool(calls: Any) -> str:
    """The name of the first tool called."""
    with contextlib.suppress(KeyError, IndexError, TypeError, AttributeError):
        first = calls[0] if isinstance(calls, list) else calls
        return str(first.get("function", first)["name"])[:60]
    return ""


def usage(said: Any) -> tuple[int, int] | None:
    """(tokens in, tokens out) as a server counts them; None if it does not."""
    counted = said.get("usage") if isinstance(said, dict) else None
    if not isinstance(counted, dict):
        return None
    found = [
        next((counted[name] for name in names if type(counted.get(name)) is int and counted[name] >= 0), None)
        for names in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
    ]
    return None if found[0] is None else (found[0], found[1] or 0)


# Errors


def error_in(said: Any) -> tuple[int | None, str] | None:
    """(status, message) if a 200 response has an error instead of an answer; otherwise None."""
    if isinstance(said, list) and said and isinstance(said[0], dict):
        said = said[0]
    if not isinstance(said, dict):
        return None
    choices = said.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    inner = said.get("error") or (first.get("error") if isinstance(first, dict) else None)
    if not inner:
        if choices or not ({"detail", "message", "errors"} & set(said)):
            return None
        inner = said
    code = inner.get("code", inner.get("status", said.get("status"))) if isinstance(inner, dict) else None
    with contextlib.suppress(TypeError, ValueError):
        return int(code), words_in(inner)  # type: ignore[arg-type]
    return None, words_in(inner)


def words_of(raw: bytes) -> str:
    """A server's message in the body of an error, in any form."""
    with contextlib.suppress(ValueError, RecursionError):
        return words_in(json.loads(raw[:65_536]))
    return raw[:65_536].decode("utf-8", "replace")[:4096]


def words_in(said: Any, depth: int = 0) -> str:
    """The message in an error's JSON: {"error": {"code", "message"}}, {"detail": [{"loc", "msg"}]}, list, string.

    A code that is a status is left out: the status is shown anyway.
    """
    if isinstance(said, str) or depth > 4:
        return str(said)[:4096]
    if isinstance(said, list):
        return "; ".join(words_in(item, depth + 1) for item in said[:4])
    if not isinstance(said, dict):
        return str(said)
    for name in ("error", "detail", "errors"):
        if said.get(name):
            return words_in(said[name], depth + 1)
    where = said.get("loc")
    place = ".".join(str(step) for step in where) + ":" if isinstance(where, list) else ""
    words = [str(said[name]) for name in ("code", "message", "msg") if said.get(name)]
    if len(words) > 1 and re.fullmatch(r"[1-5]\d\d", words[0]):
        del words[0]
    return " ".join([place, *words] if place else words) or json.dumps(said)[:4096]


# Refused requests

_DEFAULTS: dict[str, Any] = {"top_p": 1.0, "seed": None, "temperature": 1.0}  # None: may always be left out
_UNKNOWN = re.compile(
    r"unsupported|not support|n't support|not permitted|not allowed|unrecogni[sz]ed|unknown|unexpected|extra input"
    r"|extra_forbidden|deprecated|cannot both|invalid (field|argument|parameter)"
)
_LIMIT = re.compile(r"max_completion_tokens")
_FORMAT = re.compile(r"response_format|json_schema|json schema|structured output|grammar|guided")


def change_for(words: str, body: dict[str, Any]) -> tuple[str, str | None] | None:
    """(field, its new name or None to leave it out) that a refusal asks for; None if it asks for no such change.

    `max_tokens` gets the name that reasoning models need. `top_p`, `seed` and `temperature` are left out if that does
    not change the distribution of answers: `top_p` and `temperature` at their defaults, `seed` always.
    """
    said = words.lower()
    if "max_tokens" in body and _LIMIT.search(said):
        return "max_tokens", "max_completion_tokens"
    for field, default in _DEFAULTS.items():
        if field in body and _names(field, said) and (default is None or body[field] == default):
            return field, None
    return None


def advice(words: str, body: dict[str, Any]) -> str:
    """A hint that follows the server's message, such as an option that would help; "" if there is none."""
    said = words.lower()
    if "response_format" in body and _FORMAT.search(said):
        return "; a server without JSON schemas needs `constrain=off`"
    for field in body:
        if field not in ("model", "messages") and _names(field, said):
            return f'; `extra={{"{field}": null}}` leaves the field out'
    return ""


def _names(field: str, said: str) -> bool:
    """Whether a server's message refuses a field."""
    return re.search(rf"\b{re.escape(field)}\b", said) is not None and _UNKNOWN.search(said) is not None
