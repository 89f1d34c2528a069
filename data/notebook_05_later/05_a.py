# %% [markdown]
# # 5 · DCGAN
#
# **How do we get pictures?**
#
# *Before you start:* notebook 03 (training), and what a convolutional network is.
# *Time:* about two hours with the exercises. The cells run for about six minutes on two cores, nearly all of it
# training; a GPU is used if there is one.
#
# **What you will learn.** A cell below checks each of these claims.
#
# 1. A transposed convolution is the transpose of a strided one: $\langle Ax, y\rangle = \langle x, A^\top y\rangle$
#    to rounding. The sizes follow (5.2) and (5.4), and the cover is even only where the stride divides the kernel (Section 2).
# 2. Batch norm keeps a signal alive through layers of small weights; in the first layer of $D$ it would hide
#    brightness and contrast, and it makes a verdict depend on the rest of the batch (Section 4).
# 3. "Better" is a number: the Fréchet distance to images that nobody was trained on is smaller for the trained
#    generator than for an untrained one, and larger than for real images (Sections 5 and 6).
# 4. Half-way between two latents a straight line is too short by $1/\sqrt2$, an average of three latents is what
#    arithmetic needs, and the generator has not copied its training images (Sections 7 to 9).

# %% [markdown]
# Everything this notebook uses is imported here.

# %%
import copy
import math
import os
import time

import matplotlib.pyplot as plt
import torch
from ipywidgets import FloatSlider, IntSlider
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F

from ganlib.checks import check
from ganlib.games import GAMES
from ganlib.images import digits, fashion
from ganlib.lab import Lab
from ganlib.plotting import FAKE, G_COLOUR, REAL, image_grid, losses, use_theme
from ganlib.pretrained import classifier, frechet_distance, generator, halves
from ganlib.training import evaluate, latents, train
from ganlib.widgets import explore

use_theme()
torch.set_num_threads(1)


# %% [markdown]
# A claim that a cell checks is printed with its verdict, and random numbers come from a stream with a seed:

# %%
def claim(statement, holds):
    """Print PASS or FAIL, and the statement."""
    print(f"{'PASS' if holds else 'FAIL'}: {statement}")


def rng(seed):
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## 1 · Pictures
#
# The data are small grey pictures of clothes (Fashion-MNIST; Xiao et al. 2017), $28 \times 28$ numbers from $-1$ (black)
# to $1$ (white). We keep every second picture away from everything that learns: networks
# see `seen`, and are judged on `held_out`.

# %% tags=["nbval-check-output"]
seen, held_out = halves(fashion())
print(len(seen), "pictures to learn from and", len(held_out), "held out, each of shape", seen.shape)

# %% [markdown]
# Four of each of the ten classes:

# %%
fig, ax = plt.subplots(figsize=(10, 4.4))
columns = [seen.images[seen.labels == label][:4] for label in range(10)]
image_grid(ax, torch.stack(columns, dim=1).flatten(0, 1), columns=10)
for i, name in enumerate(seen.names):
    ax.text(28 * i + 14, -3, name, ha="center", size=13)
plt.show()

# %% [markdown]
# *Figure 5.1.* Pictures of clothes, one class a column. Neighbouring pixels are alike, edges run through many of them,
# and a shoe is a shoe wherever it stands.
#
# The networks of notebook 03 knew nothing of this. Shuffle the pixels of all pictures in one and the same way:
# for a multilayer perceptron the task is exactly as hard as before, because its first layer treats all inputs alike.
# A **convolution** builds the neighbourhood in: every output looks at a small window, and all windows share their
# weights. Radford, Metz and Chintala (2016) found a family of convolutional players that trains stably, the **DCGAN**
# (deep convolutional GAN). Their section 3 lists five rules, and this notebook looks into each:
#
# | rule of the paper | here |
# |---|---|
# | strided convolutions in $D$ and transposed ones in $G$ instead of pooling | Sections 2 and 3, Exercise 3 |
# | batch norm in both players, but not in $G$'s last layer and not in $D$'s first | Section 4, Exercises 1 and 2 |
# | no hidden fully connected layers | Section 3 |
# | ReLU in $G$, and tanh at its end | Section 3 |
# | leaky ReLU in $D$ | Section 3 |

# %% [markdown]
# ## 2 · Down by strides, and up again
#
# Take one row of numbers first: $x_0, \dots, x_{n-1}$, a kernel of $k$ weights $w_0, \dots, w_{k-1}$, a **stride** $s$ and a
# **padding** $p$. The window moves by $s$ numbers at a time, and starts $p$ places before the row; outside the row
# all is zero:
#
# $$ y_i = \sum_{j=0}^{k-1} w_j \, x_{s i + j - p}, \qquad i = 0, \dots, n' - 1. \tag{5.1} $$
#
# The last window must end within the padded row, $s(n' - 1) + k \le n + 2p$, so there are
#
# $$ n' = \left\lfloor \frac{n + 2p - k}{s} \right\rfloor + 1 \tag{5.2} $$
#
# of them, where $\lfloor\cdot\rfloor$ rounds down. With $s = 2$ the row becomes half as long: the network looks at
# larger things with fewer numbers.

# %%
def convolve(x, w, stride, padding):
    """Equation (5.1) for one row x."""
    x = F.pad(x, (padding, padding))
    starts = range(0, len(x) - len(w) + 1, stride)
    return torch.stack([x[start : start + len(w)] @ w for start in starts])


# %% [markdown]
# Every $y_i$ is a weighted sum, so the whole is a matrix: $y = A x$. Column $j$ of $A$ is the answer to the row
# that is 1 at place $j$ and 0 elsewhere.

# %% tags=["nbval-check-output"]
w = torch.tensor([1.0, 2.0, 3.0, 4.0])
A = torch.stack([convolve(unit, w, stride=2, padding=1) for unit in torch.eye(8)], dim=1)
x, y = torch.randn(8, generator=rng(0)), torch.randn(4, generator=rng(1))
claim("y = A x is PyTorch's strided convolution",
      torch.allclose(A @ x, F.conv1d(x[None, None], w[None, None], stride=2, padding=1)[0, 0]))  # fmt: skip

# %% [markdown]
# A generator has to go the other way, from few numbers to many. The transposed matrix $A^\top$ has the right shape,
# and this is all that a **transposed convolution** is.

# %% tags=["nbval-check-output"]
claim("A^T y is PyTorch's transposed convolution",
      torch.allclose(A.T @ y, F.conv_transpose1d(y[None, None], w[None, None], stride=2, padding=1)[0, 0]))  # fmt: skip

# %% [markdown]
# Here are the two matrices.

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 4.6))
for ax, matrix, title in zip(axes, (A, A.T), ("convolution: $y = A x$", "transposed: $x' = A^{\\top} y$"), strict=True):
    ax.imshow(matrix, cmap="Blues", vmin=0, vmax=6)
    for i, j in matrix.nonzero().tolist():
        ax.text(j, i, f"$w_{int(matrix[i, j]) - 1}$", ha="center", va="center", size=14)
    ax.set(title=title, xticks=range(matrix.shape[1]), yticks=range(matrix.shape[0]))
    ax.set(xlabel="place in the input", ylabel="place in the output")
plt.show()

# %% [markdown]
# *Figure 5.2.* The same four weights in both matrices ($k = 4$, $s = 2$, $p = 1$). Left, from 8 numbers to 4: each row is the
# kernel, two places further to the right than the row above. Right, from 4 numbers to 8: each column is the kernel. An input
# number *paints* the kernel into the output, the next one paints two places further down, and where they overlap they add.
#
# Stride 2 in a convolution makes the result smaller; in a transposed one it makes it larger. The size comes from
# solving (5.2) for $n$ where nothing was rounded:
#
# $$ n = s\,(n' - 1) + k - 2p. \tag{5.3} $$
#
# Both rules, tried on every combination of the small numbers below:

# %% tags=["nbval-check-output"]
right = tried = 0
for k, s, p, n in torch.cartesian_prod(*(torch.arange(a, b) for a, b in [(1, 6), (1, 5), (0, 3), (5, 13)])).tolist():
    x, w = torch.zeros(1, 1, n), torch.zeros(1, 1, k)
    small = F.conv1d(x, w, stride=s, padding=p).shape[2]
    large = F.conv_transpose1d(x, w, stride=s, padding=p).shape[2] if s * (n - 1) + k > 2 * p else None
    right += small == (n + 2 * p - k) // s + 1 and large in (None, s * (n - 1) + k - 2 * p)
    tried += 1
claim(f"sizes follow (5.2) and (5.3) in all of {tried} cases", right == tried)

# %% [markdown]
# For pictures the same happens along both axes, and $x$ and $y$ have channels. $A$ is then too large to write down, but
# what makes a matrix the transpose of another can still be checked. With $\langle a, b\rangle$ for the sum of all products of
# corresponding numbers,
#
# $$ \langle A x, y \rangle = \langle x, A^\top y \rangle \quad\text{for all } x \text{ and } y. \tag{5.4} $$

# %% tags=["nbval-check-output"]
gaps = []
for seed in range(20):
    x, y, w = (torch.randn(size, generator=rng(seed), dtype=torch.float64) for size in
               ((1, 3, 28, 28), (1, 8, 14, 14), (8, 3, 4, 4)))  # fmt: skip
    left = (F.conv2d(x, w, stride=2, padding=1) * y).sum()
    right = (x * F.conv_transpose2d(y, w, stride=2, padding=1)).sum()
    gaps.append(abs(left - right) / (x.norm() * y.norm()))
claim("<Ax, y> = <x, A^T y> to 1e-13 of the lengths, for 20 random pictures and kernels", max(gaps) < 1e-13)

# %% [markdown]
# Two consequences. A transposed convolution gives back the *size*, not the values: $A^\top A$ is not the
# identity, so the name "deconvolution", which one still meets, promises too much. And you have used $A^\top$ all along: in
# back-propagation the gradient of a loss with respect to $x$ is $A^\top$ times its gradient with respect to $y = Ax$, so
# $G$'s way forward is $D$'s way backward.

# %% tags=["nbval-check-output"]
x, y = torch.randn(8, generator=rng(2), requires_grad=True), torch.randn(4, generator=rng(3))
(A @ x @ y).backward()
claim("the gradient of <Ax, y> with respect to x is A^T y", torch.allclose(x.grad, A.T @ y))
claim("A^T A is not the identity", not torch.allclose(A.T @ A, torch.eye(8)))

# %% [markdown]
# **Checkerboards.** Painting overlapping kernels has a price: some output pixels are painted more often than others.
# `cover` counts, by painting kernels of ones with an input of ones.

# %%
def cover(k, stride=2, size=6):
    """How many of size x size input pixels reach each output pixel."""
    return F.conv_transpose2d(torch.ones(1, 1, size, size), torch.ones(1, 1, k, k), stride=stride)[0, 0]


# %% [markdown]
# And this is what it does: the standard deviation of each output pixel, over many random networks of two such layers.

# %%
def deviation(k, networks=2000):
    """Of each output pixel, over random two-layer networks on an input of ones."""
    first, second = (torch.randn(networks, 8, k, k, generator=rng(seed)) for seed in (0, 1))
    hidden = F.conv_transpose2d(torch.ones(1, networks, 6, 6), first, stride=2, groups=networks).relu()
    images = F.conv_transpose2d(hidden, second.flatten(0, 1)[:, None], stride=2, groups=networks)
    return images[0].std(dim=0)


# %% [markdown]
# With stride 2, kernels of 3 and of 4:

# %%
fig, axes = plt.subplots(1, 4, figsize=(13, 3.6))
for ax, k in zip(axes, (3, 4), strict=False):
    ax.imshow(cover(k)[2:10, 2:10], cmap="Blues", vmin=0, vmax=6)
    for i, j in torch.cartesian_prod(torch.arange(8), torch.arange(8)).tolist():
        ax.text(j, i, int(cover(k)[2 + i, 2 + j]), ha="center", va="center", size=12)
    ax.set_title(f"kernel {k}: times painted")
for ax, k in zip(axes[2:], (3, 4), strict=True):
    ax.imshow(deviation(k)[7:19, 7:19], cmap="gray", vmin=0)
    ax.set_title(f"kernel {k}: deviation")
for ax in axes:
    ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# *Figure 5.3.* Left pair: how often each output pixel is painted, with stride 2. A kernel of 3 paints some pixels once, some
# twice, some four times; a kernel of 4 paints all of them four times. Right pair: the deviation of each pixel over random
# two-layer networks. With kernel 3 a checkerboard stands in the picture before anything is learned; with kernel 4 there is none.
#
# Odena, Dumoulin and Olah (2016) trace the checkerboards of published GANs to this. The cover is even, away from the
# border, exactly when the stride divides the kernel. (Training can still learn an uneven kernel; it does not have
# to unlearn an uneven cover.) So our kernels are $4 \times 4$ with stride 2, and with padding 1 the sizes
# run $28 \to 14 \to 7$ by (5.2) and back by (5.3).

# %% tags=["nbval-check-output"]
def even(k, stride):
    inner = cover(k, stride, size=9)[k:-k, k:-k]
    return bool((inner == inner[0, 0]).all())


claim("the cover is even exactly when the stride divides the kernel, for kernels to 6 and strides to 4",
      all(even(k, s) == (k % s == 0) for s in range(1, 5) for k in range(s, 7)))  # fmt: skip

# %% [markdown]
# ## 3 · The players, block by block
#
# $G$ doubles the size twice, $D$ halves it twice. So there are two kinds of block. One doubles:

# %%
def up(n_in, n_out):
    """(n, n_in, h, w) -> (n, n_out, 2h, 2w): transposed convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()
    )


# %% [markdown]
# Five pictures of 64 channels go in; the shape that comes out:

# %% tags=["nbval-check-output"]
print(tuple(up(64, 32)(torch.zeros(5, 64, 7, 7)).shape))


# %% [markdown]
# The other halves. Its activation is the **leaky ReLU**, $\max(t, 0.2\,t)$, whose slope is nowhere 0: $G$ learns only from
# the gradient that comes back through $D$, and a ReLU would cut it wherever a channel of $D$ is negative.

# %%
def down(n_in, n_out):
    """(n, n_in, 2h, 2w) -> (n, n_out, h, w): strided convolution, batch norm, leaky ReLU."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.LeakyReLU(0.2)
    )


# %% [markdown]
# It undoes the shape:

# %% tags=["nbval-check-output"]
print(tuple(down(32, 64)(torch.zeros(5, 32, 14, 14)).shape))

# %% [markdown]
# Section 4 says what batch norm does. It subtracts a mean, and with it any bias of the layer before, so those layers
# have none:

# %% tags=["nbval-check-output"]
x = torch.randn(5, 3, 7, 7, generator=rng(0))
norm = nn.BatchNorm2d(3)
claim("batch norm forgets a bias", torch.allclose(norm(x), norm(x + torch.tensor([1.0, -2.0, 3.0])[:, None, None]), atol=1e-5))


# %% [markdown]
# **The generator.** A latent $z \in \mathbb{R}^{32}$ is projected to a small picture of many channels, $64 \times 7 \times 7$;
# two steps up make it $28 \times 28$. At the end stands $\tanh$, because the data lie in $[-1, 1]$.

# %%
class DCGenerator(nn.Module):
    """G: latents (n, latent_dim) -> images (n, 1, 28, 28) in [-1, 1]."""

    def __init__(self, latent_dim=32, width=32):
        super().__init__()
        self.latent_dim = latent_dim
        self.body = nn.Sequential(
            nn.Linear(latent_dim, 2 * width * 7 * 7, bias=False),
            nn.Unflatten(1, (2 * width, 7, 7)), nn.BatchNorm2d(2 * width), nn.ReLU(),  # 64 x 7 x 7
            up(2 * width, width),                                                      # 32 x 14 x 14
            nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1),                      # 1 x 28 x 28
            nn.Tanh(),
        )  # fmt: skip

    def forward(self, z):
        return self.body(z)


# %% [markdown]
# The shape after every stage, for a batch of five:

# %% tags=["nbval-check-output"]
x = torch.randn(5, 32, generator=rng(0))
for stage in DCGenerator().body:
    x = stage(x)
    print(f"{type(stage).__name__:16} {tuple(x.shape)}")
claim("the output lies in [-1, 1]", x.abs().max() <= 1)

# %% [markdown]
# Is the linear layer a "fully connected" one, which the paper advises against? It is a transposed convolution as well: of a picture
# of one pixel and 32 channels, with a kernel of $7 \times 7$. The rule is about *hidden* fully connected layers between the convolutional ones
# (section 3 of the paper); a projection at one end and a flattening at the other remain, there and here.

# %% tags=["nbval-check-output"]
z, weight = torch.randn(5, 32, generator=rng(0)), torch.randn(64, 7, 7, 32, generator=rng(1))
linear = F.linear(z, weight.flatten(0, 2)).unflatten(1, (64, 7, 7))
transposed = F.conv_transpose2d(z[:, :, None, None], weight.permute(3, 0, 1, 2))
claim("the projection is a transposed convolution of one pixel", torch.allclose(linear, transposed, atol=1e-4))


# %% [markdown]
# **The discriminator** is the mirror image, without batch norm in its first layer, and it returns a logit.

# %%
class DCDiscriminator(nn.Module):
    """D: images (n, 1, 28, 28) -> logits (n,)."""

    def __init__(self, width=32):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2),  # 32 x 14 x 14
            down(width, 2 * width),                                          # 64 x 7 x 7
            nn.Flatten(), nn.Linear(2 * width * 7 * 7, 1),
        )  # fmt: skip

    def forward(self, x):
        return self.body(x).squeeze(1)


# %% [markdown]
# Again the shapes, and how many numbers there are to learn:

# %% tags=["nbval-check-output"]
for stage in DCDiscriminator().body:
    x = stage(x)
    print(f"{type(stage).__name__:16} {tuple(x.shape)}")
for name, player in (("G", DCGenerator()), ("D", DCDiscriminator())):
    print(name, "has", sum(p.numel() for p in player.parameters()), "parameters")


# %% [markdown]
# **Initial weights** are small and random: all weights from $N(0, 0.02^2)$ (Radford et al. 2016, section 4), and the scales of
# batch norm from $N(1, 0.02^2)$, near 1 so that a layer begins by passing on what it gets. (A scale drawn from
# $N(0, 0.02^2)$ like the rest, which one also finds, begins by all but closing every layer.)

# %%
def init_dcgan(network):
    """Draw the weights anew: N(0, 0.02^2), and N(1, 0.02^2) for the scales of batch norm; biases 0."""
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)):
            nn.init.normal_(layer.weight, 1.0 if isinstance(layer, nn.BatchNorm2d) else 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


# %% [markdown]
# From here on we use the library's players. They are the ones above for images of any size that 4 divides, made
# from a seed and laid out in memory with the channels last, which many convolutions are faster with:

# %% tags=["nbval-check-output"]
from ganlib.networks import dcgan_players

torch.manual_seed(0)
ours, theirs = init_dcgan(DCGenerator()), dcgan_players(seed=0)[0]
names = [name for name, _ in ours.named_parameters()]
claim("the library's G has the same layers", names == [name for name, _ in theirs.named_parameters()])
ours.load_state_dict(theirs.state_dict())
claim("and with the same weights makes the same pictures", torch.allclose(evaluate(ours, z), evaluate(theirs, z), atol=1e-5))

# %% [markdown]
# ## 4 · Batch norm: where, where not, and why
#
# Batch norm (Ioffe and Szegedy 2015) looks at one channel $c$ at a time. Over the $n$ pictures of the batch and all
# $h \times w$ places it takes the mean $\mu_c$ and the variance $\sigma_c^2$, and gives the channel a mean and a deviation of
# its own, $\beta_c$ and $\gamma_c$, which are learned:
#
# $$ x'_{ncij} = \gamma_c\, \frac{x_{ncij} - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} + \beta_c,
# \qquad \mu_c = \operatorname*{mean}_{n, i, j} x_{ncij}, \quad \sigma_c^2 = \operatorname*{mean}_{n, i, j} (x_{ncij} - \mu_c)^2. \tag{5.5} $$
#
# The small number $\epsilon = 10^{-5}$ only guards against division by zero.

# %%
def batch_norm(x, gamma, beta, eps=1e-5):
    """Equation (5.5) for x of shape (n, channels, h, w)."""
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(0, 2, 3), keepdim=True)
    return gamma[:, None, None] * (x - mean) / (variance + eps).sqrt() + beta[:, None, None]


# %% [markdown]
# The library's agrees:

# %% tags=["nbval-check-output"]
x, gamma, beta = torch.randn(8, 3, 5, 5, generator=rng(0)), torch.tensor([1.0, 2.0, 0.5]), torch.tensor([0.0, -1.0, 3.0])
claim("(5.5) is PyTorch's batch norm", torch.allclose(batch_norm(x, gamma, beta), F.batch_norm(x, None, None, gamma, beta, True), atol=1e-5))


# %% [markdown]
# **Why.** The weights are small, and each layer multiplies by them. `without` takes batch norm out of a network; then
# we follow a signal from layer to layer.

# %%
def without(network):
    """A copy in which every batch norm passes on what it gets."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    return network


def deviations(network, x):
    """The standard deviation of the signal after every linear layer, and after its batch norm if there is one."""
    found = []
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.Identity)):
            layer.register_forward_hook(lambda layer, _, output: found.append(output.std().item()))
    network(x)
    return found


# %% [markdown]
# A batch of latents for $G$, and one of pictures for $D$:

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
G, D = dcgan_players(seed=0)
stages = (["project", "norm", "up", "norm", "up"], ["down", "down", "norm", "linear"])
for ax, player, x, names in zip(axes, (G, D), (latents(G, 256, rng(0)), seen.images[:256]), stages, strict=True):
    ax.plot(deviations(copy.deepcopy(player), x), color="0.2", marker="o", label="with batch norm")
    ax.plot(deviations(without(player), x), color="0.5", linestyle="--", marker="x", markersize=9, mew=2, label="without")
    ax.set(yscale="log", xticks=range(len(names)), title=f"through {'GD'[player is D]}")
    ax.set_xticks(range(len(names)), names)
axes[0].set_ylabel("standard deviation")
axes[0].legend()
plt.show()

# %% [markdown]
# *Figure 5.4.* The deviation of the signal after each layer of the new players (logarithmic axis). Without batch norm (crosses, dashed) it shrinks
# from layer to layer: whatever the latent, $G$ paints an almost even grey, and $D$ says nearly the same of every
# picture. With it (circles) the signal is brought back to 1 twice in $G$ and once in $D$. The gradient, which travels the same road
# backwards, fares alike. Exercise 1 computes the dashed line by hand, and trains such players.
#
# **Where not: $D$'s first layer.** Put batch norm before everything else in $D$. Then one contrast and one
# brightness for a whole batch is the same to $D$ as any other: (5.5) takes them out before $D$ looks.

# %% tags=["nbval-check-output"]
blind = nn.Sequential(nn.BatchNorm2d(1), D)
real = seen.images[:64]
faint = 0.3 * real + 0.5
claim("D with batch norm first: faint grey pictures get the logits of the real ones", torch.allclose(blind(real), blind(faint), atol=1e-3))
claim("D as it is tells them apart", (D(real) - D(faint)).abs().min() > 0.01)

# %% [markdown]
# Against such a judge $G$ need not learn how bright clothes are. **Nor in $G$'s last layer:** there the next thing after batch
# norm would be $\tanh$, and (5.5) would give *every* batch the same mean and deviation, $\beta$ and $\gamma$.
#
# **What it costs.** In (5.5) the mean is the batch's. So a verdict on one picture depends on the pictures that happen to
# be judged with it:

# %% tags=["nbval-check-output"]
picture, shoes, shirts = real[:1], seen.images[seen.labels == 9][:31], seen.images[seen.labels == 6][:31]
among_shoes, among_shirts = (D(torch.cat([picture, others]))[0] for others in (shoes, shirts))
claim("training mode: another verdict among shoes than among shirts", abs(among_shoes - among_shirts) > 1e-3)
among_shoes, among_shirts = (evaluate(D, torch.cat([picture, others]))[0] for others in (shoes, shirts))
claim("evaluation mode: the same verdict", torch.allclose(among_shoes, among_shirts))

# %% [markdown]
# Evaluation mode replaces $\mu_c$ and $\sigma_c^2$ by running averages from training. Two decisions follow.
#
# - **In training, real and generated pictures go through $D$ as two batches.** In one batch they would be
#   normalised by a common mean, each verdict would lean on the other half, and when $G$ moves there is only one half.
# - **We look at $G$ in evaluation mode.** Then $G(z)$ is a function of $z$ alone: the sample at a fixed latent does not change with its
#   companions, one can walk from $z_1$ to $z_2$ (Section 7), and looking leaves the running averages untouched.
#   Section 6 measures that the samples lose nothing by it.
