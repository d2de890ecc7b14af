"""A student to take away: the exported file gives the original's logits, where `l4t_jax` cannot be imported."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import saved_run

import l4t_jax
from l4t_jax import files
from l4t_jax.config import ConfigError
from l4t_jax.envs.state import as_observation
from l4t_jax.export import export, main
from l4t_jax.reporting import run_folder

MAPS = 1000
# A stranger's program: what the card says, after `l4t_jax` was made impossible to import. Three steps of an episode.
STRANGER = """
import sys
sys.modules["l4t_jax"] = None
import numpy as np
observations = np.load("maps.npy")
{load}
assert not any(name.startswith(("l4t_jax.", "flax", "navix")) for name in sys.modules)
found = [np.asarray(logits)]
starts[:] = False
starts[::7] = True
for _ in range(2):
    logits, memory = student.call(observations[::-1], memory, starts)
    found.append(np.asarray(logits))
one, _ = student.call(observations[:1], np.zeros((1, card["memory"]), np.float32), np.ones(1, bool))
np.testing.assert_allclose(one[0], found[0][0], rtol=1e-5, atol=1e-6)
np.save("logits.npy", np.stack(found))
"""


LATER = [pytest.param(name, marks=pytest.mark.slow) for name in ("cnn", "lstm", "gru")]


@pytest.mark.parametrize("student", ["ego", *LATER])
def test_the_exported_student_gives_the_logits_of_the_original_without_the_package(
    student: str, random_known: Callable[..., Any], rng: np.random.Generator, tmp_path: Path
) -> None:
    saved_run(tmp_path / "run", student, hidden=24)
    loaded = l4t_jax.load_student(tmp_path / "run", seed=1)
    memory = random_known(rng, (loaded.task.width, loaded.task.height), MAPS, True)
    maps = np.asarray(as_observation(memory))
    file, card = export(tmp_path / "run", seed=1)
    assert file == tmp_path / "run" / "student.jaxexport"
    assert json.loads(file.with_suffix(".json").read_text()) == card
    np.save(tmp_path / "run" / "maps.npy", maps)
    program = STRANGER.format(load=card["load"])
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path / "run", env=env, check=True, timeout=300)
    found = np.load(tmp_path / "run" / "logits.npy")

    def original(carry: Any, maps: Any, starts: Any) -> tuple[Any, Any]:
        from l4t_jax.agents.policy import one_step
        from l4t_jax.envs.state import from_observation

        seen = from_observation(maps, jnp.full((MAPS, 2), -1, jnp.int8))
        return one_step(loaded.network, loaded.params, carry, seen, starts)

    step, carry, starts = jax.jit(original), loaded.network.initial_carry(MAPS), np.ones(MAPS, bool)
    wanted = []
    for _ in range(3):
        carry, logits = step(carry, maps, starts)
        wanted.append(np.asarray(logits))
        maps = maps[::-1] if len(wanted) == 1 else maps
        starts = np.arange(MAPS) % 7 == 0
    np.testing.assert_allclose(found, np.stack(wanted), rtol=2e-5, atol=2e-6)
    assert np.ptp(found[0], axis=0).min() > 0.01  # the maps are told apart
    first = np.asarray(as_observation(memory))
    for i in range(3):  # and `load_student` says the same, map by map
        loaded.reset()
        np.testing.assert_allclose(loaded.logits(first[i]), found[0, i], rtol=2e-5, atol=2e-6)
    remembers = np.abs(found[1] - found[2])[np.arange(MAPS) % 7 != 0].max() > 1e-6
    assert remembers == (student != "cnn") == (card["memory"] > 0)


def test_the_card_says_what_it_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    saved_run(tmp_path / "run", "ego", hidden=16)
    summary = {
        "algo": "l4t", "total_steps": 32, "teacher": "none",
        "heldout": {
            "levels": 24, "teacher": None, "random": {"success": 0.0},
            "student": {"success": [0.25, 0.5], "greedy": {"success": [0.0, 0.125]}},
        }
    }  # fmt: skip
    files.write_json(tmp_path / "run" / run_folder.SUMMARY, summary)
    out = tmp_path / "mine.bin"
    assert main([str(tmp_path / "run"), "--seed", "1", "--out", str(out), "--json"]) == 0
    card = json.loads(capfd.readouterr().out)
    assert out.is_file() and json.loads((tmp_path / "mine.json").read_text()) == card
    assert card["task"] == "SimpleDoorKey" and card["platforms"] == ["cpu", "cuda", "tpu"]
    assert card["heldout"]["sampled"] == {"success": 0.5} and card["heldout"]["greedy"] == {"success": 0.125}
    assert card["observation"]["shape"] == ["b", 10, 10, 4] and card["actions"]["5"] == "toggle"
    assert card["versions"]["jax"] == jax.__version__
    assert main([str(tmp_path / "run"), "--checkpoint", "best", "--out", str(out)]) == 0
    assert json.loads((tmp_path / "mine.json").read_text())["heldout"] is None  # those figures are the last parameters'
    assert "export.deserialize" in capfd.readouterr().out


def test_what_cannot_be_exported_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved_run(tmp_path / "run", "ego", hidden=16, algo="hrl")
    with pytest.raises(ConfigError, match="chooses skills"):
        export(tmp_path / "run")
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "there is no folder" in capsys.readouterr().err
