"""Checkpoints: whole, in the right types, and only of the same run."""

import shutil
import subprocess
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from l4t_jax.config import Config
from l4t_jax.training.checkpoint import (
    CheckpointError,
    Checkpoints,
    DamagedCheckpoint,
    _is_key,
    config_hash,
    damage,
    restore_params,
)


class State(struct.PyTreeNode):
    """Like a `TrainState`: parameters, a random key, tuples, empty ones too."""

    params: Any
    opt_state: Any
    key: jax.Array
    updates: jax.Array


def state(number: float) -> State:
    return State(
        params={"params": {"dense": {"kernel": jnp.full((2, 3), number)}}},
        opt_state=((), (jnp.int32(4), {"mu": jnp.arange(3, dtype=jnp.uint8)})),
        key=jax.random.split(jax.random.key(7), 2),
        updates=jnp.full((2,), int(number), jnp.int32),
    )


def same(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


def test_what_is_saved_comes_back_with_its_types_and_random_keys(tmp_path: Path) -> None:
    saved, best = state(3), state(2).params
    first = Checkpoints(tmp_path, Config())
    first.save(3, saved, best, {"best": [[0.5, 0.25]]})
    first.close()
    again = Checkpoints(tmp_path, Config())
    found = again.restore(jax.eval_shape(lambda: state(0)))
    again.close()
    assert found is not None
    same(found.state, saved)
    same(found.best, jax.tree.map(np.asarray, best))
    assert found.host == {"best": [[0.5, 0.25]]}
    # Drawing goes on where it was.
    np.testing.assert_array_equal(jax.random.bits(found.state.key[1]), jax.random.bits(saved.key[1]))


def test_the_newest_are_kept_and_parameters_come_by_name(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, Config())
    for number in (1, 2, 3, 4):
        checkpoints.save(number, state(number + 1), state(number).params, {})
    checkpoints.save(4, state(9), state(9).params, {})  # the same updates: nothing new
    checkpoints.close()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2", "3", "4"]
    same(restore_params(tmp_path, "last"), jax.tree.map(np.asarray, state(5).params))
    same(restore_params(tmp_path, "best"), jax.tree.map(np.asarray, state(4).params))


def test_a_save_does_not_wait_for_the_disk_and_keeps_what_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    write = Checkpoints._write
    monkeypatch.setattr(Checkpoints, "_write", lambda *args: go.wait(60) and write(*args))
    checkpoints = Checkpoints(tmp_path, Config())
    own = state(1)
    host = jax.tree.map(lambda x: x if _is_key(x) else np.array(x), own)
    checkpoints.save(1, host, host.params, {})
    host.params["params"]["dense"]["kernel"][:] = 7  # the next block overwrites the arrays
    assert not (tmp_path / "checkpoints").exists()
    go.set()
    checkpoints.wait()
    same(restore_params(tmp_path), jax.tree.map(np.asarray, own.params))
    checkpoints.close()


def test_a_checkpoint_half_written_does_not_count_and_is_cleared_away(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, Config())
    checkpoints.save(1, state(1), state(1).params, {})
    checkpoints.close()
    half = tmp_path / "checkpoints" / ".part-2"
    shutil.copytree(tmp_path / "checkpoints" / "1", half)
    same(restore_params(tmp_path), jax.tree.map(np.asarray, state(1).params))
    again = Checkpoints(tmp_path, Config())
    again.save(3, state(3), state(3).params, {})
    again.close()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["1", "3"]


def largest(place: Path) -> Path:
    return max((path for path in place.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def cut_short(place: Path) -> None:
    path = largest(place)
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path, at: int = 100) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def delete_half(place: Path) -> None:
    files = sorted(path for path in place.rglob("*") if path.is_file())
    for path in files[::2]:
        path.unlink()


def empty(place: Path) -> None:
    shutil.rmtree(place)
    place.mkdir()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut short": cut_short,
    "a flipped byte": lambda place: flip(largest(place)),
    "a flipped byte in host.json": lambda place: flip(place / "host.json", 3),
    "a flipped byte in the sums": lambda place: flip(place / "SHA256SUMS", 3),
    "half deleted": delete_half,
    "a file deleted": lambda place: largest(place).unlink(),
    "an empty folder": empty,
    "no sums": lambda place: (place / "SHA256SUMS").unlink(),
    "sums that are no text": lambda place: (place / "SHA256SUMS").write_bytes(b"\xff\xfe\n"),
}


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    checkpoints = Checkpoints(folder, Config())
    for number in (1, 2):
        checkpoints.save(number, state(number), state(number).params, {"records": number})
    checkpoints.close()
    return folder


@pytest.mark.parametrize("what", DAMAGES)
def test_of_a_damaged_checkpoint_the_one_before_is_used_and_the_user_told(
    what: str, two_saved: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(two_saved, folder)
    DAMAGES[what](folder / "checkpoints" / "2")
    checkpoints = Checkpoints(folder, Config())
    with pytest.warns(DamagedCheckpoint, match=r"checkpoints/2 is damaged: .*; .*checkpoints/1 is used"):
        found = checkpoints.restore(state(0))
    assert found is not None
    same(found.state, state(1))
    assert found.host == {"records": 1}
    with pytest.warns(DamagedCheckpoint, match="is used"):
        same(restore_params(folder), jax.tree.map(np.asarray, state(1).params))
    # It is written anew when the run comes there again.
    checkpoints.save(2, state(2), state(2).params, {})
    checkpoints.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(restore_params(folder), jax.tree.map(np.asarray, state(2).params))


def test_every_flipped_byte_is_noticed(two_saved: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    place = tmp_path / "2"
    shutil.copytree(two_saved / "checkpoints" / "2", place)
    assert damage(place) is None
    files = sorted(path for path in place.rglob("*") if path.is_file() and path.stat().st_size)
    for _ in range(200):
        path = files[rng.integers(len(files))]
        before = path.read_bytes()
        changed = bytearray(before)
        changed[rng.integers(len(before))] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        assert damage(place) is not None, path
        path.write_bytes(before)
    assert damage(place) is None


def test_where_all_are_damaged_the_run_begins_anew_and_a_student_is_refused(two_saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(two_saved, folder)
    for name in ("1", "2"):
        flip(largest(folder / "checkpoints" / name))
    checkpoints = Checkpoints(folder, Config())
    with pytest.warns(DamagedCheckpoint, match="there is no other"):
        assert checkpoints.restore(state(0)) is None
    checkpoints.close()
    with pytest.warns(DamagedCheckpoint), pytest.raises(CheckpointError, match="holds damaged ones"):
        restore_params(folder)


def test_the_sums_are_those_of_sha256sum(two_saved: Path) -> None:
    command = shutil.which("sha256sum")
    if command is not None:  # not everywhere
        check = [command, "--check", "--strict", "SHA256SUMS"]
        subprocess.run(check, cwd=two_saved / "checkpoints" / "2", check=True, capture_output=True)


def test_a_network_that_has_changed_since_is_blamed_itself(two_saved: Path) -> None:
    checkpoints = Checkpoints(two_saved, Config())
    wider = state(0).replace(params={"params": {"dense": {"kernel": jnp.zeros((2, 4))}}})
    with pytest.raises(
        CheckpointError, match=r"made another network from the same .*\['kernel'\] is \(2, 3\) there and \(2, 4\)"
    ):
        checkpoints.restore(wider)
    with pytest.raises(CheckpointError, match="whose run state has another form than this version"):
        checkpoints.restore(state(0).replace(updates=jnp.zeros(3)))
    checkpoints.close()


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    mine = Checkpoints(tmp_path, Config(seed=0))
    mine.save(1, state(1), state(1).params, {})
    mine.close()
    other = Checkpoints(tmp_path, Config(seed=1))
    with pytest.raises(CheckpointError, match="other settings"):
        other.restore(state(0))
    other.close()
    assert config_hash(Config(run_dir="a")) == config_hash(Config(run_dir="b")) != config_hash(Config(hidden=3))
    assert config_hash(Config(wandb="a")) == config_hash(Config())


def test_no_checkpoint_is_none_or_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no whole checkpoint"):
        restore_params(tmp_path)
    assert not any(tmp_path.iterdir())
    empty = Checkpoints(tmp_path, Config())
    assert empty.restore(state(0)) is None
    empty.close()
    with pytest.raises(CheckpointError, match="holds no whole checkpoint"):
        restore_params(tmp_path)
