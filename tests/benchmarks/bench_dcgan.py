"""How fast the DCGAN of notebook 05 trains: against this machine's own matrix products, and against a plain loop.

Run on a quiet machine: pytest -n 0 -s tests/benchmarks/bench_dcgan.py

The plain loop is in the style of the DCGAN example that comes with PyTorch: DataLoader, probabilities and binary
cross-entropy, default Adam, gradients for D also in G's move, several .item() a step, channels first, default threads.
Ours is timed with as many threads as the notebook takes (`ganlib.devices`), and with one. All take turns, in blocks of
a few steps, so that a busy neighbour meets all of them.
"""

import statistics
import time

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from ganlib.devices import threads
from ganlib.games import GAMES
from ganlib.images import fashion
from ganlib.networks import dcgan_players
from ganlib.training import Match, latents

BATCH, BLOCKS, STEPS = 64, 12, 5
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


def ours(data, device, width):
    G, D = (player.to(device) for player in dcgan_players(width=width))
    match = Match((G, D), data, batch_size=BATCH, lr_g=2e-3, lr_d=5e-4)
    return lambda: GAMES["non-saturating"](match)


def plain(data, device, width):
    G, D = (player.to(device, memory_format=torch.contiguous_format) for player in dcgan_players(width=width))
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (G, D))
    loss, label = nn.BCELoss(), torch.empty(BATCH, device=device)
    loader = DataLoader(TensorDataset(data.images, data.labels), BATCH, shuffle=True, drop_last=True)

    def batches():
        while True:
            yield from loader

    source, said = batches(), []

    def step():
        D.zero_grad()
        real = next(source)[0].to(device)
        output = torch.sigmoid(D(real))
        loss_real = loss(output, label.fill_(1.0))
        loss_real.backward()
        d_x = output.mean().item()
        fake = G(torch.randn(BATCH, G.latent_dim, device=device))
        output = torch.sigmoid(D(fake.detach()))
        loss_fake = loss(output, label.fill_(0.0))
        loss_fake.backward()
        d_g_before = output.mean().item()
        opt_d.step()
        G.zero_grad()
        output = torch.sigmoid(D(fake))
        loss_g = loss(output, label.fill_(1.0))
        loss_g.backward()
        d_g_after = output.mean().item()
        opt_g.step()
        said.append(((loss_real + loss_fake).item(), loss_g.item(), d_x, d_g_before, d_g_after))

    return step


def sampling(data, device, width):
    """A forward pass of G in evaluation mode: what one frame of the lab needs."""
    G = dcgan_players(width=width)[0].to(device).eval()
    z = latents(G, BATCH, torch.Generator(device).manual_seed(0))
    return torch.no_grad()(lambda: G(z).sum().item())


def matmul(data, device, width):
    a = torch.randn(1024, 1024, device=device)
    return lambda: torch.mm(a, a)


def timed(step, n_threads, device):
    """Seconds of wall clock and of this process's computing for one step, in one block."""
    torch.set_num_threads(n_threads)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - wall) / STEPS, (time.process_time() - cpu) / STEPS


@pytest.mark.parametrize("width", [32, 128])
@pytest.mark.parametrize("device", DEVICES)
def test_speed(device, width, monkeypatch):
    monkeypatch.delenv("PYTEST_VERSION", raising=False)  # a student's threads, not those of a test
    data, default, a_students = fashion(), torch.get_num_threads(), threads("images")
    student, plainly = f"ours, {a_students} threads (a student's)", f"plain, {default} threads (its default)"
    ours_, plain_ = ours(data, device, width), plain(data, device, width)
    runs = {  # name: (one step, threads)
        student: (ours_, a_students),
        plainly: (plain_, default),
        "ours, one thread": (ours_, 1),
        "plain, one thread": (plain_, 1),
        "sampling 64, one thread": (sampling(data, device, width), 1),
        "matmul, one thread": (matmul(data, device, width), 1),
    }
    gflop = {}
    for name, (step, n_threads) in runs.items():
        timed(step, n_threads, device)  # warm up
        with FlopCounterMode(display=False) as counter:
            step()
        gflop[name] = counter.get_total_flops() / 1e9
    seconds = {name: [] for name in runs}
    for _ in range(BLOCKS):
        for name, (step, n_threads) in runs.items():
            seconds[name].append(timed(step, n_threads, device))
    torch.set_num_threads(default)
    wall, cpu = ({n: statistics.median(s[i] for s in v) for n, v in seconds.items()} for i in (0, 1))
    rate = gflop["matmul, one thread"] / wall["matmul, one thread"]
    print(
        f"\n{device}, width {width}, batch {BATCH}; matrix products run at {rate:.0f} GFLOP/s on one thread"
    )
    for name in runs:
        speed = gflop[name] / wall[name]
        print(
            f"{name:32} {1e3 * wall[name]:7.1f} ms ({1e3 * cpu[name]:6.1f} of computing) "
            f"{BATCH / wall[name]:8.0f} images/s {gflop[name]:6.2f} GFLOP, {speed / rate:4.0%} of that rate"
        )
    for one, other in ((plainly, student), ("plain, one thread", "ours, one thread")):
        ratios = [a[0] / b[0] for a, b in zip(seconds[one], seconds[other], strict=True)]
        print(
            f"{one} / {other}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) of wall clock"
        )
