

# %% [markdown]
# Three walks:

# %%
ends = [(latents(G_shipped, 1, rng(a)), latents(G_shipped, 1, rng(b))) for a, b in ((3, 8), (5, 6), (0, 9))]
fig, axes = plt.subplots(3, 1, figsize=(10, 7.4))
for ax, (z1, z2) in zip(axes, ends, strict=True):
    ax.imshow(strips(z1, z2), cmap="gray", vmin=-1, vmax=1)
    ax.set_yticks([14, 42], ["sphere", "straight"])
    ax.set_xticks([14, 126, 238], ["$z_1$", "half-way", "$z_2$"])
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
plt.show()

# %% [markdown]
# *Figure 5.7.* Three walks through latent space, each along the sphere (upper row) and along the straight line (lower row), between the same ends.
# Every picture is near its neighbours. TODO
#
# The board below shows both ways at one $t$, with the norms along them. `board` draws it once and returns the function that redraws it.

# %%
def board(fig):
    """Two pictures at t, and the norm of z(t) along both ways. Returns update(start, end, t)."""
    *frames, ax = fig.subplots(1, 3, width_ratios=(1, 1, 1.5))
    pictures = [frame.imshow(torch.zeros(28, 28), cmap="gray", vmin=-1, vmax=1) for frame in frames]
    styles = (("sphere", G_COLOUR, "-", "o"), ("straight line", FAKE, "--", "X"))
    for frame, (name, *_) in zip(frames, styles, strict=True):
        frame.set_title(name)
        frame.set_axis_off()
    lines = [ax.plot([], [], color=colour, linestyle=style, label=name)[0] for name, colour, style, _ in styles]
    dots = [ax.plot([], [], color=colour, marker=mark, markersize=11)[0] for _, colour, _, mark in styles]
    ax.set(xlim=(0, 1), ylim=(0, 8), xlabel="$t$", ylabel="$\\Vert z(t)\\Vert$")
    ax.axhline(math.sqrt(d), color="0.6", linewidth=1.2, linestyle=":")
    ax.annotate("$\\sqrt{d}$", (0.02, math.sqrt(d) + 0.1))
    ax.legend(loc="lower right")
    return lambda start, end, t: redraw(start, end, t, pictures, lines, dots)


def redraw(start, end, t, pictures, lines, dots):
    z1, z2 = (latents(G_shipped, 1, rng(seed)) for seed in (start, end))
    ticks = torch.linspace(0, 1, 50)[:, None]
    for way, picture, line, dot in zip((spherical, straight), pictures, lines, dots, strict=True):
        z = way(z1, z2, torch.tensor([[t]]))
        picture.set_data(evaluate(G_shipped, z)[0, 0])
        line.set_data(ticks[:, 0], way(z1, z2, ticks).norm(dim=1))
        dot.set_data([t], [z.norm()])
    return [*pictures, *lines, *dots]


# %% [markdown]
# Between the latents of seeds 3 and 8, half-way:

# %%
fig = plt.figure(figsize=(12, 4))
board(fig)(start=3, end=8, t=0.5)
plt.show()

# %% [markdown]
# *Figure 5.8.* Half-way between two latents: the picture on the sphere (left), the one on the straight line (middle), and the norms on the way (right). The straight
# line (dashed, cross) dips well below $\sqrt d$ (dotted), the sphere (solid, circle) keeps the norm.
#
# **Drag.** The same board with sliders: drag $t$ slowly, then choose other ends.

# %% tags=["widget"]
fig = Figure(figsize=(12, 4))
wide = {"style": {"description_width": "initial"}, "layout": {"width": "300px"}}
explore(
    fig, board(fig), start=IntSlider(3, 0, 50, description="first latent: seed", **wide),
    end=IntSlider(8, 0, 50, description="second latent: seed", **wide),
    t=FloatSlider(0.5, min=0, max=1, step=0.02, description="t", **wide),
)  # fmt: skip

# %% [markdown]
# ## 8 · Arithmetic with latents
#
# Radford et al. (2016, section 6.3.2 and figure 7) take latents of smiling women, of women with a neutral face, and of men with a neutral face, and compute
# "smiling woman $-$ neutral woman $+$ neutral man": $G$ paints smiling men. With single latents it does not work well; with the **average of three** for
# each word it does. On digits the words can be measured: which digit, says a classifier; how slanted it is, says a formula. So we compute
#
# $$ z = \bar z_{\text{slanted } a} - \bar z_{\text{upright } a} + \bar z_{\text{upright } b}, \tag{5.9} $$
#
# where each bar is an average over $k$ latents, and hope for a slanted $b$.

# %% tags=["nbval-check-output"]
G_digits, read = generator("digits"), classifier("digits")
_, fresh = halves(digits())
accuracy = (evaluate(read, fresh.images).argmax(dim=1) == fresh.labels).double().mean()
claim("the classifier of digits is right on 95 % of the pictures it never saw", accuracy >= 0.95)


# %% [markdown]
# A stroke is slanted when ink further up lies further right. With the ink as weights, the covariance of "right" and "up" divided by the variance of
# "up" is the slope of the best line through the digit: 0 for upright, 1 for 45 degrees to the right.

# %%
def slant(images):
    """Of the ink of images (n, 1, 28, 28): cov(right, up) / var(up), one number an image."""
    ink = (images[:, 0] + 1) / 2
    ink = ink / ink.sum(dim=(1, 2), keepdim=True)
    place = torch.arange(28.0)
    right, down = (ink.sum(dim=axis) for axis in (1, 2))  # how the ink is spread along each axis
    across = place - (right @ place)[:, None, None]
    up = ((down @ place)[:, None] - place)[:, :, None]
    return (ink * across * up).sum(dim=(1, 2)) / (ink * up**2).sum(dim=(1, 2))


# %% [markdown]
# We draw latents, keep those whose digit is clear, and sort each digit's by slant: the most upright fifth and the most slanted fifth.

# %%
z = latents(G_digits, 10_000, rng(0))
images = torch.cat([evaluate(G_digits, part) for part in z.split(1000)])
certainty, digit = torch.cat([evaluate(read, part) for part in images.split(1000)]).softmax(dim=1).max(dim=1)
slants = slant(images)


def word(d, slanted):
    """Latents of clear digits d that are among the most slanted fifth, or the most upright."""
    clear = ((digit == d) & (certainty > 0.9)).nonzero()[:, 0]
    ordered = clear[slants[clear].argsort(descending=slanted)]
    return z[ordered[: len(ordered) // 5]]


# %% [markdown]
# Now (5.9), many times, for $k = 1$ and $k = 3$:

# %%
def averages(pool, n, k, stream):
    """n averages of k latents of the pool."""
    return pool[torch.randint(len(pool), (n, k), generator=stream)].mean(dim=1)


def compute(a, b, k, n=200, seed=1):
    """Equation (5.9), n times."""
    stream = rng(seed)
    return (averages(word(a, True), n, k, stream) - averages(word(a, False), n, k, stream)
            + averages(word(b, False), n, k, stream))  # fmt: skip


# %% [markdown]
# One example, drawn as in the paper.

# %%
# figure TODO
