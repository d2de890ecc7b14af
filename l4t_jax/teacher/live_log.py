"""The log of a teacher that is asked during training: which states each block of updates met, and the answers.

Host module. One JSON line for each state that was asked about, and one at the end of each block:

    {"block": 3, "state": 17, "entry": {...} | null, "ledger": {...}}     null: a state with the same sentence has it
    {"block": 3, "end": true, "met": [17, 20], "ledger": {...}}

Each line is written to disk before the answer is used. So a run that was killed takes the same answers in the same
blocks when it goes on, whatever the LLM would say now.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from l4t_jax.errors import TeacherFileError


@dataclasses.dataclass
class Block:
    """What is known of a block.

    Attributes:
        answers: (symbolic state id, entry of the teacher file or None), in the order of asking.
        met: ids met in it for the first time; None until the block has ended.
        ledger: as it stood after the last line; None without lines.
    """

    answers: list[tuple[int, dict[str, Any] | None]] = dataclasses.field(default_factory=list)
    met: list[int] | None = None
    ledger: dict[str, Any] | None = None


class LiveLog:
    """A log file. A last line that is cut off, by a kill, is dropped.

    Args:
        path: of the file; it is made with the first line.

    Raises:
        TeacherFileError: a line is none of a log; the message says which.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.blocks: dict[int, Block] = {}
        whole = path.read_bytes() if path.is_file() else b""
        kept = whole[: whole.rfind(b"\n") + 1]
        if len(kept) < len(whole):
            with path.open("r+b") as stream:
                stream.truncate(len(kept))
        for number, line in enumerate(kept.splitlines(), 1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise TeacherFileError(f"line {number} of {path} is not one of a teacher's log") from error

    def _take(self, line: dict[str, Any]) -> None:
        block = self.blocks.setdefault(int(line["block"]), Block())
        block.ledger = dict(line["ledger"])
        if line.get("end"):
            block.met = [int(state) for state in line["met"]]
        else:
            block.answers.append((int(line["state"]), line["entry"]))

    def _write(self, line: dict[str, Any]) -> None:
        with self._path.open("ab") as stream:
            stream.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._take(line)

    def answer(self, block: int, state: int, entry: dict[str, Any] | None, ledger: dict[str, Any]) -> None:
        """A state was asked about."""
        self._write({"block": block, "state": state, "entry": entry, "ledger": ledger})

    def end(self, block: int, met: list[int], ledger: dict[str, Any]) -> None:
        """All states of a block were asked about, or asking failed."""
        self._write({"block": block, "end": True, "met": met, "ledger": ledger})
