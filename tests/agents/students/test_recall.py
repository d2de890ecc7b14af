"""What the default student remembers of where it has been, beside a plain reading of the same episodes."""

from collections import deque
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.abstraction.scene import Scene
from l4t_jax.agents.students import make_student, recall
from l4t_jax.agents.students.features import EFFECTS, effects
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import DIR_X, DIR_Y, DOOR_OPEN, EMPTY, FLOOR, FORWARD, GOAL, LAVA
from l4t_jax.envs.state import MemoryMap
from l4t_jax.kernels import CPU

STEPS, ENVS = 160, 8  # longer than what is kept


def plain(cells: np.ndarray, agent: np.ndarray, carrying: int) -> list[Any]:
    """The situations: this one, and after a turn left, a turn right, a step ahead that shows nothing new."""
    width, height = cells.shape
    x, y, d = map(int, agent)
    walkable = np.isin(cells & 15, (EMPTY, FLOOR, DOOR_OPEN, GOAL, LAVA))
    known = np.where(walkable, EMPTY, cells)
    known[x, y] = EMPTY
    ahead = x + DIR_X[d], y + DIR_Y[d]
    free = 0 <= ahead[0] < width and 0 <= ahead[1] < height and walkable[ahead]
    poses = [(x, y, d), (x, y, (d - 1) % 4), (x, y, (d + 1) % 4), (*(ahead if free else (x, y)), d)]
    return [(known.tobytes(), carrying, pose) for pose in poses]


def remembered(memory: MemoryMap, reset: np.ndarray) -> np.ndarray:
    """The words of `recall.recall` at each step, leading axes (T, B)."""

    task = get_task("DoorKey-8x8")

    def step(kept: jax.Array, row: tuple[MemoryMap, jax.Array]) -> tuple[jax.Array, jax.Array]:
        scene = Scene.of(task, row[0], CPU)
        free = effects(scene)[EFFECTS.index(FORWARD)]
        return recall.recall(recall.situations(scene, free), kept, row[1])

    def all_steps() -> jax.Array:
        return jax.lax.scan(step, recall.nothing(reset.shape[1]), (memory, jnp.asarray(reset)))[1]

    return np.asarray(jax.jit(all_steps)())


def test_it_counts_as_a_plain_reading_does(draw: Any, play: Any, key: jax.Array) -> None:
    episodes = play("DoorKey-8x8", draw("DoorKey-8x8", key, ENVS), key, STEPS).memory
    # A dance on the spot at the end: the same few situations again and again.
    last = jax.tree.map(lambda leaf: np.repeat(leaf[-1:], 12, axis=0), episodes)
    last.agent[..., 2] = (np.arange(12) % 2)[:, None]
    memory = jax.tree.map(lambda *parts: np.concatenate(parts), episodes, last)
    reset = np.zeros((len(memory.agent), ENVS), bool)
    reset[0], reset[40, 3] = True, True
    found = remembered(memory, reset)
    often = set()
    for b in range(ENVS):
        kept: deque[Any] = deque(maxlen=recall.KEPT)
        for t in range(len(reset)):
            if reset[t, b]:
                kept.clear()
            here = plain(memory.cells[t, b], memory.agent[t, b], int(memory.carrying[t, b]))
            met = [kept.count(one) for one in here]
            wanted = [int(number >= least) for number in met for least in recall.OFTEN]
            assert [int(found[t, b]) >> bit & 1 for bit in range(recall.RECALLED)] == wanted, (t, b, met)
            often |= {min(met[0], recall.OFTEN[-1])}
            kept.append(here[0])
    assert often == {0, 1, 2, 3, 4}  # the episodes had them all


def test_the_student_reads_it_whether_the_steps_come_together_or_one_by_one(
    draw: Any, play: Any, key: jax.Array
) -> None:
    task = get_task("DoorKey-8x8")
    memory = jax.tree.map(jnp.asarray, play("DoorKey-8x8", draw("DoorKey-8x8", key, ENVS), key, 20).memory)
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
