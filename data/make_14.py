"""Train the autoencoders of notebook 14 that a lecture should not wait for, and save them beside this file.

    python data/make_14.py

`digits-planes` are two decoders with codes in the plane, of an adversarial autoencoder and of a variational one, with
the codes of the held-out digits. Both see `ganlib.images.halves(digits())[0]` only. All numbers are stored as 16-bit
floats. It takes half a minute of one core.
"""

from pathlib import Path

import torch
from make_data import sign
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import softplus
from torch.optim.lr_scheduler import LambdaLR

from ganlib.images import digits, halves
from ganlib.networks import MLPDiscriminator, MLPGenerator, mlp
from ganlib.objectives import cross_entropy
from ganlib.training import Match, evaluate

HERE = Path(__file__).parent
PIXELS = 784


class Encoder(nn.Module):
    """Images (n, 1, 28, 28) -> n_out numbers each."""

    def __init__(self, n_out: int):
        super().__init__()
        self.body = mlp([PIXELS, 128, 128, n_out])

    def forward(self, x):
        return self.body(x.flatten(-3))


def sampled(mean, log_var, rng):
    """Codes drawn from N(mean, exp(log_var))."""
    return mean + (log_var / 2).exp() * torch.randn(mean.shape, generator=rng)


def vae_round(match):
    """The negative ELBO, less a constant, with the pixels' variance at its best for the minibatch."""
    (x,) = match.draw_real()
    mean, log_var = match.encoder(x).chunk(2, -1)
    z = match.per_run(sampled, mean, log_var)
    error = (match.G(z) - x).square().mean()
    kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(-1).mean()
    match.descend(PIXELS / 2 * error.log() + kl, "encoder", "G")
    return {"error": error.detach(), "kl": kl.detach()}


def aae_round(match, weight=0.03):
    """Reconstruct; D tells latents from codes; the encoder deceives D."""
    (x,) = match.draw_real()
    r = match.descend((match.G(match.encoder(x)) - x).square().mean(), "encoder", "G")
    d = match.descend(cross_entropy(match.D(match.draw_latents()), match.D(match.encoder(x).detach())), "D")
    e = match.descend(weight * softplus(-match.D(match.encoder(x))).mean(), "encoder")
    return {"error": r, "D": d, "encoder": e}


def train(match, a_round, steps: int) -> None:
    """Play the rounds; over the second half all rates fall to 0."""
    schedules = [LambdaLR(o, lambda step: min(1.0, 2 - 2 * step / steps)) for o in match.optimisers.values()]
    for step in range(1, steps + 1):
        losses = a_round(match)
        for schedule in schedules:
            schedule.step()
        if step % 500 == 0:
            print(step, {name: round(loss.item(), 4) for name, loss in losses.items()}, flush=True)


def make_planes(steps: int = 1000) -> None:
    """An AAE and a VAE with codes in the plane: decoders, and where they put the held-out images."""
    seen, held_out = halves(digits())
    weights = {}
    for kind, a_round in (("aae", aae_round), ("vae", vae_round)):
        torch.manual_seed(0)
        G, encoder = MLPGenerator((1, 28, 28), 2, (128, 128)), Encoder(4 if kind == "vae" else 2)
        players = {"G": G, "encoder": encoder, "D": MLPDiscriminator((2,), (64, 64))}
        match = Match(players, seen, batch_size=64, lr=1e-3, betas=(0.9, 0.999), seed=0)
        train(match, a_round, steps)
        weights |= {f"{kind}.{name}": value for name, value in G.state_dict().items()}
        weights[f"{kind}.codes"] = evaluate(encoder, held_out.images)  # of the VAE: means, log variances
    save(weights, "digits-planes", steps=steps)


def save(weights: dict[str, torch.Tensor], name: str, **facts) -> None:
    """Write the weights as 16-bit floats, the facts as metadata, and the file's checksum."""
    half = {key: value.half().contiguous() for key, value in weights.items()}
    save_file(half, HERE / f"{name}.safetensors", {key: str(value) for key, value in facts.items()})
    sign(f"{name}.safetensors")
    print(name, facts, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_planes()
