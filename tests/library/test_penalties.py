"""Penalties and clipping against loops in float64, closed forms, and the bugs that published code has."""

import math

import pytest
import torch
from helpers import rng
from scipy.stats import kstest
from torch import nn

from ganlib.batched import stack
from ganlib.distributions import ring
from ganlib.games import GAMES, Game
from ganlib.networks import dcgan_players, mlp_players
from ganlib.objectives import OBJECTIVES
from ganlib.penalties import Penalty, clip_weights, dragan, gradient_penalty, interpolates, r1
from ganlib.training import Match

MAKERS = {"gradient_penalty": gradient_penalty, "dragan": dragan, "r1": r1}


def clouds(n=32, d=2, seed=0):
    return torch.randn(2, n, d, generator=rng(seed), dtype=torch.float64) + torch.tensor([[[0.0]], [[3.0]]])


def critic(seed=0, activation=nn.Tanh):
    return mlp_players((2,), hidden=(16,), activation=activation, seed=seed)[1].double()


class Slope(nn.Module):
    """A linear critic, whose slope is the same everywhere."""

    def __init__(self, direction):
        super().__init__()
        self.direction = nn.Parameter(torch.tensor(direction, dtype=torch.float64))

    def forward(self, x):
        return x @ self.direction


# ---- the values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", MAKERS)
def test_a_penalty_is_that_of_a_loop_over_samples(name, seed):
    """Sample by sample, the slope from central differences."""
    real, fake = clouds(seed=seed)
    D, penalty, h = critic(seed), MAKERS[name](3.0), 1e-5
    costs = []
    for x in penalty.points(real, fake, rng(seed)):
        slope = [
            (D((x + h * e)[None]) - D((x - h * e)[None])).item() / (2 * h) for e in torch.eye(2).double()
        ]
        costs.append((math.hypot(*slope) - 1) ** 2 if name != "r1" else math.hypot(*slope) ** 2 / 2)
    expected = 3.0 * sum(costs) / len(costs)
    assert penalty(D, real, fake, rng(seed)).item() == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("n", [1, 2, 64, 225])
@pytest.mark.parametrize("name", ["gradient_penalty", "dragan"])
def test_penalty_of_a_1_lipschitz_critic_is_zero_for_any_batch(name, n):
    real, fake = clouds(n)
    assert MAKERS[name](10.0)(Slope([0.6, 0.8]), real, fake, rng()).item() == pytest.approx(0, abs=1e-25)
    assert MAKERS[name](10.0)(Slope([1.8, 2.4]), real, fake, rng()).item() == pytest.approx(10 * (3 - 1) ** 2)
    assert r1(10.0)(Slope([1.8, 2.4]), real, fake, rng()).item() == pytest.approx(10 / 2 * 3**2)


def test_r1_asks_for_a_flat_critic_and_the_others_for_slope_one():
    real, fake = clouds()
    flat, one = Slope([0.0, 0.0]), Slope([0.6, 0.8])
    values = [[make(1.0)(D, real, fake, rng()).item() for D in (flat, one)] for make in MAKERS.values()]
    assert values == [pytest.approx([1, 0]), pytest.approx([1, 0]), pytest.approx([0, 0.5])]


def test_penalty_depends_on_fakes():
    """Of the three, only that of WGAN-GP does."""
    real, fake = clouds()
    changes = {name: make(1.0)(critic(), real, fake + 1, rng()) != make(1.0)(critic(), real, fake, rng())
               for name, make in MAKERS.items()}  # fmt: skip
    assert changes == {"gradient_penalty": True, "dragan": False, "r1": False}


# ---- the points --------------------------------------------------------------------------------------------------


def test_interpolates_lie_between_real_and_fake():
    real, fake = clouds(500)
    x = interpolates(real, fake, rng())
    eps = (x - fake) / (real - fake)
    assert torch.allclose(eps[:, 0], eps[:, 1])  # one eps a sample, not one a coordinate
    assert 0 <= eps.min() and eps.max() <= 1
    assert kstest(eps[:, 0].numpy(), "uniform").pvalue > 0.01  # and a new one for each sample
    images = interpolates(torch.ones(5, 1, 28, 28), -torch.ones(5, 1, 28, 28), rng())
    assert images.shape == (5, 1, 28, 28) and (images.flatten(1).std(dim=1) == 0).all()
    assert len(images[:, 0, 0, 0].unique()) == 5


def test_dragan_looks_around_the_data():
    real, fake = clouds(20_000)
    noise = dragan(1.0, spread=0.3).points(real, fake, rng()) - real
    assert noise.std().item() == pytest.approx(0.3, rel=0.03) and abs(noise.mean().item()) < 0.01
    assert torch.equal(r1(1.0).points(real, fake, rng()), real)


# ---- the gradients -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
def test_the_gradient_is_finite_where_the_slope_is_zero(name):
    real, fake = clouds()
    D = Slope([0.0, 0.0])
    MAKERS[name](1.0)(D, real, fake, rng()).backward()
    assert D.direction.grad.isfinite().all()
    dead = critic(activation=nn.ReLU)
    nn.init.constant_(dead.body[0].bias, -100.0)  # no unit is ever on
    MAKERS[name](1.0)(dead, real, fake, rng()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in dead.parameters())


@pytest.mark.parametrize("name", MAKERS)
def test_its_gradient_reaches_d_and_not_g(name):
    real, fake = clouds()
    fake.requires_grad_()
    D = critic()
    MAKERS[name](1.0)(D, real, fake, rng()).backward()
    assert fake.grad is None and D.body[0].weight.grad.abs().max() > 0


def test_a_large_weight_brings_the_slope_to_one():
    """With a huge weight the slope falls to 1 within a few moves; without one it does not."""
    slopes = {}
    for weight in (0.0, 1e3):
        game = Game(OBJECTIVES["wasserstein"], penalty=gradient_penalty(weight))
        match = Match(mlp_players((2,), activation=nn.Tanh), ring(), lr_d=1e-2)
        for _ in range(100):
            game.discriminator_move(match)
        (real,), fake = match.draw_real(), match.G(match.draw_latents()).detach()
        slopes[weight] = gradient_penalty(1.0)(match.D, real, fake, rng()).item()
    assert slopes[1e3] < 0.02 < 1 < slopes[0.0]


def test_batch_norm_mixes_the_slopes_of_a_batch():
    """Why a penalised critic has none: the slope at one sample then depends on its neighbours."""
    real, fake = (0.5 * torch.rand(16, 1, 28, 28, generator=rng(i)) for i in (1, 2))
    _, with_norm = dcgan_players(width=4)
    _, plain = mlp_players((1, 28, 28), hidden=(8,))

    def slope_of_the_first(D, company):
        x = torch.cat([real[:1], company]).requires_grad_()
        return torch.autograd.grad(D(x).sum(), x)[0][0].norm()

    for D, same in ((plain, True), (with_norm, False)):
        pair = [slope_of_the_first(D, company) for company in (real[1:], fake[1:])]
        assert torch.isclose(*pair, rtol=1e-4, atol=0) == same


def test_of_many_critics_at_once_it_is_each_ones_own():
    critics = [critic(seed) for seed in range(3)]
    x = torch.randn(3, 7, 2, generator=rng(), dtype=torch.float64)
    expected = [gradient_penalty(3.0).at(D, x[i]).item() for i, D in enumerate(critics)]
    assert gradient_penalty(3.0).at(stack(critics), x).tolist() == pytest.approx(expected, rel=1e-12)


# ---- clipping ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [1e-3, 0.1, 2.0])
def test_clipping_moves_the_nearest_way_into_the_box(c):
    D = critic()
    before = [p.detach().clone() for p in D.parameters()]
    clip_weights(c)(D)
    assert all(torch.equal(p, b.clamp(-c, c)) for p, b in zip(D.parameters(), before, strict=True))
    assert all(p.requires_grad for p in D.parameters())


def test_clipping_bounds_the_slope_and_not_the_outputs():
    """|D(x) - D(y)| <= |x - y| times the product of the layers' norms, whatever the outputs are."""
    D = critic(activation=nn.ReLU)
    clip_weights(0.1)(D)
    bound = math.prod(torch.linalg.matrix_norm(p, 2).item() for p in D.parameters() if p.ndim == 2)
    x = torch.randn(500, 2, generator=rng(), dtype=torch.float64).requires_grad_()
    assert torch.autograd.grad(D(x).sum(), x)[0].norm(dim=1).max() <= bound
    assert D(torch.full((1, 2), 1e6, dtype=torch.float64)).abs() > 100


# ---- the catalogue, and bad input --------------------------------------------------------------------------------


def test_the_catalogue():
    assert GAMES["WGAN"].constrain and not GAMES["WGAN"].penalty and GAMES["WGAN"].n_critic == 5
    assert GAMES["WGAN-GP"].penalty and not GAMES["WGAN-GP"].constrain and GAMES["WGAN-GP"].n_critic == 5


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_nonsense_weight_is_refused(make, bad):
    with pytest.raises(ValueError, match="at least 0"):
        make(bad)


@pytest.mark.parametrize("bad", [0.0, -0.1, math.nan, math.inf])
def test_a_nonsense_c_or_spread_is_refused(bad):
    with pytest.raises(ValueError, match="positive c"):
        clip_weights(bad)
    with pytest.raises(ValueError, match="positive spread"):
        dragan(1.0, spread=bad)


def test_unequal_batches_are_refused():
    with pytest.raises(ValueError, match="as many fake as real"):
        gradient_penalty()(critic(), torch.zeros(4, 2), torch.zeros(3, 2), rng())


def test_a_weight_of_zero_is_no_penalty():
    real, fake = clouds()
    assert gradient_penalty(0.0)(critic(), real, fake, rng()) == 0
    assert isinstance(gradient_penalty(), Penalty)
