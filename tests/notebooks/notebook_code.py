"""The code of a notebook, for tests: its definitions without its experiments, its exercises, its widget."""

import ast
import contextlib
import dis
import io
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from types import CodeType

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
            elif isinstance(node, ast.Assign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if not set(constants) & {
                    n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)
                }:
                    continue
            elif not isinstance(node, ast.Import):
                continue
            exec(compile(ast.Module([node], type_ignores=[]), f"{stem}.ipynb", "exec"), namespace)
    torch.set_num_threads(1)
    return namespace


def taught(stem: str) -> list[str]:
    """The sources of the notebook's code cells, without exercises, solutions and magics."""
    left = [c for c in cells(stem) if not {"exercise", "solution"} & set(c.metadata.get("tags", []))]
    return [re.sub(r"(?m)^[%!].*$", "", cell.source) for cell in left]


def written_out(stem: str, *names: str) -> list:
    """What the notebook defines under these names, run with nothing but what it rests on.

    Fails for a name that the notebook does not define itself."""
    statements: list[ast.stmt] = [node for source in taught(stem) for node in ast.parse(source).body]
    binds: dict[
        str, list[int]
    ] = {}  # the statements that define a name: those that import it only if no other does
    for kinds in ((ast.FunctionDef, ast.ClassDef), (ast.Assign, ast.AnnAssign), (ast.Import, ast.ImportFrom)):
        found: dict[str, list[int]] = {}
        for i, node in enumerate(statements):
            if isinstance(node, kinds):
                for name in bound_by(node):
                    found.setdefault(name, []).append(i)
        binds = found | binds
    for name in names:
        assert name in binds and not isinstance(statements[binds[name][0]], ast.Import | ast.ImportFrom), name

    needed, todo = set(), set(names)
    codes = [compile(ast.Module([node], type_ignores=[]), f"{stem}.ipynb", "exec") for node in statements]
    while todo:
        new = {i for name in todo for i in binds.get(name, ())} - needed
        needed |= new
        todo = {name for i in new for name in _looked_up(codes[i])}
    namespace = {}
    for i in sorted(needed):
        exec(codes[i], namespace)
    return [namespace[name] for name in names]


def bound_by(node: ast.stmt) -> set[str]:
    """The names that a statement defines: of a function, a class, an import, or what it assigns to."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.split(".")[0] for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
    leaves = [leaf for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)]
    return {leaf.id for leaf in leaves if isinstance(leaf.ctx, ast.Store)}


def _looked_up(code: CodeType) -> Iterator[str]:
    """The global names that a piece of code looks up, its functions included."""
    yield from (i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _looked_up(inner)


def answered(stem: str, number: int, attempt: str, namespace: dict) -> str:
    """What exercise `number` of the notebook, counted from 0, prints when the source `attempt` is the answer.

    The cell of the exercise is run with `attempt` just before its last statement, the check."""
    *stub, verdict = ast.parse(tagged(stem, "exercise")[number]).body
    names = dict(namespace)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for source in (ast.unparse(stub), attempt, ast.unparse(verdict)):
            exec(source, names)
    return printed.getvalue().strip()


def shown(stem: str, namespace: dict, number: int = 0, of: int = 1):
    """The box that widget cell `number` of the notebook's `of` ends with, and a copy of `namespace` with what the cell
    defines."""
    source, *others = tagged(stem, "widget")[number:] + tagged(stem, "widget")[:number]
    assert len(others) == of - 1
    *body, last = ast.parse(source).body
    names = dict(namespace)
    exec(ast.unparse(body), names)
    return eval(ast.unparse(last), names), names


def follows(box) -> bool:
    """Whether a box of `ganlib.widgets.explore` draws another picture for each setting of its controls, also at the
    ends of all of them, goes back to the first with its button, and has no complaint."""
    row, picture, message = box.children
    *controls, reset = row.children
    first, drawn = picture.value, {}  # settings: picture
    for control in controls:
        ends = [getattr(control, end, control.value) for end in ("min", "max")]
        for value in [control.value, *getattr(control, "options", ()), *ends]:
            control.value = value
            drawn[tuple(c.value for c in controls)] = picture.value
    reset.click()
    different = len(set(drawn.values())) == len(drawn) > len(controls) and picture.value == first
    return different and not message.value and all(c.description for c in controls)
