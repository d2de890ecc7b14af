"""Saving and restoring a run's state with orbax.

Host module. A checkpoint is everything a run needs to go on: the whole `TrainState` (random keys included), the best
parameters so far, and what the host keeps: counters, scores, the lines of `metrics.jsonl`, the teacher file.

`checkpoints/UPDATES/` holds `arrays/` (orbax), `host.json` and `SHA256SUMS`, the hashes of all its files. A thread of
its own writes it under another name, and renames it when it is complete and on the disk: a run that is killed at any
moment leaves a whole checkpoint or none. One that is damaged later does not agree with its sums; the one before it is
used.

Arrays are saved and restored as host numpy arrays: a run trained on an accelerator is read on any machine.

Why not orbax's `CheckpointManager`, which keeps the newest few by itself: it has no checksums (of 60 checkpoints with
one byte flipped it restored 59 without a word), and on a full disk it left partial files behind.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from l4t_jax import parallel
from l4t_jax.config import MAY_CHANGE, Config
from l4t_jax.errors import CannotWrite, CheckpointError, DamagedCheckpoint

Which = Literal["last", "best"]
FOLDER = "checkpoints"
KEPT = 3  # the newest so many checkpoints
_ARRAYS, _HOST, _SUMS = "arrays", "host.json", "SHA256SUMS"
_PART = ".part-"  # begins the name of a checkpoint that is being written or deleted


def config_hash(config: Config) -> str:
    """A hash of every setting that a checkpoint's arrays depend on (all but `MAY_CHANGE`), 16 hex digits."""
    values = dataclasses.asdict(config)
    for name in MAY_CHANGE:
        values.pop(name, None)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def to_host(tree: Any) -> Any:
    """A pytree as numpy arrays of their own, which no later program overwrites; random keys as their data."""

    def leaf(x: Any) -> np.ndarray:
        return np.array(parallel.everywhere(jax.random.key_data(x) if _is_key(x) else x))

    return jax.tree.map(leaf, tree)


def from_host(arrays: Any, template: Any) -> Any:
    """Inverse of `to_host`; random keys where `template` (arrays or their shapes) has random keys."""

    def leaf(like: Any, x: np.ndarray) -> Any:
        return jax.random.wrap_key_data(jnp.array(x)) if _is_key(like) else np.asarray(x)

    return jax.tree.map(leaf, template, arrays)


def _is_key(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


@dataclasses.dataclass(frozen=True)
class Saved:
    """What `Checkpoints.restore` gives.

    Attributes:
        state: the `TrainState`, as it was.
        best: the best parameters so far, leading axis seeds.
        host: what the host kept.
    """

    state: Any
    best: Any
    host: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run folder, of which the newest `KEPT` are kept.

    Args:
        run_dir: the run folder.
        config: of the run, resolved; its hash is stored, and must agree to restore.
    """

    def __init__(self, run_dir: str | Path, config: Config) -> None:
        self._hash = config_hash(config)
        self._folder = Path(run_dir).absolute() / FOLDER
        self._shown = Path(run_dir) / FOLDER
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._newest = -1

    def save(self, updates: int, state: Any, best: Any, host: dict[str, Any]) -> None:
        """Saves the state after `updates` updates, in the background; a second time for the same does nothing.

        Args:
            updates: done so far; names the checkpoint.
            state: `TrainState`, leading axis seeds.
            best: parameters, leading axis seeds.
            host: what the host keeps, strict JSON.

        Raises:
            CheckpointError: this or the one before could not be written.
        """
        self.wait()
        if updates == self._newest:
            return
        self._newest = updates
        rest = {str(i): x for i, x in enumerate(jax.tree.leaves(to_host(state.replace(params=()))))}
        arrays = {"state": rest, "last": to_host(state.params), "best": to_host(best)}
        self._writing = self._thread.submit(self._write, updates, arrays, {"config_hash": self._hash, **host})

    def wait(self) -> None:
        """Returns when the last checkpoint is on the disk.

        Raises:
            CheckpointError: it could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, updates: int, arrays: Any, host: dict[str, Any]) -> None:
        place = self._folder / str(updates)
        part = self._folder / f"{_PART}{updates}"
        try:
            self._folder.mkdir(exist_ok=True)
            for left in self._folder.glob(f"{_PART}*"):  # by a run that was killed
                shutil.rmtree(left)
            if place.exists():
                if damage(place) is None:
                    return
                _delete(place)
            part.mkdir()
            size = sum(x.nbytes for x in jax.tree.leaves(arrays))
            if shutil.disk_usage(part).free < size:  # orbax would say so too, with many tracebacks
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            with _orbax() as orbax:
                orbax.save(part / _ARRAYS, arrays)
            (part / _HOST).write_text(json.dumps(host, allow_nan=False), encoding="utf-8")
            (part / _SUMS).write_text(_sums(part, sync=True), encoding="utf-8")
            for path in (part / _SUMS, part):
                _sync(path)
            part.rename(place)
            _sync(self._folder)
            for old in _steps(self._folder)[KEPT:]:
                _delete(self._folder / str(old))
        except Exception as error:  # orbax has many
            with contextlib.suppress(OSError):
                shutil.rmtree(part)  # what it holds may be what fills the disk
            whole = next((step for step in _steps(self._folder) if damage(self._folder / str(step)) is None), None)
            left = "there is none before it" if whole is None else f"the one after {whole} updates is whole"
            raise CannotWrite(
                f"the checkpoint after {updates} updates cannot be written to {self._shown}: {reason(error)}; {left}"
            ) from error

    def restore(self, template: Any) -> Saved | None:
        """The newest checkpoint that is whole, or None where there is none; warns of damaged ones.

        Args:
            template: a `TrainState`, or its shapes, as `save` was given.

        Raises:
            CheckpointError: it belongs to a run with other settings, or its arrays are not those of `template`.
        """
        found = _newest_whole(self._shown)
        if found is None:
            return None
        host = json.loads((found / _HOST).read_text(encoding="utf-8"))
        if host.pop("config_hash", None) != self._hash:
            raise CheckpointError(f"the checkpoint in {found} belongs to a run with other settings")
        arrays = _arrays(found)
        rest = template.replace(params=())
        leaves = [arrays["state"][str(i)] for i in range(len(arrays["state"]))]
        same = [_alike(rest_leaf) for rest_leaf in jax.tree.leaves(rest)] == [_alike(leaf) for leaf in leaves]
        if not same or shapes(template.params) != shapes(arrays["last"]):
            raise CheckpointError(f"{found} {misfit(shapes(arrays['last']), shapes(template.params), host)}")
        state = from_host(jax.tree.unflatten(jax.tree.structure(rest), leaves), rest)
        return Saved(state=state.replace(params=arrays["last"]), best=arrays["best"], host=host)

    def close(self) -> None:
        """Waits for the thread; what it could not write has been said by `save` or `wait`, or is of no use any more."""
        self._thread.shutdown()


def restore_params(run_dir: str | Path, which: Which = "last") -> Any:
    """A saved student's parameters as numpy arrays, leading axis seeds; warns of damaged checkpoints.

    Args:
        run_dir: the run folder.
        which: "last", or "best": of each seed, those with the highest success on the validation levels.

    Raises:
        CheckpointError: the folder has no checkpoint, or none that is whole.
    """
    folder = Path(run_dir) / FOLDER
    found = _newest_whole(folder)
    if found is None:
        damaged = f", but {folder} holds damaged ones" if _steps(folder) else f"; a run folder has one in {FOLDER}/"
        raise CheckpointError(f"{run_dir} holds no whole checkpoint{damaged}")
    return _arrays(found)[which]


def damage(place: Path) -> str | None:
    """What is wrong with a checkpoint, in words; None if it is whole."""
    try:
        said = _by_name((place / _SUMS).read_text("utf-8"))
    except (OSError, ValueError):
        return f"{_SUMS} is missing or cannot be read"
    try:
        found = _by_name(_sums(place))
    except OSError as error:
        return f"it cannot be read: {reason(error)}"
    if found == said:
        return None
    missing, changed = sorted(said.keys() - found.keys()), sorted(n for n in found if found[n] != said.get(n))
    return f"{missing[0]} is missing" if missing else f"{changed[0]} has changed since it was written"


def shapes(params: Any) -> dict[str, tuple[int, ...]]:
    """Parameters' names -> shapes."""
    return {jax.tree_util.keystr(path): tuple(x.shape) for path, x in jax.tree_util.tree_leaves_with_path(params)}


def misfit(saved: dict[str, tuple[int, ...]], now: dict[str, tuple[int, ...]], host: dict[str, Any]) -> str:
    """How saved parameters differ from those that this version makes from the same settings, in words."""
    name = next((name for name in {**now, **saved} if now.get(name) != saved.get(name)), None)
    by = host.get("versions", {}).get("l4t_jax", "another version")
    if name is None:
        return f"was saved by l4t_jax {by}, whose run state has another form than this version's"
    return (
        f"was saved by l4t_jax {by}, which made another network from the same settings: "
        f"{name} is {saved.get(name, 'missing')} there and {now.get(name, 'missing')} here"
    )


def newest_host(run_dir: str | Path) -> dict[str, Any] | None:
    """What the host kept in the newest whole checkpoint, None where there is none; silent about damaged ones."""
    folder = Path(run_dir) / FOLDER
    found = next((folder / str(step) for step in _steps(folder) if damage(folder / str(step)) is None), None)
    return None if found is None else json.loads((found / _HOST).read_text(encoding="utf-8"))


def reason(error: BaseException) -> str:
    """An error of the file system in words, whoever raised it."""
    number = getattr(error, "errno", None)
    text = str(error)
    if number is None:  # tensorstore's: "... No space left on device [os_error_code='28']"
        said = re.search(r"os_error_code='(\d+)'", text)
        number = int(said[1]) if said else None
    return os.strerror(number) if number else " ".join(text.split()) or type(error).__name__


def _newest_whole(folder: Path) -> Path | None:
    damaged = []
    for step in _steps(folder):
        wrong = damage(folder / str(step))
        if wrong is None:
            if damaged:
                warnings.warn(f"{', '.join(damaged)}; {folder / str(step)} is used", DamagedCheckpoint, stacklevel=3)
            return folder / str(step)
        damaged.append(f"{folder / str(step)} is damaged: {wrong}")
    if damaged:
        warnings.warn(f"{', '.join(damaged)}; there is no other", DamagedCheckpoint, stacklevel=3)
    return None


def _steps(folder: Path) -> list[int]:
    """The checkpoints of a folder, newest first."""
    try:
        return sorted((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), reverse=True)
    except OSError:
        return []


def _sums(place: Path, sync: bool = False) -> str:
    """The lines that `sha256sum` prints for all files of a checkpoint but the sums."""
    lines = []
    for path in sorted(place.rglob("*")):
        if path.is_file() and path != place / _SUMS:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                if sync:
                    os.fsync(file.fileno())
            lines.append(f"{digest}  {path.relative_to(place).as_posix()}\n")
    return "".join(lines)


def _by_name(sums: str) -> dict[str, str]:
    return {name: digest for digest, name in (line.split("  ", 1) for line in sums.splitlines())}


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _delete(place: Path) -> None:
    """Deletes a checkpoint; at no moment does half of one bear its name."""
    part = place.with_name(f"{_PART}{place.name}-old")
    place.rename(part)
    shutil.rmtree(part)


def _arrays(place: Path) -> dict[str, Any]:
    with _orbax() as orbax:
        return orbax.restore(place.absolute() / _ARRAYS)


def _alike(x: Any) -> tuple[Any, ...]:
    if _is_key(x):
        x = jax.eval_shape(jax.random.key_data, x)
    return tuple(x.shape), np.dtype(x.dtype)


def _orbax() -> Any:
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax prints what we say in a sentence
    if jax.process_count() > 1:  # each process writes, or reads, by itself: the arrays are whole on all of them
        me = jax.process_index()
        alone = ocp.options.MultiprocessingOptions(
            primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
        )
        handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
        return ocp.Checkpointer(handler, multiprocessing_options=alone)
    return ocp.PyTreeCheckpointer()
