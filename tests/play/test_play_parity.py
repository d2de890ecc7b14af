"""The page plays as JAX does: the same levels and random numbers give the same actions, states and rewards."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import play_parity
import pytest
from play_parity import Engine
from small_runs import saved_run

from l4t_jax.play.game import Game, open_game


@pytest.fixture(scope="module", params=["node", pytest.param("chromium", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest) -> Engine:
    programs = dict(node=play_parity.node_program, chromium=play_parity.chromium_program)
    plays = dict(node=play_parity.in_node, chromium=play_parity.in_chromium)
    program = programs[request.param]()
    if program is None:
        pytest.skip(f"there is no {request.param} on this machine")
    return functools.partial(plays[request.param], program)


@functools.cache
def game_of(folder: Path, task: str, student: str = "ego", observation: str | None = None) -> Game:
    """Untrained students: they do what no trained one would, so all rules are met."""
    run = folder / f"{task}-{student}-{observation}"
    if not run.exists():
        saved_run(run, student, env=task, hidden=16, observation=observation)
    return open_game(run)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("players")


def agrees(results: list[dict[str, Any]], episodes: int) -> int:
    """How many steps were compared; all of them agree, but for near ties."""
    assert sum(one["episodes"] for one in results) >= episodes
    for one in results:
        assert one["differences"] == [], one["differences"][:5]
        assert one["logits"] < 1e-4, "logits"
        assert one["near_ties_taken_otherwise"] <= max(0.001 * one["steps"], 1), "too many near ties"
    return sum(one["steps"] for one in results)


# Moving obstacles draw random numbers in the page's own program.
def test_a_few_episodes_agree_in_every_step(engine: Engine, folder: Path) -> None:
    game = game_of(folder, "Dynamic-Obstacles-5x5")
    assert agrees(play_parity.check(game, 12, engine), 12) > 50


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "student", "observation"),
    [
        ("SimpleDoorKey", "ego", None), ("ColoredDoorKey", "ego", None), ("LavaDoorKey", "ego", None),
        ("DoorKey-5x5", "cnn", None), ("DoorKey-5x5", "lstm", None), ("KeyCorridorS3R1", "lstm", "view"),
        ("KeyCorridorS3R1", "gru", "view"),
        ("GoToObject-6x6-N2", "ego", None), ("ObstructedMaze-1Dlhb", "ego", None), ("KeyCorridorS3R3", "ego", None),
        ("Dynamic-Obstacles-6x6", "ego", None),
    ],
)  # fmt: skip
def test_a_thousand_episodes_agree(
    engine: Engine, folder: Path, task: str, student: str, observation: str | None
) -> None:
    """A tenth of them each."""
    game = game_of(folder, task, student, observation)
    assert agrees(play_parity.check(game, 100, engine), 100) > 500


HALF = np.log([0.5, 0.25, 0.25, 1e-9, 1e-9, 1e-9, 1e-9]).astype(np.float32)
LEFT, BORDER = 0x10000000, 0x80000000  # random words: a sixteenth, which draws left, and a half, its border to right


def traces_of(bits: list[int], action: list[int]) -> play_parity.Traces:
    """One episode of two steps, as JAX would have played it."""
    return play_parity.Traces(
        bits=np.array(bits, np.uint32)[:, None], keys=np.zeros((2, 1, 2), np.uint32),
        logits=np.stack([HALF, HALF])[:, None],
        action=np.array(action)[:, None], reward=np.array([[0.0], [0.5]], np.float32),
        hashes=np.array([[1], [2], [3]], np.uint32), length=np.array([2]),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, []),
        (dict(actions=[0, 1]), ["action"]),
        (dict(rewards=[0.0, 0.5001]), ["reward"]),
        (dict(hashes=[1, 7, 3]), ["state"]),
        (dict(actions=[0], rewards=[0.0], hashes=[1, 2], logits=[HALF.tolist()]), ["length"]),
    ],
)
def test_a_difference_is_found(other: dict[str, Any], said: list[str]) -> None:
    page = dict(actions=[0, 0], rewards=[0.0, 0.5], hashes=[1, 2, 3], logits=[HALF.tolist()] * 2)
    found = play_parity.compared(traces_of([LEFT, LEFT], [0, 0]), np.zeros(1, bool), [page | other])
    assert [one["what"] for one in found["differences"]] == said
    assert found["near_ties_taken_otherwise"] == 0


def test_a_near_tie_is_counted_and_ends_the_comparison() -> None:
    """At the border JAX took right; a page that takes left there, and then sees other states, is not wrong."""
    page = dict(actions=[0, 0], rewards=[0.0, 0.0], hashes=[1, 2, 9], logits=[HALF.tolist()] * 2)
    found = play_parity.compared(traces_of([LEFT, BORDER], [0, 1]), np.zeros(1, bool), [page])
    assert (found["differences"], found["near_ties_taken_otherwise"], found["steps"]) == ([], 1, 1)
    assert play_parity.margins(HALF[None], np.array([BORDER], np.uint32), np.zeros(1, bool)) < 1e-6
    assert play_parity.margins(HALF[None], np.array([LEFT], np.uint32), np.zeros(1, bool)) == pytest.approx(0.4375)
    assert play_parity.margins(HALF[None], np.array([LEFT], np.uint32), np.ones(1, bool)) == pytest.approx(0.25)
