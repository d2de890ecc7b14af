"""A user's own files: loading one registers the tasks, skills, students, algorithms and backends that it holds.

Host module, imports nothing of the package but its errors and `Import`. `Config(imports=...)` and the option of every
command lead here. A run keeps the path and the hash of each in its settings (`Import`), so that whatever reads the run
later can load them again. A `Registry` holds the things of one kind: a file that is loaded anew, as in a notebook
after an edit, may replace what it registered before.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from l4t_jax.config import Import, unknown_choice, with_home
from l4t_jax.errors import ChangedExtension, ExtensionError

_LOADED: dict[str, tuple[str, ModuleType]] = {}  # path -> the file's hash and module
_LOADING: list[str] = []  # paths of the files that are being loaded now, the innermost last
_OWNERS: dict[tuple[str, str], str] = {}  # (kind of thing, its name) -> the file that registered it


Importable = str | Path | Import | Mapping[str, Any]


def load_extension(name: str | Path) -> ModuleType:
    """Loads a file or a module that registers tasks, skills, students, algorithms, observations or backends.

    Loading the same file again does nothing, unless it has changed; then what it registers replaces what it had.

    Args:
        name: the path of a Python file (`~` is the home folder), or the name of a module.

    Raises:
        ExtensionError: there is no such file or module, or it raises an error; with the file, the line and the error.
    """
    path = _find(str(name))
    digest = _digest(path)
    loaded = _LOADED.get(path)
    if loaded is not None and (loaded[0] == digest or path in _LOADING):
        return loaded[1]
    module = _run(str(name), path)
    _LOADED[path] = digest, module
    return module


def load_all(imports: Iterable[Importable], replaced_by: Iterable[Importable] = (), strict: bool = False) -> None:
    """Loads a run's extensions.

    Args:
        imports: those of the run, `Import`s with the hash they had then, or as a user names them.
        replaced_by: files that a user names beside; one with the hash of a run's extension stands in for it.
        strict: refuse an extension that has changed since; otherwise a `ChangedExtension` warning says so.

    Raises:
        ExtensionError: one cannot be loaded, or has changed.
    """
    own = [as_import(one) for one in replaced_by]
    for one in own:
        load_extension(one.name)
    for one in imports:
        wanted = as_import(one)
        if any(other.sha256 == wanted.sha256 for other in own):
            continue
        _check(wanted, strict)
        load_extension(wanted.name)


def _check(wanted: Import, strict: bool) -> None:
    """Raises or warns unless the extension's file is as it was."""
    try:
        now = _digest(_find(wanted.name))
    except ExtensionError as error:
        where = f"the run was made with the extension {wanted.name}: {error}; `imports` can name the file elsewhere"
        raise ExtensionError(where) from None
    if now == wanted.sha256:
        return
    hashes = f"sha256 {wanted.sha256[:12]} then, {now[:12]} now"
    words = f"the extension {wanted.name} has changed since the run began ({hashes})"
    if strict:
        raise ExtensionError(f"{words}; a run goes on with the file that it began with, so bring that back")
    warnings.warn(f"{words}; it is loaded as it is now", ChangedExtension, stacklevel=4)


def as_import(one: Importable) -> Import:
    """An extension as a run keeps it: what a user names, with its hash.

    Raises:
        ExtensionError: there is no such file or module.
    """
    if isinstance(one, Import):
        return one
    if isinstance(one, Mapping):
        if set(one) != {"name", "sha256"} or not all(isinstance(value, str) for value in one.values()):
            raise ExtensionError(f"an import is a file, a module, or its name and sha256, not {dict(one)!r}")
        return Import(**one)
    path = _find(str(one))
    return Import(path if _is_file(str(one)) else str(one), _digest(path))


# --- who registers what ---------------------------------------------------------------------------------------------


class Registry[T](dict[str, T]):
    """Things of one kind by name, in the order of their registration.

    Args:
        kind: of thing, such as "algorithm".
        setting: that names one of them, as `Config` calls it; by default as the kind.
        own: those that the package itself has.
    """

    def __init__(self, kind: str, setting: str | None = None, own: Mapping[str, T] | None = None) -> None:
        super().__init__(own or {})
        self._kind, self._setting = kind, setting or kind

    def add(self, name: str, thing: T) -> None:
        """Adds a thing. To be called by a function that a user's file calls.

        Raises:
            ValueError: there is another of this name, which that file has not registered itself.
        """
        claim(self._kind, name, name in self, depth=3)
        self[name] = thing

    def named(self, name: str) -> T:
        """The thing of a name.

        Raises:
            ConfigError: there is none; the message names all there are.
        """
        if name not in self:
            unknown_choice(self._setting, name, list(self))
        return self[name]


def claim(kind: str, name: str, taken: bool, depth: int = 2) -> None:
    """Notes which file registers a name: the extension that is being loaded, else the script or the notebook.

    Args:
        kind: of thing, such as "task".
        name: of the thing.
        taken: whether there is one of this name.
        depth: how many calls the script's own is above this function.

    Raises:
        ValueError: the name is taken, and not by the same file.
    """
    file = _LOADING[-1] if _LOADING else None
    caller = sys._getframe(depth).f_globals
    if file is None and caller.get("__name__") == "__main__":
        file = str(Path(caller["__file__"]).absolute()) if "__file__" in caller else "a notebook"
    if taken and (file is None or _OWNERS.get((kind, name.lower())) != file):
        article = "an" if kind[0] in "aeiou" else "a"
        raise ValueError(f"there is already {article} {kind} named {name}; choose another name")
    if file is not None:
        _OWNERS[kind, name.lower()] = file


# --- finding and running --------------------------------------------------------------------------------------------


def _is_file(name: str) -> bool:
    return name.endswith(".py") or os.sep in name or name.startswith("~") or Path(name).is_file()


def _find(name: str) -> str:
    """The absolute path of an extension's file."""
    if not name or "\0" in name:
        raise ExtensionError(f"an extension is a Python file or a module, not {name!r}")
    if _is_file(name):
        path = Path(with_home(name)).absolute()
        if not path.is_file():
            raise ExtensionError(f"there is no file {path} to import")
        return str(path)
    here = os.getcwd()
    if here not in sys.path:  # as `python -m` has it; a console script does not
        sys.path.append(here)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise ExtensionError(f"there is no file and no module {name!r} to import; a file's name ends in .py")
    return spec.origin


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ExtensionError(f"the extension {path} cannot be read: {error.strerror}") from error


def _run(name: str, path: str) -> ModuleType:
    """Executes an extension's file as a module.

    Raises:
        ExtensionError: it raises an error.
    """
    _LOADING.append(path)
    try:
        if not _is_file(name):
            known = sys.modules.get(name)
            if known is not None and path in _LOADED:  # it has changed
                return importlib.reload(known)
            return importlib.import_module(name)
        folder = str(Path(path).parent)
        if folder not in sys.path:  # modules that lie beside it, behind all others
            sys.path.append(folder)
        own = f"l4t_extension_{Path(path).stem}_{hashlib.sha256(path.encode()).hexdigest()[:8]}"
        spec = importlib.util.spec_from_file_location(own, path)
        if spec is None or spec.loader is None:
            raise ExtensionError(f"the extension {path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        _LOADED.setdefault(path, ("", module))  # a file that trains imports itself
        before = sys.modules.get(own)
        sys.modules[own] = module  # dataclasses and pickle look for it there
        try:
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(own) if before is None else sys.modules.update({own: before})
            if _LOADED[path][0] == "":
                del _LOADED[path]
            raise
        return module
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ExtensionError(_why(path, error)) from error
    finally:
        _LOADING.pop()


def _why(path: str, error: BaseException) -> str:
    """What went wrong in a file, in one sentence: the file, the line and the error."""
    line: int | None = None
    if isinstance(error, SyntaxError) and error.filename == path:
        line = error.lineno
    else:
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename == path:
                line = frame.lineno
    said = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    where = f", line {line}" if line else ""
    return f"the extension {path} cannot be loaded{where}: {type(error).__name__}{f': {said}' if said else ''}"


def loaded() -> list[str]:
    """The paths of the extensions that are loaded, in order."""
    return list(_LOADED)
