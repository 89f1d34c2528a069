"""Make data/tuned-noise.npz, the pictures of notebook 16 that are noise to people and data to the classifier.

    python data/make_16.py

For digits and for clothes 500 pictures, bytes (500, 28, 28), from 0 (black) to 255. They start as noise, and gradient
descent on their pixels brings the classifier's features of each near those of a training picture: `tuned_noise` of the
notebook, with more steps. About five minutes of one core. Another machine rounds otherwise and ends in other pictures
of about the same worth; their checksum goes into SHA256SUMS.
"""

from pathlib import Path

import numpy as np
import torch
from make_data import sign

from ganlib.images import digits, fashion, halves
from ganlib.pretrained import classifier
from ganlib.training import evaluate

N, STEPS = 500, 120


def tuned_noise(features, goal, rng, steps):
    """len(goal) pictures that begin as noise and whose features are brought near `goal`."""
    x = (0.5 * torch.randn(len(goal), 1, 28, 28, generator=rng)).clamp(-1, 1).requires_grad_()
    adam = torch.optim.Adam([x], lr=0.15, betas=(0.5, 0.9))
    for step in range(steps):
        adam.param_groups[0]["lr"] = 0.15 * (1 - step / steps)
        miss = (features(x) - goal).square().sum(1).mean()
        (x.grad,) = torch.autograd.grad(miss, x)
        adam.step()
        x.data.clamp_(-1, 1)
    return x.detach()


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = {}
    for name, data in (("digits", digits()), ("fashion", fashion())):
        seen, rng, judge = halves(data)[0], torch.Generator().manual_seed(16), classifier(name)
        goal = evaluate(judge.features, seen.images)[torch.randperm(len(seen), generator=rng)[:N]]
        x = tuned_noise(judge.features, goal, rng, STEPS)
        made[name] = ((x[:, 0] + 1) * 127.5).round().byte().numpy()
        back = torch.from_numpy(made[name])[:, None] / 127.5 - 1
        miss = (evaluate(judge.features, back) - goal).square().sum(1).mean()
        print(f"{name}: mean squared distance of the features {miss:.3f}, of the goals from their mean "
              f"{(goal - goal.mean(0)).square().sum(1).mean():.1f}")  # fmt: skip
    np.savez_compressed(Path(__file__).with_name("tuned-noise.npz"), **made)
    sign("tuned-noise.npz")
