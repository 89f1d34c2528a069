"""The definitions of a notebook, for tests: its functions and classes without its experiments."""

import ast
from collections.abc import Collection
from pathlib import Path

import nbformat
import torch

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def definitions(
    stem: str, constants: Collection[str] = (), leave_out: Collection[str] = ("exercise",)
) -> dict:
    """What the notebook `stem` imports and defines, and those assignments that give one of `constants` its value.

    Cells with a tag in `leave_out` are left out, and so are imports of a name that the notebook has written out
    itself: its own definition is what a test wants to see. Of a name defined twice the last counts.
    """
    namespace, own = {}, set()
    for cell in nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4).cells:
        if cell.cell_type != "code" or set(leave_out) & set(cell.metadata.get("tags", [])):
            continue
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.ImportFrom):
                node.names = [alias for alias in node.names if (alias.asname or alias.name) not in own]
                if not node.names:
                    continue
            elif isinstance(node, ast.Assign):
                if not set(constants) & {
                    n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)
                }:
                    continue
            elif not isinstance(node, ast.Import):
                continue
            exec(compile(ast.Module([node], type_ignores=[]), f"{stem}.ipynb", "exec"), namespace)
    torch.set_num_threads(1)
    return namespace
