"""Colours that everyone can tell apart, and words that everyone can read. (The built pages: test_site.py, with axe.)"""

import itertools
import re

import numpy as np
import pytest
from helpers import ROOT

from ganlib.plotting import D_COLOUR, FAKE, G_COLOUR, REAL

SCRIPT = "".join((ROOT / "ganlib" / "lab" / name).read_text() for name in ("draw.js", "lab.js"))
# Machado, Oliveira and Fernandes (2009), severity 1: what is seen of linear RGB.
SEEN_WITH = {
    "full colour vision": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}


def linear(colour: str) -> np.ndarray:
    """sRGB "#rrggbb" -> linear RGB from 0 to 1 (IEC 61966-2-1)."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio, from 1 to 21."""
    low, high = sorted(linear(c) @ [0.2126, 0.7152, 0.0722] for c in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB -> CIELAB (white D65)."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    t = xyz / [0.9505, 1, 1.089]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", SEEN_WITH)
def test_the_four_colours_stay_apart(eyes):
    """A difference of 10 in CIELAB is plain to see side by side. None of them is ever told by colour alone."""
    seen = [
        lab(np.clip(np.array(SEEN_WITH[eyes]) @ linear(c), 0, 1)) for c in (REAL, FAKE, D_COLOUR, G_COLOUR)
    ]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 10


def test_marks_stand_out_from_the_page():
    assert all(contrast(colour, "#FFFFFF") >= 3 for colour in (REAL, FAKE, D_COLOUR, G_COLOUR))


@pytest.mark.parametrize("name", ["LIGHT", "DARK"])
def test_the_labs_words_and_curves_can_be_seen_in_either_theme(name):
    constants = dict(re.findall(r'\b([A-Z_]+) = "(#\w{6})"', SCRIPT))
    palette = re.search(rf"const {name} = {{(.*?)}}", SCRIPT, re.DOTALL)[1]
    named = re.findall(r'(\w+): ("#\w{6}"|\w+)', palette)
    colours = {key: constants.get(value, value.strip('"')) for key, value in named}
    ground = colours.pop("ground")
    assert len(colours) == 10
    words = {"ink", "quiet", "realText", "fakeText", "gText", "d"}
    for key, colour in colours.items():
        assert contrast(colour, ground) >= (4.5 if key in words else 3), (key, colour)


def test_the_lab_draws_in_the_colours_of_the_figures():
    drawn = dict(re.findall(r'\b(REAL|FAKE|D|G) = "(#\w{6})"', SCRIPT))
    assert drawn == {"REAL": REAL, "FAKE": FAKE, "D": D_COLOUR, "G": G_COLOUR}


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)
