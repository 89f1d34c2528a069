"""What looking ahead costs, on one thread, against a hand-written loop, `higher`, TorchOpt and JAX.

    pytest -n 0 -s tests/benchmarks/bench_unrolled.py

All contenders play the same round (one move of D, one of G; networks of the course, batch 256) in turn, a few rounds
each, again and again, so that a busy moment meets them all; the table gives medians, and medians of ratios within a
turn. Times are CPU time, which on one thread is the wall clock of a quiet machine. `higher`, TorchOpt and JAX are
installed from PyPI into a temporary folder, apart from the course; where that fails, their rows say why.
"""

import importlib
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from torch.func import functional_call

from ganlib.batched import BatchedMatch
from ganlib.distributions import ring
from ganlib.games import GAMES
from ganlib.networks import mlp_players
from ganlib.training import Match

GAME = GAMES["non-saturating"]
OBJECTIVE, SETTINGS, SEEDS = GAME.objective, dict(lr_g=1e-3, lr_d=5e-4), range(6)
TURNS, ROUNDS = 15, 10  # a turn plays ROUNDS rounds of each contender

JAX = """
import json, sys, time
from functools import partial
import jax, jax.numpy as jnp
from jax.nn import relu, softplus
tmap = jax.tree_util.tree_map

def init(key, sizes):
    layers = []
    for n, m in zip(sizes[:-1], sizes[1:]):
        key, *keys = jax.random.split(key, 3)
        layers.append([jax.random.uniform(k, s, minval=-n**-.5, maxval=n**-.5) for k, s in zip(keys, [(n, m), (m,)])])
    return layers

def mlp(layers, x):
    for w, b in layers[:-1]:
        x = relu(x @ w + b)
    return x @ layers[-1][0] + layers[-1][1]

def d_loss(d, real, fake):
    return softplus(-mlp(d, real)).mean() + softplus(mlp(d, fake)).mean()

def adam(p, g, state, lr):
    m, v, t = state
    t = t + 1
    m, v = tmap(lambda m, g: .5*m + .5*g, m, g), tmap(lambda v, g: .999*v + .001*g*g, v, g)
    c, d = 1 - .5**t, 1 - .999**t
    return tmap(lambda p, m, v: p - lr * (m/c) / (jnp.sqrt(jnp.maximum(v/d, 1e-38)) + 1e-8), p, m, v), (m, v, t)

def ring(key, n=256):
    one, two = jax.random.split(key)
    angle = 2 * jnp.pi * jax.random.randint(one, (n,), 0, 8) / 8
    return 2 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1) + .05 * jax.random.normal(two, (n, 2))

def game_round(K, players, _):
    g, d, g_state, d_state, key = players
    key, *k = jax.random.split(key, 5)
    fake = mlp(g, jax.random.normal(k[0], (256, 16)))
    d, d_state = adam(d, jax.grad(d_loss)(d, ring(k[1]), fake), d_state, 5e-4)
    real, z = ring(k[2]), jax.random.normal(k[3], (256, 16))
    def g_loss(g):
        fake = mlp(g, z)
        def move(carry, _):
            return adam(carry[0], jax.grad(d_loss)(carry[0], real, fake), carry[1], 5e-4), None
        (opponent, _), _ = jax.lax.scan(move, (d, d_state), None, length=K)
        return softplus(-mlp(opponent, fake)).mean()
    g, g_state = adam(g, jax.grad(g_loss)(g), g_state, 1e-3)
    return (g, d, g_state, d_state, key), None

def start(seed):
    key, one, two = jax.random.split(jax.random.PRNGKey(seed), 3)
    g, d = init(one, [16, 64, 64, 2]), init(two, [2, 64, 64, 1])
    fresh = lambda p: (tmap(jnp.zeros_like, p), tmap(jnp.zeros_like, p), jnp.float32(0))
    return g, d, fresh(g), fresh(d), key

K, seeds, rounds = map(int, sys.argv[1:])
play = partial(game_round, K) if seeds == 1 else jax.vmap(partial(game_round, K), in_axes=(0, None))
players = start(0) if seeds == 1 else jax.vmap(start)(jnp.arange(seeds))
run = jax.jit(lambda players: jax.lax.scan(play, players, None, length=rounds)[0])
began = time.perf_counter()
players = jax.block_until_ready(run(players))
print(time.perf_counter() - began, flush=True)
for _ in sys.stdin:
    began = time.process_time()
    players = jax.block_until_ready(run(players))
    print(time.process_time() - began, flush=True)
"""


# ---- one generator move, four ways -------------------------------------------------------------------------------


def draws(match):
    return match.G(match.draw_latents()), *match.draw_real()


def ours(match, steps):
    replace(GAME, unroll_steps=steps).generator_move(match)


def plain_loop():
    """ROUNDS rounds as public examples write them, with PyTorch's defaults; K = 0 only."""
    (G, D), data, rng = mlp_players((2,)), ring(), torch.Generator().manual_seed(0)
    opt_g, opt_d = (
        torch.optim.Adam(net.parameters(), lr, betas=(0.5, 0.999)) for net, lr in ((G, 1e-3), (D, 5e-4))
    )
    bce, ones, zeros = torch.nn.BCEWithLogitsLoss(), torch.ones(256, 1), torch.zeros(256, 1)

    def turn() -> float:
        began = time.process_time()
        for _ in range(ROUNDS):
            real, fake = data.sample(256, rng), G(torch.randn(256, G.latent_dim, generator=rng))
            opt_d.zero_grad()
            bce(D(real).view(-1, 1), ones).backward()
            bce(D(fake.detach()).view(-1, 1), zeros).backward()
            opt_d.step()
            opt_g.zero_grad()
            bce(D(fake).view(-1, 1), ones).backward()
            opt_g.step()
        return time.process_time() - began

    return turn


def by_hand(match, steps):
    """As one writes it: parameter by parameter."""
    (fake, real), D, state = draws(match), match.D, match.optimisers["D"].state
    group = match.optimisers["D"].param_groups[0]
    (beta1, beta2), lr, eps = group["betas"], group["lr"], group["eps"]
    theta = dict(D.named_parameters())
    m = {name: state[p]["exp_avg"] for name, p in theta.items()}
    v = {name: state[p]["exp_avg_sq"] for name, p in theta.items()}
    t = int(state[next(D.parameters())]["step"])
    for _ in range(steps):
        t += 1
        loss = OBJECTIVE.discriminator(functional_call(D, theta, (real,)), functional_call(D, theta, (fake,)))
        gradients = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
        for name, g in zip(theta, gradients, strict=True):
            m[name] = beta1 * m[name] + (1 - beta1) * g
            v[name] = beta2 * v[name] + (1 - beta2) * g * g
            m_hat, v_hat = m[name] / (1 - beta1**t), v[name] / (1 - beta2**t)
            theta[name] = theta[name] - lr * m_hat / ((v_hat + 1e-30).sqrt() + eps)
    match.descend(OBJECTIVE.generator(functional_call(D, theta, (fake,))), "G")


def with_higher(match, steps):
    higher = importlib.import_module("higher")
    fake, real = draws(match)
    with higher.innerloop_ctx(match.D, match.optimisers["D"]) as (D, optimiser):
        for _ in range(steps):
            optimiser.step(OBJECTIVE.discriminator(D(real), D(fake)))
        match.descend(OBJECTIVE.generator(D(fake)), "G")


def with_torchopt(match, steps, **options):
    torchopt = importlib.import_module("torchopt")
    (fake, real), D, state = draws(match), match.D, match.optimisers["D"].state
    group = match.optimisers["D"].param_groups[0]
    names, theta = zip(*D.named_parameters(), strict=True)
    adam = torchopt.adam(group["lr"], betas=group["betas"], eps_root=1e-30, **options)
    moments = with_moments(
        adam.init(theta),
        mu=tuple(state[p]["exp_avg"] for p in theta),
        nu=tuple(state[p]["exp_avg_sq"] for p in theta),
        count=tuple(state[p]["step"].long() for p in theta),
    )

    def judge(theta, x):
        return functional_call(D, dict(zip(names, theta, strict=True)), (x,))

    for _ in range(steps):
        loss = OBJECTIVE.discriminator(judge(theta, real), judge(theta, fake))
        gradients = torch.autograd.grad(loss, theta, create_graph=True)
        updates, moments = adam.update(gradients, moments, inplace=False)
        theta = torchopt.apply_updates(theta, updates, inplace=False)
    match.descend(OBJECTIVE.generator(judge(theta, fake)), "G")


def with_moments(state, **moments):
    """TorchOpt's state, with the moments that D's optimiser has."""
    if hasattr(state, "mu"):
        return state._replace(**moments)
    return type(state)(with_moments(part, **moments) for part in state) if type(state) is tuple else state


def accelerated(match, steps):
    with_torchopt(match, steps, use_accelerated_op=True)


# ---- installing, measuring ----------------------------------------------------------------------------------------


def install(folder, *packages) -> str:
    """Why it could not be installed, or nothing."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(folder),
        *packages,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["pip failed"])[-1]


@pytest.fixture(scope="module")
def rivals(tmp_path_factory):
    """The libraries that can be had here: {name: a generator move}, and why others cannot."""
    folder, found, missing = tmp_path_factory.mktemp("libraries"), {}, {}
    sys.path.append(str(folder))
    for name, packages, moves in (
        ("higher", ["higher"], {"higher": with_higher}),
        (
            "TorchOpt",
            ["torchopt", "optree", "graphviz"],
            {"TorchOpt": with_torchopt, "TorchOpt, C++": accelerated},
        ),
    ):
        if reason := install(folder, *packages):
            missing[name] = reason
        for label, move in moves.items() if not reason else ():
            try:
                assert_same_move(move)
                found[label] = move
            except Exception as error:
                missing[label] = f"{type(error).__name__}: {error}"
    yield found, missing
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def jax_python(tmp_path_factory):
    """A Python with JAX in an environment of its own, or why there is none."""
    folder = tmp_path_factory.mktemp("jax")
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", "jax"], capture_output=True, text=True)
    return python if done.returncode == 0 else f"JAX: {done.stderr.strip().splitlines()[-1]}"


def new_match() -> Match:
    match = Match(mlp_players((2,)), ring(), **SETTINGS)
    for _ in range(20):
        GAME(match)
    return match


def assert_same_move(move, steps=3):
    """The contender does what we do: the same gradient of G, to rounding."""
    gradients = []
    for each in (ours, move):
        match = new_match()
        each(match, steps)
        gradients.append(torch.cat([p.grad.flatten() for p in match.G.parameters()]))
    assert (gradients[0] - gradients[1]).norm() < 1e-3 * gradients[0].norm(), "not the same gradient"


class JaxRun:
    """A JAX process that plays ROUNDS rounds on demand and says how long they took."""

    def __init__(self, python, steps, seeds):
        environment = os.environ | {
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
            "OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu",
        }  # fmt: skip
        command = [python, "-c", JAX, str(steps), str(seeds), str(ROUNDS)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        if hasattr(os, "sched_setaffinity"):  # one core, as it has one thread
            os.sched_setaffinity(self.process.pid, {max(os.sched_getaffinity(0))})
        self.first = float(self.process.stdout.readline())

    def __call__(self) -> float:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


def timed(match, move, steps):
    def turn() -> float:
        began = time.process_time()
        for _ in range(ROUNDS):
            GAME.discriminator_move(match)
            move(match, steps)
        return time.process_time() - began

    return turn


def new_batch() -> BatchedMatch:
    return BatchedMatch([mlp_players((2,), seed=seed) for seed in SEEDS], ring(), seeds=SEEDS, **SETTINGS)


@pytest.mark.parametrize("steps", [0, 5, 10])
def test_cost_of_a_round(steps, rivals, jax_python, capsys):
    torch.set_num_threads(1)
    found, missing = rivals
    moves = {"ours": ours} | ({"by hand": by_hand} | found if steps else {})
    assert not steps or assert_same_move(by_hand) is None
    turns = {name: timed(new_match(), move, steps) for name, move in moves.items()}
    if not steps:
        turns["plain loop"] = plain_loop()
    turns["ours, 6 seeds"] = timed(new_batch(), ours, steps)
    runs = {}
    if isinstance(jax_python, str):
        missing = missing | {"JAX": jax_python}
    else:
        runs = {"JAX": JaxRun(jax_python, steps, 1), "JAX, 6 seeds": JaxRun(jax_python, steps, len(SEEDS))}
    turns |= runs
    seconds = {name: [] for name in turns}
    for _ in range(TURNS):
        for name, turn in turns.items():
            seconds[name].append(turn() / ROUNDS / (len(SEEDS) if "6 seeds" in name else 1))
    for run in runs.values():
        run.close()
    with capsys.disabled():
        report(steps, seconds, missing, {name: run.first for name, run in runs.items()})


def report(steps, seconds, missing, compiled):
    print(
        f"\nK = {steps}: ms a round and run, median of {TURNS} turns; and as a multiple of ours (of ours, 6 seeds)"
    )
    for name, values in seconds.items():
        base = seconds["ours, 6 seeds" if "6 seeds" in name else "ours"]
        ratio = statistics.median(a / b for a, b in zip(values, base, strict=True))
        wait = f"   (first call, with compilation: {compiled[name]:.0f} s)" if name in compiled else ""
        print(f"  {name:15s} {1e3 * statistics.median(values):7.2f}   {ratio:5.2f}{wait}")
    for name, reason in missing.items():
        print(f"  {name:15s} skipped: {reason}")
