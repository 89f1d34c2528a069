"""Data to learn, as samplers: `sample(n, rng)` gives a tensor (n, *shape) on the generator's device.

Every sampler has `shape` (of one sample), `kind` ("line", "plane" or "images": how to draw it; None for other points)
and `extent` (lo, hi): the range to draw, the same on every axis. Mixtures also have `log_prob`, `means`, `sigmas`.
"""

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

KIND = {1: "line", 2: "plane"}


class GaussianMixture:
    """A mixture of isotropic Gaussians in d dimensions.

    means (k, d), sigmas (k,) or one number, weights (k,) or None for equal ones.
    Raises ValueError for sigmas <= 0, negative weights, or sizes that do not agree.
    """

    def __init__(self, means, sigmas=1.0, weights=None, extent: tuple[float, float] | None = None):
        self.means = torch.as_tensor(means, dtype=torch.get_default_dtype())
        if self.means.dim() != 2 or not len(self.means) or not self.means.isfinite().all():
            raise ValueError(f"means must be finite, (k, d) with k >= 1, got shape {tuple(self.means.shape)}")
        k, d = self.means.shape
        self.sigmas = torch.as_tensor(sigmas, dtype=self.means.dtype)
        if self.sigmas.shape not in ((), (1,), (k,)) or not (self.sigmas > 0).all():
            raise ValueError(f"sigmas must be one or {k} positive numbers, got {sigmas!r}")
        self.sigmas = self.sigmas.expand(k)
        self.weights = torch.as_tensor([1.0] * k if weights is None else weights, dtype=self.means.dtype)
        if (
            self.weights.shape != (k,)
            or not (self.weights >= 0).all()
            or not 0 < self.weights.sum() < math.inf
        ):
            raise ValueError(f"weights must be {k} non-negative numbers with a positive sum, got {weights!r}")
        self.weights = self.weights / self.weights.sum()
        self.shape, self.kind = (d,), KIND.get(d)
        reach = float(self.means.abs().max() + 4 * self.sigmas.max())
        self.extent = _extent(extent or (-reach, reach))

    def sample(self, n: int, rng: Generator) -> Tensor:
        """n independent draws, (n, d)."""
        return self._draw(n, rng)[0]

    def sample_labelled(self, n: int, rng: Generator) -> tuple[Tensor, Tensor]:
        """The draws that `sample` would give, and the mode of each, one-hot (n, k)."""
        x, mode = self._draw(n, rng)
        return x, one_hot(mode, len(self.means)).to(x)

    def _draw(self, n, rng):
        _whole("n", n)
        which = torch.multinomial(self.weights.to(rng.device), n, replacement=True, generator=rng)
        noise = torch.randn(n, *self.shape, generator=rng, device=rng.device, dtype=self.means.dtype)
        return self.means.to(rng.device)[which] + self.sigmas.to(rng.device)[which, None] * noise, which

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats for x of shape (n, d): logsumexp_k of log w_k + log N(x; mu_k, sigma_k^2 I).
        ValueError for another shape."""
        if x.shape[1:] != self.shape:
            raise ValueError(f"expected points (n, {self.shape[0]}), got {tuple(x.shape)}")
        means, sigmas, weights = (t.to(x) for t in (self.means, self.sigmas, self.weights))
        squared = (x[:, None, :] - means).square().sum(dim=2) / sigmas.square()
        log_normal = -0.5 * squared - self.shape[0] * (sigmas.log() + 0.5 * math.log(2 * math.pi))
        return torch.logsumexp(weights.log() + log_normal, dim=1)


class Cloud:
    """Data without a density: `draw(n, rng)` gives points (n, 2), to which Gaussian noise of that deviation is added.
    ValueError for noise that is negative or not finite, or an extent that is no range."""

    shape, kind = (2,), "plane"

    def __init__(
        self,
        draw: Callable[[int, Generator], Tensor],
        extent: tuple[float, float],
        noise: float | None = None,
    ):
        if noise is not None and not 0 <= noise < math.inf:
            raise ValueError(f"noise must be a finite number of at least 0, got {noise!r}")
        self._draw, self._noise, self.extent = draw, noise, _extent(extent)

    def sample(self, n: int, rng: Generator) -> Tensor:
        """n independent draws, (n, 2)."""
        _whole("n", n)
        x = self._draw(n, rng)
        if self._noise is None:
            return x
        return x + self._noise * torch.randn(n, 2, generator=rng, device=rng.device)


def labelled(data):
    """`data` that says what each sample is: sample(n, rng) gives (x, y), the same x as before, and the class of the
    image or the mode of the mixture, one-hot (n, k). ValueError for data without labels."""
    if not hasattr(data, "sample_labelled"):
        raise ValueError(f"expected images or a mixture, whose samples have labels, got {data!r}")
    pairs = copy.copy(data)
    pairs.sample = pairs.sample_labelled
    return pairs


def _extent(extent: tuple[float, float]) -> tuple[float, float]:
    low, high = extent
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"expected an extent (low, high), got {extent}: the data must have a size above 0")
    return low, high


def _whole(name: str, number: int) -> None:
    if not isinstance(number, int) or number < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {number!r}")


def normal(mean: float = 0.0, sigma: float = 1.0) -> GaussianMixture:
    """One Gaussian on the line."""
    return GaussianMixture([[mean]], sigma, extent=(mean - 4 * sigma, mean + 4 * sigma))


def mixture_1d(means: Sequence[float], sigmas=0.5, weights=None) -> GaussianMixture:
    """A mixture of Gaussians on the line."""
    return GaussianMixture([[m] for m in means], sigmas, weights)


def ring(n_modes: int = 8, radius: float = 2.0, sigma: float = 0.05) -> GaussianMixture:
    """Gaussians of equal weight, evenly spaced on a circle (Metz et al. 2017, appendix A).

    The angles are 2 pi i / n for i < n: linspace(0, 2 pi, n) would put two modes on one spot.
    Raises ValueError for n_modes that is no whole number of at least 1, and a radius or sigma not above 0.
    """
    _whole("n_modes", n_modes)
    angles = torch.arange(n_modes) * (2 * math.pi / n_modes)
    means = radius * torch.stack([angles.cos(), angles.sin()], dim=1)
    return GaussianMixture(means, sigma, extent=(-1.5 * radius, 1.5 * radius))


def grid(side: int = 5, spacing: float = 1.0, sigma: float = 0.05) -> GaussianMixture:
    """side x side Gaussians of equal weight, centred on the origin. Errors as for `ring`."""
    _whole("side", side)
    ticks = (torch.arange(side) - (side - 1) / 2) * spacing
    reach = (side / 2 + 0.5) * spacing
    return GaussianMixture(torch.cartesian_prod(ticks, ticks), sigma, extent=(-reach, reach))


def moons(noise: float = 0.08) -> Cloud:
    """Two interleaved half circles with Gaussian noise."""

    def draw(n, rng):
        angle = math.pi * torch.rand(n, generator=rng, device=rng.device)
        side = torch.randint(2, (n,), generator=rng, device=rng.device)
        x = torch.where(side == 0, angle.cos() - 0.5, 0.5 - angle.cos())
        y = torch.where(side == 0, angle.sin() - 0.25, 0.25 - angle.sin())
        return 1.3 * torch.stack([x, y], dim=1)

    return Cloud(draw, (-3.0, 3.0), noise)


def swiss_roll(noise: float = 0.08) -> Cloud:
    """A spiral of one and a half turns, seen from above, with Gaussian noise."""

    def draw(n, rng):
        turn = 1.5 * math.pi * (1 + 2 * torch.rand(n, generator=rng, device=rng.device))
        return torch.stack([turn * turn.cos(), turn * turn.sin()], dim=1) * (2.2 / (4.5 * math.pi))

    return Cloud(draw, (-3.0, 3.0), noise)


def drawn(points, noise: float = 0.05, extent: tuple[float, float] | None = None) -> Cloud:
    """Points drawn by hand, (m, 2): a sample is one of them, chosen evenly, plus Gaussian noise.
    Raises ValueError when there is no point, or the points are not finite pairs."""
    points = torch.as_tensor(points, dtype=torch.get_default_dtype())
    if points.dim() != 2 or points.shape[1] != 2 or not len(points) or not points.isfinite().all():
        raise ValueError(f"expected finite points as rows (x, y), at least one, got {tuple(points.shape)}")

    def draw(n, rng):
        return points.to(rng.device)[torch.randint(len(points), (n,), generator=rng, device=rng.device)]

    reach = 1.3 * float(points.abs().max()) + 4 * noise
    return Cloud(draw, extent or (-reach, reach), noise)


LINE: dict[str, Callable] = {
    "1-D normal": lambda: normal(1.0, 0.5),
    "1-D mixture": lambda: mixture_1d([-1.5, 0.0, 1.5], 0.2),
}
# A new 2-D data set is one function above and one entry here: it is then in the tests and in the lab's menu.
PLANAR: dict[str, Callable] = {"ring": ring, "grid": grid, "moons": moons, "Swiss roll": swiss_roll}
