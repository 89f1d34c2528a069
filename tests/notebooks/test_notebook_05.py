"""Notebook 05: formulas against other routes, the board, and exercises that tell right answers from wrong ones."""

import ast
import functools
import math

import pytest
import torch
from helpers import rng
from notebook_code import answered, definitions, tagged
from torch import nn
from torch.nn import functional as F

from ganlib.images import fashion, halves
from ganlib.networks import dcgan_players
from ganlib.pretrained import generator

STEM = "05_dcgan"


@functools.cache
def notebook() -> dict:
    """Its definitions, and what those of the exercises and the board rest on."""
    seen, held_out = halves(fashion())
    x = torch.randn(2, 3, 12, 12, generator=rng(1))
    blind = nn.Sequential(nn.BatchNorm2d(1), dcgan_players(seed=0)[1])
    namespace = definitions(STEM, {"FULL", "N", "DISGUISES"})
    namespace |= {  # in place: its functions look there
        "seen": seen, "held_out": held_out, "real": seen.images[:64], "blind": blind, "width": 32, "d": 32,
        "G_shipped": generator("fashion"),
        "kernels": [(torch.randn(5, 3, 3, 3, generator=rng(seed)), x) for seed in range(2)],
    }  # fmt: skip
    return namespace


@pytest.mark.parametrize("t", [0.0, 0.2, 0.9, 1.0])
def test_the_sphere_is_kept_at_constant_speed(t):
    """Between two latents of one norm: the same norm, and the angle grows in proportion to t."""
    z1, z2 = F.normalize(torch.randn(2, 20, 32, generator=rng(), dtype=torch.float64), dim=-1)
    z = notebook()["spherical"](z1, z2, t)
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(20, dtype=torch.float64))
    angle = [(z1 * other).sum(dim=-1).clamp(-1, 1).acos() for other in (z, z2)]
    torch.testing.assert_close(angle[0], t * angle[1], rtol=1e-6, atol=1e-6)


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
    assert notebook()["slant"](image[None, None]).item() == pytest.approx(slope, abs=1e-5)


def test_the_share_tells_a_copier_from_one_who_saw_other_pictures():
    noise = 0.1 * torch.randn(100, 1, 28, 28, generator=rng())
    copied, other = (notebook()[data].images[-100:] + noise for data in ("seen", "held_out"))
    assert notebook()["share_near_training"](copied) > 0.97
    assert notebook()["share_near_training"](other) < 0.03


def test_the_board_follows_its_controls():
    *body, last = ast.parse(tagged(STEM, "widget")[1]).body
    names = dict(notebook())
    exec(ast.unparse(body), names)
    controls, picture, message = eval(ast.unparse(last), names).children
    start, end, t, _ = controls.children
    drawn = [picture.value]
    for control, value in ((start, 50), (end, 0), (t, 0.0), (t, 1.0)):
        control.value = value
        drawn.append(picture.value)
    assert len(set(drawn)) == len(drawn) and not message.value
    end.value = start.value  # between equal latents (5.8) is 0 / 0
    assert "choose another" in message.value


RIGHT = {  # other ways to write what is right
    0: ["def faded(z, w): return 0.02**3 * math.sqrt(z * 4 * 2 * w / 2 * 4 * w / 2)"],
    1: ["def disguise(real, m, s): return m + s * F.batch_norm(real, None, None, training=True, eps=1e-9)"],
    2: ["def kernel_of_pooling(w): return F.conv2d(w.flatten(0, 1)[:, None], torch.ones(1, 1, 2, 2) / 4, "
        "padding=1).unflatten(0, w.shape[:2])[:, :, 0]"],
}  # fmt: skip
WRONG = {
    0: [
        "def faded(z, w): return 0.02**3 * math.sqrt(z * 4 * 2 * w * 4 * w)",  # ReLU forgotten
        "def faded(z, w): return 0.02**3 * math.sqrt(z * 16 * 2 * w / 2 * 16 * w / 2)",  # no stride
        "def faded(z, w): return 0.02**6 * z * 4 * 2 * w / 2 * 4 * w / 2",  # the variance
        "def faded(z, w): return 0.02**3 * math.sqrt(32 * 4 * 2 * 32 / 2 * 4 * 32 / 2)",  # blind to the sizes
    ],
    1: [
        "def disguise(real, m, s): return real",
        "def disguise(real, m, s): return s * real + m",  # not standardised before
        "def disguise(real, m, s): return m - s * (real - real.mean()) / real.std(correction=0)",  # a negative
        "def disguise(real, m, s): return m + s * torch.randn(real.shape, generator=rng(0))",
    ],
    2: [
        "def kernel_of_pooling(w): return F.pad(w, (0, 1, 0, 1))",  # one window instead of the mean of four
        "def kernel_of_pooling(w): return (F.pad(w, (0, 1, 0, 1)) + F.pad(w, (1, 0, 1, 0))) / 2",
        "def kernel_of_pooling(w): return sum(F.pad(w, (i, 1 - i, j, 1 - j)) for i in (0, 1) for j in (0, 1))",
        "def kernel_of_pooling(w): return w",  # another size
    ],
}


@pytest.mark.parametrize("number, attempt", [(n, a) for n, attempts in RIGHT.items() for a in attempts])
def test_right_answers_pass(number, attempt):
    assert answered(STEM, number, attempt, notebook()).startswith("right")


@pytest.mark.parametrize("number, attempt", [(n, a) for n, attempts in WRONG.items() for a in attempts])
def test_wrong_answers_do_not(number, attempt):
    assert answered(STEM, number, attempt, notebook()).startswith("wrong")
