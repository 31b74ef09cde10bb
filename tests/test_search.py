"""Descriptors of one's images, and the search of a gallery."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import reidnb
from reidnb import rescoring, search
from reidnb.__main__ import main
from reidnb.models.backbone import network
from reidnb.papers import PAPERS
from reidnb.papers.experiments import one_experiment
from reidnb.pose import sources
from reidnb.results import Run
from reidnb.runs import run


@pytest.fixture(scope="module")
def finished(street_small):
    experiment = one_experiment(PAPERS["wrcanet"], {}, {}, "street-small", "smoke")
    return run(experiment, street_small, log=lambda line: None, cpu=True)


@pytest.fixture
def photos(tmp_path, street_small):
    """A folder of three images of different sizes and kinds, one of them in a folder of its own."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for place, row in (("a.jpg", 0), ("b.PNG", 4), ("more/c.TIF", 9)):
        with Image.open(street_small.gallery.path[row]) as image:
            image.resize((50 + row, 90)).save(folder / place)
    (folder / "notes.txt").write_text("no image")
    (folder / "._a.jpg").write_bytes(b"as macOS leaves them")
    return folder


def test_extract_gives_the_runs_descriptors(finished, street_small):
    query, _ = rescoring.descriptors(finished, street_small)
    assert np.allclose(reidnb.extract(list(street_small.query.path), finished), query.numpy(), atol=1e-5)


def test_a_run_is_named_in_several_ways(finished, photos):
    expected = search.extract(photos, finished)
    assert expected.shape[0] == 3 and expected.dtype == np.float32
    for name in (finished.folder, str(finished.folder / "model.safetensors"), finished.folder.name):
        assert np.array_equal(search.extract(photos, name), expected)


def test_a_resnets_weights_describe_by_their_last_stage(tmp_path, photos):
    torch.manual_seed(0)
    net = network("resnet10-eighth")
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    described = search.extract(photos, tmp_path / "net.safetensors")
    images = np.stack([Image.open(path).convert("RGB").resize((128, 256), 2) for path in search.images_in(photos)])
    x = (torch.from_numpy(images) / 255 - torch.tensor((0.485, 0.456, 0.406))) / torch.tensor((0.229, 0.224, 0.225))
    for module in net.layer4.modules():
        if isinstance(module, torch.nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)
    net.fc = torch.nn.Identity()
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(net.eval()(x.permute(0, 3, 1, 2)))
    assert np.allclose(described, expected.numpy(), atol=1e-3)


def test_the_verb_weights_says_what_a_runs_network_is_for(finished, capsys):
    assert main(["weights", str(finished.folder / "model.safetensors")]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert (
        said
        == f"the trained network of the finished run {finished.folder}: --model of extract, search and export takes it"
    )


def test_a_pose_network_gets_the_joints_of_a_detector(street_small, photos, monkeypatch):
    experiment = one_experiment(PAPERS["attention_driven"], {}, {}, "street-small", "smoke")
    finished = run(experiment, street_small, log=lambda line: None, cpu=True)
    seen = []

    def detect(paths, *_):
        seen.extend(paths)
        return np.zeros((len(paths), 18, 3), np.float32)  # nobody was detected: the mean canonical pose

    from reidnb.pose import detector

    monkeypatch.setattr(detector, "detect", detect)
    assert np.isfinite(search.extract(photos, finished)).all()
    assert seen == search.images_in(photos)
    assert sources.detect(seen).sizes.tolist()[0] == [90, 50]


def test_search_finds_the_image_itself_first(finished, street_small, tmp_path):
    gallery = list(street_small.gallery.path[:20])
    table = search.search(gallery[7], gallery, finished, top=5)
    assert table.path[0] == gallery[7] and table.distance[0] == pytest.approx(0, abs=1e-5)
    assert list(table["rank"]) == [1, 2, 3, 4, 5] and table.distance.is_monotonic_increasing
    descriptors = search.extract(gallery, finished)
    expected = np.argsort(((descriptors - descriptors[7]) ** 2).sum(1))[:5]
    assert table.path.tolist() == [gallery[n] for n in expected]
    file = search.save(tmp_path / "gallery.npz", gallery, descriptors)
    assert search.search(gallery[7], file, finished, top=5).equals(table)


def test_parquet_keeps_paths_and_numbers(tmp_path):
    pytest.importorskip("pyarrow")
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    paths, values = search.load(search.save(tmp_path / "x.parquet", ["a", "b", "ä"], x))
    assert paths == ["a", "b", "ä"] and np.array_equal(values, x)


def test_parquet_without_its_library_is_one_sentence(tmp_path, monkeypatch):
    def missing(*arguments, **options):
        raise ImportError("pyarrow")

    monkeypatch.setattr("pandas.DataFrame.to_parquet", missing)
    with pytest.raises(ValueError, match=r"x.parquet needs the package pyarrow: pip install pyarrow, or write .npz"):
        search.save(tmp_path / "x.parquet", ["a"], np.zeros((1, 2)))
    assert not list(tmp_path.iterdir())


def test_bad_input_is_one_sentence(finished, photos, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no image"):
        search.extract(tmp_path / "empty", finished)
    with pytest.raises(FileNotFoundError, match="nowhere is neither an image nor a folder of images"):
        search.extract(tmp_path / "nowhere", finished)
    (photos / "fake.jpg").write_text("not an image")
    with pytest.raises(ValueError, match=r"1 of 4 images cannot be decoded:\n.*fake.jpg"):
        search.extract(photos, finished)
    with pytest.raises(FileNotFoundError, match=r"photos is not the folder of a finished run: it has no metrics.json"):
        search.extract(photos / "a.jpg", photos)
    with pytest.raises(FileNotFoundError, match="no such file"):
        search.extract(photos / "a.jpg", tmp_path / "w.pth")
    save_file({"x": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"w\.safetensors fit no backbone of this package"):
        search.extract(photos / "a.jpg", tmp_path / "w.safetensors")
    without = tmp_path / "without"
    without.mkdir()
    for name in ("metrics.json", "experiment.json"):
        (without / name).write_bytes((finished.folder / name).read_bytes())
    with pytest.raises(FileNotFoundError, match=r"was kept without model\.safetensors"):
        search.extract(photos / "a.jpg", Run(without))
    search.save(tmp_path / "two.npz", ["a", "b"], np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"the gallery's descriptors have 3 dimensions, this network's \d+"):
        search.search(photos / "a.jpg", tmp_path / "two.npz", finished)
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    with pytest.raises(ValueError, match=r"other.npz holds no descriptors with paths: write it by python -m reidnb"):
        search.search(photos / "a.jpg", tmp_path / "other.npz", finished)
    with pytest.raises(ValueError, match=r"top=0: the list has at least 1 image"):
        search.search(photos / "a.jpg", photos, finished, top=0)
    with pytest.raises(ValueError, match=r"top=-1: the list has at least 1 image"):
        search.nearest(np.zeros(2), np.zeros((5, 2)), -1)
    with pytest.raises(ValueError, match=r"the query .*photos is a folder: it has to be one image"):
        search.search(photos, photos, finished)


def test_descriptors_of_another_network_of_this_size_are_refused(finished, photos, tmp_path):
    network, other = search.describer(finished), search.describer(finished)
    next(other.model.parameters()).data += 0.01
    values = search.extract(photos, network)
    file = search.save(tmp_path / "x.npz", search.images_in(photos), values, network)
    assert (search.described(file, network)[1] == values).all() and (
        search.described(file, finished)[1] == values
    ).all()
    with pytest.raises(ValueError, match=r"x\.npz holds descriptors of another network"):
        search.search(photos / "a.jpg", file, other)
    unnamed = search.save(tmp_path / "y.npz", search.images_in(photos), values)
    assert search.described(unnamed, other)[0] == search.images_in(photos)


@pytest.mark.parametrize("length", [0, 300])
def test_a_damaged_file_of_descriptors_is_named(length, tmp_path):
    file = search.save(tmp_path / "x.npz", ["a"] * 9, np.random.default_rng(0).random((9, 40)))
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"x\.npz holds no descriptors with paths"):
        search.load(file)


@pytest.mark.parametrize("descriptors", [np.zeros((5, 2)), np.zeros(1), np.array([["a", "b"]])], ids=str)
def test_arrays_that_are_no_descriptors_are_named(descriptors, tmp_path):
    np.savez(tmp_path / "x.npz", paths=np.array(["a.jpg"]), descriptors=descriptors)
    with pytest.raises(ValueError, match=r"x\.npz holds no descriptors with paths"):
        search.load(tmp_path / "x.npz")


def test_verbs_extract_and_search(finished, photos, tmp_path, capsys):
    file = tmp_path / "photos.npz"
    assert main(["extract", str(photos), "--model", finished.folder.name, "--output", str(file)]) == 0
    assert "3 images" in capsys.readouterr().out
    paths, descriptors = search.load(file)
    assert paths == search.images_in(photos) and len(descriptors) == 3
    for gallery in (file, photos):
        arguments = [str(photos / "a.jpg"), str(gallery), "--model", finished.folder.name, "--top", "2"]
        assert main(["search", *arguments]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 3 and lines[1].split()[-1] == str(photos / "a.jpg")
    assert main(["extract", str(tmp_path / "no"), "--model", finished.folder.name, "--output", str(file)]) == 1
    assert "neither an image nor a folder" in capsys.readouterr().err
    assert main(["extract", str(photos), "--model", finished.folder.name, "--output", "x.csv"]) == 1
    assert "descriptors are written as .npz or .parquet, found x.csv" in capsys.readouterr().err
