"""An LLM's answer as a plan: text in, steps or "unusable" out. It reads, and does nothing else with the text.

Host module. It takes plans as the prompt asks for them ("go to <key>, pick up <key>"), numbered or bulleted, as words
in a sentence or two, or as JSON (a list, or an object with one); `JSON` has a limit of depth, so a hostile answer costs
no more than a long one. A step that names no skill of the task, or no object it can name, becomes ("noop",), as in the
recorded tables: it ends the plan there. An answer without a single step is unusable.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from l4t_jax.skills.plan_codes import OBJECT_SKILLS, SKILLS, Step

LONGEST = 16_384  # characters that are looked at; no plan is longer
MOST_STEPS = 8  # steps that are kept: a walk along a plan hardly gets so far
NOOP: Step = ("noop",)

_PLAN_FIELDS = ("plan", "steps", "skills", "actions", "answer")
_FILLERS = frozenset(
    ["the", "a", "an", "this", "that", "its", "your", "to", "towards", "agent", "should", "must", "will", "can", "then",
     "next", "first", "finally", "and"]
)  # fmt: skip
_SPLIT = re.compile(r"\n|[,;]|\.(?=\s|$)|->|→|\bthen\b|\band\b")
_NUMBERING = re.compile(r"^\s*(?:step\s*)?\(?\d{1,3}\s*[.):]\s*|^\s*[-*•+]\s+")
_OTHER_SIDE = re.compile(r"^\s*(?:agent sees\b|user\b|<\|)", re.IGNORECASE)  # the model goes on to ask itself


@dataclasses.dataclass(frozen=True)
class Parsed:
    """What an answer says.

    Attributes:
        steps: of the plan; None where the answer is unusable.
        noops: how many of them name no known skill or object.
    """

    steps: tuple[Step, ...] | None
    noops: int = 0


def parse(text: str, objects: Collection[str], skills: Collection[str]) -> Parsed:
    """The plan in an answer.

    Args:
        text: anything.
        objects: the objects that a plan may name.
        skills: the skills that it may use.
    """
    text = text[:LONGEST]
    text = re.sub(r"<think>.*?(?:</think>|\Z)", "", text, flags=re.DOTALL)
    known = sorted({*SKILLS, *skills} - {"noop"}, key=lambda skill: (-len(skill), skill))  # longer names first
    fragments = _from_json(text, known)
    if fragments is None:
        fragments = _from_prose(text, known)
    steps: list[Step] = []
    for fragment in fragments:
        step = _step(fragment, objects, skills, known)
        if step is not None:
            steps.append(step)
        if len(steps) == MOST_STEPS:
            break
    noops = sum(step == NOOP for step in steps)
    return Parsed(None) if noops == len(steps) else Parsed(tuple(steps), noops)


def _words(text: str) -> list[str]:
    """Lower-case words without brackets, quotes and filler."""
    bare = re.sub(r"[^\w\s]", " ", text.lower()).replace("_", " ")
    return [word for word in bare.split() if word not in _FILLERS]


def _unlabelled(fragment: str) -> str:
    """Without what stands before a colon: "The plan: explore"."""
    return fragment.rsplit(":", 1)[-1]


def _step(fragment: str, objects: Collection[str], skills: Collection[str], known: Sequence[str]) -> Step | None:
    """The step that a fragment of an answer says; None where it says nothing that looks like one."""
    words = _words(_unlabelled(fragment))
    if not words:
        return None
    for skill in known:
        name = [word for word in skill.split("_") if word not in _FILLERS]
        if words[: len(name)] != name:
            continue
        if skill not in skills:
            return NOOP
        if skill not in OBJECT_SKILLS:
            return (skill,)
        role = _noun(words[len(name) :], objects)
        return NOOP if role is None else (skill, role)
    # Not a skill: a short fragment is taken for a step of the plan that cannot be done, a long one for talk.
    return NOOP if len(words) <= 3 else None


def _noun(words: list[str], objects: Collection[str]) -> str | None:
    """The one object whose name the words say, in full, with a word too many before or too few of its own."""
    if not words:
        return None
    said = " ".join(words)
    by_words = {" ".join(_words(role)): role for role in objects}
    if said in by_words:
        return by_words[said]
    longer = {role for name, role in by_words.items() if said.endswith(" " + name)}
    shorter = {role for name, role in by_words.items() if name.endswith(" " + said)}
    for found in (longer, shorter):
        if len(found) == 1:
            return found.pop()
    return None


def _from_prose(text: str, known: Sequence[str]) -> list[str]:
    """The fragments of the first stretch of lines that say steps."""
    fragments: list[str] = []
    for line in text.splitlines():
        if _OTHER_SIDE.match(line) and not line.lstrip().startswith("<|im_start|>assistant"):
            break
        pieces = _SPLIT.split(_NUMBERING.sub("", line))
        mine = [piece for piece in pieces if _begins_with_skill(piece, known)]
        if mine:
            fragments += pieces
        elif fragments:
            break  # what follows the plan is talk
    if fragments:
        return fragments
    return [piece for line in text.splitlines()[:MOST_STEPS] for piece in _SPLIT.split(_NUMBERING.sub("", line))]


def _begins_with_skill(fragment: str, known: Sequence[str]) -> bool:
    words = _words(_unlabelled(fragment))
    names = ([word for word in skill.split("_") if word not in _FILLERS] for skill in known)
    return any(words[: len(name)] == name for name in names)


def _from_json(text: str, known: Sequence[str]) -> list[str] | None:
    """The steps in the first JSON list or object that holds some; None where there is none."""
    decoder = json.JSONDecoder()
    starts = [match.start() for match in re.finditer(r"[\[{]", text)][:16]
    for start in starts:
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        steps = _steps_in(value, known, depth=0)
        if steps:
            return steps
    return None


def _steps_in(value: Any, known: Sequence[str], depth: int) -> list[str]:
    """The steps in a JSON value as fragments of text."""
    if depth > 4:
        return []
    if isinstance(value, str):
        return _from_prose(value, known)
    if isinstance(value, dict):
        fields = {str(key).lower(): inner for key, inner in value.items()}
        for field in _PLAN_FIELDS:
            if field in fields:
                return _steps_in(fields[field], known, depth + 1)
        flat = [inner for inner in fields.values() if isinstance(inner, str)]
        return [" ".join(flat)] if flat else []  # {"skill": "go to", "object": "key"}
    if isinstance(value, list):
        if value and all(isinstance(item, str) for item in value) and _is_one_step(value):
            return [" ".join(value)]  # ["go_to", "key"]
        return [step for item in value[: 2 * MOST_STEPS] for step in _steps_in(item, known, depth + 1)]
    return []


def _is_one_step(words: list[str]) -> bool:
    """Whether a list such as ["go_to", "key"] is one step rather than a list of steps."""
    return len(words) == 2 and words[0].strip().lower().replace(" ", "_") in OBJECT_SKILLS
