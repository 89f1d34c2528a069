"""Many runs, seeds x settings, as one tidy table: joblib spreads them over the cores, or over a cluster."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from joblib import Parallel, delayed
from tqdm.auto import tqdm


def sweep(
    run: Callable[..., Iterable[dict]], grid: Mapping[str, Iterable | Mapping[str, Any]], seeds: Iterable[int], *,
    together: int = 6, n_jobs: int | None = None, progress: bool = True, **fixed,
) -> pd.DataFrame:  # fmt: skip
    """Every combination of the settings in `grid`, over `seeds`: one row per run and snapshot, ready for seaborn.

        sweep(play, {"unroll_steps": [0, 5], "lr_d": [5e-4, 1e-3]}, seeds=range(6), steps=1000, n_jobs=2)

    `run(seeds, **settings)` yields rows, dicts with "seed" and "step", and is called for `together` seeds at once. A
    setting's values are a list, or a mapping from a label, which the table shows, to the value; those in `fixed` are
    the same everywhere and not in the table. n_jobs is joblib's, as is the choice of where to work
    (`joblib.parallel_config`); the table does not depend on it. Every worker uses one thread. The bar counts the calls
    that were handed out. Raises ValueError for no seeds or one given twice, for a setting without values or both in
    `grid` and `fixed`, for values that need labels, and as `run` does.
    """
    seeds, grid = list(seeds), {name: _labelled(name, values) for name, values in grid.items()}
    if not seeds or len(set(seeds)) < len(seeds) or together < 1:
        raise ValueError(f"expected different seeds, and one or more together; got {seeds} and {together}")
    if "seed" in grid.keys() | fixed.keys():
        raise ValueError("expected the seeds as `seeds`, not as a setting")
    if twice := grid.keys() & fixed.keys():
        raise ValueError(f"{', '.join(sorted(twice))}: expected in the grid or fixed, not both")
    jobs = [
        (dict(zip(grid, combination, strict=True)), seeds[i : i + together])
        for combination in itertools.product(*grid.values())
        for i in range(0, len(seeds), together)
    ]
    tables = Parallel(n_jobs=n_jobs)(
        delayed(_job)(
            run, chunk, {name: grid[name][label] for name, label in labels.items()} | fixed, torch.get_default_dtype()
        )
        for labels, chunk in tqdm(jobs, desc="sweep", disable=not progress, leave=False)
    )  # fmt: skip
    return pd.DataFrame(
        [labels | row for (labels, _), rows in zip(jobs, tables, strict=True) for row in rows]
    )


def _job(run: Callable, seeds: Sequence[int], settings: dict, dtype: torch.dtype) -> list[dict]:
    before = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)  # the fastest for networks of this size, and the same rounding everywhere
    torch.set_default_dtype(dtype)  # a worker process has its own
    try:
        return sorted(run(seeds, **settings), key=lambda row: row["seed"])  # each run's snapshots in a row
    finally:
        torch.set_num_threads(before[0])
        torch.set_default_dtype(before[1])


def _labelled(name: str, values: Iterable | Mapping) -> dict:
    try:
        labelled = dict(values) if isinstance(values, Mapping) else {value: value for value in values}
    except TypeError:
        labelled = {}
    if not labelled:
        raise ValueError(f"{name}: expected a list of numbers, names or tuples, or {{label: value}}")
    return labelled
