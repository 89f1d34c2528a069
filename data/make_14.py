"""Train the autoencoders of notebook 14 that need longer than a lecture, and save them beside this file.

    python data/make_14.py                     all of them, about five minutes of one core
    python data/make_14.py digits-vae          only this one

`digits-planes` are two decoders with codes in the plane, of an adversarial autoencoder and of a variational one, with
the codes of the held-out digits. `digits-vae` is a variational autoencoder whose decoder is the generator of notebook
05, to stand beside the bundled GAN. All see `ganlib.images.halves(data)[0]` only. Weights are stored as 16-bit floats;
the facts in a file's metadata were measured with the stored weights.
"""

import argparse
import time
from pathlib import Path

import torch
from make_data import sign
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import softplus
from torch.optim.lr_scheduler import LambdaLR

from ganlib.images import IMAGES, halves
from ganlib.metrics import frechet_distance
from ganlib.networks import DCGenerator, MLPDiscriminator, MLPGenerator, down, mlp
from ganlib.objectives import cross_entropy
from ganlib.pretrained import classifier
from ganlib.training import Match, evaluate, latents

HERE = Path(__file__).parent
PIXELS = 784


class Encoder(nn.Module):
    """Images (n, 1, 28, 28) -> n_out numbers each."""

    def __init__(self, n_out: int):
        super().__init__()
        self.body = mlp([PIXELS, 128, 128, n_out])

    def forward(self, x):
        return self.body(x.flatten(-3))


def conv_encoder(n_out: int) -> nn.Sequential:
    """The discriminator of notebook 05 at half its width, with n_out numbers at the end."""
    first = nn.Sequential(nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.LeakyReLU(0.2))
    return nn.Sequential(first, down(16, 32), nn.Flatten(), nn.Linear(32 * 7 * 7, n_out))


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
        if step % 1000 == 0:
            print(step, {name: round(loss.item(), 4) for name, loss in losses.items()}, flush=True)


def coded(match, x, rng):
    """Codes drawn from q(z | x), and the KL of each q from the prior."""
    mean, log_var = evaluate(match.encoder, x).chunk(2, -1)
    return sampled(mean, log_var, rng), 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(-1)


def stored(network):
    """Round the weights to 16-bit floats, in place, as they will be read."""
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.half())
    return {name: value.detach().contiguous() for name, value in network.state_dict().items()}


def make_vae(name: str, steps: int = 5000) -> None:
    """A VAE with 32 codes; the decoder is the generator of the bundled GAN, untrained."""
    seen, held_out = halves(IMAGES[name]())
    torch.manual_seed(0)
    players = {"G": DCGenerator(), "encoder": conv_encoder(2 * 32)}
    players = {key: player.to(memory_format=torch.channels_last) for key, player in players.items()}
    match = Match(players, seen, batch_size=64, lr=1e-3, betas=(0.9, 0.999), seed=0)
    start = time.process_time()
    train(match, vae_round, steps)
    seconds = time.process_time() - start
    weights = {f"{key}.{k}": v for key, player in players.items() for k, v in stored(player).items()}
    z, _ = coded(match, seen.images, torch.Generator().manual_seed(1))
    variance = (evaluate(match.G, z) - seen.images).square().mean()
    z, kl = coded(match, held_out.images, torch.Generator().manual_seed(1))
    error = (evaluate(match.G, z) - held_out.images).square().sum((1, 2, 3)).mean()
    nats = -PIXELS / 2 * (2 * torch.pi * variance).log() - error / (2 * variance) - kl.mean()
    features = classifier(name).features
    real = evaluate(features, held_out.images[::2])
    fake = evaluate(match.G, latents(match.G, len(real), torch.Generator().manual_seed(1)))
    score = frechet_distance(real, evaluate(features, fake))
    facts = dict(elbo=nats.item(), sigma=variance.sqrt().item(), frechet_distance=score, steps=steps)
    save(weights | {"sigma": variance.sqrt()[None]}, f"{name}-vae", **facts, seconds=round(seconds))


def make_planes(name: str, steps: int = 3000) -> None:
    """An AAE and a VAE with codes in the plane: decoders, and where they put the held-out images."""
    seen, held_out = halves(IMAGES[name]())
    weights = {}
    for kind, a_round in (("aae", aae_round), ("vae", vae_round)):
        torch.manual_seed(0)
        G, encoder = MLPGenerator((1, 28, 28), 2, (128, 128)), Encoder(4 if kind == "vae" else 2)
        players = {"G": G, "encoder": encoder, "D": MLPDiscriminator((2,), (64, 64))}
        match = Match(players, seen, batch_size=64, lr=1e-3, betas=(0.9, 0.999), seed=0)
        train(match, a_round, steps)
        weights |= {f"{kind}.{k}": v for k, v in stored(G).items()}
        weights[f"{kind}.codes"] = evaluate(encoder, held_out.images)  # of the VAE: means, log variances
    save(weights, f"{name}-planes", steps=steps)


def save(weights: dict[str, torch.Tensor], name: str, **facts) -> None:
    """Write the weights as 16-bit floats, the facts as metadata, and the file's checksum."""
    half = {key: value.half().contiguous() for key, value in weights.items()}
    save_file(half, HERE / f"{name}.safetensors", {key: str(value) for key, value in facts.items()})
    sign(f"{name}.safetensors")
    print(name, facts, flush=True)


MAKERS = {"vae": make_vae, "planes": make_planes}
NAMES = ["digits-planes", "digits-vae"]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="network", help=f"of {', '.join(NAMES)}; default: all")
    wanted = parser.parse_args().networks or NAMES
    if unknown := set(wanted) - set(NAMES):
        parser.error(f"expected some of {', '.join(NAMES)}, got {', '.join(unknown)}")
    torch.set_num_threads(1)
    for name in wanted:
        images, kind = name.split("-")
        MAKERS[kind](images)
