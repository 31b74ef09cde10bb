"""Ranking lists: a query and the top-ranked gallery images of a model."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from . import style
from .sheet import LINE, Sheet, check_images

WIDTH = 0.68
"""Width of an image in inches."""
SPACE = 0.18
"""Inches between two images, with room for their borders."""
GAP = 0.3
"""Inches between the query and its ranking."""
MARGIN = 0.12


def ranking_list(
    queries: np.ndarray,
    galleries: np.ndarray,
    matches: np.ndarray,
    *,
    titles: Sequence[str] | None = None,
    names: Sequence[Sequence[str]] | None = None,
) -> Figure:
    """A row for each query: the query with a black border, then the ranked gallery images, best first.

    queries     (Q, H, W, 3) uint8
    galleries   (Q, K, H, W, 3) uint8
    matches     (Q, K) bool: matches have a solid green border, other images a dashed red one. Masked entries of a
                masked array are missing, and nothing is drawn there
    titles      a line above each row
    names       (Q, K) short texts below each gallery image

    Raises ValueError if the shapes do not agree.
    """
    queries, galleries, matches = _checked(queries, galleries, matches, "the ranking")
    _count(titles, len(queries), "titles")
    _count(names, len(queries), "names")
    for texts in names or ():
        _count(texts, matches.shape[1], "names of a query")
    image_height = WIDTH * queries.shape[1] / queries.shape[2]
    above = LINE * (2 if titles else 1)
    row_height = above + image_height + SPACE + (LINE if names else 0)
    sheet = _sheet(matches.shape[1], len(queries) * row_height)
    for q in range(len(queries)):
        top = MARGIN + q * row_height
        if titles:
            sheet.text(titles[q], MARGIN, top, va="top", weight="bold", size=style.SIZE)
        top += above
        sheet.text("query", MARGIN + WIDTH / 2, top - 0.09, ha="center", size=style.SIZE - 1)
        sheet.image(queries[q], MARGIN, top, WIDTH, style.QUERY)
        _ranked(sheet, galleries[q], matches[q], top, numbered=True)
        for k, text in enumerate(names[q] if names else ()):
            if not matches.mask[q, k]:
                centre = _left(k) + WIDTH / 2
                sheet.text(text, centre, top + image_height + 0.1, ha="center", va="top", size=style.SIZE - 3)
    return sheet.figure


def compare_rankings(
    queries: np.ndarray, models: Mapping[str, tuple[np.ndarray, np.ndarray]], *, titles: Sequence[str] | None = None
) -> Figure:
    """For each query a row per model, labelled with its name: the same query with and without a module, for example.

    ``models`` maps a name to (galleries, matches) as in ``ranking_list``; lists may differ in length.
    """
    if not models:
        raise ValueError("no model to compare: pass {name: (galleries, matches)}")
    _count(titles, len(queries), "titles")
    lists = {name: _checked(queries, *pair, repr(name))[1:] for name, pair in models.items()}
    queries = check_images(queries, "queries", ("Q", "H", "W", "3"))
    image_height = WIDTH * queries.shape[1] / queries.shape[2]
    first, following = 2 * LINE + image_height + SPACE, LINE + 0.05 + image_height + SPACE  # numbers on the first only
    block = first + (len(lists) - 1) * following + 0.2
    above = LINE + 0.08 if titles else 0
    longest = max(matches.shape[1] for _, matches in lists.values())
    sheet = _sheet(longest, len(queries) * (block + above))
    for q in range(len(queries)):
        top = MARGIN + q * (block + above)
        if titles:
            sheet.text(titles[q], MARGIN, top, va="top", weight="bold", size=style.SIZE)
            top += above
        sheet.text("query", MARGIN + WIDTH / 2, top + 2 * LINE - 0.09, ha="center", size=style.SIZE - 1)
        sheet.image(queries[q], MARGIN, top + 2 * LINE, WIDTH, style.QUERY)
        for number, (name, (galleries, matches)) in enumerate(lists.items()):
            label_top = top if number == 0 else top + first + (number - 1) * following
            sheet.text(_shortened(name, sheet), _left(0), label_top, va="top", weight="bold", size=style.SIZE)
            image_top = label_top + (2 * LINE if number == 0 else LINE + 0.05)
            _ranked(sheet, galleries[q], matches[q], image_top, numbered=number == 0)
    return sheet.figure


def _ranked(sheet: Sheet, images: np.ndarray, matches: np.ma.MaskedArray, top: float, numbered: bool) -> None:
    for k in np.flatnonzero(~matches.mask):
        if numbered:
            sheet.text(str(k + 1), _left(k) + WIDTH / 2, top - 0.09, ha="center", size=style.SIZE - 1)
        sheet.image(images[k], _left(k), top, WIDTH, style.MATCH if matches.data[k] else style.MISMATCH)


def _shortened(name: str, sheet: Sheet) -> str:
    letters = int((sheet.width - _left(0)) * 72 / (style.SIZE * 0.66))
    return name if len(name) <= letters else name[: letters - 1].rstrip() + "…"


def _left(k: int) -> float:
    return MARGIN + WIDTH + GAP + k * (WIDTH + SPACE)


def _sheet(length: int, height: float) -> Sheet:
    return Sheet(_left(length) - SPACE + MARGIN, height + 2 * MARGIN)


def _checked(queries, galleries, matches, owner: str) -> tuple[np.ndarray, np.ndarray, np.ma.MaskedArray]:
    queries = check_images(queries, "queries", ("Q", "H", "W", "3"))
    galleries = check_images(galleries, f"galleries of {owner}", ("Q", "K", "H", "W", "3"))
    matches = np.ma.array(matches)
    if galleries.shape[0] != len(queries) or galleries.shape[2:] != queries.shape[1:]:
        raise ValueError(f"galleries of {owner}: {galleries.shape} does not match queries {queries.shape}")
    if matches.shape != galleries.shape[:2] or matches.dtype != bool:
        raise ValueError(f"matches of {owner} must be bool {galleries.shape[:2]}, got {matches.dtype} {matches.shape}")
    return queries, galleries, np.ma.array(matches, mask=np.ma.getmaskarray(matches))


def _count(texts: Sequence | None, expected: int, name: str) -> None:
    if texts is not None and len(texts) != expected:
        raise ValueError(f"{expected} {name} expected, got {len(texts)}")
