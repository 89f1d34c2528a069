"""One move of each player, and `train`, which alternates them (Goodfellow et al. 2014, Algorithm 1).

Every tensor is born on G's device, from a generator that lives there, so a GPU run meets no CPU tensor,
and a run's randomness is its own: nothing that looks at a run can change it.
"""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from ganlib.games import Game
from ganlib.unrolling import unroll


class Snapshot(NamedTuple):
    """What a run shows: values only. `step` counts generator moves; `samples` is G at fixed latents.

    Of s runs played at once (`ganlib.batched`), the losses are lists of s numbers and the samples (s, n, ...)."""

    step: int
    d_loss: float | list[float]
    g_loss: float | list[float]
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

    batch_axis = 0

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
        self.seeds = [seed]  # `ganlib.batched` plays many
        device = next(G.parameters()).device
        self.rng = Generator(device).manual_seed(seed)
        self.opt_g = torch.optim.Adam(G.parameters(), lr_g, betas, fused=True)
        self.opt_d = torch.optim.Adam(D.parameters(), lr_d, betas, fused=True)
        self.opt_ahead: torch.optim.Optimizer | None = None  # what G looks ahead with; None: D's own, opt_d

    def change_rules(self, **rules) -> None:
        """From the next move on play by these, fields of `Game`; raises ValueError as it does."""
        self.game = replace(self.game, **rules)

    def draw_real(self) -> Tensor:
        """A fresh minibatch of data."""
        return self.data.sample(self.batch_size, self.rng)

    def draw_latents(self) -> Tensor:
        """A fresh minibatch of z."""
        return latents(self.G, self.batch_size, self.rng)

    def fixed_latents(self, n: int) -> Tensor:
        """n draws of z to look at the run with: always the same, from a stream that is not the run's."""
        return latents(self.G, n, Generator(self.rng.device).manual_seed(self.seeds[0] + 1))

    def discriminator_move(self) -> Tensor:
        """One descent step of D on a fresh minibatch; returns its loss, detached."""
        real = self.draw_real()
        with torch.no_grad():  # D's move does not differentiate through G
            fake = self.G(self.draw_latents())
        loss = self._d_loss(self.D, real, fake, (self.D(real), self.D(fake)))
        _descend(self.opt_d, loss)
        if self.game.constrain:
            self.game.constrain(self.D)
        return loss.detach()

    def generator_move(self) -> Tensor:
        """One descent step of G; returns its loss, detached. D stays bitwise as it is.

        G plays against D as it stands or, when `unroll_steps` is set, against what D would become by that many
        moves on these fakes and one fresh minibatch of data; D must then judge each sample by itself.
        """
        fake = self.G(self.draw_latents())
        opponent = self._look_ahead(fake) if self.game.unroll_steps else self.D
        self.D.requires_grad_(False)  # saves the gradients that nobody would use
        loss = self.game.objective.generator(opponent(fake))
        _descend(self.opt_g, loss)
        self.D.requires_grad_(True)
        return loss.detach()

    def _look_ahead(self, fake: Tensor):
        real, axis = self.draw_real(), self.batch_axis
        both = torch.cat([real, fake], axis)  # in one pass of D, which is faster

        def d_loss(D):
            return self._d_loss(D, real, fake, D(both).chunk(2, axis))

        return unroll(self.D, self.opt_ahead or self.opt_d, d_loss, self.game.unroll_steps)

    def _d_loss(self, D, real: Tensor, fake: Tensor, logits) -> Tensor:
        loss = self.game.objective.discriminator(*logits)
        return loss + self.game.penalty(D, real, fake, self.rng) if self.game.penalty else loss


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.sum().backward()  # a sum where many matches are played at once, else one number
    optimiser.step()


def train(
    G: nn.Module, D: nn.Module, game: Game, data, *,
    steps: int, every: int = 100, n_samples: int = 1000, seed: int = 0, **settings,
) -> Iterator[Snapshot]:  # fmt: skip
    """Play `steps` rounds (n_critic moves of D, then one of G); yield a Snapshot every `every` rounds, and the last.

    Lazy: between two snapshots the caller's own G and D *are* the networks at that step, and stopping is
    not calling `next`. `settings` are those of `Match`. Raises ValueError for bad ones, at the first `next`.
    A run that diverges ends with a RuntimeWarning that says which player's loss, at which step, and what to try.
    """
    match = Match(G, D, game, data, seed=seed, **settings)
    yield from rounds(match, steps=steps, every=every, n_samples=n_samples)


def rounds(match: Match, *, steps: int, every: int = 100, n_samples: int = 1000) -> Iterator[Snapshot]:
    """What `train` does with a match: each round is n_critic moves of D, then one of G. Raises ValueError, at the
    first `next`, when steps or every is less than 1.

    A run that diverges is told of in a RuntimeWarning; once all runs of the match have, no snapshot follows.
    """
    if steps < 1 or every < 1:
        raise ValueError(f"steps and every must be at least 1, got {steps} and {every}")
    z_fixed = match.fixed_latents(n_samples)
    losses: list[Tensor] = []  # of (D, G), one a round since the last snapshot
    lost: set[int] = set()  # the runs that have diverged
    for step in range(1, steps + 1):
        for _ in range(match.game.n_critic):
            d_loss = match.discriminator_move()
        g_loss = match.generator_move()
        losses.append(torch.stack([d_loss, g_loss]))
        if step % every == 0 or step == steps:
            # looked at here alone, so that a GPU need not wait in every round: (rounds, players, runs)
            bad = ~torch.stack(losses).reshape(len(losses), 2, -1).isfinite().cpu()
            for run in set(bad.any(dim=(0, 1)).nonzero().flatten().tolist()) - lost:
                lost.add(run)
                late, player = bad[:, :, run].nonzero()[0].tolist()
                message = diverged("DG"[player], step - len(losses) + 1 + late)
                warnings.warn(f"seed {match.seeds[run]}: {message}", RuntimeWarning, stacklevel=3)
            if len(lost) == bad.shape[2]:
                return
            losses.clear()
            yield Snapshot(step, d_loss.tolist(), g_loss.tolist(), evaluate(match.G, z_fixed))


def diverged(player: str, step: int) -> str:
    """What to say of a run in which the loss of `player`, "D" or "G", is not finite at `step`."""
    return (
        f"{player}'s loss is not finite at step {step}: the run has diverged. Try a smaller learning rate, "
        "or a penalty or clipping that keeps D's slope bounded. The snapshots up to there are good."
    )
