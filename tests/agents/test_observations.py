"""What students observe: MiniGrid's view as Farama shows it, and what a run does with an observation of one's own."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents.observations import MAP, VIEW, Observation, get_observation, register_observation
from l4t_jax.agents.rollout import begin, rollout
from l4t_jax.agents.students import make_student, register_student
from l4t_jax.agents.students.features import MOST_PLANES, number_of_planes
from l4t_jax.config import Config, ConfigError
from l4t_jax.envs import get_task, list_tasks
from l4t_jax.envs.cells import BALL, EMPTY, KEY, NUM_ACTIONS, encode_cells
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import State, as_observation
from l4t_jax.envs.task import DOORS, Role
from l4t_jax.kernels import PORTABLE
from l4t_jax.training.trainer import Trainer


def meddle(env: Any, rng: np.random.Generator) -> int:
    """An action by chance; where something lies or a door stands ahead, most often one that does something to it."""
    ahead = env.grid.get(*env.front_pos)
    if ahead is not None and ahead.type not in ("wall", "lava", "goal") and rng.random() < 0.7:
        return 5 if ahead.type == "door" else 3
    return int(rng.choice(5, p=[0.2, 0.15, 0.6, 0.0, 0.05]))


@pytest.mark.parametrize(
    ("name", "occludes", "carries"),
    [("DoorKey-6x6", True, True), ("PutNear-6x6-N2", False, True), ("KeyCorridorS3R2", True, True)],
)
def test_the_view_is_what_minigrid_shows(name: str, occludes: bool, carries: bool, rng: np.random.Generator) -> None:
    pytest.importorskip("minigrid")
    from l4t_jax.evaluation import farama

    task = get_task(name)
    env, images, levels, carried = farama.make(task.minigrid_id), [], [], []
    for seed in range(6):
        obs, _ = env.reset(seed=seed)
        for _ in range(60):
            images.append(obs["image"])
            levels.append(farama.read_level(env, task)._replace(contents=None))
            carried.append(farama.code_of(env.carrying) if env.carrying else 0)
            obs, _, terminated, truncated, _ = env.step(meddle(env, rng))
            if terminated or truncated:
                break
    cells, agent, mission, *_ = jax.tree.map(lambda *leaves: np.stack(leaves), *levels)
    nowhere = np.full((len(cells), 2), -1, np.int8)
    state = State(cells, np.zeros(cells.shape, bool), agent, np.asarray(carried, np.uint8), nowhere, mission)
    seen = VIEW.of(make_env(task))(state)
    theirs = np.stack(images)
    np.testing.assert_array_equal(seen.cells, encode_cells(jnp.asarray(theirs)))
    assert seen.cells.shape[1:] == (7, 7) and seen.targets is None and (np.asarray(seen.agent) == (3, 6, 3)).all()
    assert (seen.mission is None) == (task.mission is None)
    jax.tree.map(np.testing.assert_array_equal, (seen.mission, seen.carrying), (mission, state.carrying))
    assert (theirs[..., 0] == 0).any() == occludes and (theirs[:, 3, 6, 0] != EMPTY).any() == carries
    assert len(np.unique(theirs.reshape(len(theirs), -1), axis=0)) > 40


def test_a_view_of_another_width_turns_with_the_agent() -> None:
    """The paper's 3 x 3 window, on its own twin on MiniGrid."""
    minigrid = pytest.importorskip("l4t_jax.envs.minigrid")
    from l4t_jax.evaluation import simulator

    task, rng = get_task("SimpleDoorKey"), np.random.default_rng(0)
    env = minigrid.make(task.name)
    look, _ = env.reset(seed=3)
    states, images = [], []
    for _ in range(40):
        states.append((env.layout()[0], look, np.full(2, -1, np.int8)))
        images.append(env.unwrapped.gen_obs()["image"])
        look, *_ = env.step(meddle(env.unwrapped, rng))
    state = simulator.state_of(*(jnp.asarray(np.stack(part)) for part in zip(*states, strict=True)))
    mine = VIEW.of(make_env(task))(state)
    np.testing.assert_array_equal(mine.cells, encode_cells(jnp.asarray(np.stack(images))))
    assert mine.cells.shape == (40, 3, 3)


def test_maps_and_views_are_read_from_arrays() -> None:
    task = get_task("DoorKey-6x6")
    env = make_env(task)
    states = jax.vmap(env.initial)(jax.random.split(jax.random.key(0), 5))
    states = states.replace(carrying=states.carrying.at[0].set(KEY))
    for observation, shape in ((MAP, (6, 6, 4)), (VIEW, (7, 7, 3))):
        template = observation.template(env)
        plain = observation.as_arrays(template)
        assert (plain.shape, plain.dtype) == (shape, jnp.uint8)
        seen = observation.of(env)(states)
        array = as_observation(seen)[..., : shape[-1]]
        jax.tree.map(np.testing.assert_array_equal, observation.from_arrays(task, template, array), seen)
    put = make_env(get_task("PutNear-6x6-N2"))
    assert set(VIEW.as_arrays(VIEW.template(put))) == {"map", "mission"}


def test_a_view_knows_no_targets_and_students_tell_colours_apart_instead() -> None:
    marked = Role("target", (KEY, BALL), target=0), Role("door", DOORS, 2, target=1), Role("ball", (BALL,))
    task = dataclasses.replace(get_task("GoToObject-6x6-N2"), objects=marked)
    assert make_env(task).initial(jax.random.key(0)).targets is not None
    told = VIEW.network_task(task)
    assert (told.width, told.height) == (7, 7)
    assert [(role.kinds, role.colour, role.target) for role in told.objects] == [
        *(((kind,), colour, None) for kind in (KEY, BALL) for colour in range(6)),
        (DOORS, 2, None), ((BALL,), None, None),
    ]  # fmt: skip
    assert MAP.network_task(task) is task


def test_of_every_task_the_default_student_tells_the_views_objects_apart() -> None:
    for name in list_tasks():
        told = VIEW.network_task(get_task(name))
        assert number_of_planes(told) <= MOST_PLANES, name
        assert not any(role.target is not None or role.needs is not None for role in told.objects), name


@pytest.mark.parametrize("name", ["ego", "lstm", "gru"])
def test_students_read_the_mission(name: str) -> None:
    task = get_task("GoToObject-6x6-N2")
    student = make_student(name, VIEW.network_task(task), 8)
    state = make_env(task).initial(jax.random.key(0))
    seen = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf])[None], VIEW.observe(task, state, PORTABLE))
    reset, carry = jnp.ones((1, 2), bool), student.initial_carry(2)
    params = jax.jit(student.init)(jax.random.key(1), carry, seen, reset)
    other = seen.replace(mission=seen.mission.at[0, 1, 0].set((seen.mission[0, 1, 0] + 1) % task.mission.sizes[0]))
    _, _, value = student.apply(params, carry, other, reset)
    assert float(value[0, 0]) != float(value[0, 1])


def test_a_cut_episode_is_valued_by_the_observation_of_its_end(draw: Any) -> None:
    """And rollouts hold the memory map beside the view only where it was asked for."""
    task = get_task("SimpleDoorKey")
    env, pool = make_env(task), draw("SimpleDoorKey", jax.random.key(8), 16)
    weight = jnp.arange(1, 10, dtype=jnp.float32).reshape(3, 3)

    def worth(seen: Any) -> jax.Array:
        return jnp.sum(seen.cells * weight, axis=(-2, -1))

    def act(carry: Any, seen: Any, reset: jax.Array) -> Any:
        return carry, jnp.zeros((1, 16, NUM_ACTIONS)), worth(seen)

    envs = begin(jax.random.key(0), pool, 16, ())
    envs = envs.replace(t=jnp.where(jnp.arange(16) < 8, task.max_steps - 1, 0))
    play = functools.partial(rollout, env, act, jax.random.key(2), envs, pool, 1, observation=VIEW)
    _, rows = jax.jit(play)()
    then, _ = jax.vmap(env.transition)(envs.env_state, envs.t, rows.action[0])
    assert bool(rows.truncated[0, :8].all())
    np.testing.assert_allclose(rows.value[0], worth(VIEW.of(env)(envs.env_state)))
    np.testing.assert_allclose(rows.next_value[0], worth(VIEW.of(env)(then)))
    assert (np.asarray(rows.next_value) != np.asarray(rows.value)).any()
    known = jax.tree.map(lambda leaf: leaf[None], MAP.of(env)(envs.env_state))
    jax.tree.map(np.testing.assert_array_equal, rows.memory, known)
    assert jax.eval_shape(functools.partial(play, keep_memory=False))[1].memory is None


@pytest.fixture
def own(own_tasks: None) -> None:
    """An observation that is no map, `facing`, and a student of it."""
    register_observation(Observation("facing", lambda task, state, kernel: state.agent))
    register_student("facer", lambda **given: None, observation="facing")


@pytest.mark.usefixtures("own")
def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^`student=ego` reads maps, and `observation=facing` gives none"):
        Trainer.create(Config(observation="facing"))
    with pytest.raises(ConfigError, match=r"^`student=facer` reads `observation=facing`, not view$"):
        Trainer.create(Config(student="facer", observation="view"))
    with pytest.raises(ConfigError, match="did you mean view"):
        get_observation("veiw")
    with pytest.raises(ValueError, match="already an observation named map"):
        register_observation(dataclasses.replace(VIEW, name="map"))
    with pytest.raises(ValueError, match="cannot have a default for hiden, only for total_steps"):
        register_student("other", lambda **given: None, defaults=dict(hiden=3))
