"""A page that runs in a browser, in which a run's student plays beside its teacher: `play`, the command's function.

Host package; `l4t_jax.play` can be called like it. `programs` are the rules, the student and the teacher as JAX
functions, `stablehlo` writes JAX functions as data, `game` collects what the page needs of one run, and `webpage` makes
the page from `page/`. There `stablehlo.js` interprets the programs with `arrays.js`, `elements.js` and `operations.js`;
`game.js` plays episodes with them; the others show them and edit levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from l4t_jax import commandline

NAME = "play.html"
LEVELS = 200


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
        *run_dirs: the run folders, or names of trained students; `~` is the home folder, here and in `out`.
        out: the file; by default play.html in the first run's folder, and NAME-play.html of a trained student.
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
    from l4t_jax.play import webpage
    from l4t_jax.play.game import open_game
    from l4t_jax.trained import beside, find

    if not run_dirs:
        raise ConfigError("a page needs at least one run folder")
    if levels < 1:
        raise ConfigError(f"`levels` must be at least 1, not {levels}")
    folders = [find(run) for run in run_dirs]
    file = beside(folders[0], NAME) if out is None else Path(with_home(out))
    with jax.enable_x64(False):
        games = [
            open_game(folder, seed=seed, checkpoint=checkpoint, precision=weights, imports=tuple(imports))
            for folder in folders
        ]
        return file, webpage.write(file, games, levels)


commandline.callable_as(__name__, play)
