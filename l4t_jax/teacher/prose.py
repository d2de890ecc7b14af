"""Splits text that is not JSON into fragments that may be steps: lines, lists, tables, tags, sentences.

Host module. The plan is the first run of lines with steps; the text after it is talk. In a list every item is a step,
whether its skill is known or not, so that every unknown step is counted.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class Fragment:
    """A piece of an answer.

    Attributes:
        text: of the fragment.
        listed: whether it is a list item, which is always a step.
    """

    text: str
    listed: bool = False


class Reads(Protocol):
    """What this module needs to know about skills (`parser.Reader`)."""

    def begins(self, text: str) -> bool:
        """Whether a text starts with a skill."""
        ...

    def orders(self, text: str) -> bool:
        """Whether a text starts with a skill as a command, without "can" or "would" before it."""
        ...

    def counts(self, text: str) -> bool:
        """Whether a text that does not start with a skill is still a step (an unknown one)."""
        ...


MOST_LINES = 200  # lines that are read
_SPLIT = re.compile(
    r"[,;，；。、•·]|\.(?=\s|$)|[!?](?=\s|$)|->|=>|\\(?:long)?rightarrow\b|\\to\b|[→⇒➔➜⟶↦⇨➞↓]|➡️?|»|\s[>/+]\s|\||&+"
    r"|\s[-–—]{1,2}\s|—"
    r"|\bthen\b|\band\b|\bfollowed by\b|\bafter (?:that|which)\b|\bafterwards\b"
    r"|(?<=\S)\s+(?=(?:step\s*)?\(?\d{1,2}[.):]\s)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_ITEM = re.compile(
    r"(\s*)(?:[-*•+▪●◦✓✅☐]\s+|>?\s*(?:\*\*|#+\s*)?(?:step|action|skill)?\s*[\[(]?(\d{1,3})(?:\.\d+)*\s*[\])]?[.):\-]?(?:\*\*)?"
    r"(?:\s+|(?=<)|(?<=[.):])))",
    re.IGNORECASE,
)
_LETTER = re.compile(r"(\s*)\(?(?:[a-h]|i{1,3}|iv|vi{0,3})[.)]\s+", re.IGNORECASE)
_OTHER_SIDE = re.compile(  # it asks itself
    r"^\s*(?:agent sees\b|user\b|human\b|question:|q:|<\||\[/?inst\]|#+\s*(?:instruction|input|user|human|question)\b)",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"^\s*(?:(?:assistant|model)\s*:?|#+\s*(?:response|assistant|answer)\s*:?)\s*$", re.IGNORECASE)
_ECHO = re.compile(r"^\s*agent sees\b[^.]*\.", re.IGNORECASE)  # the situation once more, before the plan
_OWN_SIDE = re.compile(
    r"^\s*<\|(?:im_start\|>assistant|assistant\|>|start_header_id\|>assistant<\|end_header_id\|>)\s*"
)
_TALK_LABEL = re.compile(
    r"^\W*(?:(?:my|your|our|the|current|overall|ultimate|final|main|agent'?s?)\s+){0,2}(?:thoughts?|thinking|reasoning|reason|rationale|analysis|observations?|explanation|justification|notes?"
    r"|why|because|state|situation|context|goal|mission|objective|aim|task|problem|expected \w+|effects?|preconditions?"
    r"|do not|don'?t|not|not yet|never|avoid|alternatively|alternative|otherwise|option [b-z2-9]|plan [b-z]|summary"
    r"|confidence|critique|reflection|input|if [^:]{1,60})\W*:",
    re.IGNORECASE,
)
_STRONG = re.compile(r"(?:final\s+(?:answer|plan|output|action)|answer)\W{0,4}(?::|\bis\b:?)", re.IGNORECASE)
_INLINE = re.compile(r"\b(?:next[ _]action|action|answer|plan)\W{0,3}:", re.IGNORECASE)
_TAGS = (
    r"answer|final_?answer|final|plan|output|response|result|solution|p|ul|ol|b|i|em|strong|code|pre|br|div|span|"
    r"actions|steps|skills|sequence|json|xml"
)
_WHOLE_ANSWER = re.compile(
    r"<(answer|final_?answer|final|plan|output|solution)(?:\s[^<>]*)?>(.*?)(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL
)
_ANY_TAG = re.compile(rf"</?(?:{_TAGS})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_ITEM_TAG = re.compile(r"<(?:li|step|action|skill|item|task|move)[\s_]?\d*((?:\s[^<>]*?)?)/?>", re.IGNORECASE)
_CLOSING_TAG = re.compile(r"</[\w ]{1,30}>")
_QUESTION = re.compile(  # that is answered with no: "open <door>? No, ..."
    r"(?<![^.!?\n])[^.!?\n]*\?{1,3}\s+(?=(?:no|nope|not|never|wait|hmm+|actually|but)\b)", re.IGNORECASE
)
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_COMMENT = re.compile(r"(?<=\S)\s+(?:#|//)\s.*$")
_YAML = re.compile(
    r"(?im)^([ \t]*(?:-[ \t]*)?)(?:skill|action|name)[ \t]*:([^\n,;]*)[\n,;]"
    r"[ \t]*(?:object|target|arguments?|args)[ \t]*:"
)
_TAKEN_BACK = re.compile(r"<!--.*?(?:-->|\Z)|~~[^~\n]+~~|<(del|strike)>.{0,2000}?</\1>", re.IGNORECASE | re.DOTALL)
_EMPHASIS = re.compile(r"\*\*(.+?)\*\*|\"(.+?)\"|“(.+?)”|`(.+?)`|(?<!\w)'(.+?)'(?!\w)|(?<!\*)\*([^*\n]+)\*(?!\*)")


@dataclasses.dataclass(frozen=True)
class _Line:
    text: str
    indent: int
    item: bool
    number: int | None


def fragments(text: str, reader: Reads) -> list[Fragment]:
    """The fragments of the plan in a text; none if nothing in it starts with a skill.

    Args:
        text: any text.
        reader: knows the skills.
    """
    text = _unwrapped(text)
    strong = list(_STRONG.finditer(text))
    for start in [*(match.end() for match in strong[:-4:-1]), 0]:  # "Final answer: ..." after thinking aloud
        for part in dict.fromkeys((_QUESTION.sub(" ", text[start:]), text[start:])):
            found = _in_lines(part, reader)
            if any(reader.begins(fragment.text) for fragment in found):
                return found
    stressed = [next(part for part in match.groups() if part) for match in _EMPHASIS.finditer(text)]
    stressed = [part for part in dict.fromkeys(stressed) if reader.begins(part)]
    return [Fragment(piece) for piece in pieces(stressed[0])] if len(stressed) == 1 else []


def pieces(line: str) -> list[str]:
    """A line, split where one step ends and the next starts."""
    return [piece for piece in _SPLIT.split(line) if piece and piece.strip()]


def _unwrapped(text: str) -> str:
    """A text without the tags and commands around its answer; items in tags become list items."""
    boxed = _BOXED.findall(text)
    text = boxed[-1] if boxed else text
    inner = [match.group(2) for match in _WHOLE_ANSWER.finditer(text) if match.group(2).strip()]
    text = inner[-1] if inner else text
    text = _TAKEN_BACK.sub(" ", text)
    text = re.sub(r"\\[a-zA-Z]+\s*\{([^{}]*)\}", r"\1", text)  # \text{go to}
    text = _ITEM_TAG.sub(lambda tag: "\n- " + " ".join(re.findall(r"[\"']([^\"']*)[\"']", tag.group(1))), text)
    text = _CLOSING_TAG.sub(" ", _ANY_TAG.sub("\n", text))
    text = re.sub(r"\n\s*action input\s*:", " ", text, flags=re.IGNORECASE)
    text = _YAML.sub(r"\1\2", text)  # "- skill: go_to" and "object: key" in two lines
    return "\n".join(line for line in text.split("\n") if not line.strip().startswith("```"))


def _lines(text: str) -> list[_Line]:
    """The lines with text, with their indentation and whether they are list items."""
    found = []
    for line in text.split("\n")[:MOST_LINES]:
        line = _COMMENT.sub("", line.expandtabs(4)).rstrip()
        own = _OWN_SIDE.match(line)
        line = line[own.end() :] if own else line
        match = _ITEM.match(line) or _LETTER.match(line)
        if match is not None and match.end() > 0:
            number = match.group(2) if match.re is _ITEM else None
            rest = re.sub(r"^\[[ xX]\]\s*", "", line[match.end() :])
            found.append(_Line(rest, len(match.group(1)), True, int(number) if number else None))
        else:
            found.append(_Line(line, len(line) - len(line.lstrip()), False, None))
    return [line for line in found if re.search(r"\w", line.text)]


def _in_lines(text: str, reader: Reads) -> list[Fragment]:
    """The fragments of the first run of lines with steps."""
    lines = _lines(text)
    found: list[Fragment] = []
    held: list[Fragment] = []  # items before the first step
    listing = gap = False  # whether the plan is a list, and whether talk followed its last item
    last: int | None = None  # the number of its last item
    deep = 0  # the indentation of its last item
    for at, line in enumerate(lines):
        content = line.text
        if _OTHER_SIDE.match(content):
            echo = _ECHO.match(content)
            if found:
                break
            if echo is None or not re.search(r"\w", content[echo.end() :]):
                continue
            content = content[echo.end() :]
        if found and _SPEAKER.match(content):
            break
        if _TALK_LABEL.match(content):
            inner = None if found else _INLINE.search(content)
            if inner is None:
                if found and not listing:
                    break
                gap = listing
                continue
            content = content[inner.end() :]
        if _is_heading(lines, at, reader):
            held = []
            continue
        parts = _spoken(content, bool(found), reader)
        steps = any(reader.begins(part) for part in parts)
        if gap and (line.item or steps) and not (line.item and (line.number or 0) > (last or 0)):
            break  # another list, or a plan mentioned after the list
        if steps:
            found += [*held, *_items(parts, line.item)]
            held, listing, gap, last, deep = [], line.item, False, line.number, line.indent
        elif found and listing and line.item and line.indent > deep:
            continue  # details of the item above
        elif found and (line.item if listing else reader.counts(content)):
            found += _items(parts, line.item)
            last, deep, gap = line.number, line.indent, False
        elif found:
            if not listing:
                break
            gap = gap or line.indent <= deep
        else:
            held = [*held, *_items(parts, True)] if line.item else []
    return found


def _spoken(line: str, begun: bool, reader: Reads) -> list[str]:
    """A line's pieces. After the first step, pieces in a sentence of talk count only if they are commands."""
    kept: list[str] = []
    for sentence in _SENTENCE.split(line):
        parts = pieces(sentence)
        first = next((part for part in parts if re.search(r"\w", part)), "")
        if begun and not (reader.begins(first) or reader.counts(first)):
            parts = [part for part in parts if reader.orders(part)]
        for number, part in enumerate(parts):
            if (begun or number) and _TALK_LABEL.match(part):  # "explore. Plan B: ..."
                return kept + parts[:number]
        kept += parts
        begun = begun or any(reader.begins(part) for part in parts)
    return kept


def _items(parts: list[str], item: bool) -> list[Fragment]:
    return [Fragment(part, item and number == 0) for number, part in enumerate(parts)]


def _is_heading(lines: list[_Line], at: int, reader: Reads) -> bool:
    """Whether a line is a heading: it ends with a colon, or the indented items below it are its steps."""
    line, below = lines[at], lines[at + 1 :]
    if not below:
        return False
    if line.text.rstrip(" *_").endswith(":"):
        return True
    if not line.item:
        return False
    for lower in below:
        if lower.indent <= line.indent or not lower.item:
            return False
        if reader.begins(lower.text):
            return True
    return False
