"""Samplers against PyTorch's own mixtures, quadrature, moments and geometry."""

import math

import pytest
import torch
from helpers import rng
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from ganlib.distributions import (
    LINE,
    PLANAR,
    Cloud,
    GaussianMixture,
    drawn,
    grid,
    labelled,
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


# ---- every sampler ---------------------------------------------------------------------------------------


def test_samples_have_the_shape_and_lie_in_the_extent(sampler):
    x = sampler.sample(2000, rng())
    assert x.shape == (2000, *sampler.shape)
    assert x.dtype == torch.get_default_dtype()
    assert sampler.kind == {1: "line", 2: "plane"}[x.shape[1]]
    low, high = sampler.extent
    assert low < high and ((x >= low) & (x <= high)).double().mean() > 0.999


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


def test_modes_are_drawn_by_their_weights_and_a_labelled_sample_says_which():
    n = 20_000
    mixture = GaussianMixture([[0], [10], [20], [30]], 0.1, weights=[1, 2, 0, 5])
    x, y = labelled(mixture).sample(n, rng())
    mode = (x[:, 0] / 10).round().long()
    share = torch.tensor([1, 2, 0, 5]) / 8
    assert ((mode.bincount(minlength=4) / n - share).abs() <= 5 * (share * (1 - share) / n).sqrt()).all()
    assert y.shape == (n, 4) and torch.equal(y.argmax(dim=1), mode)
    assert torch.equal(y.sum(dim=1), torch.ones(n))


def test_labels_change_nothing_else():
    data, same = ring(), labelled(ring())
    assert torch.equal(same.sample(50, rng())[0], data.sample(50, rng()))
    stream, other = rng(), rng()
    same.sample(50, stream), data.sample(50, other)
    assert torch.equal(stream.get_state(), other.get_state())
    assert (same.shape, same.kind, same.extent) == (data.shape, data.kind, data.extent)
    assert isinstance(data.sample(5, rng()), torch.Tensor)  # `data` itself is as it was


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
    ("make", "said"),
    [
        (lambda: GaussianMixture([]), "means must be finite"),
        (lambda: GaussianMixture([0.0, 1.0]), "means must be finite"),
        (lambda: GaussianMixture([[math.nan]]), "means must be finite"),
        (lambda: GaussianMixture([[0.0]], sigmas=0.0), "sigmas must be"),
        (lambda: GaussianMixture([[0.0], [1.0]], sigmas=[1.0, -1.0]), "sigmas must be"),
        (lambda: GaussianMixture([[0.0], [1.0]], sigmas=[1.0, 1.0, 1.0]), "sigmas must be"),
        (lambda: GaussianMixture([[0.0]], sigmas=math.nan), "sigmas must be"),
        (lambda: GaussianMixture([[0.0]], sigmas=math.inf), "extent"),
        (lambda: GaussianMixture([[0.0], [1.0]], weights=[1.0]), "weights must be"),
        (lambda: GaussianMixture([[0.0], [1.0]], weights=[2.0, -1.0]), "weights must be"),
        (lambda: GaussianMixture([[0.0], [1.0]], weights=[0.0, 0.0]), "weights must be"),
        (lambda: GaussianMixture([[0.0], [1.0]], weights=[1.0, math.nan]), "weights must be"),
        (lambda: GaussianMixture([[0.0], [1.0]], weights=[1.0, math.inf]), "weights must be"),
        (lambda: GaussianMixture([[0.0]], extent=(1.0, -1.0)), "extent"),
        (lambda: ring(0), "n_modes must be a whole number of at least 1, got 0"),
        (lambda: ring(2.5), "n_modes must be a whole number of at least 1, got 2.5"),
        (lambda: ring(sigma=-0.1), "sigmas must be"),
        (lambda: ring(radius=-2.0), "extent"),
        (lambda: grid(0), "side must be a whole"),
        (lambda: grid(2.5), "side must be a whole"),
        (lambda: grid(spacing=-1.0), "extent"),
        (lambda: moons(math.nan), "noise must be"),
        (lambda: swiss_roll(-0.1), "noise must be"),
        (lambda: drawn([[0.0, 1.0]], noise=math.inf), "noise must be"),
        (lambda: drawn([]), "expected finite points"),
        (lambda: drawn([[1.0, 2.0, 3.0]]), "expected finite points"),
        (lambda: drawn([[1.0, math.inf]]), "expected finite points"),
        (lambda: drawn([[1.0, 2.0]], extent=(3.0, 3.0)), "extent"),
        (lambda: Cloud(torch.randn, (0.0, math.nan)), "extent"),
        (lambda: labelled(moons()), "whose samples have labels"),
        (lambda: ring().log_prob(torch.zeros(5, 1)), r"expected points \(n, 2\), got \(5, 1\)"),
        (lambda: ring().log_prob(torch.zeros(2)), r"expected points \(n, 2\), got \(2,\)"),
        (lambda: ring().sample(0, rng()), "n must be a whole number of at least 1, got 0"),
        (lambda: moons().sample(2.5, rng()), "n must be a whole number of at least 1, got 2.5"),
    ],
)
def test_bad_input_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
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
