"""Skills that look for what was not seen yet: `explore` as the reference does it, `search`, and `find`.

Device module: pure, jittable.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax.abstraction.scene import Mask, Scene
from l4t_jax.envs.cells import DIR_X, DIR_Y, DONE, FORWARD, LEFT, PICKUP, RIGHT, TOGGLE, WALL, one_of
from l4t_jax.envs.task import DOORS, PORTABLE
from l4t_jax.kernels import explore as tuned
from l4t_jax.kernels import select
from l4t_jax.skills.base import SATISFIED, Search, Skill, register_skill
from l4t_jax.skills.paths import Path


def ahead_of(scene: Scene) -> Mask:
    """The cell directly ahead of each agent; none where that is off the map."""
    return scene.cell(*scene.ahead)


def is_ahead(scene: Scene, mask: Mask) -> jax.Array:
    """Whether the cell directly ahead is one of a mask's, `bool[*B]`."""
    return scene.any(mask & ahead_of(scene))


class Explore(Skill):
    """The reference's exploring: towards unseen cells within the bounds of the room, half-plane by half-plane."""

    name = "explore"
    sentence = "look around for what was not seen yet"

    def act(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        solid = one_of(scene.kinds, WALL, *DOORS)
        thing = one_of(scene.kinds, *PORTABLE)
        view = scene.task.view
        if scene.kernel.reference:
            return explore_by_halves(solid, scene.unseen, thing, scene.agent, view, SATISFIED)
        return tuned.explore_by_halves(solid, scene.unseen, thing, scene.agent, view, SATISFIED, scene.kernel)


def explore_by_halves(
    solid: Mask, unseen: Mask, thing: Mask, agent: jax.Array, view: int, satisfied: int
) -> jax.Array:  # fmt: skip
    """`Explore` on masks, cell by cell. Source: LLM4Teach's `explore`.

    The bounds of the room come from walls and doors: the first pair in scan order that stand one below the other
    bounds it to the right, the first that stand side by side bounds it below; else the map does. Unseen cells within
    count over whole half-planes, at any lateral offset.

    Args:
        solid, unseen, thing: `bool[W, H, *B]` walls and doors; cells never seen; keys, balls and boxes.
        agent: `int32[3, *B]` x, y, direction.
        view: width of the agent's window; its half h is how far to the side the agent sees.
        satisfied: what to answer where nothing is left to see.

    Returns:
        `int32[*B]` left, right, forward or `satisfied`.
    """
    width, height = solid.shape[:2]
    x, y, d = agent
    ones = [1] * x.ndim
    xs, ys = jnp.arange(width).reshape(-1, 1, *ones), jnp.arange(height).reshape(1, -1, *ones)
    inner = (xs >= 1) & (xs <= width - 2) & (ys >= 1) & (ys <= height - 2)
    below = inner & solid & jnp.roll(solid, -1, axis=1)
    beside = inner & solid & jnp.roll(solid, -1, axis=0)
    scan = xs * height + ys

    def first(pairs: Mask) -> jax.Array:
        return jnp.min(jnp.where(pairs, scan, width * height), axis=(0, 1))

    bound_x = jnp.where(jnp.any(below, axis=(0, 1)), first(below) // height + 1, width)
    bound_y = jnp.where(jnp.any(beside, axis=(0, 1)), first(beside) % height + 1, height)
    unseen = unseen & (xs < bound_x) & (ys < bound_y)
    dx, dy = jnp.asarray(DIR_X), jnp.asarray(DIR_Y)

    def beyond(direction: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        """Whether an unseen cell lies more than h in a direction from (x, y), `bool[*B]`."""
        distance = (xs - x) * dx[direction] + (ys - y) * dy[direction]
        return jnp.any(unseen & (distance > view // 2), axis=(0, 1))

    def at(mask: Mask, direction: jax.Array) -> jax.Array:
        cell = (xs == x + dx[direction]) & (ys == y + dy[direction])
        return jnp.any(mask & cell, axis=(0, 1))

    left, right, back = (d + 3) & 3, (d + 1) & 3, (d + 2) & 3
    blocked = at(thing, d)
    return select(
        [
            blocked & ~at(thing | solid, left),
            blocked,
            beyond(d, x, y),
            beyond(left, x, y),
            beyond(right, x, y),
            beyond(back, x + dx[d], y + dy[d]),
        ],
        [LEFT, RIGHT, FORWARD, LEFT, RIGHT, LEFT],
        satisfied,
    ).astype(jnp.int32)


class SearchUnseen(Skill):
    """To the nearest unseen cell that can be walked to."""

    name = "search"
    sentence = "go to the nearest place that was not seen yet"

    def search(self, scene: Scene, role: int) -> Search:
        return Search(scene.unseen, scene.free, "search")

    def act(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        assert path is not None
        return jnp.where(path.found, path.first_action(FORWARD), SATISFIED)


class Find(Skill):
    """As `search`, through doors that are closed, and, where nothing else is left to see, past what can be picked up.

    What stands in the way counts as movable while the hands are free: an unseen cell behind it could not be reached
    otherwise. Where there is a free way, things are left alone: they would be put down and picked up again for ever.
    """

    name = "find"
    sentence = "go to the nearest place that was not seen yet, through closed doors, and pick up what is in the way"

    def search(self, scene: Scene, role: int) -> Search:
        otherwise = Search(scene.unseen, scene.past_things, "find past things")
        return Search(scene.unseen, scene.through_doors, "find", otherwise)

    def act(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        assert path is not None
        return jnp.where(path.found, through(scene, path, path.first_action(FORWARD)), SATISFIED)


def through(scene: Scene, path: Path, action: jax.Array) -> jax.Array:
    """The action of a path that leads through closed doors and movable things: opens those, picks these up."""
    forward = path.forward & (action == FORWARD)
    action = jnp.where(forward & is_ahead(scene, scene.closed_doors), TOGGLE, action)
    return jnp.where(forward & is_ahead(scene, scene.movable), jnp.where(scene.hands_free, PICKUP, DONE), action)


for _skill in (Explore(), SearchUnseen(), Find()):
    register_skill(_skill)
