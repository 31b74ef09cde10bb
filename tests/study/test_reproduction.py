"""What a study reproduced of the committed results, and how they are replaced."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from reidnb.__main__ import main
from reidnb.figures import style
from reidnb.study import reproduction


def table(folder, name, **ours):
    """A saved table with rows 'a', 'b', ... and a row that the paper cites, which has no number of ours."""
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    rows = [*"abcdefgh"[: len(ours["map"])], "cited"]
    values = {f"ours_{metric}": [*numbers, np.nan] for metric, numbers in ours.items()}
    pd.DataFrame({"row": rows} | values).to_csv(folder / "tables" / f"{name}.csv", index=False)


def test_numbers_are_equal_within_tolerance_or_outside(tmp_path):
    new, old = tmp_path / "new", tmp_path / "old"
    table(old, "x-table1-street-demo", map=[50.0, 60.0, 70.0], rank1=[80.0, 81.0, 82.0])
    table(new, "x-table1-street-demo", map=[50.0, 57.5, 73.5], rank1=[80.0, 86.5, 77.0])
    table(new, "x-table2-street-demo", map=[1.0], rank1=[1.0])  # nothing committed of this name
    comparison = reproduction.compare(new, old)
    found = {(line.row, line.metric): line.outcome for line in comparison.itertuples()}
    assert found == {
        ("a", "mAP"): "equal",
        ("a", "rank-1"): "equal",
        ("b", "mAP"): "within tolerance",  # 2.5 of 3
        ("b", "rank-1"): "outside",  # 5.5 of 5
        ("c", "mAP"): "outside",  # 3.5 of 3
        ("c", "rank-1"): "within tolerance",  # 5 of 5
    }
    assert reproduction.in_a_line(comparison) == (
        "reproduced: 4 of 6 committed numbers within 3 points of mAP and 5 points of rank-1,"
        " 2 of them equal to the last digit"
        " (of 208, nine were outside on a machine that trained in float32 instead of bfloat16)"
    )


def test_nothing_in_common_is_said(tmp_path):
    table(tmp_path / "old", "x-table1-market1501-demo", map=[1.0], rank1=[1.0])
    table(tmp_path / "new", "x-table1-street-demo", map=[1.0], rank1=[1.0])
    (tmp_path / "new" / "tables" / "x-claims-street-demo.csv").write_text("claim\none\n")
    comparison = reproduction.compare(tmp_path / "new", tmp_path / "old")
    assert comparison.empty and "no committed table" in reproduction.in_a_line(comparison)


def test_report_compares_and_replaces_only_when_asked(tmp_path, monkeypatch, capsys):
    new, old = tmp_path / "new", tmp_path / "old"
    table(old, "wrcanet-table2-street-demo", map=[50.0], rank1=[80.0])
    table(old, "wrcanet-table2-market1501-demo", map=[20.0], rank1=[30.0])
    table(new, "wrcanet-table2-street-demo", map=[51.0], rank1=[80.0])
    for folder in (new, old):
        for csv in folder.glob("tables/*.csv"):
            about = {"paper": "wrcanet", "table": "table2", "title": "T", "caption": "Ours: made for this test."}
            csv.with_suffix(".json").write_text(json.dumps(about))
            frame = pd.read_csv(csv).assign(kind="run", dataset="street", published_map=np.nan, seeds=1)
            frame.to_csv(csv, index=False)
    style.save(plt.figure(figsize=(1, 1)), new / "figures" / "street-x.webp")
    before = {path.name: path.read_bytes() for path in old.rglob("*.csv")}
    monkeypatch.setenv("REIDNB_RESULTS", str(new))
    monkeypatch.setattr("reidnb.files.reference_dir", lambda: old)
    assert main(["report"]) == 0
    assert "reproduced: 2 of 2 committed numbers" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in old.rglob("*.csv")} == before
    assert "Reproduction" in (new / "index.html").read_text()
    assert main(["report", "--publish"]) == 0
    assert pd.read_csv(old / "tables" / "wrcanet-table2-street-demo.csv").ours_map[0] == 51
    assert pd.read_csv(old / "tables" / "wrcanet-table2-market1501-demo.csv").ours_map[0] == 20
    assert (old / "index.html").exists()
    assert (old / "figures" / "street-x.webp").exists() and not (old / "figures" / "street-x.pdf").exists()
