"""A match and the loop: what a step changes and what it leaves, whose randomness it is, where tensors are born."""

import dataclasses
import math
from statistics import mean, median

import pytest
import torch
from helpers import rng, weights
from torch import nn
from torch.overrides import TorchFunctionMode

from ganlib.distributions import LINE, PLANAR, Cloud, drawn, labelled, normal, ring
from ganlib.games import GAMES, Game
from ganlib.images import IMAGES
from ganlib.networks import mlp_players
from ganlib.training import Match, evaluate, latents, rounds, train

GAME = GAMES["non-saturating"]
SETTINGS = dict(batch_size=32)


def new_match(seed=0, data=None, **settings) -> Match:
    return Match(mlp_players((2,)), data or ring(), seed=seed, **SETTINGS | settings)


def losses(seed=0, steps=20, data=None, game=GAME, **settings) -> list[tuple[float, float]]:
    G, D = mlp_players((2,))
    run = train(G, D, game, data or ring(), steps=steps, every=1, seed=seed, **SETTINGS | settings)
    return [(shot.d_loss, shot.g_loss) for shot in run]


# ---- what is drawn -----------------------------------------------------------------------------------------


def test_latents_are_standard_normal_in_the_type_of_the_weights():
    G = mlp_players((2,), latent_dim=3)[0].double()
    z = latents(G, 20_000, rng())
    assert z.shape == (20_000, 3) and z.dtype == torch.float64
    assert (z.mean(0).abs() < 5 / 20_000**0.5).all()  # five standard errors
    assert (z.square().mean(0).sub(1).abs() < 5 * (2 / 20_000) ** 0.5).all()


def test_a_minibatch_is_what_the_data_give():
    match = Match(mlp_players((2,), n_given=8), labelled(ring()), **SETTINGS)
    x, label = match.draw_real()
    assert x.shape == (32, 2) and torch.equal(label.argmax(1), torch.cdist(x, ring().means).argmin(1))
    assert match.draw_given()[0].shape == (32, 8)
    z, given = match.fixed_latents(7)
    again = match.fixed_latents(7)
    assert z.shape == (7, 16) and torch.equal(z, again[0]) and torch.equal(given, again[1])


def test_without_labels_nothing_is_given_and_nothing_drawn():
    match, other = new_match(), new_match()
    assert match.draw_given() == () and len(match.fixed_latents(7)) == 1
    assert torch.equal(match.draw_latents(), other.draw_latents())


def test_latents_may_come_from_elsewhere():
    source = ring(3)
    match = Match(mlp_players((2,), latent_dim=2), ring(), latents=source.sample, **SETTINGS)
    assert torch.equal(match.draw_latents(), source.sample(32, rng(0)))
    assert torch.equal(match.fixed_latents(5)[0], source.sample(5, rng(1)))


def test_per_run_hands_out_the_runs_own_stream():
    match, other = new_match(), new_match()
    drawn = match.per_run(lambda x, rng: x + torch.rand(len(x), generator=rng), torch.zeros(4))
    assert torch.equal(drawn, torch.rand(4, generator=rng(0)))
    assert not torch.equal(match.draw_latents(), other.draw_latents())  # the stream has moved on


# ---- a step ------------------------------------------------------------------------------------------------


def test_descend_is_a_step_of_the_named_player_and_of_nobody_else():
    match, copy = new_match(lr_d=3e-3), new_match(lr_d=3e-3)
    z, before = match.draw_latents(), weights(match.G)
    copy.D(copy.G(z)).square().mean(-1).backward()
    torch.optim.Adam(copy.D.parameters(), 3e-3, (0.5, 0.999)).step()
    loss = match.descend(match.D(match.G(z)).square().mean(-1), "D")
    assert loss.shape == () and not loss.requires_grad
    torch.testing.assert_close(weights(match.D), weights(copy.D), rtol=0, atol=1e-8)
    assert torch.equal(weights(match.G), before) and all(p.grad is None for p in match.G.parameters())


def test_descend_moves_several_players_down_one_loss():
    match = new_match(lr=1e-2)
    before = weights(match.G), weights(match.D)
    match.descend(match.D(match.G(match.draw_latents())).square().mean(-1), "G", "D")
    assert not torch.equal(weights(match.G), before[0]) and not torch.equal(weights(match.D), before[1])


def test_a_frozen_part_of_a_player_stays_frozen():
    match = new_match()
    first = match.D.body[0].weight.requires_grad_(False)
    before = first.clone()
    list(rounds(match, GAME, steps=3))
    assert torch.equal(first, before) and not first.requires_grad
    assert all(p.requires_grad for p in list(match.D.parameters())[1:])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_or_an_interrupt_leaves_the_players_ready_to_learn(error):
    """D used to stay frozen when G's move was interrupted."""

    def interrupted(logits):
        raise error

    game = Game(dataclasses.replace(GAME.objective, generator=interrupted))
    match = new_match()
    with pytest.raises(error):
        next(rounds(match, game, steps=1))
    assert all(p.requires_grad for player in match.players.values() for p in player.parameters())
    before = weights(match.D)
    next(rounds(match, GAME, steps=1))
    assert not torch.equal(weights(match.D), before)


@pytest.mark.parametrize("shape", [(32,), (1,)])
def test_a_loss_is_one_number_a_run(shape):
    match = new_match()
    loss = match.D(match.draw_real()[0]).mean() * torch.ones(shape)
    with pytest.raises(ValueError, match="one number a run"):
        match.descend(loss, "D")


def test_evaluate_leaves_the_network_as_it_was():
    """Also its batch-norm statistics and the mode of each layer, and after an error."""
    G = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4))
    G[1].eval()  # one part of it only
    before = {name: value.clone() for name, value in G.state_dict().items()}
    for mode in (True, False):
        G.training = mode
        samples = evaluate(G, torch.ones(5, 3))
        assert not samples.requires_grad
        with pytest.raises(RuntimeError):
            evaluate(G, torch.ones(5, 7))
        assert [layer.training for layer in G.modules()] == [mode, True, False, True]
        assert all(torch.equal(value, before[name]) for name, value in G.state_dict().items())


# ---- the loop ----------------------------------------------------------------------------------------------


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
        assert torch.equal(shot.samples, evaluate(G, latents(G, 7, rng(1))))  # the fixed latents of seed 0
        assert list(shot.losses) == ["D", "G"] and all(isinstance(v, float) for v in shot.losses.values())
        assert (shot.d_loss, shot.g_loss) == (shot.losses["D"], shot.losses["G"])
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
    differentiating them and using global randomness leaves the run bitwise what it is when looked at twice, at fewer
    samples."""

    def run(every, watch, n_samples):
        G, D = mlp_players((2,))
        for shot in train(G, D, GAME, ring(), steps=50, every=every, n_samples=n_samples, **SETTINGS):
            watch(shot, G, D)
        return weights(G), weights(D)

    def stare(shot, G, D):
        samples = evaluate(G, torch.randn(10, G.latent_dim))
        D(samples).sum().backward()  # fills D's .grad, which its next move must clear
        G(torch.randn(10, G.latent_dim)).sum().backward()
        shot.samples.zero_()

    watched, unwatched = run(1, stare, 1000), run(50, lambda *_: None, 7)
    assert torch.equal(watched[0], unwatched[0]) and torch.equal(watched[1], unwatched[1])


# ---- bad input ---------------------------------------------------------------------------------------------


class Sampler:
    def __init__(self, draw):
        self.sample = draw


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"steps": 0}, "steps"),
        ({"every": 2.5}, "every"),
        ({"n_samples": 0}, "n_samples"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"lr_g": 0.0}, "lr_g"),
        ({"lr_d": math.nan}, "lr_d"),
        ({"lr": 2.0}, "lr must"),
        ({"lr_e": 1e-3}, "lr_g, lr_d; got lr_e"),
        ({"seed": 1.5}, "seed"),
        ({"game": "minimax"}, "expected a game"),
        ({"data": ring}, r"sample\(n, rng\)"),
        ({"data": normal()}, "data's shape"),
        ({"data": Sampler(lambda n, rng: torch.zeros(n - 1, 2))}, "to give 2 samples"),
        ({"data": Sampler(lambda n, rng: torch.zeros(n, 2).double())}, "float32"),
        ({"data": Sampler(lambda n, rng: torch.full((n, 2), math.nan))}, "finite"),
        ({"G": mlp_players((2,))[1]}, "latent_dim"),
        ({"data": labelled(ring())}, "take z and the 1 things"),
        ({"G": mlp_players}, "G: expected a network"),
        ({"D": nn.Sequential(nn.Linear(2, 1), nn.Dropout(0.5))}, "Dropout"),
        ({"D": nn.Flatten(0)}, "weights to learn"),
        ({"D": mlp_players((2,))[1].double()}, "of one type"),
        ({"D": nn.Linear(2, 3)}, "one logit a sample"),
        ({"D": nn.Linear(2, 1)}, "one logit a sample"),
    ],
)
def test_what_cannot_play_is_refused(bad, says):
    G, D = mlp_players((2,))
    given = {"G": G, "D": D, "game": GAME, "data": ring(), "steps": 1} | bad
    with pytest.raises(ValueError, match=says):
        next(train(**given))


def test_players_need_a_g_and_names_that_are_free():
    G, D = mlp_players((2,))
    for players, says in (({"D": D}, "named G"), ({"G": G, "data": D}, "free"), ([G, D], "a pair")):
        with pytest.raises(ValueError, match=says):
            Match(players, ring())


def test_a_sampler_that_gives_too_few_is_caught_in_play():
    match = new_match(data=Cloud(lambda n, rng: ring().sample(min(n, 20), rng), (-3, 3)))
    with pytest.raises(ValueError, match="to give 32 samples, got 20"):
        match.draw_real()


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


ALL_DATA = LINE | PLANAR | IMAGES | {"drawn": lambda: drawn([[0, 1]])}


def run_through(data, game=GAME):
    G, D = mlp_players(data.shape)
    with Explicit():
        return list(train(G, D, game, data, steps=2, every=1, n_samples=5, **SETTINGS))


@pytest.mark.parametrize("data", ALL_DATA.values(), ids=ALL_DATA)
def test_every_tensor_has_an_explicit_device_and_generator_for_any_data(data):
    assert len(run_through(data())) == 2


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
def test_every_tensor_has_an_explicit_device_and_generator_for_any_game(game):
    assert len(run_through(ring(), game)) == 2


@pytest.mark.parametrize(
    "draw",
    [
        lambda n, rng: torch.randn(n, 2),
        lambda n, rng: torch.randn(n, 2, generator=rng),
        lambda n, rng: torch.empty(n, 2, device=rng.device).normal_(),
    ],
)
def test_a_careless_sampler_is_caught(draw):
    with pytest.raises(AssertionError, match="without (device|generator)="):
        run_through(Cloud(draw, (-1, 1)))


@pytest.mark.parametrize("data", ALL_DATA.values(), ids=ALL_DATA)
def test_runs_where_the_default_device_is_another(data):
    """The networks live on the CPU and tensors are born on `meta` unless told otherwise: a GPU run, mirrored.
    Whatever is born in the wrong place cannot meet the networks, and the run is bitwise the ordinary one."""

    def run(device):
        G, D = mlp_players(data().shape)
        sampler = data()
        with torch.device(device):
            return [s[:2] for s in train(G, D, GAME, sampler, steps=2, every=1, n_samples=5, **SETTINGS)]

    assert run("meta") == run("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("data", ALL_DATA.values(), ids=ALL_DATA)
def test_runs_on_a_gpu(data):
    data = data()
    G, D = (player.cuda() for player in mlp_players(data.shape))
    for shot in train(G, D, GAME, data, steps=2, every=1, n_samples=5, **SETTINGS):
        assert shot.samples.is_cuda and math.isfinite(shot.d_loss)


# ---- learning ----------------------------------------------------------------------------------------------


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


# ---- runs that diverge -------------------------------------------------------------------------------------


class Exploding(nn.Module):
    """D whose logits turn into infinity from its `at`-th round on: three passes a round."""

    def __init__(self, at):
        super().__init__()
        self.weight, self.passes, self.at = nn.Parameter(torch.ones(2)), 0, at

    def forward(self, x):
        self.passes += 1
        return x @ self.weight * (math.inf if self.passes > 3 * (self.at - 1) else 1.0)


def test_a_run_that_diverges_says_which_player_and_when_and_keeps_its_snapshots():
    run = train(mlp_players((2,))[0], Exploding(at=8), GAME, ring(), steps=20, every=3)
    says = r"seed 0: D's loss is not finite at step 8: .* smaller learning rate"
    with pytest.warns(RuntimeWarning, match=says):
        snapshots = list(run)
    assert [s.step for s in snapshots] == [3, 6]
    assert all(s.samples.isfinite().all() for s in snapshots)


def test_the_player_whose_loss_is_lost_first_is_named():
    broken = dataclasses.replace(GAME.objective, generator=lambda logits: logits.mean(-1) * math.nan)
    with pytest.warns(RuntimeWarning, match="G's loss is not finite at step 1"):
        assert list(train(*mlp_players((2,)), Game(broken), ring(), steps=4, every=2)) == []


def test_a_run_that_goes_well_warns_of_nothing(recwarn):
    assert len(list(train(*mlp_players((2,)), GAME, ring(), steps=4, every=2))) == 2
    assert not [w for w in recwarn if w.category is RuntimeWarning]
