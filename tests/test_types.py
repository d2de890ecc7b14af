"""Cell codes, the observation and the known map: exact pairs, and their numbers by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax import types
from l4t_jax.types import KnownMap, as_observation, decode_cells, encode_cells, from_observation

# (kind, colour, MiniGrid's object, colour, state)
BY_HAND = [
    (types.UNSEEN, 0, 0, 0, 0),
    (types.EMPTY, 0, 1, 0, 0),
    (types.WALL, types.GREY, 2, 5, 0),
    (types.DOOR_OPEN, types.BLUE, 4, 2, 0),
    (types.DOOR_CLOSED, types.YELLOW, 4, 4, 1),
    (types.DOOR_LOCKED, types.RED, 4, 0, 2),
    (types.KEY, types.PURPLE, 5, 3, 0),
    (types.GOAL, types.GREEN, 8, 1, 0),
    (types.LAVA, types.RED, 9, 0, 0),
]


@pytest.mark.parametrize("kind, colour, obj, col, state", BY_HAND)
def test_codes_stand_for_minigrids_three_numbers(kind, colour, obj, col, state):
    cell = jnp.uint8(types.code(kind, colour))
    np.testing.assert_array_equal(decode_cells(cell), [obj, col, state])
    assert int(encode_cells(jnp.array([obj, col, state], jnp.uint8))) == types.code(kind, colour)
    assert int(types.kind_of(cell)) == kind and int(types.colour_of(cell)) == colour


def test_the_numbers_are_minigrids_own():
    from minigrid.core.actions import Actions
    from minigrid.core.constants import COLOR_TO_IDX, DIR_TO_VEC, OBJECT_TO_IDX, STATE_TO_IDX

    assert {name: COLOR_TO_IDX[name] for name in types.COLOURS} == {name: i for i, name in enumerate(types.COLOURS)}
    names = dict(
        unseen=types.UNSEEN, empty=types.EMPTY, wall=types.WALL, floor=types.FLOOR, door=types.DOOR_OPEN,
        key=types.KEY, ball=types.BALL, box=types.BOX, goal=types.GOAL, lava=types.LAVA, agent=types.AGENT,
    )  # fmt: skip
    assert names == OBJECT_TO_IDX
    for state, kind in (("open", types.DOOR_OPEN), ("closed", types.DOOR_CLOSED), ("locked", types.DOOR_LOCKED)):
        assert int(decode_cells(jnp.uint8(kind))[2]) == STATE_TO_IDX[state]
    assert tuple(action.name for action in Actions) == types.ACTIONS
    np.testing.assert_array_equal(DIR_TO_VEC, np.stack([types.DIR_X, types.DIR_Y], axis=1))


def test_every_code_comes_back_through_minigrids_encoding():
    kinds = [k for k in range(types.NUM_KINDS) if k != types.AGENT]
    cells = jnp.array([types.code(k, c) for k in kinds for c in range(6)], jnp.uint8)
    symbolic = decode_cells(cells)
    assert symbolic.dtype == jnp.uint8 and symbolic.shape == (len(cells), 3)
    np.testing.assert_array_equal(encode_cells(symbolic), cells)
    assert encode_cells(symbolic).dtype == jnp.uint8


def test_the_observation_has_the_agents_direction_on_its_cell_alone():
    cells = jnp.full((3, 2), types.EMPTY_CODE, jnp.uint8).at[2, 1].set(types.code(types.KEY, types.BLUE))
    known = KnownMap(
        cells=cells,
        agent=jnp.array([2, 1, 3], jnp.int8),
        carrying=jnp.uint8(types.code(types.KEY, types.BLUE)),
        origin=jnp.array([0, 0], jnp.int8),
    )
    observation = as_observation(known)
    assert observation.shape == (3, 2, 4) and observation.dtype == jnp.uint8
    np.testing.assert_array_equal(observation[..., 3], [[4, 4], [4, 4], [4, 3]])
    np.testing.assert_array_equal(observation[2, 1], [5, 2, 0, 3])  # the blue key it carries
    np.testing.assert_array_equal(observation[0, 0], [1, 0, 0, 4])


@pytest.mark.parametrize("size", [(10, 10), (5, 8)])
def test_known_maps_come_back_from_observations(size, random_known, rng):
    known = random_known(rng, size, 60, inside=False)
    back = from_observation(as_observation(known), known.origin)
    jax.tree.map(np.testing.assert_array_equal, back, known)
    assert jax.tree.map(lambda leaf: leaf.dtype, back) == jax.tree.map(lambda leaf: leaf.dtype, known)
    stacked = jax.tree.map(lambda leaf: leaf.reshape(6, 10, *leaf.shape[1:]), known)
    jax.tree.map(np.testing.assert_array_equal, from_observation(as_observation(stacked), stacked.origin), stacked)
