"""List every claim of the course that a cell checks: python tools/claims.py writes notebooks/claims.md.

A claim is a line "PASS: ..." or "PASS - ..." in the saved output of a cell whose output the tests compare. With it
stand its section, and the equation that was named last: in the cell, in the sentence before it, or in the section.
"""

import re
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
HEAD = """# What the cells check

Each line is a claim that a cell of the course checks whenever the notebook runs, with the equation it belongs to. The
automatic tests run all of them. (Made by `python tools/claims.py`; exercises and closed forms that are compared to all
their digits are not listed.)
"""


def tags(path: Path) -> set[str]:
    """The numbers of a notebook's equations."""
    return set(re.findall(r"\\tag\{(\d+\.\d+)\}", path.read_text()))


def claims(path: Path, equations: set[str]) -> list[tuple[str, str, str]]:
    """(section, claim, equation or "") for each claim of a notebook, in order. `equations`: all numbers there are."""

    def named(text: str) -> list[str]:
        return [number for number in re.findall(r"[({](\d+\.\d+)[)}]", text) if number in equations]

    found, section, equation = [], "", ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"(?m)^## (.+)$", cell.source):
                section, equation = heading, ""
            equation = named(cell.source)[-1] if named(cell.source) else equation
            continue
        context = named(cell.source)
        if "nbval-check-output" not in cell.metadata.get("tags", []):
            continue
        printed = "\n".join(output.get("text", "") for output in cell.outputs)
        for line in re.findall(r"(?m)^\s*PASS(?: -|:) *(.+)$", printed):
            own = named(line) or context
            found.append((section, line.strip().rstrip(":"), own[-1] if own else equation))
    return found


def page() -> str:
    parts, total, paths = [], 0, sorted(NOTEBOOKS.glob("*.ipynb"))
    equations = set().union(*map(tags, paths))
    for path in paths:
        title = re.search(r"(?m)^# (.+)$", nbformat.read(path, as_version=4).cells[0].source)[1]
        rows = claims(path, equations)
        if not rows:
            continue
        total += len(rows)
        part = [
            f"## {title}",
            "",
            f"[{path.name}]({path.name})",
            "",
            "| section | claim | equation |",
            "|---|---|---|",
        ]
        for section, claim, equation in rows:
            claim = claim.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
            part.append(f"| {section} | {claim} | {f'({equation})' if equation else ''} |")
        parts.append("\n".join(part))
    return "\n\n".join([HEAD.rstrip(), f"In all: {total} claims.", *parts]) + "\n"


if __name__ == "__main__":
    (NOTEBOOKS / "claims.md").write_text(page())
