"""What a notebook imports from ganlib it has earned: an earlier cell or notebook wrote it out in full.

EARNED says where. For each of these names, one test shows that the notebook's own definition and the library's
agree, and the last tests here that no notebook imports the name before it is earned.
"""

import ast
import re
from pathlib import Path

import nbformat
import pytest
import torch

from ganlib import objectives

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"

EARNED = {  # name in ganlib: the notebook that writes it out
    "cross_entropy": "01_adversarial_game",
    "jsd": "02_optimal_discriminator",
    "train": "03_vanilla_gan",
}


def code_cells(notebook: str) -> list[str]:
    """The code of a notebook, cell by cell, without exercises, solutions and magics."""
    cells = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    taught = [
        c
        for c in cells
        if c.cell_type == "code" and not {"exercise", "solution"} & set(c.metadata.get("tags", []))
    ]
    return [re.sub(r"(?m)^[%!].*$", "", cell.source) for cell in taught]


def written_out(notebook: str, *names: str) -> list:
    """The functions and classes of these names as the notebook defines them, run in a namespace that holds its
    imports and those definitions alone: name what they need as well."""
    nodes = [node for source in code_cells(notebook) for node in ast.parse(source).body]
    wanted = [
        node
        for node in nodes
        if isinstance(node, (ast.Import, ast.ImportFrom))
        or (isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in names)
    ]
    namespace: dict = {}
    exec(compile(ast.Module(wanted, type_ignores=[]), f"{notebook}.ipynb", "exec"), namespace)
    return [namespace[name] for name in names]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- the notebook's definition and the library's agree -----------------------------------------------------


def test_cross_entropy():
    (mine,) = written_out("01_adversarial_game", "cross_entropy")
    for seed in range(5):
        real, fake = 30 * torch.randn(2, 64, generator=rng(seed), dtype=torch.float64)
        assert torch.equal(mine(real, fake), objectives.cross_entropy(real, fake))


# ---- and nothing is imported before that -------------------------------------------------------------------


@pytest.mark.parametrize("name", EARNED)
def test_is_not_imported_before_it_is_written_out(name):
    home = EARNED[name]
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for source in code_cells(path.stem):
            tree = ast.parse(source)
            if path.stem == home and name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}:
                return
            imported = {
                alias.name
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ganlib")
                for alias in node.names
            }
            assert name not in imported, f"{path.name} imports {name} before {home} defines it"
    pytest.fail(f"{home} does not define {name}")
