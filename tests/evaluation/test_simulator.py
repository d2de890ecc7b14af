"""Students on Farama's minigrid: the same episodes as in JAX on the same levels, and the refusals."""

import builtins
import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax import api, files
from l4t_jax.config import Config, ConfigError
from l4t_jax.envs import get_task
from l4t_jax.envs.levels import in_split
from l4t_jax.evaluate import main
from l4t_jax.evaluation import playing, simulator
from l4t_jax.reporting import run_folder
from l4t_jax.training import checkpoint
from l4t_jax.training.trainer import Trainer

pytest.importorskip("minigrid")
ROOT = Path(__file__).parents[2]
TINY = Config(env="DoorKey-5x5", num_envs=2, num_steps=2, minibatches=1, total_steps=4, hidden=8, num_seeds=2)


def untrained(config: Config) -> tuple[Trainer, Any]:
    """The trainer of a config, and its state before the first update, leading axis seeds."""
    trainer = Trainer.create(config)
    keys = jax.random.split(jax.random.key(0), trainer.config.num_seeds)
    return trainer, jax.device_get(jax.jit(trainer.init_seeds)(keys))


@pytest.fixture(scope="module")
def built() -> tuple[Trainer, Any]:
    return untrained(TINY)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, built: tuple[Trainer, Any]) -> Path:
    """A run folder with two untrained students."""
    trainer, state = built
    folder = tmp_path_factory.mktemp("runs") / "untrained"
    folder.mkdir()
    files.write_json(folder / run_folder.CONFIG, dataclasses.asdict(trainer.config))
    kept = checkpoint.Checkpoints(folder, trainer.config)
    kept.save(0, state, state.params, {})
    kept.close()
    return folder


# Students over skills get somewhere untrained, and need to know where their carried came from.
@pytest.mark.parametrize("algo", ["l4t", pytest.param("hrl", marks=pytest.mark.slow)])
def test_a_student_plays_minigrid_as_it_plays_in_jax(algo: Any, built: tuple[Trainer, Any]) -> None:
    trainer, state = (
        built if algo == "l4t" else untrained(dataclasses.replace(TINY, env="LavaDoorKey", algo="hrl", num_seeds=1))
    )
    params, key = jax.tree.map(lambda leaf: leaf[0], state.params), jax.random.key(3)  # 5 of 24 succeed at random
    seeds = simulator.test_seeds(trainer.task, 24)
    levels = simulator.levels(trainer.task, seeds)
    assert bool(in_split(levels, "test").all()) and len(set(seeds)) == 24
    player = simulator.Player(trainer.players, 24)
    carry, policy = trainer.policy(params, key, jnp.arange(24))
    here = jax.device_get(jax.jit(lambda: playing.play(trainer.env, policy, carry, key, levels))())
    there = player.play(params, key, seeds)
    np.testing.assert_array_equal(there.success, here.success)
    np.testing.assert_array_equal(there.length, here.length)
    np.testing.assert_allclose(there.reward, here.reward, atol=1e-6)
    assert 2 <= here.success.sum() <= 22  # they tell apart


def test_where_the_carried_object_came_from() -> None:
    env = simulator.make(get_task("SimpleDoorKey"))
    env.reset(seed=0)
    cells, _ = env.layout()
    cells[cells[..., 0] == 5] = (1, 0, 0)
    cells[2, 1] = (5, 4, 0)
    before = env.load_layout(cells, (1, 1, 0))
    after = env.step(simulator.PICKUP)[0]
    nowhere = np.full(2, -1)
    np.testing.assert_array_equal(simulator._pickup_position(before, after, simulator.PICKUP, nowhere), (2, 1))
    turned = env.step(1)[0]
    np.testing.assert_array_equal(simulator._pickup_position(after, turned, 1, np.array([2, 1])), (2, 1))
    np.testing.assert_array_equal(simulator._pickup_position(turned, before, 4, np.array([2, 1])), -1)


def test_evaluate_measures_every_student_on_minigrid(saved: Path) -> None:
    found = api.evaluate(saved, simulator="minigrid", levels=6)
    assert (found["simulator"], found["levels"], found["task"]) == ("minigrid", 6, "DoorKey-5x5")
    assert len(found["seeds"]["length"]) == len(found["greedy"]["length"]) == 2
    assert found["length"] == pytest.approx(np.mean(found["seeds"]["length"]))


def test_one_can_watch(saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from minigrid.minigrid_env import MiniGridEnv

    drawn: list[Any] = []
    render = MiniGridEnv.render
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr(MiniGridEnv, "render", lambda self: (drawn.append(self.render_mode), render(self))[1])
    monkeypatch.setitem(MiniGridEnv.metadata, "render_fps", 10_000)
    assert main([str(saved), "--simulator", "minigrid", "--watch", "--levels", "2"]) == 0
    out, err = capsys.readouterr()
    assert err.count("level ") == 2 and "after" in err
    assert "2 held-out levels of Farama's minigrid" in out and "greedy" not in out
    assert len(drawn) > 20 and set(drawn) == {"human"}


def test_what_cannot_be_is_said_in_one_sentence(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="add `simulator=minigrid`"):
        api.evaluate(saved, watch=print)
    own = dataclasses.replace(get_task("SimpleDoorKey"), name="Mine")
    with pytest.raises(ConfigError, match="Mine is not one of MiniGrid's; these are: SimpleDoorKey"):
        simulator.make(own)
    load = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "l4t_jax.envs" and "minigrid" in (args[2] or ()):
            raise ModuleNotFoundError("No module named 'gymnasium'", name="gymnasium")
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="needs the extra 'minigrid': gymnasium is not installed"):
        simulator.make(get_task("SimpleDoorKey"))


@pytest.mark.slow
def test_students_succeed_on_minigrid_as_often_as_in_jax(paper_task: str, tmp_path: Path) -> None:
    """Trained with the default settings, 1,000 levels of each simulator; the two samples' difference is judged."""
    spec = importlib.util.spec_from_file_location("minigrid_simulator", ROOT / "benchmarks" / "minigrid_simulator.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = script.compare(Config(env=paper_task), tmp_path / "run")
    _, low, high = found["difference"]
    assert low <= 0 <= high
    assert found["same_levels"]["equal_episodes"] == 1000
    assert found["minigrid"]["success"] > 0.95
