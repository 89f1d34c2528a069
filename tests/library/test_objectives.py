"""Objectives against oracles: binary cross-entropy, optimal discriminators, divergences of small distributions.

The tests with an `objective` argument run on every entry of OBJECTIVES, also on one added tomorrow.
"""

import math

import pytest
import torch
from helpers import rng
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from ganlib.games import GAMES
from ganlib.objectives import OBJECTIVES, critic_difference, cross_entropy, hinge, least_squares

P = torch.tensor([6, 3, 2, 1], dtype=torch.float64) / 12  # two distributions on four points
Q = torch.tensor([1, 3, 6, 2], dtype=torch.float64) / 12


@pytest.fixture(params=OBJECTIVES)
def objective(request):
    return OBJECTIVES[request.param]


def logits(*shape, scale=3.0, seed=0):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=rng(seed))


def on_atoms(loss, at):
    """A discriminator's loss with logits `at` on four points, under P as real and Q as fake: each point stands
    in the batch as often as its probability says."""
    return loss(at.repeat_interleave((12 * P).long()), at.repeat_interleave((12 * Q).long()))


# ---- every objective -------------------------------------------------------------------------------------


def test_is_listed_by_its_name_and_is_a_game(objective):
    assert OBJECTIVES[objective.name] is objective
    assert GAMES[objective.name].objective is objective


def test_losses_are_finite_with_finite_gradients_at_any_logit(objective):
    t = torch.linspace(-100, 100, 401).requires_grad_()
    for loss in (objective.discriminator(t, t.flip(0)), objective.generator(t)):
        assert loss.shape == ()
        assert loss.isfinite()
        assert torch.autograd.grad(loss, t)[0].isfinite().all()


def test_losses_are_means_over_the_batch(objective):
    real, fake = logits(7, seed=1), logits(7, seed=2)
    twice = objective.discriminator(real.repeat(2), fake.repeat(2))
    torch.testing.assert_close(twice, objective.discriminator(real, fake))
    torch.testing.assert_close(objective.generator(fake.repeat(2)), objective.generator(fake))


def test_many_runs_at_once_have_a_loss_each(objective):
    real, fake = logits(3, 7, seed=1), logits(3, 7, seed=2)
    for loss, arguments in ((objective.discriminator, (real, fake)), (objective.generator, (fake,))):
        together, alone = loss(*arguments), [loss(*each) for each in zip(*arguments, strict=True)]
        torch.testing.assert_close(together, torch.stack(alone))


def test_discriminator_is_paid_for_telling_real_from_fake(objective):
    t = torch.linspace(-2, 0.9, 30, dtype=torch.float64)
    losses = torch.stack([objective.discriminator(s[None], -s[None]) for s in t])
    assert (losses.diff() < 0).all()


def test_generator_is_paid_for_being_believed_where_it_is_rejected(objective):
    rejected = torch.linspace(-3, -0.1, 30, dtype=torch.float64).requires_grad_()
    assert (torch.autograd.grad(objective.generator(rejected), rejected)[0] < 0).all()


# ---- cross-entropy: minimax and non-saturating -----------------------------------------------------------


def test_cross_entropy_is_binary_cross_entropy():
    real, fake = logits(50, seed=1), logits(50, seed=2)
    oracle = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    torch.testing.assert_close(cross_entropy(real, fake), oracle)


def test_generator_costs_are_binary_cross_entropies():
    fake = logits(50)
    ones, zeros = torch.ones_like(fake), torch.zeros_like(fake)
    torch.testing.assert_close(OBJECTIVES["minimax"].generator(fake), -bce(fake, zeros))
    torch.testing.assert_close(OBJECTIVES["non-saturating"].generator(fake), bce(fake, ones))


def test_cross_entropy_of_an_undecided_discriminator_is_log_4():
    assert cross_entropy(torch.zeros(5), torch.zeros(5)).item() == pytest.approx(math.log(4))


def test_minimax_is_zero_sum():
    """J(D) + J(G) is a term that G cannot touch: what one player gains through the fakes, the other loses."""
    real, fake = logits(50, seed=1), logits(50, seed=2).requires_grad_()
    minimax = OBJECTIVES["minimax"]
    total = minimax.discriminator(real, fake) + minimax.generator(fake)
    torch.testing.assert_close(total, bce(real, torch.ones_like(real)))
    assert torch.autograd.grad(total, fake)[0].abs().max() < 1e-15


def test_minimax_is_not_non_saturating():
    """Published code calls one by the other's name. At a confident rejection minimax's slope dies, -sigmoid(t),
    and the non-saturating one does not, -sigmoid(-t)."""
    t = torch.tensor([-10.0], dtype=torch.float64, requires_grad=True)
    slope = {
        n: torch.autograd.grad(OBJECTIVES[n].generator(t), t)[0].item() for n in ("minimax", "non-saturating")
    }
    assert slope["minimax"] == pytest.approx(-1 / (1 + math.exp(10)))
    assert slope["non-saturating"] == pytest.approx(-1 / (1 + math.exp(-10)))


def test_gradient_survives_confident_rejection():
    """log(sigmoid(t) + 1e-8), seen in published code, has gradient exactly 0 at logit -100; ours has -1."""
    t = torch.tensor([-100.0], requires_grad=True)
    published = -(torch.sigmoid(t) + 1e-8).log().mean()
    assert torch.autograd.grad(published, t)[0].item() == 0
    assert torch.autograd.grad(OBJECTIVES["non-saturating"].generator(t), t)[0].item() == pytest.approx(-1)


# ---- what a perfect discriminator reports ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "best"),
    [(cross_entropy, (P / Q).log()), (least_squares, (P - Q) / (P + Q))],
    ids=["cross-entropy", "least-squares"],
)
def test_gradient_is_zero_at_the_optimal_discriminator(loss, best):
    at = best.clone().requires_grad_()
    assert torch.autograd.grad(on_atoms(loss, at), at)[0].abs().max() < 1e-15
    for seed in range(5):  # and it is a minimum
        assert on_atoms(loss, best + logits(4, scale=0.1, seed=seed)) > on_atoms(loss, best)


def test_optimal_cross_entropy_is_log_4_less_two_jsd():
    middle = (P + Q) / 2
    jsd = ((P * (P / middle).log()).sum() + (Q * (Q / middle).log()).sum()) / 2
    torch.testing.assert_close(on_atoms(cross_entropy, (P / Q).log()), math.log(4) - 2 * jsd)


def test_optimal_least_squares_is_twice_the_harmonic_overlap():
    """Its factors of 1/2 and the targets 1 and -1: with D = (p - q) / (p + q) the cost is 2 p q / (p + q)."""
    torch.testing.assert_close(on_atoms(least_squares, (P - Q) / (P + Q)), 2 * (P * Q / (P + Q)).sum())


def test_generators_least_squares_cost_is_a_pearson_chi_squared():
    """With D optimal, E_p D^2 + E_q D^2 = chi^2(p + q || 2q) (Mao et al. 2017, theorem 1): 2C with b-c=1, b-a=2."""
    best = (P - Q) / (P + Q)
    generator = OBJECTIVES["least-squares"].generator
    both = 2 * generator(best.repeat_interleave((12 * P).long())) + 2 * generator(
        best.repeat_interleave((12 * Q).long())
    )
    torch.testing.assert_close(both, ((2 * Q - (P + Q)).square() / (P + Q)).sum())


def test_optimal_hinge_is_two_less_twice_the_total_variation():
    total_variation = (P - Q).abs().sum() / 2
    torch.testing.assert_close(on_atoms(hinge, (P - Q).sign()), 2 - 2 * total_variation)


def test_generators_hinge_has_no_margin():
    """G descends -D(G(z)) everywhere: relu(1 - D(G(z))) would stop paying it beyond 1 (Miyato et al. 2018, eq. 17)."""
    fake = torch.tensor([-2.0, 0.5, 3.0], requires_grad=True)
    assert torch.autograd.grad(OBJECTIVES["hinge"].generator(fake), fake)[0].tolist() == pytest.approx(
        [-1 / 3] * 3
    )


def test_critic_sees_differences_only():
    real, fake = logits(50, seed=1), logits(50, seed=2)
    torch.testing.assert_close(critic_difference(real + 7, fake + 7), critic_difference(real, fake))
    torch.testing.assert_close(critic_difference(real, fake), fake.mean() - real.mean())
