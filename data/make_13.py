"""Play what notebook 13 shows and cannot play in its time, and save the results beside this file.

    python data/make_13.py                 all five parts, about half an hour of one core
    python data/make_13.py semi infogan    only these

Parts: `told` (how loud must D be told the label?), `draw` (a small convolutional cGAN, whose weights are kept),
`semi` (100 labels), `infogan`, `augment`. Each writes 13-PART.npz: the numbers of each run, by seed, and some
samples as bytes. All train on `halves(digits())[0]` and are judged by the other half and the classifier that comes
with the course. `told` goes on where it was interrupted: delete its file to play it anew. Settings were chosen with
seeds 0, and 100 and more; what is saved are the seeds 1, 2, 3.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from make_data import sign
from safetensors.torch import save_file
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn.functional import cross_entropy, one_hot, pad, softplus
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from ganlib.images import digits, halves
from ganlib.metrics import frechet_distance
from ganlib.networks import Classifier, DCGenerator, MLPGenerator, down, init_dcgan, mlp
from ganlib.pretrained import classifier
from ganlib.training import evaluate

HERE = Path(__file__).parent
SEEN, HELD_OUT = halves(digits())
JUDGE = classifier("digits")
ASKED = torch.arange(10).repeat(250)  # 2,500 digits to ask for, as many as were held out
BATCH = 64


# ---- tools -----------------------------------------------------------------------------------------------------


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(x, y, generator):
    which = torch.randint(len(x), (BATCH,), generator=generator)
    return x[which], y[which]


def adam(groups, lr: float, steps: int, parts):
    """Adam with beta_1 = 1/2, whose rate falls to 0 over the second half of the steps."""
    optimiser = torch.optim.Adam(groups, lr, (0.5, 0.999), fused=True)
    parts.append(LambdaLR(optimiser, lambda step: min(1.0, 2 - 2 * step / steps)))
    return optimiser


def descend(loss, *optimisers):
    for optimiser in optimisers:
        optimiser.zero_grad()
    loss.backward(inputs=[p for o in optimisers for group in o.param_groups for p in group["params"]])
    for optimiser in optimisers:
        optimiser.step()


def read_as(x):
    return torch.cat([evaluate(JUDGE, part) for part in x.split(500)]).argmax(1)


def features(x):
    return torch.cat([evaluate(JUDGE.features, part) for part in x.split(500)])


REAL_FEATURES = features(HELD_OUT.images)


def frechet(x):
    """Of 2,500 images from the 2,500 held out."""
    return frechet_distance(REAL_FEATURES, features(x))


def variety(x, y):
    """The deviation of a pixel within a class, as a share of the held-out digits' own."""
    within = [
        torch.stack([images[labels == k].std(0).mean() for k in range(10)]).mean()
        for images, labels in ((x, y), (HELD_OUT.images, HELD_OUT.labels))
    ]
    return (within[0] / within[1]).item()


def slant(x):
    """By how many pixels a digit leans to the right for each pixel upwards."""
    ink = ((x[:, 0] + 1) / 2).clamp(min=0)
    down_, right = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    mass = ink.sum((1, 2)) + 1e-6
    dy = down_ - ((ink * down_).sum((1, 2)) / mass)[:, None, None]
    dx = right - ((ink * right).sum((1, 2)) / mass)[:, None, None]
    return -(ink * dx * dy).sum((1, 2)) / ((ink * dy * dy).sum((1, 2)) + 1e-6)


def best_matching(a, b):
    """The share on which two labellings agree, after the best renaming of the classes of one."""
    table = torch.zeros(10, 10).index_put_((a, b), torch.ones(len(a)), accumulate=True).numpy()
    rows, columns = linear_sum_assignment(-table)
    return table[rows, columns].sum() / len(a)


def as_bytes(x):
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)[:, 0].numpy()


def table(part: str, rows: list[dict], **arrays) -> None:
    """The rows as columns of one npz file, with further arrays."""
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    np.savez_compressed(HERE / f"13-{part}.npz", **columns, **arrays)
    sign(f"13-{part}.npz")


def finished(part: str) -> tuple[list[dict], dict]:
    """The rows and the further arrays of a run that was interrupted; none where there is no file."""
    path = HERE / f"13-{part}.npz"
    if not path.exists():
        return [], {}
    arrays = dict(np.load(path))
    columns = [name for name in arrays if arrays[name].shape == arrays["seed"].shape]
    rows = [{name: arrays[name][i].item() for name in columns} for i in range(len(arrays["seed"]))]
    return rows, {name: values for name, values in arrays.items() if name not in columns}


def keep(part: str, network: nn.Module) -> None:
    """The weights as halves of floats."""
    weights = {name: w.detach().contiguous() for name, w in network.state_dict().items()}
    weights = {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}
    save_file(weights, HERE / f"13-{part}.safetensors")
    sign(f"13-{part}.safetensors")


def say(part, row, start):
    print(part, {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()},
          f"{time.process_time() - start:.0f} s", flush=True)  # fmt: skip


# ---- told: how loud must D be told the label? ----------------------------------------------------------------


class Told(nn.Module):
    """D of a digit and its label, 784 + 10 -> 256 -> 256 -> 1; the weights of the label start `start` times as large
    as the others. With start = rate = s, where `rate` multiplies their learning rate, this is a D that is given s
    times the one-hot label."""

    def __init__(self, start: float):
        super().__init__()
        self.first, self.rest = nn.Linear(794, 256), mlp([256, 256, 1])
        self.label = nn.Parameter(self.first.weight.detach()[:, 784:] * start)
        self.first.weight = nn.Parameter(self.first.weight.detach()[:, :784].clone())

    def forward(self, x, y):
        return self.rest(torch.relu(self.first(x.flatten(1)) + y @ self.label.T)).squeeze(1)


def told_run(seed, start, rate, steps=2000, lr_g=2e-3, lr_d=1e-3):
    torch.manual_seed(seed)
    G, D, g, schedules = MLPGenerator((1, 28, 28), 32, (256, 256), n_given=10), Told(start), rng(seed), []
    others = [p for name, p in D.named_parameters() if name != "label"]
    opt_g = adam(G.parameters(), lr_g, steps, schedules)
    opt_d = adam([{"params": others}, {"params": [D.label], "lr": lr_d * rate}], lr_d, steps, schedules)
    for _ in range(steps):
        x, y = batch(SEEN.images, one_hot(SEEN.labels, 10).float(), g)
        for player in "DG":
            asked = one_hot(torch.randint(10, (BATCH,), generator=g), 10).float()
            fake = G(torch.randn(BATCH, 32, generator=g), asked)
            if player == "D":
                descend(softplus(-D(x, y)).mean() + softplus(D(fake.detach(), asked)).mean(), opt_d)
            else:
                descend(softplus(-D(fake, asked)).mean(), opt_g)
        for schedule in schedules:
            schedule.step()
    x = evaluate(G, torch.randn(2500, 32, generator=g), one_hot(ASKED, 10).float())
    return {
        "read": (read_as(x) == ASKED).float().mean().item(),
        "frechet": frechet(x),
        "variety": variety(x, ASKED),
    }, x


def told(seeds=range(1, 3), steps=2000):
    rows, pictures = finished("told")
    for seed in seeds:
        for start, rate in ((10, 10), (0, 0), (1, 10), (10, 1), (1, 1)):
            if any((row["start"], row["rate"], row["seed"]) == (start, rate, seed) for row in rows):
                continue
            begun = time.process_time()
            row, x = told_run(seed, start, rate, steps)
            rows.append({"start": start, "rate": rate, "seed": seed, **row})
            say("told", rows[-1], begun)
            if seed == 1 and start == rate:
                pictures[f"images_{start}"] = as_bytes(x[:100])
            table("told", rows, **pictures)


# ---- draw: a convolutional D that is told the label by a projection, and a Q that reads two codes -----------


class Projection(nn.Module):
    """A digit and its label -> logit (n,), and what Q reads from the same features, (n, n_codes)."""

    def __init__(self, width=24, n_codes=2):
        super().__init__()
        n = 2 * width * 49
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(0.2), down(width, 2 * width), nn.Flatten()
        )
        self.head, self.label, self.Q = nn.Linear(n, 1), nn.Linear(10, n, bias=False), nn.Linear(n, n_codes)

    def forward(self, x, y):
        h = self.features(x)
        return self.head(h).squeeze(1) + (self.label(y) * h).sum(1), self.Q(h)


def draw_run(seed, x_all, y_all, steps, n_codes=2, pay=1.0, z_dim=14):
    """G of (z, label, codes), and `make(labels, generator)` -> digits, codes."""
    torch.manual_seed(seed)
    G, D, g, schedules = (
        DCGenerator((1, 28, 28), z_dim + 10 + n_codes, 24),
        Projection(n_codes=n_codes),
        rng(seed),
        [],
    )
    G, D = (init_dcgan(player).to(memory_format=torch.channels_last) for player in (G, D))
    opt_g, opt_d = adam(G.parameters(), 2e-3, steps, schedules), adam(D.parameters(), 5e-4, steps, schedules)
    labels = one_hot(y_all, 10).float()

    def inputs(asked, generator):
        c = 2 * torch.rand(len(asked), n_codes, generator=generator) - 1
        return torch.cat([torch.randn(len(asked), z_dim, generator=generator), asked, c], 1), c

    for _ in range(steps):
        x, y = batch(x_all, labels, g)
        for player in "DG":
            asked = one_hot(torch.randint(10, (BATCH,), generator=g), 10).float()
            v, c = inputs(asked, g)
            fake = G(v)
            logit, guess = D(fake.detach() if player == "D" else fake, asked)
            information = pay * (guess - c).square().mean() if n_codes else 0.0
            if player == "D":
                descend(softplus(-D(x, y)[0]).mean() + softplus(logit).mean() + information, opt_d)
            else:
                descend(softplus(-logit).mean() + information, opt_g)
        for schedule in schedules:
            schedule.step()

    def make(asked, generator):
        v, c = inputs(one_hot(asked, 10).float(), generator)
        return torch.cat([evaluate(G, part) for part in v.split(500)]), v, c

    return G, D, make


def swing(G, v, place, measure):
    """What G's digits gain in `measure` when the code at `place` goes from -1 to 1; and how many gain."""
    low, high = v.clone(), v.clone()
    low[:, place], high[:, place] = -1, 1
    gain = measure(evaluate(G, high)) - measure(evaluate(G, low))
    return gain.mean().item(), (gain > 0).float().mean().item()


def draw(seeds=range(1, 4), steps=1000):
    rows = []
    for seed in seeds:
        begun = time.process_time()
        G, D, make = draw_run(seed, SEEN.images, SEEN.labels, steps)
        x, v, c = make(ASKED, rng(seed))
        row = {"seed": seed, "read": (read_as(x) == ASKED).float().mean().item(), "frechet": frechet(x),
               "variety": variety(x, ASKED)}  # fmt: skip
        for code in range(2):
            row[f"slant_{code}"], row[f"slant_up_{code}"] = swing(G, v[:500], 24 + code, slant)
            row[f"ink_{code}"], row[f"ink_up_{code}"] = swing(
                G, v[:500], 24 + code, lambda x: x.mean((1, 2, 3))
            )
        rows.append(row)
        say("draw", row, begun)
        if seed == 1:
            keep("draw", G)
    table("draw", rows, real_slant=slant(HELD_OUT.images).std().item())


# ---- semi: a hundred labels -----------------------------------------------------------------------------------


class Noise(nn.Module):
    def __init__(self, sd):
        super().__init__()
        self.sd = sd

    def forward(self, x):
        return x + self.sd * torch.randn_like(x) if self.training else x


class Reader(nn.Module):
    """784 pixels in [0, 1] -> ten logits, with noise on what enters each layer, as in Salimans et al. (2016)."""

    def __init__(self, width=256):
        super().__init__()
        self.features = nn.Sequential(
            Noise(0.3), nn.Linear(784, width), nn.ReLU(), Noise(0.5), nn.Linear(width, width), nn.ReLU(),
            Noise(0.5), nn.Linear(width, width), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(Noise(0.5), nn.Linear(width, 10))

    def forward(self, x):
        return self.head(self.features(x))


def semi_run(seed, arm, steps=1000, lr=3e-3):
    """Held-out accuracy. Arms: labels, pseudo (no GAN), matching (GAN), and non-saturating (the same GAN with the cost
    of notebook 04 for G)."""
    torch.manual_seed(seed)
    g, schedules, net = rng(seed), [], Reader()
    pixels, held_out = ((t.images.flatten(1) + 1) / 2 for t in (SEEN, HELD_OUT))
    given = labelled_ones(seed, 10)
    G = nn.Sequential(
        nn.Linear(50, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU(),
        nn.Linear(256, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 784), nn.Sigmoid(),
    )  # fmt: skip
    steps = 500 if arm == "labels" else steps
    opt_d, opt_g = adam(net.parameters(), lr, steps, schedules), adam(G.parameters(), lr, steps, schedules)
    for step in range(steps):
        x, y = batch(pixels[given], SEEN.labels[given], g)
        loss = cross_entropy(net(x), y)
        u, _ = batch(pixels, SEEN.labels, g)
        if arm == "pseudo":
            sure, guess = evaluate(net, u).softmax(1).max(1)
            each = cross_entropy(net(u), guess, reduction="none") * (sure > 0.9)
            loss = loss + min(1.0, 2 * step / steps) * each.mean()
        elif arm != "labels":
            fake = G(torch.randn(BATCH, 50, generator=g)).detach()
            real_logit, fake_logit = net(torch.cat([u, fake])).logsumexp(1).chunk(2)
            loss = loss + (softplus(-real_logit) + softplus(fake_logit)).mean() / 2
        descend(loss, opt_d)
        if arm in ("matching", "non-saturating"):
            u, _ = batch(pixels, SEEN.labels, g)
            fake = G(torch.randn(BATCH, 50, generator=g))
            if arm == "matching":
                real_f, fake_f = net.features(torch.cat([u, fake])).chunk(2)
                descend(10 * (real_f.mean(0) - fake_f.mean(0)).square().mean(), opt_g)
            else:
                descend(softplus(-net(fake).logsumexp(1)).mean(), opt_g)
        for schedule in schedules:
            schedule.step()
    right = (evaluate(net, held_out).argmax(1) == HELD_OUT.labels).float().mean().item()
    x = evaluate(G, torch.randn(2500, 50, generator=g)).view(-1, 1, 28, 28) * 2 - 1
    return {"accuracy": right, "frechet": frechet(x) if arm in ("matching", "non-saturating") else np.nan}, x


def labelled_ones(seed, per_class):
    """Which of the seen digits have labels: as many of each class."""
    g = rng(1000 + seed)
    places = [torch.nonzero(SEEN.labels == k).flatten() for k in range(10)]
    return torch.cat([place[torch.randperm(len(place), generator=g)[:per_class]] for place in places])


def semi(seeds=range(1, 4)):
    rows, pictures = [], {}
    for seed in seeds:
        for arm in ("labels", "pseudo", "matching", "non-saturating"):
            begun = time.process_time()
            row, x = semi_run(seed, arm)
            rows.append({"arm": arm, "seed": seed, **row})
            say("semi", rows[-1], begun)
            if seed == 1 and arm in ("matching", "non-saturating"):
                pictures[f"images_{arm}"] = as_bytes(x[:50])
        table("semi", rows, **pictures)


# ---- infogan ---------------------------------------------------------------------------------------------------


class Reading(nn.Module):
    """A digit -> logit (n,), and Q's ten logits and two codes (n, 12), from shared features."""

    def __init__(self, width=256):
        super().__init__()
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(784, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2)
        )
        self.head = nn.Linear(width, 1)
        self.Q = nn.Sequential(nn.Linear(width, 64), nn.LeakyReLU(0.2), nn.Linear(64, 12))

    def forward(self, x):
        h = self.features(x)
        return self.head(h).squeeze(1), self.Q(h)


def infogan_run(seed, paid, steps=2200, z_dim=20, weight=0.3, weight_codes=0.1):
    """With paid=False only Q learns to read the codes, and G is not rewarded for it."""
    torch.manual_seed(seed)
    G, D, g, schedules = MLPGenerator((1, 28, 28), z_dim + 12, (256, 256)), Reading(), rng(seed), []
    opt_g = adam(G.parameters(), 2e-3, steps, schedules)
    opt_d = adam(D.parameters(), 1e-3, steps, schedules)

    def draw(n):
        k, c = torch.randint(10, (n,), generator=g), 2 * torch.rand(n, 2, generator=g) - 1
        return torch.cat([torch.randn(n, z_dim, generator=g), one_hot(k, 10).float(), c], 1), k, c

    def unread(q, k, c):
        return weight * cross_entropy(q[:, :10], k) + weight_codes * (q[:, 10:] - c).square().mean()

    for _ in range(steps):
        x, _ = batch(SEEN.images, SEEN.labels, g)
        v, k, c = draw(BATCH)
        logit, q = D(G(v).detach())
        descend(softplus(-D(x)[0]).mean() + softplus(logit).mean() + unread(q, k, c), opt_d)
        v, k, c = draw(BATCH)
        logit, q = D(G(v))
        descend(softplus(-logit).mean() + (unread(q, k, c) if paid else 0.0), opt_g)
        for schedule in schedules:
            schedule.step()
    v, k, c = draw(2500)
    x = evaluate(G, v)
    _, q = evaluate(D, x)
    _, q_real = evaluate(D, HELD_OUT.images)
    row = {
        "q_right": (q[:, :10].argmax(1) == k).float().mean().item(),
        "q_code_error": (q[:, 10:] - c).square().mean().item(),
        "matching_fake": float(best_matching(k, read_as(x))),
        "matching_real": float(best_matching(q_real[:, :10].argmax(1), HELD_OUT.labels)),
        "frechet": frechet(x),
    }
    for code in range(2):
        row[f"slant_{code}"], row[f"slant_up_{code}"] = swing(G, v[:500], z_dim + 10 + code, slant)
        row[f"ink_{code}"], row[f"ink_up_{code}"] = swing(
            G, v[:500], z_dim + 10 + code, lambda x: x.mean((1, 2, 3))
        )
    return row, G


def infogan(seeds=range(1, 4), z_dim=20):
    rows, pictures, real_slant = [], {}, slant(HELD_OUT.images).std().item()
    for seed in seeds:
        for paid in (True, False):
            begun = time.process_time()
            row, G = infogan_run(seed, paid)
            rows.append({"paid": paid, "seed": seed, **row})
            say("infogan", rows[-1], begun)
            if seed == 1 and paid:
                z = torch.randn(10, z_dim, generator=rng(9))
                classes = torch.eye(10).repeat_interleave(10, 0)
                grid = torch.cat([z.repeat(10, 1), classes, torch.zeros(100, 2)], 1)
                pictures["images"] = as_bytes(evaluate(G, grid))
                keep("infogan", G)
        table("infogan", rows, real_slant=real_slant, **pictures)


# ---- augment: does a GAN add labels? --------------------------------------------------------------------------


def shifted(x, g, by=2):
    """Each image moved by up to `by` pixels either way."""
    padded = pad(x, (by,) * 4, value=-1.0)[:, 0]
    dy, dx = torch.randint(2 * by + 1, (2, len(x), 1), generator=g)
    rows, columns = dy + torch.arange(28), dx + torch.arange(28)
    return padded[torch.arange(len(x))[:, None, None], rows[:, :, None], columns[:, None, :]][:, None]


def learned(seed, x, y, fakes=None, share=0.0, shifts=False, steps=300):
    """Held-out accuracy of the course's classifier, a share of each batch being fakes."""
    torch.manual_seed(seed)
    g, net = rng(seed), Classifier()
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3, fused=True)
    schedule, n_fake = OneCycleLR(optimiser, max_lr=4e-3, total_steps=steps), round(BATCH * share)
    for _ in range(steps):
        images, labels = batch(x, y, g)
        images = shifted(images, g) if shifts else images
        if n_fake:
            which = torch.randint(len(fakes[0]), (n_fake,), generator=g)
            images = torch.cat([images[n_fake:], fakes[0][which]])
            labels = torch.cat([labels[n_fake:], fakes[1][which]])
        descend(cross_entropy(net(images), labels), optimiser)
        schedule.step()
    guess = torch.cat([evaluate(net, part) for part in HELD_OUT.images.split(500)]).argmax(1)
    return (guess == HELD_OUT.labels).float().mean().item()


def augment(seeds=range(1, 4), steps=400, per_class=20):
    rows = []
    for seed in seeds:
        given = labelled_ones(seed, per_class)
        x, y = SEEN.images[given], SEEN.labels[given]
        begun = time.process_time()
        _, _, make = draw_run(seed, x, y, steps, n_codes=0, z_dim=24)
        fakes = make(torch.arange(10).repeat(300), rng(seed))[0], torch.arange(10).repeat(300)
        read = (read_as(fakes[0]) == fakes[1]).float().mean().item()
        for share, shifts in ((0.0, 0), (0.25, 0), (0.5, 0), (0.75, 0), (0.0, 1), (0.5, 1)):
            right = learned(seed, x, y, fakes, share, shifts)
            rows.append({"seed": seed, "read": read, "share": share, "shifts": shifts, "accuracy": right})
            say("augment", rows[-1], begun)
        table("augment", rows)


PARTS = {"told": told, "draw": draw, "semi": semi, "infogan": infogan, "augment": augment}

if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        sys.exit(f"expected some of {', '.join(PARTS)}, got {', '.join(unknown)}")
    torch.set_num_threads(1)
    for name in wanted:
        PARTS[name]()
