"""Notebook 02 on random mixtures and histograms, against a fine grid; its exercises, its board."""

import functools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from notebook_code import answered, definitions, follows, shown, tagged
from scipy.integrate import trapezoid

from ganlib.distributions import mixture_1d

STEM = "02_optimal_discriminator"
CONSTANTS = {
    "LOG2", "LOG4", "PERFECT", "EDGES", "DATA", "MODEL", "log_data", "log_model", "grid", "START", "RANGES",
    "POINTS", "TARGETS",
}  # fmt: skip
X = np.linspace(-20, 20, 200_001)


@functools.cache
def notebook() -> SimpleNamespace:
    return SimpleNamespace(**definitions(STEM, CONSTANTS))


def random_mixture(rng: np.random.Generator) -> dict:
    """Two bumps that the intervals of EDGES resolve."""
    return notebook().two_bumps(
        rng.uniform(-3, 3), rng.uniform(0, 4), rng.uniform(0.3, 1.5), rng.uniform(0.05, 0.95)
    )


@pytest.mark.parametrize("seed", range(6))
def test_value_of_a_perfect_discriminator(seed):
    """V(D*, G) = 2 JSD - log 4 of random pairs, where the JSD comes from a grid and the library's densities."""
    nb, rng = notebook(), np.random.default_rng(seed)
    pair = random_mixture(rng), random_mixture(rng)
    x = torch.tensor(X)[:, None]
    a, b = (mixture_1d(**mixture).log_prob(x).numpy() for mixture in pair)
    m = np.logaddexp(a, b) - math.log(2)
    truth = trapezoid(np.exp(a) * (a - m) + np.exp(b) * (b - m), X) / 2
    v, divergence = nb.both_sides(*pair)
    assert divergence == pytest.approx(truth, abs=1e-6)  # the library's mixtures are of single precision
    assert v == pytest.approx(2 * truth - math.log(4), abs=2e-6)


@pytest.mark.parametrize("seed", range(4))
def test_no_discriminator_does_better_than_the_bound(seed):
    """0 <= 4 E_m (D - D*)^2 <= V(D*) - V(D) for random logits."""
    nb, rng = notebook(), np.random.default_rng(seed)
    scale, shift, height, pitch = rng.uniform(0, 2), rng.normal(), rng.normal(), rng.uniform(0, 5)

    def logit(x):
        return scale * nb.perfect(x) + shift + height * math.sin(pitch * x)

    loss = nb.value(nb.perfect, nb.log_data, nb.log_model) - nb.value(logit, nb.log_data, nb.log_model)
    error = nb.half_and_half(lambda x: (nb.expit(logit(x)) - nb.expit(nb.perfect(x))) ** 2)
    assert 0 < 4 * error <= loss


@pytest.mark.parametrize("seed", range(5))
def test_the_value_is_convex_on_histograms_and_the_flow_reaches_the_data(seed):
    """C stays below a random chord, and above the tangent log(1 - D*) of (2.16)."""
    nb, rng = notebook(), np.random.default_rng(seed)
    p, q, other = 0.02 + 0.8 * rng.dirichlet(np.ones(10), size=3)
    p, q, other = p / p.sum(), q / q.sum(), other / other.sum()

    def C(q):
        return (nb.rel_entr(p, p + q) + nb.rel_entr(q, p + q)).sum()

    share = rng.uniform()
    assert C(share * q + (1 - share) * other) <= share * C(q) + (1 - share) * C(other)
    assert C(other) >= C(q) + (np.log(q / (p + q)) * (other - q)).sum()
    assert np.abs(nb.flow(p, q, steps=6000)[-1] - p).max() < 1e-6


@pytest.mark.parametrize("seed", range(6))
def test_the_live_discriminator_never_passes_the_best_value(seed):
    rng = np.random.default_rng(seed)
    settings = {name: rng.uniform(low, high) for name, (_, low, high) in notebook().RANGES.items()}
    curves, (best, found) = notebook().follow(**settings, n=int(rng.choice([30, 100, 300, 1000])))
    assert all(np.isfinite(curve).all() for curve in curves)
    assert found < best <= 1e-9


def test_the_board_follows_its_sliders():
    assert follows(shown(STEM, vars(notebook()))[0])


WRONG = [
    (0, "smoothed_D = lambda p, q, alpha, beta: p / (p + q)"),
    (0, "smoothed_D = lambda p, q, alpha, beta: alpha * p / (p + q)"),
    (0, "smoothed_D = lambda p, q, alpha, beta: alpha * p / (alpha * p + (1 - beta) * q)"),
    (1, "least_squares_D = lambda p, q, a, b: p / (p + q)"),
    (1, "least_squares_D = lambda p, q, a, b: (a * p + b * q) / (p + q)"),
    (2, "jsd_with_atom = lambda c: LOG2 / 2 * ndtr(c)"),  # what the leftover density gives
    (2, "jsd_with_atom = lambda c: LOG2 * (1 - ndtr(c))"),
]


@pytest.mark.parametrize(("number", "attempt"), WRONG)
def test_a_wrong_answer_is_refused(number, attempt):
    assert answered(STEM, number, attempt, vars(notebook())).startswith("wrong")


def test_every_exercise_has_wrong_answers():
    assert {number for number, _ in WRONG} == set(range(len(tagged(STEM, "exercise"))))
