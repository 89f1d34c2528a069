"""Networks that come trained, and the image score that rests on one of them.

For each set of images there is a classifier and a DCGAN generator in data/, trained on `halves(data)[0]`: the second
half is new to both. `python data/make_weights.py` trains them anew; a file's metadata say how good its network is.
"""

import copy
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from ganlib.images import DATA, IMAGES, Images
from ganlib.networks import DCGenerator

FEATURES = 64


class Classifier(nn.Module):
    """Images (n, 1, 28, 28) in [-1, 1] -> logits of their ten classes, (n, 10).

    `features` gives the 64 numbers an image from which the last layer decides. ValueError for other images.
    """

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),   # 16 x 14 x 14
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),  # 32 x 7 x 7
            nn.Flatten(), nn.Dropout(0.5), nn.Linear(32 * 7 * 7, FEATURES),
        )  # fmt: skip
        self.features.num_features = FEATURES  # torchmetrics asks for it
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(0.5), nn.Linear(FEATURES, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(checked_images(x)))


def checked_images(images: Tensor) -> Tensor:
    """The images as they are; ValueError unless their shape is (n, 1, 28, 28) and their values lie in [-1, 1]."""
    if images.shape[1:] != (1, 28, 28):
        raise ValueError(f"expected images of shape (n, 1, 28, 28), got {tuple(images.shape)}")
    if not images.is_floating_point() or not (images.abs() <= 1).all():
        lowest, highest = (images.min().item(), images.max().item()) if len(images) else (0, 0)
        raise ValueError(
            f"expected floats from -1 (black) to 1 (white), got {images.dtype} from {lowest:.4g} to {highest:.4g}; "
            "bytes b become such floats by b / 127.5 - 1"
        )
    return images


def frechet_distance(real: Tensor, fake: Tensor, classifier: Classifier) -> float:
    """How far apart two sets of images (n, 1, 28, 28) in [-1, 1] lie in the classifier's features: equation (5.6).

    This is the FID of Heusel et al. (2017, equation 6), by torchmetrics, with our classifier in the place of Inception:
    its values compare among themselves only, and only for equal n, as small sets lie farther apart.
    Raises ValueError for images of another shape or range, and for sets too small for a covariance (n <= 64).
    """
    metric = FrechetInceptionDistance(copy.deepcopy(classifier.features).eval().cpu())
    for images, is_real in ((real, True), (fake, False)):
        if len(images) <= FEATURES:
            raise ValueError(f"expected at least {FEATURES + 1} images in each set, got {len(images)}")
        for batch in images.split(500):
            metric.update(checked_images(batch).cpu(), real=is_real)
    return metric.compute().item()


def halves(data: Images) -> tuple[Images, Images]:
    """Every second image, and the others: what networks of this course are trained on, and what is kept from them."""
    return tuple(Images(data.images[i::2], data.labels[i::2], data.names) for i in (0, 1))


def classifier(name: str, folder: str | Path = DATA) -> Classifier:
    """The classifier of "digits" or "fashion", in evaluation mode. Errors as for `load_weights`; ValueError for
    another name."""
    return load_weights(Classifier(), Path(folder) / f"{_known(name)}-classifier.safetensors").eval()


def generator(name: str, folder: str | Path = DATA) -> DCGenerator:
    """The generator of "digits" or "fashion", in evaluation mode. Errors as for `classifier`."""
    return load_weights(DCGenerator(), Path(folder) / f"{_known(name)}-generator.safetensors").eval()


def load_weights(network: nn.Module, path: str | Path) -> nn.Module:
    """Put the weights of a safetensors file into the network, and return it.

    Raises FileNotFoundError, or ValueError for a file that is damaged or holds the weights of another network:
    a tensor too many, too few, of another shape, or not finite. The network is then as it was.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {_restore(path)}")
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or damaged ({error}). {_restore(path)}") from error
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for name in expected | found:
        if expected.get(name) != found.get(name):
            raise ValueError(
                f"{path} does not fit {type(network).__name__}: {name} should be {_said(expected.get(name))}, "
                f"and is {_said(found.get(name))} in the file. Make the network with the sizes it was saved with."
            )
    if not all(value.isfinite().all() for value in weights.values()):
        raise ValueError(f"{path} holds weights that are not finite. {_restore(path)}")
    network.load_state_dict(weights)
    return network


def _said(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {shape}"


def _known(name: str) -> str:
    if name not in IMAGES:
        raise ValueError(f"expected one of {', '.join(IMAGES)}, got {name!r}")
    return name


def _restore(path: Path) -> str:
    if path.parent == DATA:
        return f"It comes with the course; restore it with: git checkout -- data/{path.name}"
    return "Save one there with safetensors.torch.save_file(network.state_dict(), path)."
