"""Figures of the full tier, kept: `L4T_RESULTS=benchmarks/results python -m pytest -m slow ...`."""

import ast
import contextlib
import datetime
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import l4t_jax
from l4t_jax import files
from l4t_jax.reporting import machine

PACKAGE = Path(l4t_jax.__file__).parent
# As it was when the tests began: a file that changes while they run has not been tested.
CODE = {path: path.read_bytes() for path in sorted(PACKAGE.rglob("*.py"))}

NAMES = PACKAGE / "envs" / "registry.py"


@contextlib.contextmanager
def reported(name: str, found: dict[str, Any]) -> Iterator[None]:
    """Holds the assertions about what a check found; if they pass, `$L4T_RESULTS/checks-NAME.json` keeps it.

    Args:
        name: of the check.
        found: its figures.
    """
    yield
    if os.environ.get("L4T_RESULTS"):
        files.write_json(Path(os.environ["L4T_RESULTS"]) / f"checks-{name}.json", {**found, **_where()})


@contextlib.contextmanager
def row_of(table: str, name: str, depends: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Gives a row to fill in; if the assertions within pass, `$L4T_RESULTS/suite/TABLE.json` keeps it.

    So a check of many ids is done in pieces: a row that the file has, made by the code as it is, is not made again,
    and its test is skipped.

    Args:
        table: of the check.
        name: of the row.
        depends: the files and folders of the package by which the row is decided; a change in them makes it old.
    """
    row: dict[str, Any] = {}
    if not os.environ.get("L4T_RESULTS"):
        yield row
        return
    path, code = Path(os.environ["L4T_RESULTS"]) / "suite" / f"{table}.json", digest(depends)
    if _rows(path).get(name, {}).get("code") == code:
        pytest.skip(f"{path} has it")
    yield row
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(Path(tempfile.gettempdir()) / "l4t-suite-results.lock"):  # beside it are other workers
        rows = {**_rows(path), name: {**row, "code": code, "date": str(datetime.date.today())}}
        files.write_json(path, {"rows": dict(sorted(rows.items())), **_where()})


def digest(depends: tuple[str, ...]) -> str:
    """Eight hexadecimal digits that change with what these files and folders of the package do.

    Comments, docstrings and layout do not count, nor does the file that only finds tasks by their names.
    """
    found, parts = hashlib.sha256(), [PACKAGE / part for part in depends]
    for path, content in CODE.items():
        if path != NAMES and any(path.is_relative_to(part) for part in parts):
            found.update(f"{path.relative_to(PACKAGE).as_posix()}\0{_does(content)}".encode())
    return found.hexdigest()[:8]


def _does(content: bytes) -> str:
    """A file's code without what does nothing."""
    tree = ast.parse(content)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [one for one in body if not _is_text(one)]  # pyright: ignore[reportAttributeAccessIssue]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _rows(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else {}


def _where() -> dict[str, Any]:
    return dict(date=str(datetime.date.today()), device=machine.device_name(), versions=machine.versions())
