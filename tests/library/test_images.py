"""The bundled images and networks: what they hold, and what is said of a file that is missing, damaged or another."""

import gzip
import importlib.util
import re
import shutil
import struct
import zipfile

import numpy as np
import pytest
import torch
from helpers import ROOT, rng

from ganlib import images, pretrained
from ganlib.distributions import labelled
from ganlib.images import IMAGES, Images, digits, halves

spec = importlib.util.spec_from_file_location("make_data", ROOT / "data" / "make_data.py")
make_data = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_data)


@pytest.fixture(params=IMAGES)
def bundled(request):
    return IMAGES[request.param]()


def numbered(m):
    """Images that are all their own number over m."""
    return Images(torch.arange(m).float().view(-1, 1, 1, 1) / m, torch.arange(m) % 3, "abc")


# ---- what they hold ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "each"), [("digits", 500), ("fashion", 1000)])
def test_every_class_has_its_share(name, each):
    data = IMAGES[name]()
    assert data.labels.bincount().tolist() == [each] * 10 == [each] * len(data.names)


def test_values_and_shapes(bundled):
    assert bundled.images.shape == (len(bundled), *bundled.shape) and bundled.shape == (1, 28, 28)
    assert (bundled.images.min(), bundled.images.max()) == bundled.extent == (-1, 1)
    assert bundled.kind == "images"
    assert bundled.images[:, 0, ::27, ::27].mean() < -0.9, "the background should be -1: ink is bright"


def test_labels_say_what_the_images_show(bundled):
    """A classifier trained on the first half knows the second: labels and images are in one order."""
    name = next(name for name in IMAGES if len(IMAGES[name]()) == len(bundled))
    some = slice(0, None, 25)
    said = pretrained.classifier(name)(bundled.images[some]).argmax(dim=1)
    assert (said == bundled.labels[some]).double().mean() > 0.8


def test_samples_depend_on_the_generator_alone(bundled):
    before = torch.get_rng_state()
    x = bundled.sample(20, rng(1))
    assert torch.equal(bundled.sample(20, rng(1)), x) and not torch.equal(bundled.sample(20, rng(2)), x)
    assert torch.equal(torch.get_rng_state(), before)


def test_sampling_is_even_and_labelled_samples_are_the_same_with_their_labels():
    data, n = numbered(10), 50_000
    (x, y), rows = labelled(data).sample(n, rng()), (data.sample(n, rng()) * 10).round().long().flatten()
    assert (rows.bincount() / n - 0.1).abs().max() < 5 * (0.1 * 0.9 / n) ** 0.5
    assert torch.equal(x, data.sample(n, rng()))
    assert (
        y.shape == (n, 3)
        and torch.equal(y.argmax(dim=1), rows % 3)
        and torch.equal(y.sum(dim=1), torch.ones(n))
    )


def test_halves_share_no_image_and_lose_none():
    first, second = (half.images.flatten() * 11 for half in halves(numbered(11)))
    assert first.round().tolist() == [0, 2, 4, 6, 8, 10] and second.round().tolist() == [1, 3, 5, 7, 9]
    assert halves(numbered(11))[1].labels.tolist() == [1, 0, 2, 1, 0]


@pytest.mark.parametrize(
    ("pixels", "labels", "said"),
    [
        (torch.zeros(2, 28, 28), torch.zeros(2), r"floats \(m, 1, height, width\)"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2), "floats .* got torch.uint8"),
        (torch.zeros(0, 1, 4, 4), torch.zeros(0), r"got torch.float32 \(0, 1, 4, 4\)"),
        (torch.zeros(2, 1, 4, 4), torch.zeros(3), r"expected 2 labels, one for each image, got \(3,\)"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([0, 3]), "labels from 0 to 2, got 0 to 3"),
        (torch.zeros(2, 1, 4, 4), torch.tensor([-1, 2]), "labels from 0 to 2, got -1 to 2"),
    ],
)
def test_what_does_not_fit_together_is_refused(pixels, labels, said):
    with pytest.raises(ValueError, match=said):
        Images(pixels, labels, "abc")


def test_no_sample_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        digits().sample(0, rng())


# ---- a broken file among the course's own ------------------------------------------------------------------


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A copy of the data folder that the loaders take for the course's own."""
    for path in images.DATA.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(images, "DATA", tmp_path)
    return tmp_path


FILES = {f"{name}.npz": load for name, load in IMAGES.items()}
for name in IMAGES:
    FILES[f"{name}-classifier.safetensors"] = lambda name=name: pretrained.classifier(name)
    FILES[f"{name}-generator.safetensors"] = lambda name=name: pretrained.generator(name)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_damaged_file_is_named_and_how_to_restore_it(course, name):
    damaged = bytearray((course / name).read_bytes())
    damaged[-len(damaged) // 3] ^= 1  # one bit, among a network's weights or an image's pixels
    (course / name).write_bytes(damaged)
    restore = re.escape(f"git checkout -- data/{name}")
    with pytest.raises(ValueError, match=f"{name} is damaged: expected the SHA-256.*{restore}"):
        FILES[name]()
    (course / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing.*{restore}"):
        FILES[name]()


def test_the_checksums_may_be_missing_too(course):
    (course / "SHA256SUMS").unlink()
    with pytest.raises(FileNotFoundError, match="git checkout -- data/SHA256SUMS"):
        digits()


# ---- images of one's own: IDX files, made into an npz by data/make_data.py -----------------------------------


def idx(shape, values, kind=8):
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(values)


GOOD = idx((2, 5, 3), [0, 255] * 15)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_files_of_any_size_are_read(tmp_path, ending):
    pack = gzip.compress if ending else bytes
    (tmp_path / f"i{ending}").write_bytes(pack(GOOD))
    (tmp_path / f"l{ending}").write_bytes(pack(idx((2,), [3, 9])))
    make_data.main([str(tmp_path / f"i{ending}"), str(tmp_path / f"l{ending}"), str(tmp_path / "mine.npz")])
    data = digits(tmp_path / "mine.npz")
    assert data.labels.tolist() == [3, 9] and data.shape == (1, 5, 3)
    assert data.images[0, 0].tolist() == [[-1, 1, -1], [1, -1, 1]] * 2 + [[-1, 1, -1]]
    assert data.images[1, 0, 0].tolist() == [1, -1, 1]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("i", b"", "IDX file of unsigned bytes"),
        ("i", idx((2, 5, 3), [0] * 30, kind=9), "IDX file of unsigned bytes"),
        ("i", GOOD[:10], "cannot be used"),
        ("i", GOOD[:-1], "expected 30 values of sizes"),
        ("i", GOOD + b"0", "expected 30 values of sizes"),
        ("i", idx((2**16, 2**16, 2**16), []), "at most 1,073,741,824 values"),
        ("i.gz", GOOD, "cannot be used"),
        ("i.gz", gzip.compress(GOOD)[:-9], "cannot be used"),
        ("i.gz", gzip.compress(GOOD)[:-8] + bytes(8), "cannot be used"),
    ],
    ids=range(9),  # a gzip file holds the time, and two workers must call a test by one name
)
def test_a_file_that_is_no_idx_file_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} cannot be used.*{said}|{name} {said}"):
        make_data.read_idx(tmp_path / name)


def test_labels_of_another_number_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="expected images"):
        make_data.write(tmp_path / "mine.npz", np.zeros((2, 5, 3), np.uint8), np.zeros(3, np.uint8))


PIXELS, LABELS = np.array([0, 255] * 8, np.uint8).reshape(1, 4, 4), np.array([1], np.uint8)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"images": PIXELS}, "labels"),
        ({"images": PIXELS / 255, "labels": LABELS}, r"images as bytes \(m, height, width\), got float64"),
        ({"images": PIXELS[0], "labels": LABELS}, "images as bytes"),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, "images as bytes"),
        ({"images": PIXELS // 255, "labels": LABELS}, "pixels from 0 to 255, got 0 to 1"),
        ({"images": PIXELS, "labels": np.array([10])}, "labels from 0 to 9"),
        ({"images": PIXELS, "labels": np.array([1, 1])}, "expected 1 labels"),
        ({"images": np.array([[[object()]]]), "labels": LABELS}, "Object arrays"),  # it would be unpickled
    ],
)
def test_an_npz_of_something_else_is_refused(tmp_path, arrays, said):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f"mine.npz cannot be used: .*{said}.*make_data.py"):
        digits(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, images=np.zeros((1000, 28, 28), np.uint8), labels=np.zeros(1000, np.uint8))
    monkeypatch.setattr(images, "LARGEST", 500_000)
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(ValueError, match="mine.npz cannot be used: expected at most 500,000 bytes"):
        digits(path)


@pytest.mark.parametrize("content", [b"", b"not a zip file", None])
def test_a_damaged_npz_is_refused(tmp_path, content):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, images=PIXELS, labels=LABELS)
    path.write_bytes(path.read_bytes()[:-60] if content is None else content)
    with pytest.raises(ValueError, match="mine.npz cannot be used"):
        digits(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.npz"):
        digits(tmp_path / "nowhere.npz")


def test_the_files_hold_nothing_but_arrays():
    for path in images.DATA.glob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            assert all(arrays[name].size for name in arrays)
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        assert all(name.endswith(".npy") for name in names)
        if path.stem in images.IMAGES:
            assert names == ["images.npy", "labels.npy"]
