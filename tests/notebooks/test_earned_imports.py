"""What a notebook imports from ganlib's taught modules it has earned: an earlier cell or notebook wrote it out in full.

EARNED and OBJECTIVES_EARNED say where. For each name one test shows that the notebook's own definition and the
library's agree; the last tests show that no notebook takes anything else, or takes it before.
"""

import ast
import math
from pathlib import Path

import pytest
import torch
from helpers import rng, weights
from notebook_code import bound_by, taught, written_out
from torch import nn

from ganlib import metrics, networks, objectives, penalties, training, unrolling
from ganlib.distributions import GaussianMixture, grid, moons, ring
from ganlib.games import Game
from ganlib.networks import dcgan_players, mlp_players
from ganlib.objectives import OBJECTIVES

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
LESSONS = [path.stem for path in sorted(FOLDER.glob("[0-9][0-9]_*.ipynb")) if not path.stem.startswith("00_")]

TAUGHT = {"objectives", "penalties", "unrolling", "metrics", "training"}
HOLDERS = {
    "OBJECTIVES",
    "Objective",
    "Penalty",
    "Match",
    "rounds",
    "Snapshot",
    "evaluate",
    "latents",
}  # teach nothing
EARNED = {  # name in ganlib: the notebook that writes it out
    "cross_entropy": "01_adversarial_game",
    "jsd": "02_optimal_discriminator",
    "train": "03_vanilla_gan",
    "up": "05_dcgan",
    "down": "05_dcgan",
    "DCGenerator": "05_dcgan",
    "DCDiscriminator": "05_dcgan",
    "init_dcgan": "05_dcgan",
    "frechet_distance": "05_dcgan",
    "modes_covered": "06_mode_collapse",
    "high_quality": "06_mode_collapse",
    "wasserstein": "07_distances",
    "clip_weights": "08_wgan",
    "gradient_penalty": "08_wgan",
    "dragan": "10_games_and_dynamics",
    "r1": "10_games_and_dynamics",
    "unroll": "09_unrolled_gan",
}
OBJECTIVES_EARNED = {  # name of an objective: the notebook that writes out what is new in it
    "minimax": "03_vanilla_gan",
    "non-saturating": "03_vanilla_gan",
    "least-squares": "04_non_saturating_gan",
    "hinge": "04_non_saturating_gan",
    "wasserstein": "08_wgan",
}
TOO_EARLY = {
    ("03_vanilla_gan", "modes_covered"),
    ("03_vanilla_gan", "high_quality"),
}  # debts: none may be added


# ---- the notebook's definition and the library's agree -----------------------------------------------------


def test_cross_entropy():
    (mine,) = written_out("01_adversarial_game", "cross_entropy")
    for seed in range(5):
        real, fake = 30 * torch.randn(2, 64, generator=rng(seed), dtype=torch.float64)
        assert torch.equal(mine(real, fake), objectives.cross_entropy(real, fake))


@pytest.mark.parametrize(
    ("name", "notebook", "d_cost", "g_cost"),
    [
        ("minimax", "03_vanilla_gan", None, "minimax"),  # the cost of D: cross_entropy, above
        ("non-saturating", "03_vanilla_gan", None, "non_saturating"),
        ("least-squares", "04_non_saturating_gan", "least_squares", "least_squares_generator"),
        ("hinge", "04_non_saturating_gan", "hinge", "hinge_generator"),
        (
            "wasserstein",
            "08_wgan",
            "critic_loss",
            None,
        ),  # G's: minus the mean, the part of it that contains G
    ],
)
def test_objectives(name, notebook, d_cost, g_cost):
    real, fake = 3 * torch.randn(2, 64, generator=rng(), dtype=torch.float64)
    if d_cost:
        mine = written_out(notebook, d_cost)[0](real, fake)
        torch.testing.assert_close(mine, OBJECTIVES[name].discriminator(real, fake), rtol=1e-12, atol=0)
    if g_cost:
        mine = written_out(notebook, g_cost)[0](fake)
        torch.testing.assert_close(mine, OBJECTIVES[name].generator(fake), rtol=1e-12, atol=0)


def test_jsd():
    (mine,) = written_out("02_optimal_discriminator", "jsd")
    one, two = GaussianMixture([[0.0], [2.0]], [0.6, 0.9]), GaussianMixture([[1.0]], 0.5)

    def density(mixture):
        return lambda x: mixture.log_prob(torch.tensor([[x]], dtype=torch.float64)).exp().item()

    edges = [-math.inf, *range(-6, 9), math.inf]
    for p, q in ((one, one), (one, two), (two, one)):
        p, q = density(p), density(q)
        assert mine(p, q, edges) == pytest.approx(metrics.jsd(p, q, edges), abs=1e-10)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize(("name", "k", "data"), [("minimax", 1, moons), ("non-saturating", 3, ring)])
def test_train_bit_for_bit(name, k, data, activation):
    mine, *losses = written_out("03_vanilla_gan", "train", "minimax", "non_saturating")
    loss = losses[name != "minimax"]
    settings = dict(steps=25, every=4, n_samples=11, batch_size=32, lr_g=2e-3, lr_d=5e-4, seed=5)
    ours, theirs = (mlp_players((2,), activation=activation, seed=5) for _ in range(2))
    our_shots = list(mine(*ours, data(), loss, k=k, **settings))
    their_shots = list(training.train(*theirs, Game(OBJECTIVES[name], n_critic=k), data(), **settings))
    assert [s.step for s in our_shots] == [s.step for s in their_shots] == [4, 8, 12, 16, 20, 24, 25]
    for one, other in zip(our_shots, their_shots, strict=True):
        assert (one.d_loss, one.g_loss) == (other.d_loss, other.g_loss)
        assert torch.equal(one.samples, other.samples)
    assert all(torch.equal(weights(a), weights(b)) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", ["up", "down"])
def test_blocks(name):
    theirs, mine = getattr(networks, name)(6, 4), written_out("05_dcgan", name)[0](6, 4)
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(5, 6, 8, 8, generator=rng())
    assert torch.equal(mine(x), theirs(x))


@pytest.mark.parametrize("mode", [True, False], ids=["training", "evaluation"])
def test_dcgan_players(mode):
    G, D = dcgan_players(width=8, latent_dim=12, seed=3)
    my_g, my_d = written_out("05_dcgan", "DCGenerator", "DCDiscriminator")
    my_g, my_d = my_g(latent_dim=12, width=8), my_d(width=8)
    my_g.load_state_dict(G.state_dict())  # names and shapes must be the same
    my_d.load_state_dict(D.state_dict())
    for player in (G, D, my_g, my_d):
        player.train(mode)
    z = torch.randn(6, 12, generator=rng())
    torch.testing.assert_close(my_g(z), G(z), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(my_d(G(z)), D(G(z)), rtol=1e-4, atol=1e-6)


def test_init_dcgan():
    *classes, init = written_out("05_dcgan", "DCGenerator", "DCDiscriminator", "init_dcgan")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        players = [player() for player in classes]
        players = [init(player) for player in players]
    for mine, theirs in zip(players, dcgan_players(seed=5), strict=True):
        assert all(map(torch.equal, mine.state_dict().values(), theirs.state_dict().values()))


def test_frechet_distance():
    (mine,) = written_out("05_dcgan", "frechet_distance")
    mix = torch.randn(6, 6, generator=rng(9))
    for seed in range(3):
        one, two = torch.randn(2, 200, 6, generator=rng(seed))
        two = two @ mix + seed
        assert float(mine(one, two)) == pytest.approx(float(metrics.frechet_distance(one, two)), rel=1e-3)


@pytest.mark.parametrize("mixture", [ring(), grid()], ids=["ring", "grid"])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.15, 1.0])
def test_modes_and_quality(mixture, noise):
    modes_covered, high_quality = written_out("06_mode_collapse", "modes_covered", "high_quality")
    samples = mixture.sample(3000, rng(1)) + noise * torch.randn(3000, 2, generator=rng(2))
    for part in (samples, samples[:40], samples[samples[:, 0] > 0.5], samples[:0]):
        assert modes_covered(part, mixture) == metrics.modes_covered(part, mixture)
        assert high_quality(part, mixture) == pytest.approx(metrics.high_quality(part, mixture))


@pytest.mark.parametrize(("n", "m", "d"), [(9, 9, 2), (7, 12, 2), (8, 8, 1), (6, 11, 1), (5, 9, 3)])
def test_wasserstein(n, m, d):
    x, y = torch.randn(n, d, generator=rng(0)).numpy(), torch.randn(m, d, generator=rng(1)).numpy()
    (mine,) = written_out("07_distances", "wasserstein")
    assert mine(x, y) == pytest.approx(metrics.wasserstein(x, y), abs=1e-9)


@pytest.mark.parametrize(
    "name, settings", [("gradient_penalty", (3.0,)), ("dragan", (3.0, 0.2)), ("r1", (3.0,))]
)
def test_penalties(name, settings):
    mine, theirs = written_out(EARNED[name], name)[0](*settings), getattr(penalties, name)(*settings)
    for seed in range(3):
        D = mlp_players((2,), seed=seed)[1].double()
        real, fake = torch.randn(2, 32, 2, generator=rng(seed), dtype=torch.float64)
        one, other = (penalty(D, real, fake, rng(seed)) for penalty in (mine, theirs))
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
        inner = list(D.parameters())[:-1]  # the last bias moves no slope
        for a, b in zip(*(torch.autograd.grad(p, inner) for p in (one, other)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_clip_weights():
    (mine,) = written_out("08_wgan", "clip_weights")
    for c in (0.01, 0.1, 1.0):
        one, other = (mlp_players((2,))[1] for _ in range(2))
        mine(c)(one), penalties.clip_weights(c)(other)
        assert all(map(torch.equal, one.parameters(), other.parameters()))


@pytest.mark.parametrize("moves", [0, 7], ids=["fresh", "running"])
@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_unroll(activation, steps, moves):
    """The gradient that G gets through the look-ahead, with D's Adam fresh and after some moves."""
    G, D = (p.double() for p in mlp_players((2,), latent_dim=3, hidden=(8, 8), activation=activation))
    real, z = ring().sample(32, rng()).double(), torch.randn(32, 3, generator=rng()).double()
    optimiser = torch.optim.Adam(D.parameters(), 5e-3, (0.5, 0.999))
    for _ in range(moves):
        optimiser.zero_grad()
        objectives.cross_entropy(D(real), D(G(z).detach())).backward()
        optimiser.step()

    def slope(look):
        opponent = look(D, optimiser, lambda D: objectives.cross_entropy(D(real), D(G(z))), steps)
        loss = nn.functional.softplus(-opponent(G(z))).mean()
        return torch.cat([slope.flatten() for slope in torch.autograd.grad(loss, list(G.parameters()))])

    mine = slope(*written_out("09_unrolled_gan", "unroll"))
    torch.testing.assert_close(mine, slope(unrolling.unroll), rtol=1e-9, atol=1e-12)
    assert mine.norm() > 1e-4


# ---- and nothing else is imported, nor before that ---------------------------------------------------------


def imports(source: str) -> set[tuple[str, str]]:
    """(module of ganlib, name) for each thing that a cell imports from ganlib."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "ganlib" for alias in node.names), (
                "import names, not ganlib"
            )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ganlib":
            found |= {(node.module.removeprefix("ganlib").strip("."), alias.name) for alias in node.names}
    return found


def own(source: str) -> set[str]:
    """The names that a cell defines and does not import."""
    body = [node for node in ast.parse(source).body if not isinstance(node, ast.Import | ast.ImportFrom)]
    return set().union(*map(bound_by, body))


def test_every_taught_name_that_a_notebook_imports_is_earned():
    taken = {
        (module, name) for lesson in LESSONS for source in taught(lesson) for module, name in imports(source)
    }
    assert {name for module, name in taken if module in TAUGHT} <= EARNED.keys() | HOLDERS
    assert OBJECTIVES_EARNED.keys() == OBJECTIVES.keys()


@pytest.mark.parametrize("name", EARNED)
def test_is_not_imported_before_it_is_written_out(name):
    for lesson in LESSONS:
        for source in taught(lesson):
            if lesson == EARNED[name] and name in own(source):
                return
            if name in {imported for _, imported in imports(source)}:
                assert (lesson, name) in TOO_EARLY, f"{lesson} imports {name}, which {EARNED[name]} defines"
    pytest.fail(f"{EARNED[name]} does not define {name}")


@pytest.mark.parametrize("name", OBJECTIVES_EARNED)
def test_no_objective_is_played_in_an_earlier_notebook(name):
    for lesson in LESSONS[: LESSONS.index(OBJECTIVES_EARNED[name])]:
        assert not any(f'["{name}"]' in source for source in taught(lesson)), f"{lesson} plays {name}"
