"""The answer cache: a folder on disk with one small file per answer.

Host module. A *question* is everything that determines an answer: backend, model and revision, messages, sampling. The
hash of a question names a folder with `question.json`, for people to read, and one file per answer. A file is written
under a temporary name, synced, and then linked to its name, so it is complete or absent. The first writer of an answer
wins. So a kill at any moment loses only the answers in flight, and two recorders can share their work.
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
    """The default folder: `$L4T_CACHE`, or a folder in the user's cache folder."""
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
        """The cached answer of a name such as "0007"; None if there is none, or if it cannot be read."""
        try:
            answer = json.loads((self._place(question) / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return answer if isinstance(answer, dict) else None

    def put(self, question: dict[str, Any], name: str, answer: dict[str, Any], replace: bool = False) -> dict[str, Any]:
        """Caches an answer. Returns the cached one: an earlier answer, if another recorder was faster.

        Args:
            question: of the answer.
            name: of the answer.
            answer: to cache.
            replace: overwrite an earlier answer.

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
                write_whole(place / f"{name}.json", _text(answer))  # the earlier file could not be read
        except OSError as error:
            raise CacheError(f"the answers cannot be kept in {self.folder}: {error.strerror or error}") from error
        return answer


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
