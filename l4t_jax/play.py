"""`python -m l4t_jax.play RUN`: a page that runs in a browser, in which a run's student plays beside its teacher.

Host module. The work is done in `player`. As `l4t_jax.play` is the function too, this module can be called like it.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from l4t_jax import commandline
from l4t_jax.commandline import guarded, json_only, print_json

DESCRIPTION = (
    "Writes a page that runs in a browser: a run's student beside its teacher, with a level editor. "
    "Of several runs, the page lets one choose. It is one file that needs no server and no network."
)
NAME = "play.html"
LEVELS = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """The command's options."""

    runs: tuple[str, ...] = dataclasses.field(metadata={"positional": True})
    """Run folders, such as runs/SimpleDoorKey-l4t-0."""
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


def play(
    *run_dirs: str | Path,
    out: str | Path | None = None,
    seed: int = 0,
    checkpoint: Literal["last", "best"] = "last",
    weights: Literal["float32", "float16"] = "float32",
    levels: int = LEVELS,
    imports: Sequence[Any] = (),
) -> tuple[Path, int]:
    """Writes a page in which the students of runs play beside their teachers.

    Args:
        *run_dirs: the run folders; `~` is the home folder, here and in `out`.
        out: the file; play.html in the first run's folder by default.
        seed: which of each run's students, counted from 0.
        checkpoint: "last", or "best" by success on the validation levels.
        weights: "float16" rounds the students' parameters, which halves the file.
        levels: how many held-out levels of each task go with the page.
        imports: extensions to load beside those of the runs, which are loaded by themselves.

    Returns:
        The file and its size in bytes.

    Raises:
        RunFolderError, CheckpointError, ConfigError, TeacherFileError: as `load_student`; or a student cannot be
            computed by the page, there is no run, or the file cannot be written.
    """
    import jax

    from l4t_jax.config import with_home
    from l4t_jax.errors import ConfigError
    from l4t_jax.player import webpage
    from l4t_jax.player.game import open_game

    if not run_dirs:
        raise ConfigError("a page needs at least one run folder")
    if levels < 1:
        raise ConfigError(f"`levels` must be at least 1, not {levels}")
    folders = [Path(with_home(run)) for run in run_dirs]
    file = folders[0] / NAME if out is None else Path(with_home(out))
    with jax.enable_x64(False):
        games = [
            open_game(folder, seed=seed, checkpoint=checkpoint, precision=weights, imports=tuple(imports))
            for folder in folders
        ]
        return file, webpage.write(file, games, levels)


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


commandline.callable_as(__name__, play)


if __name__ == "__main__":
    sys.exit(main())
