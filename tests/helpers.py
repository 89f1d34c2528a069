"""What several test modules need."""

from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

torch.set_num_threads(1)  # the fastest for networks of these sizes


def rng(seed: int = 0) -> torch.Generator:
    """A fresh random stream on the CPU."""
    return torch.Generator().manual_seed(seed)


def weights(network: torch.nn.Module) -> torch.Tensor:
    """All weights of a network as one vector, detached."""
    return torch.cat([p.detach().flatten() for p in network.parameters()])
