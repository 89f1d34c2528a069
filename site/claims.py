"""List every claim of the course that a cell checks: python site/claims.py writes notebooks/claims.md.

A claim is a line "PASS: ..." or "PASS - ..." in the saved output of a cell whose output the tests compare. With it
stand its section, and the equation that was named last: in the cell, in the sentence before it, or in the section.
"""

import re
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
HEAD = """# What the cells check

Each line is a claim that a cell of the course checks whenever the notebook runs, with the equation it belongs to. The
automatic tests run all of them. (Made by `python site/claims.py`; exercises and closed forms that are compared to all
their digits are not listed.)
"""


def claims(path: Path) -> list[tuple[str, str, str]]:
    """(section, claim, equation or "") for each claim of a notebook, in order."""
    found, section, equation, context = [], "", "", ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"(?m)^## (.+)$", cell.source):
                section, equation = heading, ""
            named = re.findall(r"\\tag\{(\d+\.\d+)\}|\((\d+\.\d+)\)", cell.source)
            equation = ("".join(named[-1])) if named else equation
            continue
        context = re.findall(r"\((\d+\.\d+)\)", cell.source)
        if "nbval-check-output" not in cell.metadata.get("tags", []):
            continue
        printed = "\n".join(output.get("text", "") for output in cell.outputs)
        for line in re.findall(r"(?m)^\s*PASS(?: -|:) *(.+)$", printed):
            own = re.findall(r"\((\d+\.\d+)\)", line) or context
            found.append((section, line.strip().rstrip(":"), own[-1] if own else equation))
    return found


def page() -> str:
    parts, total = [], 0
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        title = re.search(r"(?m)^# (.+)$", nbformat.read(path, as_version=4).cells[0].source)[1]
        rows = claims(path)
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
