"""Notebook 04: its two gradients agree on other data, its exercises refuse wrong answers, its board follows."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from notebook_code import answered, definitions, follows, shown, tagged

from ganlib.distributions import mixture_1d

STEM = "04_non_saturating_gan"
CONSTANTS = {"SEEDS", "COSTS", "LOOK", "t", "Z", "MOVES", "LINE", "GAME", "objectives", "U", "X", "generators",
             "LOG_WEIGHTS", "GAPS", "START", "CASES"}  # fmt: skip


@functools.cache
def notebook() -> SimpleNamespace:
    """The notebook's imports, definitions and constants, without its experiments."""
    namespace = definitions(STEM, CONSTANTS)
    namespace["records"] = {
        gap: namespace["watch"](namespace["table"](gap=gap, seeds=[0])) for gap in namespace["GAPS"]
    }
    return SimpleNamespace(**namespace)


@pytest.mark.parametrize("seed", range(3))
def test_the_frozen_gradient_is_the_divergences_for_other_data(seed, monkeypatch):
    rng, nb = np.random.default_rng(seed), notebook()
    mixture = mixture_1d(rng.uniform(-3, 3, 2), rng.uniform(0.4, 1.2, 2), rng.dirichlet([2, 2]))
    monkeypatch.setitem(nb.true_gradient.__globals__, "log_data", lambda x: mixture.log_prob(x[:, None]))
    for name, cost in nb.COSTS.items():
        theta, s = rng.uniform(-3, 3), rng.uniform(0.35, 1.7)
        gap = nb.frozen_gradient(cost, theta, s) - nb.true_gradient(name, theta, s)
        assert gap.abs().max() < 1e-6 * max(1, nb.true_gradient(name, theta, s).abs().max().item())


def test_g_s_gradient_is_a_finite_difference():
    nb = notebook()
    match = nb.table(gap=2.0, seeds=[21])
    for _ in range(5):
        nb.GAME.discriminator_move(match)
    line = match.G.line
    (by_theta,), (by_s,) = nb.gradient(match, nb.non_saturating)
    for weight, slope in ((line.bias, by_theta), (line.weight, by_s)):
        values = []
        for step in (1e-2, -2e-2):
            with torch.no_grad():
                weight += step
                values.append(nb.non_saturating(match.D(match.G(*match.fixed_latents(1000)))).mean().item())
        with torch.no_grad():
            weight += 1e-2
        assert (values[0] - values[1]) / 2e-2 == pytest.approx(slope.item(), rel=0.02, abs=1e-3)


def test_the_board_follows_its_controls():
    assert follows(shown(STEM, vars(notebook()))[0])


WRONG = [
    (0, "loss_at_1, loss_at_0, slope_at_1, slope_at_0 = 0.0, math.inf, 0.0, 1.0"),
    (0, "loss_at_1, loss_at_0, slope_at_1, slope_at_0 = math.inf, 0.0, 0.0, 1.0"),
    (1, "def variance(delta, sigma, tau): return math.expm1(delta**2 / sigma**2)"),
    (1, "def variance(delta, sigma, tau): return math.exp(delta**2 / tau**2)"),
    (2, "def my_cost(t): return t"),
    (2, "def my_cost(t): return softplus(-t)"),
    (2, "def my_cost(t): return -torch.exp(t)"),
]


@pytest.mark.parametrize(("number", "attempt"), WRONG)
def test_a_wrong_answer_is_refused(number, attempt):
    assert answered(STEM, number, attempt, vars(notebook())).startswith("wrong")


def test_a_constant_in_the_cost_changes_nothing():
    assert answered(STEM, 2, "def my_cost(t): return 7 - t", vars(notebook())).startswith("right")


def test_every_exercise_has_wrong_answers():
    assert {number for number, _ in WRONG} == set(range(len(tagged(STEM, "exercise"))))
