"""Notebook 08: its penalties are the library's, its formulas hold on other cases and seeds, its oracles judge right."""

import functools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from notebook_code import definitions
from torch import nn

from ganlib import penalties as library
from ganlib.checks import check
from ganlib.distributions import GaussianMixture
from ganlib.metrics import wasserstein

CONSTANTS = {"LINE", "GAP", "SIGMA", "PAIR", "DISTANCES", "LOG", "START", "FULL"}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@functools.cache
def notebook() -> SimpleNamespace:
    """The notebook's imports, functions, classes and constants, without running its experiments."""
    return SimpleNamespace(**definitions("08_wgan", CONSTANTS))


# ---- the dual, and clipping ------------------------------------------------------------------------------------


@pytest.mark.parametrize("theta, s", [(-2.0, 0.7), (0.5, 3.0), (5.0, 1.0), (0.1, 0.9)])
def test_the_gradient_of_the_distance_goes_through_the_critic(theta, s):
    """(8.3) for generators that the notebook does not show."""
    nb, h = notebook(), 1e-4
    by_theta = (nb.exact_distance(theta + h, s) - nb.exact_distance(theta - h, s)) / (2 * h)
    by_s = (nb.exact_distance(theta, s + h) - nb.exact_distance(theta, s - h)) / (2 * h)
    assert nb.through_the_critic(theta, s) == pytest.approx([by_theta, by_s], abs=2e-3)


@pytest.mark.parametrize("c", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_the_bounds_of_8_4(c, activation):
    """Steepest slope <= product of the norms <= c^L times the widths, for weights as large as the box allows."""
    nb = notebook()
    D = nb.critics(range(3), hidden=(16, 16), activation=activation)
    with torch.no_grad():
        for w in D.parameters():
            w.mul_(30)
    nb.clip_weights(c)(D)
    x = 3 * torch.randn(3, 500, 2, generator=rng())
    steepest, norms = nb.slopes(D, x).amax(1), nb.norms(D)
    assert (steepest <= norms * (1 + 1e-5)).all()
    assert (norms <= c**3 * math.sqrt(16 * 2 * 16 * 16 * 16) * (1 + 1e-5)).all()


@pytest.mark.parametrize("seed", range(3))
def test_no_critic_says_more_than_its_bound_times_the_distance(seed):
    nb = notebook()
    D = nb.critics([seed], hidden=(16,))
    real, fake = torch.randn(2, 1, 200, 2, generator=rng(seed)) + torch.tensor([[[[0.0]]], [[[2.0]]]])
    assert nb.says(D, real, fake)[0] <= nb.norms(D)[0] * wasserstein(real[0], fake[0])


def test_fit_gives_each_critic_of_a_stack_its_own_training():
    """A critic trained in company ends where it ends alone, to rounding."""
    nb = notebook()
    near, far = torch.randn(2, 2, 64, 2, generator=rng()).double()
    together = nb.critics(range(2), hidden=(8,)).double()
    alone = nb.critics([1], hidden=(8,)).double()
    nb.fit(together, lambda _: (near, far + 2), 30, clip=nb.clip_weights(0.2))
    nb.fit(alone, lambda _: (near[1:], far[1:] + 2), 30, clip=nb.clip_weights(0.2))
    for pair, one in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(pair[1], one[0], rtol=1e-9, atol=1e-12)


def test_stacked_penalties_are_those_of_each_critic():
    nb = notebook()
    D = nb.critics(range(2), hidden=(8,), activation=nn.Tanh).double()
    near, far = torch.randn(2, 2, 32, 2, generator=rng(1)).double()
    both = nb.gradient_penalty(torch.tensor([1.0, 5.0]))(D, near, far, rng(2))
    x_hat = nb.interpolates(near, far, rng(2))
    for i, weight in enumerate((1.0, 5.0)):
        one = nb.critics([i], hidden=(8,), activation=nn.Tanh).double()
        expected = weight * (nb.slopes(one, x_hat[i : i + 1]) - 1).square().mean()
        assert both[i].item() == pytest.approx(expected.item(), rel=1e-9)


# ---- the relatives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_dragan_and_r1_are_the_librarys(seed):
    nb = notebook()
    real, fake = nb.cloud_pair(40, seed)
    D = nb.mlp_players((2,), activation=nn.Tanh, seed=seed)[1].double()
    for mine, theirs in (
        (nb.dragan(3.0, 0.2), library.dragan(3.0, 0.2)),
        (nb.r1(3.0), library.r1(3.0)),
    ):
        assert torch.equal(mine(D, real, fake, rng(seed)), theirs(D, real, fake, rng(seed)))


def test_batch_norm_at_the_end_hides_every_slope():
    nb = notebook()
    D = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1), nn.Flatten(0)).double()
    for seed in range(3):
        real, _ = nb.cloud_pair(20, seed)
        assert nb.slopes(D, real).max() < 1e-9


# ---- section 6: the penalised optimum on the line ----------------------------------------------------------------


def test_the_density_of_interpolates():
    nb = notebook()
    x = np.linspace(-7, 8, 3001)
    r = nb.density_of_interpolates(*nb.PAIR, x)
    assert r.sum() * (x[1] - x[0]) == pytest.approx(1, abs=1e-4)
    real, fake = (p.sample(200_000, rng(i)) for i, p in enumerate(nb.PAIR))
    drawn = nb.interpolates(real, fake, rng(5)).squeeze().numpy()
    for lo, hi in ((-3, -1), (-1, 0.5), (0.5, 3)):
        inside = (x >= lo) & (x < hi)
        share = ((drawn >= lo) & (drawn < hi)).mean()
        assert r[inside].sum() * (x[1] - x[0]) == pytest.approx(share, abs=0.006)


def test_the_formula_8_9_maximises_the_bracket():
    """Against a search over slopes of either sign."""
    slope = np.linspace(-6, 6, 240_001)
    for flow, weight in ((0.7, 0.4), (-0.3, 2.0), (0.05, 0.1)):  # weight: lambda r
        gain = slope * flow - weight * (np.abs(slope) - 1) ** 2
        best = np.sign(flow) * (1 + abs(flow) / (2 * weight))
        assert slope[gain.argmax()] == pytest.approx(best, abs=1e-4)
        assert gain.max() == pytest.approx(abs(flow) + flow**2 / (4 * weight), abs=1e-8)


def test_the_trap_8_10():
    """Gradient ascent from the wrong side stays there with the two-sided penalty, and not with the one-sided one."""
    flow, weight = 0.5, 1.0
    ends = []
    for one_sided in (False, True):
        s = -1.0
        for _ in range(4000):
            excess = max(abs(s) - 1, 0) if one_sided else abs(s) - 1
            s += 0.005 * (flow - 2 * weight * excess * math.copysign(1, s))
        ends.append(s)
    assert ends == pytest.approx([-(1 - flow / (2 * weight)), 1 + flow / (2 * weight)], abs=0.02)


def test_a_penalised_critic_is_biased_as_8_9_says():
    """Two other normal distributions, with lambda = 5: trained against quadrature."""
    nb = notebook()
    pair = (GaussianMixture([[0.0]], 0.6), GaussianMixture([[2.5]], 0.4))
    x = np.linspace(-4, 6, 2001)
    step = x[1] - x[0]
    flow = nb.distribution_function(pair[1], x) - nb.distribution_function(pair[0], x)
    r = nb.density_of_interpolates(*pair, x)
    said = np.abs(flow).sum() * step + (flow**2 / r.clip(1e-12)).sum() * step / 10

    def pairs(rng, n=256):
        return tuple(p.sample(n, rng)[None] for p in pair)

    D = nb.critics([3], 1, activation=nn.Tanh)
    nb.fit(D, pairs, 400, penalty=nb.one_sided_penalty(5.0), lr=3e-3)
    assert nb.says(D, *pairs(rng(1), 50_000)).item() == pytest.approx(said, rel=0.05)


# ---- section 10: what D is asked --------------------------------------------------------------------------------


def test_the_two_questions():
    """On two distributions over two points: a known difference of means, and the JSD at the best logit and below it."""
    nb = notebook()
    real, fake = torch.tensor([1.0, 1, 1, -1]).double(), torch.tensor([1.0, -1, -1, -1]).double()
    assert nb.difference(real, fake) == pytest.approx(1.0)
    assert nb.difference(fake, real) == pytest.approx(-1.0)
    jsd = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    bounds = [nb.jsd_bound(steep * real, steep * fake).item() for steep in (0, 0.5, math.log(3), 2)]
    assert bounds[0] == pytest.approx(0, abs=1e-12)
    assert bounds[2] == pytest.approx(jsd, abs=1e-12)
    assert bounds[1] < jsd - 0.01 and bounds[3] < jsd - 0.01


# ---- the exercises: right answers pass, plausible wrong ones do not ----------------------------------------------


def judged(capsys, *arguments, **keywords):
    check(*arguments, **keywords)
    return capsys.readouterr().out.split()[0].rstrip(":")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda d_loss, penalty: -d_loss,
        lambda d_loss, penalty: d_loss - penalty,
        lambda d_loss, penalty: -d_loss - penalty,
        lambda d_loss, penalty: d_loss,
    ],
)
def test_exercise_1(wrong, capsys):
    nb = notebook()

    def oracle(*entry):
        return nb.LOG[entry]

    assert judged(capsys, nb.distance_from_log, against=oracle, on=[*nb.LOG]) == "right"
    assert judged(capsys, wrong, against=oracle, on=[*nb.LOG]) == "wrong"
    truth = nb.after_the_bias()
    assert judged(capsys, (0.0, -3.0), against=truth) == "right"
    assert judged(capsys, (0.0, 3.0), against=truth) == "wrong"
    assert judged(capsys, (3.0, -3.0), against=truth) == "wrong"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda w, excess: w / excess,
        lambda w, excess: 1 / (2 * excess),
        lambda w, excess: w / (4 * excess),
        lambda w, excess: 10.0,
        lambda w, excess: w**2 / (2 * excess),
        lambda w, excess: w / (2 * (1 + excess)),
    ],
)
def test_exercise_2(wrong, capsys):
    nb = notebook()
    keywords = {"against": nb.lambda_oracle, "on": nb.DISTANCES, "tolerance": 1e-3}
    assert judged(capsys, nb.least_lambda, **keywords) == "right"
    assert judged(capsys, wrong, **keywords) == "wrong"


def by_name(D, x):
    return not any(isinstance(layer, nn.BatchNorm1d) for layer in getattr(D, "modules", list)())


def by_gradient(D, x):
    """Another right answer: the first value has no gradient at the other samples."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(D(x)[0], x)
    return gradient[1:].abs().max() < 1e-12


@pytest.mark.parametrize(
    "test, said",
    [
        (by_gradient, "tells them apart"),
        (lambda D, x: ..., ...),
        (lambda D, x: None, None),
        (lambda D, x: True, "says True of a critic with batch norm"),
        (lambda D, x: False, "says False of a critic with plain"),
        (by_name, "says True of a critic with minus the batch mean"),
        (lambda D, x: torch.equal(D(x), D(x)), "says True of a critic with batch norm"),
        (lambda D, x: torch.allclose(D(x.flip(0)).flip(0), D(x)), "says True of a critic with batch norm"),
        (lambda D, x: torch.allclose(D(x)[:1], D(torch.cat([x[:1], x[:3]]))[:1]), "tells them apart"),
    ],
)
def test_exercise_3(test, said):
    assert notebook().verdict(test) == said


def test_exercise_3_solution():
    nb = notebook()
    assert nb.verdict(nb.judges_alone) == "tells them apart"
    alone = nb.verdict(lambda D, x: torch.allclose(D(x)[0], D(x[:1])[0]))
    assert alone.startswith("raises ValueError for a critic with batch norm")
