"""`run --env ID --algo ppo --total-steps 20000` ends well for every id, and for the environments that users bring.

By the command, with few parallel environments and few levels.
"""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from imported import environments
from reporting import row_of

from l4t_jax import run
from l4t_jax.config import Config
from l4t_jax.envs import get_task, list_tasks
from l4t_jax.imported import import_environment
from l4t_jax.training import compilation, programs
from l4t_jax.training.trainer import Trainer

STEPS = 20_000
SMALL = (
    f"--algo ppo --total-steps {STEPS} --num-envs 32 --num-steps 16 --epochs 1 --minibatches 2 --hidden 16 "
    "--evaluations 2 --validation-levels 16 --heldout-levels 16 --level-pool 64 --devices 1 --json"
).split()
Captured = pytest.CaptureFixture[str]
ONE_EACH = {get_task(name).family: name for name in reversed(list_tasks())}  # the first of each family


@pytest.mark.parametrize("name", ONE_EACH.values())
def test_the_updates_of_a_task_of_each_family_end_well(name: str) -> None:
    """The compiled programs of a run that is as small as can be; the slow tier runs the command on every task."""
    config = Config(
        env=name, algo="ppo", teacher="none", student="cnn", hidden=8, num_envs=4, num_steps=8, minibatches=2,
        epochs=1, level_pool=8, total_steps=64, devices=1,
    )  # fmt: skip
    compiled = compilation.compile_all(programs.training_programs(Trainer.create(config), None, 1))
    state = compiled["init"](jnp.int32(0))
    for update in (1, 2):  # a block takes the state that it gave
        state, metrics = compiled["block"](state, None, jnp.int32(1))
        assert int(state.updates) == update
        for loss in ("policy_loss", "value_loss", "entropy"):
            assert np.isfinite(metrics[loss]).all() and np.any(metrics[loss] != 0)


def ends_well(folder: Path, capfd: Captured, *words: str) -> dict[str, Any]:
    """Runs the command; what its summary says, for the table of results."""
    assert run.main([*words, *SMALL, "--run-dir", str(folder)]) == 0
    out, err = capfd.readouterr()
    summary = json.loads(out)
    assert "Traceback" not in err and summary == json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert STEPS <= summary["total_steps"] < STEPS + 32 * 16
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["steps"] for record in records][-1] == summary["total_steps"] and len(records) == 2
    for record in records:
        assert all(np.isfinite(record["train"][loss]).all() for loss in ("policy_loss", "value_loss", "entropy"))
    (success,) = summary["heldout"]["student"]["success"]
    assert 0 <= success <= 1
    return dict(task=summary["task"], steps=summary["total_steps"], success=success)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_tasks())
def test_a_run_of_every_task_ends_well(name: str, tmp_path: Path, capfd: Captured) -> None:
    with row_of("runs", name, (".",)) as row:
        row.update(family=get_task(name).family or "LLM4Teach", **ends_well(tmp_path / "run", capfd, "--env", name))


@pytest.mark.slow
@pytest.mark.parametrize("gym_id", environments.WITHIN)
def test_a_run_of_an_environment_of_a_user_ends_well(gym_id: str, tmp_path: Path, capfd: Captured) -> None:
    with row_of("runs-of-users-environments", gym_id, (".",)) as row:
        import_environment(gym_id, levels=100, steps=1500)  # the command takes what is kept
        words = ["--env", f"minigrid:{gym_id}", "--import", environments.__file__]
        row.update(ends_well(tmp_path / "run", capfd, *words))


@pytest.mark.slow
@pytest.mark.parametrize("gym_id", environments.REFUSED)
def test_a_run_of_what_no_rule_does_is_refused_in_one_sentence(gym_id: str, tmp_path: Path, capfd: Captured) -> None:
    words = ["--env", f"minigrid:{gym_id}", "--import", environments.__file__, *SMALL]
    with row_of("runs-of-users-environments", gym_id, (".",)) as row:
        assert run.main([*words, "--run-dir", str(tmp_path / "run")]) == 2
        out, err = capfd.readouterr()
        said = [line for line in err.splitlines() if line.startswith("error: ")]
        assert out == "" and len(said) == 1 and err.rstrip().endswith(said[0]) and "Traceback" not in err
        assert not (tmp_path / "run").exists()
        row.update(refused=said[0].removeprefix("error: "))
