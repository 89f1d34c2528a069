"""Samplers against PyTorch's own mixtures, quadrature, moments and geometry."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from ganlib.distributions import (
    LINE,
    PLANAR,
    GaussianMixture,
    drawn,
    grid,
    mixture_1d,
    moons,
    normal,
    ring,
    swiss_roll,
)

MIXTURES = {
    "normal": normal(1.5, 0.7),
    "line": mixture_1d([-2, 0, 3], [0.5, 0.2, 1.0], [0.2, 0.5, 0.3]),
    "ring": ring(),
    "grid": grid(),
    "plane": GaussianMixture([[0, 1], [2, -1]], [0.3, 0.6], [3, 1]),
}
SAMPLERS = (
    MIXTURES | {name: make() for name, make in (LINE | PLANAR).items()} | {"drawn": drawn([[0, 0], [1, 2]])}
)


@pytest.fixture(params=MIXTURES)
def mixture(request):
    return MIXTURES[request.param]


@pytest.fixture(params=SAMPLERS)
def sampler(request):
    return SAMPLERS[request.param]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- every sampler ---------------------------------------------------------------------------------------


def test_samples_have_the_shape_and_lie_in_the_extent(sampler):
    x = sampler.sample(2000, rng())
    assert x.shape == (2000, *sampler.shape)
    assert x.dtype == torch.get_default_dtype()
    low, high = sampler.extent
    assert ((x >= low) & (x <= high)).double().mean() > 0.999


def test_samples_depend_on_the_generator_alone(sampler):
    before = torch.get_rng_state()
    x = sampler.sample(100, rng(3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(sampler.sample(100, rng(3)), x)
    assert not torch.equal(sampler.sample(100, rng(4)), x)


# ---- mixtures --------------------------------------------------------------------------------------------


def test_log_prob_agrees_with_torch_distributions(mixture):
    scale = mixture.sigmas[:, None].expand_as(mixture.means)
    oracle = MixtureSameFamily(
        Categorical(probs=mixture.weights), Independent(Normal(mixture.means, scale), 1)
    )
    low, high = mixture.extent
    x = low + (high - low) * torch.rand(500, *mixture.shape, generator=rng())
    torch.testing.assert_close(mixture.log_prob(x), oracle.log_prob(x))


def test_density_integrates_to_one(mixture):
    (d,) = mixture.shape
    ticks = torch.linspace(*mixture.extent, 401, dtype=torch.float64)
    points = torch.cartesian_prod(*[ticks] * d).view(-1, d)
    cell = (ticks[1] - ticks[0]).item() ** d
    mass = mixture.log_prob(points).exp().sum().item() * cell
    assert mass == pytest.approx(1, abs=2e-4)  # the line's extent ends 4 sigmas out, where 6e-5 is missing


def test_mixture_moments(mixture):
    """Mean and second moment within five standard errors of the closed form, per axis."""
    n = 20_000
    x = mixture.sample(n, rng()).double()
    w, mu, sigma = mixture.weights[:, None].double(), mixture.means.double(), mixture.sigmas[:, None].double()
    second = (w * (mu**2 + sigma**2)).sum(0)
    fourth = (w * (mu**4 + 6 * mu**2 * sigma**2 + 3 * sigma**4)).sum(0)
    mean = (w * mu).sum(0)
    assert ((x.mean(0) - mean).abs() < 5 * ((second - mean**2) / n).sqrt()).all()
    assert (((x**2).mean(0) - second).abs() < 5 * ((fourth - second**2) / n).sqrt()).all()


def test_modes_are_drawn_by_their_weights():
    n = 20_000
    mixture = GaussianMixture([[0], [10], [20], [30]], 0.1, weights=[1, 2, 0, 5])
    counts = torch.bincount((mixture.sample(n, rng())[:, 0] / 10).round().long(), minlength=4)
    share = torch.tensor([1, 2, 0, 5]) / 8
    assert ((counts / n - share).abs() <= 5 * (share * (1 - share) / n).sqrt()).all()
    assert counts[2] == 0


def test_ring_has_eight_distinct_modes():
    """linspace(0, 2 pi, 8), seen in published code, puts two of the eight on one spot."""
    means = ring().means
    assert means.shape == (8, 2)
    torch.testing.assert_close(means.norm(dim=1), torch.full((8,), 2.0))
    assert torch.pdist(means).min().item() == pytest.approx(2 * 2.0 * math.sin(math.pi / 8), rel=1e-5)
    assert ring().weights.unique().tolist() == [0.125]


def test_grid_is_a_centred_square():
    means = grid().means
    assert sorted(set(means[:, 0].tolist())) == sorted(set(means[:, 1].tolist())) == [-2, -1, 0, 1, 2]
    assert len(means.unique(dim=0)) == 25


@pytest.mark.parametrize(
    "make",
    [
        lambda: GaussianMixture([]),
        lambda: GaussianMixture([0.0, 1.0]),
        lambda: GaussianMixture([[math.nan]]),
        lambda: GaussianMixture([[0.0]], sigmas=0.0),
        lambda: GaussianMixture([[0.0], [1.0]], sigmas=[1.0, -1.0]),
        lambda: GaussianMixture([[0.0], [1.0]], sigmas=[1.0, 1.0, 1.0]),
        lambda: GaussianMixture([[0.0], [1.0]], weights=[1.0]),
        lambda: GaussianMixture([[0.0], [1.0]], weights=[2.0, -1.0]),
        lambda: GaussianMixture([[0.0], [1.0]], weights=[0.0, 0.0]),
        lambda: mixture_1d([]),
        lambda: ring(0),
        lambda: ring(-1),
        lambda: ring(sigma=-0.1),
        lambda: grid(0),
        lambda: drawn([]),
        lambda: drawn([[1.0, 2.0, 3.0]]),
        lambda: drawn([[1.0, math.inf]]),
    ],
)
def test_bad_input_is_refused(make):
    with pytest.raises(ValueError, match="must be|expected"):
        make()


# ---- clouds: without noise the samples lie on the curve ----------------------------------------------------


def test_moons_are_two_interleaved_half_circles():
    x = moons(noise=0).sample(2000, rng()) / 1.3
    upper = (x - torch.tensor([-0.5, -0.25])).norm(dim=1).sub(1).abs() < 1e-5
    lower = (x - torch.tensor([0.5, 0.25])).norm(dim=1).sub(1).abs() < 1e-5
    assert (upper | lower).all()
    assert (x[upper & ~lower, 1] >= -0.25).all() and (x[lower & ~upper, 1] <= 0.25).all()
    assert 850 < upper.sum() < 1150


def test_swiss_roll_is_an_archimedean_spiral():
    x = swiss_roll(noise=0).sample(2000, rng()).double()
    angle = x.norm(dim=1) * (4.5 * math.pi / 2.2)  # its radius grows in proportion to its angle
    assert angle.min() > 1.5 * math.pi - 1e-4 and angle.max() < 4.5 * math.pi + 1e-4
    unit = torch.stack([angle.cos(), angle.sin()], dim=1)
    torch.testing.assert_close(x / x.norm(dim=1, keepdim=True), unit, atol=1e-4, rtol=0)


def test_drawn_points_are_chosen_evenly():
    points = torch.tensor([[0.0, 0.0], [1.0, 2.0], [-3.0, 1.0]])
    distance, which = torch.cdist(drawn(points).sample(6000, rng()), points).min(dim=1)
    assert distance.max() < 0.05 * 6
    assert (torch.bincount(which) - 2000).abs().max() < 5 * math.sqrt(6000 * 2 / 9)
