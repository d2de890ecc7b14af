"""Pools of levels: as generators, in splits, and on disk."""

from pathlib import Path

import jax
import numpy as np
import pytest

from l4t_jax.envs import Layout
from l4t_jax.envs.cells import EMPTY_CODE, GOAL_CODE, WALL_CODE
from l4t_jax.envs.levels import draw_levels, heldout_levels, level_hash
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.pools import LevelPool
from l4t_jax.errors import CannotImport
from l4t_jax.imported import building, store


def facts(**more: object) -> building.Facts:
    known = dict(
        id="Corner-v0", width=8, height=8, max_steps=50, view=7, see_through=False, num_actions=7,
        mission=(("reach",), ("it", "the")), success="goal_reached", failure="lava_entered", penalty=0.0, proven=1,
        drawn=1, asked=1, source="files",
    )  # fmt: skip
    return building.Facts(**{**known, **more})  # pyright: ignore


def levels(number: int, seed: int = 0) -> Layout:
    """Distinct ones: the goal and walls somewhere in a room of 6 x 6."""
    rng = np.random.default_rng(seed)
    cells = np.full((number, 8, 8), WALL_CODE, np.uint8)
    cells[:, 1:7, 1:7] = np.where(rng.random((number, 6, 6)) < 0.3, WALL_CODE, EMPTY_CODE)
    cells[:, 1, 1], cells[:, 6, 6] = EMPTY_CODE, GOAL_CODE
    agent = np.tile(np.array([1, 1, 0], np.int8), (number, 1))
    return Layout(cells, agent, rng.integers(0, 2, (number, 1)).astype(np.int8))  # pyright: ignore


def pooled(number: int, seed: int = 0):
    found = levels(number, seed)
    pool = LevelPool(found, store.digest(facts(), found))
    return building.task_of(facts(), pool, "Corner")


def hashes(states) -> list[int]:
    return np.asarray(level_hash(states)).tolist()


def test_splits_of_a_pool_are_distinct_and_no_level_comes_twice() -> None:
    env = make_env(pooled(8_500))
    test, validation = (jax.jit(lambda s=split: heldout_levels(env, 1000, s))() for split in ("test", "validation"))
    training = jax.jit(lambda key: draw_levels(env, key, 2048, "training"))(jax.random.key(0))
    found = [hashes(states) for states in (test, validation, training)]
    assert [len(set(one)) for one in found] == [1000, 1000, 2048]
    assert not set(found[0]) & set(found[1]) and not set(found[2]) & {*found[0], *found[1]}


def test_few_levels_are_shared_by_the_splits() -> None:
    env = make_env(pooled(50))
    assert env.task.layout.shared
    test = jax.jit(lambda: heldout_levels(env, 120, "test"))()
    training = jax.jit(lambda key: draw_levels(env, key, 64, "training"))(jax.random.key(0))
    assert set(hashes(test)) == set(hashes(training)) and len(set(hashes(test))) == 50


def test_a_key_gives_any_level_of_the_pool() -> None:
    pool = pooled(20).layout
    drawn = jax.jit(jax.vmap(pool))(jax.random.split(jax.random.key(0), 400))
    kept = {leaf.tobytes() for leaf in pool.levels.cells}
    assert {np.asarray(leaf).tobytes() for leaf in drawn.cells} == kept


def test_a_pool_comes_back_from_its_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L4T_LEVELS", str(tmp_path))
    task = store.write(facts(), levels(30))
    again = store.named(task.name)[1]
    assert again == task and again.layout == task.layout
    np.testing.assert_array_equal(again.layout.levels.cells, levels(30).cells)
    assert again.say([1]) == "reach the"
    assert store.newest("Corner-v0", "files") is not None
    assert store.newest("Corner-v0", "other files") is None and store.newest("Corner-v1", "files") is None
    other = store.write(facts(refreshed=1), levels(30, seed=1))
    assert other.name != task.name and other != task
    assert store.named(task.name)[1] == task


@pytest.mark.parametrize("how", ["cut", "one byte", "a changed cell", "no pool", "text", "other levels"])
def test_a_damaged_or_foreign_file_is_refused_in_one_sentence_and_passed_over(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("L4T_LEVELS", str(tmp_path))
    task = store.write(facts(), levels(30))
    path = tmp_path / f"{task.name}.npz"
    raw = bytearray(path.read_bytes())
    if how == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    elif how == "one byte":
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
    elif how == "a changed cell":
        with np.load(path) as file:
            arrays = dict(file)
        arrays["cells"][0, 3, 3] ^= 1
        np.savez_compressed(path, **arrays)
    elif how == "no pool":
        np.savez(path, cells=np.zeros(3))
    elif how == "text":
        path.write_text("levels")
    else:
        other = store.write(facts(refreshed=1), levels(30, seed=1))
        (tmp_path / f"{other.name}.npz").rename(path)
    with pytest.raises(CannotImport, match="Corner-v0@") as refused:
        store.named(task.name)
    assert "\n" not in str(refused.value)
    if how != "other levels":
        assert store.newest("Corner-v0", "files") is None


def test_levels_that_are_gone_are_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L4T_LEVELS", str(tmp_path))
    with pytest.raises(CannotImport, match=r"the levels of Corner-v0@12345678 are not in .* bring that file back"):
        store.named("Corner-v0@12345678")
