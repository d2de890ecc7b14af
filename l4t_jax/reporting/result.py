"""The result of a run, for Python and for the reports.

Host module.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from l4t_jax.config import Config
from l4t_jax.evaluation.playing import Episodes


@dataclasses.dataclass(frozen=True, repr=False)
class Result:
    """The result of a run.

    Attributes:
        summary: the content of `summary.json`.
        run_dir: the run folder.
        config: the resolved settings of the run.
        params: the students' last parameters, numpy arrays with leading axis seeds.
        records: the lines of `metrics.jsonl`.
        heldout: episodes on the test levels by name ("student", "student, greedy", "teacher", "random"): numpy
            arrays (levels,); for students (seeds, levels).
    """

    summary: dict[str, Any]
    run_dir: Path
    config: Config
    params: Any
    records: list[dict[str, Any]]
    heldout: dict[str, Episodes]

    def __repr__(self) -> str:
        """One line. A notebook shows the last value of a cell, and the parameters alone are thousands of numbers."""
        found = self.summary.get("heldout")
        success = ", ".join(f"{value:.3f}" for value in found["student"]["success"]) if found else "not evaluated"
        levels = f" on {found['levels']:,} held-out levels" if found else ""
        return f"Result({self.config.env}, {self.config.algo}: success {success}{levels}; {self.run_dir})"
