"""Answers kept as they come: a folder on disk with one small file for each.

Host module. A *question* is all that decides an answer: backend and model with its revision, the messages, the
sampling. Its hash names a folder with `question.json`, for a person to read, and one file an answer. A file appears
whole or not at all (written beside, synced, then linked to its name), and the first to write an answer wins, so a kill
at any moment loses only the answers in flight, and two recorders at once share their work.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from l4t_jax.config import with_home
from l4t_jax.errors import CacheError
from l4t_jax.files import write_whole


def default_folder() -> Path:
    """Where answers are kept unless told otherwise: `$L4T_CACHE`, or the user's cache folder."""
    own = os.environ.get("L4T_CACHE")
    if own:
        return Path(with_home(own))
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "l4t_jax" / "answers"


class Cache:
    """Answers by question.

    Args:
        folder: made when the first answer comes.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(with_home(folder))

    def _place(self, question: dict[str, Any]) -> Path:
        text = json.dumps(question, sort_keys=True, ensure_ascii=False)
        return self.folder / hashlib.sha256(text.encode()).hexdigest()[:32]

    def get(self, question: dict[str, Any], name: str) -> dict[str, Any] | None:
        """The answer kept under a name such as "0007"; None where there is none, or none that can be read."""
        try:
            answer = json.loads((self._place(question) / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return answer if isinstance(answer, dict) else None

    def put(self, question: dict[str, Any], name: str, answer: dict[str, Any], replace: bool = False) -> dict[str, Any]:
        """Keeps an answer and returns the one that is kept: an earlier one, if another recorder was faster.

        Args:
            question: what was asked.
            name: of the answer.
            answer: to keep.
            replace: an earlier one goes.

        Raises:
            CacheError: it cannot be written.
        """
        place = self._place(question)
        try:
            place.mkdir(parents=True, exist_ok=True)
            if not (place / "question.json").exists():
                write_whole(place / "question.json", _text(question), keep=True)
            if not write_whole(place / f"{name}.json", _text(answer), keep=not replace):
                kept = self.get(question, name)
                if kept is not None:
                    return kept
                write_whole(place / f"{name}.json", _text(answer))  # what stood there could not be read
        except OSError as error:
            raise CacheError(f"the answers cannot be kept in {self.folder}: {error.strerror or error}") from error
        return answer


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
