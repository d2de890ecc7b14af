"""The default student's input: it moves and turns with the map."""

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax.abstraction.scene import Scene
from l4t_jax.agents.students.features import DISTANT, EFFECTS, RANGES, effects, ego_features, number_of_planes
from l4t_jax.agents.students.ways import BITS_OF_A_WAY
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import BALL, BOX, DIR_X, DIR_Y, EMPTY_CODE, RED, WALL_CODE, code
from l4t_jax.envs.dynamics import act
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import MemoryMap, State
from l4t_jax.envs.visibility import know
from l4t_jax.kernels import CPU, REFERENCE


def quarter_turn(memory: MemoryMap, size: int) -> MemoryMap:
    """The whole environment turned by 90 degrees: (x, y) -> (size - 1 - y, x), direction + 1."""
    cells = jnp.flip(jnp.swapaxes(memory.cells, -2, -1), -2)
    x, y, d = (memory.agent[..., i] for i in range(3))
    agent = jnp.stack([size - 1 - y, x, (d + 1) % 4], axis=-1).astype(jnp.int8)
    ox, oy = memory.pickup_position[..., 0], memory.pickup_position[..., 1]
    pickup_position = jnp.where(
        ox[..., None] < 0, memory.pickup_position, jnp.stack([size - 1 - oy, ox], axis=-1).astype(jnp.int8)
    )
    return memory.replace(cells=cells, agent=agent, pickup_position=pickup_position)


def test_a_quarter_turn_is_one(key):
    cells = jnp.zeros((5, 5), jnp.uint8).at[3, 1].set(7)  # directly ahead of an agent at (2, 1) that looks right
    memory = MemoryMap(cells, jnp.array([2, 1, 0], jnp.int8), jnp.uint8(0), jnp.array([-1, -1], jnp.int8))
    turned = quarter_turn(memory, 5)
    np.testing.assert_array_equal(turned.agent, [3, 2, 1])
    assert int(turned.cells[3, 3]) == 7  # below it: ahead of one that looks down


def test_the_default_students_input_turns_with_the_world(task_name, random_known, rng):
    task = get_task(task_name)
    memory = random_known(rng, (task.width, task.height), 64, inside=False)
    features = jax.jit(lambda memory: ego_features(task, memory, 7, CPU))
    expected = np.asarray(features(memory))
    assert expected.shape[0] == 64 and len(np.unique(expected, axis=0)) > 60
    for _ in range(4):
        memory = quarter_turn(memory, task.width)
        np.testing.assert_array_equal(features(memory), expected)


def test_the_default_students_input_moves_with_the_world(rng):
    """A room moved by (2, 1) on a larger map of floor never seen looks the same from within."""
    task = get_task("DivergedDoorKey")
    room = rng.choice(np.array([0, 1, 2 | 5 << 4, 5, 12], np.uint8), (10, 8, 8))
    agent = np.stack([rng.integers(0, 8, 10), rng.integers(0, 8, 10), rng.integers(0, 4, 10)], 1)

    def placed(dx, dy):
        cells = np.zeros((10, 20, 20), np.uint8)
        cells[:, 5 + dx : 13 + dx, 6 + dy : 14 + dy] = room
        where = agent + np.array([5 + dx, 6 + dy, 0])
        cells[np.arange(10), where[:, 0], where[:, 1]] = 1
        return MemoryMap(
            jnp.asarray(cells), jnp.asarray(where, jnp.int8), jnp.zeros(10, jnp.uint8), jnp.full((10, 2), -1, jnp.int8)
        )

    here, there = (np.asarray(ego_features(task, placed(*by), 7, CPU)) for by in ((0, 0), (2, 1)))
    # What is unseen reaches to the map's edge, so its own share of the features differs; the rest may not.
    differing = np.flatnonzero((here != there).any(axis=0))
    rows, window, planes = 2 * len(RANGES), 7 * 7, number_of_planes(task)
    cells = rows * DISTANT + BITS_OF_A_WAY * (planes - 3)
    carried = 1 + sum(role.portable for role in task.objects)
    assert here.shape[1] == cells + window * planes + carried + len(EFFECTS)
    of_unseen = {*range(rows), *range(cells, cells + window)}
    assert set(differing.tolist()) <= of_unseen and len(differing) > 0


def test_the_input_is_as_large_on_maps_of_any_size():
    shapes = set()
    for name in ("DoorKey-5x5", "DoorKey-8x8", "DoorKey-16x16"):
        task = get_task(name)
        memory = jax.eval_shape(lambda key, task=task: know(make_env(task).initial(key)), jax.random.key(0))
        found = jax.eval_shape(lambda memory, task=task: ego_features(task, memory, 7, CPU), memory)
        shapes.add(found.shape)
    assert len(shapes) == 1


def test_things_that_no_object_names_are_seen_as_obstacles():
    task = get_task("SimpleDoorKey")
    env = make_env(task)
    state = env.initial(jax.random.key(0))
    x, y = (int(state.agent[i]) + step[int(state.agent[2])] for i, step in enumerate((DIR_X, DIR_Y)))
    features = jax.jit(lambda memory: ego_features(task, memory, 7, CPU))
    seen = [
        np.asarray(features(know(state.replace(cells=state.cells.at[x, y].set(what)))))
        for what in (EMPTY_CODE, code(BALL, RED), code(BOX, RED), WALL_CODE)
    ]
    cells, would_change = zip(*((one[: -len(EFFECTS)], one[-len(EFFECTS) :]) for one in seen), strict=True)
    assert (cells[0] != cells[1]).any() and (cells[1] == cells[2]).all() and (cells[1] == cells[3]).all()
    # walking on, picking up, dropping, toggling: onto floor, a ball, a box, a wall
    assert [one.tolist() for one in would_change] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]


def test_an_effect_is_what_the_action_would_change(random_known, rng):
    memory = random_known(rng, (6, 9), 400, inside=False)
    found = np.asarray(effects(Scene.of(get_task("DoorKey-8x8"), memory, REFERENCE)))

    @jax.jit
    @jax.vmap
    def change(memory):
        state = State(memory.cells, memory.cells > 0, memory.agent, memory.carrying, memory.pickup_position)

        def changed(action):
            after = act(state, jnp.int32(action), jnp.int32(0)).next_state
            return jnp.stack([jnp.any(getattr(after, name) != getattr(state, name)) for name in SHOWN]).any()

        return jnp.stack([changed(action) for action in EFFECTS])

    np.testing.assert_array_equal(found, np.asarray(change(memory)).T)
    assert (found.sum(axis=1) > 3).all()


SHOWN = ("cells", "agent", "carrying")
