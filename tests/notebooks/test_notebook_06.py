"""Notebook 06: its numbers on samples that are known, games whose value is known, its exercises."""

import functools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import rng
from notebook_code import answered, definitions

from ganlib.distributions import GaussianMixture, ring

STEM, RING = "06_mode_collapse", ring()


@functools.cache
def notebook() -> SimpleNamespace:
    constants = {"FULL", "SEEDS", "STEPS", "data", "TICKS", "EIGHT", "ONE", "DIMENSIONS", "PRICES"}
    return SimpleNamespace(**definitions(STEM, constants))


def test_reverse_kl_compares_with_the_weights():
    mixture = GaussianMixture(RING.means[:2], 0.05, weights=[0.75, 0.25])
    samples = torch.cat([mixture.means[:1].expand(300, 2), mixture.means[1:].expand(100, 2)])
    assert notebook().reverse_kl(samples, mixture) == pytest.approx(0, abs=1e-6)
    assert notebook().reverse_kl(samples.flip(0)[:100], mixture) == pytest.approx(math.log(4), abs=1e-6)


@pytest.mark.parametrize("samples", [torch.empty(0, 2), torch.zeros(9, 2), torch.full((9, 2), math.nan)])
def test_reverse_kl_of_nothing_is_not_a_number(samples):
    assert math.isnan(notebook().reverse_kl(samples, RING))


@pytest.mark.parametrize(
    ("looks", "found"),
    [([[i % 8] for i in range(16)], (1, 8, 0, 4 * math.sin(math.pi / 8))), ([[2, 5]] * 16, (2, 2, 2, 0))],
    ids=["a point that moves on", "two points that stay"],
)
def test_rotation_and_frozen_collapse_differ_in_numbers(looks, found):
    path = torch.stack([torch.cat([RING.means[i].expand(10, 2) for i in look]) for look in looks])
    row = notebook().numbers(path)
    assert tuple(row[name] for name in ("covered", "visited", "held", "movement")) == pytest.approx(found)


def test_the_density_estimate_is_a_density_with_its_bumps_in_place():
    nb, samples = notebook(), torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 2.0]])
    estimate, step = nb.kde(samples), (nb.TICKS[1] - nb.TICKS[0]).item()
    assert estimate.sum().item() * step**2 == pytest.approx(1, abs=1e-3)
    row, column = divmod(estimate.argmax().item(), len(nb.TICKS))
    assert (nb.TICKS[column].item(), nb.TICKS[row].item()) == pytest.approx((1, 0), abs=step)


def test_mixed_values_that_are_known():
    for k in (2, 3, 8):
        assert notebook().mixed_value(np.eye(k)) == pytest.approx(1 / k)
    assert notebook().mixed_value(np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])) == pytest.approx(
        0, abs=1e-12
    )


def test_smoothing_is_the_median_of_nine():
    images = 2 * torch.rand(2, 1, 28, 28, generator=rng()) - 1
    window = images[:, 0, 12:15, 19:22].flatten(1).sort(dim=1).values
    assert torch.equal(notebook().smooth(images)[:, 0, 13, 20], window[:, 4])


@pytest.mark.parametrize(
    ("number", "attempt"),
    [
        (2, "share_within_3_sigma = lambda d: math.erf(3 / math.sqrt(2)) ** d"),  # a box, not a ball
        (2, "share_within_3_sigma = lambda d: gammainc(d, 4.5)"),
        (3, "log_least_L = lambda delta, eps: math.log(-delta / ndtri((1 - eps) / 2))"),
        (3, "log_least_L = lambda delta, eps: math.log(delta / (eps * math.sqrt(2 * math.pi)))"),  # small eps
    ],
)
def test_a_wrong_answer_is_refused(number, attempt):
    assert answered(STEM, number, attempt, vars(notebook())).startswith("wrong")
