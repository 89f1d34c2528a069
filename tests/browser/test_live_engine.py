"""The engine of the page's lab, in the browser, against PyTorch: from the same weights, on the same batches, one move
of each player."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import ROOT, rng

from ganlib.distributions import LINE, PLANAR, drawn
from ganlib.games import GAMES
from ganlib.lab.widget import ACTIVATIONS
from ganlib.networks import mlp_players
from ganlib.training import Match

ENGINE = ROOT / "tools" / "site" / "live" / "engine.js"
OBJECTIVES = ["minimax", "non-saturating", "least-squares", "hinge", "WGAN"]
N, LATENTS, HIDDEN, LR = 19, 5, (7, 7), 2e-3  # no multiples of the engine's blocks
MOVES = """({ settings, G, D, batches }) => {
  const match = new Match({ ...settings, data: DATA[settings.data] });
  for (const [network, given] of [[match.G, G], [match.D, D]])
    network.weights().forEach((weights, i) => weights.value.set(given[i]));
  const losses = batches.map(({ x, z, other }) =>
    [match.moveD(Float64Array.from(x), Float64Array.from(z)), match.moveG(Float64Array.from(other))]);
  const all = network => network.weights().flatMap(weights => [...weights.value]);
  return { losses, G: all(match.G), D: all(match.D) }; }"""


@pytest.fixture(scope="module")
def engine(browser_context):
    page = browser_context.new_page()
    page.add_script_tag(path=ENGINE)
    yield page
    page.close()


def flat(network) -> list[list[float]]:
    return [p.detach().flatten().tolist() for p in network.parameters()]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_move_of_each_player_is_pytorchs(engine, name, activation):
    """Twice, as in the second round Adam has a past. Losses and weights agree to 1e-5; all but tanh to 1e-8."""
    # The engine's own tanh is right to 1e-8. Adam enlarges rounding where a gradient is 0, as of a critic's last bias.
    tolerance = 1e-5 if activation == "tanh" else 1e-8
    data = "1-D mixture" if name == "hinge" else "ring"
    sampler = (LINE | PLANAR)[data]()
    kind = ACTIVATIONS[activation]
    players = mlp_players(sampler.shape, latent_dim=LATENTS, hidden=HIDDEN, activation=kind, seed=3)
    G, D = (player.double() for player in players)
    before = flat(G), flat(D)
    stream, batches = rng(5), []
    for _ in range(2):
        z, other = torch.randn(2, N, LATENTS, generator=stream, dtype=torch.double)
        batches.append({"x": sampler.sample(N, stream).double(), "z": z, "other": other})

    match = Match((G, D), _Double(sampler), batch_size=N, lr=LR)
    game, expected = replace(GAMES[name], n_critic=1), []
    for batch in batches:
        match.draw_real = lambda batch=batch: (batch["x"],)
        match.draw_latents = iter([batch["z"], batch["other"]]).__next__
        losses = game(match)
        expected.append([losses["D"].item(), losses["G"].item()])

    settings = {
        "data": data, "objective": game.objective.name, "activation": activation, "width": HIDDEN[0], "n": N,
        "depth": len(HIDDEN), "latents": LATENTS, "rateD": LR, "rateG": LR,
    }  # fmt: skip
    if game.constrain:
        settings["c"] = 0.3
    given = [{key: value.flatten().tolist() for key, value in batch.items()} for batch in batches]
    found = engine.evaluate(MOVES, {"settings": settings, "G": before[0], "D": before[1], "batches": given})
    np.testing.assert_allclose(found["losses"], expected, rtol=tolerance)
    for network, old, new in ((G, before[0], found["G"]), (D, before[1], found["D"])):
        np.testing.assert_allclose(new, sum(flat(network), []), rtol=tolerance, atol=1e-4 * tolerance)
        moved = np.abs(np.subtract(new, sum(old, []))) > LR / 10
        assert moved.mean() > 0.25, moved.mean()  # Adam moves a weight by about the rate; of dead ReLUs none


class _Double:
    """The data as numbers of 64 bits, which the engine's are."""

    def __init__(self, data):
        self._data, self.shape = data, data.shape

    def sample(self, n, rng):
        return self._data.sample(n, rng).double()


def test_the_data_are_those_of_the_package(engine):
    """The mixtures number by number; the others by means of 20,000 samples of both."""
    engine.evaluate("() => { DATA.drawn = drawn([[1, 0.5], [-1, 2]]); }")
    script = """name => { const { means, sigma, extent } = DATA[name], rng = new Random(1);
        const samples = Array.from({ length: 20000 }, () => DATA[name].draw(rng));
        return JSON.stringify({ means, sigma, extent, samples }) }"""
    here = {name: make() for name, make in (LINE | PLANAR).items()}
    here["drawn"] = drawn([[1.0, 0.5], [-1.0, 2.0]], extent=(-3.0, 3.0))
    for name, data in here.items():
        found = json.loads(engine.evaluate(script, name))
        assert found["extent"] == pytest.approx(data.extent)
        if hasattr(data, "means"):
            apart = torch.cdist(torch.tensor(found["means"], dtype=torch.float), data.means)
            assert apart.shape == (len(data.means),) * 2 and apart.min(0).values.max() < 1e-6
            assert [found["sigma"]] * len(data.means) == pytest.approx(data.sigmas.tolist())

        def moments(x):
            return np.concatenate([x.mean(0), (x**2).mean(0), (x**4).mean(0), np.abs(x[:, :1] * x).mean(0)])

        expected, found = (
            moments(np.asarray(x)) for x in (data.sample(20000, rng()).double(), found["samples"])
        )
        np.testing.assert_allclose(found, expected, atol=0.05, rtol=0.05, err_msg=name)


def test_chance_repeats_and_is_fair(engine):
    draws = """seed => { const rng = new Random(seed);
      return JSON.stringify(Array.from({ length: 20000 }, () => rng.normal())) }"""
    first, again, other = (np.array(json.loads(engine.evaluate(draws, seed))) for seed in (4, 4, 5))
    assert (first == again).all()
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.03
    assert (
        abs(first.mean()) < 0.03 and abs(first.std() - 1) < 0.02 and 0.94 < (abs(first) < 1.96).mean() < 0.96
    )
