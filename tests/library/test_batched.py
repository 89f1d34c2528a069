"""Many matches as one tensor program are the matches one by one."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from helpers import rng
from torch import nn

from ganlib.batched import BatchedMatch, play_seeds, stack
from ganlib.distributions import normal, ring
from ganlib.games import GAMES
from ganlib.images import digits
from ganlib.networks import dcgan_players, mlp, mlp_players
from ganlib.penalties import dragan
from ganlib.training import evaluate, rounds, train

GAME = GAMES["non-saturating"]
SEEDS = [0, 3, 11]
RULES = {
    "minimax": GAMES["minimax"],
    "n_critic 2": replace(GAMES["hinge"], n_critic=2),
    "penalty, unrolled": replace(GAME, penalty=dragan(1.0), unroll_steps=2),
    "clipped": GAMES["WGAN"],
    "unrolled": replace(GAME, unroll_steps=3),
}


class Minibatch(nn.Module):
    """D that judges a sample in its batch: stacked the plain way, its statistics would run over the seeds."""

    def __init__(self):
        super().__init__()
        self.body, self.head = mlp([2, 8, 8]), nn.Linear(9, 1)

    def forward(self, x):
        features = self.body(x)
        spread = features.std(0).mean().expand(len(x), 1)
        return self.head(torch.cat([features, spread], 1)).squeeze(1)


class Normed(nn.Module):
    """G with a batch norm, after a layer without the bias that it would cancel."""

    latent_dim = 16

    def __init__(self):
        super().__init__()
        linear = nn.Linear(16, 8, bias=False)
        self.body = nn.Sequential(linear, nn.BatchNorm1d(8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 2))

    def forward(self, z):
        return self.body(z)


def normed_players(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Normed(), Minibatch()


POINTS = partial(mlp_players, (2,))
PLAYERS = {  # what must be as good together as alone: (players, how the data are made, game)
    "batch, layer and minibatch norm": (normed_players, ring, GAME),
    "the same, looking ahead": (normed_players, ring, replace(GAME, unroll_steps=2)),
    "convolutions": (partial(dcgan_players, width=4), digits, GAME),
    "images": (partial(mlp_players, (1, 28, 28), hidden=(32,)), digits, GAME),
    "the line": (partial(mlp_players, (1,)), normal, GAME),
    "other sizes": (partial(POINTS, hidden=(24,), latent_dim=3, activation=nn.Tanh), ring, GAME),
}


def assert_same_runs(make, game, data, steps=20, tolerance=1e-4, seeds=SEEDS, **settings):
    """The same losses and samples at every step, to rounding; seeds that differ by far more than that."""
    settings = {"steps": steps, "every": 5, "n_samples": 20, "batch_size": 16, "lr_d": 2e-3} | settings
    shots = list(play_seeds(make, game, data, seeds, **settings))
    runs = [list(train(*make(seed=seed), game, data, seed=seed, **settings)) for seed in seeds]
    for i, run in enumerate(runs):
        for shot, expected in zip(shots, run, strict=True):
            assert shot.step == expected.step
            assert shot.d_loss[i] == pytest.approx(expected.d_loss, abs=tolerance)
            assert shot.g_loss[i] == pytest.approx(expected.g_loss, abs=tolerance)
            torch.testing.assert_close(shot.samples[i], expected.samples, rtol=0, atol=tolerance)
        assert (run[-1].samples - run[0].samples).abs().max() > 20 * tolerance  # they have moved meanwhile
    for one, other in zip(runs, runs[1:], strict=False):
        assert (one[-1].samples - other[-1].samples).abs().max() > 20 * tolerance


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


# ---- numerically the same runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("game", RULES.values(), ids=RULES)
def test_the_runs_are_those_one_by_one(game, float64):
    assert_same_runs(POINTS, game, ring(), tolerance=1e-10)


@pytest.mark.parametrize(("make", "data", "game"), PLAYERS.values(), ids=PLAYERS)
def test_any_players_and_data(make, data, game, float64):
    assert_same_runs(
        make, game, data(), steps=10, seeds=SEEDS[:2], tolerance=1e-7, lr_g=3e-3, betas=(0.0, 0.9)
    )


def test_a_run_does_not_depend_on_its_company():
    several, alone = (
        list(play_seeds(POINTS, GAME, ring(), seeds, steps=20))[-1] for seeds in (SEEDS, SEEDS[1:2])
    )
    torch.testing.assert_close(several.samples[1], alone.samples[0], rtol=0, atol=1e-5)


# ---- what a move gives, and what it leaves -----------------------------------------------------------------------


def new_match(**settings):
    return BatchedMatch([POINTS(seed=seed) for seed in SEEDS], ring(), seeds=SEEDS, **settings)


def test_shapes():
    match = new_match()
    losses = GAME(match)
    assert losses["D"].shape == losses["G"].shape == (3,)
    assert match.fixed_latents(7)[0].shape == (3, 7, 16) and match.draw_real()[0].shape == (3, 256, 2)
    shot = next(rounds(match, GAME, steps=1, n_samples=200))
    assert len(shot.d_loss) == 3 and shot.samples.shape == (3, 200, 2)
    assert evaluate(match.D, ring().means.expand(3, 8, 2)).shape == (3, 8)
    moved = match.per_run(lambda x, rng: x + torch.rand(len(x), 1, generator=rng), torch.zeros(3, 5, 2))
    assert moved.shape == (3, 5, 2) and len(moved.unique()) == 15  # a stream of its own for each


@pytest.mark.parametrize("game", RULES.values(), ids=RULES)
def test_a_move_changes_one_player_of_every_pair(game):
    match = new_match()

    def weights(network):
        return torch.cat([p.detach().flatten(1) for p in network.parameters()], 1)

    moves = (game.discriminator_move, match.D, match.G), (game.generator_move, match.G, match.D)
    for move, moved, still in moves:
        before, other = weights(moved).clone(), weights(still).clone()
        move(match)
        assert (weights(moved) != before).any(1).all() and torch.equal(weights(still), other)


def test_the_players_given_are_copied_and_global_randomness_is_left_alone():
    players = [POINTS(seed=seed) for seed in SEEDS]
    before = [p.detach().clone() for G, D in players for p in (*G.parameters(), *D.parameters())]
    state = torch.get_rng_state()
    GAME(BatchedMatch(players, ring(), seeds=SEEDS))
    after = [p for G, D in players for p in (*G.parameters(), *D.parameters())]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("make", [lambda seed: POINTS(seed=seed)[1], lambda seed: normed_players(seed)[1]])
def test_a_stacked_network_is_its_networks_and_comes_back(make):
    networks = [make(seed) for seed in SEEDS]
    stacked = stack(networks)
    x = torch.randn(3, 5, 2, generator=rng())
    for i, network in enumerate(networks):
        torch.testing.assert_close(stacked(x)[i], network(x[i]))
        values = stacked.state_dict().items()
        network.load_state_dict({name.removeprefix("network."): -value[i] for name, value in values})
        for p, value in zip(network.parameters(), stacked.parameters(), strict=True):
            assert torch.equal(p, -value[i])


# ---- bad input -------------------------------------------------------------------------------------------------


class Shifted(nn.Module):
    """A network with a constant that is no weight."""

    def __init__(self, shift):
        super().__init__()
        self.layer, self.shift = nn.Linear(2, 1), shift

    def forward(self, x):
        return self.layer(x) + self.shift


@pytest.mark.parametrize(
    ("networks", "says"),
    [
        ([], "at least one"),
        ([nn.Linear(2, 3), nn.Linear(2, 4)], "also in out_features"),
        ([nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Sequential(nn.Linear(2, 3), nn.Tanh())], "also in 1"),
        ([nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)], "negative_slope"),
        ([nn.Linear(2, 3), nn.Linear(2, 3).eval()], "training"),
        ([Shifted(1.0), Shifted(2.0)], "shift"),
        ([Shifted(torch.ones(2)), Shifted(torch.zeros(2))], "shift"),
    ],
)
def test_networks_that_differ_in_more_than_their_weights_are_refused(networks, says):
    with pytest.raises(ValueError, match=says):
        stack(networks)


@pytest.mark.parametrize("seeds", [[], [0], [0, 1, 2, 3]])
def test_a_seed_for_every_pair(seeds):
    with pytest.raises(ValueError, match="a seed for each of 3 pairs"):
        BatchedMatch([POINTS(seed=seed) for seed in SEEDS], ring(), seeds=seeds)


def test_bad_settings_are_refused():
    for bad, says in (({"lr_g": 0.0}, "lr_g"), ({"batch_size": 0}, "batch_size"), ({"lr_e": 1e-3}, "lr_e")):
        with pytest.raises(ValueError, match=says):
            new_match(**bad)
    with pytest.raises(ValueError, match="one number a run"):
        match = new_match()
        match.descend(match.D(match.draw_real()[0]).mean(), "D")  # the mean over the seeds too
    with pytest.raises(ValueError, match="one slice a run"):
        match.per_run(lambda x, rng: x, torch.zeros(5, 2))


# ---- devices ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", RULES.values(), ids=RULES)
def test_runs_where_the_default_device_is_another(game):
    """The networks live on the CPU and tensors are born on `meta` unless told otherwise: a GPU run, mirrored."""

    def run(device):
        players, data = [POINTS(seed=seed) for seed in SEEDS], ring()
        with torch.device(device):
            match = BatchedMatch(players, data, seeds=SEEDS, batch_size=16)
            return [shot[:2] for shot in rounds(match, game, steps=2, every=1, n_samples=5)]

    assert run("meta") == run("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("game", RULES.values(), ids=RULES)
def test_runs_on_a_gpu(game):
    players = [tuple(player.cuda() for player in POINTS(seed=seed)) for seed in SEEDS]
    match = BatchedMatch(players, ring(), seeds=SEEDS, batch_size=16)
    for shot in rounds(match, game, steps=2, every=1, n_samples=5):
        assert shot.samples.is_cuda


# ---- runs that diverge -----------------------------------------------------------------------------------------


def test_one_run_that_diverges_does_not_end_the_others():
    players = [POINTS(seed=seed) for seed in SEEDS]
    with torch.no_grad():
        players[1][1].body[0].weight.fill_(torch.nan)
    match = BatchedMatch(players, ring(), seeds=SEEDS)
    with pytest.warns(RuntimeWarning, match=f"seed {SEEDS[1]}: D's loss is not finite at step 1"):
        shots = list(rounds(match, GAME, steps=4, every=2))
    assert len(shots) == 2
    assert torch.tensor(shots[-1].d_loss).isfinite().tolist() == [True, False, True]
    assert [bool(x.isfinite().all()) for x in shots[-1].samples] == [True, False, True]
