"""Theme, fixed colours, and functions that draw on a given `Axes` and return nothing.

Real is blue and hollow circles, fake is vermilion and crosses, D is dark grey and solid, G is green and dashed:
never colour alone.
"""

import math

import numpy as np
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from ganlib.training import evaluate

REAL, FAKE, D_COLOUR, G_COLOUR = "#0173B2", "#D55E00", "#333333", "#029E73"
# D paints the plane in the colour of whom it believes: vermilion "fake", white 1/2, blue "real".
BELIEF = LinearSegmentedColormap.from_list("belief", ["#D55E00", "#FFFFFF", "#0173B2"])


def use_theme() -> None:
    """seaborn's theme on its colour-blind palette, large enough for the back row."""
    sns.set_theme(
        context="notebook", style="ticks", palette="colorblind", font_scale=1.15,
        rc={"axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 100, "savefig.dpi": 100,
            "lines.linewidth": 2.2, "legend.frameon": False, "figure.constrained_layout.use": True},
    )  # fmt: skip


def scatter(ax: Axes, real=None, fake=None, extent: tuple[float, float] | None = None) -> None:
    """Real samples as hollow blue circles, generated ones as vermilion crosses; (n, 2) tensors or arrays."""
    if real is not None:
        ax.scatter(
            *np.asarray(real).T, s=22, facecolors="none", edgecolors=REAL, linewidths=1.0, label="real"
        )
    if fake is not None:
        ax.scatter(*np.asarray(fake).T, s=20, c=FAKE, marker="x", linewidths=1.1, label="generated")
    if extent is not None:
        ax.set(xlim=extent, ylim=extent)
    ax.set_aspect("equal")


def surface(ax: Axes, D: torch.nn.Module, extent: tuple[float, float], resolution: int = 80) -> None:
    """sigmoid(D(x)) over the square, on a scale centred at 1/2; D as it is in evaluation mode."""
    device = next(D.parameters()).device
    ticks = torch.linspace(*extent, resolution, device=device)
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    logits = evaluate(D, torch.stack([x.flatten(), y.flatten()], dim=1)).reshape(resolution, resolution)
    ax.imshow(
        logits.sigmoid().cpu().numpy(),
        origin="lower", extent=(*extent, *extent), cmap=BELIEF, vmin=0, vmax=1, alpha=0.7,
        interpolation="bilinear",
    )  # fmt: skip


def losses(ax: Axes, steps, d_loss, g_loss) -> None:
    """Both losses over training, D solid, G dashed, with log 4: D's cross-entropy when it cannot tell."""
    ax.axhline(math.log(4), color="0.6", linewidth=1.2, linestyle=":")
    ax.annotate(
        "log 4", (1, math.log(4)), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="0.35"
    )
    ax.plot(steps, d_loss, color=D_COLOUR, label="D")
    ax.plot(steps, g_loss, color=G_COLOUR, linestyle="--", label="G")
    ax.set(xlabel="generator moves", ylabel="loss")
    ax.legend()


def image_grid(ax: Axes, images: torch.Tensor, columns: int = 8) -> None:
    """Images (n, 1, h, w) in [-1, 1] as one picture of `columns` per row; a last row that is not full ends in black.
    ValueError for other shapes."""
    if images.dim() != 4 or images.shape[1] != 1 or not len(images):
        raise ValueError(f"expected images of shape (n, 1, h, w), got {tuple(images.shape)}")
    n, _, height, width = images.shape
    rows = math.ceil(n / columns)
    cells = torch.full((rows * columns, height, width), -1.0)
    cells[:n] = images.detach()[:, 0]
    picture = cells.unflatten(0, (rows, columns)).transpose(1, 2).flatten(0, 1).flatten(1)
    ax.imshow(picture.numpy(), cmap="gray", vmin=-1, vmax=1)
    ax.set_axis_off()
