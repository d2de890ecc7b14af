"""Removes a model's reasoning from its answer, and finds the complete part of an answer that was cut off.

Host module without imports from `l4t_jax`. Models mark their reasoning in many ways. Servers, chat templates and
tokenizers drop some of the marks, most often the opening one, because it is part of the prompt. So the answer is the
text after the *last closing* mark, or the text in the final channel. Text after an opening mark that is never closed is
reasoning that was cut off.
"""

from __future__ import annotations

import re

_NAMES = (
    r"(?:\w{1,16}[:_-]|ant)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|reflection|scratch_?pad|monologue|cot)"
    r"(?:[_-]\w{1,16})?"
)
_TAGS = (  # (opening, closing) marks, of each family of models
    (rf"<\|?{_NAMES}\|?(?:\s[^<>]*)?>", rf"<\|?/{_NAMES}\s*\|?>"),  # DeepSeek, Qwen, Claude, Seed
    (r"<\|channel>\s*thought\b", r"<channel\|>"),  # Gemma 4
    (r"<details\b[^<>]*>", r"</details\s*>"),  # pages that fold it, such as Open WebUI's
    (r"\[THINK(?:ING)?\]", r"\[/THINK(?:ING)?\]"),  # Mistral
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),  # Sky-T1, OpenThinker
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # Cohere
    (r"◁think▷", r"◁/think▷"),  # Kimi
    (r"<unused94>", r"<unused95>"),  # Gemma
    (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),  # Apertus
)
_OPENING = re.compile("|".join(opening for opening, _ in _TAGS), re.IGNORECASE)
_CLOSING = re.compile("|".join(closing for _, closing in _TAGS), re.IGNORECASE)
_FENCE = re.compile(r"\s*```(?:thinking|thoughts?|reasoning)\b", re.IGNORECASE)  # models without their own mark
_ALOUD = re.compile(r"\s*(?:thinking\.\.\.\s*\n|here is my thought process:)", re.IGNORECASE)  # Ollama, Granite
_ALOUD_END = re.compile(r"\.\.\.\s?done thinking\.|here is my response:", re.IGNORECASE)

# OpenAI's harmony format: <|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]*(?:<\|message\|>)?")
_END = re.compile(r"<\|(?:end|return|call|start)\|>")
# The same after a tokenizer has removed the special tokens: "analysisThe key is near.assistantfinalgo to <key>".
_BARE = re.compile(r"assistant\s*final(?=\W|[a-z\d])")
_BARE_START = re.compile(r"\s*(?:assistant\s*)?analysis")
_ROLES = re.compile(r"<\|(?:START|END)_RESPONSE\|>|<\|(?:begin|end)_of_solution\|>|<\|python_tag\|>", re.IGNORECASE)


def final(text: str) -> str:
    """The answer in a text, without reasoning; "" if the text is reasoning only."""
    channels = list(_CHANNEL.finditer(text))
    if channels:
        last = [match for match in channels if match.group(1).lower() == "final"]
        return _END.split(text[last[-1].end() :])[0].strip() if last else ""
    bare = _BARE_START.match(text)
    if bare is not None:
        parts = _BARE.split(text)
        if len(parts) > 1 or text[bare.end() : bare.end() + 1].isupper():  # "analysisThe": a mark, not a word
            return parts[-1].strip() if len(parts) > 1 else ""
    fence = _FENCE.match(text)
    if fence is not None:
        _, _, text = text[fence.end() :].partition("\n```")
    aloud = _ALOUD.match(text)
    if aloud is not None:
        end = _ALOUD_END.search(text, aloud.end())
        text = text[end.end() :] if end is not None else ""
    closed = [match.end() for match in _CLOSING.finditer(text)]
    after = text[closed[-1] :] if closed else text
    opened = _OPENING.search(after)
    after = after[: opened.start()] if opened is not None else after
    first = _OPENING.search(text)
    if closed and first is not None and not after.strip():  # the reasoning follows the answer
        after = text[: first.start()]
    return _ROLES.sub("", after).strip()


def opening_at_end(prompt: str) -> str:
    """The opening mark of the reasoning at the end of a prompt; "" if there is none."""
    tail = prompt.rstrip()[-40:]
    for match in _OPENING.finditer(tail):
        if match.end() == len(tail):
            return match.group()
    return ""


def whole(text: str) -> str:
    """The complete part of an answer that was cut off: all lines and sentences except the last."""
    ends = [match.end() for match in re.finditer(r"\n|[.!?](?=\s)", text.rstrip("\n"))]
    return text[: ends[-1]].rstrip() if ends else ""
