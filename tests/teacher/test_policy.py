"""The teacher on the device: every recorded label, the plain-Python teacher's, and its success on many boards."""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import teacher as oracle

from l4t_jax import symbolic
from l4t_jax.evaluation import play as play_boards
from l4t_jax.evaluation import teacher_policy
from l4t_jax.skills import library, plan
from l4t_jax.skills.library import SATISFIED
from l4t_jax.tasks import get_task, rules
from l4t_jax.teacher.policy import guide, walk
from l4t_jax.types import DONE, TOGGLE, as_observation, encode_cells

DATA = Path(__file__).parents[1] / "data"


@cache
def golden(name):
    """The recorded arrays, and our worlds led through the recorded actions: `known` of every recorded step."""
    with np.load(DATA / "golden" / f"{name}.npz", allow_pickle=False) as stored:
        trace = dict(stored)
    task = get_task(name)
    env = task.make()
    starts = trace["ep_start"]
    ends = np.append(starts[1:], len(trace["action"]))
    episodes, steps = len(starts), int((ends - starts).max())
    row = starts + np.arange(steps)[:, None]  # (T, E)
    live = row < ends
    action = np.where(live, trace["action"][np.minimum(row, len(trace["action"]) - 1)], DONE)

    @jax.jit
    def lead(cells, agent, action):
        world = jax.vmap(lambda c, a: rules.start(c, a, task.view))(cells, agent)

        def step(carry, action):
            world, t = carry
            after, *result = jax.vmap(env.transition)(world, t, action)
            return (after, t + 1), (jax.vmap(rules.know)(world), *result, jax.vmap(rules.know)(after))

        return jax.lax.scan(step, (world, jnp.zeros(episodes, jnp.int32)), action)[1]

    known, reward, terminated, truncated, after = lead(
        encode_cells(jnp.asarray(trace["layout"])),
        jnp.asarray(trace["agent"], jnp.int8),
        jnp.asarray(action, jnp.int32),
    )
    t, e = np.nonzero(live)
    order = np.argsort(row[t, e])
    t, e = t[order], e[order]
    pick = lambda leaf: jnp.asarray(leaf)[t, e]  # noqa: E731
    last = jax.tree.map(lambda leaf: leaf[ends - starts - 1, np.arange(episodes)], after)
    return task, trace, jax.tree.map(pick, known), pick(reward), pick(terminated), pick(truncated), last


def test_every_recorded_step_of_the_world_comes_out_the_same(paper_task):
    _, trace, known, reward, terminated, truncated, last = golden(paper_task)
    assert len(trace["action"]) > 2_000
    np.testing.assert_array_equal(as_observation(known), trace["obs"])
    np.testing.assert_array_equal(as_observation(last), trace["final_obs"])
    np.testing.assert_allclose(reward, trace["reward"], atol=1e-6)
    np.testing.assert_array_equal(terminated, trace["terminated"])
    np.testing.assert_array_equal(truncated, trace["truncated"])


def test_every_recorded_sentence_place_and_walk_comes_out_the_same(paper_task):
    task, trace, known, *_ = golden(paper_task)
    sighting = jax.jit(lambda known: symbolic.sight(task, known))(known)
    sentences = [symbolic.decode(task, int(state)).sentence for state in sighting.state]
    assert sentences == trace["sentences"][trace["sentence"]].tolist()
    assert [noun.name for noun in task.nouns] == trace["objects"].tolist()
    np.testing.assert_array_equal(sighting.place, trace["place"])
    outcomes = np.asarray(jax.jit(lambda known, s: library.outcomes(task, known, s))(known, sighting))
    for i, noun in enumerate(task.nouns):
        ours, bits = outcomes[plan.encode_step(task, ("go_to", noun.name))], trace["go_to"][:, i]
        nothing = (bits & (16 | 32)) > 0  # unreachable, never seen
        walks = (ours >= 0) & (ours < 3) & ((bits >> np.clip(ours, 0, 2)) & 1 == 1)
        right = np.where(bits == 8, ours == SATISFIED, np.where(nothing, ours == DONE, walks))
        assert right.all(), (noun.name, np.flatnonzero(~right)[:5])


def disagreements(name, known, labels, remembered=None):
    """Rows whose label no tie-break of the plain-Python teacher gives.

    Args:
        name: of the task.
        known: known maps of consecutive steps, flat.
        labels: ours, `float32[n, 7]`.
        remembered: for each row the `Memory` with that row's map taken in.
    """
    table = oracle.load_tables(DATA / "recorded_plans.json")[name]
    observations = np.asarray(as_observation(known))
    wrong = []
    for row in range(len(labels)):
        attainable = oracle.teacher_distributions(name, observations[row], remembered[row], table)
        if not any(np.allclose(one, labels[row], rtol=0, atol=2e-6) for one in attainable):
            wrong.append(row)
    return wrong


def test_every_recorded_label_comes_out_the_same(paper_task, teacher_of):
    task, trace, known, *_ = golden(paper_task)
    ours = np.asarray(jax.jit(lambda known: guide(task, teacher_of(paper_task), known).distribution)(known))
    np.testing.assert_allclose(ours.sum(axis=1), 1.0, atol=1e-5)
    same = np.abs(ours - trace["teacher"]).max(axis=1) < 2e-6
    # The rest must be ties: the plain-Python teacher says which distributions its tie-breaks give.
    starts, memory, rest, remembered = set(trace["ep_start"].tolist()), None, [], []
    for row, observation in enumerate(trace["obs"]):
        if row in starts:
            memory = oracle.Memory(paper_task)
        memory.update(observation)
        if not same[row]:
            rest.append(row)
            remembered.append(oracle.Memory(paper_task, dict(memory.places)))
    tied = trace["go_to"][rest] & 7
    assert ((tied & (tied - 1)) > 0).any(axis=1).all()  # each of them has an object with two first actions or more
    left = jax.tree.map(lambda leaf: leaf[np.array(rest, int)], known)
    assert not disagreements(paper_task, left, ours[rest], remembered)
    assert same.mean() > 0.75


def test_labels_agree_with_the_plain_teacher_along_new_episodes(paper_task, teacher_of, play, draw):
    """Drivers that pick up, carry and drop keys anywhere: what is remembered matters."""
    task = get_task(paper_task)
    played = play(paper_task, draw(paper_task, jax.random.key(11), 64), jax.random.key(12), 150)
    known = jax.tree.map(lambda leaf: jnp.asarray(leaf[:-1, 1:24:2]), played.known)  # meddling, or teacher and chance
    live = played.live()[:, 1:24:2]
    ours = np.asarray(jax.jit(lambda known: guide(task, teacher_of(paper_task), known).distribution)(known))
    observations = np.asarray(as_observation(known))
    rows, remembered = [], []
    for i in range(live.shape[1]):
        memory = oracle.Memory(paper_task)
        for t in np.flatnonzero(live[:, i]):
            memory.update(observations[t, i])
            if t % 3 == i % 3:
                rows.append((t, i))
                remembered.append(oracle.Memory(paper_task, dict(memory.places)))
    t, i = np.array(rows).T
    assert len(rows) > 100 and (np.asarray(known.carrying)[t, i] > 0).any()
    assert not disagreements(paper_task, jax.tree.map(lambda leaf: leaf[t, i], known), ours[t, i], remembered)


def test_a_plan_is_walked_to_its_first_step_that_is_not_satisfied():
    # Outcomes of codes 0..4 for one map: satisfied, forward, done (nothing to do), toggle, satisfied.
    outcomes = jnp.array([SATISFIED, 2, DONE, TOGGLE, SATISFIED])[:, None]
    plans = jnp.array([[[0, 1, 3], [1, 0, 3], [0, 4, 3], [0, 4, 0], [2, 1, 3], [0, 2, 1]]])
    np.testing.assert_array_equal(walk(plans, outcomes), [[2, 2, TOGGLE, DONE, DONE, DONE]])


def test_labels_do_not_depend_on_what_is_not_known(draw, teacher_of, key):
    """The hidden rest of the board may be anything."""
    name = "ColoredDoorKey"
    task = get_task(name)
    world = draw(name, key, 64)
    other = jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), world)
    hidden = world.replace(cells=jnp.where(world.seen, world.cells, other.cells))
    label = lambda world: guide(task, teacher_of(name), jax.vmap(rules.know)(world)).distribution  # noqa: E731
    np.testing.assert_array_equal(label(world), label(hidden))


# Success on many boards: task -> success and its band, return and its band, at 8,000 boards (REFERENCE facts)
BANDS = {
    "SimpleDoorKey": (1.000, 0.005, 0.865, 0.010),
    "LavaDoorKey": (0.573, 0.025, 0.502, 0.025),
    "ColoredDoorKey": (0.611, 0.025, 0.442, 0.025),
    "DivergedDoorKey": (0.080, 0.020, 0.063, 0.020),
}


def measure(name, table, number, seed=0):
    """Success, return and length of the soft teacher, on boards of the whole distribution."""
    task = get_task(name)
    env = task.make()

    @jax.jit
    def run(key):
        board_key, play_key = jax.random.split(key)
        boards = jax.vmap(env.initial)(jax.random.split(board_key, number))
        return play_boards(env, teacher_policy(task, table), (), play_key, boards)

    episodes = run(jax.random.key(seed))
    return tuple(float(jnp.mean(part)) for part in (episodes.success, episodes.reward, episodes.length))


def test_the_soft_teacher_succeeds_as_often_as_the_reference(paper_task, teacher_of):
    number = 1_500
    success, reward, length = measure(paper_task, teacher_of(paper_task), number)
    expected, band, pays, pay_band = BANDS[paper_task]
    chance = 4 * np.sqrt(expected * (1 - expected) / number)  # four standard errors of fewer boards
    assert success == pytest.approx(expected, abs=max(band, chance))
    assert reward == pytest.approx(pays, abs=max(pay_band, chance))
    assert 0 < length <= 150


@pytest.mark.slow
def test_the_soft_teacher_succeeds_as_often_as_the_reference_on_8000_boards(paper_task, teacher_of, record_property):
    success, reward, length = measure(paper_task, teacher_of(paper_task), 8_000, seed=1)
    for name, value in (("success", success), ("return", reward), ("length", length)):
        record_property(name, round(value, 4))
    expected, band, pays, pay_band = BANDS[paper_task]
    assert success == pytest.approx(expected, abs=band)
    assert reward == pytest.approx(pays, abs=pay_band)


@pytest.mark.parametrize("size", [5, 6, 8, 16])
def test_the_hand_written_teacher_solves_minigrids_own(size, teacher_of):
    name = f"DoorKey-{size}x{size}"
    success, reward, _ = measure(name, teacher_of(name), 256)
    assert success >= 0.99 and reward > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("size", [5, 6, 8, 16])
def test_the_hand_written_teacher_solves_minigrids_own_on_thousands(size, teacher_of, record_property):
    name = f"DoorKey-{size}x{size}"
    success, reward, length = measure(name, teacher_of(name), 2_000, seed=1)
    for label, value in (("success", success), ("return", reward), ("length", length)):
        record_property(label, round(value, 4))
    assert success >= 0.99
