"""Play the long table of notebook 12, and save it beside this file as `missing-modes.npz`.

    python data/make_12.py                      every row that is not there yet, then the file
    python data/make_12.py --only MGAN plain    these rows

The rounds are those of the notebook: what it defines is taken from it (cells of definitions, no experiment), so that
there is one source. A row is a method on a patient, seeds 0 to 11 at once. Rows are kept in build/make_12 as they are
finished, so that an interrupted run goes on where it stopped; delete that folder to begin anew. About an hour of one
core in all. Another processor rounds otherwise and ends in other numbers of about the same worth.
"""

import argparse
import ast
import sys
import time
import types
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import torch
from make_data import sign

HERE = Path(__file__).parent
NOTEBOOK = HERE.parent / "notebooks" / "12_missing_modes.ipynb"
KEPT = HERE.parent / "build" / "make_12"
SEEDS, SHOWN = range(12), 200
PARTS = {"ensemble of 5": False, "AdaGAN, 5 parts": True}  # boosted or not
matplotlib.use("Agg")


def definitions() -> types.SimpleNamespace:
    """What the notebook imports and defines, and its constants in capitals whose value needs no experiment."""
    module = sys.modules["notebook_12"] = types.ModuleType("notebook_12")
    for cell in nbformat.read(NOTEBOOK, 4).cells:
        if cell.cell_type != "code" or {"exercise", "solution", "widget"} & set(
            cell.metadata.get("tags", [])
        ):
            continue
        for node in ast.parse(cell.source).body:
            wanted = isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))
            if isinstance(node, (ast.Assign, ast.AugAssign)):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                wanted = ast.unparse(target) in ("PLAIN", "PATIENTS", "RECIPES", "PLACES")
            if wanted:
                exec(compile(ast.Module([node], []), str(NOTEBOOK), "exec"), module.__dict__)
    return module


def row(nb, name, method, patient):
    """Numbers (5, seeds), all samples of the last look, and those that are kept (seeds, SHOWN, 2)."""
    if name in PARTS:
        looks = nb.adagan(patient, SEEDS, boost=PARTS[name])
        counts = nb.numbers(looks[-1][None].repeat(2, 1, 1, 1), patient.data)
        counts[1:3] = np.nan  # held and movement mean nothing here
        return (
            counts,
            looks[-1],
            looks[-1][:, torch.randperm(1000, generator=torch.Generator().manual_seed(0))[:SHOWN]],
        )
    path = nb.play(method, patient, SEEDS)
    return nb.numbers(path, patient.data), path[-1], path[-1, :, :SHOWN]


def round_times(nb, names, repeats=5):
    """The time of one round of each method in units of the plain one, on the ring; the least of some repeats."""
    patient, least = nb.PATIENTS["slow D"], {name: np.inf for name in names}
    table, matches = nb.methods(patient.data), {}
    for name in names:
        method = table[name]
        matches[name] = method.game, nb.BatchedMatch(
            [method.make(seed=seed) for seed in SEEDS], patient.data, seeds=SEEDS, latents=method.latents,
            batch_size=method.batch * patient.batch, lr_d=patient.lr_d,
        )  # fmt: skip
    for _ in range(repeats):
        for name, (game, match) in matches.items():
            start = time.perf_counter()
            game(match)
            least[name] = min(least[name], time.perf_counter() - start)
    return {name: seconds / least["plain"] for name, seconds in least.items()}


def kept(name, where, patient):
    """What is kept of one row: numbers (5, 12), masses (12, k), samples (12, 200, 2); NaN if it is not there."""
    file = KEPT / f"{name} on {where}.npz"
    if not file.exists():
        n, k = len(SEEDS), len(patient.data.means)
        return [np.full(shape, np.nan) for shape in ((5, n), (n, k), (n, SHOWN, 2))]
    with np.load(file) as row:
        return row["numbers"], row["masses"], row["samples"][:, :SHOWN]


def save(nb, names) -> None:
    """All rows that are there, as one file: rows, cost, numbers (rows, 3, 5, 12), samples, and masses by patient."""
    times, patient = round_times(nb, [name for name in names if name not in PARTS]), nb.PATIENTS["slow D"]
    times["ensemble of 5"] = 5 * 400 / patient.steps
    times["AdaGAN, 5 parts"] = (5 * 400 + 4 * 300 * times["plain, twice the batch"] / 2) / patient.steps
    arrays = {"rows": np.array(names), "cost": np.array([times[name] for name in names])}
    parts = [[kept(name, where, patient) for name in names] for where, patient in nb.PATIENTS.items()]
    arrays["numbers"] = np.array([[row[0] for row in column] for column in parts]).swapaxes(0, 1)
    arrays["samples"] = np.array([[row[2] for row in column] for column in parts], np.float16).swapaxes(0, 1)
    for where, column in zip(nb.PATIENTS, parts, strict=True):
        arrays[f"masses {where}"] = np.array([row[1] for row in column], np.float32)
    np.savez_compressed(HERE / "missing-modes.npz", **arrays)
    sign("missing-modes.npz")
    print(f"{len(names)} rows, {(HERE / 'missing-modes.npz').stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", help="names of rows")
    parser.add_argument("--on", nargs="*", help="names of patients")
    parser.add_argument("--save", action="store_true", help="play nothing, write the file of what is there")
    only = parser.parse_args()
    nb = definitions()
    KEPT.mkdir(parents=True, exist_ok=True)
    names = [*nb.methods(nb.PATIENTS["slow D"].data), *PARTS]
    for name in [] if only.save else only.only or names:
        for where, patient in nb.PATIENTS.items():
            file = KEPT / f"{name} on {where}.npz"
            if file.exists() or (only.on and where not in only.on):
                continue
            start, method = time.process_time(), nb.methods(patient.data).get(name)
            if method is None and name not in PARTS:
                continue
            counts, last, samples = row(nb, name, method, patient)
            shares = nb.masses(last, patient.data).numpy()
            np.savez(file, numbers=counts, masses=shares, samples=samples.half().numpy())
            seconds, means = time.process_time() - start, np.ma.masked_invalid(counts).mean(1).round(2)
            print(f"{name:26}{where:8}{means}  {seconds:.0f} s", flush=True)
    if only.save or not (only.only or only.on):
        save(nb, names)


if __name__ == "__main__":
    main()
