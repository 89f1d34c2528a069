"""Notebook 01 against oracles that its cells do not have: quadrature, counting, other starts; exercises; board."""

import math

import numpy as np
import pytest
import torch
from helpers import rng
from matplotlib import pyplot, rc_context
from matplotlib.figure import Figure
from notebook_code import answered, definitions, follows, shown, tagged
from scipy.integrate import quad, trapezoid
from torch import nn

from ganlib.distributions import normal
from ganlib.games import GAMES
from ganlib.training import Match

STEM = "01_adversarial_game"
CONSTANTS = {
    "u", "zero", "novice", "expert", "batches", "settings", "paths", "best_x", "latent_batches", "rng", "points",
    "NUMBERS", "stream", "forger", "judge", "minibatches", "rounds",
}  # fmt: skip


@pytest.fixture(scope="module")
def book():
    """The names that the notebook defines. It computes in double precision, and so do the tests of this file."""
    torch.set_default_dtype(torch.float64)
    with rc_context():
        yield definitions(STEM, CONSTANTS, leave_out=("exercise", "solution", "widget"))
    pyplot.close("all")
    torch.set_default_dtype(torch.float32)


def test_the_exact_score_is_that_of_another_quadrature(book):
    for theta, w, b in (2 * torch.randn(10, 3, generator=rng())).tolist():

        def integrand(z, theta=theta, w=w, b=b):
            log_D, log_not_D = -np.logaddexp(0, -(w * (2 + z) + b)), -np.logaddexp(0, w * (theta + z) + b)
            return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (log_D + log_not_D)

        oracle = quad(integrand, -12, 12, epsabs=1e-12, limit=200)[0]
        assert abs(book["V"](theta, w, b) - oracle) < 1e-9


def test_acceptance_rates_are_those_of_a_count(book):
    x = torch.randn(100_000, generator=rng(10))
    for mean, w, b in (2 * torch.randn(8, 3, generator=rng(11))).unbind(0):
        counted = (book["D"](mean + x, w, b) > 0).double().mean()
        p = book["accepts"](mean, w, b)
        assert abs(counted - p) <= 4 * (p * (1 - p) / 100_000).sqrt() + 1e-4
    zero = torch.tensor(0.0)
    assert [book["accepts"](0.7, zero, zero + b) for b in (-1, 0, 1)] == [0, 0.5, 1]


def test_in_the_weak_example_no_logistic_judge_scores_above_a_coin_and_some_err_less(book):
    x, gauss = torch.linspace(-20, 20, 8001), book["gauss"]
    p, q = (gauss(x, -2, 0.5) + gauss(x, 2, 0.5)) / 2, gauss(x, 0, 2)
    errors = []
    for w, b in 2 * torch.randn(300, 2, generator=rng(13)):
        logits = book["D"](x, w, b)
        terms = p * book["logsigmoid"](logits) + q * book["logsigmoid"](-logits)
        assert torch.trapezoid(terms, x) < -math.log(4)
        errors.append(0.5 + torch.trapezoid((q - p) * (logits > 0), x).item() / 2)
    assert 0.398 < min(errors) < 0.402


@pytest.mark.parametrize("start", [-2.0, 5.0])
def test_a_frozen_judge_is_left_behind_and_a_trained_one_leads_to_the_data(book, start):
    start, zero = torch.tensor(start), torch.tensor(0.0)
    expert = book["judge_moves"](start, zero, zero, moves=300)
    theta = start
    for _ in range(200):
        theta = book["forger_move"](theta, *expert)
    assert (theta - 2) * (2 - start).sign() > 20  # past the data and still going
    theta, judge = start, expert
    for _ in range(60):
        judge = book["judge_moves"](theta, *judge, moves=20)
        theta = book["forger_move"](theta, *judge)
    assert abs(theta - 2) < 0.01


WRONG = [  # answers that students give
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


@pytest.mark.parametrize(("number", "attempt"), WRONG)
def test_a_wrong_answer_is_refused(book, number, attempt):
    assert answered(STEM, number, attempt, book).startswith("wrong")


def test_every_exercise_has_wrong_answers():
    assert {number for number, _ in WRONG} == set(range(len(tagged(STEM, "exercise"))))


def test_the_board_follows_its_sliders(book):
    assert follows(shown(STEM, book, 1, of=2)[0])


class Shift(nn.Module):
    """The notebook's generator as a network."""

    latent_dim = 1

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(()))

    def forward(self, z):
        return z + self.theta


def test_a_round_in_slow_motion_is_a_round_of_a_match(book):
    judge = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))
    match = Match((Shift(), judge), normal(2), batch_size=3)
    match.optimisers = {n: torch.optim.SGD(p.parameters(), 0.3) for n, p in match.players.items()}
    drawn, draw_real, draw_latents = [], match.draw_real, match.draw_latents
    match.draw_real = lambda: drawn.append(draw_real()[0]) or (drawn[-1],)
    match.draw_latents = lambda: drawn.append(draw_latents()) or drawn[-1]
    theta, mine = torch.tensor(0.0, requires_grad=True), torch.tensor([0.7, -0.2], requires_grad=True)
    judge.load_state_dict({"0.weight": mine[:1, None], "0.bias": mine[1:]})
    for _ in range(3):
        drawn.clear()
        losses = GAMES["minimax"](match)
        assert len(drawn) == 3
        steps = [*book["play_round"](theta, mine, *(batch.flatten() for batch in drawn), 0.3)]
        assert len(steps) == 11
        assert torch.allclose(mine, torch.cat([p.flatten() for p in judge.parameters()]))
        assert torch.allclose(theta, match.G.theta)
        assert torch.allclose(steps[3][2]["V"][0], losses["D"])
        believed = steps[8][2]["D(G(z))"]  # G's loss in programs: the term of its cost in which G is
        assert torch.allclose((1 - believed).log().mean(), losses["G"])


def test_slow_motion_follows_and_its_steps_lead_downhill(book):
    buttons, box = shown(STEM, book, 0, of=2)[0].children
    assert follows(box)
    number, step, _ = box.children[0].children
    assert (step.min, step.max) == (1, len(book["rounds"][0])) == (1, 11)
    assert (number.min, number.max) == (1, len(book["rounds"]))
    back, forward = buttons.children
    for button, expected in ((back, 1), (forward, 2), (forward, 3), (back, 2)):
        button.click()
        assert step.value == expected
    step.value = 11
    forward.click()
    assert step.value == 11
    parts = book["diagram"](Figure().subplots())
    for steps in book["rounds"]:
        for _, where, known in steps:
            assert set(where) <= set(parts) and set(known) <= set(book["NUMBERS"])
        for moved, line in ((5, 0), (10, 1)):
            cost = steps[moved][2]["V"].split("\n")[line].replace("−", "-")
            before, after = map(float, cost.split(" = ")[1].split(" → "))
            assert after <= before


@pytest.mark.parametrize(("theta", "w", "b"), [(0.0, 1.0, -1.0), (3.0, -2.0, 5.0), (4.0, 4.0, 8.0)])
def test_the_board_shows_areas_and_numbers_that_are_right(book, theta, w, b):
    figure = Figure()
    rejected, accepted, *_ = book["stage"](figure.add_subplot(131))(theta, w, b)
    mark, _ = book["scale"](figure.add_subplot(132))(theta, w, b)
    *bars, least = book["rates"](figure.add_subplot(133))(theta, w, b)
    errors = [1 - book["accepts"](2, *torch.tensor([w, b])), book["accepts"](theta, *torch.tensor([w, b]))]
    for shape, bar, error in zip((rejected, accepted), bars, errors, strict=False):
        corners = shape.get_xy()[:600]
        assert abs(trapezoid(corners[:, 1], corners[:, 0]) - error) < 0.01
        assert bar.get_width() == pytest.approx(float(error))
    assert mark.get_xdata()[0] == max(float(book["V"](theta, w, b)), -8)
    assert least.get_xdata()[0] == book["best_error"](theta)
