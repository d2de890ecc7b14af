"""Ways over the known map: by hand, and against a breadth-first search in plain Python."""

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.abstraction.scene import Scene
from l4t_jax.agents.students.ways import LONGER, reference_ways, ways
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import BALL, DOOR_CLOSED, DOOR_LOCKED, EMPTY_CODE, LAVA, RED, WALL_CODE, code
from l4t_jax.envs.state import MemoryMap
from l4t_jax.kernels import REFERENCE

SIGNS = {
    "#": WALL_CODE, ".": EMPTY_CODE, "?": 0, "~": code(LAVA, RED), "B": code(BALL, RED), "D": code(DOOR_CLOSED, RED),
    "L": code(DOOR_LOCKED, RED),
}  # fmt: skip
SHADE = [".......", ".#####.", "..B##..", ".#####.", "......."]


def with_sign(picture, x, y, sign):
    return [row[:x] + sign + row[x + 1 :] if i == y else row for i, row in enumerate(picture)]


def found(picture, agent):
    """The way to the ball: the sides where shortest ways start, and the lengths that they exceed."""
    cells = jnp.asarray([[SIGNS[row[x]] for row in picture] for x in range(len(picture[0]))], jnp.uint8)
    memory = MemoryMap(cells, jnp.array(agent, jnp.int8), jnp.uint8(0), jnp.array([-1, -1], jnp.int8))
    scene = Scene.of(get_task("DoorKey-8x8"), jax.tree.map(lambda leaf: leaf[None], memory), REFERENCE)
    bits = np.asarray(ways(scene, [(cells == SIGNS["B"])[:, :, None]]))[:, 0, 0]
    sides = [side for side, bit in zip(("ahead", "right", "back", "left"), bits[:4], strict=True) if bit]
    return sides, [longer for longer, bit in zip(LONGER, bits[4:], strict=True) if bit]


def test_a_way_leads_round_walls_on_both_sides_if_they_are_as_long():
    # From (6, 2) to (2, 2): up 2, left 6, down 2, right 2, or the same below. The agent looks left, so up is right.
    assert found(SHADE, (6, 2, 2)) == (["right", "left"], [1, 2, 4, 8])
    assert found(SHADE, (6, 1, 0)) == (["left"], [1, 2, 4, 8])  # 11 steps; below they are 13


def test_a_way_crosses_neither_lava_nor_what_is_unseen():
    below_closed = with_sign(SHADE, 3, 4, "~")
    assert found(below_closed, (6, 2, 2)) == (["right"], [1, 2, 4, 8])
    assert found(with_sign(below_closed, 3, 0, "?"), (6, 2, 2)) == ([], [])


def test_a_way_leads_through_closed_doors_and_not_through_locked_ones():
    assert found(["B.D.."], (4, 0, 0)) == (["back"], [1, 2])  # 4 steps
    assert found(["B.L.."], (4, 0, 0)) == ([], [])


def test_what_is_right_ahead_is_one_step_away():
    assert found(SHADE, (1, 2, 0)) == (["ahead"], [])


@pytest.mark.parametrize("size", [(7, 9), (12, 4)], ids=str)
def test_ways_are_those_of_a_search_in_plain_python(size, rng):
    width, height, batch = *size, 40
    passable, targets = rng.random((*size, batch)) < 0.65, rng.random((*size, 1, batch)) < 0.05
    agent = np.stack([rng.integers(0, end, batch) for end in (width, height, 4)]).astype(np.int32)
    targets[agent[0], agent[1], 0, np.arange(batch)] = False
    steps, first = (np.asarray(part)[..., 0, :] for part in jax.jit(reference_ways)(passable, targets, agent))
    assert (steps == 0).any() and (steps > 3).any()
    for i in range(batch):
        lengths = _lengths(passable[:, :, i], targets[:, :, 0, i], tuple(agent[:2, i]))
        assert steps[i] == (1 + min(lengths) if np.isfinite(min(lengths)) else 0)
        assert list(first[:, i]) == [length == min(lengths) and np.isfinite(length) for length in lengths]


def _lengths(passable, targets, start):
    """The steps from each of the four cells beside the start to a target, without coming back to the start."""

    def length(cell):
        queue, met = deque([(cell, 0)]), {start, cell}
        while queue:
            (x, y), steps = queue.popleft()
            if not (0 <= x < passable.shape[0] and 0 <= y < passable.shape[1]):
                continue
            if targets[x, y]:
                return steps
            if passable[x, y]:
                beside = {(x + 1, y), (x, y + 1), (x - 1, y), (x, y - 1)} - met
                met |= beside
                queue.extend((cell, steps + 1) for cell in beside)
        return np.inf

    x, y = start
    return [length((x + dx, y + dy)) for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1))]
