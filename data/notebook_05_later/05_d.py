

# %% [markdown]
# ## 9 · Has it copied?
#
# The first thing to ask of good samples: are they training pictures? Radford et al. (2016, section 4) worried about it too. Take the distance of two pictures, the square root of the
# sum of the squared differences of their pixels, and look for the nearest training picture. For comparison, look for the nearest of
# the pictures that were held out.

# %%
def nearest(images, among):
    """For each image the distance to the nearest of the others, and which one it is."""
    return torch.cdist(images.flatten(1), among.flatten(1)).min(dim=1)


samples = sample(G_shipped)
to_seen, to_held_out = nearest(samples, seen.images), nearest(samples, held_out.images)

# %% [markdown]
# Twelve samples with their neighbours:

# %%
fig, ax = plt.subplots(figsize=(12, 3.4))
rows = samples, seen.images[to_seen.indices], held_out.images[to_held_out.indices]
image_grid(ax, torch.cat([row[:12] for row in rows]), columns=12)
for i, name in enumerate(("generated", "nearest training", "nearest held out")):
    ax.text(-4, 28 * i + 14, name, ha="right", va="center")
plt.show()

# %% [markdown]
# *Figure 5.11.* Generated pictures (top), their nearest training pictures (middle) and their nearest held-out pictures (bottom). The neighbours
# are the same kind of thing, and differ in cut, sleeve or sole; and a picture that $G$ cannot have seen is just as near.
#
# That last remark is a test. Every second picture was held out, so training and held-out pictures are alike. If $G$ has not copied, a
# sample has its nearest neighbour among the training pictures in one case of two, like a toss of a coin (Meehan, Chaudhuri and Dasgupta 2020
# build a test on this idea). A copier would have it there always, even one that adds noise to hide.

# %%
def share_near_training(images):
    """The share of the images that are nearer to a training picture than to any held-out one."""
    return (nearest(images, seen.images).values < nearest(images, held_out.images).values).double().mean().item()


noise = 0.2 * torch.randn(len(samples), 1, 28, 28, generator=rng(0))
copies = (seen.images[: len(samples)] + noise).clamp(-1, 1)
shares = {"generated": share_near_training(samples), "noisy copies": share_near_training(copies)}
print({name: round(share, 3) for name, share in shares.items()})

# %% [markdown]
# And in numbers:

# %% tags=["nbval-check-output"]
claim("no sample is a training picture", to_seen.values.min() > 0)
claim("nearer to training pictures: at most 6 in 10 samples, and all noisy copies", shares["generated"] < 0.6 and shares["noisy copies"] > 0.99)

# %% [markdown]
# How near is near? Held-out real pictures show what to expect of new ones:

# %%
fig, ax = plt.subplots(figsize=(9, 3.8))
bins = torch.linspace(0, 22, 45).tolist()
real_to_seen = nearest(held_out.images, seen.images).values
ax.hist(real_to_seen.tolist(), bins, density=True, color=REAL, histtype="step", linewidth=2.2, label="held-out real")
ax.hist(to_seen.values.tolist(), bins, density=True, color=FAKE, histtype="step", linewidth=2.2, linestyle="--", label="generated")
ax.set(xlabel="distance to the nearest training picture", ylabel="density")
ax.legend()
plt.show()

# %% [markdown]
# *Figure 5.12.* Distances to the nearest training picture, of held-out real pictures (solid) and of generated ones (dashed). Generated pictures
# are not nearer to the training pictures than new real ones are; few of them are as near as the nearest real ones.

# %% [markdown]
# ## Exercises
#
# **Exercise 1 (remove batch norm).** Figure 5.4 shows how the signal fades in a $G$ without batch norm. Compute it: what is the deviation of the last
# signal before $\tanh$, away from the border of the picture, for new weights from $N(0, 0.02^2)$? Write it as a function of the number of latents and of the width.
#
# > Hint: a sum of $m$ products of independent weights of deviation 0.02 and signals of mean square $q$ has the variance $0.02^2\, m\, q$. How many products
# > does an output pixel add up (Figure 5.3)? And what does ReLU do to the mean square of a signal that is symmetric about 0?

# %%
def measured(latent_dim, width):
    """The same, over twenty new networks."""
    squares = []
    for seed in range(20):
        G = without(dcgan_players(latent_dim=latent_dim, width=width, seed=seed)[0])
        signal = evaluate(G.body[:-1], latents(G, 64, rng(seed)))
        squares.append(signal[..., 8:20, 8:20].square().mean())
    return torch.stack(squares).mean().sqrt()


# %% [markdown]
# Your turn:

# %% tags=["exercise", "nbval-check-output"]
def faded(latent_dim, width):
    """The deviation of the last signal before tanh in a G without batch norm."""
    ...


check(faded, against=measured, on=[(32, 32), (64, 32), (32, 64)], tolerance=5e-4)

# %% [markdown]
# **Exercise 2 (batch norm everywhere).** You are $G$, and you play against `blind`, the $D$ of Section 4 with batch norm in front of its first layer. Write `disguise`: pictures
# with *any* mean $m$ and deviation $s$ that you are told, which get the logits of the real ones.
#
# > Hint: what does (5.5) do to $a x + b$ with $a > 0$?

# %% tags=["exercise", "nbval-check-output"]
def disguise(real, m, s):
    """Other pictures, of mean m and deviation s over the batch, that `blind` gives the logits of `real`."""
    ...


def facts(pictures):
    """Mean, deviation and logits."""
    return pictures and None if pictures is None else (pictures.mean(), pictures.std(correction=0), *blind(pictures))


check(lambda m, s: facts(disguise(real, m, s)), against=lambda m, s: (m, s, *blind(real)),
      on=[(0.0, 0.2), (0.5, 0.1), (-0.7, 0.15)], tolerance=0.01)  # fmt: skip

# %% [markdown]
# **Exercise 3 (pooling instead of strides).** Older networks halve a picture by **pooling**: a $3 \times 3$ convolution with stride 1 and padding 1, then the mean of every $2 \times 2$ square. The
# paper replaces this by strided convolutions, so that the network can *learn* how to halve. Show that nothing is lost: find the
# $4 \times 4$ kernels with which one strided convolution (stride 2, padding 1) does the same.
#
# > Hint: write out one output of the pooled network with (5.1), in one dimension. It is the mean of two windows, one pixel apart.

# %%
def pooled(w, x):
    """A 3 x 3 convolution with kernels w (out, in, 3, 3), then the mean of every 2 x 2 square."""
    return F.avg_pool2d(F.conv2d(x, w, padding=1), 2)


def strided(w, x):
    """A convolution with stride 2 and padding 1."""
    return w if w is ... or w is None else F.conv2d(x, w, stride=2, padding=1)


kernels = [(torch.randn(6, 3, 3, 3, generator=rng(seed)), torch.randn(2, 3, 28, 28, generator=rng(9))) for seed in range(3)]

# %% [markdown]
# Your turn:

# %% tags=["exercise", "nbval-check-output"]
def kernel_of_pooling(w):
    """From kernels (out, in, 3, 3) to kernels (out, in, 4, 4)."""
    ...


check(lambda w, x: strided(kernel_of_pooling(w), x), against=pooled, on=kernels, tolerance=1e-4)

# %% [markdown]
# And what do the three changes do to training? Guess, then look at the end of the solutions.

# %% [markdown]
# ## Summary
#
# - A strided convolution is a matrix, and a transposed convolution is its transpose: it gives back the size, paints kernels, and paints evenly where the stride divides the kernel.
# - $G$ projects a latent to $7 \times 7$ and doubles twice; $D$ halves twice. Batch norm keeps the signal of small weights alive in between; at the ends, where
#   the data's own mean and variance must be seen or made, it has no place. Real and generated pictures go through it apart.
# - The Fréchet distance in the features of a classifier turns "better" into a number. It sees blur and missing variety; it does not see copying.
# - Latents lie on a shell: walk along it, and average three of them before you add and subtract.
# - Nearest neighbours among training *and* held-out pictures tell whether $G$ paints or copies.

# %% [markdown]
# ## References
#
# - Heusel, M., Ramsauer, H., Unterthiner, T., Nessler, B. and Hochreiter, S. (2017). GANs trained by a two time-scale update rule converge to a local Nash
#   equilibrium. *NeurIPS 30*. Equation 6.
# - Ioffe, S. and Szegedy, C. (2015). Batch normalization: accelerating deep network training by reducing internal covariate shift. *ICML*. Section 3.
# - Meehan, C., Chaudhuri, K. and Dasgupta, S. (2020). A non-parametric test to detect data-copying in generative models. *AISTATS*.
# - Odena, A., Dumoulin, V. and Olah, C. (2016). Deconvolution and checkerboard artifacts. *Distill*.
# - Radford, A., Metz, L. and Chintala, S. (2016). Unsupervised representation learning with deep convolutional generative adversarial networks. *ICLR*. Sections 3, 4 and 6.
# - Shoemake, K. (1985). Animating rotation with quaternion curves. *SIGGRAPH*.
# - White, T. (2016). Sampling generative networks. arXiv:1609.04468.
# - Xiao, H., Rasul, K. and Vollgraf, R. (2017). Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms. arXiv:1708.07747.

# %% [markdown]
# ## Solutions
#
# **Exercise 1.** The projection adds up `latent_dim` products with signals of mean square 1. ReLU cuts a symmetric signal in half, and its mean square too. With kernel 4 and
# stride 2 every pixel is painted four times by each channel, so the two transposed convolutions add up $4 \cdot 2w$ and $4 \cdot w$ products, where $w$ is the width.

# %% tags=["solution", "nbval-check-output"]
def faded(latent_dim, width):
    square = 0.02**2 * latent_dim
    for products in (4 * 2 * width, 4 * width):
        square = 0.02**2 * products * square / 2
    return math.sqrt(square)


check(faded, against=measured, on=[(32, 32), (64, 32), (32, 64)], tolerance=5e-4)


# %% [markdown]
# **Exercise 2.** Standardise, then stretch and shift. (The logits agree up to the $\epsilon$ of (5.5).)

# %% tags=["solution", "nbval-check-output"]
def disguise(real, m, s):
    return m + s * (real - real.mean()) / real.std(correction=0)


check(lambda m, s: facts(disguise(real, m, s)), against=lambda m, s: (m, s, *blind(real)),
      on=[(0.0, 0.2), (0.5, 0.1), (-0.7, 0.15)], tolerance=0.01)  # fmt: skip


# %% [markdown]
# **Exercise 3.** In one dimension the pooled output is $\frac12 \sum_j w_j (x_{2i + j - 1} + x_{2i + j})$: the kernel $(w_0, w_1, w_2, 0)$ plus the kernel $(0, w_0, w_1, w_2)$, halved. In two
# dimensions it is the mean of the four ways to place the $3 \times 3$ kernel in the $4 \times 4$ one.

# %% tags=["solution", "nbval-check-output"]
def kernel_of_pooling(w):
    return sum(F.pad(w, (right, 1 - right, down, 1 - down)) for right in (0, 1) for down in (0, 1)) / 4


check(lambda w, x: strided(kernel_of_pooling(w), x), against=pooled, on=kernels, tolerance=1e-4)
