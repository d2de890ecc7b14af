"""What a skill is, and the registry of skills.

Device module. A skill looks at a batch of scenes and answers, for each, with an action, with `SATISFIED` (the plan goes
on to its next step) or with `DONE` (it can do nothing, and the plan ends). To add one, write a class in a file of its
own and register it; docs/extending/own_skill.py is an example.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import jax

from l4t_jax.abstraction.scene import Mask, Scene
from l4t_jax.envs.task import Role
from l4t_jax.extensions import Registry
from l4t_jax.skills.paths import Path

SATISFIED = -1  # an answer beside the actions 0..6; "can do nothing" is DONE


class Search(NamedTuple):
    """What a skill asks the search of shortest paths for.

    Attributes:
        targets: cells to have directly ahead.
        passable: cells that may be walked on.
        key: of targets and passable cells: what has the same key is searched once; None where nobody else asks for it.
        otherwise: the search that counts wherever this one finds nothing.
    """

    targets: Mask
    passable: Mask
    key: Any = None
    otherwise: Search | None = None


class Skill:
    """A step of a plan, such as `go_to`.

    Attributes:
        name: as it stands in plans: small letters and underscores.
        sentence: what it does, as an LLM is told; "OBJECT" stands for the object that it takes.
        takes_object: whether it is said of one of the task's objects.
        one_action: whether it is over after a single action.
        from_beside: whether it is of use only with its object right ahead, so that plans go there first.
        says_done: whether its `DONE` is the action done, and not "can do nothing".
    """

    name: str = ""
    sentence: str = ""
    takes_object: bool = False
    one_action: bool = False
    from_beside: bool = False
    says_done: bool = False

    def makes_sense(self, role: Role | None, holds: str | None) -> bool:
        """Host: whether a plan may ask for it of an object (None where it takes none), `holds` being held then."""
        return role is None or role.name != holds

    def held_after(self, role: Role | None, holds: str | None) -> str | None:
        """Host: name of the object that is held when it is over; None for none."""
        return holds

    def search(self, scene: Scene, role: int) -> Search | None:
        """The search whose result `act` reads; None where it needs none.

        Args:
            scene: a batch of memory maps.
            role: the place of its object in `task.objects`; -1 where it takes none.
        """
        return None

    def act(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        """What it does now.

        Args:
            scene: a batch of memory maps.
            role: as in `search`.
            path: what its search found.

        Returns:
            `int32[*B]`: an action 0..6, `SATISFIED`, or `DONE` where it can do nothing.
        """
        raise NotImplementedError


_SKILLS = Registry[Skill]("skill", setting="skills")
NOOP = "noop"  # the step that does nothing, of every task


def register_skill(skill: Skill) -> Skill:
    """Adds a skill; tasks that list its name among their skills have it.

    One that the same file of a user's registered before is replaced.

    Raises:
        ValueError: its name is "noop", no word of small letters and underscores, or that of another skill.
    """
    if skill.name == NOOP or not re.fullmatch(r"[a-z]+(_[a-z]+)*", skill.name):
        raise ValueError(f"a skill cannot be named {skill.name!r}; take small letters and underscores, but not {NOOP}")
    _SKILLS.add(skill.name, skill)
    return skill


def get_skill(name: str) -> Skill:
    """The skill of that name.

    Raises:
        ConfigError: there is none; the message names all there are.
    """
    return _SKILLS.named(name)


def list_skills() -> list[str]:
    """The names of all registered skills."""
    return list(_SKILLS)
