"""Unrolling: D as it will be after K more moves of its own (Metz et al. 2017, section 2.2)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import SGD, Adam, Optimizer

Judge = Callable[..., Tensor]  # what G plays against: samples, and what is given with them -> logits


def unroll(D: nn.Module, optimiser: Optimizer, d_loss: Callable[[Judge], Tensor], steps: int) -> Judge:
    """The discriminator that D becomes after `steps` more moves, as a function x -> logits; D itself when steps is 0.

    It looks ahead as D would move: with its optimiser (Adam, or SGD without momentum) from its present state, down
    `d_loss`, a function of the discriminator at each step. Whatever d_loss depends on, the fakes above all, gets its
    gradient through the look-ahead; D and the optimiser stay as they are. Every step uses the minibatch in d_loss, as
    in the paper's code:

        opponent = unroll(D, opt_d, lambda D: objective.discriminator(D(real), D(fake)), steps=5)
        g_loss = objective.generator(opponent(fake))

    Raises ValueError for steps that are no whole number from 0 to 1000, for an optimiser that it cannot imitate, or
    does not train D, and for a D whose forward pass changes its buffers, as BatchNorm's does: looking ahead would
    change D.
    """
    if not isinstance(steps, int) or not 0 <= steps <= 1000:
        raise ValueError(f"steps must be a whole number from 0 to 1000, got {steps!r}")
    if steps == 0:
        return D
    trained = {name: p for name, p in D.named_parameters() if p.requires_grad}
    move = _imitate(optimiser, list(trained.values()))
    buffers = {name: buffer.clone() for name, buffer in D.named_buffers()}

    def discriminator(theta: Tensor) -> Judge:
        pieces = theta.split([p.numel() for p in trained.values()])
        weights = {name: piece.view_as(p) for (name, p), piece in zip(trained.items(), pieces, strict=True)}
        return lambda *x: functional_call(D, weights | buffers, x)

    theta = _flat(trained.values()).requires_grad_()  # all weights as one vector: fewer, larger kernels
    for _ in range(steps):
        loss = d_loss(discriminator(theta)).sum()  # over the runs, where many are played at once
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)  # itself a function of the fakes
        theta = move(theta, gradient)
    changed = [name for name, buffer in D.named_buffers() if not torch.equal(buffer, buffers[name])]
    if changed:
        raise ValueError(
            f"D's forward pass changes its buffers ({', '.join(changed)}), as BatchNorm's does, so looking ahead "
            "would change D: unroll a discriminator without such layers"
        )
    return discriminator(theta)


def _flat(tensors) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def _imitate(optimiser: Optimizer, parameters: list[Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The optimiser's next moves as a function (theta, gradient) -> theta that autograd can differentiate."""
    rule, unsupported = {
        Adam: (_adam, ("weight_decay", "amsgrad", "maximize")),
        SGD: (_sgd, ("weight_decay", "momentum", "maximize")),
    }.get(type(optimiser), (None, ()))
    if rule is None:
        raise ValueError(f"can look ahead with torch.optim.Adam or SGD, got {type(optimiser).__name__}")
    group, *others = optimiser.param_groups
    if {id(p) for p in group["params"]} != {id(p) for p in parameters} or others:
        raise ValueError("the optimiser must train the parameters of D, all of them and in one group")
    if wrong := [name for name in unsupported if group[name]]:
        raise ValueError(f"cannot look ahead with {', '.join(wrong)} set in {type(optimiser).__name__}")
    return rule(group, [optimiser.state.get(p, {}) for p in parameters], parameters)


def _sgd(group: dict, states: list[dict], parameters: list[Tensor]):
    return lambda theta, gradient: theta - group["lr"] * gradient


def _adam(group: dict, states: list[dict], parameters: list[Tensor]):
    """Kingma and Ba (2015), Algorithm 1, from the moments m, v and the step count t that the optimiser has now."""
    (beta1, beta2), lr, eps = group["betas"], group["lr"], group["eps"]
    zeros = [torch.zeros_like(p) for p in parameters]
    m = _flat(state.get("exp_avg", zero) for state, zero in zip(states, zeros, strict=True))
    v = _flat(state.get("exp_avg_sq", zero) for state, zero in zip(states, zeros, strict=True))
    t = int(states[0].get("step", 0))
    # A dead ReLU unit's v stays 0, where the slope of sqrt(v) is infinite and 0 * inf is not a number.
    tiny = torch.finfo(v.dtype).tiny

    def move(theta: Tensor, gradient: Tensor) -> Tensor:
        nonlocal m, v, t
        t += 1
        m = torch.lerp(m, gradient, 1 - beta1)
        v = torch.lerp(v, gradient.square(), 1 - beta2)
        root = (v + tiny).sqrt() / math.sqrt(1 - beta2**t)
        return torch.addcdiv(theta, m, root + eps, value=-lr / (1 - beta1**t))

    return move
