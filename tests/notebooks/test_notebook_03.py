"""Notebook 03: its exercises tell right answers from wrong ones, and its lab plays the run of its twin."""

import functools
from types import SimpleNamespace

import pytest
import torch
from helpers import weights
from notebook_code import answered, definitions, shown, tagged
from torch import nn

from ganlib.games import GAMES
from ganlib.networks import mlp_players
from ganlib.training import train

STEM = "03_vanilla_gan"
CONSTANTS = {"FULL", "LOG2", "LOG4", "SEEDS", "RING", "LOGITS", "COUNTS", "right_round", "right_move", "CASES", "order",
             "truth"}  # fmt: skip


@functools.cache
def notebook() -> SimpleNamespace:
    namespace = definitions(STEM, CONSTANTS, leave_out=("exercise", "solution"))
    namespace["train"] = train  # which the notebook imports after it has written its own
    return SimpleNamespace(**namespace)


def test_the_lab_plays_the_run_of_its_twin():
    lab, _ = shown(STEM, vars(notebook()))
    lab.advance(20)
    G, D = mlp_players((2,), activation=nn.Tanh)
    list(train(G, D, GAMES["non-saturating"], notebook().RING, steps=20))
    assert torch.equal(weights(lab.run.G), weights(G)) and torch.equal(weights(lab.run.D), weights(D))


WRONG = [  # the functions as they are planted, and other slips
    (0, "my_round = one_round"),
    (0, "def my_round(match): return GAMES['non-saturating'](match)"),
    (0, "def my_round(match): return GAMES['minimax'].discriminator_move(match), 0.0"),
    (1, "my_safe_loss = safe_loss"),
    (1, "def my_safe_loss(fake_logits): return softplus(fake_logits).mean()"),
    (1, "def my_safe_loss(fake_logits): return softplus(-fake_logits).sum()"),
    (2, "my_circle = circle"),
    (2, "def my_circle(n): return circle(n)[:-1]"),
    (3, "my_penalised_move = penalised_move"),
    (3, "my_penalised_move = GAMES['minimax'].discriminator_move"),
    (4, "my_pause = pause"),
    (4, "def my_pause(G, run, z): return next(run).samples"),
    (5, "def smallest_d_loss(m, n): return LOG4"),
    (5, "def smallest_d_loss(m, n): return -m / n * math.log(m / n) - math.log(n / (m + n))"),
    (6, "verdict = {1: 'healthy', 2: 'too high', 3: 'collapsed', 4: 'D has won'}"),
]


@pytest.mark.parametrize(("number", "attempt"), WRONG)
def test_a_wrong_answer_is_refused(number, attempt):
    assert answered(STEM, number, attempt, vars(notebook())).startswith("wrong")


def test_minimax_may_be_written_otherwise():
    attempt = "def my_round(match): return tuple(GAMES['minimax'](match).values())"
    assert answered(STEM, 0, attempt, vars(notebook())).startswith("right")


def test_every_exercise_has_wrong_answers():
    assert {number for number, _ in WRONG} == set(range(len(tagged(STEM, "exercise"))))
