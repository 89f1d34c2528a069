"""The two players as small networks. D returns logits of shape (n,), always.

Axes before the batch are welcome, which `ganlib.batched` uses."""

import math
import threading
from collections.abc import Sequence

import torch
from torch import nn

_GLOBAL_RANDOM_STATE = (
    threading.Lock()
)  # PyTorch initialises weights from it, and a sweep may build in threads


def mlp(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of the given sizes with `activation` between them (none after the last)."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(n_in, n_out), activation()]
    return nn.Sequential(*layers[:-1])


class MLPGenerator(nn.Module):
    """G: latents (n, latent_dim) -> samples (n, *shape); images (rank 3) pass through tanh into [-1, 1]."""

    def __init__(
        self, shape: Sequence[int], latent_dim: int = 16, hidden: Sequence[int] = (64, 64), activation=nn.ReLU
    ):
        super().__init__()
        self.latent_dim, self.shape = latent_dim, tuple(shape)
        self.body = mlp([latent_dim, *hidden, math.prod(shape)], activation)
        self.squash = nn.Tanh() if len(self.shape) == 3 else nn.Identity()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.squash(self.body(z)).unflatten(-1, self.shape)


class MLPDiscriminator(nn.Module):
    """D: samples (n, *shape) -> logits (n,)."""

    def __init__(self, shape: Sequence[int], hidden: Sequence[int] = (64, 64), activation=nn.ReLU):
        super().__init__()
        self.shape = tuple(shape)
        self.body = mlp([math.prod(shape), *hidden, 1], activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.flatten(-len(self.shape))).squeeze(-1)


def mlp_players(
    shape: Sequence[int],
    *,
    latent_dim: int = 16,
    hidden: Sequence[int] = (64, 64),
    activation=nn.ReLU,
    seed: int = 0,
) -> tuple[MLPGenerator, MLPDiscriminator]:
    """A fresh G and D for samples of `shape`: (1,), (2,) or (1, 28, 28). The seed fixes the weights;
    PyTorch's global random state is left as it was."""
    with _GLOBAL_RANDOM_STATE, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return (
            MLPGenerator(shape, latent_dim, hidden, activation),
            MLPDiscriminator(shape, hidden, activation),
        )
