"""Skills that are said of an object: going there, picking it up, opening it, clearing the way to it.

Device module: pure, jittable. Of several objects that a role means, the nearest that can be reached is meant. A skill
on an object that was not seen in this episode can do nothing. Source of `go_to`, `pick_up`, `drop`, `open`: LLM4Teach.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from l4t_jax.abstraction.scene import Mask, Scene, around, parts_around
from l4t_jax.envs.cells import BOX, DONE, DROP, EMPTY, FORWARD, PICKUP, TOGGLE
from l4t_jax.envs.task import DOORS, Role
from l4t_jax.skills.base import SATISFIED, Search, Skill, register_skill
from l4t_jax.skills.explore import through
from l4t_jax.skills.paths import Path


def known(scene: Scene, role: int) -> jax.Array:
    """Whether an object was seen in this episode, `bool[*B]`."""
    return scene.any(scene.remembered[role])


def way_to(scene: Scene, role: int) -> Search:
    """The search for an object. States of one object share it, as at most one of them is there at a time."""
    objects = scene.task.objects
    word = objects[role].is_same_as
    same = [i for i, other in enumerate(objects) if i == role or (word is not None and other.is_same_as == word)]
    targets = functools.reduce(jnp.logical_or, [scene.remembered[i] for i in same])
    return Search(targets, scene.free, ("way to", tuple(same)))


class _OfObject(Skill):
    takes_object = True

    def act(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        return jnp.where(known(scene, role), self.known(scene, role, path), DONE).astype(jnp.int32)

    def known(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        """What it does where its object was seen."""
        raise NotImplementedError


class GoTo(_OfObject):
    """Walks until the object is directly ahead."""

    name, sentence = "go_to", "walk until OBJECT is right ahead"

    def search(self, scene: Scene, role: int) -> Search:
        return way_to(scene, role)

    def known(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        assert path is not None
        return path.first_action(SATISFIED)


class Reach(_OfObject):
    """Walks until the agent stands on the object's cell."""

    name, sentence = "reach", "walk onto OBJECT"

    def makes_sense(self, role: Role | None, holds: str | None) -> bool:
        return role is not None and not role.portable

    def search(self, scene: Scene, role: int) -> Search:
        return way_to(scene, role)

    def known(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        assert path is not None
        return path.first_action(FORWARD)


class Clear(_OfObject):
    """Walks to the object; where there is no free way, opens closed doors and picks up what stands in it."""

    name, sentence = "clear", "walk until OBJECT is right ahead, and pick up what blocks the way"

    def makes_sense(self, role: Role | None, holds: str | None) -> bool:
        return role is not None and role.name != holds and holds is None

    def search(self, scene: Scene, role: int) -> Search:
        free_way = way_to(scene, role)
        otherwise = Search(free_way.targets, scene.past_things, ("clear", *free_way.key))
        return free_way._replace(otherwise=otherwise)

    def known(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        assert path is not None
        return through(scene, path, path.first_action(SATISFIED))


class _Always(_OfObject):
    """Always gives its action, wherever the agent stands."""

    one_action = True
    action: int

    def known(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        return jnp.full(scene.memory.carrying.shape, self.action, jnp.int32)


class PickUp(_Always):
    """Picks up what is ahead."""

    name, sentence, action = "pick_up", "pick up OBJECT, once it is right ahead", PICKUP
    from_beside = True

    def makes_sense(self, role: Role | None, holds: str | None) -> bool:
        return role is not None and role.portable and holds is None

    def held_after(self, role: Role | None, holds: str | None) -> str | None:
        return None if role is None else role.name


class Drop(_Always):
    """Drops what is carried onto the cell ahead."""

    name, sentence, action = "drop", "drop OBJECT right here", DROP

    def makes_sense(self, role: Role | None, holds: str | None) -> bool:
        return role is not None and role.name == holds

    def held_after(self, role: Role | None, holds: str | None) -> str | None:
        return None


class Open(_Always):
    """Toggles what is ahead: doors, boxes."""

    name, sentence, action = "open", "open OBJECT, once it is right ahead", TOGGLE
    from_beside = True

    def makes_sense(self, role: Role | None, holds: str | None) -> bool:
        return role is not None and role.name != holds and bool(set(role.kinds) & {*DOORS, BOX})


class PutDown(Skill):
    """Drops what is carried out of the way: on the nearest empty cell whose loss cuts no path between its neighbours,
    and not where it was picked up, if there is another.

    On the nearest empty cell of all, things that were dropped block doors and corridors: the same plans succeeded on
    0.086 of KeyCorridorS6R3 in place of 1.000.
    """

    name, sentence = "put_down", "drop what is held where it is in nobody's way"

    def makes_sense(self, role: Role | None, holds: str | None) -> bool:
        return holds is not None

    def held_after(self, role: Role | None, holds: str | None) -> str | None:
        return None

    def search(self, scene: Scene, role: int) -> Search:
        empty = (scene.kinds == EMPTY) & ~scene.here
        elsewhere = empty & ~scene.taken_from
        anywhere = Search(jnp.where(scene.any(elsewhere), elsewhere, empty), scene.free, "put down anywhere")
        return Search(out_of_the_way(scene) & elsewhere, scene.free, "put down", otherwise=anywhere)

    def act(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        assert path is not None
        return jnp.where(scene.hands_free, SATISFIED, path.first_action(DROP)).astype(jnp.int32)


def out_of_the_way(scene: Scene) -> Mask:
    """Empty cells that cut nothing off when they are lost. Unseen cells and doors count as walkable, in any state."""
    walkable = scene.free | scene.unseen | scene.doors | scene.here
    return (scene.kinds == EMPTY) & (parts_around(walkable, walkable | scene.movable) <= 1)


class PutBeside(_OfObject):
    """Drops what is carried on an empty cell beside the object."""

    name, sentence = "put_beside", "drop what is held right beside OBJECT"

    def makes_sense(self, role: Role | None, holds: str | None) -> bool:
        return role is not None and holds is not None and role.name != holds

    def held_after(self, role: Role | None, holds: str | None) -> str | None:
        return None

    def search(self, scene: Scene, role: int) -> Search:
        beside = around(scene.lying[role])
        return Search(beside & (scene.kinds == EMPTY) & ~scene.here, scene.free, ("beside", role))

    def known(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        assert path is not None
        return path.first_action(DROP)


class SayDone(Skill):
    """The action done."""

    name, sentence = "say_done", "say that the task is done"
    one_action = says_done = True

    def act(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        return jnp.full(scene.memory.carrying.shape, DONE, jnp.int32)


for _skill in (GoTo(), Reach(), Clear(), PickUp(), Drop(), Open(), PutDown(), PutBeside(), SayDone()):
    register_skill(_skill)
