"""The bundled images: what they hold, and what is said when a file is missing, damaged or of another kind."""

import gzip
import re
import shutil
import struct

import pytest
import torch

from ganlib import images
from ganlib.images import IMAGES, SHA256, digits


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=IMAGES)
def bundled(request):
    return IMAGES[request.param]()


@pytest.mark.parametrize(("name", "each"), [("digits", 500), ("fashion", 1000)])
def test_every_class_has_its_share(name, each):
    data = IMAGES[name]()
    assert data.labels.bincount().tolist() == [each] * 10 == [each] * len(data.names)


def test_values_and_shapes(bundled):
    assert bundled.images.shape == (len(bundled), 1, 28, 28)
    assert (bundled.images.min(), bundled.images.max()) == (-1, 1)
    assert bundled.shape == (1, 28, 28)
    assert bundled.extent == (-1, 1)
    corners = bundled.images[:, 0, ::27, ::27].mean()
    assert corners < -0.9, "the background should be -1: ink is bright"


def test_samples_are_images_of_the_set(bundled):
    x = bundled.sample(20, rng())
    assert x.shape == (20, 1, 28, 28) and x.dtype == torch.float32
    assert (torch.cdist(x.flatten(1), bundled.images.flatten(1)).min(dim=1).values < 0.05).all()


def test_samples_depend_on_the_generator_alone(bundled):
    before = torch.get_rng_state()
    assert torch.equal(bundled.sample(20, rng(1)), bundled.sample(20, rng(1)))
    assert not torch.equal(bundled.sample(20, rng(1)), bundled.sample(20, rng(2)))
    assert torch.equal(torch.get_rng_state(), before)


def test_sampling_is_even():
    data = digits()
    rows = torch.arange(len(data)).float().view(-1, 1, 1, 1)
    drawn = images.Images(rows, data.labels, data.names).sample(50_000, rng()).long().flatten()
    share, n = 1 / 10, 50_000
    assert ((drawn // 500).bincount() / n - share).abs().max() < 5 * (share * (1 - share) / n) ** 0.5


# ---- a broken file among the course's own ------------------------------------------------------------------


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A copy of the data folder that the loader takes for the course's own."""
    for name in SHA256:
        shutil.copy(images.DATA / name, tmp_path)
    monkeypatch.setattr(images, "DATA", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", SHA256)
def test_a_missing_file_is_named_and_how_to_restore_it(course, name):
    (course / name).unlink()
    restore = re.escape(f"git checkout -- data/{name}")
    with pytest.raises(FileNotFoundError, match=f"{name} is missing.*{restore}"):
        IMAGES[name.split("-")[0]]()


@pytest.mark.parametrize("name", SHA256)
def test_a_damaged_file_is_named_and_how_to_restore_it(course, name):
    damaged = bytearray((course / name).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (course / name).write_bytes(damaged)
    restore = re.escape(f"git checkout -- data/{name}")
    with pytest.raises(
        ValueError, match=f"{name} cannot be used: expected SHA-256 {SHA256[name]}.*{restore}"
    ):
        IMAGES[name.split("-")[0]]()


# ---- files of one's own ------------------------------------------------------------------------------------


def idx(shape, values, kind=8):
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(values)


PIXELS = [0, 255] * (2 * 28 * 14)  # two images of 28 x 28
GOOD_IMAGES, GOOD_LABELS = idx((2, 28, 28), PIXELS), idx((2,), [3, 9])


def write(folder, images_bytes=GOOD_IMAGES, labels_bytes=GOOD_LABELS, ending=""):
    (folder / f"train-images-idx3-ubyte{ending}").write_bytes(images_bytes)
    (folder / f"train-labels-idx1-ubyte{ending}").write_bytes(labels_bytes)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_a_folder_of_full_files_is_read(tmp_path, zipped):
    pack, ending = (gzip.compress, ".gz") if zipped else (bytes, "")
    data = digits(write(tmp_path, pack(GOOD_IMAGES), pack(GOOD_LABELS), ending))
    assert data.labels.tolist() == [3, 9]
    assert data.images[1, 0, 27, 26:].tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({"images_bytes": b""}, "images.*expected an IDX file of unsigned bytes of rank 3"),
        ({"images_bytes": GOOD_LABELS}, "images.*expected an IDX file of unsigned bytes of rank 3"),
        ({"images_bytes": idx((2, 28, 28), PIXELS, kind=9)}, "images.*unsigned bytes"),
        ({"images_bytes": GOOD_IMAGES[:10]}, "images.*expected an IDX file"),
        (
            {"images_bytes": GOOD_IMAGES[:-1]},
            "images.*expected 1568 values of shape \\(2, 28, 28\\), got 1567",
        ),
        (
            {"images_bytes": idx((2, 28, 14), PIXELS[: 28 * 28])},
            "images.*expected images of 28 x 28, got \\(28, 14\\)",
        ),
        ({"images_bytes": idx((0, 28, 28), [])}, "images.*pixels that range from 0 to 255"),
        (
            {"images_bytes": idx((2, 28, 28), [p // 255 for p in PIXELS])},
            "images.*pixels that range from 0 to 255",
        ),
        (
            {"images_bytes": idx((2, 28, 28), [128 + p // 2 for p in PIXELS])},
            "images.*pixels that range from 0 to 255",
        ),
        ({"labels_bytes": idx((3,), [1, 2, 3])}, "labels.*expected 2 labels, one for each image, got 3"),
        ({"labels_bytes": idx((2,), [1, 10])}, "labels.*expected labels below 10, got 10"),
        ({"ending": ".gz"}, "images.*expected a gzip file"),
        ({"ending": ".gz", "images_bytes": gzip.compress(GOOD_IMAGES)[:-9]}, "images.*expected a gzip file"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, broken, expected):
    with pytest.raises(ValueError, match=expected):
        digits(write(tmp_path, **broken))


def test_a_folder_without_the_files_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte.*is missing.*without a folder"):
        digits(tmp_path)
