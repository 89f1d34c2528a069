"""Notebook 15 beyond its own cells: the patch by gradients, the count of maps, and its exercises."""

import functools

import pytest
import torch
from notebook_code import answered, definitions
from torch import nn

STEM = "15_translation_and_growth"


@functools.cache
def everything() -> dict:
    constants = {"FULL", "SEEDS", "ROUNDS", "PLAIN", "X", "Y", "SYMMETRIES", "LOSSES", "START"}
    return definitions(STEM, constants, leave_out=("exercise", "solution"))


@pytest.mark.parametrize("layers", [[(3, 1)], [(4, 2), (3, 1)], [(4, 2), (4, 2), (4, 1)], [(5, 3), (2, 2)]])
def test_what_one_output_sees_is_what_its_gradient_says(layers):
    net = nn.Sequential(*(nn.Conv2d(1, 1, kernel, stride) for kernel, stride in layers)).double()
    x = torch.rand(1, 1, 60, 60, dtype=torch.float64, requires_grad=True)
    y = net(x)
    y[0, 0, y.shape[2] // 2, y.shape[3] // 2].backward()
    seen = x.grad[0, 0] != 0
    assert seen.any(0).sum() == seen.any(1).sum() == everything()["sees"](layers)


def test_a_pyramid_of_any_levels_is_inverted():
    nb, x = everything(), torch.rand(3, 1, 32, 32, dtype=torch.float64)
    for levels in (1, 2, 4):
        details, coarse = nb["pyramid"](x, levels)
        assert len(details) == levels and coarse.shape[-1] == 32 // 2**levels
        torch.testing.assert_close(nb["collapse"](details, coarse), x)


def test_known_pairs_leave_as_many_maps_as_counted():
    left = everything()["left"]
    assert [len(left([(0, j)])) for j in range(8)] == [2] * 8
    assert [len(left([(0, 0), (d, d)])) for d in range(1, 8)] == [1, 1, 1, 2, 1, 1, 1]
    assert left([(0, 0), (1, 2)]) == []


RIGHT = [
    (0, "l1_cost = lambda a, h, w: w * abs(a - h) + (1 - w) * abs(a + h)"),
    (1, "patch_side = lambda n: 7 * 2**n + 2 * (2**n - 1)"),
    (2, "maps_left = lambda m, d: 1 + (2 * d % m == 0)"),
    (3, "features_of_d = lambda x, alpha: torch.lerp(old_in(shrink(x)), block_in(new_in(x)), alpha)"),
]
WRONG = [
    (0, "l1_cost = lambda a, h, w: h"),  # the plateau of equal chances
    (0, "l1_cost = lambda a, h, w: abs(a - (2 * w - 1) * h)"),  # the distance to the mean
    (1, "patch_side = lambda n: 7 * 2**n"),
    (1, "patch_side = lambda n: 70"),
    (2, "maps_left = lambda m, d: 1"),
    (2, "maps_left = lambda m, d: 2"),
    (3, "features_of_d = of_the_port"),
    (3, "features_of_d = lambda x, alpha: old_in(shrink(x))"),
]


@pytest.mark.parametrize(("number", "attempt"), RIGHT)
def test_right_answers_pass(number, attempt):
    assert answered(STEM, number, attempt, everything()).startswith("right")


@pytest.mark.parametrize(("number", "attempt"), WRONG)
def test_wrong_answers_do_not(number, attempt):
    assert answered(STEM, number, attempt, everything()).startswith("wrong")
