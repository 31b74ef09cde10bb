"""Miniatures in each data set's layout are found, read and counted, and faulty ones are reported."""

import shutil
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
from miniatures import PERSONS, cuhk03_mat, duke, market_like, msmt17
from PIL import Image

from reidnb.data import catalog, cuhk03
from reidnb.data.dataset import count


@pytest.fixture(scope="module")
def mat(tmp_path_factory, street_small):
    root = tmp_path_factory.mktemp("root")
    cuhk03_mat(root / "cuhk03" / "cuhk03_release" / "cuhk-03.mat", street_small)
    return root


@pytest.fixture
def expect(monkeypatch):
    """Let a miniature count as a complete copy."""

    def set_counts(name, counts):
        monkeypatch.setitem(catalog.DATA_SETS, name, replace(catalog.DATA_SETS[name], counts=counts))

    return set_counts


# Where torchreid, fastreid and the archives themselves put it.
HOMES = {
    "market1501": ("market1501", "market1501/Market-1501-v15.09.15", "Market-1501-v15.09.15", "."),
    "dukemtmc": ("dukemtmc-reid/DukeMTMC-reID", "DukeMTMC-reID", "dukemtmc", "."),
    "msmt17": ("msmt17/MSMT17_V1", "MSMT17_V1", "msmt17/MSMT17_V2", "MSMT17", "."),
    "cuhk03np-labeled": ("cuhk03-np/labeled", "cuhk03/labeled", "cuhk03np-labeled", "."),
    "cuhk03np-detected": ("CUHK03-NP/detected", "cuhk-detect", "cuhk03np-detected", "."),
}
MAKE = {"dukemtmc": duke, "msmt17": msmt17}


@pytest.mark.parametrize(("name", "home"), [(name, home) for name in HOMES for home in HOMES[name]])
@pytest.mark.filterwarnings("ignore:DukeMTMC")
def test_data_sets_are_found_under_their_usual_names(tmp_path, street_small, expect, name, home):
    expect(name, MAKE.get(name, market_like)(tmp_path / home, street_small))
    data = catalog.load(name, tmp_path)
    assert data.name == name and data.root == (tmp_path / home).resolve() and data.protocol == "market"
    assert data.train_ids == 8 and len(data.query) == len(street_small.query)
    assert set(data.query.pid) <= set(data.gallery.pid) and not set(data.query.pid) & set(data.train.pid)
    assert all(map(Image.open, data.train.path))


def test_both_kinds_of_boxes_in_one_folder(tmp_path, street_small):
    for boxes, suffix in (("labeled", ".png"), ("detected", ".jpg")):
        market_like(tmp_path / "cuhk03-np" / boxes, street_small, suffix)
    assert catalog.read("cuhk03np-labeled", tmp_path).query.path.str.endswith(".png").all()
    assert catalog.read("cuhk03np-detected", tmp_path).query.path.str.endswith(".jpg").all()
    with pytest.raises(FileNotFoundError, match=r"has the other boxes; did you mean .*cuhk03-np/labeled\?"):
        catalog.read("cuhk03np-labeled", tmp_path / "cuhk03-np" / "detected")


def test_duke_names_distractors_and_notice(tmp_path, street_small, expect):
    expect("dukemtmc", duke(tmp_path / "DukeMTMC-reID", street_small))
    with pytest.warns(UserWarning, match="withdrawn by its authors"):
        data = catalog.load("dukemtmc", tmp_path)
    strangers = (street_small.gallery.pid == 0).sum()
    assert data.gallery.pid.nunique() == 8 + strangers and strangers > 0
    assert data.gallery.camid[data.gallery.pid < 7000].tolist() == [
        c for p, c in zip(street_small.gallery.pid, street_small.gallery.camid, strict=True) if p > 0
    ]


@pytest.mark.parametrize("version", [1, 2])
def test_msmt17_lists(tmp_path, street_small, expect, version):
    expect("msmt17", msmt17(tmp_path / f"MSMT17_V{version}", street_small, version))
    data = catalog.load("msmt17", tmp_path)
    assert len(data.train) == len(street_small.train)  # list_train and list_val
    assert sorted(data.train.pid.unique()) == list(range(1, 9))
    assert sorted(data.query.pid.unique()) == list(range(9, 17))
    assert data.query.camid.tolist() == street_small.query.camid.tolist()
    folder = {1: "/test/", 2: "/mask_test_v2/"}[version]
    assert data.gallery.path.str.contains(folder).all()


def test_protocol_file_agrees_with_the_paper():
    frame = cuhk03._protocol()
    assert frame.groupby("pair").size().tolist() == [843, 440, 77, 58, 49] and len(frame) == 1467
    for boxes in ("labeled", "detected"):
        assert (frame[boxes] == "train").sum() == 767
        queries = frame[boxes][frame[boxes] != "train"].str.split(expand=True).astype(int)
        assert len(queries) == 700 and queries[0].between(1, 5).all() and queries[1].between(6, 10).all()


@pytest.mark.parametrize("boxes", ["labeled", "detected"])
def test_new_protocol_from_mat(mat, boxes):
    data = catalog.read(f"cuhk03np-{boxes}", mat)
    protocol = pd.read_csv(cuhk03.files("reidnb.data") / "cuhk03_new_protocol.csv")
    pid = {(a, b): i + 1 for i, (a, b) in enumerate(zip(protocol.pair, protocol.person, strict=True))}
    rows = {(a, b): p for a, b, p in zip(protocol.pair, protocol.person, protocol[boxes], strict=True)}
    expected_rows = {"train": set(), "query": set(), "gallery": set()}
    for pair, persons in enumerate(PERSONS, 1):
        for person in range(1, persons + 1):
            for index in range(1, 11):
                if index in (5, 10) and person % 2 == 0:
                    continue  # left empty by the miniature
                view = 1 + (index > 5)
                row = rows[pair, person]
                split = "train" if row == "train" else "query" if str(index) in row.split() else "gallery"
                name = f"{pair}_{person:03d}_{view}_{index:02d}.png"
                expected_rows[split].add((name, pid[pair, person], view))
    for split, expected in expected_rows.items():
        table = getattr(data, split)
        rows = zip(table.path.str.rsplit("/", n=1).str[1], table.pid, table.camid, strict=True)
        assert set(rows) == expected and len(table) == len(expected) > 0, split


def test_extracted_images_are_the_files(mat, street_small):
    labeled, detected = (catalog.read(f"cuhk03np-{boxes}", mat).train for boxes in ("labeled", "detected"))
    with h5py.File(catalog.locate("cuhk03-labeled", mat)) as file:
        first = file[file[file["labeled"][0, 0]][0, 0]][:]  # pair 1, person 1, image 1: (3, width, height)
    row = labeled[labeled.path.str.endswith("1_001_1_01.png")].iloc[0]
    image = np.asarray(Image.open(row.path))
    assert image.shape == (64, 32, 3) and row.pid == 1
    np.testing.assert_array_equal(image, first.transpose(2, 1, 0))
    row = detected[detected.path.str.endswith("1_001_1_01.png")].iloc[0]
    assert Image.open(row.path).size == (32, 63)


def test_mat_is_extracted_once(mat, monkeypatch):
    before = catalog.read("cuhk03-labeled", mat)
    monkeypatch.setattr(cuhk03, "_write_images", lambda *a: pytest.fail("extracted again"))
    pd.testing.assert_frame_equal(catalog.read("cuhk03-labeled", mat).train, before.train)


def test_an_interrupted_extraction_leaves_nothing(tmp_path, street_small, monkeypatch):
    monkeypatch.setenv("REIDNB_CACHE", str(tmp_path / "cache"))
    cuhk03_mat(tmp_path / "cuhk-03.mat", street_small)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cuhk03.Image, "fromarray", interrupted)
        with pytest.raises(KeyboardInterrupt):
            catalog.read("cuhk03-labeled", tmp_path)
    assert [path.name for path in (tmp_path / "cache" / "cuhk03").iterdir()] == ["lock"]
    assert len(catalog.read("cuhk03-labeled", tmp_path).train) > 0


@pytest.mark.parametrize(("name", "tested"), [("cuhk03-labeled", 5), ("cuhk03-detected-1", 5), ("cuhk03-labeled-4", 8)])
def test_classic_splits(mat, name, tested):
    data = catalog.read(name, mat)
    assert data.protocol == "single-shot"
    people = {f"1_{p:03d}" for p in range(1, tested)} | {"2_001"}
    for table, inside in ((data.train, False), (data.query, True), (data.gallery, True)):
        assert all((path.rsplit("/", 1)[1][:5] in people) == inside for path in table.path)
    assert data.train_ids == sum(PERSONS) - tested
    assert set(data.query.pid) == {*range(1, tested), 844}  # pair 2 begins after the 843 persons of pair 1
    assert set(data.query.camid) == {1, 2}


@pytest.mark.parametrize("name", ["cuhk03-labeled-0", "cuhk03-detected-21"])
def test_there_are_twenty_splits(mat, name):
    with pytest.raises(ValueError, match=f"classic splits 1 to 20, not {name.rsplit('-')[-1]}$"):
        catalog.read(name, mat)


def test_a_miniature_of_cuhk03_is_incomplete(mat):
    with pytest.raises(ValueError, match=r"not a complete cuhk03-labeled: train ids 17 instead of 1367"):
        catalog.load("cuhk03-labeled", mat)
    with pytest.raises(ValueError, match=r"not a complete cuhk03np-detected: train ids \d+ instead of 767"):
        catalog.load("cuhk03np-detected", mat)


def old_matlab(file):
    file.write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128) + bytes(64))


def truncated(file):
    file.write_bytes(file.read_bytes()[:5000])


def something_else(file):
    with h5py.File(file, "w") as mat:
        mat["labeled"] = [1]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (old_matlab, r"cuhk-03.mat is a MATLAB file of version 5; cuhk-03.mat as released is of version 7.3"),
        (truncated, r"cuhk-03.mat is broken or no MATLAB file of version 7.3 \(.*truncated"),
        (something_else, r"cuhk-03.mat is not CUHK03's: it has no 'detected' and no 'testsets'"),
    ],
)
@pytest.mark.parametrize("name", ["cuhk03-labeled", "cuhk03np-detected"])
def test_wrong_mat_files(tmp_path, street_small, spoil, message, name):
    cuhk03_mat(tmp_path / "cuhk-03.mat", street_small)
    spoil(tmp_path / "cuhk-03.mat")
    with pytest.raises(ValueError, match=message):
        catalog.read(name, tmp_path)


@pytest.mark.parametrize(
    ("home", "given", "meant"),
    [
        ("market1501", "market1501/query", "market1501"),
        ("data/market1501", ".", "data/market1501"),
        ("market1501", "other", "market1501"),
    ],
)
def test_the_intended_folder_is_suggested(tmp_path, street_small, home, given, meant):
    market_like(tmp_path / "top" / home, street_small)
    (tmp_path / "top" / given).mkdir(exist_ok=True)
    with pytest.raises(FileNotFoundError, match=rf"no folder bounding_box_train .*did you mean .*top/{meant}\?"):
        catalog.load("market1501", tmp_path / "top" / given)


def test_other_candidates_are_named(tmp_path, street_small):
    market_like(tmp_path / "mine", street_small)
    with pytest.raises(FileNotFoundError, match=r"folders there that have one: mine$"):
        catalog.load("dukemtmc", tmp_path)
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "MSMT17_V1.tar.gz").touch()
    with pytest.raises(FileNotFoundError, match=r"no list_train.txt .*unpack .*MSMT17_V1.tar.gz first"):
        catalog.load("msmt17", tmp_path / "bare")
    with pytest.raises(FileNotFoundError, match=r"no cuhk-03.mat in data_root .*named cuhk03, CUHK03"):
        catalog.load("cuhk03-detected", tmp_path / "bare")
    with pytest.raises(FileNotFoundError, match=r"MSMT17_V1.tar.gz is a file, not a folder"):
        catalog.load("msmt17", tmp_path / "bare" / "MSMT17_V1.tar.gz")


def test_a_custom_folder_one_level_up_or_down(tmp_path, street_small):
    market_like(tmp_path / "mine", street_small)
    assert catalog.load("folder", tmp_path / "mine").train_ids == 8
    with pytest.raises(FileNotFoundError, match=r"folders there that have one: mine$"):
        catalog.load("folder", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"did you mean .*/mine\?$"):
        catalog.load("folder", tmp_path / "mine" / "query")
    shutil.rmtree(tmp_path / "mine" / "query")
    with pytest.raises(FileNotFoundError, match=r"mine is not in Market-1501's layout: it has no folder query$"):
        catalog.load("folder", tmp_path / "mine")


def test_half_extracted_sets(tmp_path, street_small):
    market_like(tmp_path / "market1501", street_small)
    shutil.rmtree(tmp_path / "market1501" / "bounding_box_train")
    with pytest.raises(FileNotFoundError, match="market1501 is not in Market-1501's layout: it has no folder boun"):
        catalog.load("market1501", tmp_path)
    folder = tmp_path / "MSMT17_V1"
    msmt17(folder, street_small)
    shutil.rmtree(folder / "test" / "0003")
    with pytest.raises(FileNotFoundError, match=r"images of .*list_query.txt are missing, the first is .*test/0003"):
        catalog.load("msmt17", tmp_path)
    shutil.rmtree(folder / "test")
    with pytest.raises(
        FileNotFoundError, match="not a complete MSMT17: it has neither folders train and test nor mask"
    ):
        catalog.load("msmt17", tmp_path)
    (folder / "list_val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"not a complete MSMT17: it has no list_val.txt$"):
        catalog.load("msmt17", tmp_path)


@pytest.mark.parametrize(("text", "found"), [("0000/cat.jpg 0\n", "'0000/cat.jpg 0'"), ("", "an empty file")])
def test_wrong_list_lines(tmp_path, street_small, text, found):
    msmt17(tmp_path, street_small)
    (tmp_path / "list_query.txt").write_text(text)
    with pytest.raises(ValueError, match=f"list_query.txt: a line is like .*, found {found}"):
        catalog.load("msmt17", tmp_path)


def test_count_on_the_street(street_small):
    counts = count(street_small)
    assert (counts.train_ids, counts.query_ids, counts.gallery_ids, counts.cameras) == (8, 8, 8, 3)
    assert counts.images == counts.train + counts.query + counts.gallery
