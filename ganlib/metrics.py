"""Numbers for how well samples cover a mixture of Gaussians, and the Jensen-Shannon divergence, in nats."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from scipy.integrate import quad
from scipy.special import rel_entr
from torch import Tensor

from ganlib.distributions import GaussianMixture


def _nearest(samples: Tensor, mixture: GaussianMixture) -> tuple[Tensor, Tensor]:
    """Distance to the nearest mode in units of its sigma, and that mode's index."""
    distances = torch.cdist(samples, mixture.means.to(samples)) / mixture.sigmas.to(samples)
    return distances.min(dim=1)


def modes_covered(
    samples: Tensor, mixture: GaussianMixture, within: float = 3.0, share: float | None = None
) -> int:
    """How many modes hold at least `share` of the samples (n, d) within `within` sigmas of their centre.

    The default share is 8 % of what a mode would hold if all were equal: 1 % on the ring of 8, 0.32 % on
    the grid of 25.
    """
    if not len(samples):
        return 0
    share = 0.08 / len(mixture.means) if share is None else share
    distance, mode = _nearest(samples, mixture)
    counts = torch.bincount(mode[distance <= within], minlength=len(mixture.means))
    return int((counts >= share * len(samples)).sum())


def high_quality(samples: Tensor, mixture: GaussianMixture, within: float = 3.0) -> float:
    """The share of samples (n, d) within `within` sigmas of some mode: 1 - exp(-9/2) = 98.9 % for a perfect
    sampler in 2-D at the default 3 (if no two modes are closer than that); 0 for no samples."""
    if not len(samples):
        return 0.0
    return float((_nearest(samples, mixture)[0] <= within).double().mean())


def jsd(p: Callable[[float], float], q: Callable[[float], float], edges: Sequence[float]) -> float:
    """Jensen-Shannon divergence of two densities on the line, in nats, from 0 to log 2 (Lin 1991): equation (2.10).

    `edges`: at least two increasing numbers, the first and last may be infinite. The integral runs from the first
    to the last; name every point between at which a density jumps, and one or more within each narrow peak.
    The error is below 1e-10. Raises ValueError for edges that do not increase, for functions that are not
    densities between them, and for an integral that does not settle to that accuracy.
    """
    if len(edges) < 2 or not all(lo < hi for lo, hi in pairwise(edges)):
        raise ValueError(f"edges must be two or more increasing numbers, got {edges!r}")

    def integral(f):
        parts = [quad(f, lo, hi, epsabs=1e-13, epsrel=0, limit=200, full_output=1) for lo, hi in pairwise(edges)]
        return sum(part[0] for part in parts), sum(part[1] for part in parts)  # the value, and its error

    def integrand(x):
        a, b = p(x), q(x)
        return (rel_entr(a, (a + b) / 2) + rel_entr(b, (a + b) / 2)) / 2

    for name, density in (("p", p), ("q", q)):
        mass, _ = integral(density)
        if not abs(mass - 1) < 1e-8:
            raise ValueError(f"{name} must integrate to 1 over the edges, got {mass:.10g}")
    value, error = integral(integrand)
    if not error < 1e-10:
        raise ValueError(f"the integral is only good to {error:.1g}: add the jumps and narrow peaks to edges")
    return float(value)
