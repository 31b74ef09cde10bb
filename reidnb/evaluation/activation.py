"""Where an activation map lies, measured against the truth of who is where in the image."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .significance import bootstrap, paired_test


def share_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """How much of each map (N, H, W), which is nowhere negative, lies inside its mask (N, H, W) bool: (N,) of 0 to 1.

    NaN for a map that is zero everywhere. Raises ValueError when the shapes differ or a map is negative.
    """
    maps = _checked(maps, masks)
    total = maps.sum((1, 2))
    inside = (maps * masks).sum((1, 2))
    return np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)


def evenness(maps: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
    """Entropy of each map (N, H, W), as a share of an even map's: (N,) of 0 (all in one pixel) to 1 (even).

    With ``masks`` (N, H, W) bool the entropy of what lies inside the mask alone, as a share of what an even map
    inside it would have. NaN where a map has nothing there, or the mask has fewer than two pixels.
    """
    masks = np.ones(np.shape(maps), bool) if masks is None else np.asarray(masks, bool)
    maps = _checked(maps, masks) * masks
    total, pixels = maps.sum((1, 2), keepdims=True), masks.sum((1, 2))
    p = np.divide(maps, total, out=np.zeros_like(maps), where=total > 0)
    entropy = -(p * np.log(p, out=np.zeros_like(p), where=p > 0)).sum((1, 2))
    known = (total[:, 0, 0] > 0) & (pixels > 1)
    return np.divide(entropy, np.log(np.maximum(pixels, 2)), out=np.full(len(maps), np.nan), where=known)


MEASURES = ("share on the person", "entropy", "entropy on the person")


def compare(variants: Mapping[str, np.ndarray], masks: np.ndarray) -> pd.DataFrame:
    """A row for each measure and variant, in percent, with 95 % bootstrap intervals over the images.

    variants    name to activation maps (N, H, W) of the same images
    masks       (N, H, W) bool, the person

    ``low`` and ``high`` bound ``mean``; ``difference`` is to the first variant, image by image, and ``p`` how often
    chance alone makes one as large. Images in which any variant has no activation are left out; ``images`` counts the
    rest. For comparison, the share of a map that is even over the image is the person's share of its area.
    """
    found = {
        name: np.stack([share_inside(maps, masks), evenness(maps), evenness(maps, masks)])
        for name, maps in variants.items()
    }
    known = np.isfinite(np.stack(list(found.values()))).all((0, 1))  # (N,)
    if not known.any():
        raise ValueError("no image has activation, on a person, in every variant")
    even = masks.mean((1, 2))[known]
    rows = [{"variant": "an even map", "measure": MEASURES[0], **_interval(even)}]
    first = next(iter(found))
    for number, measure in enumerate(MEASURES):
        for name, values in found.items():
            row = {"variant": name, "measure": measure, **_interval(values[number, known])}
            if name != first:
                test = paired_test(values[number, known], found[first][number, known])
                row |= {"difference": 100 * test.difference, "p": test.p_value}
            rows.append(row)
    frame = pd.DataFrame(rows).reindex(columns=["measure", "variant", "mean", "low", "high", "difference", "p"])
    return frame.assign(images=int(known.sum()))


def _interval(values: np.ndarray) -> dict[str, float]:
    found = bootstrap(values)
    return {"mean": 100 * found.mean, "low": 100 * found.low, "high": 100 * found.high}


def _checked(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    maps = np.asarray(maps, np.float64)
    if maps.ndim != 3 or maps.shape != np.shape(masks):
        raise ValueError(f"maps and masks have one shape (N, H, W), got {maps.shape} and {np.shape(masks)}")
    if not (maps >= 0).all():
        raise ValueError("an activation map is nowhere negative or NaN")
    return maps
