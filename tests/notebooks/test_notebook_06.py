"""Notebook 06: its numbers on samplers that are known, its theorems on other cases, its exercises."""

import functools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from notebook_code import definitions
from torch import nn

from ganlib import metrics
from ganlib.checks import check
from ganlib.distributions import GaussianMixture, grid, ring
from ganlib.networks import mlp_players

RING = ring()


@functools.cache
def notebook() -> SimpleNamespace:
    """The notebook's imports, functions and constants, without running its experiments."""
    constants = {"FULL", "SEEDS", "STEPS", "data", "TICKS", "catch", "EIGHT", "ONE", "DIMENSIONS", "PRICES"}
    return SimpleNamespace(**definitions("06_mode_collapse", constants))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- the numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixture", [RING, grid()], ids=["ring", "grid"])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.15, 1.0])
def test_the_notebooks_numbers_are_the_librarys(mixture, noise):
    nb, samples = notebook(), mixture.sample(3000, rng(1)) + noise * torch.randn(3000, 2, generator=rng(2))
    for part in (samples, samples[:40], samples[samples[:, 0] > 0.5], samples[:0]):
        assert nb.modes_covered(part, mixture) == metrics.modes_covered(part, mixture)
        assert nb.high_quality(part, mixture) == pytest.approx(metrics.high_quality(part, mixture))


def test_reverse_kl_of_a_perfect_sampler():
    """2 m KL is nearly chi-squared with 7 degrees of freedom."""
    values = [notebook().reverse_kl(RING.sample(4000, rng(seed)), RING) for seed in range(20)]
    m = 4000 * (1 - math.exp(-4.5))
    assert abs(2 * m * np.mean(values) - 7) < 4 * math.sqrt(14 / 20)
    assert min(values) >= 0


@pytest.mark.parametrize("held", range(1, 9))
def test_reverse_kl_of_some_modes_evenly(held):
    samples = RING.means[:held].repeat(50, 1)
    assert notebook().reverse_kl(samples, RING) == pytest.approx(math.log(8 / held), abs=1e-6)


def test_reverse_kl_compares_with_the_weights():
    mixture = GaussianMixture(RING.means[:2], 0.05, weights=[0.75, 0.25])
    samples = torch.cat([mixture.means[:1].expand(300, 2), mixture.means[1:].expand(100, 2)])
    assert notebook().reverse_kl(samples, mixture) == pytest.approx(0, abs=1e-6)
    assert notebook().reverse_kl(samples.flip(0)[:100], mixture) == pytest.approx(math.log(4), abs=1e-6)


@pytest.mark.parametrize(
    "samples", [torch.empty(0, 2), torch.zeros(9, 2), torch.full((9, 2), math.nan)],
    ids=["none", "between", "diverged"],
)  # fmt: skip
def test_reverse_kl_of_nothing_is_not_a_number(samples):
    assert math.isnan(notebook().reverse_kl(samples, RING))


def path_of(*looks):
    return torch.stack([torch.cat([RING.means[i].expand(10, 2) for i in look]) for look in looks])


def test_rotation_and_frozen_collapse_differ_in_numbers():
    """Synthetic runs: one point that moves on, and two points that stay."""
    nb = notebook()
    moving = nb.numbers(path_of(*[[i % 8] for i in range(16)]))
    assert (moving["covered"], moving["visited"], moving["held"]) == (1, 8, 0)
    assert moving["movement"] == pytest.approx(4 * math.sin(math.pi / 8), rel=1e-5)
    frozen = nb.numbers(path_of(*[[2, 5]] * 16))
    assert (frozen["covered"], frozen["visited"], frozen["held"]) == (2, 2, 2)
    assert frozen["movement"] == 0 and frozen["hq"] == 1
    assert frozen["reverse KL"] == pytest.approx(math.log(4), abs=1e-6)


def test_the_density_estimate_is_a_bump_on_each_sample():
    nb, samples = notebook(), RING.sample(200, rng())
    estimate, ticks = nb.kde(samples, h=0.12), nb.TICKS
    for i, j in ((10, 70), (45, 74), (60, 20), (29, 59)):
        squared = (samples - torch.stack([ticks[i], ticks[j]])).square().sum(dim=1)
        truth = torch.exp(-squared / (2 * 0.12**2)).mean() / (2 * math.pi * 0.12**2)
        assert estimate[j, i].item() == pytest.approx(truth.item(), rel=1e-4, abs=1e-7)
    assert estimate.sum().item() * (ticks[1] - ticks[0]).item() ** 2 == pytest.approx(1, abs=1e-3)


# ---- minimax and maximin -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_mixing_lies_between_the_two_orders(seed):
    nb, draw = notebook(), np.random.default_rng(seed)
    A = draw.normal(size=draw.integers(2, 6, 2))
    low, value, high = nb.maximin(A), nb.mixed_value(A), nb.minimax(A)
    assert low - 1e-9 <= value <= high + 1e-9
    assert nb.mixed_value(-A.T) == pytest.approx(-value, abs=1e-8)  # von Neumann: the same game, seen by G


def test_mixed_values_that_are_known():
    nb = notebook()
    for k in (2, 3, 8):
        assert nb.mixed_value(np.eye(k)) == pytest.approx(1 / k)
    assert nb.mixed_value(np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])) == pytest.approx(0, abs=1e-12)


# ---- a discriminator that stands still -----------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["minimax", "non-saturating"])
def test_against_a_fixed_judge_no_sampler_beats_the_point(loss):
    """(6.5), for both losses of G, on random logits: no distribution has a lower loss than the best point."""
    from ganlib.objectives import OBJECTIVES

    generator = OBJECTIVES[loss].generator
    logits = 3 * torch.randn(50, generator=rng(), dtype=torch.float64)
    best = generator(logits.max()[None])
    for seed in range(20):
        chosen = logits[torch.multinomial(torch.rand(50, generator=rng(seed)), 200, replacement=True)]
        assert generator(chosen) > best


# ---- bridges -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Softplus])
@pytest.mark.parametrize("seed", range(3))
def test_somewhere_on_the_way_g_is_as_steep_as_the_bound(activation, seed):
    """(6.7) on random networks of one to three latent dimensions."""
    for dim in (1, 2, 3):
        G, _ = mlp_players((2,), latent_dim=dim, hidden=(32, 32), activation=activation, seed=seed)
        G = G.double()
        one, two = 2 * torch.randn(2, dim, generator=rng(seed), dtype=torch.float64)
        t = (torch.arange(2000, dtype=torch.float64)[:, None] + 0.5) / 2000
        J = torch.func.vmap(torch.func.jacrev(G))(one + t * (two - one))
        steepest = torch.linalg.matrix_norm(J, 2).max()
        assert steepest >= (1 - 1e-6) * (G(two[None]) - G(one[None])).norm() / (two - one).norm()


# ---- the exercises -------------------------------------------------------------------------------------------


def verdict(capsys, *arguments, **settings):
    check(*arguments, **settings)
    return capsys.readouterr().out.split()[0].rstrip(":")


@pytest.mark.parametrize(
    ("exercise", "wrong"),
    [
        ("share", lambda d: 1 - math.exp(-4.5)),
        ("share", lambda d: math.erf(3 / math.sqrt(2)) ** d),  # a box, not a ball
        ("share", lambda d: notebook().gammainc(d, 4.5)),
        ("share", lambda d: notebook().gammainc(d / 2, 9)),
        ("price", lambda delta, eps: math.log(delta / eps)),
        ("price", lambda delta, eps: math.log(-delta / notebook().ndtri((1 - eps) / 2))),
        ("price", lambda delta, eps: math.log(-delta / (2 * notebook().ndtri(eps)))),
        ("price", lambda delta, eps: math.log(delta / (eps * math.sqrt(2 * math.pi)))),  # only for small eps
    ],
)
def test_wrong_answers_are_refused(exercise, wrong, capsys):
    nb = notebook()
    right, oracle, on = {
        "share": (nb.share_within_3_sigma, nb.share_oracle, nb.DIMENSIONS),
        "price": (nb.log_least_L, nb.ramp_oracle, nb.PRICES),
    }[exercise]
    assert verdict(capsys, right, against=oracle, on=on) == "right"
    assert verdict(capsys, wrong, against=oracle, on=on) == "wrong"


def test_outcome_names_sizes_and_fates():
    """Very short games, so only the sizes matter: equal widths make G the larger one."""
    nb = notebook()
    assert nb.outcome(...) is ...
    assert nb.outcome((16, 16, 1.0), seeds=range(1)).startswith("G larger")
    assert nb.outcome((16, 64, 4), seeds=range(1)) == "G smaller, at most half covered"


def test_a_prediction_is_judged_only_when_there_is_one(capsys):
    notebook().judge_prediction(...)
    assert capsys.readouterr().out == "not attempted yet\n"


def test_sources_of_latents_have_one_mean_square():
    nb = notebook()
    for source in (nb.EIGHT, nb.ONE):
        assert source.sample(200_000, rng()).square().sum(dim=1).mean().item() == pytest.approx(
            9.18, rel=0.02
        )


# ---- the second reading of a picture -------------------------------------------------------------------------


def test_smoothing_is_a_median_and_takes_single_specks_away():
    nb, images = notebook(), 2 * torch.rand(3, 1, 28, 28, generator=rng()) - 1
    for row, column in ((1, 1), (13, 20), (26, 5)):
        window = images[:, 0, row - 1 : row + 2, column - 1 : column + 2].flatten(1).sort(dim=1).values
        assert torch.equal(nb.smooth(images)[:, 0, row, column], window[:, 4])
    corner = torch.cat([images[:, 0, :2, :2].flatten(1), torch.full((3, 5), -1.0)], dim=1)  # black outside
    assert torch.equal(nb.smooth(images)[:, 0, 0, 0], corner.sort(dim=1).values[:, 4])
    speck = torch.full((1, 1, 28, 28), -1.0)
    speck[0, 0, 9, 9] = 1.0
    assert torch.equal(nb.smooth(speck), torch.full_like(speck, -1.0))
