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


@torch.no_grad()
def surface(ax: Axes, D: torch.nn.Module, extent: tuple[float, float], resolution: int = 80) -> None:
    """sigmoid(D(x)) over the square, on a scale centred at 1/2."""
    device = next(D.parameters()).device
    ticks = torch.linspace(*extent, resolution, device=device)
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    belief = torch.sigmoid(D(torch.stack([x.flatten(), y.flatten()], dim=1))).reshape(resolution, resolution)
    ax.imshow(
        belief.cpu(), origin="lower", extent=(*extent, *extent), cmap=BELIEF, vmin=0, vmax=1, alpha=0.7,
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
    """Images (n, 1, h, w) in [-1, 1] as one picture of `columns` per row."""
    if images.dim() != 4 or images.shape[1] != 1:
        raise ValueError(f"expected images of shape (n, 1, h, w), got {tuple(images.shape)}")
    rows = [torch.cat(list(row[:, 0]), dim=1) for row in images.cpu().split(columns) if len(row) == columns]
    ax.imshow(torch.cat(rows), cmap="gray", vmin=-1, vmax=1)
    ax.set_axis_off()
