"""Repeat notebooks with other draws, and under other instruction sets: how often does each claim hold?

    python tools/replicate.py                                             every notebook, twenty times
    python tools/replicate.py notebooks/06_mode_collapse.ipynb --times 5  this one
    python tools/replicate.py --first 101                                 with twenty more seeds, never used before

A repetition is the notebook's short form, the one that the tests play, in a kernel of its own on one thread. Repetition
r adds 1,000 r to every seed (`fresh_seeds/sitecustomize.py`); besides, the notebook's own seeds are played once under
each of INSTRUCTION_SETS, where the same sums are rounded otherwise. Finished repetitions are kept in build/replicate
until the notebook's code or ganlib's changes (comments, and what only shows things, aside), so that an interrupted
run goes on where it stopped. The result is printed, and written to notebooks/claims.json, from which
`python tools/claims.py` makes a page.

A claim is what `ganlib.checks.claim` is called with; its text is its name. For each: in how many repetitions it held,
the mean and the standard deviation of what was measured, and how many of the latter lie between the mean and the
nearest bound. The exit status is 1 if a claim fell or a cell raised an error.
"""

import argparse
import ast
import hashlib
import json
import os
import statistics
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
KEPT = ROOT / "build" / "replicate"
RESULTS = ROOT / "notebooks" / "claims.json"
SHORT_FORM = {"PYTEST_VERSION": "replicate"}  # what pytest sets, and what notebooks look for
ONE_CORE = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "GANLIB_DEVICE": "cpu",
}
INSTRUCTION_SETS = {  # as PyTorch, MKL and oneDNN name them; on a processor without AVX2 they change nothing
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SSE": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    },
}
ONLY_SHOWS = {"plotting", "widgets"}  # and the package ganlib.lab


# ---- sources ---------------------------------------------------------------------------------------------------


def digest(*sources: str) -> str:
    """Of pieces of Python, whatever their comments and layout."""

    def plain(source: str) -> str:
        try:
            return ast.unparse(ast.parse(source))
        except SyntaxError:  # magics
            return source

    return hashlib.sha1("\n".join(map(plain, sources)).encode()).hexdigest()[:12]


def digest_of_notebook(path: Path) -> str:
    return digest(
        *(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    )


def digest_of_library() -> str:
    modules = sorted((ROOT / "ganlib").glob("*.py"))
    return digest(
        *(module.read_text(encoding="utf-8") for module in modules if module.stem not in ONLY_SHOWS)
    )


# ---- one repetition ----------------------------------------------------------------------------------------------


def repetition(path: Path, environment: dict[str, str], result: Path) -> None:
    """Play the notebook at `path`; its claims and errors go to the file `result`, which appears when all is done."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if "nbval-skip" not in cell.metadata.get("tags", [])]
    result.parent.mkdir(parents=True, exist_ok=True)
    claims = result.with_suffix(".claims")
    claims.unlink(missing_ok=True)
    found = [str(HERE / "fresh_seeds"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = environment | {
        "PYTHONPATH": os.pathsep.join(filter(None, found)),
        "GANLIB_CLAIMS": str(claims),
    }
    start = time.perf_counter()
    client = NotebookClient(
        notebook,
        timeout=1800,
        allow_errors=True,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
    )
    client.execute(env=os.environ | SHORT_FORM | ONE_CORE | environment)
    raised = [
        f"{output.ename}: {output.evalue}"
        for cell in notebook.cells
        if cell.cell_type == "code" and "raises-exception" not in cell.metadata.get("tags", [])
        for output in cell.outputs
        if output.output_type == "error"
    ]
    lines = claims.read_text(encoding="utf-8").splitlines() if claims.exists() else []
    played = {"seconds": time.perf_counter() - start, "raised": raised, "claims": [*map(json.loads, lines)]}
    claims.write_text(json.dumps(played), encoding="utf-8")
    claims.replace(result)


def play(
    paths: list[Path], plan: dict[str, dict[str, str]], kept: Path, jobs: int
) -> dict[Path, dict[str, dict]]:
    """For each notebook and each repetition of `plan` (a name, and what it sets in the environment) what it gave."""
    library = digest_of_library()
    results = {
        (path, name): kept / f"{path.stem}-{digest_of_notebook(path)}-{library}" / f"{name}.json"
        for path in paths
        for name in plan
    }
    todo = {key: result for key, result in results.items() if not result.exists()}
    broken = {}  # kernels that died or hung: reported, and tried again next time
    with ProcessPoolExecutor(jobs) as pool:
        running = {
            pool.submit(repetition, path, plan[name], result): (path, name)
            for (path, name), result in todo.items()
        }
        try:
            for number, future in enumerate(as_completed(running), 1):
                path, name = running[future]
                if error := future.exception():
                    broken[path, name] = {"raised": [f"{type(error).__name__}: {error}"], "claims": []}
                print(f"{number} of {len(todo)}: {path.stem}, {name}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    played = {path: {} for path in paths}
    for (path, name), result in results.items():
        played[path][name] = broken.get((path, name)) or json.loads(result.read_text(encoding="utf-8"))
    return played


# ---- what they say -----------------------------------------------------------------------------------------------


def named(claims: list[dict]) -> dict[str, dict]:
    """By their texts; a text that comes again gets a number."""
    seen, result = Counter(), {}
    for claim in claims:
        seen[claim["text"]] += 1
        result[claim["text"] + (f" ({seen[claim['text']]})" if seen[claim["text"]] > 1 else "")] = claim
    return result


def summary(played: dict[str, dict]) -> list[dict]:
    """A row for each claim, in the notebook's order."""
    made = {name: named(result["claims"]) for name, result in played.items()}
    fresh = [claims for name, claims in made.items() if name not in INSTRUCTION_SETS]
    rows = []
    for text in {text: None for claims in made.values() for text in claims}:
        of_fresh = [claims[text] for claims in fresh if text in claims]
        row = {
            "text": text,
            "held": sum(claim["held"] for claim in of_fresh),
            "times": len(of_fresh),
            "not_under": [
                name for name in INSTRUCTION_SETS if not made.get(name, {}).get(text, {}).get("held")
            ],
        }
        values = [claim["value"] for claim in of_fresh]
        if values and not isinstance(values[0], bool):
            row |= spread(values, of_fresh[0]["at_least"], of_fresh[0]["at_most"])
        rows.append(row)
    return rows


def spread(values: list[float], at_least: float | None, at_most: float | None) -> dict:
    """Mean, sd, and the distance from the mean to the nearest bound in sd (None where there is no such number)."""
    mean = statistics.fmean(values)
    sd = statistics.stdev(values) if len(values) > 1 and abs(mean) < float("inf") else float("nan")
    low = float("-inf") if at_least is None else at_least
    high = float("inf") if at_most is None else at_most
    room = min(mean - low, high - mean)
    row = {"mean": mean, "sd": sd, "distance": room / sd if sd > 0 else float("nan")}
    short = {key: float(f"{value:.4g}") if abs(value) < float("inf") else None for key, value in row.items()}
    return {"at_least": at_least, "at_most": at_most, **short}


def words(row: dict) -> str:
    """A row of `summary` in a few words."""
    text = f"{row['held']} of {row['times']}"
    if row.get("sd") == 0:
        text += "; no chance in it"
    elif row.get("distance") is not None:
        text += f"; {row['mean']:.3g} ± {row['sd']:.2g}, {row['distance']:.3g} sd from its bound"
    return text + "".join(f"; not under {name}" for name in row["not_under"])


def report(played: dict[Path, dict[str, dict]]) -> dict[str, dict]:
    """The entry of claims.json for each notebook."""
    library = digest_of_library()
    return {
        path.stem: {
            "notebook": digest_of_notebook(path),
            "library": library,
            "raised": [f"{name}: {line}" for name, result in results.items() for line in result["raised"]],
            "claims": summary(results),
        }
        for path, results in played.items()
    }


def write(results: dict[str, dict], path: Path) -> None:
    """Into the JSON file at `path`, a claim a line; the entries of other notebooks stay."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    entries = []
    for notebook, entry in sorted((kept | results).items()):
        facts = [
            f'"{key}": {json.dumps(value, ensure_ascii=False)}'
            for key, value in entry.items()
            if key != "claims"
        ]
        claims = ",\n   ".join(json.dumps(claim, ensure_ascii=False) for claim in entry["claims"])
        entries.append(f'"{notebook}": {{\n  {", ".join(facts)},\n  "claims": [\n   {claims}\n  ]\n }}')
    path.write_text("{\n " + ",\n ".join(entries) + "\n}\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of them")
    parser.add_argument("--times", type=int, default=20, help="repetitions with fresh seeds (%(default)s)")
    parser.add_argument("--first", type=int, default=1, help="number of the first of them (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at a time (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the results (notebooks/claims.json)")
    parser.add_argument("--kept", type=Path, default=KEPT, help="finished repetitions (build/replicate)")
    given = parser.parse_args()
    if given.first < 1 or given.times < 1:
        parser.error(f"expected --first and --times of at least 1, got {given.first} and {given.times}")

    paths = [path.resolve() for path in given.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb"))]
    numbers = range(given.first, given.first + given.times)
    plan = {
        f"seeds-{1000 * number}": {"SEED_SHIFT": str(1000 * number)} for number in numbers
    } | INSTRUCTION_SETS
    results = report(play(paths, plan, given.kept, given.jobs))
    for notebook, result in results.items():
        print(f"\n{notebook}")
        for row in result["claims"]:
            print(f"  {words(row)}: {row['text']}")
        for line in result["raised"]:
            print(f"  RAISED {line}")
    write(results, given.out)
    rows = [row for result in results.values() for row in result["claims"]]
    fell = sum(row["held"] < row["times"] or bool(row["not_under"]) for row in rows)
    raised = sum(bool(result["raised"]) for result in results.values())
    print(f"\n{fell} of {len(rows)} claims fell at least once; errors in {raised} notebooks")
    return 1 if fell or raised else 0


if __name__ == "__main__":
    sys.exit(main())
