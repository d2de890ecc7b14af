"""Environments of users brought in: their levels, their rules, and the proof that they are what they were."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
from imported import environments

import l4t_jax
from l4t_jax import errors, tasks
from l4t_jax import imported as bringing
from l4t_jax.envs import get_task
from l4t_jax.imported import store
from l4t_jax.reporting import progress

FEW: dict[str, Any] = dict(levels=40, steps=1500)
ENDINGS = {
    "MyRoom-v0": ("goal_reached", "lava_entered", 0),
    "MyLava-v0": ("goal_reached", "lava_entered", 0),
    "MyBurningLava-v0": ("goal_reached", "lava_entered", -1),
    "MyTwoRooms-v0": ("goal_reached", "lava_entered", 0),
    "MyKeyInBox-v0": ("target_opened", "lava_entered", 0),
    "MyPickUp-v0": ("target_picked", "lava_entered", 0),
    "MyPickUpStrict-v0": ("target_picked", "other_picked", 0),
    "MySayDone-v0": ("done_facing_target", "done_not_facing", 0),
    "MyDoors-v0": ("target_opened", "lava_entered", 0),
    "MyManyRooms-v0": ("goal_reached", "lava_entered", 0),
    "MyTiles-v0": ("floor_reached", "lava_entered", 0),
    "MyThreeActions-v0": ("goal_reached", "lava_entered", 0),
    "MyOneLevel-v0": ("goal_reached", "lava_entered", 0),
}
QUICK = ("MyBurningLava-v0", "MySayDone-v0")  # the others are of the slow tier


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("L4T_LEVELS", str(tmp_path / "levels"))
    monkeypatch.setattr(bringing, "_OPEN", {})
    yield tmp_path / "levels"


def test_every_environment_has_its_ending() -> None:
    assert ENDINGS.keys() == environments.WITHIN.keys()


def brought_in(gym_id: str) -> None:
    task = bringing.import_environment(gym_id, **FEW)
    success, failure, penalty = ENDINGS[gym_id]
    assert (str(task.success), str(task.failure), task.penalty) == (success, failure, penalty)
    facts = store.newest(gym_id, bringing._source(bringing.Original(gym_id)))
    assert facts is not None and facts[0].proven >= 400 and facts[1] == task
    level = task.layout(jax.random.key(0))
    assert level.cells.shape == (task.width, task.height)


@pytest.mark.parametrize("gym_id", QUICK)
def test_within_the_rules_it_is_proven(gym_id: str) -> None:
    brought_in(gym_id)


@pytest.mark.slow
@pytest.mark.parametrize("gym_id", sorted(set(environments.WITHIN) - set(QUICK)))
def test_within_the_rules_it_is_proven_too(gym_id: str) -> None:
    brought_in(gym_id)


AT_ONCE = (  # refused before anything is compiled
    "MyCrash-v0", "MyGrowing-v0", "MyVectors-v0", "MyBroken-v0", "MyHuge-v0", "MyBigView-v0", "MyNotOne-v0",
    "MyNoArgument-v0",
)  # fmt: skip
ALWAYS = (*AT_ONCE, "MyWind-v0", "MyFlatReward-v0")  # the others are of the slow tier


@pytest.mark.parametrize("gym_id", ALWAYS)
def test_what_no_rule_here_does_is_refused_in_one_sentence(gym_id: str, own_folder: Path) -> None:
    with pytest.raises(errors.ConfigError, match=environments.REFUSED[gym_id][2]) as refused:
        bringing.import_environment(gym_id, **FEW)
    assert "\n" not in str(refused.value)
    assert not own_folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize("gym_id", sorted(set(environments.REFUSED) - set(ALWAYS)))
def test_what_no_rule_here_does_is_refused_in_one_sentence_too(gym_id: str, own_folder: Path) -> None:
    test_what_no_rule_here_does_is_refused_in_one_sentence(gym_id, own_folder)


def test_two_limits_are_one_too_many() -> None:
    with pytest.raises(errors.CannotImport, match="max_episode_steps=20, less than its own max_steps=60"):
        bringing.import_environment("MyTwoLimits-v0")


def test_an_unknown_id_is_told_the_near_ones() -> None:
    with pytest.raises(errors.UnknownTask, match="no environment 'MyRom-v0'; did you mean MyRoom-v0"):
        get_task("minigrid:MyRom-v0")
    with pytest.raises(errors.UnknownTask, match="no environment 'myroom-v0'; did you mean MyRoom-v0"):
        get_task("MiniGrid:myroom-v0")
    with pytest.raises(errors.UnknownTask, match="did you mean BabyAI-GoToRedBall-v0"):
        get_task("babyai-gotoredball-v0")
    with pytest.raises(errors.UnknownTask, match=r"no task named 'MyRoom-v0'; .*: minigrid:MyRoom-v0 brings it in"):
        get_task("MyRoom-v0")
    with pytest.raises(errors.UnknownTask, match="`imports` names the file that registers it"):
        get_task("minigrid:Zzzzzzzz-v9")


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(levels=0), "`levels` must be a whole number of at least 1, not 0"),
        (dict(steps=3.5), "`steps` must be a whole number of at least 100"),
        (dict(success="goal_found"), "there is no rule 'goal_found'; the rules are goal_reached, "),
    ],
)
def test_wrong_choices_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ConfigError, match=message):
        bringing.import_environment("MyRoom-v0", **wrong)


def test_a_named_rule_is_proven_too() -> None:
    with pytest.raises(
        errors.CannotImport, match=r"the reward is 0.* and would be 0 by the rules of MiniGrid and `done`"
    ):
        bringing.import_environment("MyRoom-v0", success="done", **FEW)


TINY: dict[str, Any] = dict(
    algo="ppo", num_envs=8, num_steps=16, total_steps=256, evaluations=1, minibatches=2, hidden=16,
    validation_levels=16, heldout_levels=24, level_pool=32,
)  # fmt: skip


@pytest.mark.slow
def test_it_is_learned_and_evaluated_on_the_levels_that_the_run_has(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, run = environments.__file__, tmp_path / "run"
    task = bringing.import_environment("MyRoom-v0", levels=60, steps=400)
    monkeypatch.setattr(bringing, "Original", None)  # the levels that are kept serve, and the original is not asked
    result = l4t_jax.train(env="minigrid:MyRoom-v0", imports=(file,), run_dir=run, **TINY)
    assert result.config.env == task.name == result.summary["task"] and task.name.startswith("MyRoom-v0@")
    for path in own_folder.iterdir():
        path.unlink()
    bringing._OPEN.clear()
    again = l4t_jax.evaluate(run)
    assert again["success"] == result.summary["heldout"]["student"]["success"][0]

    levels = run / bringing.FILE
    levels.write_bytes(levels.read_bytes()[:-100])
    bringing._OPEN.clear()
    with pytest.raises(errors.CannotImport, match=r"levels\.npz holds no pool of levels, or is damaged"):
        l4t_jax.train(resume=run)
    levels.unlink()
    with pytest.raises(errors.CannotImport, match=r"the levels of MyRoom-v0@.* are not in .*bring that file back"):
        l4t_jax.train(resume=run)


def test_it_is_told_how_far_it_is(own_folder: Path) -> None:
    class Heard(progress.Progress):
        def __init__(self) -> None:
            self.parts: dict[str, list[tuple[int, int]]] = {}
            self.found: list[str] = []

        def counted(self, words: str, done: int, total: int) -> None:
            self.parts.setdefault(words, []).append((done, total))

        def notice(self, words: str) -> None:
            self.found.append(words)

    heard = Heard()
    bringing.import_environment("MyOneLevel-v0", levels=3, steps=400, told=heard)
    playing, drawing = heard.parts.values()
    assert drawing == [(1, 3)] and playing[-1] == (400, 400)
    assert [done for done, _ in playing] == sorted(done for done, _ in playing) and len(playing) > 3
    assert "ends well by goal_reached" in heard.found[0] and "1 distinct levels of 501 drawn; fewer" in heard.found[-1]


def test_the_command_brings_one_in(own_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["bring", "MyRoom-v0", "--import", environments.__file__, "--levels", "50", "--steps", "400"]
    assert tasks.main([*words, "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["levels"] == 50 and said["proven"] >= 400 and said["success"] == "goal_reached"
    assert [path.stem for path in own_folder.iterdir()] == [said["task"]]
    assert tasks.main(words) == 0  # what is kept
    assert "6 x 6, at most 60 steps" in capfd.readouterr().out
    assert tasks.main(["check", said["task"], "--steps", "300", "--json"]) == 0
    checked = json.loads(capfd.readouterr().out)
    assert checked["task"] == said["task"] and checked["steps"] >= 300 and checked["differences"] == 0
    assert tasks.main(["bring", "MyCrash-v0"]) == 2
    (refused,) = capfd.readouterr().err.strip().splitlines()[-1:]
    assert "MyCrash-v0 cannot be brought in: step(4) raised RuntimeError" in refused
