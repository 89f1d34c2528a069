"""One move, and the loop: what changes, what does not, and where tensors are born."""

import dataclasses
import math
from statistics import mean, median

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ganlib.distributions import LINE, PLANAR, Cloud, drawn, normal, ring
from ganlib.games import GAMES, Game
from ganlib.images import IMAGES
from ganlib.networks import mlp_players
from ganlib.training import Match, evaluate, latents, train

torch.set_num_threads(1)  # the fastest for networks of this size

GAME = GAMES["non-saturating"]
SETTINGS = dict(batch_size=32)


def weights(player: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in player.parameters()])


def new_match(game=GAME, seed=0, **settings) -> Match:
    return Match(*mlp_players((2,)), game, ring(), seed=seed, **SETTINGS | settings)


def losses(seed=0, steps=20, data=None, game=GAME, **settings) -> list[tuple[float, float]]:
    G, D = mlp_players((2,))
    run = train(G, D, game, data or ring(), steps=steps, every=1, seed=seed, **SETTINGS | settings)
    return [(shot.d_loss, shot.g_loss) for shot in run]


# ---- one move --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
def test_a_move_changes_one_player(game):
    match = new_match(game)
    G, D = weights(match.G), weights(match.D)
    match.discriminator_move()
    assert torch.equal(weights(match.G), G) and not torch.equal(weights(match.D), D)
    assert all(p.grad is None for p in match.G.parameters())  # D's move is not differentiated through G
    D = weights(match.D)
    match.generator_move()
    assert torch.equal(weights(match.D), D) and not torch.equal(weights(match.G), G)


def test_a_generator_move_leaves_the_discriminator_ready_to_learn():
    match = new_match()
    match.generator_move()
    assert all(p.requires_grad for p in match.D.parameters())
    D = weights(match.D)
    match.discriminator_move()
    assert not torch.equal(weights(match.D), D)


def test_latents_are_standard_normal():
    z = latents(mlp_players((2,), latent_dim=3)[0], 20_000, torch.Generator().manual_seed(0)).double()
    assert z.shape == (20_000, 3)
    assert (z.mean(0).abs() < 5 / 20_000**0.5).all()  # five standard errors
    assert (z.square().mean(0).sub(1).abs() < 5 * (2 / 20_000) ** 0.5).all()


def test_losses_carry_no_graph():
    match = new_match()
    for loss in (match.discriminator_move(), match.generator_move()):
        assert loss.shape == () and not loss.requires_grad


def replay(match: Match):
    """The batch that the first discriminator move of a match with seed 0 sees: real, fake and the stream behind."""
    rng = torch.Generator().manual_seed(0)
    real = match.data.sample(match.batch_size, rng)
    return real, match.G(latents(match.G, match.batch_size, rng)).detach(), rng


def test_discriminator_descends_its_objective():
    match = new_match()
    real, fake, _ = replay(match)
    expected = GAME.objective.discriminator(match.D(real), match.D(fake))
    gradients = torch.autograd.grad(expected, list(match.D.parameters()))
    assert match.discriminator_move() == expected
    for parameter, gradient in zip(match.D.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=0)


def test_the_penalised_loss_is_the_one_descended():
    """A published DRAGAN computes its penalised loss and never back-propagates it."""

    def penalty(D, real, fake, rng):  # depends on all it is given
        eps = torch.rand(len(real), 1, generator=rng)
        return 10 * D(eps * real + (1 - eps) * fake).square().mean()

    match = new_match(Game(GAME.objective, penalty=penalty))
    real, fake, rng = replay(match)
    plain = GAME.objective.discriminator(match.D(real), match.D(fake))
    expected = plain + penalty(match.D, real, fake, rng)
    gradients = torch.autograd.grad(expected, list(match.D.parameters()))
    loss = match.discriminator_move()
    assert loss == expected and loss != plain
    for parameter, gradient in zip(match.D.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=0)


def test_the_constraint_holds_after_every_discriminator_move():
    calls = []

    def clip(D):
        calls.append(weights(D).abs().max().item())
        for p in D.parameters():
            p.data.clamp_(-0.01, 0.01)

    match = new_match(Game(GAME.objective, constrain=clip))
    match.generator_move()
    assert calls == []
    for move in (1, 2):
        match.discriminator_move()
        assert len(calls) == move and weights(match.D).abs().max() <= 0.01
    assert calls[1] > 0.01  # the second move had left the box before it was clipped


def test_evaluate_leaves_the_network_as_it_was():
    """Also its batch-norm statistics, its mode and its gradients."""
    G = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before = {name: value.clone() for name, value in G.state_dict().items()}
    for mode in (True, False):
        samples = evaluate(G.train(mode), torch.ones(5, 3))
        assert G.training is mode and not samples.requires_grad
        assert all(torch.equal(value, before[name]) for name, value in G.state_dict().items())


# ---- the loop --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_critic", [1, 3])
def test_each_round_has_n_critic_discriminator_moves(n_critic):
    draws, ring_ = [], ring()

    def draw(n, rng):
        draws.append(n)
        return ring_.sample(n, rng)

    losses(steps=4, data=Cloud(draw, ring_.extent), game=Game(GAME.objective, n_critic=n_critic))
    assert draws == [SETTINGS["batch_size"]] * 4 * n_critic


def test_snapshots_come_every_so_often_and_at_the_end():
    def steps(**settings):
        return [s.step for s in train(*mlp_players((2,)), GAME, ring(), n_samples=7, **SETTINGS, **settings)]

    assert steps(steps=7, every=3) == [3, 6, 7]
    assert steps(steps=6, every=3) == [3, 6]
    assert steps(steps=2, every=50) == [2]


def test_snapshots_hold_values_of_the_networks_at_that_step():
    G, D = mlp_players((2,))
    shots = []
    for shot in train(G, D, GAME, ring(), steps=6, every=3, n_samples=7, **SETTINGS):
        z = latents(G, 7, torch.Generator().manual_seed(1))  # the fixed latents of seed 0
        assert torch.equal(shot.samples, evaluate(G, z))
        assert isinstance(shot.d_loss, float) and isinstance(shot.g_loss, float)
        shots.append(shot)
    assert not torch.equal(shots[0].samples, shots[1].samples)  # a snapshot keeps its own


def test_same_seed_same_losses_bitwise():
    assert losses(seed=3) == losses(seed=3)
    assert losses(seed=3) != losses(seed=4)


def test_the_run_has_randomness_of_its_own():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = losses()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert losses() == first


def test_watching_does_not_change_training():
    """GAN Lab trains one iteration more on pause. Ours: looking at every round, drawing from both networks,
    differentiating them and using global randomness leaves the run bitwise what it is when looked at twice."""

    def run(every, watch):
        G, D = mlp_players((2,))
        for shot in train(G, D, GAME, ring(), steps=50, every=every, **SETTINGS):
            watch(shot, G, D)
        return weights(G), weights(D)

    def stare(shot, G, D):
        samples = evaluate(G, torch.randn(10, G.latent_dim))
        D(samples).sum().backward()  # fills D's .grad, which its next move must clear
        G(torch.randn(10, G.latent_dim)).sum().backward()
        shot.samples.zero_()

    watched, unwatched = run(1, stare), run(50, lambda *_: None)
    assert torch.equal(watched[0], unwatched[0]) and torch.equal(watched[1], unwatched[1])


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": 0},
        {"steps": -5},
        {"every": 0},
        {"batch_size": 0},
        {"batch_size": -1},
        {"batch_size": 2.5},
        {"lr_g": 0.0},
        {"lr_d": -1e-3},
        {"lr_g": 2.0},
        {"lr_d": math.nan},
    ],
    ids=str,
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        next(train(*mlp_players((2,)), GAME, ring(), **{"steps": 1} | bad))


@pytest.mark.parametrize("n_critic", [0, -1, 1.5, "2"])
def test_bad_n_critic_is_refused(n_critic):
    with pytest.raises(ValueError, match="n_critic"):
        Game(GAME.objective, n_critic=n_critic)


# ---- where tensors are born --------------------------------------------------------------------------------
# A GPU run trips over a tensor made without `device=`, and a run is repeatable only if every random number
# comes from its own generator. Both are checked here without a GPU.

RANDOM = {
    torch.rand, torch.randn, torch.randint, torch.randperm, torch.normal, torch.multinomial, torch.bernoulli,
    torch.rand_like, torch.randn_like, torch.randint_like, torch.dropout, torch.nn.functional.dropout,
    torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.bernoulli_, torch.Tensor.random_,
    torch.Tensor.exponential_, torch.Tensor.multinomial, torch.Tensor.bernoulli,
}  # fmt: skip
BORN = {
    torch.rand, torch.randn, torch.randint, torch.randperm, torch.empty, torch.zeros, torch.ones, torch.full,
    torch.eye, torch.arange, torch.linspace, torch.logspace, torch.tensor, torch.as_tensor, torch.from_numpy,
}  # fmt: skip


class Explicit(TorchFunctionMode):
    """Refuses a tensor made without `device=`, and a random one made without `generator=`."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in BORN and kwargs.get("device") is None:
            raise AssertionError(f"{function.__name__} without device=")
        if function in RANDOM and kwargs.get("generator") is None:
            raise AssertionError(f"{function.__name__} without generator=")
        return function(*args, **kwargs)


def penalty(D, real, fake, rng):
    eps = torch.rand(len(real), *[1] * (real.dim() - 1), generator=rng, device=rng.device)
    return D(eps * real + (1 - eps) * fake).square().mean()


ALL_DATA = LINE | PLANAR | IMAGES | {"drawn": lambda: drawn([[0, 1]])}
ALL_GAMES = GAMES | {"penalised": Game(GAME.objective, n_critic=2, penalty=penalty)}


def run_through(data, game):
    G, D = mlp_players(data.shape)
    with Explicit():
        return list(train(G, D, game, data, steps=2, every=1, n_samples=5, **SETTINGS))


@pytest.mark.parametrize("data", ALL_DATA.values(), ids=ALL_DATA)
def test_every_tensor_has_an_explicit_device_and_generator_for_any_data(data):
    assert len(run_through(data(), GAME)) == 2


@pytest.mark.parametrize("game", ALL_GAMES.values(), ids=ALL_GAMES)
def test_every_tensor_has_an_explicit_device_and_generator_for_any_game(game):
    assert len(run_through(ring(), game)) == 2


@pytest.mark.parametrize(
    "draw",
    [
        lambda n, rng: torch.randn(n, 2),
        lambda n, rng: torch.randn(n, 2, generator=rng),
        lambda n, rng: torch.randn(n, 2, device=rng.device),
        lambda n, rng: torch.empty(n, 2, device=rng.device).normal_(),
        lambda n, rng: torch.zeros(n, 2),
    ],
)
def test_a_careless_sampler_is_caught(draw):
    with pytest.raises(AssertionError, match="without (device|generator)="):
        run_through(Cloud(draw, (-1, 1)), GAME)


@pytest.mark.parametrize("data", ALL_DATA.values(), ids=ALL_DATA)
def test_runs_where_the_default_device_is_another(data):
    """The networks live on the CPU and tensors are born on `meta` unless told otherwise: a GPU run, mirrored.
    Whatever is born in the wrong place cannot meet the networks, and the run is bitwise the ordinary one."""

    def run(device):
        G, D = mlp_players(data().shape)
        sampler = data()
        with torch.device(device):
            return [s[:3] for s in train(G, D, GAME, sampler, steps=2, every=1, n_samples=5, **SETTINGS)]

    assert run("meta") == run("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("data", ALL_DATA.values(), ids=ALL_DATA)
def test_runs_on_a_gpu(data):
    data = data()
    G, D = (player.cuda() for player in mlp_players(data.shape))
    for shot in train(G, D, GAME, data, steps=2, every=1, n_samples=5, **SETTINGS):
        assert shot.samples.is_cuda and math.isfinite(shot.d_loss)


# ---- learning --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["minimax", "non-saturating"])
def test_a_normal_on_the_line_is_learned(name):
    """N(2, 0.5^2) from about N(0, 0.2^2) in 400 rounds. The last 100 are averaged, as the players circle.
    Over 12 seeds the mean was between 1.90 and 2.06, the deviation in the median 0.44 and 0.48."""
    means, deviations = [], []
    for seed in range(5):
        G, D = mlp_players((1,), latent_dim=4, hidden=(32, 32), seed=seed)
        settings = dict(steps=400, every=20, batch_size=128, lr_g=2e-3, lr_d=4e-3, seed=seed)
        shots = list(train(G, D, GAMES[name], normal(2.0, 0.5), **settings))
        means.append(mean(shot.samples.mean().item() for shot in shots[-5:]))
        deviations.append(mean(shot.samples.std().item() for shot in shots[-5:]))
    assert median(means) == pytest.approx(2.0, abs=0.1)
    assert median(deviations) == pytest.approx(0.5, abs=0.15)


# ---- runs that diverge -----------------------------------------------------------------------------------------


class Exploding(nn.Module):
    """D whose logits turn into infinity at its `at`-th move."""

    def __init__(self, at):
        super().__init__()
        self.weight, self.moves, self.at = nn.Parameter(torch.ones(2)), 0, at

    def forward(self, x):
        if torch.is_grad_enabled() and self.weight.requires_grad:
            self.moves += 1  # two passes a move: real and fake
        return x @ self.weight * (math.inf if self.moves >= 2 * self.at else 1.0)


def test_a_run_that_diverges_says_which_player_and_when_and_keeps_its_snapshots():
    G = mlp_players((2,))[0]
    run = train(G, Exploding(at=8), GAME, ring(), steps=20, every=3)
    with pytest.warns(
        RuntimeWarning, match=r"seed 0: D's loss is not finite at step 8: .* smaller learning rate"
    ):
        snapshots = list(run)
    assert [s.step for s in snapshots] == [3, 6]
    assert all(s.samples.isfinite().all() for s in snapshots)


def test_the_player_whose_loss_is_lost_first_is_named():
    broken = dataclasses.replace(GAME.objective, generator=lambda logits: logits.mean() * math.nan)
    with pytest.warns(RuntimeWarning, match="G's loss is not finite at step 1"):
        assert list(train(*mlp_players((2,)), Game(broken), ring(), steps=4, every=2)) == []


def test_a_run_that_goes_well_warns_of_nothing(recwarn):
    assert len(list(train(*mlp_players((2,)), GAME, ring(), steps=4, every=2))) == 2
    assert not [w for w in recwarn if w.category is RuntimeWarning]
