"""A thousand runs of a 2-D GAN as one tensor program, on the GPU against the CPU: where a GPU pays for small networks.

It runs where a GPU is: pytest -n 0 -s tests/benchmarks/bench_seeds.py
"""

import time

import pytest
import torch

from ganlib.batched import BatchedMatch
from ganlib.distributions import ring
from ganlib.games import GAMES
from ganlib.networks import mlp_players

ROUNDS = 50


def seconds(device: str, n_seeds: int, n_rounds: int) -> float:
    """Of one round of `n_seeds` runs at once."""
    players = [tuple(p.to(device) for p in mlp_players((2,), seed=seed)) for seed in range(n_seeds)]
    match, game = BatchedMatch(players, ring(), seeds=range(n_seeds)), GAMES["non-saturating"]
    for _ in range(2):
        game(match)  # warm up
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(n_rounds):
        game(match)
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / n_rounds


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_speed():
    for n_seeds in (1, 30, 1000):
        cpu, gpu = (seconds(device, n_seeds, ROUNDS) for device in ("cpu", "cuda"))
        print(
            f"{n_seeds:5} seeds: CPU {1e3 * cpu:8.2f} ms a round, GPU {1e3 * gpu:8.2f} ms; CPU / GPU {cpu / gpu:.2f}"
        )
