"""Prompts: text files with the messages for an LLM. The last message has the symbolic state.

Host module. A prompt file has sections. Each starts with [system], [user] or [assistant] alone on a line. Its fields:

    {task}     the task's description
    {skills}   the task's skills, as written in plans
    {state}    the symbolic state: "Agent sees <key>, <door>, holds <nothing>."; once, in the last [user] section

The prompt of a task is `data/prompts/TASK.txt`; without that file, `data/prompts/default.txt`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from importlib import resources
from pathlib import Path

from l4t_jax.envs.task import Task
from l4t_jax.errors import PromptError
from l4t_jax.files import read_text
from l4t_jax.skills.base import get_skill

ROLES = ("system", "user", "assistant")
FIELDS = ("task", "skills", "state")

# The content-free state, for the prior of a plan: it does not say what is seen or held.
CONTENT_FREE = "Agent sees <N/A>, holds <N/A>."

Message = dict[str, str]  # "role" and "content", as every chat API has them


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A prompt for one task.

    Attributes:
        name: of its file.
        sections: (role, text with the field {state}) of each message.
    """

    name: str
    sections: tuple[tuple[str, str], ...]

    def messages(self, sentence: str) -> list[Message]:
        """The messages for a symbolic state, given as a sentence."""
        return [{"role": role, "content": text.replace("{state}", sentence)} for role, text in self.sections]

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
    folder = resources.files("l4t_jax.teacher") / "data" / "prompts"
    own = folder / f"{task.name}.txt"
    found = own if own.is_file() else folder / "default.txt"
    return parse(task, found.read_text(encoding="utf-8"), found.name)


def parse(task: Task, text: str, name: str) -> Prompt:
    """The prompt in a text.

    Raises:
        PromptError: it has no sections, an unknown field, or does not have {state} exactly once, in its last section.
    """
    pieces = re.split(r"^[ \t]*\[(\w+)\][ \t]*:?[ \t]*$", text, flags=re.MULTILINE)
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
    known = {"{task}": task.description, "{skills}": skill_words(task)}
    for field, value in known.items():
        bodies = [body.replace(field, value) for body in bodies]
    return Prompt(name, tuple(zip(roles, bodies, strict=True)))
