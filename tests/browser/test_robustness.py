"""The course where it was not written: a copy in a folder with spaces that is not to be written to, run twice."""

import shutil
import stat

import nbformat
import pytest
from helpers import ROOT
from nbclient import NotebookClient

BOOK = "00_start_here.ipynb"  # reads all data, trains, draws and opens the lab


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """The package, the data and a notebook in another place, read-only."""
    place = tmp_path / "a course, with spaces"
    for part in ("ganlib", "data"):
        shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    (place / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / BOOK, place / "notebooks")
    files = [place, *place.rglob("*")]
    for file in files:
        file.chmod(file.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    monkeypatch.setenv("PYTHONPATH", str(place))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    yield place
    for file in files:
        file.chmod(file.stat().st_mode | stat.S_IWUSR)


def test_a_notebook_runs_from_there_twice_with_the_same_result(copy, tmp_path):
    before = sorted(copy.rglob("*"))
    printed, pictures = [], []
    for _ in range(2):
        notebook = nbformat.read(copy / "notebooks" / BOOK, as_version=4)
        probe = nbformat.v4.new_code_cell("import ganlib\nprint(ganlib.__file__)")
        notebook.cells.append(probe)
        NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
        assert str(copy) in notebook.cells.pop().outputs[0].text
        checked = [c for c in notebook.cells if "nbval-check-output" in c.metadata.get("tags", [])]
        printed.append(["".join(output.text for output in cell.outputs) for cell in checked])
        outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
        pictures.append([data["image/png"] for data in outputs if "image/png" in data])
    assert printed[0] == printed[1] and pictures[0] == pictures[1] and pictures[0]
    assert sorted(copy.rglob("*")) == before  # nothing was written beside it
