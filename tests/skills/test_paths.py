"""Shortest paths against an independent search, one pose at a time, on maps that no room ever gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import teacher as oracle

from l4t_jax.abstraction.scene import Scene
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import DONE, DOOR_LOCKED, EMPTY_CODE, KEY, RED, code
from l4t_jax.envs.state import as_observation
from l4t_jax.envs.task import DOORS
from l4t_jax.kernels import CPU, PORTABLE, REFERENCE, TPU, bits
from l4t_jax.kernels import search as kernel_search
from l4t_jax.skills import paths
from l4t_jax.skills.actions import skill_actions
from l4t_jax.skills.base import SATISFIED
from l4t_jax.skills.plan_codes import encode_step

SIZES = ((10, 10), (20, 20), (7, 13), (32, 32), (3, 3))
SHARE = (0.6, 0.15, 0.15, 0.05, 0.05)  # of the maps


def scan(memory, places, kernel):
    """Paths to one place of each map, and their first actions."""
    scene = Scene.of(get_task("LavaDoorKey"), memory, kernel)
    target = scene.cell(places[:, 0], places[:, 1])
    path = paths.shortest_paths([scene.free], [target], scene.agent, kernel)
    path = jax.tree.map(lambda leaf: leaf[0], path)
    return path, path.first_action(SATISFIED)


search = jax.jit(scan, static_argnums=2)


def compare(random_known, rng, number) -> dict[str, int]:
    """Compares on `number` maps; returns how many had which answer."""
    seen = dict(maps=0, walked=0, tied=0, satisfied=0, unreachable=0, far=0)
    for size, share in zip(SIZES, SHARE, strict=True):
        count = round(number * share)
        memory = random_known(rng, size, count, inside=False)
        places = np.stack([rng.integers(0, size[0], count), rng.integers(0, size[1], count)], axis=-1)
        path, action = search(memory, jnp.asarray(places, jnp.int32), CPU)
        path, action = jax.tree.map(np.asarray, path), np.asarray(action)
        observations = np.asarray(as_observation(memory))
        for i in range(count):
            actions, distance = oracle.go_to(observations[i], tuple(places[i].tolist()))
            ours = {a for a, starts in enumerate((path.left, path.right, path.forward)) if starts[i]}
            assert path.distance[i] == (paths.FAR if distance is None else distance), (size, i)
            assert ours == actions, (size, i)
            if distance is None:
                assert action[i] == DONE
            else:
                assert action[i] in (actions or {SATISFIED}), (size, i)
            seen["maps"] += 1
            seen["walked"] += bool(distance)
            seen["tied"] += len(actions) > 1
            seen["satisfied"] += distance == 0
            seen["unreachable"] += distance is None
            seen["far"] += distance is not None and distance > 12
    return seen


def test_distances_and_first_actions_agree_with_an_independent_search(random_known, rng):
    seen = compare(random_known, rng, 1_500)
    assert seen["maps"] >= 1_500
    assert min(seen.values()) >= 15, seen  # every sort of answer came up


@pytest.mark.slow
def test_distances_and_first_actions_agree_on_ten_thousand_maps(random_known, rng, record_property):
    seen = compare(random_known, rng, 10_000)
    for name, value in seen.items():
        record_property(name, value)
    assert seen["maps"] >= 10_000 and min(seen.values()) >= 100, seen


def grid(*rows):
    """The `.` cells of a picture as a mask, and its agent `A`, y downwards."""
    mask = np.array([[sign in ".A" for sign in row] for row in rows]).T
    ((y, x),) = np.argwhere(np.array([list(row) for row in rows]) == "A").tolist()
    return jnp.asarray(mask)[..., None], (x, y)


@pytest.mark.parametrize("kernel", [REFERENCE, PORTABLE, CPU, TPU], ids=lambda kernel: kernel.name)
@pytest.mark.parametrize(
    "direction, place, distance, first",
    [
        (0, (2, 1), 0, set()),  # directly ahead
        (0, (4, 1), 2, {"forward"}),
        (2, (4, 1), 4, {"left", "right"}),  # two turns either way, then two steps
        (1, (4, 1), 3, {"left"}),
        (0, (4, 3), 5, {"forward"}),  # three steps, a turn, a step
    ],
)
def test_paths_counted_by_hand(direction, place, distance, first, kernel):
    passable, (x, y) = grid("######", "#A...#", "####.#", "####.#", "######")
    target = np.zeros((6, 5, 1), bool)
    target[place] = True
    agent = jnp.array([[x], [y], [direction]])
    path = paths.shortest_paths([passable], [jnp.asarray(target)], agent, kernel)
    assert int(path.distance[0, 0]) == distance
    assert {name for name in ("left", "right", "forward") if bool(getattr(path, name)[0, 0])} == first


def test_a_large_batch_is_searched_in_parts_alike(random_known, rng, monkeypatch):
    memory = random_known(rng, (10, 10), 150, inside=False)
    places = jnp.asarray(rng.integers(0, 10, (150, 2)), jnp.int32)
    whole = search(memory, places, PORTABLE)  # not in parts
    monkeypatch.setattr(kernel_search, "CHUNK", {8: 64, 16: 64})
    jax.tree.map(np.testing.assert_array_equal, jax.jit(scan, static_argnums=2)(memory, places, CPU), whole)


def test_bits_hold_what_the_masks_hold(rng):
    mask = rng.random((3, 2, 9, 32)) < 0.5
    packed = bits.pack(jnp.moveaxis(jnp.asarray(mask), (-2, -1), (0, 1)), CPU)
    assert packed.shape == (9, 3, 2) and packed.dtype == jnp.uint32
    np.testing.assert_array_equal(bits.unpack(packed, 32), mask)
    for x, y in ((0, 0), (8, 31), (4, 17)):
        np.testing.assert_array_equal(
            bits.unpack(bits.cell(jnp.array(x), jnp.array(y), 9, 32), 32),
            np.arange(9 * 32).reshape(9, 32) == x * 32 + y,
        )
    for x, y in ((-1, 0), (0, -1), (9, 0), (0, 32)):
        assert not bool(bits.any_bit(bits.cell(jnp.array(x), jnp.array(y), 9, 32)))
    words = jnp.array([0, 1, 2, 0b1010000, 1 << 31], jnp.uint32)
    np.testing.assert_array_equal(bits.lowest_bit(words), [32, 0, 1, 4, 31])


@pytest.mark.parametrize("dx, dy", [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_shifted_bits_are_shifted_masks(dx, dy, rng):
    mask = rng.random((6, 9)) < 0.5
    moved = np.zeros_like(mask)
    for x, y in np.argwhere(mask):
        if 0 <= x + dx < 6 and 0 <= y + dy < 9:
            moved[x + dx, y + dy] = True
    np.testing.assert_array_equal(bits.unpack(bits.shift(bits.pack(jnp.asarray(mask), CPU), dx, dy), 9), moved)


def test_an_object_never_seen_is_no_target_and_gives_done(random_known, rng):
    """Beside one that is known."""
    task = get_task("SimpleDoorKey")
    memory = random_known(rng, (10, 10), 64, inside=True)
    cells = np.array(memory.cells)
    cells[(cells & 15 == KEY) | np.isin(cells & 15, DOORS)] = EMPTY_CODE
    cells[:, 0, 4] = code(DOOR_LOCKED, RED)
    nothing = jnp.zeros(64, jnp.uint8)
    memory = memory.replace(
        cells=jnp.asarray(cells), carrying=nothing, pickup_position=jnp.full((64, 2), -1, jnp.int8)
    )  # fmt: skip
    outcomes = np.asarray(skill_actions(task, memory).actions)
    for skill in ("go_to", "pick_up", "drop", "open"):
        assert (outcomes[encode_step(task, (skill, "key"))] == DONE).all()
    assert (outcomes[encode_step(task, ("pick_up", "door"))] == 3).all()
    assert (outcomes[encode_step(task, ("drop", "door"))] == 4).all()
    assert (outcomes[encode_step(task, ("open", "door"))] == 5).all()
    places = jnp.broadcast_to(jnp.array([0, 4]), (64, 2))
    np.testing.assert_array_equal(outcomes[encode_step(task, ("go_to", "door"))], search(memory, places, CPU)[1])
