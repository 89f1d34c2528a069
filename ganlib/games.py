"""Games. A game is anything that plays one round: `game(match)` moves the players and returns their losses by name.

`Game` is the two-player game of an objective and its rules. A variant that changes who plays, what is in the
minibatch or how a move is made is a function of a few lines with the same call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ganlib.networks import rowwise
from ganlib.objectives import OBJECTIVES, Objective
from ganlib.penalties import Penalty, clip_weights, gradient_penalty
from ganlib.unrolling import unroll


@dataclass(frozen=True)
class Game:
    """A GAN variant as a value: call it with a match (`ganlib.training.Match`) whose players include "G" and "D".

    Raises ValueError for n_critic < 1, unroll_steps < 0, a penalty that is no `Penalty`, or both unroll_steps and a
    constraint; and, in play, for a D that does not return one logit a sample.
    """

    objective: Objective
    n_critic: int = 1  # k of Algorithm 1: discriminator moves before each generator move
    penalty: Penalty | None = None  # added to D's loss
    constrain: Callable[[nn.Module], None] | None = None  # applied to D after each of its moves
    unroll_steps: int = 0  # K: moves of D that G looks ahead (Metz et al. 2017)

    def __post_init__(self):
        if not isinstance(self.objective, Objective):
            raise ValueError(f"expected an objective of OBJECTIVES, got {self.objective!r}")
        if not isinstance(self.n_critic, int) or self.n_critic < 1:
            raise ValueError(f"n_critic must be a whole number of at least 1, got {self.n_critic!r}")
        if not isinstance(self.unroll_steps, int) or not 0 <= self.unroll_steps <= 1000:
            raise ValueError(f"unroll_steps must be a whole number from 0 to 1000, got {self.unroll_steps!r}")
        if self.penalty is not None and not isinstance(self.penalty, Penalty):
            raise ValueError(f"expected a penalty such as gradient_penalty(1.0), got {self.penalty!r}")
        if self.unroll_steps and self.constrain:
            raise ValueError(
                "unroll_steps and constrain exclude each other: a constraint is not looked ahead through"
            )

    def __call__(self, match) -> dict[str, Tensor]:
        """One round of Algorithm 1: n_critic moves of D, one of G. The last losses, (), or (s,) for s runs."""
        for _ in range(self.n_critic):
            d_loss = self.discriminator_move(match)
        return {"D": d_loss, "G": self.generator_move(match)}

    def discriminator_move(self, match) -> Tensor:
        """One descent step of D on a fresh minibatch; its loss, detached."""
        x, *given = match.draw_real()
        with torch.no_grad():  # D's move does not differentiate through G
            fake = match.G(match.draw_latents(), *given)
        logits = match.D(x, *given), match.D(fake, *given)
        loss = match.descend(self._d_loss(match, match.D, (x, *given), fake, logits), "D")
        if self.constrain:
            self.constrain(match.D)
        return loss

    def generator_move(self, match) -> Tensor:
        """One descent step of G; its loss, detached. D stays bitwise as it is.

        G plays against D as it stands or, when `unroll_steps` is set, against what D would become by that many
        moves on these fakes and one fresh minibatch of data; D must then judge each sample by itself.
        """
        given = match.draw_given()
        fake = match.G(match.draw_latents(), *given)
        opponent = self._look_ahead(match, fake, given) if self.unroll_steps else match.D
        return match.descend(self.objective.generator(_logits(match, opponent(fake, *given))), "G")

    def _look_ahead(self, match, fake: Tensor, given: tuple) -> Callable[..., Tensor]:
        real, axis = match.draw_real(), len(match.batch_shape) - 1
        both = [torch.cat(pair, axis) for pair in zip(real, (fake, *given), strict=True)]

        def d_loss(D):
            if rowwise(match.D):  # then one pass over both says the same, and is faster
                logits = D(*both).chunk(2, axis)
            else:
                logits = D(*real), D(fake, *given)
            return self._d_loss(match, D, real, fake, logits)

        return unroll(match.D, match.optimisers["D"], d_loss, self.unroll_steps)

    def _d_loss(self, match, D: Callable, real: tuple, fake: Tensor, logits: tuple) -> Tensor:
        loss = self.objective.discriminator(*(_logits(match, each) for each in logits))
        if self.penalty:
            x, *given = real
            points = match.per_run(self.penalty.points, x, fake)
            loss = loss + self.penalty.at(lambda x: D(x, *given), points)
        return loss


def _logits(match, logits: Tensor) -> Tensor:
    if logits.shape != match.batch_shape:
        raise ValueError(
            f"expected D to return one logit a sample, shape {tuple(match.batch_shape)}, got {tuple(logits.shape)}"
        )
    return logits


@dataclass(frozen=True)
class Dial:
    """The number that a game has of its own: its name, its default, and the rules that a value stands for."""

    name: str
    default: float
    rules: Callable[[Any], Mapping[str, Any]]


DIALS = {
    "unrolled": Dial("unroll_steps", 5, lambda steps: {"unroll_steps": steps}),
    "WGAN": Dial("c", 0.3, lambda c: {"constrain": clip_weights(c)}),
    "WGAN-GP": Dial("lambda_gp", 1.0, lambda lambda_gp: {"penalty": gradient_penalty(lambda_gp)}),
}
_RULES = {
    "unrolled": Game(OBJECTIVES["non-saturating"]),
    "WGAN": Game(OBJECTIVES["wasserstein"], n_critic=5),
    "WGAN-GP": Game(OBJECTIVES["wasserstein"], n_critic=5),
}
# A new variant is one line; every objective is a game already.
GAMES: dict[str, Game] = {name: Game(objective) for name, objective in OBJECTIVES.items()} | {
    name: replace(game, **DIALS[name].rules(DIALS[name].default)) for name, game in _RULES.items()
}
