"""The player's page: one HTML file with everything in it, that needs no server and no network.

Host module. It fills `page/page.html.jinja`. A policy in the page's head lets no request leave it.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import l4t_jax
from l4t_jax import files
from l4t_jax.envs import cells
from l4t_jax.envs.cells import ACTIONS, COLOURS
from l4t_jax.errors import RunFolderError
from l4t_jax.play.game import Game, as_data
from l4t_jax.reporting import render

ENGINE = ("arrays.js", "elements.js", "operations.js", "stablehlo.js", "game.js")  # what plays: also for node
SCRIPTS = (*ENGINE, "drawing.js", "player.js", "editor.js", "page.js")
# What the editor draws: name, kind, whether it has a colour, the code of one that has not.
TOOLS = (
    ("floor", cells.EMPTY, False, cells.EMPTY_CODE), ("wall", cells.WALL, False, cells.WALL_CODE),
    ("locked door", cells.DOOR_LOCKED, True, 0), ("closed door", cells.DOOR_CLOSED, True, 0),
    ("open door", cells.DOOR_OPEN, True, 0), ("key", cells.KEY, True, 0), ("ball", cells.BALL, True, 0),
    ("box", cells.BOX, True, 0), ("goal", cells.GOAL, False, cells.GOAL_CODE),
    ("lava", cells.LAVA, False, cells.LAVA_CODE),
)  # fmt: skip
KINDS = ("wall", "floor", "goal", "lava", "door_open", "door_closed", "door_locked", "key", "ball", "box")


def write(path: Path, games: Sequence[Game], levels: int) -> int:
    """Writes the page.

    Args:
        path: of the file.
        games: that it plays.
        levels: how many held-out levels go with each.

    Returns:
        The size of the file in bytes.

    Raises:
        ConfigError: a program of a game does something that the page cannot.
        RunFolderError: the file cannot be written.
    """
    page = text([as_data(game, levels) for game in games])
    try:
        files.write_whole(path, page)
    except OSError as error:
        raise RunFolderError(f"{error.filename or path} cannot be written: {error.strerror}") from error
    return len(page.encode())


def text(games: Sequence[dict[str, Any]]) -> str:
    """The page of games as `game.as_data` gives them."""
    import jinja2
    from markupsafe import Markup

    folder = resources.files("l4t_jax.play") / "page"
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("l4t_jax.play", "page"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    packed = gzip.compress(files.dumps(list(games)).encode(), mtime=0)
    names = ", ".join(game["name"] for game in games)
    half = any(leaf["element"] == "f16" for game in games for leaf in game["weights"].values())
    return pages.get_template("page.html.jinja").render(
        title=f"{names}: student and teacher",
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),
        script=Markup("".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)),
        games=base64.b64encode(packed).decode(),
        look=Markup(files.dumps(look()).replace("<", "\\u003c")),
        rounding="The students' parameters are rounded to 16 bits." if half else "",
        made=f"Made by python -m l4t_jax.play, l4t_jax {l4t_jax.__version__}.",
    )


def look() -> dict[str, Any]:
    """The colours and codes that the page draws with: those of `reporting.render` and `envs.cells`."""
    return dict(
        rgb=render.RGB, floor=render.FLOOR_RGB, line=render.LINE_RGB, wall=render.WALL_RGB, lava=render.LAVA_RGB,
        agent=render.AGENT_RGB, shade=render.UNSEEN_SHADE, dx=cells.DIR_X, dy=cells.DIR_Y, actions=ACTIONS,
        colours=COLOURS, tools=TOOLS, empty=cells.EMPTY_CODE,
        kinds={name: getattr(cells, name.upper()) for name in KINDS},
    )  # fmt: skip
