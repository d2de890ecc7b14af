"""Cell codes, the observation and the memory map: exact pairs, and their numbers by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.envs import cells
from l4t_jax.envs.cells import decode_cells, encode_cells
from l4t_jax.envs.state import MemoryMap, as_observation, from_observation

# (kind, colour, MiniGrid's object, colour, state)
BY_HAND = [
    (cells.UNSEEN, 0, 0, 0, 0),
    (cells.EMPTY, 0, 1, 0, 0),
    (cells.WALL, cells.GREY, 2, 5, 0),
    (cells.DOOR_OPEN, cells.BLUE, 4, 2, 0),
    (cells.DOOR_CLOSED, cells.YELLOW, 4, 4, 1),
    (cells.DOOR_LOCKED, cells.RED, 4, 0, 2),
    (cells.KEY, cells.PURPLE, 5, 3, 0),
    (cells.GOAL, cells.GREEN, 8, 1, 0),
    (cells.LAVA, cells.RED, 9, 0, 0),
]


@pytest.mark.parametrize("kind, colour, obj, col, state", BY_HAND)
def test_codes_stand_for_minigrids_three_numbers(kind, colour, obj, col, state):
    cell = jnp.uint8(cells.code(kind, colour))
    np.testing.assert_array_equal(decode_cells(cell), [obj, col, state])
    assert int(encode_cells(jnp.array([obj, col, state], jnp.uint8))) == cells.code(kind, colour)
    assert int(cells.kind_of(cell)) == kind and int(cells.colour_of(cell)) == colour


def test_the_numbers_are_minigrids_own():
    from minigrid.core.actions import Actions
    from minigrid.core.constants import COLOR_TO_IDX, DIR_TO_VEC, OBJECT_TO_IDX, STATE_TO_IDX

    assert {name: COLOR_TO_IDX[name] for name in cells.COLOURS} == {name: i for i, name in enumerate(cells.COLOURS)}
    names = dict(
        unseen=cells.UNSEEN, empty=cells.EMPTY, wall=cells.WALL, floor=cells.FLOOR, door=cells.DOOR_OPEN,
        key=cells.KEY, ball=cells.BALL, box=cells.BOX, goal=cells.GOAL, lava=cells.LAVA, agent=cells.AGENT,
    )  # fmt: skip
    assert names == OBJECT_TO_IDX
    for state, kind in (("open", cells.DOOR_OPEN), ("closed", cells.DOOR_CLOSED), ("locked", cells.DOOR_LOCKED)):
        assert int(decode_cells(jnp.uint8(kind))[2]) == STATE_TO_IDX[state]
    assert tuple(action.name for action in Actions) == cells.ACTIONS
    np.testing.assert_array_equal(DIR_TO_VEC, np.stack([cells.DIR_X, cells.DIR_Y], axis=1))


def test_every_code_comes_back_through_minigrids_encoding():
    kinds = [k for k in range(cells.NUM_KINDS) if k != cells.AGENT]
    codes = jnp.array([cells.code(k, c) for k in kinds for c in range(6)], jnp.uint8)
    symbolic = decode_cells(codes)
    assert symbolic.dtype == jnp.uint8 and symbolic.shape == (len(codes), 3)
    np.testing.assert_array_equal(encode_cells(symbolic), codes)
    assert encode_cells(symbolic).dtype == jnp.uint8


def test_the_observation_has_the_agents_direction_on_its_cell_alone():
    grid = jnp.full((3, 2), cells.EMPTY_CODE, jnp.uint8).at[2, 1].set(cells.code(cells.KEY, cells.BLUE))
    memory = MemoryMap(
        cells=grid,
        agent=jnp.array([2, 1, 3], jnp.int8),
        carrying=jnp.uint8(cells.code(cells.KEY, cells.BLUE)),
        pickup_position=jnp.array([0, 0], jnp.int8),
    )
    observation = as_observation(memory)
    assert observation.shape == (3, 2, 4) and observation.dtype == jnp.uint8
    np.testing.assert_array_equal(observation[..., 3], [[4, 4], [4, 4], [4, 3]])
    np.testing.assert_array_equal(observation[2, 1], [5, 2, 0, 3])  # the blue key it carries
    np.testing.assert_array_equal(observation[0, 0], [1, 0, 0, 4])


@pytest.mark.parametrize("size", [(10, 10), (5, 8)])
def test_known_maps_come_back_from_observations(size, random_known, rng):
    memory = random_known(rng, size, 60, inside=False)
    back = from_observation(as_observation(memory), memory.pickup_position)
    jax.tree.map(np.testing.assert_array_equal, back, memory)
    assert jax.tree.map(lambda leaf: leaf.dtype, back) == jax.tree.map(lambda leaf: leaf.dtype, memory)
    stacked = jax.tree.map(lambda leaf: leaf.reshape(6, 10, *leaf.shape[1:]), memory)
    jax.tree.map(
        np.testing.assert_array_equal, from_observation(as_observation(stacked), stacked.pickup_position), stacked
    )
