"""Localisation of activation maps, measured against the person's ground-truth mask."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .significance import paired_test, statistics


def fraction_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The fraction (N,) of the sum of each non-negative map (N, H, W) that lies inside its mask (N, H, W) bool.

    NaN for a map that is zero everywhere. Raises ValueError when the shapes differ or a map is negative.
    """
    maps = _validated(maps, masks)
    total = maps.sum((1, 2))
    inside = (maps * masks).sum((1, 2))
    return np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)


def pointing(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The pointing game (Zhang et al. 2018): whether the maximum of each map lies inside its mask, 0 or 1 (N,).

    ``maps`` (N, H, W) and ``masks`` (N, H, W) bool as of ``fraction_inside``. Of equal maxima the fraction that lies
    inside counts, so an even map scores what a random place would. NaN for a map that is zero everywhere.
    """
    maps = _validated(maps, masks)
    highest = maps.max((1, 2), keepdims=True)
    return fraction_inside((maps == highest) & (highest > 0), masks)


def evenness(maps: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
    """Normalised entropy (N,) of each map (N, H, W), from 0 (all in one pixel) to 1 (a uniform map).

    With ``masks`` (N, H, W) bool, the entropy of the part inside the mask, divided by that of a uniform map inside the
    mask. NaN where a map is zero everywhere in the mask, or the mask has fewer than two pixels.
    """
    masks = np.ones(np.shape(maps), bool) if masks is None else np.asarray(masks, bool)
    maps = _validated(maps, masks) * masks
    total, pixels = maps.sum((1, 2), keepdims=True), masks.sum((1, 2))
    p = np.divide(maps, total, out=np.zeros_like(maps), where=total > 0)
    entropy = -(p * np.log(p, out=np.zeros_like(p), where=p > 0)).sum((1, 2))
    defined = (total[:, 0, 0] > 0) & (pixels > 1)
    return np.divide(entropy, np.log(np.maximum(pixels, 2)), out=np.full(len(maps), np.nan), where=defined)


MEASURES = ("fraction on the person", "entropy", "entropy on the person")


def compare(variants: Mapping[str, np.ndarray], masks: np.ndarray) -> pd.DataFrame:
    """One row per measure and variant, in percent, with 95 % bootstrap intervals over the images.

    variants    name to activation maps (N, H, W) of the same images
    masks       (N, H, W) bool, the person

    ``low`` and ``high`` are the interval of ``mean``; ``difference`` is the mean paired difference to the first variant
    and ``p`` its p-value. Images in which any variant has no activation are left out; ``images`` counts the rest. For
    comparison, the table includes a uniform map ('an even map'), whose fraction on the person is the person's fraction
    of the image's area.
    """
    values_by_variant = {
        name: np.stack([fraction_inside(maps, masks), evenness(maps), evenness(maps, masks)])
        for name, maps in variants.items()
    }
    valid = np.isfinite(np.stack(list(values_by_variant.values()))).all((0, 1))  # (N,)
    if not valid.any():
        raise ValueError("no image has activation, on a person, in every variant")
    uniform = masks.mean((1, 2))[valid]
    rows = [{"variant": "an even map", "measure": MEASURES[0], **statistics([100 * uniform])}]
    first = next(iter(values_by_variant))
    for number, measure in enumerate(MEASURES):
        for name, values in values_by_variant.items():
            row = {"variant": name, "measure": measure, **statistics([100 * values[number, valid]])}
            if name != first:
                test = paired_test(values[number, valid], values_by_variant[first][number, valid])
                row |= {"difference": 100 * test.difference, "p": test.p_value}
            rows.append(row)
    frame = pd.DataFrame(rows).reindex(columns=["measure", "variant", "mean", "low", "high", "difference", "p"])
    return frame.assign(images=int(valid.sum()))


def _validated(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    maps = np.asarray(maps, np.float64)
    if maps.ndim != 3 or maps.shape != np.shape(masks):
        raise ValueError(f"maps and masks have one shape (N, H, W), got {maps.shape} and {np.shape(masks)}")
    if not (maps >= 0).all():
        raise ValueError("an activation map is nowhere negative or NaN")
    return maps
