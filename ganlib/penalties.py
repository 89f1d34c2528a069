"""What keeps a critic Lipschitz: penalties on its slope, added to D's loss, and weight clipping, done after D's move.

The slope of D at x is the norm of its gradient with respect to the sample x. D must judge each sample by itself: with
batch normalisation the gradient at one sample would be mixed with those of its neighbours.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn


@dataclass(frozen=True)
class Penalty:
    """weight * E[cost(slope of D at x)], x from `points(real, fake, rng)`; call it with (D, real, fake, rng).

    Raises ValueError for a weight that is negative or not finite, and at the call for a D with batch normalisation.
    """

    weight: float
    points: Callable[
        [Tensor, Tensor, Generator], Tensor
    ]  # where: (n, *shape), from two minibatches of that shape
    cost: Callable[[Tensor], Tensor]  # how much: elementwise

    def __post_init__(self):
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"expected a weight of the penalty that is at least 0, got {self.weight!r}")

    def __call__(self, D: nn.Module, real: Tensor, fake: Tensor, rng: Generator) -> Tensor:
        return self.at(D, self.points(real, fake, rng))

    def at(self, D: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """The penalty at the points x, (n, *shape); s of them, (s,), for s networks at once and x (s, n, *shape)."""
        x = x.detach().requires_grad_()
        logits = D(x)  # has the axes of the batch, and none of a sample's
        (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        slopes = gradient.flatten(logits.dim()).norm(dim=-1)
        return self.weight * self.cost(slopes).mean(-1)


def interpolates(real: Tensor, fake: Tensor, rng: Generator) -> Tensor:
    """A random point between each real sample and its fake one, eps uniform for each pair: equation (8.6).

    (Gulrajani et al. 2017, Algorithm 1.) Raises ValueError when the two differ in shape.
    """
    if real.shape != fake.shape:
        raise ValueError(
            f"expected as many fake as real samples, of one shape; got {tuple(real.shape)} and {tuple(fake.shape)}"
        )
    eps = torch.rand(len(real), *[1] * (real.ndim - 1), generator=rng, device=rng.device, dtype=real.dtype)
    return eps * real + (1 - eps) * fake


def gradient_penalty(lambda_gp: float = 10.0) -> Penalty:
    """WGAN-GP: lambda_gp * E(slope - 1)^2 at random interpolates, equation (8.5) (Gulrajani et al. 2017, eq. 3)."""
    return Penalty(lambda_gp, interpolates, lambda slopes: (slopes - 1).square())


def dragan(lambda_gp: float = 10.0, spread: float = 0.5) -> Penalty:
    """DRAGAN: lambda_gp * E(slope - 1)^2 at real samples plus noise N(0, spread^2), equation (8.7).

    (Kodali et al. 2017, with k = 1.) Raises ValueError for a spread that is not positive.
    """
    if not 0 < spread < math.inf:
        raise ValueError(f"expected a positive spread, got {spread!r}")

    def around(real: Tensor, fake: Tensor, rng: Generator) -> Tensor:
        return real + spread * torch.randn(real.shape, generator=rng, device=rng.device, dtype=real.dtype)

    return Penalty(lambda_gp, around, lambda slopes: (slopes - 1).square())


def r1(gamma: float = 1.0) -> Penalty:
    """R1: gamma / 2 * E slope^2 at the real samples, equation (8.8) (Mescheder et al. 2018, eq. 9)."""
    return Penalty(gamma / 2, lambda real, fake, rng: real, torch.square)


def clip_weights(c: float) -> Callable[[nn.Module], None]:
    """D -> None, which moves every weight and bias of D into [-c, c], equation (8.4) (Arjovsky et al. 2017, Alg. 1).

    Raises ValueError for a c that is not positive.
    """
    if not 0 < c < math.inf:
        raise ValueError(f"expected a positive c, got {c!r}")

    @torch.no_grad()
    def clip(D: nn.Module) -> None:
        for weights in D.parameters():
            weights.clamp_(-c, c)

    return clip
