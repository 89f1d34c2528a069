"""Notebook 05: its definitions against the library's and against other routes, its widget, its exercises."""

import ast
import functools
import math
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from notebook_code import definitions
from torch import nn
from torch.nn import functional as F

from ganlib import networks, pretrained
from ganlib.checks import check
from ganlib.images import fashion
from ganlib.networks import dcgan_players
from ganlib.training import evaluate, latents

PATH = Path(__file__).resolve().parents[2] / "notebooks" / "05_dcgan.ipynb"
CONSTANTS = {"FULL", "DISGUISES"}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@functools.cache
def notebook() -> SimpleNamespace:
    """The notebook's imports, definitions and constants, without running its experiments, and what these rest on."""
    namespace = definitions("05_dcgan", CONSTANTS)
    seen, held_out = pretrained.halves(fashion())
    blind = nn.Sequential(nn.BatchNorm2d(1), dcgan_players(seed=0)[1])
    namespace |= {
        "seen": seen, "held_out": held_out, "real": seen.images[:64], "blind": blind, "width": 32, "d": 32,
        "G_shipped": pretrained.generator("fashion"), "namespace": namespace,
    }  # fmt: skip
    return SimpleNamespace(**namespace)


# ---- what it writes out, the library has -------------------------------------------------------------------------


def test_the_notebooks_own_definitions_are_under_test():
    """Else the tests below would compare the library with itself."""
    nb = notebook()
    for name in ("up", "down", "DCGenerator", "DCDiscriminator", "init_dcgan"):
        assert getattr(nb, name) is not getattr(networks, name)
    assert nb.frechet_distance is not pretrained.frechet_distance


@pytest.mark.parametrize("name", ["up", "down"])
def test_blocks(name):
    theirs, mine = getattr(networks, name)(6, 4), getattr(notebook(), name)(6, 4)
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(5, 6, 8, 8, generator=rng())
    assert torch.equal(mine(x), theirs(x))


@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.parametrize("training", [True, False])
def test_players(width, training):
    nb, (G, D) = notebook(), dcgan_players(width=width, latent_dim=12, seed=3)
    my_g, my_d = nb.DCGenerator(latent_dim=12, width=width), nb.DCDiscriminator(width=width)
    my_g.load_state_dict(G.state_dict())  # names and shapes must be the same
    my_d.load_state_dict(D.state_dict())
    for player in (G, D, my_g, my_d):
        player.train(training)
    z = torch.randn(6, 12, generator=rng())
    torch.testing.assert_close(my_g(z), G(z), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(my_d(G(z)), D(G(z)), rtol=1e-4, atol=1e-6)


def test_initial_weights():
    theirs = dcgan_players(seed=5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        mine = notebook().DCGenerator(), notebook().DCDiscriminator()
        mine = [notebook().init_dcgan(player) for player in mine]
    for one, other in zip(mine, theirs, strict=True):
        for name, value in other.state_dict().items():
            assert torch.equal(one.state_dict()[name], value), name


@pytest.mark.parametrize("seed", range(3))
def test_frechet_distance(seed):
    judge, (one, two) = pretrained.classifier("fashion"), pretrained.halves(fashion())
    blurred = F.avg_pool2d(two.images[:400], 3, stride=1, padding=1)
    for images in (two.images[seed::9], blurred):
        mine = notebook().frechet_distance(one.images[seed::7], images, judge)
        theirs = pretrained.frechet_distance(one.images[seed::7], images, judge)
        assert float(mine) == pytest.approx(theirs, rel=1e-3)


# ---- convolution ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "stride", "padding"), [(1, 1, 0), (3, 1, 1), (4, 2, 1), (5, 3, 2), (2, 4, 0)])
def test_convolve(k, stride, padding):
    x, w = torch.randn(17, generator=rng(1)), torch.randn(k, generator=rng(2))
    expected = F.conv1d(x[None, None], w[None, None], stride=stride, padding=padding)[0, 0]
    torch.testing.assert_close(notebook().convolve(x, w, stride, padding), expected)


@pytest.mark.parametrize(("k", "stride"), [(2, 2), (3, 2), (4, 2), (5, 2), (3, 3), (5, 3), (4, 1)])
def test_cover_counts_by_hand(k, stride):
    counts = np.zeros(5 * stride + k, int)
    for i in range(6):
        counts[i * stride : i * stride + k] += 1
    assert np.array_equal(notebook().cover(k, stride=stride), np.outer(counts, counts))
    assert notebook().even(k, stride) == (k % stride == 0)


def test_a_checkerboard_before_training_with_kernel_3_and_not_with_4():
    inner = {k: notebook().deviation(k, networks=500)[8:16, 8:16] for k in (3, 4)}
    spread = {k: (x.max() / x.min()).item() for k, x in inner.items()}
    assert spread[3] > 2.5 and spread[4] < 1.3, spread


# ---- batch norm ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_batch_norm(seed):
    x, (gamma, beta) = (
        3 + 2 * torch.randn(6, 4, 5, 7, generator=rng(seed)),
        torch.randn(2, 4, generator=rng(9)),
    )
    expected = F.batch_norm(x, None, None, gamma, beta, training=True)
    torch.testing.assert_close(notebook().batch_norm(x, gamma, beta), expected, rtol=1e-4, atol=1e-5)


def test_without_takes_it_out_of_a_copy():
    for player in dcgan_players(width=4):
        bare = notebook().without(player)
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in bare.modules())
        assert any(isinstance(layer, nn.BatchNorm2d) for layer in player.modules())
        assert torch.equal(next(bare.parameters()), next(player.parameters()))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_signal_fades_without_it_and_not_with_it(seed):
    G, _ = dcgan_players(seed=seed)
    z = latents(G, 64, rng(seed))
    bare = notebook().deviations(notebook().without(G), z)
    assert bare[0] > 4 * bare[2] > 16 * bare[4] > 0
    full = notebook().deviations(G, z)
    assert full[1] == pytest.approx(1, abs=0.05) and full[3] == pytest.approx(1, abs=0.05)


# ---- latents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["straight", "spherical"])
def test_ways_begin_and_end_where_they_should(way):
    z1, z2 = torch.randn(2, 20, 32, generator=rng(), dtype=torch.float64)
    way = getattr(notebook(), way)
    torch.testing.assert_close(way(z1, z2, 0.0), z1)
    torch.testing.assert_close(way(z1, z2, 1.0), z2)


@pytest.mark.parametrize("t", [0.2, 0.5, 0.9])
def test_the_sphere_is_kept_at_constant_speed(t):
    """Between two latents of one length: the same length, and the angle grows in proportion to t."""
    z1, z2 = F.normalize(torch.randn(2, 20, 32, generator=rng(), dtype=torch.float64), dim=-1)
    z = notebook().spherical(z1, z2, t)
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(20, dtype=torch.float64))
    angle = [(z1 * other).sum(dim=-1).acos() for other in (z, z2)]
    torch.testing.assert_close(angle[0], t * angle[1])
    assert (notebook().straight(z1, z2, t).norm(dim=-1) < 1).all()


@pytest.mark.parametrize("slope", [-0.6, 0.0, 0.3, 0.8])
@pytest.mark.parametrize("shift", [(0, 0), (3, -2)])
def test_slant_of_a_line(slope, shift):
    """Ink along right = slope * up, drawn with the weights of the two nearest pixels."""
    image = -torch.ones(28, 28)
    for up in range(-8, 9):
        across = 14 + shift[0] + slope * up
        left, part = math.floor(across), across % 1
        image[14 + shift[1] - up, left] += 2 * (1 - part)
        image[14 + shift[1] - up, left + 1] += 2 * part
    assert notebook().slant(image[None, None]).item() == pytest.approx(slope, abs=1e-5)


# ---- memory --------------------------------------------------------------------------------------------------------


def test_nearest():
    among = torch.randn(30, 1, 28, 28, generator=rng())
    values, which = notebook().nearest(among[[4, 17]] + 0.01, among)
    assert which.tolist() == [4, 17]
    assert values.tolist() == pytest.approx([0.01 * 28] * 2, rel=1e-2)


def test_the_share_tells_a_copier_from_one_who_saw_other_pictures():
    nb, noise = notebook(), 0.1 * torch.randn(300, 1, 28, 28, generator=rng())
    copied, other = (data.images[-300:] + noise for data in (nb.seen, nb.held_out))
    assert nb.share_near_training(copied) > 0.97
    assert nb.share_near_training(other) < 0.03
    made = evaluate(nb.G_shipped, latents(nb.G_shipped, 600, rng(7)))
    assert 0.4 < nb.share_near_training(made) < 0.6


# ---- the widget ----------------------------------------------------------------------------------------------------


def test_the_widget_follows_its_controls():
    (source,) = [
        cell.source
        for cell in nbformat.read(PATH, as_version=4).cells
        if "widget" in cell.metadata.get("tags", []) and "explore(" in cell.source
    ]
    *statements, last = ast.parse(source).body
    namespace = notebook().namespace | vars(notebook())
    exec(compile(ast.Module(statements, type_ignores=[]), PATH.name, "exec"), namespace)
    controls, picture, message = eval(
        compile(ast.Expression(last.value), PATH.name, "eval"), namespace
    ).children
    seen = [picture.value]
    for i, control in enumerate(controls.children):
        assert control.description
        for value in (control.max, control.min + (3 + i) * control.step):
            control.value = value
            seen.append(picture.value)
    assert len(set(seen)) == len(seen)
    assert not message.value
    start, end, _ = controls.children
    end.value = start.value  # between equal latents (5.8) is 0 / 0
    assert "choose another" in message.value


# ---- the exercises: right answers pass, plausible wrong ones do not ------------------------------------------------


def verdict(capsys, attempt, against, on, tolerance):
    check(attempt, against=against, on=on, tolerance=tolerance)
    return capsys.readouterr().out.split()[0].rstrip(":")


SIZES = [(32, 32), (64, 32), (32, 64)]


def faded(first=1.0, second=1.0):
    """The deviation, with wrong factors."""
    return lambda z, w: 0.02**3 * math.sqrt(z * first * 4 * 2 * w / 2 * second * 4 * w / 2)


@pytest.mark.parametrize(
    "wrong",
    [
        faded(2, 2),  # ReLU forgotten
        faded(2),  # once
        faded(4, 4),  # all 16 weights of the kernel painted into every pixel
        faded(1 / 4, 1 / 4),  # no overlap
        lambda z, w: faded()(z, w) ** 2,  # the variance
        lambda z, w: faded()(32, 32),  # blind to the sizes
        lambda z, w: faded()(w, z),
    ],
)
def test_wrong_deviations_are_refused(wrong, capsys):
    assert verdict(capsys, wrong, notebook().measured, SIZES, 5e-4) == "wrong"


def test_right_deviations_pass(capsys):
    nb = notebook()
    assert verdict(capsys, nb.faded, nb.measured, [*SIZES, (16, 48)], 5e-4) == "right"
    assert nb.faded(40, 24) == pytest.approx(faded()(40, 24))
    assert verdict(capsys, lambda z, w: None, nb.measured, SIZES, 5e-4) == "not"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda real, m, s: real,
        lambda real, m, s: s * real + m,  # not standardised before
        lambda real, m, s: m - s * (real - real.mean()) / real.std(correction=0),  # a negative
        lambda real, m, s: (
            m + s * torch.randn(real.shape, generator=rng())
        ),  # noise of that mean and deviation
        lambda real, m, s: m + s * (real - real.mean((1, 2, 3), True)) / real.std((1, 2, 3), keepdim=True),
    ],
)
def test_wrong_disguises_are_refused(wrong, capsys):
    nb = notebook()
    assert verdict(capsys, nb.judged(wrong), nb.wanted, nb.DISGUISES, 0.01) == "wrong"


def test_right_disguises_pass(capsys):
    nb = notebook()
    assert verdict(capsys, nb.judged(nb.disguise), nb.wanted, nb.DISGUISES, 0.01) == "right"
    assert verdict(capsys, nb.judged(lambda real, m, s: None), nb.wanted, nb.DISGUISES, 0.01) == "not"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda w: F.pad(w, (0, 1, 0, 1)),  # one window instead of the mean of four
        lambda w: 4 * notebook().kernel_of_pooling(w),  # the sum instead of the mean
        lambda w: notebook().kernel_of_pooling(w.flip(2, 3)),  # PyTorch's convolution does not flip
        lambda w: (F.pad(w, (0, 1, 0, 1)) + F.pad(w, (1, 0, 1, 0))) / 2,  # two of the four
        lambda w: w,  # another size
    ],
)
def test_wrong_kernels_are_refused(wrong, capsys):
    nb, x = notebook(), torch.randn(2, 3, 12, 12, generator=rng(1))
    on = [(torch.randn(5, 3, 3, 3, generator=rng(seed)), x) for seed in range(2)]
    assert verdict(capsys, nb.strided(wrong), nb.pooled, on, 1e-4) == "wrong"
    assert verdict(capsys, nb.strided(nb.kernel_of_pooling), nb.pooled, on, 1e-4) == "right"
    assert verdict(capsys, nb.strided(lambda w: ...), nb.pooled, on, 1e-4) == "not"


@pytest.mark.parametrize("change", ["everywhere", "pooling"])
def test_the_changed_players_play(change):
    G, D = getattr(notebook(), change)(*dcgan_players(seed=0))
    z = torch.randn(4, 32, generator=rng())
    assert G(z).shape == (4, 1, 28, 28) and D(G(z)).shape == (4,)
    kinds = [type(layer) for layer in (*G.modules(), *D.modules())]
    assert kinds.count(nn.BatchNorm2d) == {"everywhere": 5, "pooling": 3}[change]
    assert (nn.ConvTranspose2d in kinds) == (change == "everywhere")
