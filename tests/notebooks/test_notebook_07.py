"""Notebook 07 against loops over all events and plans, and the library; its exercises, its board."""

import functools
import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from notebook_code import answered, definitions, follows, shown, tagged
from scipy.spatial.distance import cdist

from ganlib.metrics import jsd, wasserstein

STEM = "07_distances"
CONSTANTS = {
    "LOG2", "PURPLE", "CARRY", "NOISE", "REACH", "FINE", "SHUFFLE", "START", "SPREADS", "grain_v", "grain_z",
    "grain_noise", "rng", "latents",
}  # fmt: skip
LOG2 = math.log(2)


@functools.cache
def notebook() -> SimpleNamespace:
    return SimpleNamespace(**definitions(STEM, CONSTANTS))


def random_masses(rng, n, zeros=0):
    masses = rng.dirichlet(np.ones(n))
    masses[rng.permutation(n)[:zeros]] = 0
    return masses / masses.sum()


@pytest.mark.parametrize("seed", range(5))
def test_divergences_by_definition(seed):
    """TV as the largest difference over all events; KL and JSD as plain loops."""
    rng, nb = np.random.default_rng(seed), notebook()
    p, q = random_masses(rng, 6, zeros=2), random_masses(rng, 6)
    tv, kl, js = nb.divergences(p, q)
    events = itertools.product([0, 1], repeat=6)
    assert tv == pytest.approx(max(abs(np.dot(event, p - q)) for event in events), abs=1e-12)

    def by_loop(p, q):
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)

    assert kl == pytest.approx(by_loop(p, q), abs=1e-12)
    assert js == pytest.approx((by_loop(p, (p + q) / 2) + by_loop(q, (p + q) / 2)) / 2, abs=1e-12)
    assert nb.divergences(q, p)[1] == math.inf  # q lives where p does not


@pytest.mark.parametrize("n", [2, 4, 6])
def test_no_plan_of_whole_grains_is_cheaper_and_prices_prove_it(n):
    """All n! assignments of two equal samples, tried one by one."""
    rng, nb, equal = np.random.default_rng(n), notebook(), np.full(n, 1 / n)
    x, y = rng.normal(size=(2, n, 2))
    cost = cdist(x, y)
    best = min(cost[range(n), to].mean() for to in itertools.permutations(range(n)))
    most, phi, psi = nb.dual(cost, equal, equal)
    assert nb.primal(cost, equal, equal)[0] == pytest.approx(best, abs=1e-9)
    assert most == pytest.approx(best, abs=1e-9)
    assert (phi[:, None] - psi <= cost + 1e-9).all()
    assert (nb.price(x, y, psi) - nb.price(y, y, psi)).mean() == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_common_second_coordinate_does_not_matter(seed):
    """(7.16) for distributions on a few points."""
    rng, nb = np.random.default_rng(seed), notebook()
    at, a, b = rng.normal(size=5), random_masses(rng, 5), random_masses(rng, 5)
    z, r = rng.normal(size=4), random_masses(rng, 4)
    plane = np.array(list(itertools.product(at, z)))
    p, q = np.outer(a, r).ravel(), np.outer(b, r).ravel()
    assert nb.divergences(p, q) == pytest.approx(nb.divergences(a, b), abs=1e-12)
    assert wasserstein(plane, plane, p, q) == pytest.approx(wasserstein(at, at, a, b), abs=1e-9)


@pytest.mark.parametrize(("theta", "width"), [(-1.3, 0.4), (0.1, 0.9), (0.5, 0.1)])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.4])
def test_the_boards_jsd_is_the_librarys(theta, width, noise):
    nb, ends = notebook(), [0, width, theta, theta + width]
    if noise == 0:
        p, edges = nb.box(0, width), sorted({-3.0, *ends, 4.0})
    else:
        p = lambda x: (nb.ndtr(x / noise) - nb.ndtr((x - width) / noise)) / width  # noqa: E731
        steps = {round(end + k * noise, 6) for end in ends for k in (-8, -4, -2, 0, 2, 4, 8)}
        edges = sorted({-8.0, *steps, 9.0})
    assert nb.jsd_of_strips(theta, width, noise) == pytest.approx(
        jsd(p, lambda x: p(x - theta), edges), abs=1e-6
    )
    assert nb.jsd_of_strips(theta, 0, noise) == pytest.approx(
        nb.j(min(abs(theta) / noise, 14)) if noise else LOG2
    )


@pytest.mark.parametrize(("theta", "width", "noise"), [(1.3, 0.0, 0.0), (-0.4, 0.7, 0.3)])
def test_the_cheapest_plan_of_the_boards_grains_costs_theta(theta, width, noise):
    cost = cdist(*notebook().grains(theta, width, noise))
    costs = {
        p: cost[range(14), notebook().partners(cost, p)].mean() for p in ("cheapest", "random", "dearest")
    }
    assert costs["cheapest"] == pytest.approx(abs(theta), abs=1e-12)
    assert costs["cheapest"] < costs["random"] < costs["dearest"]


def test_the_board_follows_its_controls():
    assert follows(shown(STEM, vars(notebook()))[0])


WRONG = [
    (0, "shift_distance = lambda points, weights, delta: np.abs(delta).sum()"),
    (0, "shift_distance = lambda points, weights, delta: np.linalg.norm(delta) / len(points)"),
    (0, "shift_distance = lambda points, weights, delta: delta"),
    (1, "close_pair = ({0: 1.0}, {1: 1.0})"),
    (1, "close_pair = ({0: 1.5, 1: -0.5}, {0: 1.0})"),
    (1, "close_pair = ({0: 1.0}, {0: 2.0})"),
    (1, "close_pair = ([0.0], [0.001])"),
    (2, "far_pair = ({0: 1.0}, {100: 1.0})"),
    (2, "far_pair = ({0: 1.0}, {0: 0.995, 100: 0.005})"),
    (3, "spread_distance = lambda s, r: abs(s - r)"),
    (3, "spread_distance = lambda s, r: (s - r) * math.sqrt(2 / math.pi)"),
]


@pytest.mark.parametrize(("number", "attempt"), WRONG)
def test_a_wrong_answer_is_refused(number, attempt):
    assert answered(STEM, number, attempt, vars(notebook())).startswith("wrong")


@pytest.mark.parametrize("pair", ["({0: 1.0}, {1e-4: 1.0})", "({0: 0.5, 1: 0.5}, {0.001: 0.5, 1.001: 0.5})"])
def test_any_right_pair_is_accepted(pair):
    assert answered(STEM, 1, f"close_pair = {pair}", vars(notebook())) == "right"


def test_every_exercise_has_wrong_answers():
    assert {number for number, _ in WRONG} == set(range(len(tagged(STEM, "exercise"))))
