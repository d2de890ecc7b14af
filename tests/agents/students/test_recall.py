"""What the default student remembers of where it has been, beside a plain reading of the same episodes."""

from collections import deque
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.abstraction.scene import Scene
from l4t_jax.agents.students import make_student, recall
from l4t_jax.agents.students.features import EFFECTS, effects
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import (
    BALL,
    BOX,
    DIR_X,
    DIR_Y,
    DONE,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    DROP,
    EMPTY,
    FLOOR,
    FORWARD,
    GOAL,
    KEY,
    LAVA,
    LEFT,
    NUM_ACTIONS,
    PICKUP,
    RIGHT,
    TOGGLE,
    WALL,
)
from l4t_jax.envs.state import MemoryMap
from l4t_jax.envs.visibility import know
from l4t_jax.kernels import CPU

TASK = "DoorKey-8x8"
STEPS, ENVS = 160, 8  # longer than what is kept
WALKABLE = (EMPTY, FLOOR, DOOR_OPEN, GOAL, LAVA)


def plain(cells: np.ndarray, agent: np.ndarray, carrying: int) -> dict[int, Any]:
    """The situation that each action leads to if it shows nothing new; done leads to this one."""
    width, height = cells.shape
    x, y, d = map(int, agent)
    ahead = x + DIR_X[d], y + DIR_Y[d]
    there = int(cells[ahead]) if 0 <= ahead[0] < width and 0 <= ahead[1] < height else WALL
    kind, colour = there & 15, there >> 4

    def situation(pose: tuple[int, int, int], ahead_is: int = there, holds: int = carrying) -> Any:
        known = cells.copy()
        if ahead_is != there:
            known[ahead] = ahead_is
        known = np.where(np.isin(known & 15, WALKABLE), EMPTY, known)
        known[x, y] = EMPTY
        return known.tobytes(), holds, pose

    here = situation((x, y, d))
    found = dict.fromkeys(range(NUM_ACTIONS), here)
    found |= {LEFT: situation((x, y, (d - 1) % 4)), RIGHT: situation((x, y, (d + 1) % 4))}
    if kind in WALKABLE:
        found[FORWARD] = situation((*ahead, d))
    if kind in (KEY, BALL, BOX) and not carrying:
        found[PICKUP] = situation((x, y, d), EMPTY, there)
    if kind == EMPTY and carrying:
        found[DROP] = situation((x, y, d), carrying, 0)
    if kind in (DOOR_CLOSED, BOX) or (kind == DOOR_LOCKED and carrying & 15 == KEY and carrying >> 4 == colour):
        found[TOGGLE] = situation((x, y, d), EMPTY)
    if kind == DOOR_OPEN:
        found[TOGGLE] = situation((x, y, d), DOOR_CLOSED | colour << 4)
    return found


def remembered(memory: MemoryMap, reset: np.ndarray) -> np.ndarray:
    """The words of `recall.recall` at each step, leading axes (T, B)."""

    task = get_task(TASK)

    def step(kept: jax.Array, row: tuple[MemoryMap, jax.Array]) -> tuple[jax.Array, jax.Array]:
        scene = Scene.of(task, row[0], CPU)
        changes = dict(zip(EFFECTS, effects(scene), strict=True))
        return recall.recall(recall.situations(scene, changes), kept, row[1])

    def all_steps() -> jax.Array:
        return jax.lax.scan(step, recall.nothing(reset.shape[1]), (memory, jnp.asarray(reset)))[1]

    return np.asarray(jax.jit(all_steps)())


def test_it_counts_as_a_plain_reading_does(draw: Any, play: Any, key: jax.Array) -> None:
    episodes = play(TASK, draw(TASK, key, ENVS), key, STEPS).memory
    # A dance on the spot at the end: the same few situations again and again.
    last = jax.tree.map(lambda leaf: np.repeat(leaf[-1:], 80, axis=0), episodes)
    last.agent[..., 2] = (np.arange(80) % 2)[:, None]
    memory = jax.tree.map(lambda *parts: np.concatenate(parts), episodes, last)
    reset = np.zeros((len(memory.agent), ENVS), bool)
    reset[0], reset[40, 3] = True, True
    found = remembered(memory, reset)
    often, levels = set[int](), set[tuple[int, int]]()
    for b in range(ENVS):
        kept: deque[Any] = deque(maxlen=recall.KEPT)
        for t in range(len(reset)):
            if reset[t, b]:
                kept.clear()
            leads_to = plain(memory.cells[t, b], memory.agent[t, b], int(memory.carrying[t, b]))
            met = {action: kept.count(one) for action, one in leads_to.items()}
            wanted = [int(met[action] >= least) for action in (DONE, LEFT, RIGHT, FORWARD) for least in (1, 2, 4)]
            first, second = map(int, found[t, b])
            assert [first >> bit & 1 for bit in range(recall.RECALLED)] == wanted, (t, b, met)
            level = [sum(number >= least for least in (8, 16, 32)) for number in met.values()]
            assert [second >> 2 * action & 3 for action in met] == level, (t, b, met)
            often |= {min(met[DONE], recall.OFTEN[-1])}
            levels |= set(zip(met, level, strict=True))
            kept.append(leads_to[DONE])
    assert often == {0, 1, 2, 3, 4}  # the episodes had them all
    assert {(DONE, 3), (LEFT, 3), (RIGHT, 3), (FORWARD, 3)} <= levels


@pytest.mark.parametrize(
    "ahead, carrying, action, after",
    [
        (BALL | 2 << 4, 0, PICKUP, (EMPTY, BALL | 2 << 4)),
        (EMPTY, BALL | 2 << 4, DROP, (BALL | 2 << 4, 0)),
        (DOOR_CLOSED | 1 << 4, 0, TOGGLE, (DOOR_OPEN | 1 << 4, 0)),
        (DOOR_OPEN | 1 << 4, 0, TOGGLE, (DOOR_CLOSED | 1 << 4, 0)),
        (DOOR_LOCKED | 1 << 4, KEY | 1 << 4, TOGGLE, (DOOR_OPEN | 1 << 4, KEY | 1 << 4)),
        (BOX | 3 << 4, 0, TOGGLE, (EMPTY, 0)),
    ],
)
def test_it_knows_where_an_action_leads_that_changes_something(
    ahead: int, carrying: int, action: int, after: tuple[int, int]
) -> None:
    """The agent was where the action leads for 16 of the last steps, and never where another one leads."""
    cells = np.full((2, 1, 8, 8), WALL, np.uint8)
    cells[..., 2, 3], cells[0, 0, 3, 3], cells[1, 0, 3, 3] = EMPTY, after[0], ahead
    memory = MemoryMap(
        cells=cells, agent=np.tile(np.asarray([2, 3, 0], np.int8), (2, 1, 1)),
        carrying=np.asarray([[after[1]], [carrying]], np.uint8), pickup_position=np.full((2, 1, 2), -1, np.int8),
    )  # fmt: skip
    many = jax.tree.map(lambda leaf: np.concatenate([np.repeat(leaf[:1], 16, axis=0), leaf[1:]]), memory)
    word = remembered(many, np.arange(17)[:, None] == 0)[-1, 0, 1]
    assert [int(word) >> 2 * one & 3 for one in range(NUM_ACTIONS)] == [2 if one == action else 0 for one in range(7)]


def test_an_action_that_leads_round_a_loop_loses_its_lead() -> None:
    word = jnp.asarray([1 << 2 * FORWARD | 2 << 2 * TOGGLE | 3 << 2 * DONE], jnp.uint16)
    np.testing.assert_array_equal(recall.lowered(jnp.ones((7, 1)), word)[:, 0], [1, 1, -1, 1, 1, -5, -19])


def test_a_greedy_student_leaves_a_loop_whatever_it_has_learned(draw: Any, key: jax.Array) -> None:
    """One that prefers an action that changes nothing does something else before long; options are left alone."""
    task, stuck = get_task(TASK), np.zeros((1, NUM_ACTIONS))
    stuck[0, DONE] = 15.0
    level = jax.tree.map(lambda leaf: leaf[:1], draw(TASK, key, 1))
    memory = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], 40, axis=0), jax.vmap(know)(level))
    reset = jnp.zeros((40, 1), bool)
    for acts, last in ((True, False), (False, True)):
        student = make_student("ego", task, 8, acts=acts)
        start = student.initial_carry(1)
        params = jax.jit(student.init)(key, start, memory, reset)
        kernels = jax.tree.map(jnp.zeros_like, params)
        kernels["params"]["Dense_2"]["bias"] = jnp.asarray(stuck[0], jnp.float32)
        _, logits, _ = jax.jit(student.apply)(kernels, start, memory, reset)
        chosen = np.asarray(jnp.argmax(logits, axis=-1)) == DONE
        assert chosen[:16].all() and bool(chosen[-1]) is last


def test_the_student_reads_it_whether_the_steps_come_together_or_one_by_one(
    draw: Any, play: Any, key: jax.Array
) -> None:
    task = get_task(TASK)
    memory = jax.tree.map(jnp.asarray, play(TASK, draw(TASK, key, ENVS), key, 20).memory)
    memory = memory.replace(agent=memory.agent[:1].repeat(21, 0), cells=memory.cells[:1].repeat(21, 0))
    memory = memory.replace(carrying=memory.carrying[:1].repeat(21, 0))  # it stands still and sees the same
    student = make_student("ego", task, 16)
    reset = jnp.zeros((21, ENVS), bool)
    start = student.initial_carry(ENVS)
    params = jax.jit(student.init)(key, start, memory, reset)
    apply = jax.jit(student.apply)
    carry, logits, _ = apply(params, start, memory, reset)
    after, own = start, []
    for t in range(21):
        after, one, _ = apply(params, after, jax.tree.map(lambda leaf, t=t: leaf[t : t + 1], memory), reset[:1])
        own.append(one[0])
    np.testing.assert_array_equal(after, carry)
    np.testing.assert_allclose(jnp.stack(own), logits, rtol=1e-5, atol=1e-6)
    assert [bool(jnp.any(logits[t] != logits[t - 1])) for t in (1, 2, 4)] == [True] * 3  # met once, twice, four times
    np.testing.assert_array_equal(logits[3], logits[2])  # three times is read as twice
