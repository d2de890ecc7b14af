"""Pictures as files: small, and with the colours they were drawn in."""

import io

import numpy as np
from PIL import Image

from l4t_jax.reporting import curves

LINES = ("#0072B2", "#D55E00", "#E69F00", "#F0E442", "#009E73", "#56B4E9", "#CC79A7", "#6A3D9A", "#999999")


def test_thin_lines_of_like_colours_stay_apart() -> None:
    """A palette that goes by the number of pixels makes one of orange and yellow: lines are few pixels."""
    figure, axes = curves.panels(2, 4, (12.0, 6.0))
    for panel in axes.flat:
        panel.plot([0, 1], [0, 1], color="#0072B2")
        panel.fill_between([0, 1], [0.2, 0.5], [0.6, 0.9], color="#D55E00", alpha=0.2)
    for i, colour in enumerate(LINES):
        axes[0][0].plot([0, 0.2], [0.1 * i, 0.1 * i], color=colour, linewidth=1.7)
    content = curves.as_png(figure)
    assert len(content) < 40_000
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), int).reshape(-1, 3)
    for colour in LINES:
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert np.abs(pixels - wanted).max(axis=1).min() <= 12, colour
