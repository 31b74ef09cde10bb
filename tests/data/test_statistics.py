"""The papers' tables of data sets, and the same counts from miniature copies."""

from dataclasses import replace

import pandas as pd
import pytest
from miniatures import cuhk03_mat, duke, market_like, msmt17

from reidnb.data import catalog, statistics
from reidnb.data.dataset import count


def test_counts_of_complete_copies_are_the_published_ones():
    """``Counts`` and the papers have different sources; where their numbers differ, a note gives the reason."""
    differ = set()
    for paper in ("hybrid_attention", "attention_driven"):
        for row in statistics.published(paper).itertuples():
            known = catalog.data_set(row.dataset).counts
            parts = [part.replace("test ids", "query ids").replace(" ", "_") for part in row.counted.split(" + ")]
            values = [getattr(known, part) for part in parts]
            if None not in values and sum(values) != row.published:
                differ.add((row.dataset, row.quantity, sum(values)))
                assert row.note
    assert differ == {
        ("cuhk03np-labeled", "bounding boxes", 14096),
        ("cuhk03np-detected", "bounding boxes", 14097),
        ("cuhk03np-labeled", "cameras", 2),
        ("cuhk03np-detected", "cameras", 2),
        ("cuhk03-labeled", "bounding boxes", 14096),
        ("cuhk03-labeled", "cameras", 2),
        ("cuhk03-detected", "cameras", 2),
    }


def test_ours_beside_published(tmp_path, street_small):
    held = duke(tmp_path / "DukeMTMC-reID", street_small)
    msmt17(tmp_path / "MSMT17_V1", street_small)
    cuhk03_mat(tmp_path / "cuhk03" / "cuhk-03.mat", street_small)
    frame = statistics.beside_published("hybrid_attention", tmp_path).set_index(["dataset", "quantity"])
    assert frame.loc["market1501"].ours.isna().all() and frame.published["market1501", "bounding boxes"] == 32668
    ours = frame.ours["dukemtmc"]
    assert ours["train images"] == len(street_small.train) == held.train
    assert ours["identities"] == 8 + held.gallery_ids and ours["test ids"] == 8
    assert ours["bounding boxes"] == held.train + held.query + held.gallery
    assert frame.ours["msmt17", "test images"] == len(street_small.query) + (street_small.gallery.pid > 0).sum()
    # There is no folder for the new protocol, so it is counted from cuhk-03.mat.
    images = count(catalog.read("cuhk03np-labeled", tmp_path)).images
    assert frame.ours["cuhk03np-labeled", "bounding boxes"] == images
    classic = statistics.beside_published("attention_driven", tmp_path).set_index(["dataset", "quantity"])
    assert classic.ours["cuhk03-labeled", "test ids"] == 5
    assert classic.ours["cuhk03-labeled", "bounding boxes"] == images


def test_a_root_that_is_a_data_set_counts_as_that_one_only(tmp_path, street_small, monkeypatch):
    counts = market_like(tmp_path, street_small)
    monkeypatch.setitem(catalog.DATA_SETS, "market1501", replace(catalog.DATA_SETS["market1501"], counts=counts))
    frame = statistics.beside_published("hybrid_attention", tmp_path)
    assert set(frame.dataset[frame.ours.notna()]) == {"market1501"}


def test_wide_table():
    frame = pd.DataFrame(
        {
            "dataset": ["b", "a", "b"],
            "quantity": ["images", "images", "cameras"],
            "published": [10000, 5, 6],
            "ours": pd.array([10000, None, 2], dtype="Int64"),
        }
    )
    table = statistics.wide(frame)
    assert list(table.columns) == ["quantity", "b", "a"] and table.quantity.tolist() == ["images", "cameras"]
    assert table.b.tolist() == ["10,000 (same)", "6 (2)"] and table.a[0] == "5"


def test_other_papers_print_no_such_table():
    with pytest.raises(ValueError, match="'wrcanet' has no table of data sets: hybrid_attention and attention_driven"):
        statistics.published("wrcanet")


def test_nothing_without_a_root():
    assert statistics.beside_published("attention_driven").ours.isna().all()
