"""The obstacles that move before each step: where they go, in which order, and what walking into one leads to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from minigrid.core.world_object import Wall
from oracles import farama
from oracles.open_families import Episode

from l4t_jax.envs import get_task
from l4t_jax.envs.cells import FORWARD, LEFT
from l4t_jax.envs.families import dynamic_obstacles as family
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.visibility import know, visible

SEED = 20231113
EAST, SOUTH = 0, 1
UNLIKELY = 1e-6


def scene(name, agent, obstacles, walls=()):
    """An episode with the agent (x, y, direction) and each obstacle where it is told."""
    episode = Episode(name, SEED)
    env = episode.env
    for ball in env.obstacles:
        env.grid.set(*ball.cur_pos, None)
    for ball, place in zip(env.obstacles, obstacles, strict=True):
        env.put_obj(ball, *place)
    for place in walls:
        env.grid.set(*place, Wall())
    env.agent_pos, env.agent_dir = agent[:2], agent[2]
    return episode


def now(env):
    return np.array([ball.cur_pos for ball in env.obstacles])


def theirs(build, number):
    """`int[number, obstacles, 2]`: where Farama's obstacles are after one step from the same state."""
    episode = build()
    env, first, found = episode.env, now(episode.env), []
    for _ in range(number):
        env.step(LEFT)
        found.append(now(env))
        for ball in env.obstacles:
            env.grid.set(*ball.cur_pos, None)
        for ball, place in zip(env.obstacles, first, strict=True):
            env.put_obj(ball, *(int(v) for v in place))
    return np.stack(found)


def ours(state, number):
    obstacles = int(np.count_nonzero(state.targets))
    keys = jax.random.split(jax.random.key(1), number)
    return np.asarray(jax.jit(jax.vmap(lambda key: family.moves(key, obstacles, state)))(keys))


SCENES = {
    "far apart": lambda: scene("Dynamic-Obstacles-6x6", (1, 1, EAST), [(3, 1), (1, 4), (4, 3)]),
    "in a heap": lambda: scene("Dynamic-Obstacles-5x5", (1, 1, EAST), [(2, 1), (2, 2)]),
    "the later ones in the way": lambda: scene(
        "Dynamic-Obstacles-6x6", (1, 1, EAST), [(1, 4), (2, 4), (2, 3)], walls=[(1, 3), (3, 3)]
    ),
    "one free cell": lambda: scene(
        "Dynamic-Obstacles-5x5", (1, 1, EAST), [(3, 1), (2, 1)], walls=[(2, 2), (1, 2), (2, 3)]
    ),
}


def differing(mine, others):
    """The chance of the joint places of all obstacles, and of each alone."""
    together = (farama.code(*places.reshape(len(places), -1).T) for places in (mine, others))
    chances = [farama.chance(*together)]
    for i in range(mine.shape[1]):
        chances.append(farama.chance(farama.code(*mine[:, i].T), farama.code(*others[:, i].T)))
    return min(chances) < UNLIKELY


@pytest.mark.parametrize("name", SCENES)
def test_obstacles_move_as_minigrids(name):
    state = jax.tree.map(jnp.asarray, SCENES[name]().state())
    mine, others = ours(state, 2_000), theirs(SCENES[name], 2_000)
    assert not differing(mine, others)
    # What chi-square may miss: all that happens here happens there.
    seen, times = np.unique(mine, axis=0, return_counts=True)
    assert {tuple(row.ravel()) for row in seen[times > 20]} <= {tuple(row.ravel()) for row in others}


def test_another_order_of_the_obstacles_is_noticed():
    """In the narrow place the first obstacle can go only where it may before the later ones have gone."""
    name = "the later ones in the way"
    state = SCENES[name]().state()
    swapped = state.replace(targets=np.array([0, 4, 2, 0, 1], np.uint8)[state.targets])
    assert differing(ours(jax.tree.map(jnp.asarray, swapped), 2_000)[:, ::-1], theirs(SCENES[name], 2_000))


def test_an_obstacle_without_a_free_cell_stays():
    state = scene(
        "Dynamic-Obstacles-5x5", (1, 1, EAST), [(2, 1), (3, 3)], walls=[(1, 2), (2, 2), (3, 1), (3, 2)]
    ).state()
    assert (ours(state, 100)[:, 0] == [2, 1]).all()


def test_minigrid_gives_up_after_that_many_tries(monkeypatch):
    env = SCENES["in a heap"]().env
    drawn = []
    monkeypatch.setattr(env, "_rand_int", lambda low, high: drawn.append(low) or 2)  # (2, 2) is taken
    with pytest.raises(RecursionError):
        env.place_obj(env.obstacles[0], top=(1, 0), size=(3, 3), max_tries=100)
    assert len(drawn) == 2 * family.TRIES


def test_the_last_free_cell_may_never_be_tried(monkeypatch):
    """With 5 tries instead of 101, one free cell of nine is missed in (8 / 9)^5 of all cases."""
    monkeypatch.setattr(family, "TRIES", 5)
    walls = [(1, 2), (2, 2), (3, 2), (1, 3), (2, 3)]
    moved = ours(scene("Dynamic-Obstacles-5x5", (1, 1, EAST), [(2, 1), (3, 3)], walls).state(), 4_000)
    assert (moved[:, 1] == [3, 3]).all()
    stayed = (moved[:, 0] == [2, 1]).all(axis=1)
    assert ((moved[:, 0] == [3, 1]).all(axis=1) | stayed).all()
    share = (8 / 9) ** 5
    assert abs(stayed.mean() - share) < 5 * (share * (1 - share) / 4_000) ** 0.5


@pytest.mark.parametrize("name", ["Dynamic-Obstacles-Random-5x5", "Dynamic-Obstacles-16x16"])
def test_minigrids_moves_are_replayed_exactly(name):
    """From Farama's places after its step, our state before it gives Farama's map after it."""
    episode = Episode(name, SEED)
    for _ in range(30):
        episode.step(LEFT)
        before, after = episode.transitions[-1].state, episode.transitions[-1].next_state
        state = jax.tree.map(jnp.asarray, before)
        np.testing.assert_array_equal(family.places(len(episode.env.obstacles), state), [
            np.argwhere(before.targets >> i & 1)[0] for i in range(len(episode.env.obstacles))
        ])  # fmt: skip
        replayed = family.moved_to(state, jnp.asarray(now(episode.env)))
        np.testing.assert_array_equal(replayed.cells, after.cells)
        np.testing.assert_array_equal(replayed.targets, after.targets)


def test_the_hook_moves_obstacles_and_nothing_else():
    state = jax.tree.map(jnp.asarray, SCENES["far apart"]().state())
    after = jax.jit(lambda key: family.move_obstacles(3, key, state))(jax.random.key(0))
    kinds = np.asarray(after.cells) & 15
    assert (np.sort(kinds, axis=None) == np.sort(np.asarray(state.cells) & 15, axis=None)).all()
    np.testing.assert_array_equal(kinds == family.BALL, np.asarray(after.targets) > 0)
    assert (after.cells != state.cells).any()
    for name in ("agent", "seen", "carrying"):
        np.testing.assert_array_equal(getattr(after, name), getattr(state, name))


def test_what_was_ahead_before_the_obstacles_moved_decides():
    """An obstacle that left the cell ahead still ends the episode; one that came into it only blocks the way."""
    left = came = 0
    episode = scene("Dynamic-Obstacles-5x5", (1, 1, EAST), [(2, 1), (1, 3)])
    for seed in range(40):
        for there in ([(2, 1), (1, 3)], [(2, 2), (3, 1)]):
            env = episode.env
            env.reset(seed=seed)
            for ball in env.obstacles:
                env.grid.set(*ball.cur_pos, None)
            for ball, place in zip(env.obstacles, there, strict=True):
                env.put_obj(ball, *place)
            episode.marks.objects = [(ball, bit) for bit, ball in enumerate(env.obstacles)]
            reward, ended = episode.step(FORWARD)
            walked = tuple(env.agent_pos) == (2, 1)
            left += walked and ended and reward == -1
            came += not walked and not ended and reward == 0
    success, failure = episode.judged()
    np.testing.assert_array_equal(failure, episode.ended)
    assert left > 5 and came > 1 and not success.any()


def test_out_of_sight_the_map_shows_an_obstacle_where_it_was_last_seen():
    """The map that is kept step by step in NumPy from the cells seen now, and no more, is what the agent knows."""
    env = make_env(get_task("Dynamic-Obstacles-16x16"))
    step = jax.jit(lambda state, t, action, key: env.transition(state, t, action, key)[0])
    state = env.initial(jax.random.key(2))
    remembered, hidden = np.zeros((16, 16), np.uint8), 0
    for t in range(40):
        clear = np.ones((16, 16), bool)  # walls do not block the sight here
        now_seen = np.asarray(visible(jnp.asarray(clear), state.agent, env.task.view))
        cells = np.asarray(state.cells)
        remembered[now_seen] = cells[now_seen]
        expected = remembered.copy()
        expected[state.agent[0], state.agent[1]] = cells[state.agent[0], state.agent[1]]
        known = know(state)
        np.testing.assert_array_equal(known.cells, expected)
        assert known.targets is None
        hidden += int((np.asarray(state.seen) & (remembered != cells)).any())
        state = step(state, jnp.int32(t), jnp.int32(LEFT if t % 3 else FORWARD), jax.random.key(t))
    assert hidden > 10  # obstacles did move where the agent did not look
