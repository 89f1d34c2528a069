"""Train the networks that come with the course, and save them beside this file.

    python data/make_weights.py                                 all four, one after the other
    python data/make_weights.py fashion-classifier              only this one

On one core a classifier takes about a minute, a generator about ten. A generator is scored with the classifier of its
images, so that one comes first. The files hold the weights and, as metadata, how good the network is on the half of
the images that it never saw (`ganlib.images.halves`): a test measures it again.
"""

import argparse
import time
from pathlib import Path

import torch
from make_data import sign
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from ganlib.games import GAMES
from ganlib.images import IMAGES, halves
from ganlib.metrics import frechet_distance
from ganlib.networks import Classifier, dcgan_players
from ganlib.pretrained import classifier
from ganlib.training import Match, evaluate, latents

HERE = Path(__file__).parent


def make_classifier(name: str, steps: int = 2000) -> None:
    """Cross-entropy on minibatches of 64, AdamW under a one-cycle schedule."""
    seen, held_out = halves(IMAGES[name]())
    torch.manual_seed(0)
    network, rng = Classifier(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, fused=True)
    schedule = OneCycleLR(optimiser, max_lr=4e-3, total_steps=steps)
    for _ in range(steps):
        which = torch.randint(len(seen), (64,), generator=rng)
        loss = cross_entropy(network(seen.images[which]), seen.labels[which])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    hits = evaluate(network, held_out.images).argmax(dim=1) == held_out.labels
    save(network, f"{name}-classifier", accuracy=hits.double().mean().item())


def make_generator(name: str, steps: int = 10_000) -> None:
    """The game of notebook 05 for longer; over the second half both learning rates fall to 0, so that it settles."""
    seen, held_out = halves(IMAGES[name]())
    G, D = dcgan_players(seen.shape, seed=0)
    match = Match((G, D), seen, batch_size=64, lr_g=2e-3, lr_d=5e-4, seed=0)
    schedules = [
        LambdaLR(optimiser, lambda step: min(1.0, 2 - 2 * step / steps))
        for optimiser in match.optimisers.values()
    ]
    features = classifier(name).features
    real = evaluate(features, held_out.images[::2])
    z = latents(G, len(real), torch.Generator().manual_seed(1))
    for step in range(1, steps + 1):
        GAMES["non-saturating"](match)
        for schedule in schedules:
            schedule.step()
        if step % 1000 == 0:
            score = frechet_distance(real, evaluate(features, evaluate(G, z)))
            print(f"{name}, step {step}: Frechet distance {score:.2f}", flush=True)
    save(G, f"{name}-generator", frechet_distance=score, steps=steps)


def save(network: torch.nn.Module, name: str, **facts) -> None:
    """Write the weights, contiguous, with the facts as metadata, and their checksum."""
    weights = {key: value.detach().contiguous() for key, value in network.state_dict().items()}
    save_file(weights, HERE / f"{name}.safetensors", {key: str(value) for key, value in facts.items()})
    sign(f"{name}.safetensors")
    print(name, facts, flush=True)


MAKERS = {"classifier": make_classifier, "generator": make_generator}
NAMES = [f"{images}-{kind}" for kind in MAKERS for images in IMAGES]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="network", help=f"of {', '.join(NAMES)}; default: all")
    wanted = parser.parse_args().networks or NAMES
    if unknown := set(wanted) - set(NAMES):
        parser.error(f"expected some of {', '.join(NAMES)}, got {', '.join(unknown)}")
    torch.set_num_threads(1)
    for name in wanted:
        start = time.process_time()
        images, kind = name.split("-")
        MAKERS[kind](images)
        print(f"{time.process_time() - start:.0f} s of one core", flush=True)
