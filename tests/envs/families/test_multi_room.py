"""MultiRoom's chains of rooms beside Farama's, room by room; and the map that is built from a chain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import farama

from l4t_jax.envs.cells import COLOURS, DOOR_CLOSED, GOAL
from l4t_jax.envs.families import multi_room
from l4t_jax.envs.registry import get_task
from l4t_jax.evaluation.farama import make, read_level

NUMBER = 2_000
UNLIKELY = 1e-8


def their_rooms(env):
    """The rooms of the level that Farama's environment stands on, but for the side of the entry."""
    rooms = [(*room.top, *room.size, 0, *room.entryDoorPos) for room in env.rooms]
    return multi_room.Rooms(*np.asarray(rooms, np.int32).T)


def room_labels(rooms):
    """What chains are compared by: place, size and door of each room, alone and beside the room before it."""
    found = {}
    for n in range(rooms.left.shape[1]):
        left, top, width, height, _, x, y = (leaf[:, n] for leaf in rooms)
        found |= {
            f"{n} left": left, f"{n} top": top, f"{n} size": farama.code(width, height),
            f"{n} door x": farama.code(width, x - left), f"{n} door y": farama.code(height, y - top),
        }  # fmt: skip
        if n > 0:
            before = [leaf[:, n - 1] for leaf in rooms]
            found |= {
                f"{n} width after width": farama.code(before[2], width),
                f"{n} height after height": farama.code(before[3], height),
                f"{n} left after left": farama.code(left - before[0]),
                f"{n} top after top": farama.code(top - before[1]),
                f"{n} door in the room before": farama.code(x - before[0], y - before[1]),
            }
    return found


@pytest.mark.parametrize("name", ("MultiRoom-N4-S5", "MultiRoom-N6"))
def test_chains_of_rooms_are_distributed_as_minigrids(name):
    task = get_task(name)
    number, largest = task.layout.args
    env = make(task.minigrid_id)
    env.reset(seed=7)
    theirs = []
    for _ in range(NUMBER):
        env._gen_grid(env.width, env.height)
        theirs.append(their_rooms(env))
    theirs = jax.tree.map(lambda *leaves: np.stack(leaves), *theirs)
    keys = jax.random.split(jax.random.key(0), NUMBER)
    ours = jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda key: multi_room.draw_rooms(number, largest, key)))(keys))
    assert not farama.differing(room_labels(ours), room_labels(theirs), UNLIKELY)


def test_the_map_of_a_chain_is_minigrids():
    task = get_task("MultiRoom-N6")
    env = make(task.minigrid_id)
    build = jax.jit(multi_room.build)
    for seed in range(50):
        env.reset(seed=seed)
        level, rooms = read_level(env, task), their_rooms(env)
        colours = level.cells[rooms.door_x[1:], rooms.door_y[1:]] >> 4
        cells, within = build(rooms, jnp.asarray(colours, jnp.int32))
        np.testing.assert_array_equal(cells, np.where((level.cells & 15) == GOAL, 1, level.cells))
        assert within[0, level.agent[0], level.agent[1]]


def test_no_door_has_the_colour_of_the_one_before_and_all_colours_come():
    task = get_task("MultiRoom-N2-S4")
    levels = farama.ours(task, 500)
    doors = [level[(level & 15) == DOOR_CLOSED] >> 4 for level in levels.cells]
    assert {len(door) for door in doors} == {1}
    assert set(np.concatenate(doors)) == set(range(len(COLOURS)))


def test_a_level_that_needs_many_rounds_is_whole():
    # Of rooms up to 12 cells wide, seven in a row seldom fit: most levels take several rounds of chains.
    rooms = jax.jit(jax.vmap(lambda key: multi_room.draw_rooms(7, 12, key)))(jax.random.split(jax.random.key(1), 64))
    assert (np.asarray(rooms.width) >= multi_room.MIN_ROOM).all()
    assert np.asarray(multi_room.fits(rooms)).all()
