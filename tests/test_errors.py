"""The near names that messages offer, beside what a reader would pick."""

import pytest

from l4t_jax import errors

TASKS = ["Empty-5x5", "Empty-6x6", "LavaCrossing", "DoorKey"]


@pytest.mark.parametrize(
    ("name", "found"),
    [("emtpy-5x5", ["Empty-5x5", "Empty-6x6"]), ("DOORKEY", ["DoorKey"]), ("doorkye", ["DoorKey"]), ("wq", [])],
)
def test_near_names_come_nearest_first_in_their_own_spelling(name: str, found: list[str]) -> None:
    assert errors.near(name, TASKS) == found


def test_no_more_near_names_than_asked_for() -> None:
    assert errors.near("Empty-5x6", TASKS, most=1) in (["Empty-5x5"], ["Empty-6x6"])
    assert len(errors.near("Empty-5x6", TASKS, alike=0.0)) == 3


@pytest.mark.parametrize(
    ("names", "words"), [([], ""), (["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")]
)
def test_names_are_joined_as_in_a_sentence(names: list[str], words: str) -> None:
    assert errors.either(names) == words


def test_a_hint_says_something_else_where_nothing_is_near() -> None:
    assert errors.did_you_mean("doorky", TASKS, "see the list") == "did you mean DoorKey?"
    assert errors.did_you_mean("wq", TASKS, "see the list") == "see the list"
    assert errors.takes("PPO", ["l4t", "ppo", "hrl"]) == "did you mean ppo? It takes l4t, ppo or hrl"
    assert errors.takes("x", ["l4t", "ppo", "hrl"]) == "it takes l4t, ppo or hrl"
