"""Objectives: a GAN is three scalar functions of a logit, and an `Objective` holds them as two losses.

All of them take *logits* D(x), never probabilities, because log(sigmoid(t)) computed from a rounded
sigmoid(t) has gradient exactly 0 at t = -100, while softplus stays exact. Both losses are minimised. They are
means over the last axis, so that logits (s, n) of s matches played at once give s losses.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class Objective:
    """What each player minimises, as a function of D's logits (..., n): a loss (...), the mean over the last axis.

    Of a `critic` the values are no logits: they have neither a scale nor a zero.
    """

    name: str
    discriminator: Callable[[Tensor, Tensor], Tensor]  # (real_logits, fake_logits) -> loss
    generator: Callable[[Tensor], Tensor]  # fake_logits -> loss
    critic: bool = False


def cross_entropy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-V(D, G) of equation (1.3), estimated on a minibatch (Goodfellow et al. 2014, eq. 1).

    With D = sigmoid(logit): -log D = softplus(-logit) and -log(1 - D) = softplus(logit).
    """
    return softplus(-real_logits).mean(-1) + softplus(fake_logits).mean(-1)


def least_squares(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """LSGAN with targets b = 1 for real and a = -1 for fake (Mao et al. 2017, eq. 2 and section 3.2.3)."""
    return 0.5 * ((real_logits - 1).square().mean(-1) + (fake_logits + 1).square().mean(-1))


def hinge(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Margin loss: no reward beyond +1 on real or -1 on fake (Lim and Ye 2017; Miyato et al. 2018)."""
    return relu(1 - real_logits).mean(-1) + relu(1 + fake_logits).mean(-1)


def critic_difference(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Minus the Kantorovich-Rubinstein difference (Arjovsky et al. 2017, eq. 2); D must be Lipschitz."""
    return fake_logits.mean(-1) - real_logits.mean(-1)


# A new objective is one line here: it is then in the tests, in GAMES and in the lab's menu.
OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective("minimax", cross_entropy, lambda fake_logits: -softplus(fake_logits).mean(-1)),
        Objective("non-saturating", cross_entropy, lambda fake_logits: softplus(-fake_logits).mean(-1)),
        Objective("least-squares", least_squares, lambda fake_logits: 0.5 * fake_logits.square().mean(-1)),
        Objective("hinge", hinge, lambda fake_logits: -fake_logits.mean(-1)),
        Objective("wasserstein", critic_difference, lambda fake_logits: -fake_logits.mean(-1), critic=True),
    )
}
