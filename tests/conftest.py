"""What every test shares: JAX on two fake CPU devices, random keys, memory maps and played episodes to test on.

JAX must be told before it starts, so this file sets it up on import. Compiled programs are kept for as long as the
tests run, for all workers and for the processes that tests start: a test's time is then the same in a fresh clone.
"""

import os
import tempfile

# The folder of the compiled programs: workers are told by the process that starts them, which removes it in the end.
os.environ["L4T_TEST_PROGRAMS"] = os.environ.get("L4T_TEST_PROGRAMS") or tempfile.mkdtemp(prefix="l4t-programs-")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "true"
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["L4T_TEST_PROGRAMS"]
os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(4 << 30)  # with a limit, jax locks the folder
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
# Most of the suite's time is compiling, and this takes the most off it (of 136 s of processor time level 1 took, 0 took
# 103); the programs are small enough to run as they are.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import contextlib
import dataclasses
import gc
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jax

if os.environ["JAX_PLATFORMS"] == "cpu":
    jax.config.update("jax_num_cpu_devices", 2)

import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax import extensions
from l4t_jax.agents import observations
from l4t_jax.agents.algorithms import base as algorithms
from l4t_jax.agents.students import base as students
from l4t_jax.envs import GridTask, Task, get_task, registry
from l4t_jax.envs.cells import (
    BALL,
    BOX,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    DROP,
    EMPTY,
    FORWARD,
    KEY,
    LEFT,
    NUM_ACTIONS,
    PICKUP,
    RIGHT,
    TOGGLE,
    kind_of,
    one_of,
)
from l4t_jax.envs.dynamics import front_of
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import MemoryMap, State
from l4t_jax.envs.visibility import know
from l4t_jax.imported import rules
from l4t_jax.skills import base as skills
from l4t_jax.teacher import backends, file
from l4t_jax.teacher.policy import TeacherTable, teacher_output

pytest_plugins = ["small_runs"]  # its fixtures

gc.set_threshold(50_000, 20, 10)  # looking for cycles of garbage took 7 % of the time of three test files

PAPER_TASKS = ("SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "DivergedDoorKey")
STOCK_TASKS = tuple(f"DoorKey-{size}x{size}" for size in (5, 6, 8, 16))
ALL_TASKS = PAPER_TASKS + STOCK_TASKS


@pytest.fixture(scope="session", autouse=True)
def kept_levels(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Levels of environments that are brought in are kept for the tests alone."""
    os.environ["L4T_LEVELS"] = str(tmp_path_factory.mktemp("levels"))


# Fixtures of a module that take long to set up -> what those share that use the same programs.
COSTLY = {name: name for name in ("trained", "rolled", "scripted", "built", "viewer", "tiny")} | {"unbroken": "tiny"}


LONGEST = {
    "test_a_run_killed_at_a_random_moment_comes_to_the_same_end", "test_a_notebook_runs_top_to_bottom",
    "test_two_seeds_are_the_same_on_one_device_and_on_four",
    "test_an_example_is_short_and_runs_by_the_command_and_from_python",
}  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps on one worker (`--dist loadgroup`) what shares compiled programs: a task, a costly fixture.

    What takes longest begins first, so that in the end no worker waits for the other.
    """
    items.sort(key=lambda item: item.name.split("[")[0] not in LONGEST)
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        name = parameters.get("task_name", parameters.get("paper_task"))
        name = next((COSTLY[costly] for costly in COSTLY if costly in getattr(item, "fixturenames", ())), name)
        if name is not None:
            item.add_marker(pytest.mark.xdist_group(name))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes the compiled programs, once all workers have ended."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["L4T_TEST_PROGRAMS"], ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`task_name` runs over every task, `paper_task` over the paper's four."""
    if "task_name" in metafunc.fixturenames:
        metafunc.parametrize("task_name", ALL_TASKS)
    if "paper_task" in metafunc.fixturenames:
        metafunc.parametrize("paper_task", PAPER_TASKS)


@pytest.fixture
def no_silent_broadcast() -> Iterator[None]:
    """Arrays of different rank are an error within the test: for the code that takes no leading batch axes."""
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def key() -> jax.Array:
    """A random key, the same in every run."""
    return jax.random.key(20231113)


@pytest.fixture
def rng() -> np.random.Generator:
    """NumPy's generator, the same in every run."""
    return np.random.default_rng(20231113)


REGISTRIES: tuple[dict[Any, Any], ...] = (
    registry._TASKS, registry._ALIASES, skills._SKILLS, observations._OBSERVATIONS, students._STUDENTS,
    algorithms._ALGORITHMS, backends._OPENERS, rules.RULES, extensions._LOADED, extensions._OWNERS,
)  # fmt: skip


@contextlib.contextmanager
def forgetting() -> Iterator[None]:
    """Forgets what is registered and loaded within."""
    before, path = [dict(one) for one in REGISTRIES], list(sys.path)
    try:
        yield
    finally:
        for one, old in zip(REGISTRIES, before, strict=True):
            one.clear()
            one.update(old)
        sys.path[:] = path


@pytest.fixture
def own_tasks() -> Iterator[None]:
    """Forgets what a test registers and loads: tasks, skills, students, algorithms, backends, extension files."""
    with forgetting():
        yield


@cache
def shipped_table(name: str) -> TeacherTable:
    """The task's own teacher, as arrays: not as tracers, though a test may ask for it first within a jit."""
    task = get_task(name)
    with jax.ensure_compile_time_eval():
        return file.to_table(task, file.shipped(task))


@pytest.fixture(scope="session")
def teacher_of() -> Callable[[str], TeacherTable]:
    return shipped_table


# Known maps that no room ever gives


def random_known_maps(rng: np.random.Generator, size: tuple[int, int], number: int, inside: bool) -> MemoryMap:
    """Random memory maps: any code anywhere, walls and unseen cells in every density, half of them with runs of walls.

    Args:
        rng: generator.
        size: width and height.
        number: how many.
        inside: whether the agent keeps off the outermost cells.
    """
    width, height = size
    kinds = np.array([0, 1, 2, 8, 9, KEY, BALL, BOX, DOOR_OPEN, DOOR_CLOSED, DOOR_LOCKED])
    cells = np.empty((number, width, height), np.uint8)
    for i in range(number):
        weight = np.array([*rng.dirichlet([0.5, 2.0, 1.0, 0.2, 0.2]), *(rng.dirichlet([1] * 6) * rng.choice([0, 0.3]))])
        drawn = rng.choice(kinds, (width, height), p=weight / weight.sum())
        for _ in range(rng.integers(0, 6) if i % 2 else 0):  # runs of walls, unseen or empty cells, to walk around
            x, y = rng.integers(0, width), rng.integers(0, height)
            what = rng.choice([0, 1, 2])
            if rng.random() < 0.5:
                drawn[x : x + rng.integers(1, width), y] = what
            else:
                drawn[x, y : y + rng.integers(1, height)] = what
        colour = np.where(np.isin(drawn, [0, 1, 9]), 0, np.where(drawn == 2, 5, rng.integers(0, 6, drawn.shape)))
        cells[i] = drawn | colour << 4
    edge = int(inside)
    x, y = rng.integers(edge, width - edge, number), rng.integers(edge, height - edge, number)
    agent = np.stack([x, y, rng.integers(0, 4, number)], axis=-1).astype(np.int8)
    holds = rng.random(number) < 0.3
    carrying = np.where(holds, KEY | rng.integers(0, 6, number) << 4, 0).astype(np.uint8)
    cells[np.arange(number), x, y] = np.where(holds, carrying, EMPTY)
    lay = np.stack([rng.integers(0, width, number), rng.integers(0, height, number)], axis=-1)
    pickup_position = np.where(holds[:, None], lay, -1)
    return MemoryMap(
        cells=jnp.asarray(cells),
        agent=jnp.asarray(agent),
        carrying=jnp.asarray(carrying),
        pickup_position=jnp.asarray(pickup_position, jnp.int8),
    )


@pytest.fixture(scope="session")
def random_known() -> Callable[..., MemoryMap]:
    return random_known_maps


# Episodes played in our environments


@dataclasses.dataclass(frozen=True)
class Played:
    """What was played, as NumPy arrays: `known` (T + 1, N), the rest (T, N). Environments play on after their
    episode's end.

    Attributes:
        known: what the agent knows before each step, and after the last.
        action, reward, terminated, truncated: of each step.
    """

    memory: MemoryMap
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    def live(self) -> np.ndarray:
        """`bool[T, N]`: steps up to and with the one that ends the environment's episode."""
        done = self.terminated | self.truncated
        return np.cumsum(done, axis=0) - done == 0


def _seek(env_state: State) -> jax.Array:
    """Logits of a driver that meddles with whatever is ahead of it."""
    ahead = kind_of(front_of(env_state)[1])
    thing, door = one_of(ahead, KEY, BALL, BOX), one_of(ahead, DOOR_OPEN, DOOR_CLOSED, DOOR_LOCKED)
    logits = jnp.zeros(NUM_ACTIONS).at[jnp.array([LEFT, RIGHT, FORWARD])].set(jnp.array([1.5, 1.5, 3.0]))
    logits = logits.at[PICKUP].add(jnp.where(thing, 4.0, 0.0))
    logits = logits.at[TOGGLE].add(jnp.where(door, 4.0, jnp.where(thing, 1.5, 0.0)))
    return logits.at[DROP].add(jnp.where(env_state.carrying != 0, 1.0, 0.0))


@cache
def _player(name: str, steps: int) -> tuple[GridTask, Callable[..., Any]]:
    """The task's environment, and a function that plays `steps` steps of every environment."""
    task = get_task(name)
    env = make_env(task)

    def step(carry: tuple[State, jax.Array, jax.Array, TeacherTable], key: jax.Array) -> tuple[Any, Any]:
        env_state, t, driver, table = carry
        memory = jax.vmap(know)(env_state)
        guided = jnp.log(teacher_output(task, table, memory).distribution + 1e-9)
        uniform = jnp.zeros_like(guided)
        mixed_key, action_key = jax.random.split(key)
        mixed = jnp.where(jax.random.bernoulli(mixed_key, 0.2, t.shape)[:, None], uniform, guided)
        which = driver[:, None]
        logits = jnp.select([which == 0, which == 1, which == 2], [uniform, jax.vmap(_seek)(env_state), guided], mixed)
        action = jax.random.categorical(action_key, logits).astype(jnp.int32)
        after, out = jax.vmap(env.transition)(env_state, t, action)
        return (after, t + 1, driver, table), (memory, action, out.reward, out.terminated, out.truncated)

    def play(env_state: State, t: jax.Array, driver: jax.Array, table: TeacherTable, key: jax.Array) -> Any:
        (env_state, *_), rows = jax.lax.scan(step, (env_state, t, driver, table), jax.random.split(key, steps))
        last = jax.vmap(know)(env_state)
        memory = jax.tree.map(lambda row, end: jnp.concatenate([row, end[None]]), rows[0], last)
        return memory, *rows[1:]

    return env, jax.jit(play)


def _play(name: str, env_states: State, key: jax.Array, steps: int, start: np.ndarray | int = 0) -> Played:
    """Plays environments with four drivers in turn: random, meddling, the teacher, the teacher with random actions.

    Args:
        name: of the task.
        environments: leading axis N.
        key: random key.
        steps: T.
        start: the steps that each environment's episode has already taken, `int[N]`.
    """
    number = env_states.agent.shape[0]
    t = jnp.broadcast_to(jnp.asarray(start, jnp.int32), (number,))
    memory, *rows = _player(name, steps)[1](env_states, t, jnp.arange(number) % 4, shipped_table(name), key)
    return Played(jax.tree.map(np.asarray, memory), *(np.asarray(row) for row in rows))


@pytest.fixture(scope="session")
def play() -> Callable[..., Played]:
    return _play


@cache
def _drawer(task: Task) -> Callable[[jax.Array, int], State]:
    env = make_env(task)
    return jax.jit(lambda key, number: jax.vmap(env.initial)(jax.random.split(key, number)), static_argnums=1)


@pytest.fixture(scope="session")
def draw() -> Callable[[str, jax.Array, int], State]:
    """Environments at the start of an episode: task name, key, how many."""
    return lambda name, key, number: _drawer(get_task(name))(key, number)
