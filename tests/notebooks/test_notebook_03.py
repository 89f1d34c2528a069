"""Notebook 03: its Algorithm 1 is the library's `train`, its claims hold on other seeds, and its exercises
tell right answers from wrong ones."""

import functools
import math
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from notebook_code import definitions
from torch import nn
from torch.nn.functional import logsigmoid, softplus
from torch.nn.utils import parameters_to_vector

from ganlib import training
from ganlib.checks import check
from ganlib.distributions import moons, ring
from ganlib.games import Game
from ganlib.lab import Lab
from ganlib.metrics import modes_covered
from ganlib.networks import mlp_players
from ganlib.objectives import OBJECTIVES

matplotlib.use("Agg")
LOG4 = math.log(4)


@functools.cache
def notebook() -> SimpleNamespace:
    """The notebook's imports, functions, classes and a few constants, without its experiments. `train` is the one
    that the notebook writes out, not the one that it imports afterwards."""
    constants = {
        "LOG2", "LOG4", "DATA_1D", "NETS_1D", "PLAY_1D", "EDGES", "CENTRES", "SEEDS", "RING", "LOGITS", "COUNTS",
        "right_round", "right_move",
    }  # fmt: skip
    namespace = definitions("03_vanilla_gan", constants, leave_out=("solution",))
    namespace["own_train"], namespace["train"] = namespace["train"], training.train
    assert namespace["own_train"] is not training.train
    return SimpleNamespace(**namespace)


def weights(*players: nn.Module) -> torch.Tensor:
    return parameters_to_vector([weight for player in players for weight in player.parameters()]).detach()


def verdict(capsys, attempt, against, on, tolerance=1e-6) -> str:
    """What `check` says."""
    capsys.readouterr()
    check(attempt, against=against, on=on, tolerance=tolerance)
    return capsys.readouterr().out


# ---- Algorithm 1 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("data", [ring, moons])
@pytest.mark.parametrize(("objective", "k"), [("minimax", 1), ("non-saturating", 1), ("minimax", 3)])
def test_train_of_the_notebook_is_the_librarys_bit_for_bit(objective, k, data, activation):
    settings = dict(steps=25, every=4, n_samples=11, batch_size=32, lr_g=2e-3, lr_d=5e-4, seed=5)
    nb = notebook()
    loss = {"minimax": nb.minimax, "non-saturating": nb.non_saturating}[objective]
    ours = mlp_players((2,), activation=activation, seed=5)
    our_shots = list(nb.own_train(*ours, data(), loss, k=k, **settings))
    theirs = mlp_players((2,), activation=activation, seed=5)
    game = Game(OBJECTIVES[objective], n_critic=k)
    their_shots = list(training.train(*theirs, game, data(), **settings))
    assert [s[:3] for s in our_shots] == [s[:3] for s in their_shots]
    assert [s.step for s in our_shots] == [4, 8, 12, 16, 20, 24, 25]
    assert all(torch.equal(a.samples, b.samples) for a, b in zip(our_shots, their_shots, strict=True))
    assert torch.equal(weights(*ours), weights(*theirs))


def test_the_two_defaults_agree():
    ours, theirs = mlp_players((2,), seed=1), mlp_players((2,), seed=1)
    for _ in notebook().own_train(*ours, ring(), notebook().non_saturating, steps=3):
        pass
    for _ in training.train(*theirs, Game(OBJECTIVES["non-saturating"]), ring(), steps=3):
        pass
    assert torch.equal(weights(*ours), weights(*theirs))


def test_the_costs_of_the_generator_are_the_papers():
    """log(1 - D) and -log D, written with the sigmoid, in float64 where that is harmless."""
    logits = torch.linspace(-8, 8, 101, dtype=torch.float64)
    D = torch.sigmoid(logits)
    assert notebook().minimax(logits).item() == pytest.approx(torch.log(1 - D).mean().item(), abs=1e-12)
    assert notebook().non_saturating(logits).item() == pytest.approx(-torch.log(D).mean().item(), abs=1e-12)


@pytest.mark.parametrize("batch_size", [1, 64])
def test_detach_leaves_ds_gradient_as_it_is(batch_size):
    nb = notebook()
    (G_with, D_with), (G_without, D_without) = (
        nb.discriminator_gradient(detach, batch_size) for detach in (True, False)
    )
    assert torch.equal(nb.gradients(D_with), nb.gradients(D_without))
    assert all(weight.grad is None for weight in G_with.parameters())
    assert nb.gradients(G_without).abs().max() > 1e-3


def test_the_lab_plays_the_run_of_its_twin():
    """Figure 3.6 and the lab with its starting settings: the same weights after the same number of rounds."""
    G, D = mlp_players((2,), activation=nn.Tanh)
    for _ in training.train(G, D, Game(OBJECTIVES["non-saturating"]), ring(), steps=30, every=30):
        pass
    lab = Lab(data="ring", objective="non-saturating", lr_g=1e-3, lr_d=1e-3, k=1, seed=0)
    lab.advance(30)
    assert torch.equal(weights(lab.G, lab.D), weights(G, D))


# ---- the bound -------------------------------------------------------------------------------------------------


def random_bins(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    p, q = 10 ** (3 * torch.rand(2, 40, generator=rng, dtype=torch.float64))
    return p / p.sum(), q / q.sum()


@pytest.mark.parametrize("seed", range(10))
def test_the_bound_is_below_the_jsd_and_meets_it_at_the_best_d(seed):
    nb, (p, q) = notebook(), random_bins(seed)
    best = p.log() - q.log()
    wrong = best + torch.randn(40, generator=torch.Generator().manual_seed(seed))
    jsd = nb.jsd_of_bins(p, q)
    assert nb.bound_of_bins(p, q, best) == pytest.approx(jsd, abs=1e-12)
    assert nb.bound_of_bins(p, q, wrong) < jsd - 1e-3
    assert nb.bound_of_bins(p, q, torch.zeros(40).double()) == pytest.approx(0, abs=1e-12)


def test_jsd_of_bins_knows_its_extremes():
    p, q = torch.tensor([0.5, 0.5, 0.0]).double(), torch.tensor([0.0, 0.0, 1.0]).double()
    assert notebook().jsd_of_bins(p[:2], p[:2]) == 0
    assert notebook().jsd_of_bins(p, q) == pytest.approx(math.log(2), abs=1e-12)


def test_shares_count_every_number_once():
    nb = notebook()
    x = torch.tensor([-7.0, -0.99, 1.0 + 1e-4, 1.01, 9.0])
    shares = nb.shares(x)
    assert shares.sum().item() == pytest.approx(1)
    assert shares[[0, 80, -1]].tolist() == pytest.approx([0.4, 0.4, 0.2])


def test_a_further_trained_d_leaves_the_run_alone():
    nb = notebook()
    G, D = mlp_players((1,), **nb.NETS_1D)
    before = weights(G, D)
    better = nb.train_further(G, D, moves=3)
    assert torch.equal(weights(G, D), before)
    assert not torch.equal(weights(better), weights(D))


# ---- statistics, on other seeds than the notebook's ---------------------------------------------------------


def play(players, data, seeds, **settings):
    from ganlib.batched import BatchedMatch

    steps, every = settings.pop("steps"), settings.pop("every")
    match = BatchedMatch(players, Game(OBJECTIVES["non-saturating"]), data, seeds=seeds, **settings)
    return list(training.rounds(match, steps=steps, every=every, n_samples=2000))


def test_a_normal_distribution_is_learned():
    """Over 12 seeds: means 0.93 to 1.04, deviations 0.45 to 0.52."""
    nb, seeds = notebook(), range(20, 26)
    players = [mlp_players((1,), **nb.NETS_1D, seed=seed) for seed in seeds]
    shots = play(players, nb.DATA_1D, seeds, steps=500, every=5, **nb.PLAY_1D)[-20:]
    samples = torch.stack([shot.samples for shot in shots])
    assert (samples.mean(dim=(0, 2, 3)) - 1).abs().max() < 0.12
    assert (samples.std(dim=2).mean(dim=(0, 2)) - 0.5).abs().max() < 0.12


def test_a_slow_discriminator_finds_fewer_modes_and_looks_undecided():
    """Over 18 seeds, six at a time, the median was 1 to 3 for the slow D, 8 for the balanced one."""
    seeds = range(6, 12)
    players = [mlp_players((2,), activation=nn.Tanh, seed=seed) for seed in seeds]
    settings = dict(steps=400, every=20, batch_size=128, lr_g=2e-3)
    slow, even = (play(players, ring(), seeds, lr_d=lr_d, **settings) for lr_d in (5e-4, 2e-3))
    modes = [[modes_covered(samples, ring()) for samples in shots[-1].samples] for shots in (slow, even)]
    assert np.median(modes[0]) <= 4 and np.median(modes[1]) >= 6
    d_loss = [np.mean([shot.d_loss for shot in shots[-5:]], axis=0) for shots in (slow, even)]
    assert np.abs(d_loss[0] - LOG4).max() < 0.02
    assert d_loss[1].mean() < d_loss[0].min()


# ---- the exercises, right and wrong ------------------------------------------------------------------------


def round_with(g_loss, detach=True, zero=True, stale=False):
    """A round of minimax, with the generator's loss and some more ways to get it wrong."""

    def one_round(match):
        G, D, n = match.G, match.D, match.batch_size
        real = match.data.sample(n, match.rng)
        fake = G(training.latents(G, n, match.rng))
        d_loss = softplus(-D(real)).mean() - logsigmoid(-D(fake.detach() if detach else fake)).mean()
        match.opt_d.zero_grad()
        d_loss.backward(retain_graph=not detach or stale)
        match.opt_d.step()
        fresh = training.latents(G, n, match.rng)
        loss = g_loss(D(fake if stale else G(fresh)))
        if zero:
            match.opt_g.zero_grad()
        loss.backward()
        match.opt_g.step()
        return d_loss.item(), loss.item()

    return one_round


MINIMAX_ROUNDS = {
    "as BCE": lambda t: -nn.functional.binary_cross_entropy_with_logits(t, torch.zeros(len(t))),
    "as softplus": lambda t: -softplus(t).mean(),
    "as log(1 - sigmoid)": lambda t: torch.log(1 - torch.sigmoid(t)).mean(),
}


@pytest.mark.parametrize("loss", MINIMAX_ROUNDS.values(), ids=MINIMAX_ROUNDS)
def test_exercise_1a_accepts_every_way_to_write_minimax(loss, capsys):
    nb = notebook()
    said = verdict(capsys, nb.weights_after(round_with(loss)), nb.right_round, range(3), 1e-5)
    assert said.startswith("right")


@pytest.mark.parametrize(
    "wrong",
    [
        dict(g_loss=lambda t: softplus(-t).mean()),
        dict(g_loss=lambda t: softplus(t).mean()),
        dict(g_loss=lambda t: -softplus(t).mean(), detach=False, zero=False),
        dict(g_loss=lambda t: -softplus(t).mean(), stale=True),
        dict(g_loss=lambda t: -softplus(t).sum()),
    ],
    ids=["non-saturating", "ascends", "no detach, no zero_grad", "stale fakes", "a sum"],
)
def test_exercise_1a_rejects(wrong, capsys):
    nb = notebook()
    said = verdict(capsys, nb.weights_after(round_with(**wrong)), nb.right_round, range(3), 1e-5)
    assert said.startswith("wrong")


def test_the_planted_bugs_are_found_wrong(capsys):
    nb = notebook()
    even, pauses = nb.closest_when_even, nb.with_a_pause(None)
    for attempt, against, on in (
        (nb.weights_after(nb.one_round), nb.right_round, range(3)),
        (nb.slopes(nb.safe_loss), nb.true_slopes, nb.LOGITS),
        (nb.closest(nb.circle), even, [3, 8, 25]),
        (nb.weights_after(nb.penalised_move), nb.right_move, range(3)),
        (nb.with_a_pause(nb.pause), pauses, range(3)),
    ):
        assert verdict(capsys, attempt, against, on, 1e-4).startswith("wrong")


@pytest.mark.parametrize(
    ("loss", "start"),
    [
        (lambda t: -logsigmoid(t).mean(), "right"),
        (lambda t: torch.nn.functional.binary_cross_entropy_with_logits(t, torch.ones(len(t))), "right"),
        (lambda t: -torch.log(torch.sigmoid(t) + 1e-30).mean(), "wrong"),
        (lambda t: -torch.log(torch.sigmoid(t)).mean(), "wrong"),
        (lambda t: -torch.log(torch.sigmoid(t).clamp(1e-8)).mean(), "wrong"),
        (lambda t: -softplus(t).mean(), "wrong"),
        (lambda t: softplus(-t).sum(), "wrong"),
    ],
)
def test_exercise_1b(loss, start, capsys):
    nb = notebook()
    assert verdict(capsys, nb.slopes(loss), nb.true_slopes, nb.LOGITS).startswith(start)


def on_circle(angles):
    return 2 * torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.mark.parametrize(
    ("centres", "start"),
    [
        (lambda n: on_circle(torch.linspace(0, 2 * math.pi, n + 1)[:-1]), "right"),
        (lambda n: on_circle(0.3 + torch.arange(n) * 2 * math.pi / n), "right"),
        (lambda n: ring(n).means, "right"),
        (lambda n: on_circle(torch.linspace(0, 2 * math.pi, n)[:-1]), "wrong"),
        (lambda n: on_circle(torch.linspace(0, 2 * math.pi, n + 1)), "wrong"),
        (lambda n: on_circle(torch.linspace(0, 2 * math.pi * (n - 1), n) / n) / 2, "wrong"),
    ],
)
def test_exercise_1c(centres, start, capsys):
    nb = notebook()
    said = verdict(capsys, nb.closest(centres), nb.closest_when_even, [3, 8, 25], 1e-4)
    assert said.startswith(start)


def penalised(descended):
    def move(match):
        G, D, n = match.G, match.D, match.batch_size
        real = match.data.sample(n, match.rng)
        fake = G(training.latents(G, n, match.rng)).detach()
        d_loss = softplus(-D(real)).mean() + softplus(D(fake)).mean()
        loss = descended(d_loss, 0.01 * parameters_to_vector(D.parameters()).square().sum())
        match.opt_d.zero_grad()
        loss.backward()
        match.opt_d.step()
        return loss.item()

    return move


@pytest.mark.parametrize(
    ("descended", "start"),
    [
        (lambda loss, penalty: loss + penalty, "right"),
        (lambda loss, penalty: loss, "wrong"),
        (lambda loss, penalty: penalty, "wrong"),
        (lambda loss, penalty: loss - penalty, "wrong"),
    ],
)
def test_exercise_1d(descended, start, capsys):
    nb = notebook()
    attempt = nb.weights_after(penalised(descended))
    assert verdict(capsys, attempt, nb.right_move, range(3), 1e-5).startswith(start)


def looks_with_no_grad(G, run, z):
    with torch.no_grad():
        return G(z)


def other_latents(G, run, z):
    return training.evaluate(G, torch.randn(z.shape, generator=torch.Generator().manual_seed(99)))


@pytest.mark.parametrize(
    ("button", "start"),
    [
        (looks_with_no_grad, "right"),
        (lambda G, run, z: G(z), "right"),
        (lambda G, run, z: next(run).samples, "wrong"),
        (lambda G, run, z: (next(run), training.evaluate(G, z))[1], "wrong"),
        (other_latents, "wrong"),
    ],
)
def test_exercise_1e(button, start, capsys):
    nb = notebook()
    assert verdict(capsys, nb.with_a_pause(button), nb.with_a_pause(None), range(3)).startswith(start)


@pytest.mark.parametrize(
    ("answer", "start"),
    [
        (lambda m, n: LOG4 - 2 * (math.log(2) + (m / n * math.log(m / (m + n)) + math.log(n / (m + n))) / 2), "right"),
        (lambda m, n: LOG4 * m / n, "wrong"),
        (lambda m, n: LOG4, "wrong"),
        (lambda m, n: (-m / n * math.log(m / (m + n)) - math.log(n / (m + n))) / 2, "wrong"),
        (lambda m, n: ..., "not attempted"),
    ],
)  # fmt: skip
def test_exercise_2(answer, start, capsys):
    nb = notebook()
    assert verdict(capsys, answer, nb.by_search, nb.COUNTS, 1e-3).startswith(start)


@pytest.mark.parametrize(("m", "n"), [(1, 3), (3, 4), (7, 8), (10, 10)])
def test_the_search_of_exercise_2_finds_the_formula(m, n):
    assert notebook().by_search(m, n) == pytest.approx(
        -m / n * math.log(m / (m + n)) - math.log(n / (m + n)), abs=1e-4
    )
