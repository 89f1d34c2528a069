"""Notebook 09 beyond its own cells: the limits of the ladder, the round written out, its board, its exercises."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import rng, weights
from notebook_code import answered, definitions, tagged

from ganlib import unrolling
from ganlib.batched import BatchedMatch
from ganlib.distributions import ring
from ganlib.networks import mlp_players
from ganlib.objectives import cross_entropy

STEM = "09_unrolled_gan"


@functools.cache
def everything() -> dict:
    constants = {
        "FULL",
        "SEEDS",
        "DATA",
        "STEPS",
        "DOSES",
        "PLAIN",
        "START",
        "colours",
        "shapes",
        "ROUNDS",
        "RATES",
    }
    return definitions(STEM, constants, leave_out=("exercise", "solution"))


def notebook() -> SimpleNamespace:
    return SimpleNamespace(**everything())


@pytest.mark.parametrize("seed", range(3))
def test_the_limits_of_the_ladder(seed, monkeypatch):
    """Section 2 on other data: what both terms and the first alone tend to, for both costs."""
    stream, nb = np.random.default_rng(seed), notebook()
    monkeypatch.setitem(everything(), "p", torch.tensor(0.05 + 0.7 * stream.dirichlet(np.ones(6))))
    monkeypatch.setitem(everything(), "theta", torch.tensor(stream.normal(size=6) / 2, requires_grad=True))
    f, c = nb.value, nb.non_saturating_cost
    assert nb.gap(nb.slope(f, 300), nb.ideal(f)) < 1e-10
    assert nb.gap(nb.slope(c, 600), nb.ideal(c)) < 1e-9
    assert nb.gap(nb.slope(c, 600, False), nb.ideal(c, hold_D=True)) < 1e-9
    assert nb.gap(nb.ideal(c), nb.ideal(c, hold_D=True)) > 1e-3


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_unroll_sgd_of_the_notebook_is_the_librarys(steps):
    G, D = (player.double() for player in mlp_players((2,), latent_dim=3, hidden=(8, 8)))
    real, z = ring().sample(32, rng()).double(), torch.randn(32, 3, generator=rng(), dtype=torch.float64)

    def slope(opponent):
        return torch.autograd.grad(opponent(G(z)).mean(), G.body[0].weight)[0]

    def loss(D):
        return cross_entropy(D(real), D(G(z)))

    library = unrolling.unroll(D, torch.optim.SGD(D.parameters(), 0.2), loss, steps)
    torch.testing.assert_close(slope(notebook().unroll_sgd(D, 0.2, loss, steps)), slope(library))


def test_the_round_written_out_is_the_librarys_and_one_term_another():
    """After some rounds of D alone, one of G: the same D and losses, and without the second term another slope."""
    nb, slopes = notebook(), []
    written = nb.looking_ahead(3), nb.looking_ahead(3, seen=torch.Tensor.detach)
    for game in (replace(nb.PLAIN, unroll_steps=3), *written):
        players = [mlp_players((2,), seed=seed) for seed in range(2)]
        match = BatchedMatch(players, ring(), seeds=range(2), batch_size=64, lr_d=5e-3)
        for _ in range(5):
            nb.PLAIN.discriminator_move(match)
        losses = game(match)
        slopes.append(
            (*losses.values(), weights(match.D), torch.cat([w.grad.flatten() for w in match.G.parameters()]))
        )
    library, both, one = slopes
    for mine, theirs in zip(both, library, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)  # one pass of D or two: rounding
    assert (both[-1] - one[-1]).norm() > 0.01 * both[-1].norm()


def test_the_board_follows_its_sliders(monkeypatch):
    nb = notebook()
    moments = nb.STEPS // 50 + 1
    for name in ("colours", "shapes"):
        monkeypatch.setitem(everything(), name, {K: {"colours": "C0", "shapes": "o"}[name] for K in nb.DOSES})
    played = SimpleNamespace(
        samples=2 * torch.randn(moments, len(nb.SEEDS), 400, 2, generator=rng()),
        modes=np.random.default_rng(0).integers(0, 9, (moments, len(nb.SEEDS))), seconds=1.0,
    )  # fmt: skip
    monkeypatch.setitem(everything(), "runs", dict.fromkeys(nb.DOSES, played))
    names = dict(everything())
    exec(tagged(STEM, "widget")[0].replace("explore(live", "box = explore(live"), names)
    _, picture, message = names["box"].children
    seen = {picture.value}
    for name, value in (("step", 0), ("seed", 1), ("step", 250)):
        names["controls"][name].value = value
        seen.add(picture.value)
    assert len(seen) == 4 and not message.value


@pytest.mark.parametrize(
    ("number", "attempt"),
    [
        (0, "round_matrix = lambda a, eta, K: [[1 - a * eta * K, -a], [a, 1.0]]"),  # one term only
        (0, "round_matrix = lambda a, eta, K: [[1 - 2 * a * eta * K, a], [-a, 1.0]]"),
        (1, "radius = lambda a, eta, K: 1 - 2 * a * eta * K + a**2"),  # its square
        (1, "radius = lambda a, eta, K: (1 - a * eta * K + a**2) ** 0.5"),
        (3, "total_slope = lambda eta, K: 0.0"),  # without the second term
        (3, "total_slope = lambda eta, K: -1.0"),  # the limit
    ],
)
def test_a_wrong_answer_is_refused(number, attempt):
    assert answered(STEM, number, attempt, everything()).startswith("wrong")
