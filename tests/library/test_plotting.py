"""What is drawn, read back from the axes: where, in which colour, the right way up."""

import math

import numpy as np
import pytest
import torch
from helpers import rng
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from torch import nn

from ganlib import plotting
from ganlib.plotting import BELIEF, D_COLOUR, FAKE, G_COLOUR, REAL, image_grid, losses, scatter, surface

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def ax():
    return Figure().subplots()


class Slope(nn.Module):
    """D(x) = first coordinate + 10 times the second; with a layer that training mode would let drop everything."""

    def __init__(self):
        super().__init__()
        self.weight, self.drop = nn.Parameter(torch.tensor([1.0, 10.0])), nn.Dropout(1.0)

    def forward(self, x):
        return self.drop(x) @ self.weight


def test_real_are_hollow_blue_circles_and_generated_are_vermilion_crosses(ax):
    real, fake = torch.randn(5, 2, generator=rng(1)), torch.randn(4, 2, generator=rng(2))
    scatter(ax, real, fake, extent=(-3, 2))
    circles, crosses = ax.collections
    assert np.allclose(circles.get_offsets(), real) and np.allclose(crosses.get_offsets(), fake)
    assert not len(circles.get_facecolors()) and to_hex(circles.get_edgecolors()[0]).upper() == REAL
    assert to_hex(crosses.get_facecolors()[0]).upper() == FAKE
    assert len(circles.get_paths()[0]) > len(crosses.get_paths()[0]) == 4  # a curve; two strokes of two ends
    assert ax.get_xlim() == ax.get_ylim() == (-3, 2) and ax.get_aspect() == 1
    assert [text.get_label() for text in ax.collections] == ["real", "generated"]


def test_either_may_be_left_out(ax):
    scatter(ax, fake=np.zeros((2, 2)))
    assert [c.get_label() for c in ax.collections] == ["generated"]


def test_the_surface_lies_as_the_points_do_and_is_blue_where_d_says_real(ax):
    D, resolution = Slope(), 5
    surface(ax, D, (-2.0, 2.0), resolution)
    (image,) = ax.images
    x = np.linspace(-2, 2, resolution)
    assert np.allclose(
        image.get_array(), 1 / (1 + np.exp(-(x + 10 * x[:, None]))), atol=1e-6
    )  # rows go up with y
    assert image.origin == "lower" and image.get_extent() == [-2, 2, -2, 2]
    assert image.get_clim() == (0, 1)
    assert (to_hex(BELIEF(0.0)).upper(), to_hex(BELIEF(1.0)).upper()) == (FAKE, REAL)
    assert min(BELIEF(0.5)) > 0.98  # white where D cannot tell
    assert D.training and D.drop.training and D.weight.grad is None  # it looked, and left D as it was


def test_losses_have_their_colours_their_lines_and_log_4(ax):
    losses(ax, [1, 2, 3], [1.0, 1.2, 1.3], [0.5, 0.6, 0.9])
    level, d, g = ax.lines
    assert np.allclose(level.get_ydata(), math.log(4))
    assert (d.get_ydata().tolist(), g.get_ydata().tolist()) == ([1.0, 1.2, 1.3], [0.5, 0.6, 0.9])
    assert (d.get_color(), d.get_linestyle()) == (D_COLOUR, "-")
    assert (g.get_color(), g.get_linestyle()) == (G_COLOUR, "--")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["D", "G"]


@pytest.mark.parametrize("n", [1, 3, 6, 7])
def test_every_image_has_its_place_and_the_last_row_ends_in_black(ax, n):
    images = torch.rand(n, 1, 4, 5, generator=rng(), requires_grad=True)
    image_grid(ax, images, columns=3)
    (drawn,) = ax.images
    picture = np.asarray(drawn.get_array())
    rows = math.ceil(n / 3)
    assert picture.shape == (4 * rows, 5 * 3)
    for i in range(3 * rows):
        part = picture[4 * (i // 3) :, 5 * (i % 3) :][:4, :5]
        assert np.array_equal(part, images.detach()[i, 0]) if i < n else (part == -1).all()
    assert drawn.get_clim() == (-1, 1) and drawn.origin == "upper"
    assert drawn.cmap(0.0)[:3] == to_rgba("black")[:3] and drawn.cmap(1.0)[:3] == to_rgba("white")[:3]


@pytest.mark.parametrize("shape", [(4, 28, 28), (4, 3, 28, 28), (0, 1, 28, 28)])
def test_what_are_no_grey_images_is_refused(ax, shape):
    with pytest.raises(ValueError, match="expected images of shape"):
        image_grid(ax, torch.zeros(shape))


def test_the_theme_is_used():
    import matplotlib

    with matplotlib.rc_context():
        plotting.use_theme()
        assert not matplotlib.rcParams["axes.spines.top"] and matplotlib.rcParams["figure.dpi"] == 100
