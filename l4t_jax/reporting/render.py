"""Pictures of environments in MiniGrid's style, with unseen cells dark and a caption below.

Host module: numpy and pillow.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from l4t_jax.envs.cells import (
    BALL,
    BOX,
    DIR_X,
    DIR_Y,
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    FLOOR,
    GOAL,
    KEY,
    LAVA,
    WALL,
)

RGB = ((224, 60, 49), (63, 166, 92), (64, 120, 220), (150, 80, 200), (240, 196, 60), (130, 134, 140))  # by colour index
FLOOR_RGB, LINE_RGB, WALL_RGB, LAVA_RGB = (38, 40, 46), (58, 61, 69), (150, 153, 160), (240, 120, 40)
AGENT_RGB, PAPER_RGB, INK_RGB, FAINT_RGB = (236, 72, 60), (250, 250, 248), (28, 30, 34), (105, 108, 116)
UNSEEN_SHADE = 0.68  # how dark unseen cells are: 0 not at all, 1 black
SIDE = 384  # approximate pixels of a map's longer side
SMOOTH = 3  # pictures are drawn this much larger, then reduced
MOST_FRAMES = 150

Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Caption:
    """The text under a picture: a title line, then (label, text) lines."""

    title: str
    lines: Sequence[tuple[str, str]] = ()


def world_image(cells: np.ndarray, agent: np.ndarray, seen: np.ndarray | None = None, carrying: int = 0) -> Image.Image:
    """Draws an environment.

    Args:
        cells: `uint8[W, H]` cell codes, x first.
        agent: `int[3]` x, y, direction.
        seen: `bool[W, H]` cells that the agent has seen; the rest is dark. None: all are seen.
        carrying: code of the carried object, drawn on the agent; 0 for none.
    """
    width, height = cells.shape
    tile = max(16, min(48, SIDE // max(width, height)))
    big = tile * SMOOTH
    image = Image.new("RGB", (width * big, height * big), FLOOR_RGB)
    draw = ImageDraw.Draw(image)
    for x in range(width):
        for y in range(height):
            _cell(draw, int(cells[x, y]), (x * big, y * big), big)
    _agent(draw, int(agent[0]) * big, int(agent[1]) * big, int(agent[2]), big)
    if carrying:
        _cargo(draw, int(carrying), int(agent[0]) * big, int(agent[1]) * big, big)
    image = image.reduce(SMOOTH)
    if seen is None:
        return image
    pixels = np.asarray(image, np.float32)
    dark = np.kron(~np.asarray(seen, bool).T, np.ones((tile, tile), bool))[..., None]
    shaded = np.where(dark, pixels * (1 - UNSEEN_SHADE), pixels)
    return Image.fromarray(shaded.round().astype(np.uint8))


def _cell(draw: ImageDraw.ImageDraw, code: int, at: tuple[int, int], size: int) -> None:
    kind, colour = code & 15, RGB[min(code >> 4, len(RGB) - 1)]
    left, top = at

    def box(x0: float, y0: float, x1: float, y1: float) -> Box:
        return left + x0 * size, top + y0 * size, left + x1 * size - 1, top + y1 * size - 1

    dim = tuple(int(0.42 * c) for c in colour)
    thin = max(1, size // 32)
    draw.rectangle(box(0, 0, 1, 1), fill=FLOOR_RGB, outline=LINE_RGB, width=thin)
    if kind == WALL:
        draw.rectangle(box(0, 0, 1, 1), fill=WALL_RGB)
    elif kind == FLOOR:
        draw.rectangle(box(0.04, 0.04, 0.96, 0.96), fill=dim)
    elif kind == GOAL:
        draw.rectangle(box(0.04, 0.04, 0.96, 0.96), fill=colour)
    elif kind == LAVA:
        draw.rectangle(box(0, 0, 1, 1), fill=LAVA_RGB)
        for row in (0.25, 0.5, 0.75):
            wave = [
                (left + (0.08 + 0.84 * i / 24) * size, top + (row + 0.05 * np.sin(i / 24 * 4 * np.pi)) * size)
                for i in range(25)
            ]
            draw.line(wave, fill=(80, 30, 10), width=max(1, size // 24))
    elif kind == DOOR_OPEN:
        draw.rectangle(box(0.84, 0, 1, 1), fill=dim, outline=colour, width=max(2, size // 18))
    elif kind == DOOR_CLOSED:
        draw.rectangle(box(0.02, 0.02, 0.98, 0.98), outline=colour, width=max(2, size // 14))
        draw.rectangle(box(0.16, 0.16, 0.84, 0.84), fill=dim, outline=colour, width=max(1, size // 28))
        draw.ellipse(box(0.66, 0.44, 0.78, 0.56), fill=colour)
    elif kind == DOOR_LOCKED:
        draw.rectangle(box(0.02, 0.02, 0.98, 0.98), fill=dim, outline=colour, width=max(2, size // 12))
        draw.ellipse(box(0.4, 0.3, 0.6, 0.5), fill=colour)
        draw.polygon(
            [(left + a * size, top + b * size) for a, b in ((0.5, 0.36), (0.6, 0.72), (0.4, 0.72))], fill=colour
        )
    elif kind == KEY:
        _key(draw, left, top, size, colour)
    elif kind == BALL:
        draw.ellipse(box(0.2, 0.2, 0.8, 0.8), fill=colour)
    elif kind == BOX:
        draw.rectangle(box(0.15, 0.15, 0.85, 0.85), outline=colour, width=max(2, size // 12))
        draw.rectangle(box(0.15, 0.46, 0.85, 0.54), fill=colour)


def _key(draw: ImageDraw.ImageDraw, left: float, top: float, size: float, colour: tuple[int, ...]) -> None:
    def box(x0: float, y0: float, x1: float, y1: float) -> Box:
        return left + x0 * size, top + y0 * size, left + x1 * size, top + y1 * size

    draw.rectangle(box(0.5, 0.4, 0.6, 0.88), fill=colour)  # stem
    draw.rectangle(box(0.36, 0.6, 0.5, 0.67), fill=colour)  # bits
    draw.rectangle(box(0.36, 0.76, 0.5, 0.83), fill=colour)
    draw.ellipse(box(0.37, 0.12, 0.73, 0.48), outline=colour, width=max(2, round(size * 0.1)))


def _agent(draw: ImageDraw.ImageDraw, left: float, top: float, direction: int, size: int) -> None:
    dx, dy = DIR_X[direction], DIR_Y[direction]
    middle = left + size / 2, top + size / 2
    points = [
        (middle[0] + (a * dx - b * dy) * size, middle[1] + (a * dy + b * dx) * size)
        for a, b in ((0.38, 0.0), (-0.34, 0.32), (-0.34, -0.32))
    ]
    draw.polygon(points, fill=AGENT_RGB)


def _cargo(draw: ImageDraw.ImageDraw, code: int, left: float, top: float, size: int) -> None:
    """Draws the carried object as a badge in the corner of the agent's cell."""
    small = size * 0.5
    x, y = left + size * 0.5, top + size * 0.5
    draw.ellipse((x, y, x + small - 1, y + small - 1), fill=PAPER_RGB)
    colour = tuple(int(0.8 * c) for c in RGB[min(code >> 4, len(RGB) - 1)])
    if code & 15 == KEY:
        _key(draw, x + 0.05 * small, y + 0.02 * small, small * 0.95, colour)
    else:
        draw.ellipse((x + 0.25 * small, y + 0.25 * small, x + 0.75 * small, y + 0.75 * small), fill=colour)


@functools.cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)


def _wrap(text: str, font: Any, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]


def with_caption(image: Image.Image, caption: Caption, height: int | None = None) -> Image.Image:
    """The picture with its caption below.

    Args:
        image: of an environment.
        caption: wrapped to the picture's width.
        height: of the caption in pixels; by default as high as needed.
    """
    title, text, margin, label = _font(16), _font(14), 10, 66
    rows: list[tuple[str, str]] = []
    for name, words in caption.lines:
        wrapped = _wrap(words, text, image.width - 2 * margin - label)
        rows += [(name if i == 0 else "", line) for i, line in enumerate(wrapped)]
    strip = height or caption_height(image.width, caption)
    canvas = Image.new("RGB", (image.width, image.height + strip), PAPER_RGB)
    canvas.paste(image, (0, 0))
    draw = ImageDraw.Draw(canvas)
    y = image.height + 8
    draw.text((margin, y), caption.title, font=title, fill=INK_RGB)
    y += 26
    for name, line in rows:
        draw.text((margin, y), name, font=text, fill=FAINT_RGB)
        draw.text((margin + label, y), line, font=text, fill=INK_RGB)
        y += 19
    return canvas


def caption_height(width: int, caption: Caption) -> int:
    """The height in pixels of a caption under a picture of that width."""
    lines = sum(len(_wrap(words, _font(14), width - 86)) for _, words in caption.lines)
    return 8 + 26 + 19 * lines + 8


def frames(number: int) -> list[int]:
    """The frames to draw of `number`: all, or `MOST_FRAMES` evenly spaced ones with the first and the last."""
    return np.unique(np.linspace(0, number - 1, min(number, MOST_FRAMES)).round().astype(int)).tolist()


def save_gif(path: Path, pictures: Sequence[Image.Image], captions: Sequence[Caption], frame_ms: int = 220) -> None:
    """Writes an animation whose last frame stays for 2 s; see `frames` for long episodes.

    Args:
        path: of the file.
        pictures: of environments, all of one size.
        captions: one per picture.
        frame_ms: milliseconds per frame.
    """
    height = max(caption_height(pictures[0].width, caption) for caption in captions)
    captioned = [with_caption(image, caption, height) for image, caption in zip(pictures, captions, strict=True)]
    # One palette for all frames, from the first and the last, keeps the file small and the colours constant.
    both = Image.new("RGB", (captioned[0].width, 2 * captioned[0].height))
    both.paste(captioned[0], (0, 0))
    both.paste(captioned[-1], (0, captioned[0].height))
    found = both.quantize(colors=160, method=Image.Quantize.MEDIANCUT).getpalette() or []
    # Small objects keep their exact colours, seen and unseen; quantizing by pixel counts would blend them away.
    plain = (AGENT_RGB, *RGB, LAVA_RGB, WALL_RGB, FLOOR_RGB, PAPER_RGB)
    exact = [round(c * light) for rgb in plain for light in (1, 1 - UNSEEN_SHADE) for c in rgb]
    palette = Image.new("P", (1, 1))
    palette.putpalette(exact + found)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in captioned]
    duration = [frame_ms] * (len(flat) - 1) + [2000]
    flat[0].save(path, save_all=True, append_images=flat[1:], duration=duration, loop=0, optimize=False)
