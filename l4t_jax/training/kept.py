"""The compiled programs of a run, kept on disk: a command that ran before starts without tracing.

jax keeps what XLA makes of a program too, but finds it by the program's text, which takes seconds of Python to write.
Here a run finds its programs by what decides their texts: the package's own files, the settings, the shapes of what
they are given, the versions and the machine. Only a command does so, and only where all code is the package's: in a
process where a user's code ran, a function may have been replaced that no digest knows of.

Host module. On CPUs alone: nothing here was tried on another platform.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pickle
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import serialize_executable

from l4t_jax import files
from l4t_jax.reporting import machine

FOLDER = "runs"  # in jax's own folder of compiled programs
MOST = 120  # programs, those used last; the six of a run take some 11 MB
_heard = threading.local()


def in_command() -> bool:
    """Whether this process runs a command of the package's, and not a user's script, notebook or test."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name.partition(".")[0] == "l4t_jax"  # python -m l4t_jax.run
    return Path(getattr(main, "__file__", "")).stem in ("l4t", "l4t-jax")  # a script that pip made


class Kept:
    """The programs of one run: a file that names them, and a file for each, which runs share.

    Args:
        folder: of the files.
        decides: all that decides the programs' texts.
    """

    def __init__(self, folder: Path, decides: Any) -> None:
        self._folder = folder
        self._run = folder / f"{_digest(decides)}.json"
        self._around = _around()
        _listen()
        self._names: dict[str, str] = {}  # program -> its file's name
        self._read: set[str] = set()  # programs that come from jax's own files

    @classmethod
    def of(cls, decides: Mapping[str, Any]) -> Kept | None:
        """Of a run whose programs are decided by these values, beside the package's code.

        Args:
            decides: by name; whatever has a `repr` that says all of it.

        Returns:
            None where nothing is kept: outside a command, on an accelerator, on several hosts, without a folder.
        """
        folder = jax.config.jax_compilation_cache_dir
        if not in_command() or folder is None or not jax.config.jax_enable_compilation_cache:
            return None
        if jax.default_backend() != "cpu" or jax.process_count() > 1:
            return None
        return cls(Path(folder) / FOLDER, (machine.code(), _around(), sorted(decides.items())))

    def load(self) -> dict[str, Any] | None:
        """The compiled programs by name; None unless all are kept and as they were written."""
        try:
            names = json.loads(self._run.read_text())
        except (OSError, ValueError):
            return None
        found = {name: self._program(file) for name, file in names.items()}
        return None if None in found.values() else found

    def compiled(self, name: str, lowered: Any, options: dict[str, Any] | None) -> Any:
        """A lowered program, compiled; or loaded, where another run has kept the same.

        Args:
            name: of the program.
            lowered: `jax.stages.Lowered`.
            options: of the compiler.
        """
        self._names[name] = f"{_digest((self._around, options, lowered.as_text()))}.bin"
        program = self._program(self._names[name])
        if program is None:
            before = _hits()
            program = lowered.compile(options)
            if _hits() > before:  # XLA cannot write down what it has read
                self._read.add(name)
        return program

    def store(self, programs: Mapping[str, Callable[[], Any]]) -> None:
        """Writes what is not there yet.

        Args:
            programs: name -> a function that waits for what `compiled` returned. What cannot be kept is not.
        """
        with contextlib.suppress(Exception):  # of jax, as of the disk
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, ready in programs.items():
                program, path = ready(), self._folder / self._names[name]
                if name in self._read:
                    return
                if not path.exists():
                    parts = serialize_executable.serialize(program)
                    content = pickle.dumps((parts, _places(program)))
                    files.write_whole(path, hashlib.sha256(content).digest() + content)
            files.write_json(self._run, self._names)
            newest = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in newest[MOST:]:
                path.unlink(missing_ok=True)

    def _program(self, file: str) -> Any:
        """The program of a file; None without one that is as it was written."""
        path = self._folder / file
        with contextlib.suppress(Exception):  # whatever is wrong with the file: the program is compiled again
            content = path.read_bytes()
            if hashlib.sha256(content[32:]).digest() == content[:32]:
                _prepare()
                parts, places = pickle.loads(content[32:])
                devices = {device.id: device for device in jax.local_devices()}
                where = [devices[one] for one in places]
                program = serialize_executable.deserialize_and_load(*parts, execution_devices=where)
                path.touch()  # it was used
                return program
        return None


@functools.cache
def _listen() -> None:
    """Counts from now on what jax reads from its own files; once a process, as there is no way to stop it."""
    jax.monitoring.register_event_listener(_hear)


def _hear(event: str, **_: Any) -> None:
    if event == "/jax/compilation_cache/cache_hits":
        _heard.hits = _hits() + 1


def _hits() -> int:
    """How many programs this thread has from jax's own files."""
    return getattr(_heard, "hits", 0)


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:32]


def _around() -> Any:
    """What a compiled program depends on beside its text."""
    environment = {name: value for name, value in os.environ.items() if name.startswith(("JAX_", "XLA_"))}
    options = {name: value for name, value in jax.config.values.items() if name != "jax_compilation_cache_dir"}
    settings = [sorted(one.items()) for one in (environment, options)]
    return machine.versions(), machine.device_name(), machine.instructions(), settings


def _places(program: Any) -> list[int]:
    """The ids of the devices that a compiled program runs on."""
    return sorted({device.id for one in jax.tree.leaves(program.output_shardings) for device in one.device_set})


@functools.cache
def _prepare() -> None:
    """Has jax set up the linear algebra that a program may call, which it does where one is traced.

    A program that is loaded without that ends the process.
    """
    jax.jit(jnp.linalg.qr).lower(jax.ShapeDtypeStruct((2, 2), jnp.float32))
