"""Splits text that is not JSON into fragments that may be steps: lines, lists, tables, tags, sentences.

Host module. The plan is the first run of lines with steps; the text after it is talk. In a list every item is a step,
whether its skill is known or not, so that every unknown step is counted.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Protocol

from l4t_jax.teacher import sentences


@dataclasses.dataclass(frozen=True)
class Fragment:
    """A piece of an answer.

    Attributes:
        text: of the fragment.
        listed: whether it is a list item, which is always a step.
    """

    text: str
    listed: bool = False


class Reads(sentences.Reads, Protocol):
    """What this module needs to know about skills (`parser.Reader`)."""

    def counts(self, text: str) -> bool:
        """Whether a text that does not start with a skill is still a step (an unknown one)."""
        ...

    def acts(self, text: str) -> bool:
        """Whether a text is a command to do something that is not a skill."""
        ...

    def takes_object(self, text: str) -> bool:
        """Whether a text is the name of a skill that takes an object, and nothing else."""
        ...


MOST_LINES = 200  # lines that are read
_SPLIT = re.compile(
    r"[,;，；。、•·]|\.(?=\s|$)|[!?](?=\s|$)|->|=>|\\(?:long)?rightarrow\b|\\to\b|[→⇒➔➜⟶↦⇨➞↓]|➡️?|»|\s[>/+]\s|\||&+"
    r"|\s[-–—]{1,2}\s|—"
    r"|\bthen\b|\band\b|\bfollowed by\b|\bafter (?:that|which)\b|\bafterwards\b"
    r"|(?<=\S)\s+(?=(?:step\s*)?[\[(]?\d{1,2}[\].):]\s)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|(?<=[a-z>][.!?])\s+(?=[a-z])")
_ITEM = re.compile(
    r"(\s*)(?:[-*•+▪●◦✓✅☐]\s+|(?:>\s*)?(?:(?:\*\*|#+)\s*)?(?:(?:step|action|skill|phase|stage|part|choice|command)\s*)?"
    r"[\[(]?(\d{1,3})(?:\.\d+)*\s*[\])]?[.):\-]?(?:\*\*)?(?:\s+|(?=<)|(?<=[.):])))",
    re.IGNORECASE,
)
_LETTER = re.compile(r"(\s*)\(?(?:[a-h]|i{1,3}|iv|vi{0,3})[.)]\s+", re.IGNORECASE)
_OTHER_SIDE = re.compile(  # it asks itself
    r"^\s*(?:agent sees\b|user\b|human\b|question:|q:|<\||\[/?inst\]|#+\s*(?:instruction|input|user|human|question)\b)",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"^\s*(?:(?:assistant|model)\s*:?|#+\s*(?:response|assistant|answer)\s*:?)\s*$", re.IGNORECASE)
_ECHO = re.compile(r"^\s*agent sees\b[^.;:]*[.;:]", re.IGNORECASE)  # the situation once more, before the plan
_OWN_SIDE = re.compile(
    r"^\s*<\|(?:im_start\|>assistant|assistant\|>|start_header_id\|>assistant<\|end_header_id\|>)\s*"
)
_TALK_LABEL = re.compile(
    r"^\W*(?:(?:my|your|our|the|current|overall|ultimate|final|main|next|new|agent'?s?)\s+){0,2}(?:thoughts?|thinking"
    r"|reasoning|reasons?|rationale|analysis|observations?|explanation|justification|notes?|rules?|remember|hints?|tips?"
    r"|warning|caution|conditions?|less likely|second best|fallback|backup|failing that"
    r"|why|because|state|situation|context|goal|mission|objective|aim|task|problem|expected[ _]\w+|effects?"
    r"|preconditions?"
    r"|do not|don'?t|not|not yet|never|avoid|alternatively|alternative|otherwise|option [b-z2-9]|plan [b-z]|summary"
    r"|confidence|critique|reflection|input|if [^:]{1,60})\W*:",
    re.IGNORECASE,
)
# Another plan than the first: "Plan 2: ...", "10%: ..."
_ANOTHER = re.compile(
    r"^\W*(?:(?:plan|option|alternative|candidate|choice)\s*[2-9]|\d{1,3}\s*%|0?\.\d+)\W*:", re.IGNORECASE
)
_LABEL = re.compile(r"^\W*(?:\w+\s+){0,2}(?:plan|steps|actions?|answer)\W{0,3}:", re.IGNORECASE)
_TITLE = re.compile(r"^\s*(?:#+|\*\*|step\b)", re.IGNORECASE)
_JOINING = re.compile(r"\W*(?:then|next|finally|lastly|first|second|third|now|also|so)\W*", re.IGNORECASE)
_RULE = re.compile(r"^\s*(?:-{3,}|\*{3,}|_{3,}|={3,}|~{3,}|(?:[-*_] ){2,}[-*_])\s*$")
_BARE_LABEL = re.compile(
    r"^\W*(?:step|action|skill|task|move|subgoal)\s*(?:\d{1,3}|one|two|three|four|five|six)\W*$", re.IGNORECASE
)
_NEXT = re.compile(r"^\W*(?:then|next|finally|lastly|and|now|second|after)\b", re.IGNORECASE)
_GOES_ON = re.compile(rf"{_NEXT.pattern}|.*\b(?:it|them|that)\b", re.IGNORECASE)
_STRONG = re.compile(
    r"(?:(?:final|revised|corrected|improved|updated|better)\s+(?:answer|plan|output|actions?)|answer)\W{0,4}(?::|\bis\b:?)"
    r"|(?:\n|[.!]\s)\W{0,8}final\W{0,3}:",
    re.IGNORECASE,
)
_CORRECTED = re.compile(  # "open <door>. Wait, there is no key. ..."
    r"(?:\n|[.!?…]\s)\W{0,8}(?:(?:no, )?wait|actually|correction|oops|hold on|scratch that|on second thought)"
    r"\s?[,:.…—-]",
    re.IGNORECASE,
)
_INLINE = re.compile(r"\b(?:next[ _]action|actions?|steps|answer|plan)\W{0,3}:", re.IGNORECASE)
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
    r"(?im)^([ \t]*(?:-[ \t]*)?)(?:skill|action|name)[ \t]*\d*[ \t]*:([^\n,;]*)[\n,;]"
    r"[ \t]*(?:object|target|arguments?|args)[ \t]*\d*[ \t]*:"
)
_TAKEN_BACK = re.compile(r"<!--.*?(?:-->|\Z)|~~[^~\n]+~~|<(del|strike)>.{0,2000}?</\1>", re.IGNORECASE | re.DOTALL)
_EMPHASIS = re.compile(r"\*\*(.+?)\*\*|\"(.+?)\"|“(.+?)”|`(.+?)`|(?<!\w)'(.+?)'(?!\w)|(?<!\*)\*([^*\n]+)\*(?!\*)")


@dataclasses.dataclass(frozen=True)
class _Line:
    """A line with text.

    Attributes:
        text: without the sign or number of a list item.
        indent: spaces before it.
        item: whether it is a list item.
        number: of the item.
        apart: whether an empty line or a rule stands before it.
        ruled: whether a rule stands before it.
        title: whether it looks like a title: "## Step 1: The key", "**1. The key**".
    """

    text: str
    indent: int
    item: bool
    number: int | None
    apart: bool = False
    ruled: bool = False
    title: bool = False


def fragments(text: str, reader: Reads) -> list[Fragment]:
    """The fragments of the plan in a text; none if nothing in it starts with a skill.

    Args:
        text: any text.
        reader: knows the skills.
    """
    text = sentences.rewritten(_unwrapped(text), reader)
    strong = list(_STRONG.finditer(text))
    starts = [match.end() for match in strong[:-4:-1]]  # "Final answer: ..." after thinking aloud
    starts += [match.end() for match in list(_CORRECTED.finditer(text))[:-4:-1] if reader.begins(text[: match.start()])]
    for start in [*starts, 0]:
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
    text = re.sub(r"<function=(\w+)>", r"\n- \1 ", re.sub(r"\s*<parameter=\w+>\s*", " ", text))  # Qwen's calls
    text = re.sub(r"\\[a-zA-Z]+\s*\{([^{}]*)\}", r"\1", text)  # \text{go to}
    text = _ITEM_TAG.sub(lambda tag: "\n- " + " ".join([*re.findall(r"[\"']([^\"']*)[\"']", tag.group(1)), ""]), text)
    text = _CLOSING_TAG.sub(" ", _ANY_TAG.sub("\n", text))
    text = re.sub(r"\n\s*action input\s*:", " ", text, flags=re.IGNORECASE)
    text = _YAML.sub(r"\1\2", text)  # "- skill: go_to" and "object: key" in two lines
    return "\n".join(line for line in text.split("\n") if not line.strip().startswith("```"))


def _lines(text: str) -> list[_Line]:
    """The lines with text, with their indentation and whether they are list items."""
    found: list[_Line] = []
    apart = ruled = False
    for raw in text.split("\n")[:MOST_LINES]:
        line = _COMMENT.sub("", raw.expandtabs(4)).rstrip()
        own = _OWN_SIDE.match(line)
        line = line[own.end() :] if own else line
        match = None if _ANOTHER.match(line) else _ITEM.match(line) or _LETTER.match(line)
        if match is not None and match.end() > 0:
            number = match.group(2) if match.re is _ITEM else None
            rest = re.sub(r"^\[[ xX]\]\s*", "", line[match.end() :])
            title = _TITLE.match(line) is not None
            one = _Line(rest, len(match.group(1)), True, int(number) if number else None, apart, ruled, title)
        else:
            one = _Line(line, len(line) - len(line.lstrip()), False, None, apart, ruled)
        if re.search(r"\w", one.text) and not _BARE_LABEL.match(line):
            found.append(one)
            apart = ruled = False
        else:
            ruled = ruled or _RULE.match(line) is not None
            apart = apart or ruled or not line.strip()
    return found


def _in_lines(text: str, reader: Reads) -> list[Fragment]:
    """The fragments of the first run of lines with steps."""
    lines = _lines(text)
    found: list[Fragment] = []
    held: list[Fragment] = []  # items before the first step
    aside: list[Fragment] = []  # steps that a sentence told of, before the plan
    listing = gap = told = False  # whether the plan is a list, whether talk followed its last item, or is told of
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
        if found and (_SPEAKER.match(content) or _ANOTHER.match(content)):
            break
        if told and _starts_anew(line, content, reader):
            aside, found, told, listing, gap = found, [], False, False, False
        if found and not told and line.apart and sentences.told(content) and not _NEXT.match(content):
            break  # "explore", and below it: "The agent should explore because ..."
        if found and line.ruled and not (line.item and (line.number or 0) > (last or 0)):
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
        inner = line.item and (line.indent > deep or (last is not None and line.number is None))
        if found and listing and inner and not reader.orders(content):
            continue  # details of the item above
        if gap and (line.item or steps) and not (listing and line.item and (line.number or 0) > (last or 0)):
            break  # another list, or a plan mentioned after the list
        if steps:
            told = sentences.told(content) and not reader.orders(content) and not line.item and (told or not found)
            found += [*held, *_items(parts, line.item)]
            held, listing, gap, last, deep = [], line.item, False, line.number, line.indent
        elif found and (line.item if listing else reader.counts(content)):
            found += _items(parts, line.item)
            last, deep, gap = line.number, line.indent, False
        elif found and line.item and not listing:
            continue  # a remark
        elif found:
            if not listing and not told:
                break
            gap = gap or told or line.indent <= deep
        else:
            held = [*held, *_items(parts, True)] if line.item else []
    return found if any(reader.begins(fragment.text) for fragment in found) else aside


def _starts_anew(line: _Line, content: str, reader: Reads) -> bool:
    """Whether a line starts the plan after sentences that told of its steps: a list, a label, a line of its own."""
    if line.item:
        return reader.begins(content) and not sentences.told(content)
    if line.ruled or _LABEL.match(content):
        return True
    return line.apart and reader.orders(content) and not _GOES_ON.match(content)


def _spoken(line: str, begun: bool, reader: Reads) -> list[str]:
    """A line's pieces. After the first step, pieces in a sentence of talk count only if they are commands."""
    kept: list[str] = []
    said = _SENTENCE.split(line)
    for sentence in said:
        parts = _joined(pieces(sentence), reader)
        first = next((part for part in parts if re.search(r"\w", part) and not _JOINING.fullmatch(part)), "")
        if not begun and not any(map(reader.begins, parts)) and not reader.acts(first) and sentence != said[-1]:
            continue  # "No key yet. explore"
        if begun and not (reader.begins(first) or reader.counts(first)):
            spoken = (at for at, part in enumerate(parts) if reader.begins(part) and not reader.orders(part))
            parts = [part for part in parts[: next(spoken, None)] if reader.orders(part)]
        for number, part in enumerate(parts):
            if (begun or number) and _TALK_LABEL.match(part):  # "explore. Plan B: ..."
                return kept + parts[:number]
        kept += parts
        begun = begun or any(reader.begins(part) for part in parts)
    return kept


def _joined(parts: list[str], reader: Reads) -> list[str]:
    """Pieces, with an object joined to the skill in the piece before it: "go to | <key>"."""
    found: list[str] = []
    for part in parts:
        if found and reader.takes_object(found[-1]) and not reader.begins(part):
            found[-1] += f" {part}"
        else:
            found.append(part)
    return found


def _items(parts: list[str], item: bool) -> list[Fragment]:
    return [Fragment(part, item and number == 0) for number, part in enumerate(parts)]


def _is_heading(lines: list[_Line], at: int, reader: Reads) -> bool:
    """Whether a line is a heading: it ends with a colon, is a title, or the indented items below it are its steps."""
    line, below = lines[at], lines[at + 1 :]
    if not below:
        return False
    if line.text.rstrip(" *_").endswith(":"):
        return True
    if not line.item:
        return False
    if line.title and not reader.begins(line.text) and below[0].number is None and reader.begins(below[0].text):
        return True
    for lower in below:
        if lower.indent <= line.indent or not lower.item:
            return False
        if reader.begins(lower.text):
            return True
    return False
