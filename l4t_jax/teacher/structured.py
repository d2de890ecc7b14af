"""Splits JSON in an answer into fragments that are steps: lists, objects, calls, several values in a row.

Host module. Python's `json` limits the nesting depth, so a hostile answer costs no more than a long one. Almost valid
JSON (single quotes, extra commas, comments) is repaired.
"""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

from l4t_jax.teacher import prose
from l4t_jax.teacher.prose import Fragment

DEEPEST = 6
MOST_STARTS = 16  # positions where JSON may start
MOST_ITEMS = 16  # items of a list or an object that are read

_PLAN_FIELDS = (
    "plan", "steps", "skills", "actions", "answer", "final_answer", "final_plan", "action_plan", "next_actions",
    "next_action", "action_sequence", "skill_sequence", "sequence", "output", "response", "result", "next_step",
    "next_steps", "commands", "subgoals", "tasks", "tool_calls", "calls", "decision", "moves", "instructions",
)  # fmt: skip
_WHOLE_PLANS = frozenset(
    ("plan", "steps", "actions", "answer", "final_answer", "final_plan", "action_plan", "action_sequence", "sequence")
)
_VERB_FIELDS = ("skill", "action", "name", "function", "tool", "command", "verb", "act", "move", "step", "tool_name")
_OBJECT_FIELDS = (
    "object", "target", "args", "arguments", "argument", "parameters", "params", "parameter", "input", "item", "on",
    "entity", "object_name", "action_input", "destination", "tool_input", "arg", "param", "to", "what",
)  # fmt: skip
_TALK_FIELDS = re.compile(
    r"thought|thinking|reason|rationale|explan|analysis|observ|reflect|comment|note|why|state|confiden|descr|goal|id$"
    r"|index|status|order|number|probab|score|context|critique|memory|summary|error|message|justif|sees|holds|expected"
    r"|precondition|effect|priority|type|fallback|backup|alternativ|otherwise"
)
# Between two values: tags of calls, code fences, numbers of a list.
_GAP = re.compile(r"(?:[\s,;]|</?\w{1,30}>|```(?:json)?|\d{1,2}[.)]\s|[-*]\s|(?:and|then)\s)*(?=[\[{])")
_NUMBERED = re.compile(r"(?:step|action|skill|task|move|subgoal|s)?_?(\d{1,3})")
_LATER_FIELDS = ("then", "next", "next_step", "next_steps", "next_action", "next_actions", "followed_by", "afterwards")
_ORDINALS = ("first", "second", "third", "fourth", "then", "next", "finally", "last")


class Reads(prose.Reads, Protocol):
    """What this module needs to know about skills (`parser.Reader`)."""

    def is_skill(self, text: str) -> bool:
        """Whether a text is the name of a skill and nothing else."""
        ...


def fragments(text: str, reader: Reads) -> list[Fragment]:
    """The steps in the first JSON value of a text that has steps; none if there is no such value.

    Args:
        text: any text.
        reader: knows the skills.
    """
    for candidate in dict.fromkeys((text, _mended(text))):
        end = -1
        for match in list(re.finditer(r"[\[{]", candidate))[:MOST_STARTS]:
            if match.start() < end:
                continue
            found: list[Fragment] = []
            at = match.start()
            while at < len(candidate) and len(found) < MOST_ITEMS:  # values in a row: JSON lines
                try:
                    value, end = _DECODER.raw_decode(candidate, at)
                except (ValueError, RecursionError):
                    break
                found += _in_value(value, reader, 0)
                if found and isinstance(value, dict) and _WHOLE_PLANS & {_field(key) for key in value}:
                    break  # {"plan": ...} {"plan": ...}: the second is another plan
                at = _next_value(candidate, end)
            if any(reader.begins(fragment.text) for fragment in found):
                return found
    return []


def _split(pairs: list[tuple[str, Any]]) -> Any:
    """A JSON object; if a field comes again, several objects: models write {"step": ..., "step": ...}."""
    parts: list[dict[str, Any]] = [{}]
    for name, value in pairs:
        if name in parts[-1]:
            parts.append({})
        parts[-1][name] = value
    return parts if len(parts) > 1 else parts[0]


_DECODER = json.JSONDecoder(object_pairs_hook=_split)


def _next_value(text: str, at: int) -> int:
    """The position where the next value starts; the end of the text if there is none."""
    gap = _GAP.match(text, at)
    return gap.end() if gap is not None else len(text)


def _mended(text: str) -> str:
    """A text with repaired JSON: double quotes, no comments, no commas before a closing bracket."""
    if "{" not in text and "[" not in text:
        return text
    text = re.sub(r"(?m)(?<=[\s,\]}])(?://|#).*$", "", text)
    text = re.sub(r"(?<=[\[{,:\s])'|'(?=\s*[\]},:])", '"', text)
    text = re.sub(r"\b(None|True|False)\b", lambda word: {"None": "null"}.get(word[0], word[0].lower()), text)
    text = re.sub(r"([{,]\s*)([A-Za-z_]\w*)(\s*:)", r'\1"\2"\3', text)
    return re.sub(r",(\s*[\]}])", r"\1", text)


def _in_value(value: Any, reader: Reads, depth: int, listed: bool = False) -> list[Fragment]:
    """The steps in a JSON value."""
    if depth > DEEPEST:
        return []
    if isinstance(value, str):
        return _in_string(value, reader, depth, listed)
    if isinstance(value, list):
        return _in_list(value[:MOST_ITEMS], reader, depth)
    if isinstance(value, dict):
        return _in_object(value, reader, depth, listed)
    return []


def _in_string(value: str, reader: Reads, depth: int, listed: bool) -> list[Fragment]:
    if value.lstrip()[:1] in ("[", "{") and depth < DEEPEST:  # JSON inside JSON
        inner = fragments(value, reader) if depth < 3 else []
        if inner:
            return inner
    if listed and not reader.begins(value) and "\n" not in value:
        return [Fragment(value, listed=True)] if value.strip() else []
    return prose.fragments(value, reader)


def _in_list(items: list[Any], reader: Reads, depth: int) -> list[Fragment]:
    """The steps of a list; ["go_to", "key"] is one."""
    found: list[Fragment] = []
    at = 0
    while at < len(items):
        item, after = items[at], items[at + 1] if at + 1 < len(items) else None
        if isinstance(item, str) and reader.takes_object(item) and isinstance(after, str) and not reader.begins(after):
            found.append(Fragment(f"{item} {after}", listed=True))
            at += 2
            continue
        if isinstance(item, str) and reader.takes_object(item) and isinstance(after, list | dict):
            named = _flat(after)
            if named and not reader.begins(named):  # ["go_to", ["key"]]
                found.append(Fragment(f"{item} {named}", listed=True))
                at += 2
                continue
        found += _in_value(item, reader, depth + 1, listed=True)
        at += 1
    return found


def _in_object(value: dict[str, Any], reader: Reads, depth: int, listed: bool) -> list[Fragment]:
    fields = {_field(key): inner for key, inner in list(value.items())[: 4 * MOST_ITEMS]}
    one = _one_step(fields, reader, depth)
    later = [fields[name] for name in _LATER_FIELDS if name in fields]
    if later and not one:  # {"action": "go to <key>", "next_action": ...}
        said = (fields.get(name) for name in _VERB_FIELDS)
        first = next((verb for verb in said if isinstance(verb, str) and reader.begins(verb)), "")
        one = _in_string(first, reader, depth + 1, True) if first else []
    if one:
        return [*one, *(fragment for value in later for fragment in _in_value(value, reader, depth + 1, listed=True))]
    for name in _PLAN_FIELDS:
        if name in fields:
            found = _in_value(fields[name], reader, depth + 1)
            if found:
                return found
    said = {name: inner for name, inner in fields.items() if _TALK_FIELDS.search(name) is None}
    found = []
    numbers = [(int(match.group(1)), name) for name in said if (match := _NUMBERED.fullmatch(name))]
    ordered = [name for _, name in sorted(numbers)] or [name for name in said if name in _ORDINALS]
    for name in ordered:  # {"step1": ..., "step2": ...}
        found += _in_value(said[name], reader, depth + 1, listed=True)
    if found:
        return found
    for name, inner in said.items():
        if reader.is_skill(name):  # {"go_to": "key"}
            found.append(Fragment(f"{name} {_flat(inner)}", listed=True))
    if found:
        return found
    for name, inner in said.items():
        found += _in_value(inner, reader, depth + 1, listed=name in _VERB_FIELDS and isinstance(inner, str))
    if found or not listed:
        return found
    flat = _flat([inner for inner in said.values() if isinstance(inner, str)])
    return [Fragment(flat, listed=True)] if flat else []


def _one_step(fields: dict[str, Any], reader: Reads, depth: int) -> list[Fragment]:
    """The step of an object such as {"skill": "go_to", "object": "key"}, or of a function call."""
    for name in _VERB_FIELDS:
        verb = fields.get(name)
        if isinstance(verb, dict) and name == "function":  # OpenAI's calls
            return _in_object(verb, reader, depth + 1, listed=True) if depth < DEEPEST else []
        if not isinstance(verb, str):
            continue
        objects = [_flat(fields[other]) for other in _OBJECT_FIELDS if other in fields and other != name]
        if reader.takes_object(verb) and any(objects):
            return [Fragment(f"{verb} {next(filter(None, objects))}", listed=True)]
        if reader.is_skill(verb) or (any(objects) and not reader.begins(verb)):
            return [Fragment(f"{verb} {' '.join(objects)}", listed=True)]
    return []


def _field(key: str) -> str:
    """A field's name as in the lists above: nextAction, "Next Action" and next-action are next_action."""
    return re.sub(r"[\s\-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key.strip())).lower()


def _flat(value: Any, depth: int = 0) -> str:
    """The texts in a value, joined by spaces."""
    if isinstance(value, str):
        if value.lstrip()[:1] in ("{", "[") and depth < 2:
            try:
                return _flat(json.loads(value), depth + 1)
            except (ValueError, RecursionError):
                return value
        return value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list) and depth <= 3:
        return " ".join(filter(None, (_flat(item, depth + 1) for item in value[:MOST_ITEMS])))
    return ""
