"""One round of a game: who moves, down which loss; and the variants that are a few lines: see VARIANTS."""

import dataclasses
from functools import partial
from statistics import mean

import pytest
import torch
from helpers import rng, weights
from torch import nn
from torch.nn.functional import softplus

from ganlib.batched import play_seeds
from ganlib.distributions import Cloud, labelled, ring
from ganlib.games import DIALS, GAMES, Game
from ganlib.networks import mlp, mlp_players
from ganlib.objectives import OBJECTIVES, cross_entropy
from ganlib.penalties import gradient_penalty
from ganlib.training import Match, latents, rounds, train

GAME = GAMES["non-saturating"]
SETTINGS = dict(batch_size=32)


def new_match(**settings) -> Match:
    return Match(mlp_players((2,)), ring(), **SETTINGS | settings)


# ---- Game ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
def test_a_move_changes_one_player(game):
    match = new_match()
    G, D = weights(match.G), weights(match.D)
    loss = game.discriminator_move(match)
    assert torch.equal(weights(match.G), G) and not torch.equal(weights(match.D), D)
    assert all(p.grad is None for p in match.G.parameters())  # D's move is not differentiated through G
    D = weights(match.D)
    other = game.generator_move(match)
    assert torch.equal(weights(match.D), D) and not torch.equal(weights(match.G), G)
    assert loss.shape == other.shape == () and not (loss.requires_grad or other.requires_grad)


@pytest.mark.parametrize("n_critic", [1, 3])
def test_a_round_is_n_critic_moves_of_d_and_one_of_g(n_critic):
    draws = []

    def draw(n, rng):
        draws.append(n)
        return ring().sample(n, rng)

    match = Match(mlp_players((2,)), Cloud(draw, (-3, 3)), **SETTINGS)
    draws.clear()
    losses = [dataclasses.replace(GAME, n_critic=n_critic)(match) for _ in range(4)]
    assert draws == [32] * 4 * n_critic and all(list(loss) == ["D", "G"] for loss in losses)


def replay(match: Match):
    """The batch that the first discriminator move of a match with seed 0 sees: real, fake and the stream behind."""
    stream = rng(0)
    real = match.data.sample(match.batch_size, stream)
    return real, match.G(latents(match.G, match.batch_size, stream)).detach(), stream


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_player_descends_its_own_loss(name):
    """Losses that change places, or the sign, fail here."""
    match, objective = new_match(), OBJECTIVES[name]
    real, fake, stream = replay(match)
    expected = objective.discriminator(match.D(real), match.D(fake))
    gradients = torch.autograd.grad(expected, list(match.D.parameters()))
    assert GAMES[name].discriminator_move(match) == expected
    assert all(torch.equal(p.grad, g) for p, g in zip(match.D.parameters(), gradients, strict=True))
    expected = objective.generator(match.D(match.G(latents(match.G, 32, stream))))
    gradients = torch.autograd.grad(expected, list(match.G.parameters()))
    assert GAMES[name].generator_move(match) == expected
    assert all(torch.equal(p.grad, g) for p, g in zip(match.G.parameters(), gradients, strict=True))


def test_the_penalised_loss_is_the_one_descended():
    """A published DRAGAN computes its penalised loss and never back-propagates it."""
    penalty, match = gradient_penalty(10.0), new_match()
    real, fake, stream = replay(match)
    plain = GAME.objective.discriminator(match.D(real), match.D(fake))
    expected = plain + penalty(match.D, real, fake, stream)
    gradients = torch.autograd.grad(expected, list(match.D.parameters()))
    loss = Game(GAME.objective, penalty=penalty).discriminator_move(match)
    assert loss == expected and loss != plain
    assert all(torch.equal(p.grad, g) for p, g in zip(match.D.parameters(), gradients, strict=True))


def test_the_constraint_holds_after_every_discriminator_move():
    match, calls = new_match(), []

    def clip(D):
        calls.append(weights(D).abs().max().item())
        for p in D.parameters():
            p.data.clamp_(-0.01, 0.01)

    game = Game(GAME.objective, constrain=clip)
    game.generator_move(match)
    assert calls == []
    for move in (1, 2):
        game.discriminator_move(match)
        assert len(calls) == move and weights(match.D).abs().max() <= 0.01
    assert calls[1] > 0.01  # the second move had left the box before it was clipped


def test_labels_reach_both_players_and_the_penalty():
    class Told(nn.Module):
        """D that counts what it is told."""

        def __init__(self):
            super().__init__()
            self.D, self.told = mlp_players((2,), n_given=8)[1], []

        def forward(self, x, label):
            self.told.append(tuple(label.shape))
            return self.D(x, label)

    G, D = mlp_players((2,), n_given=8)[0], Told()
    losses = GAMES["WGAN-GP"](Match((G, D), labelled(ring()), **SETTINGS))
    assert set(losses) == {"D", "G"} and set(D.told) == {(32, 8)}
    assert len(D.told) == 5 * 3 + 1  # real, fake and between, five times; and G's move


@pytest.mark.parametrize("name", DIALS)
def test_a_dial_stands_at_its_games_default(name):
    dial = DIALS[name]
    turned = dataclasses.replace(GAMES[name], **dial.rules(2 * dial.default))
    changed = {
        f.name for f in dataclasses.fields(Game) if getattr(turned, f.name) != getattr(GAMES[name], f.name)
    }
    assert changed == set(dial.rules(dial.default))
    match, other = new_match(), new_match()
    same = dataclasses.replace(GAMES[name], **dial.rules(dial.default))
    assert same(match) == GAMES[name](other)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"n_critic": 0}, "n_critic"),
        ({"n_critic": 1.5}, "n_critic"),
        ({"unroll_steps": -1}, "unroll_steps"),
        ({"unroll_steps": 10**9}, "unroll_steps"),
        ({"penalty": gradient_penalty}, "a penalty such as"),
        ({"objective": "minimax"}, "an objective"),
        ({"unroll_steps": 1, "constrain": lambda D: None}, "exclude each other"),
    ],
)
def test_bad_rules_are_refused(bad, says):
    with pytest.raises(ValueError, match=says):
        Game(**{"objective": GAME.objective} | bad)


# ---- variants: games that are a function -------------------------------------------------------------------------


def conditional():
    """cGAN (Mirza and Osindero 2014): the same Game; players and data differ."""
    return partial(mlp_players, (2,), n_given=8), labelled(ring()), GAME


def adversarial_autoencoder():
    """AAE (Makhzani et al. 2016): D judges codes."""

    def play(m):
        (x,) = m.draw_real()
        r = m.descend((m.G(m.encoder(x)) - x).square().mean(-1).mean(-1), "encoder", "G")
        d = m.descend(cross_entropy(m.D(m.draw_latents()), m.D(m.encoder(x).detach())), "D")
        e = m.descend(softplus(-m.D(m.encoder(x))).mean(-1), "encoder")
        return {"reconstruction": r, "D": d, "encoder": e}

    def make(seed):
        G, D = mlp_players((2,), latent_dim=2, seed=seed)
        return {"G": G, "D": D, "encoder": mlp_players((2,), latent_dim=2, seed=seed + 100)[0]}

    return make, ring(), play


def consensus(gamma=1.0):
    """Consensus optimisation (Mescheder et al. 2017, eq. 9): both players also descend half the squared field."""

    def play(m):
        (x,), fake, each = m.draw_real(), m.G(m.draw_latents()), (m.D, m.G)
        d, g = cross_entropy(m.D(x), m.D(fake)), softplus(-m.D(fake)).mean(-1)
        pairs = [(loss, list(player.parameters())) for loss, player in zip((d, g), each, strict=True)]
        v = [torch.autograd.grad(loss.sum(), weights, create_graph=True) for loss, weights in pairs]
        flat = list(zip(sum(v, ()), sum((weights for _, weights in pairs), []), strict=True))
        axes = d.dim()
        field = sum((s.detach() * w).flatten(axes).sum(-1) for s, w in flat)
        energy = sum(s.square().flatten(axes).sum(-1) for s, _ in flat) / 2
        m.descend(field + gamma * energy, "D", "G")
        return {"D": d.detach(), "G": g.detach()}

    return partial(mlp_players, (2,)), ring(), play


class Several(nn.Module):
    """k generators in one: sample i is made by generator i modulo k."""

    def __init__(self, k, latent_dim=4):
        super().__init__()
        self.latent_dim, self.k = latent_dim, k
        self.body = mlp([latent_dim + k, 16, 2])

    def forward(self, z):
        who = torch.arange(len(z), device=z.device) % self.k
        return self.body(torch.cat([z, torch.eye(self.k, device=z.device)[who]], 1))


def mixture_of_generators(beta=1.0, k=4):
    """MGAN (Hoang et al. 2018): a classifier C names the maker, and the generators are paid for being told apart."""

    def naming_cost(logits):
        sample = torch.arange(logits.shape[-2])
        return -logits.log_softmax(-1)[..., sample, sample % k].mean(-1)

    def play(m):
        (x,), fake = m.draw_real(), m.G(m.draw_latents())
        d = m.descend(cross_entropy(m.D(x), m.D(fake.detach())), "D")
        c = m.descend(naming_cost(m.C(fake.detach())), "C")
        g = m.descend(softplus(-m.D(fake)).mean(-1) + beta * naming_cost(m.C(fake)), "G")
        return {"D": d, "C": c, "G": g}

    def make(seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return {"G": Several(k), "D": mlp_players((2,), seed=seed)[1], "C": mlp([2, 16, k])}

    return make, ring(), play


VARIANTS = {f.__name__: f for f in (conditional, adversarial_autoencoder, consensus, mixture_of_generators)}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_a_variant_plays_through_rounds_alone_and_many_at_once(variant):
    make, data, game = variant()
    seeds = (0, 3)
    many = list(play_seeds(make, game, data, seeds, steps=6, every=3, n_samples=9, **SETTINGS))
    for i, seed in enumerate(seeds):
        alone = list(
            rounds(Match(make(seed=seed), data, seed=seed, **SETTINGS), game, steps=6, every=3, n_samples=9)
        )
        for one, other in zip(alone, many, strict=True):
            assert one.step == other.step and one.losses.keys() == other.losses.keys()
            for name in one.losses:
                assert other.losses[name][i] == pytest.approx(one.losses[name], abs=1e-4)
            torch.testing.assert_close(other.samples[i], one.samples, rtol=0, atol=1e-4)


def test_a_conditional_gan_goes_where_it_is_told():
    make, data, game = conditional()
    G, D = make(seed=0)
    shot = list(train(G, D, game, data, steps=400, every=400, batch_size=128, lr_g=2e-3, lr_d=2e-3))[-1]
    match = Match((G, D), data)
    _, label = match.fixed_latents(1000)
    asked = ring().means[label.argmax(1)]
    distance = (shot.samples - asked).norm(dim=1)
    assert mean((distance < 0.75).double().tolist()) > 0.8  # 0.75: half the way to the next mode
