"""A recurrent student of MiniGrid's own view: trained, evaluated, exported, loaded, pickled, played on MiniGrid."""

import json
import pickle
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from small_runs import lines, saved_run

import l4t_jax
from l4t_jax import run
from l4t_jax.config import ConfigError
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import from_observation
from l4t_jax.evaluate import main
from l4t_jax.export import export

pytestmark = pytest.mark.usefixtures("compiled_once")
SMALL = (
    "--env DoorKey-5x5 --observation view --student lstm --num-envs 4 --num-steps 8 --minibatches 2 --epochs 1 "
    "--hidden 8 --total-steps 96 --warmup-updates 0 --evaluations 2 --validation-levels 8 --heldout-levels 8 "
    "--level-pool 16"
)


@pytest.fixture(scope="module")
def viewer(compiled_once: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of a few updates, made by the command."""
    folder = tmp_path_factory.mktemp("view") / "run"
    assert run.main([*SMALL.split(), "--run-dir", str(folder)]) == 0
    return folder


def states(student: l4t_jax.Student, number: int) -> Any:
    return jax.vmap(make_env(student.task).initial)(jax.random.split(jax.random.key(5), number))


def one(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def test_the_run_learns_from_views_and_its_teacher_from_maps(viewer: Path) -> None:
    config = json.loads((viewer / "config.json").read_text())
    assert (config["observation"], config["student"], config["hidden"]) == ("view", "lstm", 8)
    first = lines(viewer)[0]["train"]
    assert first["distill_weight"] > 0 and first["unguided"] == [0.0] and first["grad_norm"][0] > 0
    assert (viewer / "report.html").is_file() and (viewer / "student.gif").is_file()


@pytest.mark.slow
def test_it_is_evaluated_again_and_on_maps_of_other_sizes(viewer: Path, capfd: pytest.CaptureFixture[str]) -> None:
    summary = json.loads((viewer / "summary.json").read_text())
    assert l4t_jax.evaluate(viewer)["seeds"]["length"] == summary["heldout"]["student"]["length"]
    assert main([str(viewer), "--env", "DoorKey-8x8", "--levels", "8", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["task"] == "DoorKey-8x8"
    with pytest.raises(ConfigError, match="its network is made for maps of 7 x 7, not 3 x 3"):
        l4t_jax.evaluate(viewer, env="SimpleDoorKey")  # whose view is 3 cells wide


def test_it_plays_minigrid_as_it_plays_in_jax(viewer: Path) -> None:
    pytest.importorskip("minigrid")
    from l4t_jax.evaluation import playing, simulator
    from l4t_jax.saved import open_run, player

    saved = open_run(viewer, "last")
    players, params = player(saved).players, one(saved.params, 0)
    key, seeds = jax.random.key(3), simulator.test_seeds(saved.task, 6)
    there = simulator.Player(players, 6).play(params, key, seeds)
    levels = simulator.levels(saved.task, seeds)
    here = jax.device_get(jax.jit(lambda: playing.play_student(players, params, key, levels))())
    np.testing.assert_array_equal(there.length, here.length)
    np.testing.assert_array_equal(there.success, here.success)
    assert len(set(there.length.tolist())) > 1


@pytest.mark.slow
def test_a_loaded_student_is_pickled_with_what_it_remembers(viewer: Path) -> None:
    student = l4t_jax.load_student(viewer)
    seen = [student.observe(one(states(student, 8), i)) for i in range(8)]
    student.act(seen[0])
    again = pickle.loads(pickle.dumps(student))
    rest = [np.asarray(student.logits(step)) for step in seen[1:]]
    np.testing.assert_array_equal([np.asarray(again.logits(step)) for step in seen[1:]], rest)
    again.reset()
    assert (np.asarray(again.logits(seen[1])) != rest[0]).any()  # it had remembered


def test_the_exported_student_reads_farama_images(viewer: Path, tmp_path: Path) -> None:
    import jax.export

    minigrid = pytest.importorskip("l4t_jax.envs.minigrid")
    file, card = export(viewer, tmp_path / "student.jaxexport")
    assert card["observation"]["shape"] == ["b", 7, 7, 3] and "the agent is at (3, 6)" in card["observation"]["layout"]
    assert (card["observation"]["name"], card["memory"]) == ("view", 32)
    exported = jax.export.deserialize(bytearray(file.read_bytes()))
    env, student = minigrid.make("DoorKey-5x5").unwrapped, l4t_jax.load_student(viewer)
    obs, _ = env.reset(seed=1)
    memory, starts = np.zeros((1, 32), np.float32), np.ones(1, bool)
    for action in (1, 2, 3, 1, 5, 2):
        logits, memory = exported.call(obs["image"][None], memory, starts)
        np.testing.assert_allclose(logits[0], student.logits(obs["image"]), rtol=1e-4, atol=1e-5)
        obs, *_ = env.step(action)
        starts[:] = False
    assert "observations: uint8[B, 7, 7, 3]" in card["load"]


def test_what_does_not_fit_is_refused(viewer: Path) -> None:
    student = l4t_jax.load_student(viewer)
    with pytest.raises(
        ValueError, match=r"^an observation \(`view`\) of DoorKey-5x5 has shape \(7, 7, 3\), not \(5, 5, 4\)$"
    ):
        student.act(np.zeros((5, 5, 4), np.uint8))
    with pytest.raises(ValueError, match=r"has shape MemoryMap\(cells=\(7, 7\)"):
        student.act(from_observation(np.full((5, 5, 4), 4, np.uint8), np.full(2, -1, np.int8)))


@pytest.mark.slow
def test_students_of_tasks_with_missions_are_exported_too(tmp_path: Path) -> None:
    import jax.export

    config = saved_run(tmp_path / "run", "ego", hidden=8, env="GoToObject-6x6-N2", algo="ppo", observation="view")
    assert config.observation == "view"
    file, card = export(tmp_path / "run")
    exported = jax.export.deserialize(bytearray(file.read_bytes()))
    student = l4t_jax.load_student(tmp_path / "run")
    seen = [student.observe(one(states(student, 3), i)) for i in range(3)]
    arrays = dict(
        map=np.stack([np.zeros((7, 7, 3), np.uint8) for _ in seen]),
        mission=np.stack([np.asarray(step.mission) for step in seen]),
    )
    logits, _ = exported.call(arrays, np.zeros((3, card["memory"]), np.float32), np.ones(3, bool))
    for i in range(3):
        student.reset()
        np.testing.assert_allclose(logits[i], student.logits(one(arrays, i)), rtol=1e-4, atol=1e-5)
    assert "len(observations['map'])" in card["load"] and set(card["observation"]["mission"]) == {"colour", "kind"}
    with pytest.raises(ValueError, match=r"has shape {'map': "):
        student.act(arrays["map"][0])
