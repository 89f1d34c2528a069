"""Notebook 08: its formulas on other cases and by other routes, and exercises that tell right from wrong answers."""

import functools

import numpy as np
import pytest
import torch
from helpers import rng
from notebook_code import answered, definitions
from torch import nn

STEM = "08_wgan"


@functools.cache
def notebook() -> dict:
    return definitions(STEM, {"LINE", "GAP", "SIGMA", "PAIR", "DISTANCES", "LOG", "FULL", "BATCH_1D"})


def test_fit_gives_each_critic_of_a_stack_its_own_training():
    """A critic trained in company ends where it ends alone, to rounding."""
    nb = notebook()
    near, far = torch.randn(2, 2, 64, 2, generator=rng()).double()
    together, alone = (nb["critics"](seeds, hidden=(8,)).double() for seeds in (range(2), [1]))
    nb["fit"](together, lambda _: (near, far + 2), 30, clip=nb["clip_weights"](0.2))
    nb["fit"](alone, lambda _: (near[1:], far[1:] + 2), 30, clip=nb["clip_weights"](0.2))
    for pair, one in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(pair[1], one[0], rtol=1e-9, atol=1e-12)


def test_stacked_penalties_are_those_of_each_critic():
    nb = notebook()
    D = nb["critics"](range(2), hidden=(8,), activation=nn.Tanh).double()
    near, far = torch.randn(2, 2, 32, 2, generator=rng(1)).double()
    both = nb["gradient_penalty"](torch.tensor([1.0, 5.0]))(D, near, far, rng(2))
    x_hat = nb["interpolates"](near, far, rng(2))
    for i, weight in enumerate((1.0, 5.0)):
        one = nb["critics"]([i], hidden=(8,), activation=nn.Tanh).double()
        expected = weight * (nb["slopes"](one, x_hat[i : i + 1]) - 1).square().mean()
        assert both[i].item() == pytest.approx(expected.item(), rel=1e-9)


def test_the_density_of_interpolates():
    """Of (8.6), by quadrature against drawn ones."""
    nb, x = notebook(), np.linspace(-7, 8, 3001)
    r = nb["density_of_interpolates"](*nb["PAIR"], x) * (x[1] - x[0])
    assert r.sum() == pytest.approx(1, abs=1e-4)
    real, fake = (p.sample(100_000, rng(i)) for i, p in enumerate(nb["PAIR"]))
    drawn = nb["interpolates"](real, fake, rng(5)).squeeze().numpy()
    for lo, hi in ((-3, -1), (-1, 0.5), (0.5, 3)):
        share = ((drawn >= lo) & (drawn < hi)).mean()
        assert r[(x >= lo) & (x < hi)].sum() == pytest.approx(share, abs=0.01)


RIGHT = [
    (0, "def distance_from_log(d_loss, penalty): return -(d_loss - penalty)"),
    (1, "change_of_d_loss, change_of_g_loss = 0, -3"),
    (2, "def least_lambda(w, excess): return w / excess / 2"),
    (3, "def passes(penalty):\n    still, far = torch.zeros(20_000, 2), torch.full((20_000, 2), 3.0)\n"
        "    bowl = lambda x: x.square().sum(-1) / 2\n"
        "    flat = torch.zeros(2, requires_grad=True)\n"
        "    penalty(lambda x: x @ flat, still, far, rng()).backward()\n"
        "    costs = [penalty(D, still, far, rng()) for D in (lambda x: x[:, 0], bowl)]\n"
        "    return costs[0] < 1e-6 and abs(costs[1] - 2.757) < 0.1 and flat.grad.isfinite().all()"),
    (4, "def judges_alone(D, x):\n    x = x.clone().requires_grad_()\n"
        "    return torch.autograd.grad(D(x)[0], x)[0][1:].abs().max() < 1e-12"),
]  # fmt: skip
WRONG = [
    (0, "def distance_from_log(d_loss, penalty): return -d_loss"),
    (0, "def distance_from_log(d_loss, penalty): return d_loss - penalty"),
    (0, "def distance_from_log(d_loss, penalty): return -d_loss - penalty"),
    (1, "change_of_d_loss, change_of_g_loss = 0.0, 3.0"),
    (1, "change_of_d_loss, change_of_g_loss = 3.0, -3.0"),
    (2, "def least_lambda(w, excess): return w / excess"),
    (2, "def least_lambda(w, excess): return 1 / (2 * excess)"),
    (2, "def least_lambda(w, excess): return 10.0"),
    (2, "def least_lambda(w, excess): return w**2 / (2 * excess)"),
    (3, "def passes(penalty): return True"),
    (3, "def passes(penalty): return False"),
    (
        3,
        "def passes(penalty): return penalty(lambda x: x[:, 0], *torch.randn(2, 99, 2, generator=rng()), rng()) < 1e-6",
    ),
    (4, "def judges_alone(D, x): return True"),
    (4, "def judges_alone(D, x): return False"),
    (4, "def judges_alone(D, x): return torch.equal(D(x), D(x))"),
    (
        4,
        "def judges_alone(D, x): return torch.allclose(D(x)[0], D(x[:1])[0])",
    ),  # batch norm refuses one sample
    (4, "def judges_alone(D, x): return 'BatchNorm' not in str(D)"),
]


@pytest.mark.parametrize("number, attempt", RIGHT)
def test_right_answers_pass(number, attempt):
    assert answered(STEM, number, attempt, notebook()).startswith("right")


@pytest.mark.parametrize("number, attempt", WRONG)
def test_wrong_answers_do_not(number, attempt):
    assert answered(STEM, number, attempt, notebook()).startswith("wrong")
