"""Pictures: what is drawn where, what is dark, and that words fit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l4t_jax.envs import get_task
from l4t_jax.envs.cells import BLUE, DOOR_LOCKED, EMPTY_CODE, GOAL_CODE, KEY, LAVA_CODE, WALL_CODE, YELLOW, code
from l4t_jax.reporting import pictures, render
from l4t_jax.skills import plan_codes

WIDTH, HEIGHT = 6, 4
TILE = 48


def room() -> np.ndarray:
    cells = np.full((WIDTH, HEIGHT), EMPTY_CODE, np.uint8)
    cells[0], cells[-1], cells[:, 0], cells[:, -1] = WALL_CODE, WALL_CODE, WALL_CODE, WALL_CODE
    cells[4, 1], cells[4, 2], cells[3, 2] = GOAL_CODE, LAVA_CODE, code(KEY, YELLOW)
    cells[2, 3] = code(DOOR_LOCKED, BLUE)
    return cells


def tile(image: Image.Image, x: int, y: int) -> np.ndarray:
    return np.asarray(image)[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE].reshape(-1, 3).astype(int)


def near(pixels: np.ndarray, rgb: tuple[int, ...]) -> int:
    return int((np.abs(pixels - np.asarray(rgb)).max(axis=1) < 12).sum())


def test_x_runs_right_and_y_runs_down() -> None:
    image = render.world_image(room(), np.array([1, 2, 0]))
    assert image.size == (WIDTH * TILE, HEIGHT * TILE)
    assert near(tile(image, 0, 0), render.WALL_RGB) > 0.9 * TILE**2
    assert near(tile(image, 4, 1), render.RGB[1]) > 0.8 * TILE**2  # the goal, green
    assert near(tile(image, 4, 2), render.LAVA_RGB) > 0.5 * TILE**2
    assert near(tile(image, 3, 2), render.RGB[4]) > 80  # the key, yellow
    assert near(tile(image, 2, 3), render.RGB[2]) > 80  # the door, blue
    assert near(tile(image, 1, 1), render.FLOOR_RGB) > 0.8 * TILE**2


@pytest.mark.parametrize(("direction", "x", "y"), [(0, 1, 0), (1, 0, 1), (2, -1, 0), (3, 0, -1)])
def test_the_agent_points_where_it_looks(direction: int, x: int, y: int) -> None:
    pixels = tile(render.world_image(room(), np.array([2, 1, direction])), 2, 1).reshape(TILE, TILE, 3)
    red = np.abs(pixels - np.asarray(render.AGENT_RGB)).max(axis=-1) < 12
    rows, cols = np.nonzero(red)
    # A triangle's weight lies behind the middle of its length.
    ahead = (cols.min() + cols.max()) / 2 - cols.mean(), (rows.min() + rows.max()) / 2 - rows.mean()
    assert ahead[0] * x + ahead[1] * y > 1.5
    assert abs(ahead[0] * y) < 1 and abs(ahead[1] * x) < 1


def test_what_was_not_seen_is_dark() -> None:
    seen = np.ones((WIDTH, HEIGHT), bool)
    seen[4, 1] = False
    bright, dark = (
        render.world_image(room(), np.array([1, 2, 0])),
        render.world_image(room(), np.array([1, 2, 0]), seen),
    )
    ratio = tile(dark, 4, 1).mean() / tile(bright, 4, 1).mean()
    assert ratio == pytest.approx(1 - render.UNSEEN_SHADE, abs=0.02)
    np.testing.assert_array_equal(tile(dark, 1, 4 - 1), tile(bright, 1, 4 - 1))


def test_what_it_carries_shows_on_the_agent() -> None:
    empty = render.world_image(room(), np.array([1, 2, 0]))
    full = render.world_image(room(), np.array([1, 2, 0]), carrying=code(KEY, YELLOW))
    assert near(tile(full, 1, 2), render.PAPER_RGB) > 50 > near(tile(empty, 1, 2), render.PAPER_RGB)


def test_words_stay_within_the_picture() -> None:
    image = Image.new("RGB", (300, 60))
    words = "Agent sees <red key>, <blue key>, <blue door>, holds <nothing>. " * 3
    made = np.asarray(
        render.with_caption(image, render.Caption("student, step 3", [("sees", words), ("action", "left")]))
    )
    strip = made[60:]
    assert len(strip) > 120
    assert (strip[:, -8:] == render.PAPER_RGB).all() and (strip[-4:] == render.PAPER_RGB).all()
    assert (strip.reshape(-1, 3).astype(int).sum(axis=1) < 200).sum() > 400  # and there is ink


def test_a_long_episode_is_a_short_animation_with_its_end(tmp_path: Path) -> None:
    assert render.frames(5) == [0, 1, 2, 3, 4]
    chosen = render.frames(2561)
    assert len(chosen) == render.MOST_FRAMES and (chosen[0], chosen[-1]) == (0, 2560)
    pictures = [render.world_image(room(), np.array([1 + t % 3, 1, t % 4])) for t in chosen]
    render.save_gif(tmp_path / "a.gif", pictures, [render.Caption(f"step {t}") for t in chosen])
    with Image.open(tmp_path / "a.gif") as found:
        assert found.n_frames == render.MOST_FRAMES  # pyright: ignore
    assert (tmp_path / "a.gif").stat().st_size < 1_000_000


def test_the_animation_keeps_the_colours_of_small_things(tmp_path: Path) -> None:
    seen = np.zeros((WIDTH, HEIGHT), bool)
    seen[1] = True
    pictures = [render.world_image(room(), np.array([1, 1 + t, 0]), seen) for t in range(2)]
    render.save_gif(tmp_path / "a.gif", pictures, [render.Caption("a"), render.Caption("b")])
    with Image.open(tmp_path / "a.gif") as found:
        assert near(tile(found.convert("RGB"), 1, 1), render.AGENT_RGB) > 400


def test_a_plan_in_words() -> None:
    task = get_task("SimpleDoorKey")
    codes = [plan_codes.encode_step(task, step) for step in (("go_to", "key"), ("pick_up", "key"), ("noop",))]
    assert pictures.plan_words(task, np.asarray(codes)) == "go to key, then pick up key"
    assert pictures.plan_words(task, np.asarray(codes[2:])) == "no known step"
