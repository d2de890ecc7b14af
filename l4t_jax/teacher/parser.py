"""Parses an LLM's answer: text in, a plan or "unusable" out. The text is never executed.

Host module. `reasoning.final` removes the reasoning. `structured` finds steps in JSON, `prose` in all other text, after
`sentences` has put them in order: both split an answer into *fragments*. Here fragments become steps. A step without a
known skill or object becomes ("noop",), as in the recorded tables: it ends the plan there and is counted. An answer
without any step is unusable. `tests/teacher/data/answers.json` has 446 answers with the correct result.
"""

from __future__ import annotations

import dataclasses
import functools
import html
import re
import unicodedata
from collections.abc import Collection, Sequence

from l4t_jax.skills.base import get_skill
from l4t_jax.skills.plan_codes import Step
from l4t_jax.teacher import prose, structured
from l4t_jax.teacher.reasoning import final, whole

LONGEST = 16_384  # characters that are read; no plan is longer
MOST_STEPS = 8  # steps that are kept; an agent hardly gets further in a plan
NOOP: Step = ("noop",)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_FILLERS = _set("the a an this that its your to at object near")
_PRONOUNS = _set("it them one")
# Words that may precede a skill: "The agent should first", "I will then", "The best plan is to".
_LEAD = _set(
    """
    the a agent player robot i m am you we ll d s let lets us should would must will can could need needs have has want
    wants please first firstly second secondly third thirdly finally lastly next then now immediately best optimal right
    only simply just step steps action skill move thing plan answer is are be do so ok okay sure start begin proceed
    continue by with also my your try it in order case recommend suggest propose think believe instead rather
    keep time choose select use apply perform execute
    therefore thus hence accordingly consequently self env await return
    """
)
_TO_AFTER = _set(
    "is are need needs have has want wants be do proceed continue start begin try would should best choose suggest time"
)
_MODALS = _set("should must will would can could is are be needs need has have wants")
_ORDERED = _set("should must needs")
_MODIFIERS = _set(
    "to be first then now also just simply next immediately go therefore thus hence instead still probably "
    "best better good wise sensible reasonable necessary required needed important essential"
)
_PLACES = _set("location position cell place square tile spot side front")  # "the location of the key"
_TURNS = _set("no not t never cannot if when unless before after once so because that which who since until while")
_GOALS = _set("goal mission task objective aim purpose job problem")  # "the goal is to open the door" is no step,
_NEAR = _set("first next immediate")  # but "the next goal is to ..." is one
_SEQUENCE = _set("then next finally lastly first second third now and")
# Words that talk starts with. Talk is not a step, even if it is short.
_TALK = _set(
    """
    because since so as if when while where which that this these it there but however note good great ok okay sure
    yes no not don dont do never avoid hope let here certainly absolutely of for in on at using done thanks thank
    the a an reason explanation thought to once after until before user assistant given based assuming although
    though thus therefore hence otherwise else alternatively instead feel happy end json text plaintext markdown
    python from i you we my your agent is are cannot can unless without with by sees holds seeing holding nothing me
    option current currently necessary needed possible than else goal mission objective etc
    looking seeking hoping trying making ensuring being well hm hmm ah oh hello hi hey actually excellent perfect stop
    """
)
# Verbs of actions. A fragment that starts with one is a step, even if it is long; skills are handled below.
_VERBS = _set(
    """
    use unlock walk turn take grab push pull toggle insert approach navigate head return carry place put find face
    get wait enter cross leave exit collect retrieve fetch bring equip locate throw rotate teleport fly run
    """
)
# An object after these words is not the object of the skill.
_BETWEEN = _set("with of for by behind in on and then from next beside using")
_TURN_END = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|end|endoftext|end_of_text|return|EOT|user|system|assistant)\|>"
    r"|</s>|<end_of_turn>|<turn\|>|<eos>"
)
_ASKED = re.compile(r"\A(?:<s>)?\s*\[INST\].*?\[/INST\](?=.*\w)", re.DOTALL)  # the question once more
_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_FIRST = re.compile(r"^\W*(?:but\s+first|before\s+(?:that|this|doing\s+(?:so|that|this)))\b", re.IGNORECASE)
_CIRCLED = re.compile("[①-⑳]")
_SAID_OF = _set("is isn are was would will not cannot can has does requires seems makes won wouldn may might")


@dataclasses.dataclass(frozen=True)
class Parsed:
    """The result of parsing an answer.

    Attributes:
        steps: of the plan; None if the answer is unusable.
        noops: number of steps without a known skill or object.
    """

    steps: tuple[Step, ...] | None
    noops: int = 0


def parse(text: str, objects: Collection[str], skills: Collection[str]) -> Parsed:
    """The plan in an answer.

    Args:
        text: any text.
        objects: names of the objects that a plan may name.
        skills: names of the skills that it may use.
    """
    text = clean(final(text))
    reader = _reader(tuple(objects), tuple(skills))
    for fragments in (structured.fragments(text, reader), prose.fragments(text, reader)):
        steps = reader.steps(fragments)
        if any(step != NOOP for step in steps):
            return Parsed(steps, sum(step == NOOP for step in steps))
    return Parsed(None)


def parse_cut(text: str, objects: Collection[str], skills: Collection[str]) -> Parsed:
    """The plan in an answer that was cut off; unusable unless the plan certainly ended before the cut.

    The answer must start with the plan: another start may be reasoning whose marks were cut off too. And text that is
    not a step must follow the plan.
    """
    said = final(text)
    kept = whole(said)
    first = next((line for line in kept.splitlines() if line.strip()), "")
    begins = first.lstrip()[:1] in ("{", "[", "`")
    begins = begins or _reader(tuple(objects), tuple(skills)).orders(re.sub(r"^\W*\d*\W*", "", first))
    if not begins or re.search(r"[^\W\d_]", said[len(kept) :]) is None:
        return Parsed(None)
    found = parse(kept, objects, skills)
    return found if found == parse(said, objects, skills) else Parsed(None)


def clean(text: str) -> str:
    """The part of a text that is read, with entities and full-width letters replaced."""
    text = _LINE_END.sub("\n", text[: 2 * LONGEST].lstrip())
    text = _ASKED.sub("", text)
    text = next((turn for turn in _TURN_END.split(text) if turn.strip()), "")  # another speaker's turn follows
    if "&" in text:
        text = html.unescape(html.unescape(text))
    text = _CIRCLED.sub(lambda sign: f"\n{ord(sign[0]) - ord('①') + 1}. ", text)
    text = unicodedata.normalize("NFKC", text).replace("\u200b", "").replace("\ufeff", "")
    text = re.sub("> ?/ ?<", "> or <", text)
    if "\\n" in text and "\n" not in text.strip():  # a string with escaped line ends
        text = text.replace("\\n", "\n")
    return text[:LONGEST]


def words(text: str) -> list[str]:
    """Lower-case words without brackets and quotes; each of goTo, go_to, go-to and GoTo is two words."""
    return list(_words(text))


@functools.lru_cache(maxsize=256)  # each fragment is looked at several times
def _words(text: str) -> tuple[str, ...]:
    bare = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text.replace("'", " ").replace("’", " "))
    said = re.sub(r"[^\w]|_", " ", bare).lower().split()
    return tuple("to" if word in ("towards", "toward") else word for word in said)


# Recognised as skills for every task. If the task does not have the skill, the step is counted as unknown.
REFERENCE_SKILLS = ("explore", "search", "go_to", "reach", "pick_up", "drop", "open")


class Reader:
    """Reads fragments as steps, for one task.

    Args:
        objects: names of the objects that a plan may name.
        skills: names of the skills that it may use.
    """

    def __init__(self, objects: Collection[str], skills: Collection[str]) -> None:
        self._skills = frozenset(skills)
        self._objects = {tuple(words(name)): name for name in objects}
        known = {*REFERENCE_SKILLS, *skills}
        forms: list[tuple[tuple[str, ...], str, bool]] = []  # words at the start of a fragment, skill, -ing form
        forms.append((("goes", "to"), "go_to", False))
        for skill in known:
            first, *rest = skill.split("_")
            forms += [((first, *rest), skill, False), ((first + "s", *rest), skill, False)]
            stems = {first, first + first[-1], first[:-1] if first.endswith("e") else first}
            forms += [((stem + "ing", *rest), skill, True) for stem in stems]
            if rest:
                forms.append(((first + "".join(rest),), skill, False))  # goto, pickup
        self._forms = sorted(forms, key=lambda form: (-len(form[0]), form))

    # Fragments

    def steps(self, fragments: Sequence[prose.Fragment]) -> tuple[Step, ...]:
        """The steps in fragments, at most `MOST_STEPS`."""
        found: list[Step] = []
        later: list[Step] = []  # "It must open <door>, but first go to <key>"
        for fragment in fragments:
            if _FIRST.match(fragment.text):
                later, found = [*found, *later], []
            said = (found or later)[-1:]
            found += self._steps(fragment, said[0] if said else None)
            if len(found) >= MOST_STEPS:
                break
        return tuple([*found, *(step for step in later if step not in found)][:MOST_STEPS])

    def begins(self, text: str) -> bool:
        """Whether a text begins with a skill, of this task or another, perhaps after a label."""
        return any(self._skill(said)[0] is not None for said in _labelled(_FIRST.sub("", text, count=1)))

    def orders(self, text: str) -> bool:
        """Whether a text starts with a skill as a command: "open the door", but not "it can open the door"."""
        said = words(text)
        while said and said[0] in _SEQUENCE:
            said = said[1:]
        return self._skill(said, lead=False)[0] is not None

    def counts(self, text: str) -> bool:
        """Whether a text that does not start with a skill is still a step (an unknown one)."""
        said = words(text)
        bare = self._bare(said)
        if bare and bare[0] in _VERBS and _ORDERED & set(said[: len(said) - len(bare)]):  # "The agent should turn"
            return True
        if (said and said[0] in _TALK) or text.rstrip().endswith(":"):
            return False
        if said[:1] == ["move"] and set(said[1:3]) & {"to", "over", "next", "closer"}:  # and not "move 1: explore"
            return True
        if not bare or bare[0] in _TALK or _SAID_OF & set(bare[1:3]):  # "The door is open"
            return False
        return (
            bare[0] in _VERBS
            or said[0] in _VERBS
            or len(bare) <= 3
            or (len(bare) <= 6 and re.search(r"<[^<>]+>", text) is not None)
        )

    def acts(self, text: str) -> bool:
        """Whether a text is a command to do something that is not a skill: "walk to <key>"."""
        said = words(text)
        while said and said[0] in _SEQUENCE:
            said = said[1:]
        return said[:1] != [] and said[0] in _VERBS

    def is_skill(self, text: str) -> bool:
        """Whether a text is the name of a skill and nothing else."""
        skill, rest = self._skill(words(text))
        return skill is not None and not rest

    def takes_object(self, text: str) -> bool:
        """Whether a text is the name of a skill that takes an object, and nothing else."""
        skill, rest = self._skill(words(text))
        return skill is not None and get_skill(skill).takes_object and not rest

    def _steps(self, fragment: prose.Fragment, before: Step | None) -> list[Step]:
        """The steps in one fragment; several if nothing separates them."""
        for said in _labelled(_FIRST.sub("", fragment.text, count=1)):
            skill, rest = self._skill(said)
            if skill is None:
                continue
            found: list[Step] = []
            while skill is not None:
                step, rest = self._step(skill, rest, found[-1] if found else before)
                if step is None:
                    break
                found.append(step)
                while rest and rest[0] in _SEQUENCE:
                    rest = rest[1:]
                skill, rest = self._skill(rest, lead=False)
            if found:
                return found
            return [NOOP] if fragment.listed else []
        if fragment.listed:
            return [NOOP] if words(re.sub(r"^[\W\d_]+", "", fragment.text)) else []
        return [NOOP] if self.counts(fragment.text) else []

    def _bare(self, said: list[str]) -> list[str]:
        """The words without those that may precede a skill."""
        start = 0
        while start < len(said) and (
            said[start] in _LEAD or said[start].isdigit() or (said[start] == "to" and said[start - 1] in _TO_AFTER)
        ):
            start += 1
        return said[start:]

    def _skill(self, said: list[str], lead: bool = True) -> tuple[str | None, list[str]]:
        """(the skill at the start of the words or None, the words after it)."""
        bare = self._bare(said) if lead else said
        for form, skill, ing in self._forms:
            if tuple(bare[: len(form)]) == form:
                rest = bare[len(form) :]
                if ing and len(bare) == len(said) and self._object(rest, None)[1]:
                    continue  # "Opening the door needs a key" is talk
                return skill, rest
            if len(form) == 2 and form[1] in ("up", "down") and bare[:1] == [form[0]] and form[1] in bare[2:6]:
                at = bare.index(form[1])  # pick the key up
                return skill, bare[1:at] + bare[at + 1 :]
            if form == ("go", "to") and bare[:1] == ["go"] and self._object(bare[1:2], None)[0]:  # go key
                return skill, bare[1:]
        if said[:2] in (["this", "way"], ["that", "way"]):  # "This way the agent can open the door"
            return None, bare
        for at in range(min(10, len(said)) if lead else 0):  # "The most sensible thing would be to explore"
            if said[at] in _TURNS or (said[at] in _GOALS and not _NEAR & set(said[:at])):
                break
            if said[at] in _MODALS:
                rest = said[at + 1 :]
                while rest and rest[0] in _MODIFIERS and rest[:2] != ["go", "to"]:
                    rest = rest[1:]
                skill, after = self._skill(rest, lead=False)
                if skill is not None and (after or not get_skill(skill).takes_object):  # not "the door is open"
                    return skill, after
        return None, bare

    def _step(self, skill: str, rest: list[str], before: Step | None) -> tuple[Step | None, list[str]]:
        """(step of a skill, the words after it); the step is None if the text only talks about the skill."""
        if rest and rest[0] in _SAID_OF:
            return None, rest
        takes_object = get_skill(skill).takes_object
        if "or" in rest and (takes_object or self._skill(rest[rest.index("or") + 1 :])[0] is not None):
            return NOOP, []  # which of them?
        if not takes_object:
            return (NOOP if skill not in self._skills else (skill,)), rest
        name, after = self._object(rest, before)
        if after and after[0] in _SAID_OF:
            return None, after
        if skill not in self._skills or name is None:
            return NOOP, []
        return (skill, name), after

    def _object(self, rest: list[str], before: Step | None) -> tuple[str | None, list[str]]:
        """(first object named, the words after it): its full name after at most two other words, or its short name."""
        at = [place for place, word in enumerate(rest) if word not in _FILLERS]  # of the words that count
        if len(at) > 2 and rest[at[0]] in _PLACES and rest[at[1]] == "of":
            at = at[2:]
        said = [rest[place] for place in at]
        if not said and rest and rest[0] in ("this", "that") and before is not None and len(before) == 2:
            return before[1], []
        if not said:
            return None, []
        if said[0] in _PRONOUNS and before is not None and len(before) == 2:
            return before[1], rest[at[0] + 1 :]
        for start in range(min(3, len(said))):
            for length in range(min(6, len(said) - start), 0, -1):
                phrase, after = tuple(said[start : start + length]), rest[at[start + length - 1] + 1 :]
                if phrase in self._objects:
                    return self._objects[phrase], after
                if start == 0:  # "door" for the only door, of any colour
                    longer = [name for name in self._objects if name[-length:] == phrase]
                    if len(longer) == 1:
                        return self._objects[longer[0]], after
            if said[start] in _BETWEEN:
                break
        return None, said


@functools.lru_cache(maxsize=256)
def _reader(objects: tuple[str, ...], skills: tuple[str, ...]) -> Reader:
    return Reader(objects, skills)


def _labelled(text: str) -> list[list[str]]:
    """A text as words, and again after each colon in it: "Step 1: explore", "go to <key>: it is near"."""
    pieces = text.split(":")
    if len(pieces) > 6:
        return [words(text), words(pieces[-1])]
    return [words(":".join(pieces[start:])) for start in range(len(pieces))]
