"""MiniGrid's rules on one `State`: what an action does.

Device module: pure, jittable; written for one environment, `vmap` gives a batch.
Every rule is Farama MiniGrid's (`minigrid_env.py`, `world_object.py`), not navix's, where the two differ.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import (
    BALL,
    BOX,
    DIR_X,
    DIR_Y,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    DROP,
    EMPTY,
    EMPTY_CODE,
    ENTERABLE,
    FORWARD,
    KEY,
    LEFT,
    PICKUP,
    RIGHT,
    TOGGLE,
    WALL,
    colour_of,
    kind_of,
    one_of,
)  # fmt: skip
from l4t_jax.envs.state import Layout, State, Transition
from l4t_jax.kernels import select

OBJECT_BITS = 0x0F  # the bits of `targets` that mark objects; the others mark places


def start(layout: Layout) -> State:
    """The state at the start of an episode, before the first look."""
    nothing = jnp.uint8(0)
    return State(
        cells=layout.cells,
        seen=jnp.zeros(layout.cells.shape, bool),
        agent=layout.agent.astype(jnp.int8),
        carrying=nothing if layout.carrying is None else layout.carrying,
        pickup_position=jnp.full((2,), -1, jnp.int8),
        mission=layout.mission,
        targets=layout.targets,
        contents=layout.contents,
        carried_targets=None if layout.targets is None else nothing,
        carried_contents=None if layout.contents is None else nothing,
    )


def front_of(state: State) -> tuple[jax.Array, jax.Array]:
    """The cell ahead of the agent: `int32[2]` x and y, and its code `uint8[]`; the map's edge stands for a wall."""
    width, height = state.cells.shape
    x, y, d = (state.agent[i].astype(jnp.int32) for i in range(3))
    ahead_x, ahead_y = x + jnp.asarray(DIR_X)[d], y + jnp.asarray(DIR_Y)[d]
    inside = (ahead_x >= 0) & (ahead_x < width) & (ahead_y >= 0) & (ahead_y < height)
    code = state.cells[jnp.clip(ahead_x, 0, width - 1), jnp.clip(ahead_y, 0, height - 1)]
    return jnp.stack([ahead_x, ahead_y]), jnp.where(inside, code, WALL).astype(jnp.uint8)


def act(state: State, action: jax.Array, t: jax.Array, before: State | None = None) -> Transition:
    """One action of MiniGrid's seven. Does not update what has been seen: `visibility.look` does.

    Args:
        state: of one environment; where obstacles move, after they moved.
        action: `int32[]`.
        t: `int32[]` steps of the episode before this one.
        before: the state before obstacles moved; `state` by default.
    """
    width, height = state.cells.shape
    x, y, d = (state.agent[i].astype(jnp.int32) for i in range(3))
    front, ahead = front_of(state)
    kind = kind_of(ahead)

    walk = (action == FORWARD) & one_of(kind, *ENTERABLE)
    pick = (action == PICKUP) & (state.carrying == 0) & one_of(kind, KEY, BALL, BOX)
    drop = (action == DROP) & (state.carrying != 0) & (kind == EMPTY)
    toggle = action == TOGGLE

    at = (jnp.arange(width)[:, None] == front[0]) & (jnp.arange(height)[None, :] == front[1])
    content = EMPTY_CODE
    if state.contents is not None:
        inside = jnp.max(jnp.where(at, state.contents, 0))
        content = jnp.where(inside == 0, jnp.uint8(EMPTY_CODE), inside)
    has_key = (kind_of(state.carrying) == KEY) & (colour_of(state.carrying) == colour_of(ahead))
    toggled_kind = select(
        [(kind == DOOR_LOCKED) & has_key, kind == DOOR_CLOSED, kind == DOOR_OPEN],
        [DOOR_OPEN, DOOR_OPEN, DOOR_CLOSED],
        kind,
    )
    toggled = jnp.where(kind == BOX, content, (ahead & 0xF0) | toggled_kind).astype(jnp.uint8)

    new = jnp.where(pick, jnp.uint8(EMPTY_CODE), ahead)
    new = jnp.where(drop, state.carrying, new)
    new = jnp.where(toggle, toggled, new)
    turn = jnp.where(action == LEFT, 3, jnp.where(action == RIGHT, 1, 0))

    next_state = state.replace(
        cells=jnp.where(at, new, state.cells),
        agent=jnp.stack([jnp.where(walk, front[0], x), jnp.where(walk, front[1], y), (d + turn) & 3]).astype(jnp.int8),
        carrying=jnp.where(pick, ahead, jnp.where(drop, jnp.uint8(0), state.carrying)),
        pickup_position=jnp.where(
            pick, front.astype(jnp.int8), jnp.where(drop, jnp.int8(-1), state.pickup_position)
        ),
    )  # fmt: skip
    box = kind == BOX
    if state.targets is not None:
        assert state.carried_targets is not None
        keeps = ~(jnp.where(pick | (toggle & box), OBJECT_BITS, 0)).astype(jnp.uint8)  # a box that is opened is gone
        here = jnp.max(jnp.where(at, state.targets, 0))
        moved = (here & keeps) | jnp.where(drop, state.carried_targets, 0)
        next_state = next_state.replace(
            targets=jnp.where(at, moved, state.targets),
            carried_targets=jnp.where(
                pick, here & OBJECT_BITS, jnp.where(drop, jnp.uint8(0), state.carried_targets)
            ).astype(jnp.uint8),
        )  # fmt: skip
    if state.contents is not None:
        assert state.carried_contents is not None
        here = jnp.max(jnp.where(at, state.contents, 0))
        left = jnp.where(pick | (toggle & box), jnp.uint8(0), here)
        next_state = next_state.replace(
            contents=jnp.where(at, jnp.where(drop, state.carried_contents, left), state.contents),
            carried_contents=jnp.where(pick, here, jnp.where(drop, jnp.uint8(0), state.carried_contents)),
        )
    ahead_before = ahead
    if before is not None:
        ahead_before = front_of(before)[1]
    return Transition(
        state=state if before is None else before, action=action, next_state=next_state, t=t, front=front,
        ahead=ahead_before, ahead_after=new,
    )  # fmt: skip
