"""Notebook 11 beyond its own cells: tricks whose dial is at nothing, the board, the exercises, the file."""

import functools

import numpy as np
import pytest
import torch
from helpers import weights
from notebook_code import answered, definitions, follows, shown

from ganlib.batched import BatchedMatch
from ganlib.distributions import ring
from ganlib.games import GAMES
from ganlib.networks import mlp_players

STEM = "11_stabilisers"


@functools.cache
def everything() -> dict:
    """What the notebook imports and defines, its constants, and what the exercises and the board need besides."""
    constants = (
        "FULL SEEDS ROUNDS DATA PLAIN PATIENTS TRICKS NS SMOOTH EBGAN CHARGES DRAGAN Z X PLAYED EVERY_ROW FAMILIES "
        "COLUMNS GUESSED START PARTNERS MATRICES LINE OFF KERNELS plain_players kept everyone x step rng pairs measured"
    )
    return definitions(STEM, constants.split(), leave_out=("solution", "widget"))


def after(game, rounds: int = 4, **players) -> torch.Tensor:
    """The weights of the player that is shown, after some rounds of two seeds."""
    make = (
        everything()["TRICKS"]
        .get(players.get("of"), {})
        .get("players", lambda seed: mlp_players((2,), seed=seed))
    )
    match = BatchedMatch([make(seed=seed) for seed in range(2)], ring(), seeds=range(2), batch_size=32)
    for _ in range(rounds):
        game(match)
    return weights(match.G)


@pytest.mark.parametrize(
    "same",
    [
        lambda nb: nb["historical_averaging"](0.0),
        lambda nb: nb["until"](float("inf")),
    ],
    ids=["historical averaging", "schedule"],
)
def test_a_trick_with_its_dial_at_nothing_is_the_plain_game(same):
    torch.testing.assert_close(after(same(everything())), after(GAMES["non-saturating"]))


def test_the_average_of_g_without_memory_is_g():
    nb = everything()
    shown = after(nb["shown_average"](0.0), of="average of G")
    torch.testing.assert_close(shown, after(GAMES["non-saturating"]))


def test_consensus_at_zero_is_simultaneous_play_and_extra_adam_is_not():
    nb = everything()
    plain, at_zero, extra = (
        after(game, 1) for game in (GAMES["non-saturating"], nb["consensus"](0.0), nb["extra_adam"])
    )
    assert not torch.equal(plain, at_zero)  # D has not moved yet when G does
    assert not torch.equal(at_zero, extra)


def test_the_board_follows_its_controls():
    box, _ = shown(STEM, everything())
    assert follows(box)


@pytest.mark.parametrize(
    ("number", "attempt"),
    [
        (0, "my_guess = lambda trick: 'both'"),
        (1, "from_pearson = lambda chi2: 1 / 2 + chi2 / 4"),  # twice the cost
        (2, "published_length = 0.5"),
        (3, "map_norm = lambda kernel, n: np.linalg.norm(kernel)"),  # the reshaped kernel
    ],
)
def test_a_wrong_answer_is_refused(number, attempt):
    assert "wrong" in answered(STEM, number, attempt, everything())


def test_the_file_holds_whole_rows():
    nb = everything()
    rows = {key.removesuffix(", numbers") for key in nb["kept"] if key.endswith(", numbers")}
    assert {f"{name}, {patient}" for name in nb["everyone"] for patient in nb["PATIENTS"]} <= rows
    for row in rows:
        assert (
            nb["kept"][f"{row}, numbers"].shape == (4, 8) and np.isfinite(nb["kept"][f"{row}, numbers"]).all()
        )
        assert nb["kept"][f"{row}, modes"].shape == (20, 8) and nb["kept"][f"{row}, modes"].max() <= 8
        assert nb["kept"][f"{row}, samples"].shape == (10, 3, 120, 2)
