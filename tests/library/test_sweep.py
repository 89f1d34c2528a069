"""A sweep is one tidy table, the same wherever it was computed."""

import io
import sys
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ganlib import sweep as sweeping
from ganlib.batched import BatchedMatch
from ganlib.distributions import moons, ring
from ganlib.games import GAMES, Game
from ganlib.metrics import high_quality, modes_covered
from ganlib.networks import mlp_players
from ganlib.sweep import play, sweep
from ganlib.training import rounds, train

torch.set_num_threads(1)

GRID = {"unroll_steps": [0, 2], "activation": {"tanh": nn.Tanh, "ReLU": nn.ReLU}}
SETTINGS = dict(steps=8, every=4, n_samples=100, batch_size=16)


def small_sweep(grid=GRID, seeds=(0, 1, 2), progress=False, **settings):
    return sweep(grid, seeds, progress=progress, **SETTINGS | settings)


def worker_facts(seeds, **settings):
    """A run that reports on the place where it runs. Its `lambda` cannot be pickled by name."""
    fact = settings.get("fact") or (lambda: torch.get_num_threads())
    for seed in seeds:
        yield {"seed": seed, "step": 1, "fact": fact(), "together": len(seeds)}


# ---- the table -------------------------------------------------------------------------------------------------


def test_the_table_is_tidy():
    table = small_sweep()
    assert list(table.columns) == [*GRID, "seed", "step", "d_loss", "g_loss", "modes", "hq"]
    keys = table[[*GRID, "seed", "step"]]
    expected = [(k, a, s, t) for k in (0, 2) for a in ("tanh", "ReLU") for s in (0, 1, 2) for t in (4, 8)]
    assert list(keys.itertuples(index=False, name=None)) == expected  # each run and snapshot once, in order
    assert list(table.index) == list(range(len(expected))) and not table.isna().any(axis=None)
    for column, kind in {
        "seed": "i",
        "step": "i",
        "unroll_steps": "i",
        "modes": "i",
        "hq": "f",
        "d_loss": "f",
    }.items():
        assert table[column].dtype.kind == kind


def test_a_row_is_what_the_run_shows():
    table = small_sweep({"unroll_steps": [2]}, seeds=[1], lr_d=2e-3)
    players = mlp_players((2,), seed=1)
    run = train(
        *players,
        Game(GAMES["non-saturating"].objective, unroll_steps=2),
        ring(),
        lr_d=2e-3,
        seed=1,
        **SETTINGS,
    )
    for (_, row), shot in zip(table.iterrows(), run, strict=True):
        assert row.step == shot.step and row.seed == 1
        assert row.d_loss == pytest.approx(shot.d_loss, abs=1e-5)
        assert row.g_loss == pytest.approx(shot.g_loss, abs=1e-5)
        assert row.modes == modes_covered(shot.samples, ring())
        assert row.hq == pytest.approx(high_quality(shot.samples, ring()), abs=0.011)  # one sample of 100


def test_settings_reach_the_run():
    """Every setting of the grid changes the losses; rows that differ in a label differ."""
    grid = {
        "game": ["minimax", "hinge"], "data": ["ring", "moons"], "n_critic": [1, 2], "latent_dim": [2, 4],
        "hidden": [(8,), (8, 8)], "lr_g": [1e-3, 1e-2], "batch_size": [8, 16], "betas": [(0.0, 0.9), (0.5, 0.99)],
    }  # fmt: skip
    for name, values in grid.items():
        settings = {k: v for k, v in dict(steps=5, every=5, n_samples=50, batch_size=8).items() if k != name}
        table = sweep({name: values}, [0], progress=False, **settings)
        assert list(table[name]) == values and table.d_loss.nunique() == 2, name


def test_data_without_modes_has_no_modes():
    for data in ("moons", moons()):
        assert list(small_sweep({}, data=data).columns) == ["seed", "step", "d_loss", "g_loss"]


def test_own_measures():
    def spread(samples, data):
        return samples.std().item()

    table = small_sweep({}, measures={"spread": spread}, data="moons")
    assert (table.spread > 0).all() and "hq" not in table


def test_own_game_under_a_label():
    game = {"mine": Game(GAMES["hinge"].objective, n_critic=2), "theirs": GAMES["hinge"]}
    table = small_sweep({"game": game}, seeds=[0])
    assert set(table.game) == {"mine", "theirs"} and table.d_loss.nunique() == 4


def test_without_settings_it_is_the_seeds():
    table = small_sweep({}, seeds=range(2))
    assert list(table.columns) == ["seed", "step", "d_loss", "g_loss", "modes", "hq"] and len(table) == 4


def test_seaborn_plots_it():
    import seaborn as sns
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    sns.lineplot(
        small_sweep(), x="step", y="modes", hue="unroll_steps", style="activation", ax=ax, errorbar=None
    )
    assert len(ax.get_lines()) >= 4


# ---- the same wherever it is computed ----------------------------------------------------------------------------


def test_the_table_does_not_depend_on_the_number_of_workers():
    pd.testing.assert_frame_equal(small_sweep(), small_sweep(n_jobs=2), check_exact=True)


def test_other_local_backends():
    expected = small_sweep()
    for backend in ("threading", "multiprocessing"):  # Ray's is derived from the second
        with joblib.parallel_config(backend=backend, n_jobs=2):
            pd.testing.assert_frame_equal(small_sweep(), expected, check_exact=True)


def test_players_can_be_built_in_threads():
    """PyTorch draws first weights from one global stream; two threads must not draw from it in turn."""

    def first_weights(seed):
        return torch.cat(
            [p.detach().flatten() for G, D in [mlp_players((2,), seed=seed)] for p in G.parameters()]
        )

    expected = [first_weights(seed) for seed in range(40)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads change places as often as they can
    try:
        with ThreadPoolExecutor(8) as pool:
            built = list(pool.map(first_weights, range(40)))
    finally:
        sys.setswitchinterval(interval)
    assert all(torch.equal(a, b) for a, b in zip(expected, built, strict=True))


def test_a_dask_cluster_is_joblibs_switch_away():
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=False, dashboard_address=None
    )
    with cluster, distributed.Client(cluster):
        with joblib.parallel_config(backend="dask"):
            table = small_sweep()
            where = sweep({}, [0], run=worker_facts, progress=False, fact=on_a_dask_worker)
    pd.testing.assert_frame_equal(table, small_sweep(), check_exact=True)
    assert where.fact.all()


def on_a_dask_worker() -> bool:
    import distributed

    try:
        return bool(distributed.get_worker())
    except ValueError:
        return False


def test_seeds_trained_together_are_the_seeds():
    """To rounding, which these 8 steps do not amplify."""
    one, all_ = small_sweep(together=1), small_sweep(together=3)
    np.testing.assert_allclose(one[["d_loss", "g_loss"]], all_[["d_loss", "g_loss"]], atol=1e-5)
    pd.testing.assert_frame_equal(one[[*GRID, "seed", "step"]], all_[[*GRID, "seed", "step"]])


def test_as_many_seeds_together_as_asked():
    table = sweep({"fact": [None]}, range(5), run=worker_facts, together=2, progress=False)
    assert list(table.together) == [2, 2, 2, 2, 1]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_each_worker_has_one_thread_and_ours_keeps_its_own(n_jobs):
    torch.set_num_threads(3)
    try:
        table = sweep({}, range(4), run=worker_facts, together=1, n_jobs=n_jobs, progress=False)
        assert list(table.fact) == [1] * 4
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)


def test_it_is_its_own_randomness():
    torch.manual_seed(0)
    state, first = torch.get_rng_state(), small_sweep()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    pd.testing.assert_frame_equal(first, small_sweep(), check_exact=True)


def test_an_odd_number_of_threads_outside_changes_nothing():
    expected = small_sweep()
    torch.set_num_threads(2)
    try:
        pd.testing.assert_frame_equal(small_sweep(), expected, check_exact=True)
    finally:
        torch.set_num_threads(1)


def test_play_is_rounds_of_a_batched_match():
    rows = list(play([4, 5], steps=6, every=3, n_samples=50, lr_d=5e-4))
    match = BatchedMatch(
        [mlp_players((2,), seed=s) for s in (4, 5)], GAMES["non-saturating"], ring(), seeds=[4, 5], lr_d=5e-4
    )
    shots = list(rounds(match, steps=6, every=3, n_samples=50))
    assert [row["d_loss"] for row in rows] == [loss for shot in shots for loss in shot.d_loss]
    assert [row["seed"] for row in rows] == [4, 5, 4, 5]


# ---- progress, and bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_bar_counts_to_the_end(n_jobs, monkeypatch):
    bars = []

    def bar(**settings):
        bars.append(real(**settings, file=io.StringIO(), mininterval=0))
        return bars[-1]

    real = sweeping.tqdm
    monkeypatch.setattr(sweeping, "tqdm", bar)
    small_sweep(n_jobs=n_jobs, progress=True, together=1)
    assert (bars[0].n, bars[0].total) == (12, 12)
    small_sweep(progress=False)
    assert bars[1].disable


def test_it_is_silent_without_progress(capfd):
    small_sweep()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"seeds": []}, "at least one seed"),
        ({"together": 0}, "one or more together"),
        ({"seed": 3}, "the seeds as `seeds`"),
        ({"unroll_steps": 5}, "unroll_steps: expected in the grid or fixed"),
        ({"grid": {"betas": [[0.5, 0.9]]}}, "betas: expected a list .*label"),
        ({"grid": {"lr_d": 1e-3}}, "lr_d: expected a list"),
        ({"game": "poker"}, "expected one of minimax, .*'poker'"),
        ({"data": "cats"}, "expected one of .*'cats'"),
        ({"grid": {}, "unroll_steps": -1}, "unroll_steps"),
        ({"grid": {"lr_d": [-1.0]}}, "lr_d"),
        ({"steps": 0}, "steps"),
        ({"every": 0}, "every"),
    ],
    ids=str,
)
def test_bad_input_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        small_sweep(**arguments)
