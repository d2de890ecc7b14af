"""Servers that tests start in processes of their own."""

import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any


def until_healthy(url: str, process: subprocess.Popen[Any], seconds: float, log: Path | None = None) -> None:
    """Waits until `url`/health answers 200.

    Args:
        url: of the server, without /v1.
        process: the server's.
        seconds: at most.
        log: what it writes, shown if it ends or does not answer in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            said = log.read_text()[-2000:] if log else "the server does not answer"
            assert process.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.2)
