"""The two players as small networks. D returns logits of shape (n,), always.

Axes before the batch are welcome, which `ganlib.batched` uses."""

import math
import threading
from collections.abc import Sequence

import torch
from torch import nn

# PyTorch initialises weights from its global random state, and a sweep may build in threads.
_GLOBAL_RANDOM_STATE = threading.Lock()


def mlp(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of the given sizes with `activation` between them (none after the last)."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(n_in, n_out), activation()]
    return nn.Sequential(*layers[:-1])


class MLPGenerator(nn.Module):
    """G: latents (n, latent_dim) -> samples (n, *shape); images (rank 3) pass through tanh into [-1, 1].

    With `n_given` it also takes what is given with each sample, (n, n_given), a class as one-hot, say."""

    def __init__(
        self, shape: Sequence[int], latent_dim: int = 16, hidden: Sequence[int] = (64, 64), activation=nn.ReLU,
        n_given: int = 0,
    ):  # fmt: skip
        super().__init__()
        self.latent_dim, self.shape = latent_dim, tuple(shape)
        self.body = mlp([latent_dim + n_given, *hidden, math.prod(shape)], activation)
        self.squash = nn.Tanh() if len(self.shape) == 3 else nn.Identity()

    def forward(self, z: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        return self.squash(self.body(_beside(z, given))).unflatten(-1, self.shape)


class MLPDiscriminator(nn.Module):
    """D: samples (n, *shape), and what is given with each, (n, n_given) -> logits (n,)."""

    def __init__(
        self, shape: Sequence[int], hidden: Sequence[int] = (64, 64), activation=nn.ReLU, n_given: int = 0
    ):
        super().__init__()
        self.shape = tuple(shape)
        self.body = mlp([math.prod(shape) + n_given, *hidden, 1], activation)

    def forward(self, x: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        return self.body(_beside(x.flatten(-len(self.shape)), given)).squeeze(-1)


def _beside(x: torch.Tensor, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return torch.cat((x, *given), dim=-1) if given else x


def mlp_players(
    shape: Sequence[int],
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (64, 64),
    activation=nn.ReLU,
    n_given: int = 0,
    seed: int = 0,
) -> tuple[MLPGenerator, MLPDiscriminator]:
    """A fresh G and D for samples of `shape`: (1,), (2,) or (1, 28, 28), told `n_given` numbers with each sample. The
    seed fixes the weights; PyTorch's global random state is left as it was."""
    with _GLOBAL_RANDOM_STATE, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return (
            MLPGenerator(shape, latent_dim, hidden, activation, n_given),
            MLPDiscriminator(shape, hidden, activation, n_given),
        )


_ROWWISE = {
    nn.Sequential, nn.Linear, nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.Identity, MLPGenerator, MLPDiscriminator,
}  # fmt: skip


def rowwise(network: nn.Module) -> bool:
    """Whether the network is known to treat each sample by itself and to take axes before the batch.

    Batch norm and convolutions do not; a module of one's own does if it says so by an attribute `rowwise = True`."""
    return all(type(m) in _ROWWISE or getattr(m, "rowwise", False) for m in network.modules())


# ---- DCGAN (Radford, Metz and Chintala 2016), for images whose sides are multiples of 4 -----------------------


def up(n_in: int, n_out: int) -> nn.Sequential:
    """A block of G, (n, n_in, h, w) -> (n, n_out, 2h, 2w): transposed convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()
    )


def down(n_in: int, n_out: int) -> nn.Sequential:
    """A block of D, (n, n_in, 2h, 2w) -> (n, n_out, h, w): strided convolution, batch norm, leaky ReLU."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.LeakyReLU(0.2)
    )


class DCGenerator(nn.Module):
    """G: latents (n, latent_dim) -> images (n, *shape) in [-1, 1]; ValueError for latents of another shape.

    A linear projection to a quarter of the size, then twice the size twice. Batch norm after every layer but the last.
    """

    def __init__(self, shape: Sequence[int] = (1, 28, 28), latent_dim: int = 32, width: int = 32):
        super().__init__()
        channels, height, breadth = _image_shape(shape)
        self.latent_dim, self.shape, corner = latent_dim, tuple(shape), (2 * width, height // 4, breadth // 4)
        self.body = nn.Sequential(
            nn.Linear(latent_dim, math.prod(corner), bias=False),
            nn.Unflatten(1, corner), nn.BatchNorm2d(2 * width), nn.ReLU(),  # for 28 x 28: 64 x 7 x 7
            up(2 * width, width),                                           # 32 x 14 x 14
            nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),    # 1 x 28 x 28
            nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        if z.shape[1:] != (self.latent_dim,):
            raise ValueError(f"G expects latents of shape (n, {self.latent_dim}), got {tuple(z.shape)}")
        return self.body(z)


class DCDiscriminator(nn.Module):
    """D: images (n, *shape) -> logits (n,); ValueError for images of another shape.

    Half the size twice, then one linear layer. Batch norm after neither the first layer nor the last; because of it
    the logit of an image depends on its batch while training, so real and generated images go through separately.
    """

    def __init__(self, shape: Sequence[int] = (1, 28, 28), width: int = 32):
        super().__init__()
        channels, height, breadth = _image_shape(shape)
        self.shape = tuple(shape)
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2),  # for 28 x 28: 32 x 14 x 14
            down(width, 2 * width),                                                 # 64 x 7 x 7
            nn.Flatten(), nn.Linear(2 * width * (height // 4) * (breadth // 4), 1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"D expects images of shape (n, {', '.join(map(str, self.shape))}), got {tuple(x.shape)}"
            )
        return self.body(x).squeeze(1)


def init_dcgan(network: nn.Module) -> nn.Module:
    """Draw the weights anew: N(0, 0.02^2), and N(1, 0.02^2) for the scales of batch norm; biases 0. In place.

    Radford et al. 2016, section 4, on the weights; on the scales, which are to start near 1, their published code.
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)):
            nn.init.normal_(layer.weight, 1.0 if isinstance(layer, nn.BatchNorm2d) else 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def dcgan_players(
    shape: Sequence[int] = (1, 28, 28), *, latent_dim: int = 32, width: int = 32, seed: int = 0
) -> tuple[DCGenerator, DCDiscriminator]:
    """A fresh G and D for images of `shape` (channels, height, width), the sides multiples of 4; ValueError for others.

    `width`: channels at half the size; at a quarter it is twice that. The seed fixes the weights; PyTorch's global
    random state is left as it was. Both lie in memory channels last, which convolutions are faster with.
    """
    with _GLOBAL_RANDOM_STATE, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        players = DCGenerator(shape, latent_dim, width), DCDiscriminator(shape, width)
        return tuple(init_dcgan(player).to(memory_format=torch.channels_last) for player in players)


def _image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) != 3 or shape[0] < 1 or any(side < 4 or side % 4 for side in shape[1:]):
        raise ValueError(
            f"expected an image shape (channels, height, width) with sides that are multiples of 4, got {tuple(shape)}"
        )
    return tuple(shape)


# ---- a judge of images -----------------------------------------------------------------------------------------


class Classifier(nn.Module):
    """Images (n, 1, 28, 28) in [-1, 1] -> logits of their ten classes, (n, 10).

    `features` gives the 64 numbers an image from which the last layer decides. Both raise ValueError for other images.
    """

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),   # 16 x 14 x 14
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),  # 32 x 7 x 7
            nn.Flatten(), nn.Dropout(0.5), nn.Linear(32 * 7 * 7, 64),
        )  # fmt: skip
        self.features.register_forward_pre_hook(_check_images)
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))


def _check_images(_, inputs: tuple[torch.Tensor]) -> None:
    (x,) = inputs
    if x.shape[1:] != (1, 28, 28) or not len(x):
        raise ValueError(f"expected images of shape (n, 1, 28, 28), got {tuple(x.shape)}")
    if not x.is_floating_point() or not (x.abs() <= 1).all():
        found = f"{x.dtype} from {x.min().item():.4g} to {x.max().item():.4g}"
        raise ValueError(
            f"expected floats from -1 (black) to 1 (white), got {found}; bytes b become such floats by b / 127.5 - 1"
        )
