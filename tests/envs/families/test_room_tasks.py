"""The registered tasks of the families with rooms: what MiniGrid says of each id, and the form of its levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import farama
from test_room_levels import IDS

from l4t_jax.envs import dynamics
from l4t_jax.envs.cells import BALL, BLUE, BOX, COLOURS, DOOR_LOCKED, EMPTY, GREEN, KEY, PICKUP, TOGGLE, code
from l4t_jax.envs.families.obstructed_maze import REFUSED
from l4t_jax.envs.registry import get_task
from l4t_jax.evaluation.farama import make, missions, read_level


@pytest.mark.parametrize("name", IDS)
def test_a_task_is_minigrids(name):
    task = get_task(name)
    env = make(task.minigrid_id)
    assert (task.width, task.height, task.max_steps) == (env.width, env.height, env.max_steps)
    assert (task.view, task.see_through) == (env.agent_view_size, env.see_through_walls)
    spoken = missions(task)
    assert {env.reset(seed=seed)[0]["mission"] for seed in range(10)} <= spoken.keys()
    assert all(env.observation_space["mission"].contains(sentence) for sentence in spoken)


@pytest.mark.parametrize("name", IDS)
def test_a_level_of_minigrids_has_the_form_of_ours(name):
    task = get_task(name)
    env = make(task.minigrid_id)
    env.reset(seed=1)
    theirs, ours = read_level(env, task), jax.eval_shape(task.layout, jax.random.key(0))
    assert jax.tree.structure(theirs) == jax.tree.structure(ours)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), theirs) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), ours
    )


def test_missions_are_minigrids_sentences():
    assert len(missions(get_task("LockedRoom"))) == 36
    assert missions(get_task("LockedRoom"))[
        "get the purple key from the yellow room, unlock the purple door and go to the goal"
    ] == (COLOURS.index("purple"), COLOURS.index("yellow"))
    assert missions(get_task("KeyCorridorS3R3"))["pick up the grey ball"] == (COLOURS.index("grey"),)
    assert missions(get_task("UnlockPickup"))["pick up the red box"] == (COLOURS.index("red"),)
    assert missions(get_task("ObstructedMaze-Full")) == {"pick up the blue ball": ()}


def test_a_mission_names_what_is_there():
    levels = farama.ours(get_task("BlockedUnlockPickup"), 200)
    boxes = np.asarray([level[(level & 15) == 7] >> 4 for level in levels.cells])
    np.testing.assert_array_equal(boxes, levels.mission)


@pytest.mark.parametrize("minigrid_id", REFUSED)
def test_a_refused_id_draws_levels_without_a_key(minigrid_id):
    assert minigrid_id.replace("-v0", "-v1") in REFUSED[minigrid_id]
    env = make(minigrid_id)
    env.reset(seed=0)
    lost = 0
    for _ in range(300):
        env._gen_grid(env.width, env.height)
        kinds = [cell.type + str(getattr(cell, "is_locked", "")) for cell in env.grid.grid if cell]
        lost += kinds.count("box") < kinds.count("doorTrue")
    assert lost > 0


def beside(level, kind, carrying=0):
    """The state in which the agent stands left of the last thing of a kind and looks at it."""
    x, y = np.argwhere((level.cells & 15) == kind)[-1]
    cells = level.cells.copy()
    cells[x - 1, y] = EMPTY
    state = dynamics.start(level._replace(cells=jnp.asarray(cells), agent=jnp.array([x - 1, y, 0], jnp.int8)))
    return state.replace(carrying=jnp.uint8(carrying)), (int(x), int(y))


@pytest.mark.parametrize("name, kind", [("UnlockPickup", BOX), ("KeyCorridorS3R3", BALL), ("ObstructedMaze-1Dl", BALL)])
def test_picking_up_the_object_is_success_and_picking_up_another_is_not(name, kind):
    task = get_task(name)
    level = jax.tree.map(lambda leaf: leaf[0], farama.ours(task, 200))
    for what, action, expected in ((kind, PICKUP, True), (KEY, PICKUP, False), (kind, TOGGLE, False)):
        state, _ = beside(level, what)
        assert bool(task.success(dynamics.act(state, jnp.int32(action), jnp.int32(0)))) is expected


def test_unlocking_the_door_is_success_and_needs_its_key():
    task = get_task("Unlock")
    level = jax.tree.map(lambda leaf: leaf[0], farama.ours(task, 200))
    colour = int(level.cells[(level.cells & 15) == DOOR_LOCKED][0] >> 4)
    for carrying, expected in ((code(KEY, colour), True), (code(KEY, (colour + 1) % 6), False), (0, False)):
        state, _ = beside(level, DOOR_LOCKED, carrying)
        assert bool(task.success(dynamics.act(state, jnp.int32(TOGGLE), jnp.int32(0)))) is expected


def test_the_blocking_ball_of_a_maze_is_not_the_target():
    task = get_task("ObstructedMaze-1Dlhb")
    level = jax.tree.map(lambda leaf: leaf[0], farama.ours(task, 200))
    green = level._replace(cells=np.where(level.cells == code(BALL, BLUE), EMPTY, level.cells))
    state, _ = beside(green, BALL)
    transition = dynamics.act(state, jnp.int32(PICKUP), jnp.int32(0))
    assert int(transition.next_state.carrying) == code(BALL, GREEN)
    assert not bool(task.success(transition))


def test_a_box_of_a_maze_leaves_the_key_of_its_door():
    task = get_task("ObstructedMaze-1Dlhb")
    level = jax.tree.map(lambda leaf: leaf[0], farama.ours(task, 200))
    state, at = beside(level, BOX)
    opened = dynamics.act(state, jnp.int32(TOGGLE), jnp.int32(0)).next_state
    door = level.cells[(level.cells & 15) == DOOR_LOCKED][0]
    assert int(opened.cells[at]) == code(KEY, int(door >> 4))
