"""BabyAI's environments of one instruction: brought in by their own names, their verifiers' endings proven."""

import gymnasium
import minigrid  # noqa: F401  registers the ids
import pytest
from reporting import row_of

import l4t_jax
from l4t_jax import errors
from l4t_jax.imported import facts_of, import_environment

# One of each kind of instruction; the others are of the full tier.
GO_TO, OPEN = "BabyAI-GoToObjS4-v0", "BabyAI-OpenDoorLoc-v0"
PICK_UP, PUT_NEXT = "BabyAI-PickupDist-v0", "BabyAI-PutNextLocalS5N3-v0"
ENDINGS = {
    GO_TO: ("target_faced", "lava_entered"),
    OPEN: ("target_opened", "lava_entered"),
    PICK_UP: ("target_picked", "lava_entered"),
    PUT_NEXT: ("target_put_next", "lava_entered"),
}


def few(gym_id: str) -> l4t_jax.Task:
    return import_environment(gym_id, levels=20, steps=1500)


def test_an_id_of_babyai_is_a_task_by_itself() -> None:
    task = few(GO_TO)
    assert (str(task.success), str(task.failure)) == ENDINGS[GO_TO]
    assert l4t_jax.get_task(GO_TO) is task is l4t_jax.get_task(f"minigrid:{GO_TO}")
    assert task.mission is not None and task.say([0, 0]) == "go to the blue ball"
    with pytest.raises(errors.UnknownTask, match="did you mean BabyAI-GoToObjS4-v0"):
        l4t_jax.get_task("BabyAI-GoToObjS5-v0")


@pytest.mark.slow
@pytest.mark.parametrize("gym_id", [OPEN, PICK_UP, PUT_NEXT])
def test_its_verifiers_endings_are_found_and_proven(gym_id: str) -> None:
    task = few(gym_id)
    assert (str(task.success), str(task.failure)) == ENDINGS[gym_id]


LEFT_OUT = {  # with docs/environments.md
    "GoToSeq", "GoToSeqS5R2", "OpenTwoDoors", "OpenRedBlueDoors", "OpenRedBlueDoorsDebug", "OpenDoorsOrderN2",
    "OpenDoorsOrderN4", "OpenDoorsOrderN2Debug", "OpenDoorsOrderN4Debug", "MoveTwoAcrossS5N2", "MoveTwoAcrossS8N9",
    "SynthSeq", "MiniBossLevel", "BossLevel", "BossLevelNoUnlock", "Synth", "SynthS5R2", "SynthLoc", "ActionObjDoor",
    "PutNextS5N2Carrying", "PutNextS6N3Carrying", "PutNextS7N4Carrying",
}  # fmt: skip
IDS = [gym_id for gym_id in gymnasium.registry if gym_id.startswith("BabyAI-")]


def test_74_of_its_ids_are_not_left_out() -> None:
    assert len(IDS) - len(LEFT_OUT) == 74 and {f"BabyAI-{name}-v0" for name in LEFT_OUT} <= set(IDS)


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_what_is_left_out_is_refused_at_once(name: str) -> None:
    with pytest.raises(errors.CannotImport, match=r"join several|from level to level|carries from the start"):
        few(f"BabyAI-{name}-v0")


@pytest.mark.slow
@pytest.mark.parametrize("gym_id", [one for one in IDS if one.split("-")[1] not in LEFT_OUT])
def test_every_other_id_is_proven(gym_id: str) -> None:
    with row_of("babyai", gym_id, ("imported", "envs")) as row:
        task = few(gym_id)
        facts = facts_of(task)
        assert facts.success and facts.proven >= 1500
        row.update(
            size=[facts.width, facts.height], max_steps=facts.max_steps, success=facts.success, failure=facts.failure,
            steps=facts.proven, levels=facts.drawn,
        )  # fmt: skip
