
# %% [markdown]
# ## 5 · A number for "better"
#
# "Better" should be a number. Pixels are a bad place to measure: shift a picture by one pixel, and it is far from itself.
# Heusel et al. (2017) compare sets of pictures in the *features* of a trained classifier, the numbers its last layer decides on.
# Let the real pictures have features with mean $\mu_r$ and covariance matrix $\Sigma_r$, the generated ones $\mu_g$ and $\Sigma_g$. The
# **Fréchet distance** of the two normal distributions with these moments is (squared, as everyone quotes it)
#
# $$ d^2 = \lVert \mu_r - \mu_g \rVert^2 + \operatorname{tr}\bigl(\Sigma_r + \Sigma_g - 2\,(\Sigma_r \Sigma_g)^{1/2}\bigr), \tag{5.6} $$
#
# where tr is the trace, the sum of the diagonal. The trace of a matrix' square root is the sum of the square roots of its eigenvalues.

# %%
def frechet(a, b):
    """Equation (5.6) for two sets of features (n, d)."""
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(dim=0), torch.cov(x.T)) for x in (a, b))
    roots = torch.linalg.eigvals(cov_a @ cov_b).real.clamp(min=0).sqrt()
    return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * roots.sum()


# %% [markdown]
# With the features of the Inception network this is the FID of the literature. Inception has seen a million photographs, needs
# $299 \times 299$ pixels and a download. Ours are the 64 features of a small classifier that comes with the course; it was trained
# on `seen`, so `held_out` is new to it. Is it good enough to judge?

# %% tags=["nbval-check-output"]
judge = classifier("fashion")
accuracy = (evaluate(judge, held_out.images).argmax(dim=1) == held_out.labels).double().mean()
claim("the classifier of clothes is right on 85 % of the pictures it never saw", accuracy >= 0.85)

# %% [markdown]
# From now on `frechet_distance` of the library does the arithmetic (it calls the implementation of torchmetrics), and `score` compares with
# one half of the held-out pictures, `reference`. The other half, `others`, tells what real pictures score.

# %% tags=["nbval-check-output"]
reference, others = halves(held_out)


def score(images):
    """The Fréchet distance of images to the reference. Small is good."""
    return frechet_distance(reference.images, images[: len(reference)], judge)


by_hand = frechet(*(evaluate(judge.features, x.images).double() for x in (reference, others)))
claim("torchmetrics computes (5.6)", abs(score(others.images) / by_hand - 1) < 1e-3)

# %% [markdown]
# What can the number see? Sharp against blurred, varied against uniform, clothes against noise:

# %%
def blurred(images, k=3):
    return F.avg_pool2d(images, k, stride=1, padding=k // 2, count_include_pad=False)


shirts = others.images[others.labels == 0]
ladder = {
    "held-out real pictures": others.images,
    "the training pictures themselves": seen.images[::2],
    "real pictures, blurred": blurred(others.images),
    "T-shirts only": shirts.repeat(12, 1, 1, 1),
    "noise": 2 * torch.rand(len(others), 1, 28, 28, generator=rng(0)) - 1,
}
distances = {name: score(images) for name, images in ladder.items()}

# %% [markdown]
# Its zero would need infinitely many pictures. Two finite sets of real ones lie at a small distance, the **floor**:

# %%
for name, value in distances.items():
    print(f"{value:8.1f}  {name}")

# %% [markdown]
# Look at the second line. A generator that had learned its training pictures by heart would get almost the best mark there is. The number
# cannot tell a painter from a copier; Section 9 can.

# %% tags=["nbval-check-output"]
floor, copier, *worse = distances.values()
claim("blurred, uniform and random pictures are 10 times as far as real ones", min(worse) > 10 * floor)
claim("a perfect copier is less than twice as far", copier < 2 * floor)

# %% [markdown]
# ## 6 · Training
#
# The loop is that of notebook 03. One cell holds every choice. On a GPU the players are four times as wide. Where the environment variable `CI` is set,
# as on a server that only checks that all cells run, a "minute" is 20 moves instead of 1,000; the saved
# figures are those of the full run.

# %%
FULL = not os.environ.get("CI")
device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
width, minute = (32 if device == "cpu" else 128), (1000 if FULL else 20)
settings = {"batch_size": 64, "lr_g": 2e-3, "lr_d": 5e-4}  # ten times the usual rate for G: see below

# %% [markdown]
# `sample` draws pictures from a generator, always from the same latents.

# %%
def sample(G, n=len(reference), seed=1):
    """n pictures of G in evaluation mode."""
    place = next(G.parameters()).device
    return evaluate(G, latents(G, n, torch.Generator(place).manual_seed(seed))).cpu()


G, D = (player.to(device) for player in dcgan_players(width=width))
scores = {0: score(sample(G))}
first = sample(G, 40)

# %% [markdown]
# Three minutes of one core (the clock counts what this process computes, not what it waits for):

# %%
shots, seconds, start = [], [], time.process_time()
run = train(G, D, GAMES["non-saturating"], seen, steps=3 * minute, every=minute // 4, n_samples=40, **settings)
for shot in run:
    seconds.append(time.process_time() - start + sum(seconds[-1:]))
    shots.append(shot)
    scores[shot.step] = score(sample(G))
    if shot.step == minute:
        after_a_minute = copy.deepcopy(G)
    start = time.process_time()

# %% [markdown]
# The same forty latents, at four moments:

# %%
moments = {"untrained": first} | {f"{shots[i].step} moves, {seconds[i]:.0f} s": shots[i].samples for i in (0, 3, 11)}
fig, axes = plt.subplots(1, 4, figsize=(13, 4.6))
for ax, (title, images) in zip(axes, moments.items(), strict=True):
    image_grid(ax, images, columns=5)
    ax.set_title(title)
plt.show()

# %% [markdown]
# *Figure 5.5.* Pictures at forty fixed latents: before training, and after a quarter of a minute, one minute and three minutes of training. After
# a quarter there are shapes; after a minute trousers, shirts and shoes are plain to see; after three their edges are clean and most of them are whole.
#
# The usual learning rate is $2 \times 10^{-4}$ for both (Radford et al. 2016, section 4). With as little time as we have, that leaves blobs; $2 \times 10^{-3}$ for $G$ and
# $5 \times 10^{-4}$ for $D$ were found by trying.

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8))
losses(left, [s.step for s in shots], [s.d_loss for s in shots], [s.g_loss for s in shots])
right.plot(scores.keys(), scores.values(), color=G_COLOUR, linestyle="--", marker="o", label="G")
right.axhline(floor, color=REAL, label="held-out real pictures")
right.set(yscale="log", xlabel="generator moves", ylabel="Fréchet distance")
right.legend()
plt.show()

# %% [markdown]
# *Figure 5.6.* Left, the two losses: they hover and tell little. Right, the Fréchet distance of $G$'s pictures to pictures that nobody was trained on
# (logarithmic axis, circles): it falls all the way, fast in the first minute and slowly later, and stays well above the floor (solid).
#
# A longer run of the same players is shipped with the course; the command in `data/README.md` repeats it. The whole table:

# %%
G_shipped = generator("fashion")
table = {
    "untrained": scores[0], "after a minute": scores[minute], "after three minutes": scores[3 * minute],
    "shipped, after ten minutes": score(sample(G_shipped)), "real pictures (floor)": floor,
}  # fmt: skip
for name, value in table.items():
    print(f"{value:8.1f}  {name}")

# %% [markdown]
# The shipped generator is the same everywhere, so a claim can rest on it:

# %% tags=["nbval-check-output"]
values = [table[name] for name in ("untrained", "shipped, after ten minutes", "real pictures (floor)")]
claim("untrained > shipped > real, each by a factor of 2 or more", values[0] > 2 * values[1] > 4 * values[2])

# %% [markdown]
# Section 4 promised one more measurement: what evaluation mode costs. In training mode the batch's own mean and variance are used, here in batches of 64:

# %%
@torch.no_grad()
def sample_in_training_mode(G, n=len(reference), seed=1):
    G = copy.deepcopy(G).train()
    return torch.cat([G(z) for z in latents(G, n, rng(seed)).split(64)])


print(f"evaluation mode {score(sample(G_shipped)):.1f}, training mode {score(sample_in_training_mode(G_shipped)):.1f}")

# %% [markdown]
# **The lab.** Your turn: the same players, live. Press play, and watch sixty-four fixed latents become clothes; change a learning rate while it runs.
# Figure 5.5 is its static twin. (Two things to try: 0.0002 for both learning rates, and 0.002 for $D$.)

# %% tags=["widget"]
Lab(data="fashion", players=dcgan_players, lr_g=2e-3, lr_d=5e-4)

# %% [markdown]
# ## 7 · Walking through latent space
#
# If $G$ has understood something, then a small step in $z$ is a small change of the picture, and between two latents lie sensible pictures
# (Radford et al. 2016, section 6.1). Which way from $z_1$ to $z_2$? The straight one,
#
# $$ z(t) = (1 - t)\,z_1 + t\,z_2, \qquad 0 \le t \le 1, \tag{5.7} $$
#
# leaves the region that $G$ was trained on. For $z \sim N(0, I)$ in $d$ dimensions $\mathbb{E}\lVert z\rVert^2 = d$, and for
# large $d$ nearly all latents have a norm close to $\sqrt d$: they lie on a thin shell. The middle of two independent ones has
# covariance $\frac14 I + \frac14 I$, so its squared norm is $d/2$ on average: **too short by** $1/\sqrt2$, a place where $G$ has hardly ever been.
# The way along the shell is the **spherical** interpolation (Shoemake 1985; White 2016),
#
# $$ z(t) = \frac{\sin((1 - t)\,\omega)}{\sin \omega}\, z_1 + \frac{\sin(t\,\omega)}{\sin\omega}\, z_2,
# \qquad \cos\omega = \frac{\langle z_1, z_2\rangle}{\lVert z_1\rVert\,\lVert z_2\rVert}. \tag{5.8} $$

# %%
def straight(z1, z2, t):
    """Equation (5.7), row by row."""
    return (1 - t) * z1 + t * z2


def spherical(z1, z2, t):
    """Equation (5.8), row by row."""
    omega = F.cosine_similarity(z1, z2, dim=-1).acos()[..., None]
    return (((1 - t) * omega).sin() * z1 + (t * omega).sin() * z2) / omega.sin()


# %% [markdown]
# Both facts about norms, on ten thousand pairs, within four standard errors (the variance of $\lVert z\rVert^2$ is $2d$):

# %% tags=["nbval-check-output"]
d, n = G_shipped.latent_dim, 10_000
z1, z2 = latents(G_shipped, n, rng(3)), latents(G_shipped, n, rng(4))
error = math.sqrt(2 * d / n)
claim("|z|^2 is d on average", abs(z1.square().sum(dim=1).mean() - d) < 4 * error)
claim("half-way along the straight line it is d/2", abs(straight(z1, z2, 0.5).square().sum(dim=1).mean() - d / 2) < 4 * error / 2)
claim("half-way along the sphere it is d to 5 %", abs(spherical(z1, z2, 0.5).square().sum(dim=1).mean() / d - 1) < 0.05)

# %% [markdown]
# Do the pictures notice? Score those at the middles:

# %% tags=["nbval-check-output"]
middles = {way: score(evaluate(G_shipped, way(z1, z2, 0.5)[: len(reference)])) for way in (straight, spherical)}
claim("pictures half-way along the straight line score worse than half-way along the sphere", middles[straight] > 1.2 * middles[spherical])

# %% [markdown]
# The next figure is drawn by a function, because the widget below uses it again.

# %%
def strips(ax, z1, z2, columns=9):
    """Pictures from z1 to z2, along the sphere (upper row) and along the straight line (lower row)."""
    t = torch.linspace(0, 1, columns)[:, None]
    ways = torch.cat([spherical(z1, z2, t), straight(z1, z2, t)])
    return torch.cat([torch.cat(list(row[:, 0]), dim=1) for row in evaluate(G_shipped, ways).split(columns)])
