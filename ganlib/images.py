"""Small grey images as samplers: handwritten digits and clothes, bundled in data/ and never downloaded.

data/README.md says where the files come from; data/make_data.py makes such files of your own images.
"""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

DATA = Path(__file__).parents[1] / "data"
LARGEST = 2**30  # bytes of pixels that a file may unpack to: more is no set of small images


class Images:
    """A set of labelled images to draw from, evenly and with replacement.

    images: floats in [-1, 1], (m, 1, height, width); labels: class numbers, (m,); names: what the classes are called.
    Raises ValueError for images, labels and names that do not fit together.
    """

    kind, extent = "images", (-1.0, 1.0)

    def __init__(self, images: Tensor, labels: Tensor, names: Sequence[str]):
        if images.dim() != 4 or not images.is_floating_point() or not len(images):
            raise ValueError(
                f"expected floats (m, 1, height, width), got {images.dtype} {tuple(images.shape)}"
            )
        if labels.shape != images.shape[:1]:
            raise ValueError(f"expected {len(images)} labels, one for each image, got {tuple(labels.shape)}")
        if labels.min() < 0 or labels.max() >= len(names):
            raise ValueError(
                f"expected labels from 0 to {len(names) - 1}, got {labels.min()} to {labels.max()}"
            )
        self.images, self.labels, self.names = images, labels, tuple(names)
        self.shape = tuple(images.shape[1:])
        self._copies = {}  # one for each device that asked, so that drawing is cheap

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, n: int, rng: Generator) -> Tensor:
        """n images, (n, *shape), on the generator's device."""
        return self._draw(n, rng)[0]

    def sample_labelled(self, n: int, rng: Generator) -> tuple[Tensor, Tensor]:
        """The images that `sample` would give, and the class of each, one-hot (n, classes)."""
        x, y = self._draw(n, rng)
        return x, one_hot(y, len(self.names)).to(x)

    def _draw(self, n, rng):
        if n < 1:
            raise ValueError(f"expected n of at least 1, got {n!r}")
        if rng.device not in self._copies:
            self._copies[rng.device] = self.images.to(rng.device), self.labels.to(rng.device)
        which = torch.randint(len(self), (n,), generator=rng, device=rng.device)
        return tuple(part[which] for part in self._copies[rng.device])


def digits(path: str | Path | None = None) -> Images:
    """5,000 handwritten digits of MNIST (LeCun, Cortes and Burges 1998), 500 of each; or those in a file of yours that
    data/make_data.py wrote. Raises FileNotFoundError or ValueError, naming the file and what to do."""
    return _load(path or bundled("digits.npz"), "0123456789")


def fashion(path: str | Path | None = None) -> Images:
    """10,000 pictures of clothes: the test images of Fashion-MNIST (Xiao, Rasul and Vollgraf 2017). Path and errors
    as for `digits`."""
    clothes = "T-shirt, trousers, pullover, dress, coat, sandal, shirt, trainer, bag, ankle boot"
    return _load(path or bundled("fashion.npz"), clothes.split(", "))


# A new set of images is one function above and one entry here: it is then in the tests and in the lab's menu.
IMAGES: dict[str, Callable[..., Images]] = {"digits": digits, "fashion": fashion}


def halves(data: Images) -> tuple[Images, Images]:
    """Every second image, and the others: what networks of this course are trained on, and what is kept from them."""
    return tuple(Images(data.images[i::2], data.labels[i::2], data.names) for i in (0, 1))


def bundled(name: str) -> Path:
    """A file of data/. Raises FileNotFoundError, or ValueError when its SHA-256 is not that of data/SHA256SUMS,
    and says how to restore it."""
    for path in (DATA / "SHA256SUMS", DATA / name):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing. {_restore(path)}")
    lines = (DATA / "SHA256SUMS").read_text().splitlines()
    if f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}" not in lines:
        raise ValueError(f"{path} is damaged: expected the SHA-256 of data/SHA256SUMS. {_restore(path)}")
    return path


def _restore(path: Path) -> str:
    return f"It comes with the course; restore it with: git checkout -- data/{path.name}"


def _load(path: str | Path, names: Sequence[str]) -> Images:
    try:
        with zipfile.ZipFile(path) as archive:  # an npz is a zip file; look at its sizes before unpacking it
            if (size := sum(part.file_size for part in archive.infolist())) > LARGEST:
                raise ValueError(f"expected at most {LARGEST:,} bytes, it would unpack to {size:,}")
        with np.load(path, allow_pickle=False) as file:
            images, labels = file["images"], file["labels"]
        if images.dtype != np.uint8 or images.ndim != 3 or not images.size:
            raise ValueError(
                f"expected images as bytes (m, height, width), got {images.dtype} {images.shape}"
            )
        if (images.min(), images.max()) != (0, 255):
            raise ValueError(f"expected pixels from 0 to 255, got {images.min()} to {images.max()}")
        pixels = torch.from_numpy(images)[:, None].to(torch.get_default_dtype())
        return Images(pixels / 127.5 - 1, torch.from_numpy(labels).long(), names)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged zip file fails in a dozen ways
        raise ValueError(f"{path} cannot be used: {error}. Write it anew with data/make_data.py") from error
