"""Files that are written whole or not at all, and strict JSON: no NaN, no Infinity.

Host module, imports nothing of the package.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np


def write_whole(path: Path, content: str | bytes, keep: bool = False) -> bool:
    """Writes a file, whole or not at all, whatever happens to the process or the machine.

    Args:
        path: where to; its folder exists.
        content: text is written as UTF-8.
        keep: leave a file that is there as it is, and return False: of several writers at once the first wins.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if keep:
            try:
                os.link(beside, path)
                return True
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links: the rename is atomic too, and the last writer wins
                pass
        beside.replace(path)
        return True
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def read_text(path: str | Path) -> str:
    """The text of a file as people's editors write it: UTF-8 or UTF-16, UTF-32 with a mark; any line ends.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is neither.
    """
    raw = Path(os.path.expanduser(path)).read_bytes()
    if raw.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):  # first, since one begins as a mark of UTF-16
        text = raw.decode("utf-32")
    elif raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = raw.decode("utf-16")
    elif b"\0" in raw[:4]:  # UTF-16 without a mark: one byte of each plain letter is zero
        text = raw.decode("utf-16-be" if raw[:1] == b"\0" else "utf-16-le")
    else:
        text = raw.decode("utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    write_whole(path, dumps(value, indent=1) + "\n")


def dumps(value: Any, indent: int | None = None) -> str:
    """Strict JSON."""
    return json.dumps(strict(value), indent=indent, allow_nan=False, ensure_ascii=False)


def strict(value: Any) -> Any:
    """`value` as strict JSON holds it: numpy numbers and arrays as Python's, what is not finite as None."""
    if isinstance(value, dict):
        return {str(k): strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return strict(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
