"""Notebook 07, on more cases than its cells use: its divergences, programs and bounds, its widget and exercises."""

import functools
import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from notebook_code import definitions
from scipy.integrate import quad
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from ganlib.checks import check
from ganlib.metrics import jsd, wasserstein
from ganlib.widgets import explore

LOG2 = math.log(2)
CONSTANTS = {
    "LOG2", "PURPLE", "CARRY", "LINE", "NOISE", "REACH", "FINE", "SHUFFLE", "START", "SPREADS", "look", "controls",
    "grain_v", "grain_z", "grain_noise", "latents", "first", "last", "data", "rng", "x", "y", "W", "p", "q", "f",
}  # fmt: skip


@functools.cache
def notebook() -> SimpleNamespace:
    """The notebook's imports, functions and constants, without running its experiments."""
    return SimpleNamespace(**definitions("07_distances", CONSTANTS))


def random_masses(rng, n, zeros=0):
    masses = rng.dirichlet(np.ones(n))
    masses[rng.permutation(n)[:zeros]] = 0
    return masses / masses.sum()


# ---- divergences ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
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


def test_divergences_without_overlap():
    rng = np.random.default_rng(0)
    for n in (1, 3, 20):
        p, q = np.zeros((2, 2 * n))
        p[:n], q[n:] = random_masses(rng, n), random_masses(rng, n)
        assert notebook().divergences(p, q) == pytest.approx((1, math.inf, LOG2))


@pytest.mark.parametrize("seed", range(10))
def test_a_cut_never_tells_more(seed):
    """Merging cells lowers every divergence (or leaves it), the step from (7.2) to a coarser ruler."""
    rng, nb = np.random.default_rng(seed), notebook()
    p, q = random_masses(rng, 12), random_masses(rng, 12)
    fine = nb.divergences(p, q)
    coarse = nb.divergences(p.reshape(4, 3).sum(1), q.reshape(4, 3).sum(1))
    assert all(less <= more + 1e-12 for less, more in zip(coarse, fine, strict=True))


# ---- the linear programs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20, 50))
def test_primal_dual_and_price(seed):
    nb = notebook()
    x, y, a, b = nb.random_clouds(seed)
    cost = cdist(x, y)
    least, plan = nb.primal(cost, a, b)
    most, phi, psi = nb.dual(cost, a, b)
    assert abs(least - most) < 1e-9
    assert np.abs(plan.sum(1) - a).max() < 1e-9 and np.abs(plan.sum(0) - b).max() < 1e-9
    assert plan.min() > -1e-12 and (plan > 1e-12).sum() <= len(a) + len(b) - 1
    assert (phi[:, None] - psi <= cost + 1e-9).all()
    assert abs(a @ nb.price(x, y, psi) - b @ nb.price(y, y, psi) - most) < 1e-9
    fall = nb.price(x, y, psi)[:, None] - nb.price(y, y, psi)
    assert np.abs(fall - cost)[plan > 1e-9].max() < 1e-8  # (7.12)
    assert abs(least - wasserstein(x, y, a, b)) < 1e-9
    bound = np.linalg.norm(a @ x - b @ y)  # a linear function of slope 1 sees the difference of the means
    assert bound - 1e-9 <= least <= (cost * np.outer(a, b)).sum() + 1e-9


@pytest.mark.parametrize("n", [2, 5, 8])
def test_no_plan_of_whole_grains_is_cheaper(n):
    """All n! assignments of two equal samples, tried one by one."""
    rng, nb = np.random.default_rng(n), notebook()
    cost = cdist(rng.normal(size=(n, 2)), rng.normal(size=(n, 2)))
    tried = [cost[range(n), to].mean() for to in itertools.permutations(range(n))] if n < 8 else None
    best = min(tried) if tried else cost[linear_sum_assignment(cost)].mean()
    assert abs(nb.primal(cost, np.full(n, 1 / n), np.full(n, 1 / n))[0] - best) < 1e-9


def test_no_two_arrows_of_figure_3_cross():
    nb = notebook()
    rows, columns = np.nonzero(nb.plan > 1e-12)

    def side(p, q, r):
        return np.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    for (i, j), (k, l) in itertools.combinations(list(zip(rows, columns, strict=True)), 2):  # noqa: E741
        if i != k and j != l:
            s, e, u, v = nb.x[i], nb.y[j], nb.x[k], nb.y[l]
            assert side(s, e, u) == side(s, e, v) or side(u, v, s) == side(u, v, e)


@pytest.mark.parametrize("seed", range(10))
def test_the_notebooks_wasserstein_is_the_librarys(seed):
    rng, nb = np.random.default_rng(seed), notebook()
    for n, m, d in ((9, 9, 2), (7, 12, 2), (8, 8, 1), (6, 11, 1), (5, 9, 3)):
        x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d))
        assert abs(nb.wasserstein(x, y) - wasserstein(x, y)) < 1e-9


@pytest.mark.parametrize("seed", range(10))
def test_sort_and_subtract(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=20), rng.standard_cauchy(20)
    assert abs(notebook().sorted_distance(x, y) - wasserstein(x, y)) < 1e-9 * max(1, np.abs(y).max())


def test_the_function_of_figure_5_attains_the_distance():
    nb = notebook()
    dx = nb.LINE[1] - nb.LINE[0]
    assert np.abs(np.diff(nb.f) / dx).max() <= 1 + 1e-9
    earned = ((nb.p - nb.q) * nb.f).sum() * dx
    assert earned == pytest.approx(wasserstein(nb.LINE, nb.LINE, nb.p, nb.q), abs=1e-4)


# ---- widths, continuity, order -------------------------------------------------------------------------------


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


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_7_19_for_other_networks(seed, monkeypatch):
    """Weights and latents of other seeds; the notebook's `network` looks them up by name."""
    nb, rng = notebook(), np.random.default_rng(seed + 100)
    for name in ("first", "last"):
        weights = [rng.normal(size=shape) for shape in ((12, 2), (12,), (2, 12))]
        monkeypatch.setitem(nb.network.__globals__, name, weights)
    z, data = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    clouds = [nb.network(t, z) for t in np.linspace(0, 1, 6)]
    for c, d in itertools.combinations(clouds, 2):
        low = abs(wasserstein(data, c) - wasserstein(data, d))
        assert low <= wasserstein(c, d) + 1e-9 <= np.linalg.norm(c - d, axis=1).mean() + 2e-9


def test_jsd_of_samples_counts_common_points():
    nb = notebook()
    x = np.arange(8.0).reshape(4, 2)
    assert nb.jsd_of_samples(x, x[::-1]) == 0
    assert nb.jsd_of_samples(x, x + 100) == pytest.approx(LOG2)
    assert nb.jsd_of_samples(x, np.concatenate([x[:2], x[2:] + 100])) == pytest.approx(LOG2 / 2)


@pytest.mark.parametrize("theta", [1.0, 0.3, 1e-3])
def test_the_escaping_bump_keeps_its_area(theta):
    area = sum(quad(notebook().bump(theta), *ends)[0] for ends in ((0, theta / 2), (theta / 2, theta)))
    assert area == pytest.approx(0.5)


# ---- noise ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0.0, 0.05, 0.7, 2.46, 5.0, 9.0, 14.0])
def test_j_and_its_slope(t):
    nb = notebook()
    edges = sorted({-10, 0, t / 2, t, t + 10})
    assert abs(nb.j(t) - jsd(nb.bell(0, 1), nb.bell(t, 1), edges)) < 1e-9
    d = 1e-4
    assert abs(nb.j_slope(t) - (nb.j(t + d) - nb.j(abs(t - d))) / (2 * d)) < 1e-7
    assert -1e-12 <= LOG2 - nb.j(t) <= math.exp(-t * t / 8) + 1e-12


@pytest.mark.parametrize("theta", [-4.0, 1.0, 2.5])
def test_who_arrives(theta):
    """From other starts: noise of a twelfth of the distance leads nowhere, annealed noise and W1 arrive."""
    nb, distance = notebook(), abs(theta)
    stuck = nb.descend(nb.noisy(lambda step: distance / 12), theta=theta)
    assert abs(stuck[-1] - theta) < 1e-3
    annealed = nb.descend(nb.noisy(lambda step: distance * 0.02 ** (step / 800)), theta=theta)
    assert abs(annealed[-1]) < 1e-3
    home = nb.descend(lambda theta, step: np.sign(theta), theta=theta)
    assert abs(home[-1]) <= 0.05 + 1e-9


# ---- the widget ------------------------------------------------------------------------------------------------


def settings(seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(-2, 2), rng.uniform(0, 1), rng.choice([0, 0.02, 0.1, 0.4])


@pytest.mark.parametrize("seed", range(12))
def test_jsd_of_strips_is_the_librarys(seed):
    """Noise and width as densities by convolution, integrated adaptively."""
    nb, (theta, width, noise) = notebook(), settings(seed)
    theta = theta if seed % 2 else theta / 8
    if noise == 0:
        p, q = nb.box(0, width), nb.box(theta, width)
        edges = sorted({-3.0, 0.0, width, theta, theta + width, 4.0})
    else:

        def p(x):
            return (nb.ndtr(x / noise) - nb.ndtr((x - width) / noise)) / width

        def q(x):
            return p(x - theta)

        steps = [
            end + k * noise for end in (0, width, theta, theta + width) for k in (-8, -4, -2, 0, 2, 4, 8)
        ]
        edges = sorted({*(round(step, 6) for step in steps), -8.0, 9.0})
    assert abs(nb.jsd_of_strips(theta, width, noise) - jsd(p, q, edges)) < 1e-6


def test_jsd_of_strips_without_width():
    nb = notebook()
    assert nb.jsd_of_strips(0, 0, 0) == 0
    assert nb.jsd_of_strips(1e-9, 0, 0) == nb.jsd_of_strips(-2, 0, 0) == LOG2
    for theta, noise in ((0.0, 0.02), (0.05, 0.02), (-0.7, 0.3)):
        assert abs(nb.jsd_of_strips(theta, 0, noise) - nb.j(abs(theta) / noise)) < 1e-9


@pytest.mark.parametrize("seed", range(12))
def test_the_cheapest_plan_of_the_grains_costs_theta(seed):
    nb, (theta, width, noise) = notebook(), settings(seed)
    cost = cdist(*nb.grains(theta, width, noise))

    def of(plan):
        return cost[range(14), nb.partners(cost, plan)].mean()

    assert of("cheapest") == pytest.approx(abs(theta), abs=1e-12)
    assert of("cheapest") <= of("random") <= of("dearest")
    assert sorted(nb.partners(cost, "random")) == list(range(14))


def test_the_widget_follows_its_controls():
    nb = notebook()
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    controls, picture, message = explore(figure, nb.board(figure), **nb.controls).children
    seen = {picture.value}
    for control, values in (
        (nb.controls["theta"], (-2, 0, 2, 0.4)),
        (nb.controls["width"], (0, 1)),
        (nb.controls["noise"], (0.02, 0.4)),
        (nb.controls["plan"], ("random", "dearest")),
    ):
        for value in values:
            control.value = value
            seen.add(picture.value)
    assert len(seen) == 11
    nb.controls["noise"].value = nb.controls["width"].value = nb.controls["theta"].value = (
        0  # the lines, at 0
    )
    assert not message.value
    assert all(control.description for control in controls.children)


# ---- the exercises: right answers pass, plausible wrong ones do not --------------------------------------------


def verdict(capsys, *arguments, **keywords):
    check(*arguments, **keywords)
    return capsys.readouterr().out.split()[0].rstrip(":")


@pytest.mark.parametrize(
    ("exercise", "wrong"),
    [
        ("shift", lambda points, weights, delta: np.abs(delta).sum()),
        ("shift", lambda points, weights, delta: delta @ delta),
        ("shift", lambda points, weights, delta: np.linalg.norm(delta) / len(points)),
        ("shift", lambda points, weights, delta: delta),
        ("spread", lambda s, r: abs(s - r)),
        ("spread", lambda s, r: (s - r) * math.sqrt(2 / math.pi)),
        ("spread", lambda s, r: 0.0),
        ("spread", lambda s, r: abs(s - r) / math.sqrt(2 * math.pi)),
    ],
)
def test_wrong_answers_are_refused(exercise, wrong, capsys):
    nb = notebook()
    right, oracle, on = {
        "shift": (nb.shift_distance, nb.shift_oracle, [nb.shifted_cloud(seed) for seed in range(9)]),
        "spread": (nb.spread_distance, nb.spread_oracle, nb.SPREADS),
    }[exercise]
    assert verdict(capsys, right, against=oracle, on=on) == "right"
    assert verdict(capsys, wrong, against=oracle, on=on) == "wrong"


def close(w, tv):
    return w < 0.01 and tv > 0.99


def far(w, tv):
    return w > 10 and tv < 0.01


@pytest.mark.parametrize(
    ("pair", "wanted", "said"),
    [
        (({0: 1.0}, {1e-4: 1.0}), close, "as wanted"),
        (({0: 0.5, 1: 0.5}, {0.001: 0.5, 1.001: 0.5}), close, "as wanted"),
        (({0: 1.0}, {1: 1.0}), close, "W1 = 1, TV = 1"),
        (({0: 1.0}, {0: 1.0}), close, "W1 = 0, TV = 0"),
        (({0: 1.0}, {0: 0.999, 1e5: 0.001}), far, "as wanted"),
        (({0: 1.0}, {100: 1.0}), far, "W1 = 100, TV = 1"),
        (({0: 1.0}, {0: 0.995, 100: 0.005}), far, "W1 = 0.5, TV = 0.005"),
        (({0: 1.0}, {0: 2.0}), close, "ValueError: the masses of a distribution"),
        (({0: 1.5, 1: -0.5}, {0: 1.0}), close, "ValueError: the masses of a distribution"),
        (({}, {}), close, "ValueError"),
        ((0.0, 0.001), close, "TypeError"),
        (([0.0], [0.001]), close, "AttributeError"),
        ("ab", close, "ValueError"),
    ],
)
def test_the_judge_of_exercise_2(pair, wanted, said):
    assert notebook().judge(pair, wanted).startswith(said)


def test_an_open_exercise_2_is_not_attempted(capsys):
    assert verdict(capsys, notebook().judge(..., close), against="as wanted") == "not"
