"""Prompts: texts with the messages for an LLM. The last message has the symbolic state.

Host module. A prompt has sections. Each starts with [system], [user] or [assistant] alone on a line. Its fields:

    {task}     the task's description
    {mission}  the mission, as MiniGrid says it
    {skills}   the task's skills, as written in plans
    {objects}  the objects that the task has names for
    {state}    the symbolic state: "Agent sees <key>, <door>, holds <nothing>."; once, in the last [user] section

A task's own prompt is made from its description, mission, skills and roles (`made`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path

from l4t_jax.abstraction.symbolic import BLOCKED_WORD, Symbolic
from l4t_jax.envs.cells import COLOURS
from l4t_jax.envs.task import Task
from l4t_jax.errors import PromptError
from l4t_jax.files import read_text
from l4t_jax.skills.base import get_skill

ROLES = ("system", "user", "assistant")
FIELDS = ("task", "mission", "skills", "objects", "state")
EXAMPLES = ("ball", "box", "lamp", "cup", "book")  # objects of the example; those that the task does not have

# The content-free state, for the prior of a plan: it does not say what is seen or held.
CONTENT_FREE = "Agent sees <N/A>, holds <N/A>."

Message = dict[str, str]  # "role" and "content", as every chat API has them


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A prompt for one task.

    Attributes:
        name: of its file; "made for TASK" for a task's own.
        sections: (role, text with the field {state}) of each message.
    """

    name: str
    sections: tuple[tuple[str, str], ...]

    def messages(self, sentence: str) -> list[Message]:
        """The messages for a symbolic state, given as a sentence."""
        return [{"role": role, "content": text.replace("{state}", sentence)} for role, text in self.sections]

    @property
    def text(self) -> str:
        """The prompt as a file, with the field {state}."""
        return "\n".join(f"[{role}]\n{text}\n" for role, text in self.sections)

    @property
    def digest(self) -> str:
        """A hash of the prompt without the state, 16 hex digits."""
        return hashlib.sha256(repr(self.sections).encode()).hexdigest()[:16]


def skill_words(task: Task) -> str:
    """The task's skills as written in the prompt: "explore, go to <object>"."""
    named = ((name.replace("_", " "), get_skill(name).takes_object) for name in task.skills)
    return ", ".join(f"{words} <object>" if takes_object else words for words, takes_object in named)


def load(task: Task, path: str | Path | None = None) -> Prompt:
    """The prompt in a file, or the task's own.

    Raises:
        PromptError: it cannot be read or is not a prompt.
    """
    if path is not None:
        try:
            text = read_text(path)
        except OSError as error:
            raise PromptError(f"the prompt file {path} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError:
            raise PromptError(f"the prompt file {path} cannot be read: it is not UTF-8 or UTF-16 text") from None
        return parse(task, text, str(path))
    return parse(task, made(task), f"made for {task.name}")


def made(task: Task) -> str:
    """The text of a task's own prompt, in the form of a prompt file."""
    skills = [get_skill(name) for name in task.skills]
    look = next((s.name.replace("_", " ") for s in skills if not s.takes_object and not s.one_action), "")
    lines = ["[system]", f"You plan for an agent in a grid world. {task.description}".strip()]
    if _mission(task):
        lines.append("Its mission: {mission}.")
    lines.append("The agent sees a part of the map and remembers what it has seen. Its skills:")
    for skill, words in zip(skills, skill_words(task).split(", "), strict=True):
        said = skill.sentence.replace("OBJECT", "the object")
        lines.append(f"- {words}: {said}" if said else f"- {words}")
    lines.append("Objects that it may see: {objects}.")
    if task.rename_colours:
        lines.append("Colours are called color1, color2, ... in the order in which they are named.")
    some = next((role.name for role in task.objects if role.reach), None)
    if some is not None:
        lines.append(f"<{BLOCKED_WORD} {some}>: it is seen, but no way leads there yet; plans call it <{some}>.")
    lines.append(
        "You are told what the agent sees and what it holds. Answer with its plan and nothing else: one to four "
        "skills, separated by commas. Name only objects that it sees or holds."
        + (f" An object that is needed and not in sight must be found first: {look}." if look else "")
    )
    if look:
        lines += ["", "[user]", Symbolic((), None).sentence, "", "[assistant]", look]
    steps = [step for step in ("go_to", "pick_up", "open") if step in task.skills][:2]
    if steps:
        thing = _foreign(task)
        plan = ", ".join(f"{step.replace('_', ' ')} <{thing}>" for step in steps)
        lines += ["", "[user]", Symbolic((thing,), None).sentence, "", "[assistant]", plan]
    return "\n".join([*lines, "", "[user]", "{state}", ""])


def _mission(task: Task) -> str:
    """The mission in MiniGrid's words; an example if it is drawn with the level."""
    if task.mission is None:
        return task.text
    first = task.mission.say([0] * len(task.mission.fields))
    second = task.mission.say([size - 1 for size in task.mission.sizes])
    return first if first == second else f'such as "{first}" or "{second}"'


def _objects(task: Task) -> str:
    """The objects that plans can name: "<key> (can be carried), <locked door>"."""
    carried = "pick_up" in task.skills or "clear" in task.skills
    names = {role.name: role.portable and carried for role in task.objects}
    if task.rename_colours:
        names = {re.sub(rf"^({'|'.join(COLOURS)}) ", "color1 ", name): known for name, known in names.items()}
    return ", ".join(f"<{name}>{' (can be carried)' if known else ''}" for name, known in names.items())


def _foreign(task: Task) -> str:
    """An object for the example that is none of the task's, so that the example gives no advice."""
    return next(name for name in EXAMPLES if not any(name in role.name for role in task.objects))


def parse(task: Task, text: str, name: str) -> Prompt:
    """The prompt in a text.

    Raises:
        PromptError: it has no sections, an unknown field, or does not have {state} exactly once, in its last section.
    """
    text = text.replace("\ufeff", "").replace("\u200b", "")  # of files put together, or copied from a page
    pieces = re.split(r"^[^\S\n]*\[(\w+)\][^\S\n]*:?[^\S\n]*$", text, flags=re.MULTILINE)
    roles, bodies = [role.lower() for role in pieces[1::2]], [body.strip() for body in pieces[2::2]]

    def require(condition: bool, message: str) -> None:
        if not condition:
            raise PromptError(f"the prompt file {name} {message}")

    require(bool(roles), "must begin with a section such as [user], alone on a line, and has none")
    require(not pieces[0].strip(), "must begin with a section such as [system], and has text before the first")
    for role in roles:
        require(role in ROLES, f"has a section [{role}]; there are {', '.join(f'[{r}]' for r in ROLES)}")
    require("system" not in roles[1:], "may have a [system] section only at its beginning")
    for field in re.findall(r"\{(\w+)\}", text):
        require(field in FIELDS, f"has a field {{{field}}}; there are {', '.join(f'{{{f}}}' for f in FIELDS)}")
    require(
        roles[-1] == "user" and text.count("{state}") == 1 and "{state}" in bodies[-1],
        "must have {state} exactly once, in a last section [user]",
    )
    known = {
        "{task}": task.description, "{mission}": _mission(task), "{skills}": skill_words(task),
        "{objects}": _objects(task),
    }  # fmt: skip
    for field, value in known.items():
        bodies = [body.replace(field, value) for body in bodies]
    return Prompt(name, tuple(zip(roles, bodies, strict=True)))
