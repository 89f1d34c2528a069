"""Many runs, seeds x settings, as one tidy table: joblib spreads them over the cores, or over a cluster."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from ganlib.batched import BatchedMatch
from ganlib.distributions import LINE, PLANAR, GaussianMixture
from ganlib.games import GAMES, Game
from ganlib.metrics import high_quality, modes_covered
from ganlib.networks import mlp_players
from ganlib.training import rounds

MEASURES = {"modes": modes_covered, "hq": high_quality}  # of (samples, data), where data is a mixture


def play(
    seeds: Sequence[int], *, data: Any = "ring", game: str | Game = "non-saturating", n_critic: int | None = None,
    unroll_steps: int | None = None, latent_dim: int = 16, hidden: Sequence[int] = (64, 64),
    activation: Callable = torch.nn.ReLU, steps: int = 1000, every: int = 100, n_samples: int = 2000,
    measures: Mapping[str, Callable] = MEASURES, **settings,
) -> Iterator[dict]:  # fmt: skip
    """Play `mlp_players` of each seed at `game`, all seeds at once; a row for each seed at each snapshot.

    `data` is a sampler or a name in LINE or PLANAR, `game` a Game or a name in GAMES, whose n_critic and unroll_steps
    can be set; `settings` are those of `Match`. Raises ValueError for an unknown name, and as `Match` does.
    """
    data = _named(data, {**LINE, **PLANAR})
    data = data() if callable(data) else data
    rules = {"n_critic": n_critic, "unroll_steps": unroll_steps}
    game = replace(_named(game, GAMES), **{name: value for name, value in rules.items() if value is not None})
    networks = dict(latent_dim=latent_dim, hidden=hidden, activation=activation)
    players = [mlp_players(data.shape, seed=seed, **networks) for seed in seeds]
    match = BatchedMatch(players, game, data, seeds=seeds, **settings)
    if not isinstance(data, GaussianMixture) and measures is MEASURES:
        measures = {}
    for shot in rounds(match, steps=steps, every=every, n_samples=n_samples):
        for seed, d_loss, g_loss, samples in zip(seeds, shot.d_loss, shot.g_loss, shot.samples, strict=True):
            row = {"seed": seed, "step": shot.step, "d_loss": d_loss, "g_loss": g_loss}
            yield row | {name: measure(samples, data) for name, measure in measures.items()}


def sweep(
    grid: Mapping[str, Iterable | Mapping[str, Any]], seeds: Iterable[int], *, run: Callable = play,
    together: int = 6, n_jobs: int | None = None, progress: bool = True, **fixed,
) -> pd.DataFrame:  # fmt: skip
    """Every combination of the settings in `grid`, over `seeds`: one row per run and snapshot, ready for seaborn.

        sweep({"unroll_steps": [0, 5], "lr_d": [5e-4, 1e-3]}, seeds=range(6), steps=1000, every=100, n_jobs=2)

    A setting's values are a list, or a mapping from a label (which the table shows) to the value; those in `fixed` are
    the same everywhere and not in the table. `run(seeds, **settings)` yields rows (dicts with "seed" and "step"), and
    trains `together` seeds at once. n_jobs is joblib's, as is the choice of where to work (`joblib.parallel_config`);
    the table does not depend on it. Every worker uses one thread. Raises ValueError for no seeds, for a setting both in
    `grid` and `fixed`, for values that need labels, and as `run` does.
    """
    seeds, grid = list(seeds), {name: _labelled(name, values) for name, values in grid.items()}
    if not seeds or together < 1:
        raise ValueError(f"expected at least one seed, and one or more together; got {seeds} and {together}")
    if "seed" in grid.keys() | fixed.keys():
        raise ValueError("expected the seeds as `seeds`, not as a setting")
    if twice := grid.keys() & fixed.keys():
        raise ValueError(f"{', '.join(sorted(twice))}: expected in the grid or fixed, not both")
    jobs = [
        (dict(zip(grid, combination, strict=True)), seeds[i : i + together])
        for combination in itertools.product(*grid.values())
        for i in range(0, len(seeds), together)
    ]
    with tqdm(total=len(jobs), desc="sweep", disable=not progress, leave=False) as bar:
        tables = _Parallel(bar, n_jobs=n_jobs)(
            delayed(_job)(run, chunk, {name: grid[name][label] for name, label in labels.items()} | fixed)
            for labels, chunk in jobs
        )
    return pd.DataFrame(
        [labels | row for (labels, _), rows in zip(jobs, tables, strict=True) for row in rows]
    )


class _Parallel(Parallel):
    """joblib's Parallel with a bar. (`return_as="generator"`, the other way, is not there for every backend.)"""

    def __init__(self, bar: tqdm, **settings):
        super().__init__(**settings)
        self._bar = bar

    def print_progress(self):
        self._bar.update(self.n_completed_tasks - self._bar.n)


def _job(run: Callable, seeds: Sequence[int], settings: dict) -> list[dict]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the fastest for networks of this size, and the same rounding everywhere
    try:
        return sorted(run(seeds, **settings), key=lambda row: row["seed"])  # each run's snapshots in a row
    finally:
        torch.set_num_threads(threads)


def _labelled(name: str, values: Iterable | Mapping) -> dict:
    try:
        return dict(values) if isinstance(values, Mapping) else {value: value for value in values}
    except TypeError:
        raise ValueError(
            f"{name}: expected a list of numbers, names or tuples, or {{label: value}}"
        ) from None


def _named(value: Any, catalogue: Mapping[str, Any]) -> Any:
    if isinstance(value, str) and value not in catalogue:
        raise ValueError(f"expected one of {', '.join(catalogue)}, got {value!r}")
    return catalogue[value] if isinstance(value, str) else value
