"""Choices: draws from logits, and the options of hierarchical RL against values worked by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.agents import controllers
from l4t_jax.agents.controllers import OptionState, OverSkills
from l4t_jax.envs import get_task
from l4t_jax.envs.cells import DONE, EMPTY_CODE, FORWARD, KEY, LEFT, PICKUP, WALL_CODE, YELLOW, code
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.state import MemoryMap
from l4t_jax.envs.visibility import know
from l4t_jax.skills.plan_codes import encode_step

TASK = get_task("DoorKey-5x5")
EXPLORE, GO_TO, PICK_UP = (encode_step(TASK, step) for step in (("explore",), ("go_to", "key"), ("pick_up", "key")))


def test_a_draw_inverts_the_distribution_and_never_takes_what_is_impossible():
    logits = jnp.array([0.3, -1e9, 2.0, -0.5, -1e9, 1.1, -1e9])
    every = jnp.arange(0, 2**32, 2**16, dtype=jnp.uint32)  # 65,536 words at even distances
    drawn = np.asarray(controllers.draw(every, jnp.broadcast_to(logits, (len(every), 7)), False))
    share = np.bincount(drawn, minlength=7) / len(every)
    np.testing.assert_allclose(share, jax.nn.softmax(logits), atol=2 / len(every))
    assert (share[[1, 4, 6]] == 0).all()
    # At either end of the words, whatever the numbers' rounding.
    many = jax.random.normal(jax.random.key(0), (4096, 7)) * 5
    many = jnp.where(jax.random.bernoulli(jax.random.key(1), 0.5, many.shape).at[:, 3].set(True), many, -1e9)
    for word in (0, 255, 2**32 - 256, 2**32 - 1):
        taken = controllers.draw(jnp.full(len(many), word, jnp.uint32), many, False)
        assert float(jnp.take_along_axis(many, taken[:, None], axis=1).min()) > -1e8
    np.testing.assert_array_equal(controllers.draw(every[:4096], many, True), jnp.argmax(many, axis=-1))


def room(key_at, envs):
    """A walled column of three cells; the agent is at its top and looks down. `key_at`: y of a key, or None."""
    cells = np.full((5, 5), WALL_CODE, np.uint8)
    cells[1, 1:4] = EMPTY_CODE
    if key_at is not None:
        cells[1, key_at] = code(KEY, YELLOW)
    one = MemoryMap(jnp.asarray(cells), jnp.array([1, 1, 1], jnp.int8), jnp.uint8(0), jnp.array([-1, -1], jnp.int8))
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * envs), one)


@jax.jit
def chosen(memory, option, changed, reset, logits, bits, greedy):
    over, envs = OverSkills(TASK), len(option)
    zero, start = jnp.zeros(envs, jnp.uint32), jnp.ones(envs, bool)
    before, _ = over.choose(over.begin(envs), zero, memory, start, jnp.zeros((envs, over.outputs)))
    state = OptionState(option=option, state=jnp.where(changed, before.state + 1, before.state))
    return over.choose(state, bits, memory, reset, logits, greedy)


def choose(memory, option, changed, reset, logits, bits, greedy=False):
    """One choice in each environment. `changed`: whether the option was chosen in another symbolic state."""
    return chosen(memory, jnp.array(option), jnp.array(changed), jnp.array(reset), logits, bits, greedy)


def logits_of(number, **by_code):
    logits = jnp.full((number, OverSkills(TASK).outputs), -60.0)
    for name, value in by_code.items():
        logits = logits.at[:, {"explore": EXPLORE, "go_to": GO_TO, "pick_up": PICK_UP}[name]].set(value)
    return logits


def test_when_an_option_goes_on_and_when_the_student_chooses_again():
    #            goes on   a reset   done once  other state   nothing left to explore
    option = [GO_TO, GO_TO, PICK_UP, GO_TO, EXPLORE]
    changed = [False, False, False, True, False]
    reset = [False, True, False, False, False]
    # The whole room is seen, so exploring would do nothing: it is masked out although its logit is the largest.
    logits = logits_of(5, explore=5.0, go_to=0.0, pick_up=np.log(3.0))
    after, choice = choose(room(3, 5), option, changed, reset, logits, jnp.zeros(5, jnp.uint32), greedy=True)
    np.testing.assert_array_equal(choice.option_boundary, [False, True, True, True, True])
    np.testing.assert_array_equal(choice.index, [GO_TO] + [PICK_UP] * 4)
    np.testing.assert_array_equal(choice.action, [FORWARD] + [PICKUP] * 4)
    np.testing.assert_allclose(choice.log_prob, np.log([1 / 4] + [3 / 4] * 4), rtol=1e-5)
    np.testing.assert_array_equal(choice.action_mask[:, [EXPLORE, GO_TO, PICK_UP]], [[False, True, True]] * 5)
    np.testing.assert_array_equal(after.option, choice.index)
    assert len(set(np.asarray(after.state).tolist())) == 1  # the state of now, whichever it was chosen in


@pytest.mark.parametrize("share, index", [(0.0, GO_TO), (0.24, GO_TO), (0.26, PICK_UP), (0.99, PICK_UP)])
def test_options_are_drawn_among_those_that_would_do_something(share, index):
    # Codes in order: go_to has 1/4 of the probability, pick_up the rest, exploring nothing.
    bits = jnp.full(1, int(share * 2**32), jnp.uint32)
    _, choice = choose(
        room(3, 1), [GO_TO], [False], [True], logits_of(1, explore=5.0, go_to=0.0, pick_up=np.log(3.0)), bits
    )
    assert int(choice.index[0]) == index


def test_where_nothing_would_do_anything_all_may_be_chosen_and_the_action_is_done():
    _, choice = choose(
        room(None, 1), [GO_TO], [False], [False], logits_of(1, go_to=0.0), jnp.full(1, 2**31, jnp.uint32)
    )
    assert bool(choice.action_mask.all()) and bool(choice.option_boundary[0])
    assert int(choice.index[0]) == GO_TO and int(choice.action[0]) == DONE


def test_a_skill_that_says_done_can_be_chosen_and_idling_is_the_tasks_own():
    task = get_task("GoToObject-6x6-N2")
    over, said, nothing = OverSkills(task), encode_step(task, ("say_done",)), 0
    states = jax.vmap(make_env(task).initial)(jax.random.split(jax.random.key(0), 2))
    memory, zero, start = jax.vmap(know)(states), jnp.zeros(2, jnp.uint32), jnp.ones(2, bool)
    wanted = jnp.zeros((2, over.outputs)).at[:, nothing].set(9.0).at[:, said].set(5.0)
    _, choice = jax.jit(over.choose)(over.begin(2), zero, memory, start, wanted, True)
    np.testing.assert_array_equal(choice.action_mask[:, [nothing, said]], [[False, True]] * 2)
    np.testing.assert_array_equal(choice.action, [DONE, DONE])  # chosen, not for want of anything else
    assert task.idle == LEFT
    without = dataclasses.replace(task, skills=("open",))  # of use beside a door or a box alone
    _, choice = OverSkills(without).choose(
        OverSkills(without).begin(2), zero, memory.replace(cells=jnp.zeros_like(memory.cells)), start,
        jnp.zeros((2, OverSkills(without).outputs)), True,
    )  # fmt: skip
    np.testing.assert_array_equal(choice.action, [LEFT, LEFT])
