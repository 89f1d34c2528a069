"""Networks that come trained: a classifier and a DCGAN generator for each set of images.

They have seen `images.halves(data)[0]`; the second half is new to both. `python data/make_weights.py` trains them anew;
a file's metadata say how good its network is.
"""

from safetensors.torch import load_file
from torch import nn

from ganlib.images import IMAGES, bundled
from ganlib.networks import Classifier, DCGenerator


def classifier(name: str) -> Classifier:
    """The classifier of "digits" or "fashion", in evaluation mode. ValueError for another name; FileNotFoundError or
    ValueError, saying how to restore it, for a file that is missing or not as it came."""
    return _trained(Classifier(), name, "classifier")


def generator(name: str) -> DCGenerator:
    """The generator of "digits" or "fashion", in evaluation mode. Errors as for `classifier`."""
    return _trained(DCGenerator(), name, "generator")


def _trained(network: nn.Module, name: str, kind: str) -> nn.Module:
    if name not in IMAGES:
        raise ValueError(f"expected one of {', '.join(IMAGES)}, got {name!r}")
    network.load_state_dict(load_file(bundled(f"{name}-{kind}.safetensors")))
    return network.eval()
