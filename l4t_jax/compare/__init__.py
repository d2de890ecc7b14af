"""Runs beside each other, as a page and a picture: `compare`, the command's function.

Host package; `l4t_jax.compare` can be called like it. `runs` reads run folders and finds the figures, `webpage` writes
the page and the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from l4t_jax import commandline

PAGE = "compare.html"
Group = Literal["seeds", "none"]


def compare(
    *run_dirs: str | Path, out: str | Path = PAGE, group: Group = "seeds", imports: Sequence[Any] = ()
) -> dict[str, Any]:  # fmt: skip
    """Compares runs.

    Args:
        *run_dirs: their folders; `~` is the home folder, here and in `out`.
        out: the page, a name that ends in .html; the picture is written beside it.
        group: "seeds" takes finished runs whose settings differ in their seed alone as one line; "none" takes none
            together.
        imports: extensions to load.

    Returns:
        What the page says, as strict JSON: `page` and `picture` (their paths; the picture None where no run has a
        curve), `tasks`, `lines`, `differences` and `notes`.

    Raises:
        RunFolderError: a folder is no run folder, or the page cannot be written.
        ConfigError: there is no run, or `out` does not end in .html; an extension cannot be loaded.
    """
    from l4t_jax import extensions, files
    from l4t_jax.compare import runs, webpage
    from l4t_jax.config import with_home
    from l4t_jax.errors import ConfigError

    page = Path(with_home(out))
    if page.suffix != ".html":
        raise ConfigError(f"`out` must end in .html, not {str(out)!r}: it names the page, the picture goes beside it")
    extensions.load_all(imports)
    found = runs.compare([Path(with_home(one)) for one in run_dirs], group == "seeds")
    picture = page.with_suffix(".png")
    drawn = webpage.write(page, picture, found)
    return files.strict(
        dict(page=str(page), picture=str(picture) if drawn else None, **runs.as_json(found))
    )  # fmt: skip


commandline.callable_as(__name__, compare)
