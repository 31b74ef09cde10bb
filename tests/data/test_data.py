"""Catalog, decoded store, augmentation and sampling."""

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reidnb import street
from reidnb.data import catalog, pixels
from reidnb.data.augment import MEAN, STD, Augmentation, apply, augment, draw, mirror, move, normalise
from reidnb.data.sampler import pk_batches, shuffled_batches

SPLITS = ("bounding_box_train", "query", "bounding_box_test")


def market_folder(root, names=("0002_c1s1_000451_03.jpg",)):
    for split in SPLITS:
        (root / split).mkdir(parents=True)
        for name in names:
            Image.new("RGB", (8, 16), (200, 10, 10)).save(root / split / name, "JPEG")
    return root


def test_names_give_pid_and_camid(tmp_path):
    names = (
        "0002_c1s1_000451_03.jpg",
        "0002_c3_7.jpg",
        "0000_c2s1_1_01.jpg",
        "-1_c6s3_077467_05.jpg",
        "7_c2.jpg.jpg",
    )
    hidden = ("._0002_c1s1_000451_03.jpg", ".DS_Store.png")
    data = catalog.load("folder", market_folder(tmp_path / "own", names + hidden))
    assert list(zip(data.gallery.pid, data.gallery.camid, strict=True)) == [
        (-1, 6),
        (0, 2),
        (2, 1),
        (2, 3),
        (7, 2),
    ]
    assert set(data.train.pid) == set(data.query.pid) == {2, 7}  # neither junk nor distractors


@pytest.mark.parametrize("folder", ["Market-1501-v15.09.15", "market1501", "Market-1501", "."])
def test_market_folder_names_and_counts(tmp_path, folder):
    market_folder(tmp_path / folder)
    with pytest.raises(ValueError, match=r"not a complete market1501: train ids 1 instead of 751, train 1 instead of"):
        catalog.load("market1501", tmp_path)


def test_street_small_is_a_complete_data_set(street_small):
    assert street_small.train_ids == 8
    assert set(street_small.query.pid) <= set(street_small.gallery.pid)
    assert (street_small.gallery.pid == catalog.JUNK).any() and (street_small.gallery.pid == catalog.DISTRACTOR).any()


@pytest.mark.parametrize(
    ("name", "root", "error", "message"),
    [
        ("marked", None, ValueError, "unknown data set 'marked': known are cuhk03-detected, "),
        ("market1501", None, ValueError, "needs data_root"),
        ("market1501", "nowhere", FileNotFoundError, "nowhere is not a folder"),
        ("market1501", ".", FileNotFoundError, "no folder bounding_box_train"),
        ("folder", ".", FileNotFoundError, "no folder bounding_box_train and no images.csv in data_root"),
    ],
)
def test_bad_roots(tmp_path, name, root, error, message):
    with pytest.raises(error, match=message):
        catalog.load(name, root and tmp_path / root)


def test_bad_names_and_empty_folders(tmp_path):
    market_folder(tmp_path / "a", ("cat.jpg",))
    with pytest.raises(ValueError, match=r"do not begin like 0001_c1s1_ .* the first is cat.jpg"):
        catalog.load("folder", tmp_path / "a")
    market_folder(tmp_path / "b", ())
    with pytest.raises(ValueError, match=r"holds no image \(.jpg, .*.tiff\)$"):
        catalog.load("folder", tmp_path / "b")


def test_decode_resizes_once_and_keeps(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (40, 20, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    store = pixels.decode([str(path)], (20, 10), tmp_path)
    expected = np.asarray(Image.fromarray(image).resize((10, 20), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(store[0], expected)
    files = list((tmp_path / "pixels").iterdir())
    np.testing.assert_array_equal(pixels.decode([str(path)], (20, 10), tmp_path), store)
    assert list((tmp_path / "pixels").iterdir()) == files
    Image.fromarray(255 - image).save(path)  # changed: decoded again
    assert (pixels.decode([str(path)], (20, 10), tmp_path) != store).any()


def test_a_deleted_image_of_the_street_is_named(tmp_path, street_small, monkeypatch):
    monkeypatch.setenv("REIDNB_CACHE", str(tmp_path))
    shutil.copytree(street_small.root, tmp_path / "street-small")
    image = sorted((tmp_path / "street-small" / "query").iterdir())[2]
    image.unlink()
    with pytest.raises(FileNotFoundError, match=f"1 images of street-small are missing, the first is {image};"):
        catalog.load("street-small")


def test_broken_images_are_named_all_at_once(tmp_path):
    good, empty, broken, cut = (tmp_path / n for n in ("good.jpg", "empty.jpg", "broken.jpg", "cut.jpg"))
    noise = np.random.default_rng(0).integers(0, 255, (64, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(good)
    empty.touch()
    broken.write_bytes(b"not a jpeg")
    cut.write_bytes(good.read_bytes()[:1000])
    with pytest.raises(ValueError, match="3 of 4 images cannot be decoded") as error:
        pixels.decode([str(p) for p in (good, empty, broken, cut)], (64, 32), tmp_path)
    assert "empty.jpg (empty file)" in str(error.value)
    assert "broken.jpg" in str(error.value) and "cut.jpg" in str(error.value)
    assert [path.name for path in (tmp_path / "pixels").iterdir()] == ["lock"]  # nothing half-written is left
    with pytest.raises(FileNotFoundError, match=r"1 images are missing, the first is .*gone.jpg"):
        pixels.decode([str(tmp_path / "gone.jpg")], (64, 32), tmp_path)


def test_augmentation_off_is_normalisation():
    images = torch.randint(0, 255, (3, 16, 8, 3), dtype=torch.uint8)
    got = augment(images, Augmentation(0, 0, 0), torch.Generator())
    expected = (images.numpy() / 255 - MEAN) / STD
    np.testing.assert_allclose(got.permute(0, 2, 3, 1), expected, atol=1e-5)
    assert got.is_contiguous(memory_format=torch.channels_last)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), pad=st.integers(0, 6), flip=st.sampled_from([0.0, 0.5, 1.0]))
def test_augmentation_is_flip_pad_crop_erase_image_by_image(seed, pad, flip):
    augmentation = Augmentation(flip, pad, 0.5)
    images = torch.randint(0, 255, (5, 16, 8, 3), dtype=torch.uint8)
    drawn = draw(augmentation, 5, (16, 8), torch.Generator().manual_seed(seed))
    got = augment(images, augmentation, torch.Generator().manual_seed(seed))
    for i in range(5):
        image = images[i].numpy()
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        top, left = drawn["top"][i] + pad, drawn["left"][i] + pad
        # The crop is cut from the mirrored image: mirror, pad, crop.
        if drawn["flip"][i]:
            padded = padded[:, ::-1]
        cut = padded[top : top + 16, left : left + 8]
        expected = (cut / 255 - MEAN) / STD
        y0, x0, y1, x1 = drawn["boxes"][i].tolist()
        expected[y0:y1, x0:x1] = 0
        np.testing.assert_allclose(got[i].permute(1, 2, 0), expected, atol=1e-5)


def test_each_image_has_an_independent_draw():
    drawn = draw(Augmentation(0.5, 5, 0.5), 200, (64, 32), torch.Generator().manual_seed(0))
    assert 70 < int(drawn["flip"].sum()) < 130
    assert len(set(zip(drawn["top"].tolist(), drawn["left"].tolist(), strict=True))) > 50
    heights = drawn["boxes"][:, 2] - drawn["boxes"][:, 0]
    areas = heights * (drawn["boxes"][:, 3] - drawn["boxes"][:, 1])
    erased = areas > 0
    assert 70 < int(erased.sum()) < 130
    assert areas[erased].max() <= 0.45 * 64 * 32 and areas[erased].min() >= 0.01 * 64 * 32


def test_normalise_on_known_values():
    got = normalise(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8))
    np.testing.assert_allclose(got[0, :, 0, 0], (1 - np.array(MEAN)) / STD, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(1, 9), min_size=4, max_size=9), k=st.integers(1, 4))
def test_pk_batches(seed, sizes, k):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    batches = pk_batches(labels, 4, k, seed)
    for batch in labels[batches].reshape(-1, 4, k):
        assert (batch == batch[:, :1]).all() and len(set(batch[:, 0])) == 4
    np.testing.assert_array_equal(batches, pk_batches(labels, 4, k, seed))
    # An image is repeated only if its identity has a short group.
    used, times = np.unique(batches, return_counts=True)
    assert all(sizes[labels[i]] % k for i in used[times > 1])


def test_sampler_errors_and_shuffle():
    with pytest.raises(ValueError, match="takes 4 identities a batch, the training set has 2"):
        pk_batches(np.array([0, 0, 1]), 4, 2, 0)
    with pytest.raises(ValueError, match="a batch of 8 needs as many"):
        shuffled_batches(5, 8, 0)
    batches = shuffled_batches(10, 3, 0)
    assert batches.shape == (3, 3) and len(set(batches.ravel())) == 9


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), pad=st.integers(0, 6), flip=st.sampled_from([0.0, 0.5, 1.0]))
def test_boxes_move_with_the_image(seed, pad, flip):
    """A bright rectangle lies inside its moved box, or has left the image with it."""
    images = torch.zeros(6, 32, 16, 3, dtype=torch.uint8)
    images[:, 6:20, 3:9] = 255
    box = torch.tensor([3 / 16, 6 / 32, 9 / 16, 20 / 32]).expand(6, 1, 4)
    drawn = draw(Augmentation(flip, pad, 0), 6, (32, 16), torch.Generator().manual_seed(seed))
    bright = apply(images, drawn)[:, 0] > 0
    moved = move(box, drawn, (32, 16))[:, 0] * torch.tensor([16.0, 32, 16, 32])
    for seen, (x0, y0, x1, y1) in zip(bright, moved.round().int().tolist(), strict=True):
        expected = torch.zeros(32, 16, dtype=torch.bool)
        expected[y0:y1, x0:x1] = True
        assert (seen == expected).all()


def test_boxes_stay_in_the_image():
    drawn = {"flip": torch.tensor([False]), "top": torch.tensor([8]), "left": torch.tensor([-4])}
    moved = move(torch.tensor([[[0.0, 0.0, 1.0, 0.5]]]), drawn, (32, 16))
    torch.testing.assert_close(moved, torch.tensor([[[0.25, 0.0, 1.0, 0.25]]]))


def test_the_mirror_of_a_mirror_is_the_box():
    boxes = torch.rand(3, 5, 4)
    torch.testing.assert_close(mirror(mirror(boxes)), boxes)
    torch.testing.assert_close(mirror(torch.tensor([0.1, 0.2, 0.4, 0.9])), torch.tensor([0.6, 0.2, 0.9, 0.9]))


RAMP = np.tile(np.linspace(0, 255, 32).round(), (16, 1))


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        ((RAMP * 257).astype(np.uint16), "png"),
        ((RAMP * 257).astype(np.uint16), "tif"),
        ((RAMP / 255).astype(np.float32), "tif"),
        (RAMP.astype(np.float32), "tif"),
    ],
)
def test_grey_of_many_bits_keeps_its_range(tmp_path, values, suffix):
    path = tmp_path / f"ramp.{suffix}"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(pixels.read([str(path)], (16, 32))[0], np.repeat(RAMP[..., None], 3, 2))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    """As stored, the picture is turned or mirrored; as seen, its left half is red and its top brighter."""
    seen = np.zeros((64, 32, 3), np.uint8)
    seen[:, :16, 0], seen[:32, :, 1] = 200, 200
    undo = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    undo |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    stored = Image.fromarray(seen)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose[undo[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{suffix}", exif=exif)
    got = pixels.read([str(tmp_path / f"a.{suffix}")], (32, 16))[0].astype(int)
    expected = np.asarray(Image.fromarray(seen).resize((16, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(got - expected).mean() < 8
    with Image.open(tmp_path / f"a.{suffix}") as image:
        assert pixels.upright_size(image) == (64, 32)


def test_a_decompression_bomb_is_named(tmp_path, monkeypatch):
    Image.new("RGB", (40, 80)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"1 of 1 images cannot be decoded:\n.*bomb.png \(Image size .* exceeds limit"):
        pixels.decode([str(tmp_path / "bomb.png")], (8, 4), tmp_path)


def test_images_in_memory_are_resized_as_files_are(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (40, 20, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    resized = pixels.resize(image[None], (16, 8))
    assert np.array_equal(resized, pixels.read([str(tmp_path / "a.png")], (16, 8)))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"<html>", None], ids=["empty", "cut", "page", "half"])
def test_damaged_decoded_images_are_named_with_their_path(content, tmp_path):
    paths = [str(tmp_path / "one.png")]
    Image.new("RGB", (8, 16)).save(paths[0])
    pixels.decode(paths, (16, 8), tmp_path)
    (file,) = (tmp_path / "pixels").glob("*.npy")
    file.write_bytes(file.read_bytes()[:-40] if content is None else content)
    with pytest.raises(ValueError, match=f"{file} is damaged .*: delete it, and the images are decoded again"):
        pixels.decode(paths, (16, 8), tmp_path)
    file.unlink()
    assert pixels.decode(paths, (16, 8), tmp_path).shape == (1, 16, 8, 3)


@pytest.mark.parametrize("content", [b"", b"<html>", None], ids=["empty", "page", "half"])
def test_a_damaged_truth_of_the_street_is_named_with_its_path(content, street_small, tmp_path, monkeypatch):
    folder = tmp_path / "street-small"
    shutil.copytree(street_small.root, folder)
    monkeypatch.setenv("REIDNB_CACHE", str(tmp_path))
    file = folder / "truth" / "query.npz"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if content is None else content)
    for read in (lambda: catalog.load("street-small"), lambda: street.truth(folder, "query")):
        with pytest.raises(ValueError, match=f"{file} is damaged .*: delete {folder} to have it made again"):
            read()
    file.unlink()
    with pytest.raises(FileNotFoundError, match=f"{file} is missing; delete {folder} to have it made again"):
        catalog.load("street-small")
