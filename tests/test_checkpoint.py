"""Checkpoints: whole, in the right types, and only of the same run."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from l4t_jax.checkpoint import CheckpointError, Checkpoints, config_hash, restore_params
from l4t_jax.config import Config


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


def test_the_newest_is_kept_and_parameters_come_by_name(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, Config())
    checkpoints.save(1, state(1), state(1).params, {})
    checkpoints.save(2, state(5), state(4).params, {})
    checkpoints.save(2, state(9), state(9).params, {})  # the same updates: nothing new
    checkpoints.close()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["2"]
    same(restore_params(tmp_path, "last"), jax.tree.map(np.asarray, state(5).params))
    same(restore_params(tmp_path, "best"), jax.tree.map(np.asarray, state(4).params))


def test_a_checkpoint_half_written_does_not_count(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, Config())
    checkpoints.save(1, state(1), state(1).params, {})
    checkpoints.close()
    half = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp"
    half.mkdir()
    (half / "state").mkdir()
    same(restore_params(tmp_path), jax.tree.map(np.asarray, state(1).params))


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
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        restore_params(tmp_path)
    assert not any(tmp_path.iterdir())
    empty = Checkpoints(tmp_path, Config())
    assert empty.restore(state(0)) is None
    empty.close()
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        restore_params(tmp_path)
