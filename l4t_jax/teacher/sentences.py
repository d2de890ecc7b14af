"""Rewrites sentences so that what is left are steps in the order in which they are done.

Host module. Models talk about steps before and beside the plan. An *aim* ("We must open the door. To do that, ...") is
not a step of the plan that follows. A *remark* in parentheses is not one either. And "pick up the key after you go to
it" names the second step first.
"""

from __future__ import annotations

import re
from typing import Protocol


class Reads(Protocol):
    """What this module needs to know about skills (`parser.Reader`)."""

    def begins(self, text: str) -> bool:
        """Whether a text starts with a skill."""
        ...

    def orders(self, text: str) -> bool:
        """Whether a text starts with a skill as a command, without "can" or "would" before it."""
        ...


MOST_SENTENCES = 40  # sentences in which aims are looked for
MOST_CLAUSES = 8  # clauses with "after" that are put first
_END = re.compile(
    r"(?<=[.!?])\s+|\n+|:\s+|;\s+"
    r"|,\s+(?=(?:which|but|for (?:that|this)|(?:in order )?to do (?:so|that|this))\b(?! first))",
    re.IGNORECASE,
)
_NEED_WORDS = r"must|needs?|ha(?:s|ve)\s+to|wants?|(?:am|is|are)\s+(?:supposed\s+)?to"
_NEED = re.compile(rf"^\W*(?:[\w'’]+,?\s+){{0,8}}?(?:{_NEED_WORDS})\s", re.IGNORECASE)
_TOLD = re.compile(
    rf"^\W*(?:[\w'’]+,?\s+){{0,8}}?(?:{_NEED_WORDS}|should|will|would|can|could|may|might|\w+'(?:ll|d))\s",
    re.IGNORECASE,
)
_LATER = re.compile(r"\b(?:eventually|ultimately|at some point|in the end)\b", re.IGNORECASE)
_UNMET = re.compile(
    r"\b(?:can|could|would)\b.{0,200}\b(?:if|once|as soon as)\s+(?:it|the agent|i|we|you)\b", re.IGNORECASE
)
_MEANS = re.compile(  # "To do that, ..."
    r"\W*(?:(?:and|but|so|now|however|first)\W+)?(?:for (?:that|this)\b"
    r"|(?:in order )?to (?:do|achieve|accomplish|manage) (?:so|that|this|it)\b"
    r"|(?:this|that|which|it|doing so) (?:first |also )?(?:requires?|needs|takes)\b(?! no\b))",
    re.IGNORECASE,
)
_CONTRARY = re.compile(r"\W*(?:but(?! first)|however|yet|unfortunately)\b", re.IGNORECASE)
_HENCE = re.compile(r"\W*(?:therefore|thus|hence|so|for now|right now|at the moment|currently)\b", re.IGNORECASE)
_TALKS = re.compile(  # whether there can be anything to rewrite: most answers are plans alone
    r"[(\[]|\b(?:must|needs?|ha(?:s|ve)|wants?|am|is|are|should|will|would|can|could|may|might|after|before|first|then)\b|'",
    re.IGNORECASE,
)
_REMARK = re.compile(r"(?<![\w\"'])(?:\(([^()\n]{8,200})\)|\[([^][\n]{8,200})\])")
_AFTER_FIRST = re.compile(
    r"(^|(?<=[.!?])[ ]|\n)([^\S\n]*)after\s+(?:(?:you|it|the agent|having)\s+)?([^,.;:\n]{3,60}),", re.IGNORECASE
)
_AFTER = re.compile(
    r"(?<![^.!?;\n])([^.!?;,\n]{3,80}?)\s+after\s+(?:(?:you|it|the agent|first)\s+)?([^.!?;,\n]{3,60})", re.IGNORECASE
)
_FIRST_COMMA = re.compile(r"\b(but first|before (?:that|this|doing (?:so|that|this)))\s*,", re.IGNORECASE)

_FIRST_LAST = re.compile(
    r"\bbut\s+(?:(?:it|the agent|you|we|i)\s+)?(?:(?:should|must|needs? to|ha(?:s|ve) to)\s+)?"
    r"([^.,;\n]{3,60}?)\s+first\b",
    re.IGNORECASE,
)
_THEN_TO = re.compile(r"\bthen to (?=[a-z])", re.IGNORECASE)


def told(text: str) -> bool:
    """Whether a sentence is said of someone ("the agent must ..."), and is not a command."""
    return _TOLD.match(text) is not None


def rewritten(text: str, reader: Reads) -> str:
    """A text without aims and remarks, and with its steps in the order in which they are done.

    Args:
        text: any text.
        reader: knows the skills.
    """
    if _TALKS.search(text) is None:
        return text
    text = _THEN_TO.sub("then ", _FIRST_COMMA.sub(r"\1", text))
    text = _FIRST_LAST.sub(lambda found: f"but first {found[1]}" if reader.begins(found[1]) else found[0], text)
    text = _REMARK.sub(lambda found: _remark(found, reader), text)
    text = _without_aims(text, reader)
    text = _AFTER_FIRST.sub(lambda found: _swapped_first(found, reader, text), text, count=MOST_CLAUSES)
    return _AFTER.sub(lambda found: _swapped(found, reader), text, count=MOST_CLAUSES)


def _remark(found: re.Match[str], reader: Reads) -> str:
    """What counts of a text in parentheses: steps and objects do, "(then open <door>)", "(the key)"; remarks do not."""
    inner = found[1] or found[2]
    if reader.begins(inner) and not told(inner):
        return f": {inner} "
    return found[0] if len(inner.split()) < 3 else " "


def _without_aims(text: str, reader: Reads) -> str:
    """A text without the sentences before the plan that only say what the plan is for."""
    ends = list(_END.finditer(text))[:MOST_SENTENCES]
    starts = [0, *(match.end() for match in ends)]
    stops = [*(match.start() for match in ends), len(text)]
    spans = [(start, stop) for start, stop in zip(starts, stops, strict=True) if text[start:stop].strip()]
    sentences = [text[start:stop] for start, stop in spans]
    kept, since = "", 0
    for number, sentence in enumerate(sentences):
        if not reader.begins(sentence):
            continue
        if not told(sentence) or reader.orders(sentence) or not _is_aim(sentence, sentences[number + 1 :], reader):
            break
        start, stop = spans[number]
        kept, since = kept + text[since:start], stop
    return kept + text[since:]


def _is_aim(sentence: str, later: list[str], reader: Reads) -> bool:
    """Whether a sentence that names a step names the aim of the plan in the later ones."""
    steps = next((at for at, other in enumerate(later) if reader.begins(_without_turn(other))), None)
    if any(_MEANS.match(other) for other in later[: 3 if steps is None else steps + 1]):
        return True
    if steps is None:
        return False
    between = later[: steps + 1]
    if _LATER.search(sentence) or _UNMET.search(sentence) or any(_CONTRARY.match(other) for other in between):
        return True
    return _NEED.match(sentence) is not None and any(_HENCE.match(other) for other in between)


def _without_turn(sentence: str) -> str:
    """A sentence without the words that join it to the one before: "However, ...", "To do that, ..."."""
    for turn in (_MEANS, _CONTRARY, _HENCE):
        match = turn.match(sentence)
        if match is not None:
            return re.sub(r"^.*?[,;]\s*", "", sentence[match.end() :]) or sentence[match.end() :]
    return sentence


def _swapped_first(found: re.Match[str], reader: Reads, text: str) -> str:
    """ "After going to <key>, pick up <key>": both steps, if the plan begins here; else the second."""
    step = f"now {found[3]}"
    if not reader.begins(step):
        return found[0]
    return found[1] if reader.begins(text[: found.start()]) else f"{found[1]}{step},"


def _swapped(found: re.Match[str], reader: Reads) -> str:
    """ "Pick up <key> after you go to <key>": the second step, then the first."""
    step = f"now {found[2]}"
    return f"{step}, {found[1]}" if reader.begins(found[1]) and reader.begins(step) else found[0]
