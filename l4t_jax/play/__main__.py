"""`python -m l4t_jax.play RUN`: a page that runs in a browser, in which a run's student plays beside its teacher."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Literal

from l4t_jax import commandline
from l4t_jax.commandline import guarded, json_only, print_json
from l4t_jax.play import LEVELS, NAME, play

DESCRIPTION = (
    "Writes a page that runs in a browser: a run's student beside its teacher, with a level editor. "
    "Of several runs, the page lets one choose. It is one file that needs no server and no network."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """The command's options."""

    runs: tuple[str, ...] = dataclasses.field(metadata={"positional": True})
    """Run folders, such as runs/SimpleDoorKey-l4t-0, or names of trained students, such as KeyCorridorS3R3."""
    out: str | None = None
    """The file."""
    seed: int = 0
    """Which of each run's students, counted from 0."""
    checkpoint: Literal["last", "best"] = "last"
    """last: the parameters at the end. best: those with the highest success on validation levels."""
    weights: Literal["float32", "float16"] = "float32"
    """float32: the parameters as they are. float16: rounded, which halves the file."""
    levels: int = LEVELS
    """How many held-out levels of each task go with the page."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours to load; the runs' own are loaded anyway."""
    json: bool = False
    """Print one JSON object on standard output, and nothing else there."""


def main(argv: Sequence[str] | None = None, prog: str = "python -m l4t_jax.play") -> int:
    """Runs the command; returns the exit code."""
    return guarded(lambda: _main(sys.argv[1:] if argv is None else argv, prog), commandline.settings_of(Command))


def _main(argv: Sequence[str], prog: str) -> int:
    command = commandline.parse(Command, argv, prog, DESCRIPTION, lambda name: f"{NAME} in the first run's folder")
    with json_only(command.json):
        file, size = play(
            *command.runs, out=command.out, seed=command.seed, checkpoint=command.checkpoint,
            weights=command.weights, levels=command.levels, imports=command.imports,
        )  # fmt: skip
        if command.json:
            print_json(dict(file=str(file), bytes=size))
            return 0
    print(f"{file}: {size / 1e6:.1f} MB; open it in a browser, no server is needed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
