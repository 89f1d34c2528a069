"""Play the long games of notebook 08, section 8, and save what their D answered beside how good the samples were.

    python data/make_08.py           about three minutes of one core: writes critic-traces.npz
    python data/make_08.py --tune    how the rates were chosen, on other seeds: prints a table

Three arms with the same two networks, rounds and moves on the ring: a clipped critic, a penalised critic, and the
non-saturating game as control. Quality is the exact W1 of 300 samples and 300 data, and the high-quality share.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from make_data import sign
from torch import nn

from ganlib.batched import BatchedMatch
from ganlib.distributions import ring
from ganlib.games import Game
from ganlib.metrics import high_quality, wasserstein
from ganlib.networks import mlp_players
from ganlib.objectives import OBJECTIVES, cross_entropy
from ganlib.penalties import clip_weights, gradient_penalty
from ganlib.training import evaluate

HERE, NAME = Path(__file__).parent, "critic-traces.npz"
SEEDS, TUNING_SEEDS = range(5), range(100, 102)
ROUNDS, EVERY, K, BATCH, N = 5000, 200, 2, 64, 300
RULES = {
    "clip": Game(OBJECTIVES["wasserstein"], n_critic=K, constrain=clip_weights(0.3)),
    "penalty": Game(OBJECTIVES["wasserstein"], n_critic=K, penalty=gradient_penalty(0.1)),
    "control": Game(OBJECTIVES["non-saturating"], n_critic=K),
}
GRID = [(1e-3, 1e-3), (2e-3, 1e-3), (1e-3, 3e-3)]  # lr_G, lr_D
CHOSEN = {
    "clip": (2e-3, 1e-3),
    "penalty": (2e-3, 1e-3),
    "control": (2e-3, 1e-3),
}  # by --tune: the largest share


def answer(arm: str, real, fake):
    """What D says of the distance, a number a run: (8.11) of a critic, (8.12) of the control."""
    if arm != "control":
        return real.mean(-1) - fake.mean(-1)
    return (math.log(4) - cross_entropy(real, fake)) / 2


def play(arm: str, lr_g: float, lr_d: float, seeds, rounds: int, every: int = EVERY):
    """(3, looks, seeds): the mean answer over the rounds since the last look, then W1 and share of good samples."""
    players = [
        (mlp_players((2,), activation=nn.Tanh, seed=s)[0], mlp_players((2,), seed=s)[1]) for s in seeds
    ]
    match = BatchedMatch(players, ring(), seeds=list(seeds), batch_size=BATCH, lr_g=lr_g, lr_d=lr_d)
    (z,), stream = match.fixed_latents(N), torch.Generator().manual_seed(1000)
    data, looks, since = ring().sample(N, stream), [], []
    for step in range(1, rounds + 1):
        for _ in range(K):
            RULES[arm].discriminator_move(match)
        if step % 10 == 0:  # before G moves, on samples that nobody was trained on
            with torch.no_grad():
                fake = match.D(match.G(torch.randn(len(players), N, z.shape[-1], generator=stream)))
                real = match.D(ring().sample(N, stream).expand(len(players), -1, -1))
                since.append(answer(arm, real, fake))
        RULES[arm].generator_move(match)
        if step % every == 0:
            samples = evaluate(match.G, z)
            quality = [(wasserstein(x, data), high_quality(x, ring())) for x in samples]
            looks.append([torch.stack(since).mean(0).tolist(), *zip(*quality, strict=True)])
            since.clear()
    return np.array(looks).transpose(1, 0, 2)


def tune() -> None:
    """Print W1 and the share of good samples after 600 rounds, for each setting of each arm."""
    for arm in RULES:
        for lr_g, lr_d in GRID:
            _, w1, good = play(arm, lr_g, lr_d, TUNING_SEEDS, 600, 300)[:, -1].mean(-1)
            print(f"{arm:8} lr_G {lr_g:.0e}, lr_D {lr_d:.0e}: W1 {w1:.3f}, good {good:.2f}", flush=True)


def save(traces) -> None:
    """Write the traces of the arms, in the order of RULES, and their checksum."""
    at = np.arange(EVERY, ROUNDS + 1, EVERY)
    np.savez_compressed(HERE / NAME, rounds=at, traces=np.stack(traces).astype(np.float32))
    sign(NAME)


def main() -> None:
    """Play the three arms and save their traces."""
    traces = []
    for arm in RULES:
        start = time.process_time()
        traces.append(play(arm, *CHOSEN[arm], SEEDS, ROUNDS))
        print(f"{arm}: {time.process_time() - start:.0f} s of one core", flush=True)
    save(traces)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tune", action="store_true")
    torch.set_num_threads(1)
    tune() if parser.parse_args().tune else main()
