"""Many matches as one tensor program are the matches one by one."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ganlib.batched import BatchedMatch, stack
from ganlib.distributions import LINE, PLANAR, ring
from ganlib.games import GAMES, Game
from ganlib.images import IMAGES
from ganlib.metrics import modes_covered
from ganlib.networks import mlp_players
from ganlib.penalties import dragan
from ganlib.training import Match, evaluate, rounds, train

torch.set_num_threads(1)

GAME = GAMES["non-saturating"]
SEEDS = [0, 3, 11]


RULES = {
    "plain": GAME,
    "minimax": GAMES["minimax"],
    "least squares": GAMES["least-squares"],
    "n_critic 2": replace(GAMES["hinge"], n_critic=2),
    "penalty": GAMES["WGAN-GP"],
    "penalty, unrolled": replace(GAME, penalty=dragan(1.0), unroll_steps=2),
    "clipped": GAMES["WGAN"],
    "unrolled": replace(GAME, unroll_steps=3),
}


def new_players(data, seeds=SEEDS, **networks):
    return [mlp_players(data.shape, seed=seed, **networks) for seed in seeds]


def together(game, data, steps, seeds=SEEDS, networks=None, **settings):
    match = BatchedMatch(new_players(data, seeds, **(networks or {})), game, data, seeds=seeds, **settings)
    return match, list(rounds(match, steps=steps, every=5, n_samples=200))


def one_by_one(game, data, steps, seeds=SEEDS, networks=None, **settings):
    return [
        list(train(*players, game, data, steps=steps, every=5, n_samples=200, seed=seed, **settings))
        for seed, players in zip(seeds, new_players(data, seeds, **(networks or {})), strict=True)
    ]


def assert_same_runs(game, data, steps=50, tolerance=1e-4, **settings):
    """The same losses and samples at every step, to rounding; seeds that differ by far more than that."""
    _, shots = together(game, data, steps, **settings)
    runs = one_by_one(game, data, steps, **settings)
    for i, run in enumerate(runs):
        for shot, expected in zip(shots, run, strict=True):
            assert shot.step == expected.step
            assert shot.d_loss[i] == pytest.approx(expected.d_loss, abs=tolerance)
            assert shot.g_loss[i] == pytest.approx(expected.g_loss, abs=tolerance)
            torch.testing.assert_close(shot.samples[i], expected.samples, rtol=0, atol=tolerance)
        assert (run[-1].samples - run[0].samples).abs().max() > 100 * tolerance  # they have moved meanwhile
    for one, other in zip(runs, runs[1:], strict=False):
        assert (one[-1].samples - other[-1].samples).abs().max() > 100 * tolerance


# ---- numerically the same runs ---------------------------------------------------------------------------------
# float32 rounding grew to 2e-6 over these 50 steps; float64 rounding to 1e-14.


@pytest.mark.parametrize("game", RULES.values(), ids=RULES)
def test_the_runs_are_those_one_by_one(game):
    assert_same_runs(game, ring(), batch_size=64)


@pytest.mark.parametrize("game", RULES.values(), ids=RULES)
def test_they_agree_to_the_last_digits_in_double_precision(game):
    torch.set_default_dtype(torch.float64)
    try:
        assert_same_runs(game, ring(), steps=20, batch_size=64, tolerance=1e-11)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("data", (LINE | PLANAR).values(), ids=LINE | PLANAR)
def test_any_data(data):
    assert_same_runs(GAME, data(), steps=15, batch_size=32)


def test_images():
    name, load = next(iter(IMAGES.items()))
    assert_same_runs(GAME, load(), steps=10, batch_size=16, networks={"hidden": (32,)})


def test_networks_of_another_shape_and_settings():
    networks = {"hidden": (24,), "latent_dim": 3, "activation": nn.Tanh}
    assert_same_runs(GAME, ring(), networks=networks, batch_size=40, lr_g=3e-3, lr_d=2e-3, betas=(0.0, 0.9))


def test_one_seed_alone():
    assert_same_runs(GAME, ring(), seeds=[5], steps=20)


def test_a_run_does_not_depend_on_its_company():
    _, three = together(GAME, ring(), 20)
    _, alone = together(GAME, ring(), 20, seeds=SEEDS[1:2])
    torch.testing.assert_close(three[-1].samples[1], alone[-1].samples[0], rtol=0, atol=1e-5)


# ---- what a move gives, and what it leaves -----------------------------------------------------------------------


def test_shapes():
    match, shots = together(GAME, ring(), 2)
    assert match.discriminator_move().shape == match.generator_move().shape == (3,)
    assert match.fixed_latents(7).shape == (3, 7, 16)
    assert len(shots[0].d_loss) == 3 and shots[0].samples.shape == (3, 200, 2)
    assert evaluate(match.D, ring().means.expand(3, 8, 2)).shape == (3, 8)
    assert all(0 <= modes_covered(samples, ring()) <= 8 for samples in shots[-1].samples)


@pytest.mark.parametrize("game", RULES.values(), ids=RULES)
def test_a_move_changes_one_player_of_every_pair(game):
    match, _ = together(game, ring(), 1)

    def weights(network):
        return torch.cat([p.detach().flatten(1) for p in network.parameters()], 1)

    for move, moved, still in (("discriminator", match.D, match.G), ("generator", match.G, match.D)):
        before, other = weights(moved).clone(), weights(still).clone()
        getattr(match, f"{move}_move")()
        assert (weights(moved) != before).any(1).all() and torch.equal(weights(still), other)


def test_the_players_given_are_copied():
    players = new_players(ring())
    before = [p.detach().clone() for G, D in players for p in (*G.parameters(), *D.parameters())]
    match = BatchedMatch(players, GAME, ring(), seeds=SEEDS)
    match.discriminator_move()
    match.generator_move()
    after = [p for G, D in players for p in (*G.parameters(), *D.parameters())]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_global_randomness_is_left_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    _, first = together(GAME, ring(), 3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    _, second = together(GAME, ring(), 3)
    assert first[-1].d_loss == second[-1].d_loss


def test_a_stacked_network_is_its_networks():
    networks = [mlp_players((2,), seed=seed)[1] for seed in SEEDS]
    stacked = stack(networks)
    x = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    for i, network in enumerate(networks):
        torch.testing.assert_close(stacked(x)[i], network(x[i]))
        network.load_state_dict({name: -values[i] for name, values in stacked.state_dict().items()})
        for p, values in zip(network.parameters(), stacked.parameters(), strict=True):
            assert torch.equal(p, -values[i])


# ---- bad input -------------------------------------------------------------------------------------------------


def test_what_cannot_be_stacked_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        stack([])
    with pytest.raises(ValueError, match="of one shape"):
        stack([nn.Linear(2, 3), nn.Linear(2, 4)])
    with pytest.raises(ValueError, match="with a bias"):
        stack([nn.Linear(2, 3, bias=False)])
    with pytest.raises(ValueError, match="1 is BatchNorm1d"):
        stack([nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))])
    with pytest.raises(ValueError, match="0 is Conv2d"):
        stack([nn.Sequential(nn.Conv2d(1, 2, 3))])


@pytest.mark.parametrize("seeds", [[], [0], [0, 1, 2, 3]])
def test_a_seed_for_every_pair(seeds):
    with pytest.raises(ValueError, match="a seed for each pair"):
        BatchedMatch(new_players(ring()), GAME, ring(), seeds=seeds)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="lr_g"):
        BatchedMatch(new_players(ring()), GAME, ring(), seeds=SEEDS, lr_g=0.0)
    unknown = Game(GAME.objective, penalty=lambda D, real, fake, rng: D(real).mean())
    with pytest.raises(ValueError, match="a penalty of ganlib.penalties"):
        BatchedMatch(new_players(ring()), unknown, ring(), seeds=SEEDS)
    assert isinstance(Match(*mlp_players((2,)), unknown, ring()), Match)  # which is allowed
    match = BatchedMatch(new_players(ring()), GAME, ring(), seeds=SEEDS)
    for rules in (
        {"objective": GAMES["hinge"].objective},
        {"penalty": unknown.penalty},
        {"unroll_steps": -1},
    ):
        with pytest.raises(ValueError):
            match.change_rules(**rules)
    assert match.game.unroll_steps == 0 and match.game.penalty is None


# ---- devices ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", RULES.values(), ids=RULES)
def test_runs_where_the_default_device_is_another(game):
    """The networks live on the CPU and tensors are born on `meta` unless told otherwise: a GPU run, mirrored."""

    def run(device):
        players, data = new_players(ring()), ring()
        with torch.device(device):
            match = BatchedMatch(players, game, data, seeds=SEEDS, batch_size=16)
            return [shot[:3] for shot in rounds(match, steps=2, every=1, n_samples=5)]

    assert run("meta") == run("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("game", RULES.values(), ids=RULES)
def test_runs_on_a_gpu(game):
    players = [(G.cuda(), D.cuda()) for G, D in new_players(ring())]
    match = BatchedMatch(players, game, ring(), seeds=SEEDS, batch_size=16)
    for shot in rounds(match, steps=2, every=1, n_samples=5):
        assert shot.samples.is_cuda


# ---- runs that diverge -----------------------------------------------------------------------------------------


def test_one_run_that_diverges_does_not_end_the_others():
    players = new_players(ring())
    with torch.no_grad():
        players[1][1].body[0].weight.fill_(torch.nan)
    match = BatchedMatch(players, GAME, ring(), seeds=SEEDS)
    with pytest.warns(RuntimeWarning, match=f"seed {SEEDS[1]}: D's loss is not finite at step 1"):
        shots = list(rounds(match, steps=4, every=2))
    assert len(shots) == 2
    assert torch.tensor(shots[-1].d_loss).isfinite().tolist() == [True, False, True]
    assert [bool(x.isfinite().all()) for x in shots[-1].samples] == [True, False, True]
