"""Games: an objective and the rules of play."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator, Tensor, nn

from ganlib.objectives import OBJECTIVES, Objective


@dataclass(frozen=True)
class Game:
    """A GAN variant as a value. Raises ValueError when n_critic < 1."""

    objective: Objective
    n_critic: int = 1  # k of Algorithm 1: discriminator moves before each generator move
    penalty: Callable[[nn.Module, Tensor, Tensor, Generator], Tensor] | None = None  # added to D's loss
    constrain: Callable[[nn.Module], None] | None = None  # applied to D after each of its moves

    def __post_init__(self):
        if not isinstance(self.n_critic, int) or self.n_critic < 1:
            raise ValueError(f"n_critic must be a whole number of at least 1, got {self.n_critic!r}")


# A new variant is one line here; every objective is a game already.
GAMES: dict[str, Game] = {name: Game(objective) for name, objective in OBJECTIVES.items()}
