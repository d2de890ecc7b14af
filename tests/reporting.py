"""Figures of the full tier, kept: `L4T_RESULTS=benchmarks/results python -m pytest -m slow ...`."""

import contextlib
import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from l4t_jax import files
from l4t_jax.reporting import machine


@contextlib.contextmanager
def reported(name: str, found: dict[str, Any]) -> Iterator[None]:
    """Holds the assertions about what a check found; if they pass, `$L4T_RESULTS/checks-NAME.json` keeps it.

    Args:
        name: of the check.
        found: its figures.
    """
    yield
    if os.environ.get("L4T_RESULTS"):
        where = dict(date=str(datetime.date.today()), device=machine.device_name(), versions=machine.versions())
        files.write_json(Path(os.environ["L4T_RESULTS"]) / f"checks-{name}.json", {**found, **where})
