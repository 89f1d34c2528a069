"""Games: an objective and the rules of play."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator, Tensor, nn

from ganlib.objectives import OBJECTIVES, Objective
from ganlib.penalties import Penalty, clip_weights, gradient_penalty


@dataclass(frozen=True)
class Game:
    """A GAN variant as a value. Raises ValueError for n_critic < 1, unroll_steps < 0, or both
    unroll_steps and a constraint."""

    objective: Objective
    n_critic: int = 1  # k of Algorithm 1: discriminator moves before each generator move
    # added to D's loss: a `Penalty`, or any function of D, real and fake samples and a random stream
    penalty: Penalty | Callable[[nn.Module, Tensor, Tensor, Generator], Tensor] | None = None
    constrain: Callable[[nn.Module], None] | None = None  # applied to D after each of its moves
    unroll_steps: int = 0  # K: moves of D that G looks ahead (Metz et al. 2017)

    def __post_init__(self):
        if not isinstance(self.n_critic, int) or self.n_critic < 1:
            raise ValueError(f"n_critic must be a whole number of at least 1, got {self.n_critic!r}")
        if not isinstance(self.unroll_steps, int) or self.unroll_steps < 0:
            raise ValueError(f"unroll_steps must be a whole number of at least 0, got {self.unroll_steps!r}")
        if self.unroll_steps and self.constrain:
            raise ValueError(
                "unroll_steps and constrain exclude each other: a constraint is not looked ahead through"
            )


# A new variant is one line here; every objective is a game already.
GAMES: dict[str, Game] = {name: Game(objective) for name, objective in OBJECTIVES.items()} | {
    "unrolled": Game(OBJECTIVES["non-saturating"], unroll_steps=5),
    "WGAN": Game(OBJECTIVES["wasserstein"], n_critic=5, constrain=clip_weights(0.3)),
    "WGAN-GP": Game(OBJECTIVES["wasserstein"], n_critic=5, penalty=gradient_penalty(1.0)),
}
