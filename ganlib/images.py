"""Small grey images as samplers: handwritten digits and clothes, bundled in data/ and never downloaded.

data/README.md says where the files come from. They are IDX files, the format that MNIST made common:
0, 0, the type of the values (8: unsigned byte), the rank, the sizes as big-endian 32-bit numbers, the values.
"""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Generator, Tensor

DATA = Path(__file__).parents[1] / "data"

SHA256 = {
    "digits-images-idx3-ubyte.gz": "c6b100a5a2c03680cfe2ea9a6cb50df61c85444712901c9827140677184ff468",
    "digits-labels-idx1-ubyte.gz": "86843f81a1849db34cf2a8117f2c27d94bdb2638b0633e53343f198187730267",
    "fashion-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "fashion-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}


class Images:
    """A set of labelled images to draw from, evenly and with replacement.

    images: floats in [-1, 1], (m, 1, 28, 28); labels: class numbers, (m,); names: what the classes are called.
    """

    extent = (-1.0, 1.0)

    def __init__(self, images: Tensor, labels: Tensor, names: Sequence[str]):
        self.images, self.labels, self.names = images, labels, tuple(names)
        self.shape = tuple(images.shape[1:])
        self._copies = {images.device: images}  # one for each device that asked, so that drawing is cheap

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, n: int, rng: Generator) -> Tensor:
        """n images, (n, 1, 28, 28), on the generator's device."""
        if rng.device not in self._copies:
            self._copies[rng.device] = self.images.to(rng.device)
        which = torch.randint(len(self), (n,), generator=rng, device=rng.device)
        return self._copies[rng.device][which]


def digits(folder: str | Path | None = None) -> Images:
    """5,000 handwritten digits of MNIST (LeCun, Cortes and Burges 1998), 500 of each.

    With a folder, the full set instead: train-images-idx3-ubyte and train-labels-idx1-ubyte, plain or .gz.
    Raises FileNotFoundError or ValueError, naming the file, what was expected and how to restore it.
    """
    return _load("digits", folder, names="0123456789")


def fashion(folder: str | Path | None = None) -> Images:
    """10,000 pictures of clothes: the test images of Fashion-MNIST (Xiao, Rasul and Vollgraf 2017).
    Folder and errors as for `digits`."""
    clothes = "T-shirt, trousers, pullover, dress, coat, sandal, shirt, trainer, bag, ankle boot"
    return _load("fashion", folder, names=clothes.split(", "))


# A new set of images is one function above and one entry here: it is then in the tests and in the lab's menu.
IMAGES: dict[str, Callable[..., Images]] = {"digits": digits, "fashion": fashion}


def _load(name: str, folder: str | Path | None, names: Sequence[str]) -> Images:
    where, start = (DATA, name) if folder is None else (Path(folder), "train")
    images_file = _find(where, f"{start}-images-idx3-ubyte")
    labels_file = _find(where, f"{start}-labels-idx1-ubyte")
    images, labels = _read_idx(images_file, rank=3), _read_idx(labels_file, rank=1)

    if images.shape[1:] != (28, 28):
        _reject(images_file, f"expected images of 28 x 28, got {tuple(images.shape[1:])}")
    if not len(images) or images.min() != 0 or images.max() != 255:
        _reject(images_file, "expected pixels that range from 0 to 255")
    if len(labels) != len(images):
        _reject(labels_file, f"expected {len(images)} labels, one for each image, got {len(labels)}")
    if labels.max() >= len(names):
        _reject(labels_file, f"expected labels below {len(names)}, got {labels.max()}")
    return Images(images[:, None].to(torch.get_default_dtype()) / 127.5 - 1, labels.long(), names)


def _find(folder: Path, name: str) -> Path:
    """The file `name`.gz in `folder`, or, outside the course's own folder, `name` itself."""
    zipped, plain = folder / f"{name}.gz", folder / name
    if zipped.is_file():
        return zipped
    if folder != DATA and plain.is_file():
        return plain
    raise FileNotFoundError(f"{zipped} is missing. {_restore(zipped)}")


def _read_idx(path: Path, rank: int) -> Tensor:
    """The bytes of an IDX file of that rank as a uint8 tensor."""
    data = path.read_bytes()
    if path.parent == DATA and hashlib.sha256(data).hexdigest() != SHA256[path.name]:
        _reject(path, f"expected SHA-256 {SHA256[path.name]}")
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            _reject(path, f"expected a gzip file ({error})")
    header = 4 + 4 * rank
    if data[:4] != bytes([0, 0, 8, rank]) or len(data) < header:
        _reject(
            path, f"expected an IDX file of unsigned bytes of rank {rank}, it begins with {data[:4].hex(' ')}"
        )
    sizes = struct.unpack(f">{rank}I", data[4:header])
    if len(data) - header != math.prod(sizes):
        _reject(path, f"expected {math.prod(sizes)} values of shape {sizes}, got {len(data) - header}")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)[header:].view(sizes)


def _reject(path: Path, why: str) -> None:
    raise ValueError(f"{path} cannot be used: {why}. {_restore(path)}")


def _restore(path: Path) -> str:
    if path.parent == DATA:
        return f"It comes with the course; restore it with: git checkout -- data/{path.name}"
    return "Copy it again from where you have it, or call without a folder to use the images of the course."
