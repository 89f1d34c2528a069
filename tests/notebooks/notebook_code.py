"""The code of a notebook, for tests: its definitions without its experiments, its exercises, its widget."""

import ast
import contextlib
import io
from collections.abc import Collection
from pathlib import Path

import nbformat
import torch

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def cells(stem: str) -> list[nbformat.NotebookNode]:
    """The code cells of the notebook `stem`."""
    return [cell for cell in nbformat.read(NOTEBOOKS / f"{stem}.ipynb", 4).cells if cell.cell_type == "code"]


def tagged(stem: str, tag: str) -> list[str]:
    """The sources of its code cells with that tag."""
    return [cell.source for cell in cells(stem) if tag in cell.metadata.get("tags", [])]


def definitions(
    stem: str, constants: Collection[str] = (), leave_out: Collection[str] = ("exercise",)
) -> dict:
    """What the notebook `stem` imports and defines, and those assignments that give one of `constants` its value.

    Cells with a tag in `leave_out` are left out, and so are imports of a name that the notebook has written out
    itself: its own definition is what a test wants to see. Of a name defined twice the last counts.
    """
    namespace, own = {}, set()
    for cell in cells(stem):
        if set(leave_out) & set(cell.metadata.get("tags", [])):
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


def answered(stem: str, number: int, attempt: str, namespace: dict) -> str:
    """What exercise `number` of the notebook, counted from 0, prints when the source `attempt` is the answer.

    The cell of the exercise is run with `attempt` just before its last statement, the check."""
    *stub, verdict = ast.parse(tagged(stem, "exercise")[number]).body
    names = dict(namespace)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for source in (ast.unparse(stub), attempt, ast.unparse(verdict)):
            exec(source, names)
    return printed.getvalue().strip()


def shown(stem: str, namespace: dict):
    """The box that the notebook's only widget cell ends with, and a copy of `namespace` with what the cell defines."""
    (source,) = tagged(stem, "widget")
    *body, last = ast.parse(source).body
    names = dict(namespace)
    exec(ast.unparse(body), names)
    return eval(ast.unparse(last), names), names


def follows(box) -> bool:
    """Whether a box of `ganlib.widgets.explore` draws another picture for each setting of its controls, also at the
    ends of all of them, and has no complaint."""
    controls, picture, message = box.children
    drawn = {}  # settings: picture
    for control in controls.children:
        ends = [getattr(control, end, control.value) for end in ("min", "max")]
        for value in [control.value, *getattr(control, "options", ()), *ends]:
            control.value = value
            drawn[tuple(c.value for c in controls.children)] = picture.value
    different = len(set(drawn.values())) == len(drawn) > len(controls.children)
    return different and not message.value and all(c.description for c in controls.children)
