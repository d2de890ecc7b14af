"""Curves of several runs in one picture: bands over seeds, lines that carry their names.

Host module; matplotlib and pillow are imported where they are used. The colours are Okabe and Ito's, which people with
any kind of colour vision can tell apart. An algorithm says its own (`Algorithm.colour`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TEACHER, FAINT = "#333333", "#8a8f98"
DPI = 100

# A line of a picture: `variant` (the key of its colour), `label`, `curve` ("steps" and "seconds", and of each drawn
# figure "value", "low" and "high" along the curve), `random` (the random policy's figures, with which a curve starts;
# None where they are not known).
Line = Mapping[str, Any]


def panels(rows: int, columns: int, size: tuple[float, float], share: bool = False, dpi: int = DPI) -> tuple[Any, Any]:
    """A figure and its panels `(rows, columns)`, with a faint grid and two spines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained", dpi=dpi)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=share)
    for panel in axes.flat:
        panel.grid(alpha=0.25, linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def as_png(figure: Any) -> bytes:
    """A picture with a palette, a third of the size of full colour and as good to look at.

    The palette goes by how far colours are apart. One that goes by the number of pixels gives thin lines the colours of
    their neighbours.
    """
    from PIL import Image

    whole, small = io.BytesIO(), io.BytesIO()
    figure.savefig(whole, format="png")
    Image.open(whole).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(small, format="PNG", optimize=True)
    return small.getvalue()


def save(figure: Any, path: Path) -> Path:
    """Writes a picture as `as_png` gives it."""
    path.write_bytes(as_png(figure))
    return path


def lines(panel: Any, runs: Sequence[Line], name: str, against: str, colours: Mapping[Any, str]) -> None:
    """Draws curves with their bands.

    Args:
        panel: to draw on.
        runs: the lines.
        name: what is drawn, "success" or "return".
        against: "steps" or "seconds".
        colours: of each line's `variant`.
    """
    from matplotlib.ticker import EngFormatter

    for run in runs:
        x, curve = np.asarray(run["curve"][against], float), run["curve"][name]
        colour = colours[run["variant"]]
        if run["random"] is not None:  # a student that has learned nothing
            x = np.concatenate([[0.0], x])
            curve = {end: [run["random"][name], *values] for end, values in curve.items()}
        panel.fill_between(x, curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0)
        panel.plot(x, curve["value"], color=colour, linewidth=1.7)
    panel.set(xlim=(0, None), ylim=(-0.02, 1.03))
    if against == "steps":
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))


def level(panel: Any, height: float) -> Any:
    """Draws the teacher's own figure as a level line, which is given back."""
    return panel.axhline(height, color=TEACHER, linestyle=(0, (4, 3)), linewidth=1.1, zorder=1)


def ends(runs: Sequence[Line], name: str, colours: Mapping[Any, str]) -> list[tuple[float, str, str]]:
    """(height, words, colour) of each line's end."""
    return [(run["curve"][name]["value"][-1], run["label"], colours[run["variant"]]) for run in runs]


def say(panel: Any, ends: list[tuple[float, str, str]]) -> None:
    """Names lines at the right edge, as near to their ends as they can stand without covering each other.

    Args:
        panel: the lines are drawn on it.
        ends: (height, words, colour) of each, from `ends`.
    """
    gap = 0.085 * 2.6 / max(panel.figure.get_size_inches()[1] / panel.get_gridspec().nrows - 0.6, 1.0)
    ends = sorted(ends)
    heights = np.asarray([end[0] for end in ends])
    for _ in range(200):  # push neighbours apart, evenly, until they stand clear
        short = gap - np.diff(heights)
        if (short < 1e-3).all():
            break
        push = np.maximum(short, 0) / 2
        heights[:-1] -= push
        heights[1:] += push
    heights[-1] = min(heights[-1], 1.03)
    for i in reversed(range(len(heights) - 1)):  # those that the top pushes back
        heights[i] = min(heights[i], heights[i + 1] - gap)
    for height, (_, words, colour) in zip(heights, ends, strict=True):
        panel.annotate(words, (1.0, height), (5, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                       va="center", fontsize=9, color=colour, annotation_clip=False)  # fmt: skip
