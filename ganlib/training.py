"""One move of each player, and `train`, which alternates them (Goodfellow et al. 2014, Algorithm 1).

Every tensor is born on G's device, from a generator that lives there, so a GPU run meets no CPU tensor,
and a run's randomness is its own: nothing that looks at a run can change it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from ganlib.games import Game


class Snapshot(NamedTuple):
    """What a run shows: values only. `step` counts generator moves; `samples` is G at fixed latents."""

    step: int
    d_loss: float
    g_loss: float
    samples: Tensor


def latents(G: nn.Module, n: int, rng: Generator) -> Tensor:
    """n draws of z ~ N(0, I), shape (n, G.latent_dim), on the generator's device."""
    return torch.randn(n, G.latent_dim, generator=rng, device=rng.device)


@torch.no_grad()
def evaluate(network: nn.Module, inputs: Tensor) -> Tensor:
    """network(inputs) without gradients and in evaluation mode, leaving its mode and buffers as they were."""
    was_training = network.training
    outputs = network.eval()(inputs)
    network.train(was_training)
    return outputs


class Match:
    """Two players at the table: G, D, their optimisers and the run's own random stream.

    `data` needs `sample(n, rng)`; G needs `latent_dim`. Raises ValueError for settings out of range.
    """

    def __init__(
        self, G: nn.Module, D: nn.Module, game: Game, data, *,
        batch_size: int = 256, lr_g: float = 1e-3, lr_d: float = 1e-3, betas=(0.5, 0.999), seed: int = 0,
    ):  # fmt: skip
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
        for name, lr in (("lr_g", lr_g), ("lr_d", lr_d)):
            if not 0 < lr <= 1:
                raise ValueError(f"{name} must be a learning rate in (0, 1], got {lr!r}")
        self.G, self.D, self.game, self.data, self.batch_size = G, D, game, data, batch_size
        device = next(G.parameters()).device
        self.rng = Generator(device).manual_seed(seed)
        self.opt_g = torch.optim.Adam(G.parameters(), lr_g, betas, fused=True)
        self.opt_d = torch.optim.Adam(D.parameters(), lr_d, betas, fused=True)

    def discriminator_move(self) -> Tensor:
        """One descent step of D on a fresh minibatch; returns its loss, detached."""
        real = self.data.sample(self.batch_size, self.rng)
        with torch.no_grad():  # D's move does not differentiate through G
            fake = self.G(latents(self.G, self.batch_size, self.rng))
        loss = self.game.objective.discriminator(self.D(real), self.D(fake))
        if self.game.penalty:
            loss = loss + self.game.penalty(self.D, real, fake, self.rng)
        _descend(self.opt_d, loss)
        if self.game.constrain:
            self.game.constrain(self.D)
        return loss.detach()

    def generator_move(self) -> Tensor:
        """One descent step of G against D as it stands; returns its loss, detached. D stays bitwise as it is."""
        self.D.requires_grad_(False)  # saves the gradients that nobody would use
        loss = self.game.objective.generator(self.D(self.G(latents(self.G, self.batch_size, self.rng))))
        _descend(self.opt_g, loss)
        self.D.requires_grad_(True)
        return loss.detach()


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def train(
    G: nn.Module, D: nn.Module, game: Game, data, *,
    steps: int, every: int = 100, n_samples: int = 1000, seed: int = 0, **settings,
) -> Iterator[Snapshot]:  # fmt: skip
    """Play `steps` rounds (n_critic moves of D, then one of G); yield a Snapshot every `every` rounds, and the last.

    Lazy: between two snapshots the caller's own G and D *are* the networks at that step, and stopping is
    not calling `next`. `settings` are those of `Match`. Raises ValueError for bad ones, at the first `next`.
    """
    if steps < 1 or every < 1:
        raise ValueError(f"steps and every must be at least 1, got {steps} and {every}")
    match = Match(G, D, game, data, seed=seed, **settings)
    z_fixed = latents(G, n_samples, Generator(match.rng.device).manual_seed(seed + 1))
    for step in range(1, steps + 1):
        for _ in range(game.n_critic):
            d_loss = match.discriminator_move()
        g_loss = match.generator_move()
        if step % every == 0 or step == steps:
            yield Snapshot(step, d_loss.item(), g_loss.item(), evaluate(G, z_fixed))
