"""Notebook 17: the table holds what the reading names, says where, and the notebook tells right answers from wrong."""

import functools
import re
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from notebook_code import NOTEBOOKS, answered, definitions, shown

from ganlib.images import bundled

STEM = "17_atlas"
CURRICULUM = """
    00_start_here 01_adversarial_game 02_optimal_discriminator 03_vanilla_gan 04_non_saturating_gan 05_dcgan
    06_mode_collapse 07_distances 08_wgan 09_unrolled_gan 10_games_and_dynamics 11_stabilisers 12_missing_modes
    13_conditional_gan 14_autoencoders 15_translation_and_growth 16_evaluation 17_atlas
""".split()
KINDS = ["objective", "rules", "players", "data", "architecture"]
NAMED = {  # what the reading names, shelf by shelf
    "game": "GAN, non-saturating, max. likelihood, several D moves",
    "objective": "f-GAN, feature matching, label smoothing, EBGAN, LSGAN, WGAN, WGAN-GP, MMD GAN, Lagrangian GAN",
    "play": "historical avg., virtual BN, instance noise, unrolled GAN, dynamic schedule, norm penalty, consensus, "
    "DRAGAN, R1",
    "modes": "minibatch disc., GMAN, mixture latents, AdaGAN, Bayesian GAN, D2GAN, MGAN, BourGAN",
    "condition": "conditional GAN, CatGAN, n + 1 classes, InfoGAN, SeqGAN, Gumbel-softmax, Triple GAN, MaskGAN, BigGAN",
    "code": "VAE, AAE, supervised AAE, semi-sup. AAE, BiGAN, ALI, inverse GAN, AVB, PixelGAN AE, implicit AE",
    "translation": "pix2pix, PatchGAN, DTN, SRGAN, AffGAN, SimGAN, iGAN, CoGAN, CycleGAN, DeepFaceDrawing, LAG",
    "mixing": "text to image, StackGAN, FineGAN, MixNMatch, furry cars",
    "pictures": "LapGAN, DCGAN, GRAN, progressive GAN, SAGAN, SinGAN, few-shot GAN",
    "fields": "video GAN, speech synthesis, anime faces, WaveGAN",
    "judges": "human study, Parzen likelihood, MS-SSIM, inception score, FID, precision/recall, geometry score",
    "attacks": "adversarial ML, DeepFool, physical attacks, attacks at scale, PGD training",
    "neighbours": "logistic or Bayes, ReLU, dropout, maxout, Word2Vec, all-convolutional, batch norm, capsules",
}


@functools.cache
def atlas() -> pd.DataFrame:
    return pd.read_csv(bundled("atlas.csv"), dtype=str, keep_default_na=False)


@functools.cache
def everything() -> dict:
    constants = {
        "KINDS",
        "atlas",
        "games",
        "INITIALS",
        "HUES",
        "COLUMNS",
        "NOTEBOOKS",
        "START",
        "DESCRIBED",
        "LINE",
    }
    return definitions(STEM, constants, leave_out=("exercise", "solution"))


def notebook() -> SimpleNamespace:
    return SimpleNamespace(**everything())


# ---- the table -------------------------------------------------------------------------------------------------


def test_every_system_has_its_row_once_on_its_shelf():
    named = [(shelf, name) for shelf, names in NAMED.items() for name in names.split(", ")]
    rows = list(zip(atlas()["shelf"], atlas()["name"], strict=True))
    assert sorted(rows) == sorted(named)
    assert len({name for _, name in rows}) == len(rows)


def test_the_changes_are_of_five_kinds_and_only_games_have_some():
    for row in atlas().itertuples():
        kinds = row.changes.split(", ") if row.changes else []
        assert set(kinds) <= set(KINDS) and len(set(kinds)) == len(kinds), row.name
        if row.shelf in ("judges", "attacks", "neighbours"):
            assert not kinds, row.name
        elif row.name not in ("VAE", "inverse GAN", "iGAN"):  # no change of the game, but on its shelves
            assert kinds, row.name


def test_a_year_is_a_year_and_no_reference_is_older():
    for row in atlas().itertuples():
        assert bool(row.year) == bool(row.reference), row.name
        if row.year:
            years = [int(year) for year in re.findall(r"\b(?:19|20)\d\d\b", row.reference)]
            assert years and 1900 < int(row.year) <= min(years), row.name
        assert row.listed in ("yes", "no")


def test_every_cell_that_must_be_filled_is():
    for row in atlas().itertuples():
        assert row.mathematics and row.where and row.became and row.name == row.name.strip(), row.name
        assert len(row.mathematics) <= 120 and len(row.became) <= 110, row.name


def test_every_place_exists():
    """A notebook of the curriculum, and a section or an exercise that stands in it."""
    for row in atlas().itertuples():
        for where in row.where.split():
            number, exercise, section = re.fullmatch(r"(\d\d):(E?)(\d+)", where).groups()
            (stem,) = [name for name in CURRICULUM if name.startswith(number)]
            path = NOTEBOOKS / f"{stem}.ipynb"
            if path.exists():
                prose = "\n".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown")
                heading = f"### Exercise {section} " if exercise else f"## {section} · "
                assert re.search(rf"(?m)^{heading}", prose), (row.name, where)


def test_every_notebook_of_the_repository_is_one_of_the_curriculum():
    assert {path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")} <= set(CURRICULUM)


# ---- the notebook ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (("", "any", "any"), None),
        (("squash(s)", "any", "any"), {"capsules"}),
        (("", "no game", "05"), {"ReLU", "FID", "Word2Vec", "all-convolutional", "batch norm"}),
        (("kodali", "rules", "08"), {"DRAGAN"}),
        (("[", "any", "any"), None),  # no pattern, just a bracket
    ],
)
def test_the_filters(filters, names):
    rows = notebook().matches(*filters)
    if filters == ("", "any", "any"):
        assert len(rows) == len(atlas())
    elif filters[0] == "[":
        assert all("[" in " ".join(row) for row in rows[["mathematics", "reference", "became"]].values)
    else:
        assert set(rows["name"]) == names


def test_the_widget_starts_at_once_and_follows():
    box, names = shown(STEM, {**everything()})
    board, table = box.children
    _, picture, message = board.children
    assert "22 of 96 rows" in table.value and picture.value
    seen = {picture.value}
    for name, value in (("changes", "rules"), ("notebook", "11"), ("word", "drag"), ("word", "<script>")):
        names["controls"][name].value = value
        seen.add(picture.value)
        assert not message.value
    assert "0 of 96 rows" in table.value and len(seen) == 5
    names["controls"]["word"].value = ""
    assert "<script" not in table.value and "E(‖∇D(x + δ)‖ - k)²" in table.value


def test_mmd_is_that_of_a_loop():
    nb, rng = notebook(), torch.Generator().manual_seed(0)
    x, y = torch.randn(3, 6, 2, generator=rng), torch.randn(3, 5, 2, generator=rng)
    kernel = nb.gauss(0.5, 2.0)
    for a, b, found in zip(x, y, nb.mmd2(x, y, kernel), strict=True):
        pairs = {}
        for name, (u, v) in {"xx": (a, a), "xy": (a, b), "yy": (b, b)}.items():
            values = [
                sum(np.exp(-float((s - t).square().sum()) / (2 * h**2)) for h in (0.5, 2.0))
                for i, s in enumerate(u)
                for j, t in enumerate(v)
                if name == "xy" or i != j
            ]
            pairs[name] = np.mean(values)
        assert float(found) == pytest.approx(pairs["xx"] - 2 * pairs["xy"] + pairs["yy"], abs=1e-5)


RIGHT = [
    (1, "hellinger_conjugate = lambda t: 1 / (1 - t) - 1"),
    (2, "mmd2_of_normals = mmd2_found"),
    (3, "bias = lambda n, kappa: 2 / n - 2 * kappa / n"),
    (4, "keep_measurement = lambda A, x, y: x + A.T @ torch.linalg.solve(A @ A.T, y - A @ x)"),
]
WRONG = [
    (0, "answers_1 = dict(a='players', b='objective, rules', c='objective, data', d='architecture', "
        "e='players, data', f='rules')"),
    (0, "answers_1 = dict(a='objective, players', b='objective, rules', c='objective, data', d='architecture', "
        "e='players, data', f='objective')"),
    (1, "hellinger_conjugate = lambda t: t / (1 + t)"),
    (1, "hellinger_conjugate = lambda t: 1 / (1 - t)"),
    (2, "mmd2_of_normals = lambda d, tau, h: 2 * h / (h**2 + 2) ** 0.5 * (1 - np.exp(-d**2 / (2 * (h**2 + 2))))"),
    (3, "bias = lambda n, kappa: (1 - kappa) / n"),
    (3, "bias = lambda n, kappa: 0.0"),
    (4, "keep_measurement = lambda A, x, y: torch.linalg.pinv(A) @ y"),  # forgets x
    (4, "keep_measurement = lambda A, x, y: x - A.T @ (A @ x - y)"),  # the transpose is not the inverse
]  # fmt: skip


@pytest.mark.parametrize(("number", "attempt"), RIGHT)
def test_right_answers_pass(number, attempt):
    assert answered(STEM, number, attempt, everything()).startswith("right")


@pytest.mark.parametrize(("number", "attempt"), WRONG)
def test_wrong_answers_do_not(number, attempt):
    assert answered(STEM, number, attempt, everything()).startswith("wrong")
