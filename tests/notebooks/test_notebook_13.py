"""Notebook 13 beyond its own cells: its D with a volume, its widget, its exercises."""

import functools
from types import SimpleNamespace

import pytest
import torch
from helpers import rng
from notebook_code import answered, definitions, follows, shown

from ganlib.networks import mlp_players

STEM = "13_conditional_gan"


@functools.cache
def everything() -> dict:
    constants = {"FULL", "SEEDS", "ROUNDS", "P", "DATA", "START", "JUDGE", "told_G", "found_G"}
    return definitions(STEM, constants, leave_out=("exercise", "solution"))


def notebook() -> SimpleNamespace:
    return SimpleNamespace(**everything())


def test_the_volume_of_the_label():
    """At 1 it is the library's D, at 0 no label makes a difference, and the weights at the start are the same."""
    x, y = torch.randn(16, 2, generator=rng()), torch.eye(8).repeat(2, 1)
    _, D = mlp_players((2,), n_given=8, seed=3)
    loud, mute = (notebook().players_told(volume, 8, 3)[1] for volume in (1.0, 0.0))
    assert torch.equal(loud(x, y), D(x, y))
    assert torch.equal(mute(x, y), D(x, 0 * y)) and torch.equal(mute(x, y), mute(x, y.flip(0)))


def test_bundled_generators_answer():
    """The one that was told writes what it is asked for, in each of ten numbers."""
    numbers = torch.arange(10).repeat(30)
    logits = notebook().JUDGE(notebook().ask(numbers, rng(5)))
    assert (logits.argmax(1) == numbers).double().mean() > 0.9


def test_the_widget_follows_its_dials():
    board, _ = shown(STEM, everything())
    assert follows(board)


@pytest.mark.parametrize(
    ("number", "attempt"),
    [
        (0, "def ignoring_formula(K): return math.log(2) * (1 - 1 / K)"),
        (1, "def value_of_best_D(joint): return -math.log(4)"),
        (1, "def value_of_best_D(joint): return 2 * jsd_of(joint, np.outer(joint.sum(1), joint.sum(0)))"),
        (2, "def floor(n): return 0.0"),
        (2, "def floor(n): return math.log(1 + n / math.e)"),
        (3, "def least_error(a, b): return (1 - (b - a) / 2) ** 2 / 6"),
        (4, "def best_baseline(p, f0, f1): return p * f1 + (1 - p) * f0"),
    ],
)
def test_a_wrong_answer_is_told_so(number, attempt):
    assert answered(STEM, number, attempt, everything()).startswith("wrong")
