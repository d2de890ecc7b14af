"""Skills that a user registers: their codes, their skill_actions, and how LLMs are told of them."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.scene import Scene
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import RIGHT
from l4t_jax.skills import plan_codes
from l4t_jax.skills.actions import skill_actions
from l4t_jax.skills.base import SATISFIED, Skill, register_skill
from l4t_jax.skills.paths import Path
from l4t_jax.teacher import grammar, parser, prompt

BEFORE = get_task("SimpleDoorKey")
TASK = dataclasses.replace(BEFORE, name="Spun", skills=(*BEFORE.skills, "spin_round", "wait"))


class Spin(Skill):
    name, sentence = "spin_round", "turn to the right"

    def act(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        return jnp.full(scene.memory.carrying.shape, RIGHT)


class Wait(Skill):
    name, sentence = "wait", "turn while something is held"

    def act(self, scene: Scene, role: int, path: Path | None) -> jax.Array:
        return jnp.where(scene.hands_free, SATISFIED, RIGHT)


@pytest.fixture(autouse=True)
def registered(own_tasks: None) -> None:
    register_skill(Spin())
    register_skill(Wait())


def test_their_codes_come_last_and_round_trip() -> None:
    assert plan_codes.num_codes(TASK) == plan_codes.num_codes(BEFORE) + 2
    codes = [plan_codes.encode_step(TASK, (name,)) for name in ("spin_round", "wait")]
    assert codes == [plan_codes.num_codes(BEFORE), plan_codes.num_codes(BEFORE) + 1]
    assert [plan_codes.decode_step(TASK, code) for code in range(plan_codes.num_codes(TASK))][-2:] == [
        ("spin_round",),
        ("wait",),
    ]
    with pytest.raises(ValueError, match="is not a step of SimpleDoorKey"):
        plan_codes.encode_step(BEFORE, ("spin_round",))


def test_their_outcomes_stand_at_their_codes(random_known, rng) -> None:
    memory = random_known(rng, (TASK.width, TASK.height), 20, inside=True)
    found, before = (skill_actions(task, memory).actions for task in (TASK, BEFORE))
    assert (found[:-2] == before).all()
    assert (found[-2] == RIGHT).all()
    assert (found[-1] == jnp.where(memory.carrying == 0, SATISFIED, RIGHT)).all()


def test_llms_are_told_of_them_and_their_plans_are_read() -> None:
    assert prompt.skill_words(TASK).endswith("open <object>, spin round, wait")
    read = parser.parse("1. Spin round\n2. go to the key\n3. wait", ["key"], TASK.skills)
    assert read.steps == (("spin_round",), ("go_to", "key"), ("wait",)) and read.noops == 0
    assert parser.parse("spin round, explore", ["key"], BEFORE.skills).noops == 1
    first = grammar.situation(TASK, symbolic.enumerate_states(TASK)[0])
    assert (("spin_round",),) in grammar.plans(first)


@pytest.mark.parametrize("name", ["noop", "Spin", "spin round", ""])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    skill = Spin()
    skill.name = name
    with pytest.raises(ValueError, match="a skill cannot be named"):
        register_skill(skill)


def test_a_task_with_a_skill_that_nobody_registered_is_refused(random_known, rng) -> None:
    memory = random_known(rng, (TASK.width, TASK.height), 2, inside=True)
    task = dataclasses.replace(TASK, name="Hopped", skills=("hop",))
    with pytest.raises(ValueError, match=r"`skills` cannot be 'hop'; .* takes explore, "):
        skill_actions(task, memory)
