"""Distances of pairs, mAP by cameras and the flat map, against small independent computations."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from reidnb.data.dataset import ReidData
from reidnb.explore import distances


def small(seed: int, queries: int = 9, images: int = 40) -> tuple[torch.Tensor, torch.Tensor, ReidData]:
    rng = np.random.default_rng(seed)
    tables = [
        pd.DataFrame({"path": [f"{n}.jpg" for n in range(count)], "pid": rng.integers(low, 5, count)})
        for count, low in ((queries, 1), (images, -1))
    ]
    query, gallery = (table.assign(camid=rng.integers(1, 4, len(table))) for table in tables)
    descriptors = (torch.from_numpy(rng.normal(size=(len(t), 6)) + t.pid.to_numpy()[:, None]) for t in (query, gallery))
    return *descriptors, ReidData("small", Path(), query, query, gallery)


def ranked_pairs(query, gallery, data):
    """Distance and label of every pair that the protocol ranks, one pair at a time."""
    found = []
    for q, x in zip(data.query.itertuples(), query.numpy(), strict=True):
        for g, y in zip(data.gallery.itertuples(), gallery.numpy(), strict=True):
            if g.pid != -1 and not (q.pid == g.pid and q.camid == g.camid):
                found.append((np.sqrt(((x - y) ** 2).sum()), q.pid == g.pid))
    values, same = zip(*found, strict=True)
    return np.array(values), np.array(same)


@given(st.integers(0, 10_000))
def test_histograms_count_the_ranked_pairs(seed):
    query, gallery, data = small(seed)
    values, same = ranked_pairs(query, gallery, data)
    pairs = distances.pair_distances(query, gallery, data, bins=50)
    assert pairs.edges[-1] >= values.max() - 1e-9
    low, high = pairs.extent
    width = pairs.edges[1]
    assert low - 1e-9 <= values.min() < low + 2 * width and high - 2 * width < values.max() <= high + 1e-9
    for counts, kind in ((pairs.matches, same), (pairs.others, ~same)):
        assert counts.sum() == kind.sum()
        # A value on an edge may be counted on either side.
        assert abs(counts.cumsum() - [(values[kind] < edge).sum() for edge in pairs.edges[1:]]).max() <= 1


def test_blocks_of_queries_do_not_change_the_counts(monkeypatch):
    query, gallery, data = small(3)
    whole = distances.pair_distances(query, gallery, data)
    monkeypatch.setattr(distances, "BLOCK", 2)
    parts = distances.pair_distances(query, gallery, data)
    assert (whole.matches == parts.matches).all() and (whole.others == parts.others).all()


def test_roc_is_that_of_the_pairs():
    query, gallery, data = small(7)
    values, same = ranked_pairs(query, gallery, data)
    curve = distances.roc(distances.pair_distances(query, gallery, data, bins=20_000))
    assert distances.area(curve) == pytest.approx(roc_auc_score(same, -values), abs=1e-3)
    assert tuple(curve.iloc[0, 1:]) == (0, 0) and tuple(curve.iloc[-1, 1:]) == (1, 1)
    threshold = distances.equal_error(curve)
    assert (values[same] >= threshold).mean() == pytest.approx((values[~same] < threshold).mean(), abs=0.03)


def test_equal_descriptors_have_one_distance():
    query, gallery, data = small(0)
    pairs = distances.pair_distances(torch.zeros_like(query), torch.zeros_like(gallery), data)
    assert pairs.matches[0] == pairs.matches.sum() > 0


def test_map_by_cameras_ranks_one_camera_only():
    query, gallery, data = small(11, queries=30, images=200)
    table = distances.by_cameras(query, gallery, data)
    assert table.index.tolist() == table.columns.tolist() == [1, 2, 3]
    assert np.isnan(np.diag(table)).all()
    for row, column in ((1, 2), (3, 1)):
        seen = (data.gallery.camid == column) & (data.gallery.pid != -1)
        expected = []
        for n in np.flatnonzero(data.query.camid == row):
            same = (data.gallery.pid[seen] == data.query.pid[n]).to_numpy()
            nearness = -np.linalg.norm(gallery.numpy()[seen] - query.numpy()[n], axis=1)
            expected.append(100 * average_precision_score(same, nearness))
        assert table.loc[row, column] == pytest.approx(np.mean(expected))


def test_images_of_people_lead_back_to_their_rows():
    _, _, data = small(5, queries=20, images=100)
    images = distances.images_of_people(data, 3, most=8)
    assert images.pid.nunique() == 3 and images.pid.value_counts().max() <= 8
    for image in images.itertuples():
        row = getattr(data, image.split).loc[image.row]
        assert (row.path, row.pid, row.camid) == (image.path, image.pid, image.camid)


# UMAP's first map in a process compiles for ten seconds.
@pytest.mark.parametrize("method", ["PCA", "t-SNE", pytest.param("UMAP", marks=pytest.mark.slow)])
def test_a_flat_map_keeps_groups_apart(method):
    x = torch.randn(60, 16, generator=torch.Generator().manual_seed(0))
    x[:30] += 12
    places = distances.flat_map(x, method)
    assert places.shape == (60, 2) and places.min() == 0 and places.max() == 1
    centres = places[:30].mean(0), places[30:].mean(0)
    widths = places[:30].std(), places[30:].std()
    assert np.linalg.norm(centres[0] - centres[1]) > max(widths)
    assert (places == distances.flat_map(x, method)).all()


def test_pca_keeps_the_distances_of_flat_data():
    flat = torch.zeros(20, 7)
    flat[:, 2:4] = torch.randn(20, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([3.0, 1.0])
    places = distances.flat_map(flat, "PCA")
    expected = (flat - flat.mean(0)).numpy() @ np.linalg.svd((flat - flat.mean(0)).numpy())[2][:2].T
    expected = (expected - expected.min(0)) / np.ptp(expected, axis=0)
    assert np.minimum(abs(places - expected), abs(1 - places - expected)).max() < 1e-5


def test_wrong_maps_are_one_sentence(monkeypatch):
    with pytest.raises(ValueError, match="at least five images, got 3"):
        distances.flat_map(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="by t-SNE, UMAP or PCA, got 'LLE'"):
        distances.flat_map(torch.zeros(9, 4), "LLE")
    with monkeypatch.context() as patched, pytest.raises(ValueError, match="UMAP has no map of these descriptors"):
        patched.setattr(distances, "_by_neighbours", lambda *given: np.full((9, 2), np.nan))
        distances.flat_map(torch.zeros(9, 4), "UMAP")
    monkeypatch.setitem(sys.modules, "umap", None)  # as where it is not installed
    with pytest.raises(ValueError, match="UMAP needs the package umap-learn: pip install umap-learn"):
        distances.flat_map(torch.randn(9, 4), "UMAP")
