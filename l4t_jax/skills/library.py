"""The skills: what each would do now, for a whole batch of memory maps at once.

Device module: pure, jittable. A skill gives an action, or says that it is satisfied (the plan goes on to its next
step), or can do nothing (the plan ends in action 6, done). `skill_actions` computes all of a task's steps; a plan is
then a walk over table entries (`teacher.policy`). Source: REFERENCE facts, section Teacher, item 3.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp

from l4t_jax.abstraction.symbolic import SymbolicObservation
from l4t_jax.envs.cells import (
    BALL,
    BOX,
    DIR_X,
    DIR_Y,
    DONE,
    DOOR_OPEN,
    DROP,
    EMPTY,
    FLOOR,
    FORWARD,
    GOAL,
    KEY,
    LAVA,
    LEFT,
    PICKUP,
    RIGHT,
    TOGGLE,
    UNSEEN,
    WALL,
    kind_of,
    one_of,
)
from l4t_jax.envs.state import MemoryMap
from l4t_jax.envs.task import DOORS, Task
from l4t_jax.kernels import bits
from l4t_jax.skills import paths
from l4t_jax.skills.plan_codes import SKILLS, encode_step, num_codes, own_skills

# A skill that a user adds: a batch of memory maps, leading axes *B -> `int32[*B]`, an action 0..6 or `SATISFIED`.
Skill = Callable[[MemoryMap], jax.Array]
_OWN: dict[str, Skill] = {}

SATISFIED = -1  # an outcome beside the actions 0..6; "can do nothing" is DONE


def register_skill(name: str, skill: Skill) -> None:
    """Adds a skill that takes no role; tasks that list `name` among their skills have it. Again replaces it.

    Raises:
        ValueError: the name is one of the package's own, or is no word of small letters and underscores.
    """
    if name in SKILLS or not re.fullmatch(r"[a-z]+(_[a-z]+)*", name):
        raise ValueError(
            f"a skill cannot be named {name!r}; take small letters and underscores, but not {', '.join(SKILLS)}"
        )
    _OWN[name] = skill


def explore(memory: MemoryMap, view: int) -> jax.Array:
    """The reference's exploring: towards cells not seen within the bounds of the room, half-plane by half-plane.

    Args:
        known: a batch, leading axes `*B`.
        view: width of the agent's window; its half h is how far to the side the agent sees.

    Returns:
        `int32[*B]` left, right or forward, or `SATISFIED`.
    """
    width, height = memory.cells.shape[-2:]
    h = view // 2
    kinds = kind_of(bits.batch_last(memory.cells))
    solid = bits.pack(one_of(kinds, WALL, *DOORS))
    unseen = bits.pack(kinds == UNSEEN)
    thing = bits.pack(one_of(kinds, KEY, BALL, BOX))
    x, y, d = (memory.agent[..., i].astype(jnp.int32) for i in range(3))

    # Bounds of the room: the first pair of solid cells, in scan order, that stand one below the other / side by side.
    word = solid.dtype
    none = jnp.zeros((), word)
    inner = jnp.asarray(((1 << height) - 1) & ~1 & ~(1 << (height - 1)), word)  # 1 <= y <= H - 2
    column = jnp.arange(width).reshape(width, *([1] * x.ndim))
    inner_column = (column >= 1) & (column <= width - 2)
    below = jnp.where(inner_column, solid & (solid >> 1) & inner, none)
    beside = jnp.where(inner_column, solid & bits.shift(solid, -1, 0) & inner, none)
    bound_x = jnp.min(jnp.where(below != 0, column + 1, width), axis=0)
    first_beside = bits.first_cell(beside, height)
    bound_y = jnp.where(first_beside < width * height, first_beside % height + 1, height)

    rows_in = jnp.asarray((1 << height) - 1, word) >> jnp.clip(height - bound_y, 0, height).astype(word)
    unseen = jnp.where(column < bound_x, unseen & rows_in, none)
    far_x = jnp.max(jnp.where(unseen != 0, column, -1), axis=0)  # the unseen cell furthest each way
    near_x = jnp.min(jnp.where(unseen != 0, column, width + 99), axis=0)
    rows = jax.lax.reduce(unseen, none, jax.lax.bitwise_or, (0,))
    far_y = jnp.iinfo(word).bits - 1 - jax.lax.clz(rows).astype(jnp.int32)  # -1 where none
    near_y = jnp.where(rows == 0, height + 99, bits.lowest_bit(rows))

    def reach(direction: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        """How far the furthest unseen cell lies in a direction from (x, y); negative or small where there is none."""
        return jnp.select(
            [direction == 0, direction == 1, direction == 2], [far_x - x, far_y - y, x - near_x], y - near_y
        )

    dirs_x, dirs_y = jnp.asarray(DIR_X), jnp.asarray(DIR_Y)
    ahead_x, ahead_y = x + dirs_x[d], y + dirs_y[d]
    left, right, back = (d + 3) & 3, (d + 1) & 3, (d + 2) & 3
    left_x, left_y = x + dirs_x[left], y + dirs_y[left]
    blocked_ahead = bits.at(thing, ahead_x, ahead_y, height)
    blocked_left = bits.at(thing | solid, left_x, left_y, height)
    return jnp.select(
        [
            blocked_ahead & ~blocked_left,
            blocked_ahead,
            reach(d, x, y) > h,
            reach(left, x, y) > h,
            reach(right, x, y) > h,
            reach(back, ahead_x, ahead_y) > h,
        ],
        [LEFT, RIGHT, FORWARD, LEFT, RIGHT, LEFT],
        SATISFIED,
    ).astype(jnp.int32)


def first_action(path: paths.Path, ahead: int) -> jax.Array:
    """The first action of a shortest path: forward before left before right.

    Args:
        path: of a search.
        ahead: what to answer where a target is directly ahead.

    Returns:
        `int32[*B]`; `DONE` where there is no path.
    """
    return jnp.select(
        [path.distance == 0, path.forward, path.left, path.right], [ahead, FORWARD, LEFT, RIGHT], DONE
    ).astype(jnp.int32)


def skill_actions(task: Task, memory: MemoryMap, observed: SymbolicObservation) -> jax.Array:
    """What every step of a plan would do now.

    Args:
        task: static.
        known: a batch, leading axes `*B`.
        observed: where its objects are, from `symbolic.observe_symbolic`.

    Returns:
        `int32[num_codes, *B]`: an action 0..6, or `SATISFIED`. The order is that of `plan.encode_step`.
    """
    width, height = task.width, task.height
    batch = memory.agent.shape[:-1]
    done = jnp.full(batch, DONE, jnp.int32)
    agent = jnp.moveaxis(memory.agent, -1, 0).astype(jnp.int32)  # (3, *B)
    kinds = kind_of(bits.batch_last(memory.cells))
    passable = bits.pack(one_of(kinds, EMPTY, FLOOR, GOAL, LAVA, DOOR_OPEN))

    result = [done] * num_codes(task)
    if "explore" in task.skills:
        result[0] = explore(memory, task.view)
    if "search" in task.skills:
        path = paths.shortest_path(passable, bits.pack(kinds == UNSEEN), agent, height)
        action = first_action(path, ahead=FORWARD)
        result[1] = jnp.where(path.distance == paths.FAR, SATISFIED, action)

    for name in own_skills(task):
        if name not in _OWN:
            raise ValueError(f"task {task.name} lists the skill {name!r}, which nobody registered (`register_skill`)")
        result[encode_step(task, (name,))] = _OWN[name](memory).astype(jnp.int32)

    objects = len(task.objects)
    if objects == 0:
        return jnp.stack(result)
    # One search for all objects: the object is a further batch axis. States of one object share its search, as at most
    # one of them is there at a time.
    names = [(role.is_same_as, role.is_same_as or role.name) for role in task.objects]
    groups = list(dict.fromkeys(names))
    object_of = [groups.index(name) for name in names]
    place = jnp.moveaxis(observed.place, (-2, -1), (0, 1)).astype(jnp.int32)  # (objects, 2, *B)
    states = [[place[i] for i in range(objects) if object_of[i] == k] for k in range(len(groups))]
    places = jnp.stack([functools.reduce(jnp.maximum, each) for each in states])  # unseen is -1
    target = bits.cell(places[:, 0], places[:, 1], width, height)
    passable_n = jnp.broadcast_to(passable[:, None], (width, len(groups), *batch))
    agent_n = jnp.broadcast_to(agent[:, None], (3, len(groups), *batch))
    path = paths.shortest_path(passable_n, target, agent_n, height)
    known_role = place[:, 0] >= 0  # (objects, *B)
    constant = {"pick_up": PICKUP, "drop": DROP, "open": TOGGLE}
    for i in range(objects):
        one = jax.tree.map(lambda leaf, i=i: leaf[object_of[i]], path)
        for s, skill in enumerate(("go_to", "reach", "pick_up", "drop", "open")):
            if skill not in task.skills:
                continue
            if skill in constant:
                outcome = jnp.full(batch, constant[skill], jnp.int32)
            else:
                outcome = first_action(one, ahead=SATISFIED if skill == "go_to" else FORWARD)
            result[3 + s * objects + i] = jnp.where(known_role[i], outcome, DONE)
    return jnp.stack(result)
