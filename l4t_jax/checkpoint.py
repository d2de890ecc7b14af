"""Saving and restoring a run's state with orbax.

Host module. A checkpoint is everything a run needs to go on: the whole `TrainState` (random keys included), the best
parameters so far, and the host's counters. It is written beside the older one and renamed when complete, so a run
killed at any moment leaves a whole checkpoint or none.

Arrays are saved and restored as host numpy arrays: a run trained on an accelerator is read on any machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax import devices
from l4t_jax.config import Config

Which = Literal["last", "best"]
FOLDER = "checkpoints"


class CheckpointError(ValueError):
    """A checkpoint is missing or is another run's; the message says which."""


def config_hash(config: Config) -> str:
    """A hash of every setting that a checkpoint's arrays depend on (not folder, devices, wandb), 16 hex digits."""
    values = dataclasses.asdict(config)
    for name in ("run_dir", "devices", "wandb"):
        values.pop(name)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def to_host(tree: Any) -> Any:
    """A pytree as numpy arrays; random keys as their data."""

    def leaf(x: Any) -> np.ndarray:
        return np.asarray(devices.everywhere(jax.random.key_data(x) if _is_key(x) else x))

    return jax.tree.map(leaf, tree)


def from_host(arrays: Any, template: Any) -> Any:
    """Inverse of `to_host`; random keys where `template` (arrays or their shapes) has random keys."""

    def leaf(like: Any, x: np.ndarray) -> Any:
        return jax.random.wrap_key_data(jnp.asarray(x)) if _is_key(like) else np.asarray(x)

    return jax.tree.map(leaf, template, arrays)


def _is_key(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


@dataclasses.dataclass(frozen=True)
class Saved:
    """What `Checkpoints.restore` gives.

    Attributes:
        state: the `TrainState`, as it was.
        best: the best parameters so far, leading axis seeds.
        host: what the host counted.
    """

    state: Any
    best: Any
    host: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run folder, of which the newest is kept.

    Args:
        run_dir: the run folder.
        config: of the run, resolved; its hash is stored, and must agree to restore.
    """

    def __init__(self, run_dir: str | Path, config: Config) -> None:
        self._hash = config_hash(config)
        self._run_dir = Path(run_dir).absolute()
        self._manager = _manager(self._run_dir)

    def save(self, updates: int, state: Any, best: Any, host: dict[str, Any]) -> None:
        """Saves the state after `updates` updates; a second time for the same updates does nothing.

        Args:
            updates: done so far; names the checkpoint.
            state: `TrainState`, leading axis seeds.
            best: parameters, leading axis seeds.
            host: the host's counters, strict JSON.
        """
        import orbax.checkpoint as ocp

        if updates in self._manager.all_steps():
            return
        self._manager.save(
            updates,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(to_host(state.replace(params=()))),
                last=ocp.args.PyTreeSave(to_host(state.params)),
                best=ocp.args.PyTreeSave(to_host(best)),
                host=ocp.args.JsonSave({"config_hash": self._hash, **host}),
            ),
        )

    def restore(self, template: Any) -> Saved | None:
        """The newest checkpoint, or None where there is none.

        Args:
            template: a `TrainState`, or its shapes, as `save` was given.

        Raises:
            CheckpointError: it belongs to a run with other settings.
        """
        import orbax.checkpoint as ocp

        step = self._manager.latest_step()
        if step is None:
            return None
        host = self._manager.restore(step, args=ocp.args.Composite(host=ocp.args.JsonRestore()))["host"]
        if host.pop("config_hash", None) != self._hash:
            raise CheckpointError(f"the checkpoint in {self._run_dir} belongs to a run with other settings")
        rest = template.replace(params=())
        read = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=_as_numpy(rest), last=_as_numpy(template.params), best=_as_numpy(template.params)
            ),
        )
        return Saved(state=from_host(read["state"], rest).replace(params=read["last"]), best=read["best"], host=host)

    def close(self) -> None:
        """Ends orbax's threads."""
        self._manager.close()


def restore_params(run_dir: str | Path, which: Which = "last") -> Any:
    """A saved student's parameters as numpy arrays, leading axis seeds.

    Args:
        run_dir: the run folder.
        which: "last", or "best": of each seed, those with the highest success on the validation boards.

    Raises:
        CheckpointError: the folder has no checkpoint.
    """
    import orbax.checkpoint as ocp

    manager = _manager(Path(run_dir).absolute()) if (Path(run_dir) / FOLDER).is_dir() else None
    step = manager.latest_step() if manager else None
    if manager is None or step is None:
        raise CheckpointError(f"{run_dir} holds no checkpoint; a run folder has one in {FOLDER}/")
    try:
        return manager.restore(step, args=ocp.args.Composite(**{which: ocp.args.PyTreeRestore()}))[which]
    finally:
        manager.close()


def _as_numpy(template: Any) -> Any:
    import orbax.checkpoint as ocp

    restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), template)
    return ocp.args.PyTreeRestore(jax.tree.map(lambda _: 0, template), restore_args=restore_args)


def _manager(run_dir: Path) -> Any:
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax warns about its own folders
    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    if jax.process_count() > 1:  # each process writes, or reads, by itself: the arrays are whole on all of them
        me = jax.process_index()
        (run_dir / FOLDER).mkdir(exist_ok=True)
        options.create = False
        options.multiprocessing_options = ocp.options.MultiprocessingOptions(
            primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
        )
    return ocp.CheckpointManager(run_dir / FOLDER, options=options)
