"""The style of all figures: palette, borders and sizes.

Figures are at most about nine inches wide with a font size of 12 points or more, so that they remain readable at half
the width of a slide. Nothing is encoded by colour alone: lines differ in marker and dash, borders in dash.
"""

from itertools import cycle, islice
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ..files import write_atomically

# Okabe & Ito 2008, without yellow, which is hardly visible on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# The numbers of colours, markers and dashes are coprime, so 140 curves differ.
MARKERS = ("o", "s", "^", "D", "v")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
INK, MUTED = "#222222", "#767676"

MATCH = {"edgecolor": "#00894F", "linestyle": "solid", "linewidth": 4.0}
"""Border of a match in a ranking list."""
MISMATCH = {"edgecolor": "#D7191C", "linestyle": "dashed", "linewidth": 4.0}
"""Border of any other gallery image in a ranking list."""
QUERY = {"edgecolor": "#000000", "linestyle": "solid", "linewidth": 2.0}
"""Border of a query image."""

QUALITY = 88
"""WebP quality of saved figures, out of 100, at which text and thin lines still have clean edges."""

SIZE = 13
"""Font size in points."""


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
            "lines.dashed_pattern": (1.8, 1.0),  # in line widths; short enough for the border of a small image
            "legend.frameon": False,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "pdf.fonttype": 42,  # TrueType: publishers refuse the default, Type 3
            "image.interpolation": "antialiased",
        }
    )


def lines(count: int) -> list[dict]:
    """Colour, marker and dash of ``count`` curves; any two of the first 20 have at most one of the three in common."""
    styles = zip(cycle(PALETTE), cycle(MARKERS), cycle(DASHES))
    return [{"color": c, "marker": m, "linestyle": d} for c, m, d in islice(styles, count)]


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure atomically as WebP at 150 dpi, and beside it as PDF for papers; close it, and return the path.

    For a sheet of photographs WebP takes a seventh of the size of PNG, so that a study's figures can be committed. In
    the PDF lines and text are vectors, photographs raster. The same figure gives the same bytes. Raises ValueError for
    another suffix, OSError if it cannot be written.
    """
    path = Path(path)
    if path.suffix != ".webp":
        raise ValueError(f"figures must be saved as .webp, got {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"dpi": 150, "bbox_inches": "tight", "pad_inches": 0.08}
    has_pictures = any(axes.images for axes in figure.axes)  # lines and text alone are smaller without losses
    webp = options | {"format": "webp", "pil_kwargs": {"quality": QUALITY, "method": 6, "lossless": not has_pictures}}
    pdf = options | {"format": "pdf", "metadata": {"CreationDate": None}}  # else no two are the same
    try:
        write_atomically(path, lambda file: figure.savefig(file, **webp))
        write_atomically(path.with_suffix(".pdf"), lambda file: figure.savefig(file, **pdf))
    finally:
        plt.close(figure)
    return path
