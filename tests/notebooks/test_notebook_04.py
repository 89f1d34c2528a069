"""Notebook 04, on other seeds, generators and data than its cells use."""

import ast
import functools
import math
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from notebook_code import definitions
from torch import nn

from ganlib.checks import check
from ganlib.distributions import mixture_1d
from ganlib.objectives import OBJECTIVES, cross_entropy

PATH = Path(__file__).resolve().parents[2] / "notebooks" / "04_non_saturating_gan.ipynb"
CONSTANTS = {
    "SEEDS", "COSTS", "LOOK", "t", "Z", "MOVES", "LINE", "objectives", "U", "X", "generators", "LOG_WEIGHTS",
    "GAPS", "START", "CASES",
}  # fmt: skip


@functools.cache
def notebook() -> SimpleNamespace:
    """The notebook's imports, definitions and constants, without running its experiments."""
    namespace = definitions("04_non_saturating_gan", CONSTANTS)
    namespace["records"] = {
        gap: namespace["watch"](namespace["table"](gap=gap, seeds=[0])) for gap in namespace["GAPS"]
    }
    namespace["namespace"] = namespace
    return SimpleNamespace(**namespace)


OTHER_SEEDS = range(20, 26)


@functools.cache
def ahead():
    """Six D's that had their moves alone: the match, and the lengths of G's gradients (moves, costs, seeds)."""
    match = notebook().table(seeds=OTHER_SEEDS)
    return match, notebook().watch(match)[0]


def random_generator(rng: np.random.Generator) -> tuple[float, float]:
    return rng.uniform(-3, 3), rng.uniform(0.35, 1.7)


def random_data(rng: np.random.Generator):
    """log p of two bumps that the notebook's grids resolve."""
    mixture = mixture_1d(rng.uniform(-3, 3, 2), rng.uniform(0.4, 1.2, 2), rng.dirichlet([2, 2]))
    return lambda x: mixture.log_prob(x[:, None])


# ---- the costs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["minimax", "non-saturating"])
def test_the_costs_are_the_librarys(name):
    logits = 20 * torch.randn(100, generator=torch.Generator().manual_seed(0))
    ours, theirs = notebook().objectives[name], OBJECTIVES[name]
    assert torch.equal(ours.generator(logits), theirs.generator(logits))
    assert torch.equal(notebook().COSTS[name](logits).mean(), theirs.generator(logits))
    assert ours.discriminator is theirs.discriminator is cross_entropy


@pytest.mark.parametrize("seed", range(3))
def test_the_costs_in_probabilities(seed):
    """(4.2), with the D(G(z)) of a random sample."""
    D = torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 0.998 + 0.001
    forms = [torch.log(1 - D), -torch.log(D), -D / (1 - D)]
    for cost, form in zip(notebook().COSTS.values(), forms, strict=True):
        torch.testing.assert_close(cost(D.logit()), form)


def test_maximum_likelihood_is_not_listed_because_it_overflows():
    assert notebook().objectives["max. likelihood"].generator(torch.tensor([89.0])).isinf()
    assert all(objective.generator(torch.tensor([89.0])).isfinite() for objective in OBJECTIVES.values())


# ---- the experiment with D alone ---------------------------------------------------------------------------------


def test_the_gradient_vanishes():
    """Measured on 36 seeds: minimax falls at least 2,800-fold (the median is a million), non-saturating grows at least
    16-fold."""
    start, end = ahead()[1][[0, -1]]
    assert (start[0] > 1000 * end[0]).all() and (start[2] > 1000 * end[2]).all()
    assert (end[1] > start[1]).all()


def test_it_needs_distance_and_a_slope_of_D():
    """Measured on 36 seeds: near the data the minimax gradient grows at least 8-fold; against a flat D the
    non-saturating gradient is at least 42 times shorter."""
    nb = notebook()
    near = nb.watch(nb.table(gap=2.0, seeds=OTHER_SEEDS))[0]
    flat = nb.watch(nb.table(activation=nn.Tanh, seeds=OTHER_SEEDS))[0]
    assert (near[-1, 0] > near[0, 0]).all()
    assert (flat[-1, 1] < ahead()[1][-1, 1] / 20).all()


def test_the_gradient_is_that_of_one_match():
    """The gradient of each of the six is what autograd finds for its G and D alone."""
    nb, match = notebook(), notebook().table(gap=3.0, seeds=[4, 5])
    z = match.fixed_latents(1000)
    for cost in nb.COSTS.values():
        together = nb.gradient(match, cost)
        for i, seed in enumerate(match.seeds):
            G, D = nb.Affine(3.0, 0.5), nb.mlp_players((1,), activation=nn.ReLU, seed=seed)[1]
            J = cost(D(G(z[i]))).mean()
            alone = torch.cat([g.flatten() for g in torch.autograd.grad(J, [G.line.bias, G.line.weight])])
            torch.testing.assert_close(together[:, i], alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("gap", "activation", "moves"), [(1.0, nn.ReLU, 0), (3.0, nn.Tanh, 3), (12.0, nn.ReLU, 10)]
)
def test_the_bound_holds_at_any_stage_and_for_any_activation(gap, activation, moves):
    """(4.7), for D's that are untrained, a little trained, near and far. It is not empty: some bounds are below 1."""
    nb = notebook()
    match = nb.table(gap=gap, activation=activation, seeds=range(12))
    for _ in range(moves):
        match.discriminator_move()
    assert (nb.gradient(match, nb.minimax).norm(dim=0) <= nb.bound(match)).all()
    assert nb.bound(match).min() < 1.5


# ---- the games ---------------------------------------------------------------------------------------------------


def test_the_one_line_cure():
    """Measured on 36 seeds: by gradient descent 12.00 against at most 0.75. With Adam 5.8 to 8.0 against at most 1.63,
    and s at least 5.4 under minimax; but for seed 40, where the gradient starts at 5e-11, far below Adam's epsilon,
    and G stays at 12.0."""
    nb, match = notebook(), ahead()[0]
    for name in ("minimax", "max. likelihood"):
        stuck = nb.play(nb.objectives[name], plain=True, seeds=OTHER_SEEDS)
        assert np.abs(nb.distance(stuck) - 12).max() < 0.05
    assert (
        nb.distance(nb.play(nb.objectives["non-saturating"], plain=True, seeds=OTHER_SEEDS))[-1].max() < 2.5
    )
    mini, non = (
        nb.play(nb.objectives[name], plain=False, seeds=OTHER_SEEDS) for name in ("minimax", "non-saturating")
    )
    assert nb.distance(mini)[-1].max() < 11
    assert (nb.distance(non)[-1] < nb.distance(mini)[-1] / 2).all()
    assert mini[-1, 1].min() > 3
    assert (
        nb.stretch(match, nb.minimax).max() < -0.7 and nb.stretch(match, nb.non_saturating).abs().max() < 0.1
    )


def test_the_games_start_from_the_same_D():
    """All that differs is the objective: D's moves alone are the same under each, bit by bit."""
    nb = notebook()
    logits = []
    for objective in nb.objectives.values():
        match = nb.table(objective, seeds=[7])
        for _ in range(10):
            match.discriminator_move()
        logits.append(match.D(torch.linspace(-5, 15, 50)[None, :, None]))
    assert torch.equal(logits[0], logits[1]) and torch.equal(logits[0], logits[2])


@pytest.mark.parametrize("slope", [0.5, 2.0])
def test_stretch_of_a_straight_logit(slope):
    """The argument of the text: where D = e^l and l has the slope -a, the ratio is -a s, up to sampling noise."""
    nb, match = notebook(), notebook().table(seeds=range(40))
    match.D = lambda x: -20 - slope * (x[..., 0] - 12)
    assert nb.stretch(match, nb.minimax).mean().item() == pytest.approx(-slope * 0.5, abs=0.05)
    assert nb.stretch(match, nb.non_saturating).mean().item() == pytest.approx(0, abs=0.05)


# ---- a perfect D -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["minimax", "non-saturating", "max. likelihood"])
@pytest.mark.parametrize("seed", range(8))
def test_each_cost_descends_its_divergence(name, seed):
    """(4.10) and (4.12) on random data and generators; the wrong divergence would be noticed."""
    nb, rng = notebook(), np.random.default_rng(seed)
    log_p, (theta, s) = random_data(rng), random_generator(rng)
    params = torch.tensor([theta, s], dtype=torch.float64, requires_grad=True)
    gradient = {n: torch.autograd.grad(nb.divergence(n, params, log_p), params)[0] for n in nb.COSTS}
    received = nb.frozen_gradient(nb.COSTS[name], theta, s, log_p)
    for other in nb.COSTS:
        gap = (received - gradient[other]).abs().max() / gradient[other].abs().max()
        assert (gap < 1e-6) if other == name else (gap > 1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_non_saturating_descends_a_proper_divergence(seed):
    """(4.13): KL(q||p) - 2 JSD = 2 KL(m||p) >= 0, with equality at q = p."""
    nb, rng = notebook(), np.random.default_rng(seed)
    log_p, (theta, s) = random_data(rng), random_generator(rng)
    params = torch.tensor([theta, s], dtype=torch.float64)
    log_m = torch.logaddexp(log_p(nb.X), nb.log_normal(nb.X, theta, s)) - math.log(2)
    found = nb.divergence("non-saturating", params, log_p).item()
    assert found == pytest.approx(2 * nb.KL(log_m, log_p(nb.X)).item(), abs=1e-9) and found > 0
    itself = nb.divergence("non-saturating", params, lambda x: nb.log_normal(x, theta, s))
    assert itself.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_cost_of_maximum_likelihood_is_minus_one(seed):
    nb, G = notebook(), random_generator(np.random.default_rng(seed))
    assert nb.cost_at_optimum(nb.maximum_likelihood, *G).item() == pytest.approx(-1, abs=1e-9)


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.5, 6.0, 9.0])
def test_slopes_at_a_distance(delta):
    """(4.14) and (4.15)."""
    nb = notebook()
    mini, non, like = (
        nb.frozen_gradient(cost, delta, 1.0, lambda x: nb.log_normal(x, 0, 1))[0].item()
        for cost in nb.COSTS.values()
    )
    assert 0 < mini <= delta / 2 * math.exp(-(delta**2) / 8)
    assert mini + non == pytest.approx(delta, rel=1e-8) and non >= delta / 2
    assert like == pytest.approx(delta, rel=1e-8)


@pytest.mark.parametrize(
    ("name", "circling"), [("minimax", 0.5), ("non-saturating", 0.5), ("max. likelihood", 0.5**0.5)]
)
def test_the_smallest_gan_circles(name, circling):
    """The Jacobian of the Dirac-GAN by finite differences of autograd's gradients: eigenvalues +- i `circling`."""
    cost = notebook().COSTS[name]

    def field(v):
        psi, theta = torch.tensor(v, dtype=torch.float64, requires_grad=True).unbind()
        (d,) = torch.autograd.grad(cross_entropy(0 * psi[None], (psi * theta)[None]), psi)
        (g,) = torch.autograd.grad(cost(psi * theta), theta)
        return -np.array([d.item(), g.item()])

    h = 1e-5
    jacobian = np.transpose([(field(e) - field([-x for x in e])) / (2 * h) for e in ([h, 0.0], [0.0, h])])
    found = np.linalg.eigvals(jacobian)
    assert np.allclose(np.sort(found.imag), [-circling, circling], atol=1e-6) and np.allclose(
        found.real, 0, atol=1e-6
    )


@pytest.mark.parametrize("name", ["minimax", "non-saturating", "max. likelihood"])
def test_the_best_bump_is_a_minimum(name):
    nb = notebook()
    theta, s = nb.best_bump(name)
    assert nb.true_gradient(name, theta, s).abs().max() < 1e-3
    grid = [
        nb.divergence(name, torch.tensor([a, b], dtype=torch.float64)).item()
        for a in np.linspace(-3, 3, 31)
        for b in np.linspace(0.25, 3, 23)
    ]
    assert nb.divergence(name, torch.tensor([theta, s], dtype=torch.float64)) <= min(grid) + 1e-9
    covers = abs(theta + 0.45) < 0.05 and s > 1.4
    assert covers == (name != "non-saturating")


# ---- the price of maximum likelihood -------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [0.2, 1.0, 3.0, 7.0, 10.0])
def test_noise_of_a_weight(delta):
    nb = notebook()
    noise = {name: nb.relative_sd(weight, delta) for name, weight in nb.LOG_WEIGHTS.items()}
    assert noise["max. likelihood"] == pytest.approx(math.sqrt(math.expm1(delta**2)), rel=1e-8)
    assert (
        noise["non-saturating"] < noise["minimax"] < noise["max. likelihood"]
        and noise["non-saturating"] < 0.5
    )


def test_noise_of_a_weight_against_samples():
    nb, delta = notebook(), 1.0
    u = torch.randn(2_000_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for weight in nb.LOG_WEIGHTS.values():
        w = torch.exp(weight(-(delta**2) / 2 - delta * u))
        assert nb.relative_sd(weight, delta) == pytest.approx((w.std() / w.mean()).item(), rel=0.03)


# ---- the widget ----------------------------------------------------------------------------------------------------


def widget(**start):
    """The widget cell, run, with these settings to start from."""
    (cell,) = [c for c in nbformat.read(PATH, as_version=4).cells if "widget" in c.metadata.get("tags", [])]
    *statements, last = ast.parse(cell.source).body
    namespace = notebook().namespace | {"START": notebook().START | start}
    exec(compile(ast.Module(statements, type_ignores=[]), PATH.name, "exec"), namespace)
    return eval(compile(ast.Expression(last.value), PATH.name, "eval"), namespace)


def test_the_widget_follows_its_controls():
    controls, picture, message = widget().children
    logit, gap, moves = controls.children
    assert (logit.value, gap.value, moves.value) == tuple(notebook().START.values())
    seen = [picture.value]
    for control, values in ((logit, (-12, 0, 5)), (gap, (2.0, 4.0)), (moves, (0, 12, 1))):
        for value in values:
            control.value = value
            seen.append(picture.value)
    assert len(set(seen)) == len(seen)
    assert not message.value
    assert all(control.description for control in controls.children)


def test_nothing_of_an_old_picture_is_left():
    """Moved to other settings, the widget shows what a new one shows that starts there."""
    controls, picture, _ = widget().children
    elsewhere = {"logit": 1.5, "gap": 4.0, "moves": 8}
    for control, value in zip(controls.children, elsewhere.values(), strict=True):
        control.value = value
    assert picture.value == widget(**elsewhere).children[1].value


# ---- the exercises: right answers pass, plausible wrong ones do not ------------------------------------------------


def verdict(capsys, attempt, against, on=()):
    check(attempt, against=against, on=on)
    return capsys.readouterr().out.split()[0].rstrip(":")


@pytest.mark.parametrize(
    "wrong",
    [
        (0.0, math.inf, 0.0, 1.0),  # as the textbook has it
        (math.inf, 0.0, 0.0, 1.0),
        (math.inf, 0.0, -1.0, 0.0),  # the slope, not its size
        (0.0, 0.0, 1.0, 0.0),
    ],
)
def test_wrong_limits_are_refused(wrong, capsys):
    oracle = notebook().four_limits()
    assert oracle == (math.inf, 0.0, 1.0, 0.0)
    assert verdict(capsys, wrong, oracle) == "wrong"
    assert verdict(capsys, (math.inf, 0, 1, 0), oracle) == "right"
    assert verdict(capsys, (..., 0, 1, 0), oracle) == "not"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda delta, sigma, tau: math.expm1((delta / sigma) ** 2),  # blind to tau
        lambda delta, sigma, tau: notebook().variance(delta, sigma, tau) + 1,  # the second moment
        lambda delta, sigma, tau: abs(notebook().variance(delta, sigma, tau)) ** 0.5,
        lambda delta, sigma, tau: min(notebook().variance(delta, sigma, tau), 1e300),  # never infinite
        lambda delta, sigma, tau: math.sqrt(2 * tau**2 - sigma**2),  # raises in some cases
    ],
)
def test_wrong_variances_are_refused(wrong, capsys):
    nb = notebook()
    assert verdict(capsys, wrong, nb.integrated, nb.CASES) == "wrong"
    assert verdict(capsys, nb.variance, nb.integrated, nb.CASES) == "right"


@pytest.mark.parametrize("seed", range(5))
def test_variance_against_samples(seed):
    """E_p[p/q] - 1, a mean over p with light tails, for spreads that are wide enough."""
    nb, rng = notebook(), np.random.default_rng(seed)
    delta, sigma, tau = rng.uniform(-1, 1), 1.0, rng.uniform(1.2, 2)
    x = torch.tensor(rng.normal(size=1_000_000))
    ratio = torch.exp(nb.log_normal(x, 0, sigma) - nb.log_normal(x, delta, tau))
    assert ratio.mean().item() - 1 == pytest.approx(nb.variance(delta, sigma, tau), abs=0.01)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda t: t,
        lambda t: -2 * t,
        lambda t: -t.exp(),
        lambda t: notebook().non_saturating(t),
        lambda t: notebook().minimax(t) - notebook().non_saturating(t),
        lambda t: (-t).exp(),
        lambda t: torch.zeros(()),  # has no gradient: an error, reported and not raised
        lambda t: "minus t",
    ],
)
def test_wrong_costs_are_refused(wrong, capsys):
    nb = notebook()
    assert verdict(capsys, nb.descends(wrong), nb.down_reverse_KL, nb.generators) == "wrong"


def test_right_costs_pass(capsys):
    nb = notebook()
    for right in (nb.my_cost, lambda t: 5 - t, lambda t: nb.minimax(t) + nb.non_saturating(t)):
        assert verdict(capsys, nb.descends(right), nb.down_reverse_KL, nb.generators) == "right"
    assert verdict(capsys, nb.descends(lambda t: None), nb.down_reverse_KL, nb.generators) == "not"
