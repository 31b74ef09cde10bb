"""Claims about sizes and about differences of differences, against the printed numbers."""

import pandas as pd
import pytest

from reidnb.papers.attention_driven import cost, printed
from reidnb.papers.attention_driven.tables import CLAIMS, REGIONS


@pytest.fixture(scope="module")
def frame():
    return printed.claims().set_index("claim")


def test_base_network_is_the_second_smallest(frame):
    rows = frame[frame.index.str.contains("second-fewest")]
    assert list(rows["in print"]) == [
        "GoogLeNet 6.00 < Basemodel 6.80 < ResNet50 23.50",
        "AlexNet 1.07 < Basemodel 2.26 < GoogLeNet 2.31",
    ]
    assert list(rows["measured"]) == [
        "GoogLeNet 5.60 < Basemodel 6.91 < ResNet50 23.51",
        "AlexNet 1.03 < Basemodel 1.96 < GoogLeNet 2.20",
    ]
    assert (rows[["verdict in print", "verdict measured"]] == printed.HOLDS).all(axis=None)


def test_a_larger_base_network_would_fail(monkeypatch):
    table = cost.table12()
    table.loc["Basemodel", "flops"] = 3e9
    monkeypatch.setattr(cost, "table12", lambda: table)
    of_flops = printed.claims().iloc[1]
    assert (of_flops["verdict in print"], of_flops["verdict measured"]) == (printed.HOLDS, printed.FAILS)


def test_what_the_attentions_add(frame):
    rows = frame[frame.index.str.contains("light")]
    assert list(rows["in print"]) == ["+19 %", "+53 %"]  # 2.69 / 2.26 and 10.4 / 6.8
    assert list(rows["measured"]) == ["+38 %", "+49 %"]


def test_the_decomposition_saves_parameters_only_against_3x3(frame):
    rows = frame[frame.index.str.contains("decomposition")]
    assert list(rows["measured"]) == ["10.29 against 15.08 million", "10.29 against 9.57 million"]
    assert list(rows["verdict measured"]) == [printed.HOLDS, printed.FAILS]


def test_fall_from_the_best_lambda_by_hand():
    scores = pd.DataFrame(
        [("a", "lambda=0", 5, 4), ("a", "lambda=0.1", 9, 8), ("a", "lambda=1.0", 7, 7.5), ("b", "lambda=1.0", 1, 2)],
        columns=["dataset", "row", "rank1", "map"],
    )
    assert printed.lambda_fall(scores).to_dict("index") == {"a": {"rank1": 2, "map": 0.5}, "b": {"rank1": 0, "map": 0}}


def test_duke_falls_farthest_in_print(frame):
    falls = printed.lambda_fall(printed._published("table10"))
    # Table 10: 85.90 - 81.46, 94.98 - 93.97, 95.91 - 93.56, 93.56 - 91.19.
    assert falls.rank1.to_dict() == {
        "market1501": 1.01,
        "dukemtmc": 4.44,
        "cuhk03-labeled": 2.35,
        "cuhk03-detected": 2.37,
    }
    assert falls["map"]["dukemtmc"] == 6.78 and falls["map"]["market1501"] == 2.43
    assert frame[frame.index.str.startswith("DukeMTMC")]["verdict in print"].item() == printed.HOLDS


def test_gap_between_labelled_and_detected_boxes(frame):
    gap = printed.annotation_gap()
    assert gap["Ours"] == 2.85 and gap["PDC"] == 10.41 and gap["MuDeep"] == 1.23
    assert "HP-net" not in gap and "MLFN" not in gap and len(gap) == 10  # each has one of the two
    row = frame[frame.index.str.startswith("Detected boxes")].iloc[0]
    assert row["in print"] == "Ours 2.85; 6 of 9 lose more; less: MuDeep 1.23, GOG 1.80, JLML 2.60"
    assert row["verdict in print"] == printed.HOLDS


def test_every_region_gains_by_intra_attention_in_print():
    claim = next(claim for claim in CLAIMS if "Every region" in claim.text)
    table = printed._published("table7").set_index("row")
    assert len(claim.pairs) == len(REGIONS)
    for better, worse in claim.pairs:
        assert "(with " in better and better.replace("(with ", "(without ") == worse
        assert table.rank1[better] > table.rank1[worse] and table["map"][better] > table["map"][worse]
