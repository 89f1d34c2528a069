"""A sweep is one tidy table, the same wherever it was computed."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import joblib
import pandas as pd
import pytest
import torch
from helpers import weights
from torch import nn

from ganlib.batched import play_seeds
from ganlib.distributions import ring
from ganlib.games import GAMES
from ganlib.networks import mlp_players
from ganlib.sweep import sweep

GRID = {"unroll_steps": [0, 2], "activation": {"tanh": nn.Tanh, "ReLU": nn.ReLU}}


def play(seeds, unroll_steps=0, activation=nn.Tanh, **settings):
    game = replace(GAMES["non-saturating"], unroll_steps=unroll_steps)
    make = partial(mlp_players, (2,), activation=activation)
    settings = {"steps": 4, "every": 2, "n_samples": 9, "batch_size": 16} | settings
    for shot in play_seeds(make, game, ring(), seeds, **settings):
        for seed, d_loss in zip(seeds, shot.d_loss, strict=True):
            yield {"seed": seed, "step": shot.step, "d_loss": d_loss}


def facts(seeds, fact=torch.get_num_threads):
    """A run that reports on the place where it runs."""
    for seed in seeds:
        yield {"seed": seed, "step": 1, "fact": fact(), "together": len(seeds)}


def small_sweep(grid=GRID, seeds=(0, 1, 2), **settings):
    return sweep(play, grid, seeds, progress=False, **settings)


def test_the_table_is_tidy_and_its_rows_are_what_the_runs_show():
    table = small_sweep()
    assert list(table.columns) == [*GRID, "seed", "step", "d_loss"] and not table.isna().any(axis=None)
    keys = table[[*GRID, "seed", "step"]]
    expected = [(k, a, s, t) for k in (0, 2) for a in ("tanh", "ReLU") for s in (0, 1, 2) for t in (2, 4)]
    assert list(keys.itertuples(index=False, name=None)) == expected  # each run and snapshot once, in order
    rows = sorted(play((0, 1, 2), unroll_steps=2, activation=nn.ReLU), key=lambda row: row["seed"])
    of_one = table[(table["unroll_steps"] == 2) & (table["activation"] == "ReLU")]
    assert list(of_one["d_loss"]) == [row["d_loss"] for row in rows]


def test_fixed_settings_reach_the_run_and_not_the_table():
    table, other = small_sweep({}, lr_d=1e-1), small_sweep({})
    assert list(table.columns) == ["seed", "step", "d_loss"] and (table["d_loss"] != other["d_loss"]).any()


# ---- the same wherever it is computed ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_table_does_not_depend_on_where_it_is_computed(dtype):
    """Processes, threads; and a default type of number that a new process would not know of."""
    torch.set_default_dtype(dtype)
    try:
        expected = small_sweep()
        pd.testing.assert_frame_equal(small_sweep(n_jobs=2), expected, check_exact=True)
        with joblib.parallel_config(backend="threading", n_jobs=2):
            pd.testing.assert_frame_equal(small_sweep(), expected, check_exact=True)
    finally:
        torch.set_default_dtype(torch.float32)


def test_players_can_be_built_in_threads():
    """PyTorch draws first weights from one global stream; two threads must not draw from it in turn."""

    def first_weights(seed):
        return weights(mlp_players((2,), seed=seed)[0])

    expected = [first_weights(seed) for seed in range(40)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads change places as often as they can
    try:
        with ThreadPoolExecutor(8) as pool:
            built = list(pool.map(first_weights, range(40)))
    finally:
        sys.setswitchinterval(interval)
    assert all(torch.equal(a, b) for a, b in zip(expected, built, strict=True))


def on_a_dask_worker() -> bool:
    import distributed

    try:
        return bool(distributed.get_worker())
    except ValueError:
        return False


def test_a_dask_cluster_is_joblibs_switch_away():
    distributed = pytest.importorskip("distributed")
    settings = dict(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster):
        with joblib.parallel_config(backend="dask"):
            table = small_sweep()
            where = sweep(facts, {}, [0], progress=False, fact=on_a_dask_worker)
    pd.testing.assert_frame_equal(table, small_sweep(), check_exact=True)
    assert where["fact"].all()


def test_as_many_seeds_together_as_asked():
    table = sweep(facts, {"fact": {"none": lambda: None}}, range(5), together=2, progress=False)
    assert list(table["together"]) == [2, 2, 2, 2, 1]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_each_worker_has_one_thread_and_ours_keeps_its_own(n_jobs):
    torch.set_num_threads(3)
    try:
        table = sweep(facts, {}, range(4), together=1, n_jobs=n_jobs, progress=False)
        assert list(table["fact"]) == [1] * 4 and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)


# ---- progress, and bad input -------------------------------------------------------------------------------------


def test_a_bar_if_asked_for_and_silence_if_not(capfd):
    sweep(facts, {}, range(2), progress=True)
    assert "sweep" in capfd.readouterr().err
    sweep(facts, {}, range(2), progress=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"seeds": []}, "different seeds"),
        ({"seeds": [0, 1, 0]}, "different seeds"),
        ({"together": 0}, "one or more together"),
        ({"seed": 3}, "the seeds as `seeds`"),
        ({"unroll_steps": 5}, "unroll_steps: expected in the grid or fixed"),
        ({"grid": {"betas": [[0.5, 0.9]]}}, "betas: expected a list .*label"),
        ({"grid": {"lr_d": 1e-3}}, "lr_d: expected a list"),
        ({"grid": {"lr_d": []}}, "lr_d: expected a list"),
        ({"grid": {"lr_d": [-1.0]}}, "lr_d"),
        ({"grid": {"rate": [1.0]}}, "got rate"),
    ],
    ids=str,
)
def test_bad_input_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        small_sweep(**arguments)
