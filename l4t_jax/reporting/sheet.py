"""Levels of a task for the eye: a sheet of pictures and lines of text, each level with its mission and its sentence.

Host module; pillow is imported where pictures are made.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import numpy as np

from l4t_jax.abstraction import symbolic
from l4t_jax.envs import Task
from l4t_jax.envs.cells import COLOURS
from l4t_jax.envs.levels import heldout_levels, level_hash
from l4t_jax.envs.navix import make_env
from l4t_jax.envs.visibility import know
from l4t_jax.skills.actions import symbolic_states

if TYPE_CHECKING:
    from PIL import Image

# One character a kind, in the order of the kinds' numbers; the colour's first letter follows (e: grey).
SIGNS = " .#,/koBG~?+="
COLOUR_SIGNS = "rgbpye"
PLAIN = " .#~"  # kinds whose colour says nothing
FACING = ">v<^"
LEGEND = (
    "a cell is two characters, kind and colour: "
    "## wall, .. floor, / open door, + closed door, = locked door, k key, o ball, B box, G goal, ~~ lava, >v<^ agent; "
    "colours: r red, g green, b blue, p purple, y yellow, e grey"
)
GAP = 16  # pixels between two pictures of a sheet


@dataclasses.dataclass(frozen=True)
class Shown:
    """A level as a person looks at it.

    Attributes:
        cells: `uint8[W, H]` cell codes.
        agent: `int8[3]` x, y and direction.
        seen: `bool[W, H]` what the agent sees at the start.
        carrying: code of what it carries from the start, 0 for nothing.
        hash: of the level.
        mission: in MiniGrid's words.
        sentence: the symbolic state at the start, as an LLM is told it; None where the task names no objects.
    """

    cells: np.ndarray
    agent: np.ndarray
    seen: np.ndarray
    carrying: int
    hash: int
    mission: str
    sentence: str | None


def shown_levels(task: Task, number: int) -> list[Shown]:
    """The first `number` levels of the test split."""
    env = make_env(task)

    def draw() -> tuple:
        levels = heldout_levels(env, number, "test")
        states = symbolic_states(task, jax.vmap(know)(levels)) if task.objects else None
        return levels, level_hash(levels), states

    with jax.enable_x64(False):
        levels, hashes, states = jax.device_get(jax.jit(draw)())
    return [
        Shown(
            levels.cells[i],
            levels.agent[i],
            levels.seen[i],
            int(levels.carrying[i]),
            int(hashes[i]),
            task.say(None if levels.mission is None else levels.mission[i].tolist()),
            None if states is None else symbolic.decode(task, int(states[i])).sentence,
        )
        for i in range(number)
    ]


def as_text(level: Shown) -> str:
    """The map in two characters a cell, `LEGEND`'s, a row a line."""
    width, height = level.cells.shape
    rows = []
    for y in range(height):
        row = ""
        for x in range(width):
            code = int(level.cells[x, y])
            sign = SIGNS[code & 15]
            row += sign + (sign if sign in PLAIN else COLOUR_SIGNS[min(code >> 4, len(COLOURS) - 1)])
        rows.append(row)
    x, y, direction = (int(value) for value in level.agent)
    rows[y] = rows[y][: 2 * x] + FACING[direction] * 2 + rows[y][2 * x + 2 :]
    return "\n".join(rows)


def sheet(task: Task, levels: list[Shown]) -> Image.Image:
    """Pictures of levels in two columns, each with its mission and sentence underneath."""
    from PIL import Image

    from l4t_jax.reporting import render

    pictures = [render.world_image(one.cells, one.agent, one.seen, one.carrying) for one in levels]
    captions = []
    for i, one in enumerate(levels):
        lines = [("mission", one.mission or "none")]
        if one.sentence is not None:
            lines.append(("state", one.sentence))
        captions.append(render.Caption(f"{task.name}, test level {i + 1}", lines))
    strip = max(render.caption_height(pictures[0].width, caption) for caption in captions)
    tiles = [render.with_caption(image, caption, strip) for image, caption in zip(pictures, captions, strict=True)]
    width, height = tiles[0].size
    columns = min(2, len(tiles))
    rows = -(-len(tiles) // columns)
    canvas = Image.new(
        "RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), render.PAPER_RGB
    )  # fmt: skip
    for i, tile in enumerate(tiles):
        canvas.paste(tile, (GAP + i % columns * (width + GAP), GAP + i // columns * (height + GAP)))
    return canvas
