"""The report of ``python -m reidnb data`` on complete and on broken copies."""

from dataclasses import replace

import pytest
from miniatures import cuhk03_mat, duke, market_like

from reidnb.__main__ import main
from reidnb.data import catalog
from reidnb.data.check import check, present


@pytest.fixture
def root(tmp_path, street_small, monkeypatch):
    """A data root with a miniature of DukeMTMC-reID, which counts as a complete copy here."""
    counts = duke(tmp_path / "DukeMTMC-reID", street_small)
    monkeypatch.setitem(catalog.DATA_SETS, "dukemtmc", replace(catalog.DATA_SETS["dukemtmc"], counts=counts))
    return tmp_path


def row(frame, what):
    return frame[frame.what == what].iloc[0]


def test_a_complete_copy(root, capsys):
    frame = check("dukemtmc", root)
    assert frame.ok.all() and row(frame, "train ids")["count"] == row(frame, "train ids").expected == 8
    assert main(["data", "check", "dukemtmc", "--root", str(root)]) == 0
    printed = capsys.readouterr().out
    assert "DukeMTMC-reID was withdrawn" in printed and "wrong" not in printed
    assert any(line.split()[:4] == ["train", "ids", "8", "8"] for line in printed.splitlines())


def test_unreadable_files_are_named(root, capsys):
    folder = root / "DukeMTMC-reID"
    broken = sorted((folder / "query").iterdir())[:7]
    for path in broken:
        path.write_bytes(path.read_bytes()[:100])
    result = row(check("dukemtmc", root), "unreadable files")
    assert result["count"] == 7 and not result.ok
    assert broken[0].name in result.details and result.details.endswith("and 2 more")
    assert main(["data", "check", "dukemtmc", "--root", str(root)]) == 1
    assert "unreadable files" in capsys.readouterr().out


def test_overlap_of_training_and_test(root):
    folder = root / "DukeMTMC-reID"
    image = sorted((folder / "bounding_box_train").iterdir())[0]
    (folder / "bounding_box_test" / image.name).write_bytes(image.read_bytes())
    frame = check("dukemtmc", root)
    files, people = row(frame, "files in training and test"), row(frame, "identities in training and test")
    assert (files["count"], people["count"], files.ok, people.ok) == (1, 1, False, False)
    assert files.details == f"{image.name} = {image.name}" and people.details == str(int(image.name[:4]))
    gallery = row(frame, "gallery")
    assert gallery["count"] == gallery.expected + 1 and not gallery.ok


def test_without_published_counts(root):
    frame = check("folder", root / "DukeMTMC-reID")
    assert frame.ok.all() and (frame.expected[:8] == "").all()


def test_list(root, street_small, capsys):
    market_like(root / "market1501", street_small)
    cuhk03_mat(root / "cuhk03" / "cuhk-03.mat", street_small)
    result = present(root).set_index("name")
    assert list(result.index) == [
        n for n in catalog.DATA_SETS if n not in ("msmt17", "folder", "market-folder", *catalog.STREETS)
    ]
    assert result.state["dukemtmc"] == "complete"
    assert result.state["market1501"].startswith("not complete: train ids 8 instead of 751")
    assert result.state["cuhk03-labeled"].startswith("present; its images are written")
    assert main(["data", "list", "--root", str(root)]) == 0
    assert str(root / "DukeMTMC-reID") in capsys.readouterr().out
    # One layout, several names: the complete copy alone.
    assert present(root / "DukeMTMC-reID").name.tolist() == ["dukemtmc"]


def test_an_empty_root(tmp_path, capsys):
    assert main(["data", "list", "--root", str(tmp_path)]) == 0
    assert "no known data set under" in capsys.readouterr().out
    assert main(["data", "list", "--root", str(tmp_path / "gone")]) == 1
    assert "gone is not a folder" in capsys.readouterr().err
    assert main(["data", "check", "market1501"]) == 1
    assert "needs data_root" in capsys.readouterr().err
