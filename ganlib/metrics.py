"""Numbers for how well samples cover a mixture of Gaussians, and three distances: the Jensen-Shannon divergence, in
nats, the earth mover's distance, and Fréchet's, which judges images by a classifier's features."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy import sparse
from scipy.integrate import quad
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist
from scipy.special import rel_entr
from scipy.stats import wasserstein_distance
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


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """How far apart two sets of features (n, k) lie, seen as Gaussians: equation (5.6); Heusel et al. (2017), equation
    6, the FID, if the features are Inception's. For images, evaluate(classifier.features, images).

    Values compare among themselves only, and only for equal n, as small sets lie farther apart.
    Raises ValueError for features that are not finite or too few for a covariance (n <= k).
    """
    for x in (real, fake):
        if x.dim() != 2 or x.shape[1] != real.shape[1] or len(x) <= x.shape[1] or not x.isfinite().all():
            raise ValueError(f"expected finite features (n, k) with n > k in each set, got {tuple(x.shape)}")
    (mean_r, cov_r), (mean_f, cov_f) = (
        (x.mean(dim=0), x.T.cov().reshape(x.shape[1], -1)) for x in (real.double(), fake.double())
    )
    roots = torch.linalg.eigvals(cov_r @ cov_f).real.clamp(min=0).sqrt()
    return ((mean_r - mean_f).square().sum() + cov_r.trace() + cov_f.trace() - 2 * roots.sum()).item()


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
        parts = [
            quad(f, lo, hi, epsabs=1e-13, epsrel=0, limit=200, full_output=1) for lo, hi in pairwise(edges)
        ]
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


def wasserstein(
    x: Tensor, y: Tensor, x_weights: Tensor | None = None, y_weights: Tensor | None = None
) -> float:
    """Earth mover's distance W_1 of two clouds of points, in the units of the points: equation (7.5), exactly.

    x (n,) or (n, d), y (m,) or (m, d), tensors or arrays; weights (n,) and (m,) are scaled to sum 1, and equal if
    None. On the line by the distribution functions, equation (7.13). Elsewhere by an assignment if both clouds have
    n points of equal weight (half a second for n = 500, seconds for 1,000), and else by the linear program of
    equation (7.7), in n times m unknowns (seconds from 200 points each). Raises ValueError for points or weights that
    are not finite, weights that are negative or all 0, and sizes that do not agree.
    """
    (x, a), (y, b) = _cloud("x", x, x_weights), _cloud("y", y, y_weights)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"both clouds must lie in one space, got dimensions {x.shape[1]} and {y.shape[1]}")
    if x.shape[1] == 1:
        return float(wasserstein_distance(x[:, 0], y[:, 0], a, b))
    cost, (n, m) = cdist(x, y), (len(x), len(y))
    if n == m and x_weights is None and y_weights is None:
        return float(cost[linear_sum_assignment(cost)].mean())
    rows, columns = sparse.kron(sparse.eye(n), np.ones((1, m))), sparse.kron(np.ones((1, n)), sparse.eye(m))
    plan = linprog(cost.ravel(), A_eq=sparse.vstack([rows, columns]), b_eq=np.concatenate([a, b]))
    if plan.status != 0:
        raise ValueError(f"the linear program was not solved: {plan.message}")
    return float(plan.fun)


def _cloud(name: str, points, weights) -> tuple[np.ndarray, np.ndarray]:
    """The points as an array (n, d), and their weights (n,), scaled to sum 1."""
    points = torch.as_tensor(points).detach().cpu().double().numpy()
    points = points[:, None] if points.ndim == 1 else points
    if points.ndim != 2 or not points.size or not np.isfinite(points).all():
        raise ValueError(
            f"{name} must be finite points, (n,) or (n, d), at least one, got shape {points.shape}"
        )
    if weights is None:
        return points, np.full(len(points), 1 / len(points))
    weights = torch.as_tensor(weights).detach().cpu().double().numpy()
    if weights.shape != (len(points),) or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(
            f"{name}_weights must be {len(points)} finite numbers >= 0, got shape {weights.shape}"
        )
    if not weights.sum() > 0:
        raise ValueError(f"{name}_weights must have a positive sum")
    return points, weights / weights.sum()
