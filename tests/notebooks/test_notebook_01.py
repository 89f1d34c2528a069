"""Notebook 01: its claims over more seeds and settings than it has time for, its exercises, and its board.

The notebook's own code is what is tested: its cells are run here, those that only draw left out.
"""

import ast
import contextlib
import io
import math
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image
from scipy.integrate import quad

from ganlib.objectives import OBJECTIVES, cross_entropy

matplotlib.use("agg")
PATH = Path(__file__).resolve().parents[2] / "notebooks" / "01_adversarial_game.ipynb"


def tags(cell):
    return set(cell.metadata.get("tags", []))


CODE = [cell for cell in nbformat.read(PATH, as_version=4).cells if cell.cell_type == "code"]
STUBS = [cell.source for cell in CODE if "exercise" in tags(cell)]
SOLUTIONS = [cell.source for cell in CODE if "solution" in tags(cell) and "check(" in cell.source]


def only_draws(cell) -> bool:
    return "plt.show()" in cell.source and "def " not in cell.source


@pytest.fixture(scope="module")
def book():
    """The names that the notebook defines, exercises and solutions aside. It computes in double precision, and
    so do the tests of this file."""
    names, rc, printed = {}, matplotlib.rcParams.copy(), io.StringIO()
    with contextlib.redirect_stdout(printed):
        for cell in CODE:
            if not tags(cell) & {"exercise", "solution", "widget"} and not only_draws(cell):
                exec(compile(cell.source, PATH.name, "exec"), names)
    yield names | {"printed": printed.getvalue()}
    pyplot.close("all")
    matplotlib.rcParams.update(rc)
    torch.set_default_dtype(torch.float32)


def rng(seed):
    return torch.Generator().manual_seed(seed)


def test_every_claim_holds_with_another_stream_of_random_numbers_too(book):
    """Some random numbers of the notebook are drawn in cells left out here, so its claims are tried on others."""
    assert book["printed"].count("PASS") >= 10
    assert "FAIL" not in book["printed"]


# ---- claim 1: the score and its estimate -----------------------------------------------------------------------


def test_the_exact_score_is_that_of_another_quadrature(book):
    log_sigmoid = lambda t: -float(np.logaddexp(0, -t))  # noqa: E731
    normal = lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    for theta, w, b in (2 * torch.randn(10, 3, generator=rng(0))).tolist():
        terms = (
            lambda z, w=w, b=b: normal(z) * log_sigmoid(w * (2 + z) + b),
            lambda z, w=w, b=b, theta=theta: normal(z) * log_sigmoid(-(w * (theta + z) + b)),
        )
        oracle = sum(quad(term, -12, 12, epsabs=1e-12, limit=200)[0] for term in terms)
        assert abs(book["V"](theta, w, b) - oracle) < 1e-9


def test_standardised_estimates_have_mean_zero_and_variance_one(book):
    """So `standard_error` is right from both sides; 4 standard errors of the mean are 0.2, of the deviation 0.14."""
    games = 1.5 * torch.randn(400, 3, generator=rng(1))
    draws = rng(2)
    errors = torch.stack(
        [
            (book["estimate"](*g, 1024, draws) - book["V"](*g)) / book["standard_error"](*g, 1024)
            for g in games
        ]
    )
    assert abs(errors.mean()) < 0.2
    assert abs(errors.std() - 1) < 0.14


def test_small_minibatches_are_unbiased(book):
    game, draws = (0.0, 2.0, -2.0), rng(3)
    estimates = torch.stack([book["estimate"](*game, 4, draws) for _ in range(4000)])
    assert abs(estimates.mean() - book["V"](*game)) < 4 * book["standard_error"](*game, 4) / 4000**0.5


def test_the_cost_of_d_is_the_librarys_and_minus_v(book):
    real, fake = 5 * torch.randn(2, 100, generator=rng(4), dtype=torch.float64)
    assert torch.equal(book["cross_entropy"](real, fake), cross_entropy(real, fake))
    literal = torch.sigmoid(real).log().mean() + (1 - torch.sigmoid(fake)).log().mean()
    torch.testing.assert_close(-book["cross_entropy"](real, fake), literal)


def test_the_cost_of_g_and_the_librarys_have_the_same_gradient(book):
    """They differ by the term of the real samples, which does not contain G."""
    real, z = 2 + torch.randn(50, generator=rng(5)), torch.randn(50, generator=rng(6))
    for theta in torch.linspace(-2, 4, 7):
        theta = theta.clone().requires_grad_()
        fake_logits = book["D"](book["G"](z, theta), 2.0, -2.0)
        zero_sum = -book["cross_entropy"](book["D"](real, 2.0, -2.0), fake_logits)
        (mine,) = torch.autograd.grad(zero_sum, theta, retain_graph=True)
        (library,) = torch.autograd.grad(OBJECTIVES["minimax"].generator(fake_logits), theta)
        torch.testing.assert_close(mine, library)


# ---- claim 2: the push-forward ---------------------------------------------------------------------------------


def test_averages_over_z_are_averages_over_the_rayleigh_density(book):
    exact = {"x": (math.pi / 2) ** 0.5, "x^2": 2.0, "1 if x > 1": math.exp(-0.5)}
    offs = []
    for seed in range(20):
        radius = torch.randn(20_000, 2, generator=rng(seed)).norm(dim=1)
        for name, value in exact.items():
            values = book["functions"][name](radius)
            offs.append((values.mean() - value) / (values.std() / 20_000**0.5))
    offs = torch.stack(offs)
    assert offs.abs().max() < 4.5
    assert 0.6 < offs.square().mean() < 1.5


def test_the_score_over_x_is_the_score_over_z(book):
    for game in 2 * torch.randn(50, 3, generator=rng(7)):
        assert abs(book["V"](*game) - book["V_over_x"](*game)) < 1e-10


# ---- claim 3: error rates --------------------------------------------------------------------------------------


def test_no_logistic_judge_beats_the_best_error_and_one_attains_it(book):
    w, b = 3 * torch.randn(2, 5000, generator=rng(8))
    for theta in (-1.0, 0.5, 1.5, 3.0):
        best = book["best_error"](theta)
        assert (book["balanced_error"](theta, w, b) >= best - 1e-6).all()
        halfway = (2 + theta) / 2
        sign = torch.tensor(1.0 if theta < 2 else -1.0)
        assert abs(book["balanced_error"](theta, sign, -sign * halfway) - best) < 1e-6


def test_every_judge_errs_at_one_half_at_the_end(book):
    w, b = torch.randn(2, 1000, generator=rng(9))
    assert (book["balanced_error"](2.0, w, b) - 0.5).abs().max() < 1e-15
    assert book["best_error"](2.0) == 0.5


def test_the_judge_without_an_opinion_tosses_a_coin(book):
    zero = torch.tensor(0.0)
    assert book["accepts"](0.7, zero, zero) == 0.5
    assert book["accepts"](0.7, zero, zero + 1) == 1
    assert book["accepts"](0.7, zero, zero - 1) == 0


def test_acceptance_rates_are_those_of_a_count(book):
    x = torch.randn(100_000, generator=rng(10))
    for mean, w, b in (2 * torch.randn(8, 3, generator=rng(11))).unbind(0):
        counted = (book["D"](mean + x, w, b) > 0).double().mean()
        p = book["accepts"](mean, w, b)
        assert abs(counted - p) <= 4 * (p * (1 - p) / 100_000).sqrt() + 1e-4


def test_counted_errors_follow_one_minus_tv_over_two(book):
    thetas, draws = torch.linspace(-1, 5, 13), rng(12)
    offs = torch.stack(
        [
            (book["simulated_error"](theta, 2000, draws) - book["best_error"](theta))
            / (book["best_error"](theta) * (1 - book["best_error"](theta)) / 4000).sqrt()
            for theta in thetas
            for _ in range(20)
            if theta != 2
        ]
    )
    assert abs(offs.mean()) < 4 / len(offs) ** 0.5
    assert offs.abs().max() < 4.5
    assert book["simulated_error"](torch.tensor(2.0), 2000, draws) == 0.5


def test_no_logistic_judge_scores_above_a_coin_in_the_weak_example(book):
    x, p, q = torch.linspace(-20, 20, 8001), book["two_modes"], book["one_mode"]
    for w, b in 2 * torch.randn(200, 2, generator=rng(13)):
        logits = book["D"](x, w, b)
        score = torch.trapezoid(p * book["logsigmoid"](logits) + q * book["logsigmoid"](-logits), x)
        assert score < -math.log(4)


# ---- claim 4: frozen and trained judges ------------------------------------------------------------------------


@pytest.mark.parametrize("start", [-2.0, 1.0, 5.0])
def test_a_frozen_judge_is_left_behind_and_a_trained_one_leads_to_the_data(book, start):
    start = torch.tensor(start)
    zero = torch.tensor(0.0)
    expert = book["judge_moves"](start, zero, zero, moves=500)
    theta = start
    for _ in range(200):
        theta = book["forger_move"](theta, *expert)
    assert (theta - 2) * (2 - start).sign() > 20  # past the data and still going
    theta, judge = start, expert
    for _ in range(60):
        judge = book["judge_moves"](theta, *judge, moves=20)
        theta = book["forger_move"](theta, *judge)
    assert abs(theta - 2) < 0.01


def test_random_signs_do_not_fool_the_digit_judge(book):
    fooled = torch.stack(
        [
            (book["four"](book["attack"](book["kept"], 0.3, signs)) > 0.5).double().mean()
            for signs in 2.0 * torch.randint(2, (30, 784), generator=rng(14)) - 1
        ]
    )
    along = (book["four"](book["attack"](book["kept"], 0.3, book["signs"])) > 0.5).double().mean()
    assert fooled.mean() < 0.05
    assert along > 0.7


# ---- exercises ---------------------------------------------------------------------------------------------------


def outcome(capsys, book, source, attempt=""):
    """What the cell prints, with `attempt` run just before its check."""
    *body, verdict = ast.parse(source).body
    names = dict(book)
    for part in (ast.unparse(body), attempt, ast.unparse(verdict)):
        exec(part, names)
    return capsys.readouterr().out.strip()


ATTEMPTS = [  # a wrong answer to each exercise, one that students give
    (0, "from torch.nn.functional import binary_cross_entropy_with_logits as bce\n"
        "my_value = lambda logits, labels: -2 * bce(logits, labels)"),
    (0, "my_value = lambda logits, labels: (torch.log(torch.sigmoid(logits[labels == 1])).mean()"
        " + torch.log(1 - torch.sigmoid(logits[labels == 0])).mean())"),
    (1, "slope = lambda theta, w, b: w * expect(lambda z: torch.sigmoid(D(z + theta, w, b)))"),
    (1, "slope = lambda theta, w, b: -expect(lambda z: torch.sigmoid(D(z + theta, w, b)))"),
    (2, "theta_if_frozen, theta_if_trained = 2.0, 2.0"),
    (2, "theta_if_frozen, theta_if_trained = math.inf, 0.0"),
    (3, "best_G = lambda z: z + 2"),
    (3, "best_G = lambda z: torch.where(z > 0, 2.0, -1.0)"),
    (4, "p_real = lambda x, theta, prior: gauss(x, 2) / (gauss(x, 2) + gauss(x, theta))"),
    (4, "p_real = lambda x, theta, prior: prior * gauss(x, 2)"),
]  # fmt: skip


def test_every_exercise_has_a_stub_a_solution_and_wrong_answers():
    assert len(STUBS) == len(SOLUTIONS) == len({number for number, _ in ATTEMPTS}) == 5


@pytest.mark.parametrize("source", STUBS)
def test_a_stub_says_not_attempted(capsys, book, source):
    assert outcome(capsys, book, source) == "not attempted yet"


@pytest.mark.parametrize("number, attempt", ATTEMPTS)
def test_a_wrong_answer_gets_a_number(capsys, book, number, attempt):
    assert outcome(capsys, book, STUBS[number], attempt).startswith("wrong: the largest disagreement is ")


@pytest.mark.parametrize("stub, solution", list(zip(STUBS, SOLUTIONS, strict=True)))
def test_the_solution_is_right_also_in_the_stubs_cell(capsys, book, stub, solution):
    *answer, _ = ast.parse(solution).body
    assert outcome(capsys, book, stub, ast.unparse(answer)).startswith("right")


# ---- the board -----------------------------------------------------------------------------------------------------


@pytest.fixture
def board(book):
    """The widget cell's box, its sliders by name, and the picture."""
    (cell,) = [cell.source for cell in CODE if "widget" in tags(cell)]
    *body, last = ast.parse(cell).body
    names = dict(book)
    exec(ast.unparse(body), names)
    box = eval(ast.unparse(last), names)
    sliders, picture, message = box.children
    return dict(zip(("theta", "w", "b"), sliders.children, strict=True)), picture, message


def test_the_boards_sliders_have_the_defaults_of_the_figure_above_it(board):
    sliders, _, message = board
    assert {name: slider.value for name, slider in sliders.items()} == {"theta": 0.0, "w": 1.0, "b": -1.0}
    assert all(slider.description for slider in sliders.values())
    assert message.value == ""


@pytest.mark.parametrize("name, value", [("theta", 2.0), ("w", -1.0), ("w", 0.0), ("b", 3.0)])
def test_every_slider_changes_the_board(board, name, value):
    sliders, picture, message = board
    before = picture.value
    sliders[name].value = value
    assert picture.value != before
    assert Image.open(io.BytesIO(picture.value)).size == (1200, 500)
    assert message.value == ""


def test_the_board_stands_any_setting_of_its_sliders(board):
    sliders, picture, message = board
    for pick in (lambda s: s.min, lambda s: s.max, lambda s: 0.0):
        for slider in sliders.values():
            slider.value = pick(slider)
        assert message.value == ""
    assert Image.open(io.BytesIO(picture.value)).size == (1200, 500)


@pytest.mark.parametrize("theta, w, b", [(0.0, 1.0, -1.0), (3.0, -2.0, 5.0), (1.0, 0.5, 0.2)])
def test_the_stage_draws_the_densities_and_areas_that_are_the_error_rates(book, theta, w, b):
    ax = Figure().subplots()
    rejected, accepted, bell, curve = book["stage"](ax)(theta, w, b)
    x = torch.as_tensor(bell.get_xdata())
    assert torch.allclose(torch.as_tensor(bell.get_ydata()), book["gauss"](x, theta))
    assert torch.allclose(torch.as_tensor(curve.get_ydata()), torch.sigmoid(w * x + b))
    w, b = torch.tensor(w), torch.tensor(b)
    for shape, rate in (
        (rejected, 1 - book["accepts"](2, w, b)),
        (accepted, book["accepts"](theta, w, b)),
    ):
        corners = shape.get_xy()
        assert abs((np.diff(corners[:600, 0]) * corners[1:600, 1]).sum() - rate) < 0.01


@pytest.mark.parametrize("theta, w, b", [(0.0, 1.0, -1.0), (6.0, 4.0, 8.0), (2.0, 0.0, 0.0)])
def test_the_scale_and_the_rates_show_the_numbers(book, theta, w, b):
    figure = Figure()
    mark, number = book["scale"](figure.add_subplot(121))(theta, w, b)
    v = float(book["V"](theta, w, b))
    assert number.get_text() == f"V = {v:.3f}"
    assert mark.get_xdata()[0] == max(v, -8)
    *parts, least = book["rates"](figure.add_subplot(122))(theta, w, b)
    t = torch.tensor
    rates = [1 - book["accepts"](2, t(w), t(b)), book["accepts"](theta, t(w), t(b))]
    rates.append((rates[0] + rates[1]) / 2)
    assert [bar.get_width() for bar in parts[:3]] == pytest.approx([float(r) for r in rates])
    assert [text.get_text() for text in parts[3:]] == [f"{r:.3f}" for r in rates]
    assert least.get_xdata()[0] == book["best_error"](theta)
