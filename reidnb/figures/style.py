"""How every figure looks: one palette, one pair of borders, one set of sizes.

Figures are made at most about nine inches wide with letters of 12 points or more, so that they can still be read at
half the width of a slide. Nothing is told by colour alone: lines differ by marker and dash, borders by dash.
"""

from itertools import cycle, islice
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ..files import write_atomically

# Okabe & Ito 2008, without the yellow, which is lost on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Seven colours, five markers, four dashes have no common divisor: 140 curves before two look alike.
MARKERS = ("o", "s", "^", "D", "v")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
INK, MUTED = "#222222", "#767676"

RIGHT = {"edgecolor": "#00894F", "linestyle": "solid", "linewidth": 4.0}
"""Border of a right gallery image."""
WRONG = {"edgecolor": "#D7191C", "linestyle": "dashed", "linewidth": 4.0}
"""Border of a wrong gallery image."""
QUERY = {"edgecolor": "#000000", "linestyle": "solid", "linewidth": 2.0}
"""Border of a query image."""

QUALITY = 88
"""Of saved figures, of 100: letters and thin lines still have clean edges."""

SIZE = 13
"""Size of ordinary letters in points."""


def use() -> None:
    """Set matplotlib's defaults for this process."""
    mpl.rcParams.update(
        {
            "font.size": SIZE,
            "axes.titlesize": SIZE + 1,
            "axes.labelsize": SIZE,
            "xtick.labelsize": SIZE - 1,
            "ytick.labelsize": SIZE - 1,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": MUTED,
            "axes.labelcolor": INK,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E4E4E4",
            "grid.linewidth": 0.8,
            "axes.prop_cycle": mpl.cycler(color=PALETTE),
            "lines.linewidth": 2.2,
            "lines.markersize": 6,
            "lines.dash_capstyle": "butt",
            "lines.dashed_pattern": (1.8, 1.0),  # in line widths: short enough for a small image's border
            "legend.frameon": False,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "image.interpolation": "antialiased",
        }
    )


def lines(count: int) -> list[dict]:
    """Colour, marker and dash of ``count`` curves; of the first 20 no two share more than one of the three."""
    looks = zip(cycle(PALETTE), cycle(MARKERS), cycle(DASHES))
    return [{"color": c, "marker": m, "linestyle": d} for c, m, d in islice(looks, count)]


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as WebP at 150 dots an inch, whole or not at all, close it, and return the path.

    WebP takes a seventh of what PNG takes for a sheet of photographs, so that a study's figures can be committed. The
    same figure gives the same bytes. Raises ValueError for another suffix, OSError when it cannot be written.
    """
    path = Path(path)
    if path.suffix != ".webp":
        raise ValueError(f"figures are saved as .webp, got {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"format": "webp", "dpi": 150, "bbox_inches": "tight", "pad_inches": 0.08}
    options |= {"pil_kwargs": {"quality": QUALITY, "method": 6}}
    try:
        write_atomically(path, lambda file: figure.savefig(file, **options))
    finally:
        plt.close(figure)
    return path
