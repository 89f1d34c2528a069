"""List every claim of the course that a cell checks: python tools/claims.py writes notebooks/claims.md.

A claim is a line "PASS  ..." in the saved output of a cell whose output the tests compare (`ganlib.checks.claim`). With
it stand its section; the equation that was named last: in the cell, in the sentence before it, or in the section; and
how often it held when `tools/replicate.py` repeated its notebook.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import nbformat
from replicate import RESULTS, digest_of_notebook, named, words

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
HEAD = """# What the cells check

Each line is a claim that a cell of the course checks whenever the notebook runs, with the equation it belongs to. The
automatic tests run all of them; exercises and closed forms that are compared to all their digits are not listed.

A run of a GAN is chaotic: another seed, or a processor that rounds otherwise, plays another game. So each notebook was
repeated, in the short form that the tests play, with seeds that nothing was chosen on, and with its own seeds under
other instruction sets (AVX2, SSE). The last column says in how many repetitions the claim held and, where something is
measured, its mean, its standard deviation, and how many of these (sd) lie between the mean and the claim's bound.
(Made by `python tools/claims.py` from what `python tools/replicate.py` measured.)
"""
LINE = re.compile(  # "PASS  words  [7.93, at least 7]"
    r"^PASS  (?P<text>.+?)(?:  \[\S+, (?P<bound>at (?:least|most) .+)\])?$", re.MULTILINE
)


def tags(path: Path) -> set[str]:
    """The numbers of a notebook's equations."""
    return set(re.findall(r"\\tag\{(\d+\.\d+)\}", path.read_text(encoding="utf-8")))


def claims(path: Path, equations: set[str]) -> list[dict[str, str]]:
    """section, text, bound or "", and equation or "" of each claim of a notebook, in order.
    `equations`: all numbers there are."""

    def numbers(text: str) -> list[str]:
        return [number for number in re.findall(r"[({](\d+\.\d+)[)}]", text) if number in equations]

    found, section, equation = [], "", ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"(?m)^## (.+)$", cell.source):
                section, equation = heading, ""
            equation = numbers(cell.source)[-1] if numbers(cell.source) else equation
            continue
        if "nbval-check-output" not in cell.metadata.get("tags", []):
            continue
        context = numbers(cell.source)
        for line in LINE.finditer("\n".join(output.get("text", "") for output in cell.outputs)):
            own = numbers(line["text"]) or context
            row = {"text": line["text"], "bound": line["bound"] or "", "section": section}
            found.append(row | {"equation": own[-1] if own else equation})
    return found


def part(path: Path, rows: list[dict[str, str]], measured: dict | None) -> str:
    """A notebook's table. `measured` is its entry in claims.json."""
    title = re.search(r"(?m)^# (.+)$", nbformat.read(path, as_version=4).cells[0].source)[1]
    rates = named(measured["claims"]) if measured else {}
    lines = ["| section | claim | equation | repeated |", "|---|---|---|---|"]
    for name, row in named(rows).items():
        claim = row["text"] + (f" [{row['bound']}]" if row["bound"] else "")
        claim = re.sub(r"[|*_\[\]]", r"\\\g<0>", claim.replace("<", "&lt;"))
        equation = f"({row['equation']})" if row["equation"] else ""
        lines.append(
            f"| {row['section']} | {claim} | {equation} | {words(rates[name]) if name in rates else ''} |"
        )
    note = " Repeated before its code last changed." if measured and stale(path, measured) else ""
    return "\n".join([f"## {title}", "", f"[{path.name}]({path.name}){note}", "", *lines])


def stale(path: Path, measured: dict) -> bool:
    """Whether a notebook's code is another than that which was repeated."""
    return measured["notebook"] != digest_of_notebook(path)


def page(paths: list[Path], results: dict[str, dict]) -> str:
    equations = set().union(*map(tags, paths))
    rows = {path: claims(path, equations) for path in paths}
    parts = [part(path, of_path, results.get(path.stem)) for path, of_path in rows.items() if of_path]
    total = sum(map(len, rows.values()))
    return "\n\n".join([HEAD.rstrip(), f"In all: {total} claims.", *parts]) + "\n"


def current() -> str:
    """The page as it should be now."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return page(sorted(NOTEBOOKS.glob("*.ipynb")), results)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    text = current()
    (NOTEBOOKS / "claims.md").write_text(text, encoding="utf-8")
    print(f"{text.count('Repeated before')} notebooks have changed since they were repeated", file=sys.stderr)
