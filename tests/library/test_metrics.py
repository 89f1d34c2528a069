"""Metrics on samplers whose coverage is known."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from helpers import rng
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from ganlib.distributions import GaussianMixture, grid, ring
from ganlib.metrics import frechet_distance, high_quality, jsd, modes_covered, wasserstein


@pytest.mark.parametrize(("mixture", "modes"), [(ring(), 8), (grid(), 25)], ids=["ring", "grid"])
def test_a_perfect_sampler(mixture, modes):
    """Every mode, and the share of a 2-D Gaussian within 3 sigmas, 1 - exp(-9/2), up to four standard errors."""
    n, share = 20_000, 1 - math.exp(-4.5)
    samples = mixture.sample(n, rng())
    assert modes_covered(samples, mixture) == modes
    assert abs(high_quality(samples, mixture) - share) < 4 * math.sqrt(share * (1 - share) / n)


def test_a_collapsed_sampler():
    samples = ring().means[3].expand(500, 2)
    assert modes_covered(samples, ring()) == 1
    assert high_quality(samples, ring()) == 1


def test_samples_between_the_modes_cover_nothing():
    assert modes_covered(torch.zeros(500, 2), ring()) == 0
    assert high_quality(torch.zeros(500, 2), ring()) == 0


@pytest.mark.parametrize(
    "samples", [torch.empty(0, 2), torch.full((10, 2), math.nan)], ids=["none", "diverged"]
)
def test_nothing_covers_nothing(samples):
    assert modes_covered(samples, ring()) == 0
    assert high_quality(samples, ring()) == 0


@pytest.mark.parametrize(
    ("mixture", "needed"), [(ring(), 100), (grid(), 32)], ids=["ring 1 %", "grid 0.32 %"]
)
def test_a_mode_counts_from_its_threshold_on(mixture, needed):
    n = 10_000
    for held, modes in ((needed - 1, 1), (needed, 2)):
        samples = torch.cat([mixture.means[0].expand(n - held, 2), mixture.means[1].expand(held, 2)])
        assert modes_covered(samples, mixture) == modes


def test_share_and_radius_can_be_chosen():
    mixture = ring(sigma=0.1)
    samples = torch.cat([mixture.means[0].expand(9, 2), mixture.means[1:2] + torch.tensor([0.25, 0.0])])
    assert modes_covered(samples, mixture) == 2
    assert modes_covered(samples, mixture, share=0.2) == 1
    assert modes_covered(samples, mixture, within=2) == 1
    assert high_quality(samples, mixture, within=2) == pytest.approx(0.9)


def test_distances_are_in_units_of_each_modes_own_sigma():
    """A sample belongs to the mode that is fewest of *its* sigmas away, not to the nearest centre."""
    mixture = GaussianMixture([[0.0], [1.0]], sigmas=[0.01, 1.0])
    samples = torch.full((10, 1), 0.1)  # 10 sigmas from the near centre, 0.9 from the far one
    assert modes_covered(samples, mixture) == 1
    assert high_quality(samples, mixture) == 1
    assert modes_covered(torch.cat([samples, torch.zeros(10, 1)]), mixture) == 2
    assert high_quality(torch.cat([samples, torch.full((10, 1), -2.5)]), mixture) == 0.5


# ---- Frechet distance ------------------------------------------------------------------------------------------


def features(n, seed, k=3, shift=0.0):
    mixing = torch.randn(k, k, generator=rng(99), dtype=torch.float64)
    return torch.randn(n, k, generator=rng(seed), dtype=torch.float64) @ mixing * (1 + seed / 5) + shift


def test_frechet_distance_agrees_with_a_matrix_root_and_with_torchmetrics():
    one, two = features(300, 1, shift=0.3), features(400, 2)
    a, b = one.numpy(), two.numpy()
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    by_root = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)

    as_they_are = nn.Identity()  # in the place of Inception
    as_they_are.num_features = 3
    oracle = FrechetInceptionDistance(as_they_are).set_dtype(torch.float64)
    oracle.update(one, real=True)
    oracle.update(two, real=False)
    assert frechet_distance(one, two) == pytest.approx(by_root, rel=1e-9)
    assert frechet_distance(one, two) == pytest.approx(oracle.compute().item(), rel=1e-6)


def test_frechet_distance_is_a_distance_of_sets():
    one, two = features(300, 1), features(300, 2)
    assert frechet_distance(one, one.flip(0)) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(one, two) == pytest.approx(frechet_distance(two, one), rel=1e-9)
    assert frechet_distance(one, one + 2) == pytest.approx(
        3 * 2**2, rel=1e-9
    )  # equal covariances: the means alone
    of_one_feature = frechet_distance(one[:, :1], 3 * one[:, :1] + 2)  # on the line: by mean and deviation
    mean, deviation = one[:, 0].mean().item(), one[:, 0].std().item()
    assert of_one_feature == pytest.approx((2 * mean + 2) ** 2 + (2 * deviation) ** 2, rel=1e-5)


@pytest.mark.parametrize(
    "bad", [torch.zeros(3, 3), torch.zeros(50), torch.zeros(50, 4), torch.full((50, 3), math.nan)]
)
def test_frechet_distance_refuses_what_has_no_covariance(bad):
    for pair in ((features(50, 1), bad), (bad, features(50, 1))):
        with pytest.raises(ValueError, match=r"expected finite features \(n, k\) with n > k"):
            frechet_distance(*pair)


# ---- Jensen-Shannon divergence -------------------------------------------------------------------------------


def uniform(low, high):
    return lambda x: (low <= x <= high) / (high - low)


def gauss(mean, sigma):
    return lambda x: math.exp(-0.5 * ((x - mean) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("overlap", [0, 0.25, 1])
def test_jsd_of_overlapping_uniforms(overlap):
    """Two unit intervals: log 2 for the share that does not overlap, nothing for the rest."""
    edges = sorted({0.0, 1.0 - overlap, 1.0, 2.0 - overlap})
    value = jsd(uniform(0, 1), uniform(1 - overlap, 2 - overlap), edges)
    assert value == pytest.approx((1 - overlap) * math.log(2), abs=1e-9)


def test_jsd_agrees_with_a_monte_carlo_estimate():
    n, p, q = 40_000, GaussianMixture([[0.0], [3.0]], [1.0, 0.5]), GaussianMixture([[1.0]], 0.8)

    def term(x, a, b):  # log of a over the middle, at draws from a
        return a.log_prob(x).sub(torch.logaddexp(a.log_prob(x), b.log_prob(x))).double() + math.log(2)

    terms = term(p.sample(n, rng(1)), p, q), term(q.sample(n, rng(2)), q, p)
    estimate = sum(t.mean() for t in terms) / 2
    error = math.sqrt(sum(t.var() for t in terms) / n) / 2
    exact = jsd(lambda x: 0.5 * (gauss(0, 1)(x) + gauss(3, 0.5)(x)), gauss(1, 0.8), [-10, 0, 3, 10])
    assert abs(estimate - exact) < 4 * error


def test_jsd_is_symmetric_and_between_0_and_log_2():
    p, q, edges = gauss(0, 1), gauss(2, 0.5), [-math.inf, 0, 2, math.inf]
    assert jsd(p, p, edges) == pytest.approx(0, abs=1e-12)
    assert jsd(p, q, edges) == pytest.approx(jsd(q, p, edges), abs=1e-12)
    assert 0 < jsd(p, q, edges) < math.log(2)
    assert jsd(gauss(-50, 1), gauss(50, 1), [-90, -50, 0, 50, 90]) == pytest.approx(math.log(2), abs=1e-9)


@pytest.mark.parametrize(
    ("p", "edges", "expected"),
    [
        (gauss(0, 1), [0], "edges must be"),
        (gauss(0, 1), [1, 1], "edges must be"),
        (gauss(0, 1), [3, -3], "edges must be"),
        (gauss(0, 1), [0, 10], "p must integrate to 1"),
        (lambda x: 2 * gauss(0, 1)(x), [-10, 0, 10], "p must integrate to 1"),
    ],
)
def test_jsd_refuses_what_is_no_density(p, edges, expected):
    with pytest.raises(ValueError, match=expected):
        jsd(p, gauss(0, 1), edges)


# ---- earth mover's distance ----------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3])
def test_wasserstein_of_a_shift_is_its_length(d):
    """For any cloud and any weights: the plan x -> x + delta, and a linear function of slope 1 along delta."""
    x, delta = torch.randn(12, d, generator=rng(d)), torch.randn(d, generator=rng(9))
    weights = torch.rand(12, generator=rng(d))
    for pair in ((), (weights, weights)):
        assert wasserstein(x, x + delta, *pair) == pytest.approx(float(delta.norm()), abs=1e-6)


def test_wasserstein_by_hand():
    assert wasserstein([0.0, 1.0], [1.0, 3.0]) == pytest.approx(1.5)  # sorted: |0 - 1| and |1 - 3|
    assert wasserstein([1.0, 0.0], [3.0, 1.0]) == pytest.approx(1.5)  # in any order
    assert wasserstein([0.0], [-1.0, 2.0], None, [3, 1]) == pytest.approx(1.25)  # weights 3/4 and 1/4
    square = torch.tensor([[0.0, 0], [1, 1]]), torch.tensor([[1.0, 0], [0, 1]])
    assert wasserstein(*square) == pytest.approx(1)
    # of three at the origin two stay within reach 1 and one goes to (3, 4)
    assert wasserstein(torch.zeros(1, 2), torch.tensor([[1.0, 0], [0, 1], [3, 4]])) == pytest.approx(7 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_wasserstein_by_assignment_is_the_linear_program(seed):
    """Given weights, even equal ones, go to the program; two equal samples without them to the assignment."""
    x, y = torch.randn(2, 15, 2, generator=rng(seed), dtype=torch.float64)
    assert wasserstein(x, y) == pytest.approx(wasserstein(x, y, torch.ones(15)), abs=1e-9)
    doubled = wasserstein(torch.cat([x, x]), y)  # every point of x with half its weight, twice
    assert doubled == pytest.approx(wasserstein(x, y), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_wasserstein_on_a_line_in_the_plane(seed):
    """Distances along a straight line do not know in which space it lies."""
    x, y = torch.randn(8, generator=rng(seed)).double(), torch.randn(11, generator=rng(seed + 50)).double()
    a, b = torch.rand(8, generator=rng(seed)).double(), torch.rand(11, generator=rng(seed + 50)).double()
    along = torch.tensor([0.6, -0.8], dtype=torch.float64)
    assert wasserstein(x, y, a, b) == pytest.approx(
        wasserstein(x[:, None] * along, y[:, None] * along, a, b), abs=1e-9
    )
    assert wasserstein(x, y) == wasserstein(x[:, None], y[:, None])


def test_wasserstein_is_a_distance():
    x, y, z = (torch.randn(n, 2, generator=rng(n)) for n in (6, 9, 7))
    assert wasserstein(x, x) == wasserstein(x, x.flip(0)) == 0
    assert wasserstein(x, y) == pytest.approx(wasserstein(y, x), abs=1e-9)
    assert 0 < wasserstein(x, z) <= wasserstein(x, y) + wasserstein(y, z)
    assert wasserstein(3 * x, 3 * y) == pytest.approx(3 * wasserstein(x, y), rel=1e-6)


def test_wasserstein_leaves_the_graph_and_the_precision_alone():
    x = torch.randn(5, 2, generator=rng(), requires_grad=True)
    assert isinstance(wasserstein(x, x.detach().numpy() + 1), float)
    assert x.grad is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((torch.empty(0), [1.0]), "x must be finite points"),
        (([1.0], [math.nan]), "y must be finite points"),
        (([1.0], torch.ones(2, 2, 2)), "y must be finite points"),
        ((torch.ones(3, 2), torch.ones(3, 1)), "one space, got dimensions 2 and 1"),
        (([1.0, 2.0], [1.0], [1.0]), "x_weights must be 2 finite numbers"),
        (([1.0, 2.0], [1.0], [2.0, -1.0]), "x_weights must be 2 finite numbers >= 0"),
        (([1.0], [1.0, 2.0], None, [1.0, math.inf]), "y_weights must be 2 finite"),
        (([1.0], [1.0, 2.0], None, [0.0, 0.0]), "y_weights must have a positive sum"),
    ],
)
def test_wasserstein_refuses_what_is_no_cloud(arguments, expected):
    with pytest.raises(ValueError, match=expected):
        wasserstein(*arguments)
