"""The user's data sets: folders as people have them, and a table of images."""

from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reidnb.__main__ import main
from reidnb.data import catalog, folders
from reidnb.data.check import check, present
from reidnb.data.dataset import PART_IDS, PART_OTHERS, part_of

SPLITS = ("bounding_box_train", "query", "bounding_box_test")


def picture(path: Path) -> None:
    """An image unlike that of any other file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(crc32(bytes(path))).integers(0, 255, (8, 4, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def folder(root: Path, train=(1, 2), test=(3, 4), suffix=".jpg", gallery=()) -> Path:
    """Two cameras see each person; ``gallery`` are further images of the gallery, by the beginning of their names."""
    for split, people in zip(SPLITS, (train, test, test), strict=True):
        for pid in people:
            for camera in (1, 2):
                picture(root / split / f"{pid}_c{camera}_{split[-5:]}{suffix}")
    for name in gallery:
        picture(root / "bounding_box_test" / f"{name}_more{suffix}")
    return root


def pids(data: catalog.ReidData) -> list[list[int]]:
    return [sorted(set(table.pid)) for table in (data.train, data.query, data.gallery)]


def test_person_0_is_a_person_where_nothing_says_otherwise(tmp_path, capsys):
    data = catalog.load("folder", folder(tmp_path / "mine", train=(0, 1), test=(2, 3)))
    assert pids(data) == [[1, 2], [3, 4], [3, 4]] and len(data.train) == 4
    assert capsys.readouterr().out == "folder-mine: 4 identities renumbered from 1, as pid 0 is a person here\n"


def test_junk_in_the_gallery_makes_0_a_distractor(tmp_path, capsys):
    root = folder(tmp_path / "mine", train=(0, 1), test=(2, 3), gallery=("-1_c1", "0_c2"))
    assert pids(catalog.load("folder", root)) == [[1], [2, 3], [-1, 0, 2, 3]]
    assert "2 images of pid 0 or -1 left out of training, such as 0_c1_train.jpg" in capsys.readouterr().out


def test_market_folder_reads_0_as_market_does(tmp_path):
    root = folder(tmp_path / "mine", train=(0, 1), test=(0, 2))
    data = catalog.read("market-folder", root)
    assert data.name == "market-folder-mine" and pids(data) == [[1], [2], [0, 2]]
    assert [remark.count for remark in data.remarks] == [2, 2]


def test_known_sets_count_what_they_leave_out(tmp_path):
    folder(tmp_path / "market1501", train=(0, 1))
    (tmp_path / "market1501" / "query" / "notes.txt").touch()
    (tmp_path / "market1501" / "query" / "Thumbs.db").touch()
    remarks = catalog.read("market1501", tmp_path).remarks
    assert [str(remark) for remark in remarks] == [
        "2 images of pid 0 or -1 left out of bounding_box_train, such as 0_c1_train.jpg",
        "1 files of other kinds (.txt) left out of query, such as notes.txt",
    ]


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".TIFF"])
def test_kinds_of_images(tmp_path, suffix):
    data = catalog.read("folder", folder(tmp_path / "mine", suffix=suffix))
    assert len(data.train) == len(data.query) == len(data.gallery) == 4 and not data.remarks


def test_images_in_deeper_folders_are_named(tmp_path):
    root = folder(tmp_path / "mine")
    picture(root / "query" / "0007" / "7_c1_x.jpg")
    assert "1 images in folders inside query left out, such as 0007/7_c1_x.jpg" in map(
        str, catalog.read("folder", root).remarks
    )
    for file in (root / "query").glob("*.jpg"):
        file.unlink()
    with pytest.raises(ValueError, match=r"query holds no image .* but folders that hold some, such as 0007/7_c1_x"):
        catalog.read("folder", root)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("12345678901234567890", "12345678901234567891"), [1, 2]),  # beyond int64
        (("anna", "0007"), [2, 1]),
        (("anna_b", "anna"), [2, 1]),
        (("007", "12"), [7, 12]),  # plain numbers stay as they are
    ],
)
def test_identities_of_any_kind(tmp_path, names, expected):
    root = folder(tmp_path / "mine", train=(), test=names)
    data = catalog.read("folder", root)
    pid = {Path(row.path).name.rpartition("_c")[0]: row.pid for row in data.query.itertuples()}
    assert [pid[name] for name in names] == expected
    assert data.query.pid.dtype == data.gallery.camid.dtype == np.int64


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.text("0123456789ab-", min_size=1, max_size=25), min_size=1, max_size=20))
def test_different_people_keep_different_numbers(texts):
    numbers, _ = folders._numbers(pd.Series(texts), "pid", {"-1": -1})
    plain = {text: folders._plain(text) for text in texts}
    for a in texts:
        assert (numbers[a] == -1) == (plain[a] == "-1") and (numbers[a] > 0 or plain[a] == "-1")
        assert all((numbers[a] == numbers[b]) == (plain[a] == plain[b]) for b in texts)


def test_a_set_to_test_on(tmp_path, capsys):
    data = catalog.load("folder", folder(tmp_path / "viper", train=(), test=(1, 2)))
    assert len(data.train) == data.train_ids == 0 and len(data.query) == 4
    assert "0 training images: a set to test on" in capsys.readouterr().out


def table(root: Path, lines: list[str], images=("a.bmp", "b.bmp", "deep/c.png", "d.bmp")) -> Path:
    for name in images:
        picture(root / name)
    (root / "images.csv").write_text("\n".join(["path,pid,camid,split", *lines]))
    return root


LINES = ["a.bmp,ann,left,query", "b.bmp,ann,right,gallery", "deep/c.png,bo,left,train", "d.bmp,-1,right,gallery"]


def test_a_table_of_images(tmp_path):
    data = catalog.read("folder", table(tmp_path / "VIPeR 2", LINES))
    assert data.name == "folder-viper-2" and data.train.path.tolist() == [str(tmp_path / "VIPeR 2/deep/c.png")]
    assert data.query.pid[0] == data.gallery.pid[0] > 0 and data.gallery.pid[1] == catalog.JUNK
    assert data.query.camid[0] == data.train.camid[0] == 1 and set(data.gallery.camid) == {2}


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        ([*LINES, "gone.bmp,1,1,query"], FileNotFoundError, r"1 of 5 images of .*images.csv are missing, .*gone.bmp"),
        (["a.bmp,1,1,test"], ValueError, r"images.csv, line 2: .* one of train, query, gallery, found 'a.bmp, 1, 1, t"),
        (["a.bmp,,1,query"], ValueError, r"images.csv, line 2: path, pid, camid and one of"),
        (["a.bmp,1,1,train"], ValueError, r"has no query: a data set has both"),
    ],
)
def test_wrong_tables(tmp_path, lines, error, message):
    with pytest.raises(error, match=message):
        catalog.read("folder", table(tmp_path / "mine", lines))


def test_a_table_with_other_columns(tmp_path):
    root = table(tmp_path / "mine", [])
    (root / "images.csv").write_text("file;person\n")
    with pytest.raises(ValueError, match=r"has no column 'path': it has file;person; needed are path, pid,"):
        catalog.read("folder", root)


def test_each_folder_has_its_own_name(tmp_path):
    for name in ("shop", "Shop 2"):
        folder(tmp_path / name)
    assert catalog.resolve("folder", tmp_path / "shop") == "folder-shop"
    assert catalog.resolve("folder->market-folder-shop", tmp_path / "Shop 2") == "folder-shop-2->market-folder-shop"
    assert catalog.locate("folder-shop-2", tmp_path) == catalog.locate("folder", tmp_path / "Shop 2")
    assert catalog.locate("folder-shop", tmp_path / "shop") == tmp_path / "shop"
    with pytest.raises(FileNotFoundError, match=r"folders there that have one: Shop 2, shop$"):
        catalog.locate("folder-market", tmp_path)


def test_smoke_takes_a_part_of_real_data(tmp_path):
    assert catalog.resolve("street", None, "smoke") == "street"
    assert catalog.resolve("market1501", None, "smoke") == "market1501_part" == catalog.resolve("market1501_part")
    assert catalog.resolve("market1501", None, "demo") == "market1501"
    root = folder(tmp_path / "mine", train=range(1, 60), test=range(100, 400))
    data = catalog.read("folder-mine_part", root)
    assert pids(data)[:2] == [list(range(1, 1 + PART_IDS["train"])), list(range(100, 100 + PART_IDS["test"]))]
    matches = data.gallery.pid.isin(data.query.pid)
    assert matches.sum() == 2 * PART_IDS["test"] and (~matches).sum() == PART_OTHERS
    assert [str(remark) for remark in data.remarks] == [
        "32 of 59 training identities taken: a part, for quick trials",
        "16 of 300 identities of the queries taken: a part, for quick trials",
    ]


def test_a_part_of_a_small_set_is_the_set(street_small):
    part = part_of(street_small)
    for split in ("train", "query", "gallery"):
        pd.testing.assert_frame_equal(getattr(part, split), getattr(street_small, split))
    assert not part.remarks


def row(frame: pd.DataFrame, what: str) -> pd.Series:
    return frame[frame.what.str.contains(what)].iloc[0]


def test_check_says_what_is_left_out_and_of_little_use(tmp_path, capsys):
    root = folder(tmp_path / "mine", gallery=("9_c1",))
    (root / "query" / "readme.txt").touch()
    picture(root / "bounding_box_train" / "8_c1_alone.jpg")
    picture(root / "query" / "5_c1_alone.jpg")
    Image.fromarray(np.full((8, 4), 40000, np.uint16)).save(root / "query" / "3_c2_deep.png")
    frame = check("folder", root)
    assert frame.ok.all()
    assert row(frame, r"other kinds \(.txt\) left out of query").details == "readme.txt"
    assert row(frame, "identities with a single image")[["count", "details"]].tolist() == [1, "pid 8"]
    assert row(frame, "queries without a gallery image of their person")[["count", "details"]].tolist() == [
        1,
        "5_c1_alone.jpg",
    ]
    assert row(frame, "people who are no query").details == "9_c1_more.jpg"
    assert row(frame, "16-bit images").details == "3_c2_deep.png"
    assert main(["data", "check", "folder", "--root", str(root)]) == 0
    assert "folder-mine in" in capsys.readouterr().out


def joints(root: Path, confidence: float = 1.0) -> None:
    arrays = {}
    for split in SPLITS:
        names = np.array(sorted(path.name for path in (root / split).iterdir()))
        arrays |= {split: np.tile([2.0, 4.0, confidence], (len(names), 17, 1)), f"{split}_names": names}
    np.savez(root / "joints.npz", **arrays)


def test_joints_are_checked_and_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("REIDNB_CACHE", str(tmp_path / "cache"))
    root = folder(tmp_path / "data" / "mine")
    joints(root)
    assert row(check("folder", root), "joints.npz")[["count", "ok"]].tolist() == [12, True]
    assert present(tmp_path / "data").state[0].endswith("4 gallery images, with joints.npz")
    joints(root, confidence=2.0)
    wrong = row(check("folder", root), "joints.npz")
    assert not wrong.ok and "confidences lie between 0 and 1" in wrong.details


def test_own_folders_are_listed(tmp_path):
    folder(tmp_path / "shop")
    folder(tmp_path / "market1501")
    table(tmp_path / "VIPeR", LINES[:2])
    (tmp_path / "empty").mkdir()
    frame = present(tmp_path).set_index("name")
    assert list(frame.index) == ["market1501", "folder-viper", "folder-shop"]
    assert frame.state["folder-shop"] == "4 training images of 2 identities, 4 queries, 4 gallery images"
    assert frame.state["folder-viper"] == "0 training images (a set to test on), 1 queries, 1 gallery images"
    assert present(tmp_path / "shop").name.tolist() == ["folder-shop"]


def test_the_documented_tables_come_in(tmp_path, monkeypatch):
    """The lines of docs/your-own-data.md for VIPeR, CUHK01 and a flat folder, run in folders of these layouts."""
    documented = (Path(__file__).parents[2] / "docs" / "your-own-data.md").read_text()
    code = documented.partition("```python\n")[2].partition("```")[0]
    first, viper, cuhk01, flat = code.split("\n# ")
    layouts = {
        "viper": (viper, [f"cam_{c}/{n:03d}_{angle}.bmp" for n in range(4) for c, angle in (("a", 45), ("b", 90))]),
        "cuhk01": (cuhk01, [f"campus/{pid:04d}{view:03d}.png" for pid in (1, 2) for view in (1, 2, 3, 4)]),
        "flat": (flat, [f"{pid:04d}_c{camera}_x.jpg" for pid in (1, 2) for camera in (1, 2)]),
    }
    sizes = {}
    for name, (lines, files) in layouts.items():
        for file in files:
            picture(tmp_path / name / file)
        monkeypatch.chdir(tmp_path / name)
        exec(f"{first}\n# {lines}", {})
        data = catalog.read(f"folder-{name}", tmp_path)
        sizes[name] = (len(data.train), len(data.query), len(data.gallery))
        assert sorted(set(data.query.pid)) == sorted(set(data.gallery.pid)) and not set(data.query.pid) & set(
            data.train.pid
        )
    assert sizes == {"viper": (4, 2, 2), "cuhk01": (0, 4, 4), "flat": (0, 2, 2)}
