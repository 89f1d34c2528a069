"""Execute notebooks and save them in place, in the form this repository keeps.

    python tools/execute.py                                        every notebook
    python tools/execute.py notebooks/01_adversarial_game.ipynb    only these

The saved file depends on the sources and on what the cells print, and on nothing else: metadata is reduced
to what is needed, a cell's id is made from its source, everything under the heading "Solutions" is tagged
`solution` (so that it can be left out of what is handed out), each cell's place in a lecture's slides is marked,
and widgets leave no trace (a saved view would show "model not found"). A notebook with an error is not saved: its
traceback is printed and the exit status is 1.
"""

import argparse
import hashlib
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def execute(path: Path, timeout: int = 600) -> NotebookNode:
    """The notebook at `path`, run top to bottom in its own folder by this interpreter's kernel.
    `timeout` is in seconds, for each cell."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.resolve().parent)}},
        store_widget_state=False,
        record_timing=False,
        coalesce_streams=True,
    ).execute()
    return notebook


def slide_types(notebook: NotebookNode) -> list[str]:
    """For each cell, its place in the slides: a slide begins at each section, below it one for each step (prose with
    the code and the figure that follow); imports, exercises and solutions are left out. A caption is no step."""
    types, skipping, imports = [], False, True
    for cell in notebook.cells:
        if cell.cell_type == "code":
            types.append("skip" if imports or skipping else "-")
            imports = False
            continue
        section = re.match(r"##? (.+)", cell.source)
        skipping = section[1] in ("Exercises", "Solutions") if section else skipping
        caption = cell.source.startswith("*Figure ")
        types.append("skip" if skipping else "slide" if section else "-" if caption else "subslide")
    return types


def tidy(notebook: NotebookNode) -> NotebookNode:
    """The same notebook as the repository keeps it; works in place."""
    notebook.nbformat_minor = 5
    notebook.metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    seen: dict[str, int] = {}
    in_solutions = False
    for cell, slide_type in zip(notebook.cells, slide_types(notebook), strict=True):
        digest = hashlib.sha1((cell.cell_type + cell.source).encode()).hexdigest()[:8]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        cell.metadata = NotebookNode({k: v for k, v in cell.metadata.items() if k in ("tags", "jupyter")})
        if slide_type != "-":
            cell.metadata["slideshow"] = NotebookNode(slide_type=slide_type)
        in_solutions = in_solutions or cell.source.startswith("## Solutions")
        if in_solutions and "solution" not in cell.metadata.get("tags", []):
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "solution"]
        if cell.cell_type == "code":
            hidden = "widget" in cell.metadata.get("tags", [])
            cell.outputs = [] if hidden else [o for o in cell.outputs if WIDGET_VIEW not in o.get("data", {})]
    return notebook


def main(paths: list[Path]) -> int:
    failed = 0
    for path in paths:
        start = time.perf_counter()
        try:
            notebook = tidy(execute(path))
        except CellExecutionError as error:
            print(f"{path.name}: not saved\n{error}", file=sys.stderr)
            failed += 1
            continue
        nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - start:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of them")
    sys.exit(main(parser.parse_args().notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))))
