"""The look-ahead: it is what D's optimiser would do, it is differentiated through, and it leaves no trace."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from ganlib import games
from ganlib.distributions import ring
from ganlib.games import GAMES
from ganlib.networks import mlp_players
from ganlib.penalties import r1
from ganlib.training import Match, latents
from ganlib.unrolling import unroll

GAME = GAMES["non-saturating"]
OBJECTIVE = GAME.objective


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def new_match(rounds=10, activation=nn.Tanh, **settings) -> Match:
    """A match some rounds in, so that D's optimiser has moments and a step count."""
    players = mlp_players((2,), latent_dim=3, hidden=(8, 8), activation=activation)
    match = Match(players, ring(), **{"batch_size": 32, "lr_d": 5e-3} | settings)
    for _ in range(rounds):
        GAME(match)
    return match


def minibatch(match: Match, seed: int = 1):
    """Real samples, and latents that give the fakes."""
    rng = torch.Generator().manual_seed(seed)
    return match.data.sample(match.batch_size, rng), latents(match.G, match.batch_size, rng)


def flat(tensors) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def points() -> torch.Tensor:
    ticks = torch.linspace(-3, 3, 7)
    return torch.cartesian_prod(ticks, ticks)


def copied(match: Match, **options) -> tuple[nn.Module, torch.optim.Adam]:
    """D, and an Adam in the same state, to move for real."""
    D = copy.deepcopy(match.D)
    optimiser = torch.optim.Adam(D.parameters(), **options)
    optimiser.load_state_dict(copy.deepcopy(match.optimisers["D"].state_dict()))
    for group in optimiser.param_groups:
        group.update({"fused": None, "foreach": None} | options)
    return D, optimiser


def g_gradient(match: Match, steps: int, *, second_term: bool = True) -> torch.Tensor:
    real, z = minibatch(match)
    fake = match.G(z)
    seen = fake if second_term else fake.detach()
    opponent = unroll(
        match.D, match.optimisers["D"], lambda D: OBJECTIVE.discriminator(D(real), D(seen)), steps
    )
    return flat(torch.autograd.grad(OBJECTIVE.generator(opponent(fake)), list(match.G.parameters())))


# ---- it is what D would become -------------------------------------------------------------------------------


def test_no_steps_is_the_plain_game():
    match = new_match()
    assert unroll(match.D, match.optimisers["D"], lambda D: 1 / 0, steps=0) is match.D
    real, z = minibatch(match)
    plain = torch.autograd.grad(OBJECTIVE.generator(match.D(match.G(z))), list(match.G.parameters()))
    assert torch.equal(g_gradient(match, 0), flat(plain))


@pytest.mark.parametrize(
    ("rounds", "options", "steps", "activation"),
    [
        (0, {"fused": True}, 1, nn.Tanh),
        (10, {"foreach": False}, 7, nn.ReLU),
        (10, {"foreach": True}, 2, nn.Tanh),
    ],
)
def test_it_looks_ahead_as_adam_would_move(rounds, options, steps, activation):
    """K unrolled steps give the discriminator that K steps of torch.optim.Adam give."""
    match = new_match(rounds=rounds, activation=activation)
    real, z = minibatch(match)
    fake = match.G(z).detach()
    opponent = unroll(
        match.D, match.optimisers["D"], lambda D: OBJECTIVE.discriminator(D(real), D(fake)), steps
    )
    D, optimiser = copied(match, **options)
    for _ in range(steps):
        optimiser.zero_grad()
        OBJECTIVE.discriminator(D(real), D(fake)).backward()
        optimiser.step()
    torch.testing.assert_close(opponent(points()), D(points()), rtol=0, atol=1e-12)
    assert (opponent(points()) - match.D(points())).abs().max() > 1e-3  # and that is not where D stands now


def test_it_looks_ahead_as_sgd_would_move():
    match = new_match()
    real, z = minibatch(match)
    fake = match.G(z).detach()
    sgd = torch.optim.SGD(match.D.parameters(), lr=0.1)
    opponent = unroll(match.D, sgd, lambda D: OBJECTIVE.discriminator(D(real), D(fake)), 3)
    D = copy.deepcopy(match.D)
    optimiser = torch.optim.SGD(D.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        OBJECTIVE.discriminator(D(real), D(fake)).backward()
        optimiser.step()
    torch.testing.assert_close(opponent(points()), D(points()), rtol=0, atol=1e-12)


def test_it_moves_at_the_learning_rate_of_now():
    match = new_match()
    real, z = minibatch(match)
    fake = match.G(z).detach()

    def opponent():
        return unroll(match.D, match.optimisers["D"], lambda D: OBJECTIVE.discriminator(D(real), D(fake)), 1)(
            points()
        )

    before, here = opponent(), match.D(points())
    match.optimisers["D"].param_groups[0]["lr"] *= 1e-3
    after = opponent()
    assert 100 * (after - here).abs().max() < (before - here).abs().max()


# ---- its gradient --------------------------------------------------------------------------------------------


def numerical_slope(match: Match, steps: int, direction: torch.Tensor, h: float = 1e-5) -> float:
    """The slope of G's loss along a direction in its weights, by central differences; the look-ahead follows."""
    start = flat(match.G.parameters())
    values = []
    for sign in (1, -1):
        nn.utils.vector_to_parameters(start + sign * h * direction, match.G.parameters())
        real, z = minibatch(match)
        fake = match.G(z).detach()
        D, optimiser = copied(match, foreach=False)  # real moves: no code is shared with `unroll`
        for _ in range(steps):
            optimiser.zero_grad()
            OBJECTIVE.discriminator(D(real), D(fake)).backward()
            optimiser.step()
        values.append(OBJECTIVE.generator(D(fake)).item())
    nn.utils.vector_to_parameters(start, match.G.parameters())
    return (values[0] - values[1]) / (2 * h)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_gradient_is_the_finite_difference(steps):
    match = new_match()
    gradient = g_gradient(match, steps)
    for seed in range(4):
        direction = torch.randn(len(gradient), generator=torch.Generator().manual_seed(seed))
        direction /= direction.norm()
        expected = numerical_slope(match, steps, direction)
        assert (gradient @ direction).item() == pytest.approx(expected, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_unrolled_gradient_has_its_second_term(steps):
    """Widely copied loops make the fakes under `no_grad`: D's look-ahead then does not depend on G, and the
    gradient is another one. The finite difference says which is right."""
    match = new_match()
    full, first_only = g_gradient(match, steps), g_gradient(match, steps, second_term=False)
    second = full - first_only
    assert second.norm() > 0.02 * full.norm()
    direction = second / second.norm()
    truth = numerical_slope(match, steps, direction)
    assert (full @ direction).item() == pytest.approx(truth, rel=1e-5)
    assert abs((first_only @ direction).item() - truth) > 0.9 * second.norm()


def test_without_steps_there_is_no_second_term():
    match = new_match()
    assert torch.equal(g_gradient(match, 0), g_gradient(match, 0, second_term=False))


def test_a_dead_unit_does_not_spoil_the_gradient():
    """Its second moment stays 0, where the square root in Adam has an infinite slope."""
    match = new_match(activation=nn.ReLU, rounds=3)
    with torch.no_grad():
        match.D.body[0].bias[0] = -100.0
    match.optimisers["D"] = torch.optim.Adam(match.D.parameters(), 5e-3)
    gradient = g_gradient(match, 3)
    assert gradient.isfinite().all() and gradient.norm() > 0


# ---- no trace --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [0, 5], ids=["fresh", "running"])
def test_D_and_its_optimiser_are_bitwise_unchanged(rounds):
    match = new_match(rounds=rounds)
    for p in match.D.parameters():
        p.grad = torch.ones_like(p)
    weights, state = copy.deepcopy(match.D.state_dict()), copy.deepcopy(match.optimisers["D"].state_dict())
    before = flat(match.G.parameters())
    replace(GAME, unroll_steps=5).generator_move(match)
    assert not torch.equal(flat(match.G.parameters()), before)
    assert all(torch.equal(value, weights[name]) for name, value in match.D.state_dict().items())
    after = match.optimisers["D"].state_dict()
    assert after["param_groups"] == state["param_groups"] and after["state"].keys() == state["state"].keys()
    for i, moments in state["state"].items():
        assert all(torch.equal(after["state"][i][name], value) for name, value in moments.items())
    assert all(p.requires_grad and torch.equal(p.grad, torch.ones_like(p)) for p in match.D.parameters())


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x):
        return self.body(x).squeeze(1)


def test_a_network_that_a_forward_pass_changes_is_refused():
    G, D = mlp_players((2,))[0], Normed()
    before = copy.deepcopy(D.state_dict())
    match = Match((G, D), ring(), batch_size=16)
    with pytest.raises(ValueError, match=r"buffers \(body\.1\.running_mean.*BatchNorm"):
        GAMES["unrolled"].generator_move(match)
    assert all(torch.equal(value, before[name]) for name, value in D.state_dict().items())
    assert all(p.requires_grad for p in D.parameters())
    D.eval()  # its statistics stand still now, so it can be looked ahead with
    GAMES["unrolled"].generator_move(match)
    assert all(torch.equal(value, before[name]) for name, value in D.state_dict().items())


# ---- in a match ------------------------------------------------------------------------------------------------


def by_hand(match: Match, real, fake, steps: int, penalty=None):
    """G's loss against the look-ahead, written out parameter by parameter, in two passes of D a step."""
    D, group, states = match.D, match.optimisers["D"].param_groups[0], match.optimisers["D"].state
    (beta1, beta2), lr, eps = group["betas"], group["lr"], group["eps"]
    theta = dict(D.named_parameters())
    m = {name: states[p]["exp_avg"] for name, p in theta.items()}
    v = {name: states[p]["exp_avg_sq"] for name, p in theta.items()}
    t = int(states[next(D.parameters())]["step"])

    def judge(theta):
        return lambda x: torch.func.functional_call(D, theta, (x,))

    for _ in range(steps):
        t += 1
        loss = OBJECTIVE.discriminator(judge(theta)(real), judge(theta)(fake))
        loss = loss + (penalty(judge(theta), real, fake, None) if penalty else 0)
        for name, g in zip(
            theta, torch.autograd.grad(loss, list(theta.values()), create_graph=True), strict=True
        ):
            m[name] = beta1 * m[name] + (1 - beta1) * g
            v[name] = beta2 * v[name] + (1 - beta2) * g**2
            m_hat, v_hat = m[name] / (1 - beta1**t), v[name] / (1 - beta2**t)
            theta[name] = theta[name] - lr * m_hat / (v_hat.sqrt() + eps)
    return OBJECTIVE.generator(judge(theta)(fake))


@pytest.mark.parametrize("penalty", [None, r1(3.0)])
@pytest.mark.parametrize("in_one_pass", [True, False])
def test_the_generator_descends_the_unrolled_loss(penalty, in_one_pass, monkeypatch):
    """Against a loop that shares no code: fakes that are detached, or a penalty left out, fail here."""
    monkeypatch.setattr(games, "rowwise", lambda D: in_one_pass)
    match = new_match()
    stream = torch.Generator()
    stream.set_state(match.rngs[0].get_state())
    fake = match.G(latents(match.G, match.batch_size, stream))
    real = match.data.sample(match.batch_size, stream)
    expected = by_hand(match, real, fake, 3, penalty)
    gradients = torch.autograd.grad(expected, list(match.G.parameters()))
    loss = replace(GAME, unroll_steps=3, penalty=penalty).generator_move(match)
    torch.testing.assert_close(loss, expected.detach(), rtol=0, atol=1e-12)
    for parameter, gradient in zip(match.G.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-11)


def test_the_discriminator_does_not_look_ahead():
    plain, unrolled = new_match(), new_match()
    ahead = replace(GAME, unroll_steps=4)
    assert torch.equal(GAME.discriminator_move(plain), ahead.discriminator_move(unrolled))
    assert torch.equal(flat(plain.D.parameters()), flat(unrolled.D.parameters()))


# ---- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [-1, 1.5, "2", 10**9])
def test_bad_steps_are_refused(steps):
    match = new_match(rounds=0)
    with pytest.raises(ValueError, match="steps"):
        unroll(match.D, match.optimisers["D"], lambda D: D(points()).mean(), steps)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda D: torch.optim.RMSprop(D.parameters()), "Adam or SGD, got RMSprop"),
        (lambda D: torch.optim.AdamW(D.parameters()), "Adam or SGD, got AdamW"),
        (lambda D: torch.optim.Adam(D.parameters(), amsgrad=True), "amsgrad"),
        (lambda D: torch.optim.Adam(D.parameters(), weight_decay=0.1), "weight_decay"),
        (lambda D: torch.optim.Adam(D.parameters(), maximize=True), "maximize"),
        (lambda D: torch.optim.SGD(D.parameters(), 0.1, momentum=0.9), "momentum"),
        (lambda D: torch.optim.Adam(mlp_players((2,))[1].parameters()), "parameters of D"),
        (lambda D: torch.optim.Adam(list(D.parameters())[1:]), "parameters of D"),
        (lambda D: torch.optim.Adam([{"params": [p]} for p in D.parameters()]), "parameters of D"),
    ],
)
def test_an_optimiser_that_it_cannot_imitate_is_refused(make, says):
    D = mlp_players((2,))[1]
    with pytest.raises(ValueError, match=says):
        unroll(D, make(D), lambda D: D(points()).mean(), 1)
