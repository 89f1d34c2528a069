"""The shape of the course: layers of modules, and the form of every notebook.

A notebook that fails here is usually cured by
    python tools/execute.py notebooks/NAME.ipynb
"""

import ast
import builtins
import copy
import re
import statistics
from pathlib import Path

import nbformat
import pytest
from execute import tidy
from helpers import NOTEBOOKS, ROOT

PACKAGE = ROOT / "ganlib"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A module imports only from the layers above its own line; a name with a dot is a module in a folder.
LAYERS = [
    {"distributions", "images", "objectives", "networks", "penalties", "devices"},
    {"metrics", "unrolling", "pretrained"},
    {"games"},
    {"training"},
    {"batched"},
    {"plotting", "sweep"},
    {"widgets", "checks", "lab.run"},
    {"lab.widget"},
    {"lab"},
]
LAYER = {module: number for number, layer in enumerate(LAYERS) for module in layer}
DRAWING = {"plotting", "widgets", "lab.widget"}  # these alone may import what draws
DRAWING_PACKAGES = {"matplotlib", "seaborn", "ipywidgets", "anywidget", "traitlets", "PIL", "IPython"}

MOST_CELLS = 130
TOO_LONG = {"05_dcgan": 155}  # debts, with what they have now: only ever smaller
TAGS = {
    "nbval-check-output", "nbval-skip", "raises-exception", "exercise", "solution", "widget", "hide-input",
}  # fmt: skip


# ---- modules -------------------------------------------------------------------------------------------------


def dotted(module: Path) -> str:
    """The name of a module within ganlib, "" for ganlib itself."""
    return ".".join(module.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").strip(".")


def imported(module: Path) -> list[str]:
    """The dotted names that a module imports: a module, or a name in a module."""
    names = []
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module.name}: import from ganlib, not from a dot"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda path: dotted(path) or "ganlib")
def test_a_module_imports_only_from_lower_layers(module):
    names = [name.removeprefix("ganlib.") for name in imported(module) if name.startswith("ganlib.")]
    modules = {max((m for m in LAYER if f"{name}.".startswith(f"{m}.")), key=len) for name in names}
    if module.parent == PACKAGE and module.stem == "__init__":
        assert not imported(module)  # `import ganlib` is free
    else:
        assert all(LAYER[other] < LAYER[dotted(module)] for other in modules), modules


@pytest.mark.parametrize("module", MODULES, ids=lambda path: dotted(path) or "ganlib")
def test_only_the_drawing_modules_import_what_draws(module):
    theirs = {name.split(".")[0] for name in imported(module)}
    assert dotted(module) in DRAWING or not theirs & DRAWING_PACKAGES


@pytest.mark.parametrize("module", MODULES, ids=lambda path: dotted(path) or "ganlib")
def test_public_names_have_docstrings(module):
    tree = ast.parse(module.read_text())
    public = [
        node
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    ]
    methods = [
        method
        for node in public
        if isinstance(node, ast.ClassDef) and not node.bases  # a subclass's forward is described by its class
        for method in node.body
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_")
    ]
    assert ast.get_docstring(tree)
    assert [node.name for node in public + methods if not ast.get_docstring(node)] == []


# ---- notebooks -------------------------------------------------------------------------------------------------


class Notebook:
    def __init__(self, path: Path):
        self.path = path
        self.raw = nbformat.read(path, as_version=4)
        self.cells = self.raw.cells
        self.number = int(path.name.split("_")[0])

    @property
    def code(self):
        return [cell for cell in self.cells if cell.cell_type == "code"]

    @property
    def prose(self) -> str:
        return "\n\n".join(cell.source for cell in self.cells if cell.cell_type == "markdown")

    @property
    def headings(self) -> list[str]:
        return re.findall(r"(?m)^##? (.+)$", self.prose)

    def tagged(self, tag: str):
        return [cell for cell in self.code if tag in tags(cell)]

    def equations(self) -> list[str]:
        return re.findall(r"\\tag\{(.*?)\}", self.prose)


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def has_figure(cell) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))


def printed(cell) -> str:
    """What a cell printed or returned, as text."""
    texts = [
        output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs
    ]
    return "".join(texts)


def lines(cell) -> int:
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_an_equation_number_that_is_cited_in_ganlib_exists():
    existing = {number for path in NOTEBOOKS for number in Notebook(path).equations()}
    text = " ".join(module.read_text() for module in MODULES)
    phrases = re.findall(r"equations?\s+\(\d+\.\d+\)(?:(?:,|\s+and|\s+to)\s+\(\d+\.\d+\))*", text)
    cited = {number for phrase in phrases for number in re.findall(r"\d+\.\d+", phrase)}
    assert cited
    assert cited <= existing


START = "00_start_here"  # teaches nothing, so it has no claims, no references, and few rules
LESSONS = [path for path in NOTEBOOKS if path.stem != START]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return Notebook(request.param)


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return Notebook(request.param)


class TestSaved:
    """What lies in the file is what a run of the notebook left there, and nothing else."""

    def test_as_execute_saves_it(self, notebook):
        assert tidy(copy.deepcopy(notebook.raw)) == notebook.raw, "run tools/execute.py on it"

    def test_executed_top_to_bottom(self, notebook):
        assert [cell.execution_count for cell in notebook.code] == list(range(1, len(notebook.code) + 1))

    def test_without_errors_or_warnings(self, notebook):
        for cell in notebook.code:
            for output in cell.outputs:
                assert output.output_type != "error" or "raises-exception" in tags(cell), output.evalue
                assert output.get("name") != "stderr", output.text

    def test_without_widget_state(self, notebook):
        assert "widgets" not in notebook.raw.metadata
        assert not any(cell.outputs for cell in notebook.tagged("widget"))
        assert "application/vnd.jupyter.widget" not in notebook.path.read_text()

    def test_without_paths_of_one_machine(self, notebook):
        text = "\n".join(
            [cell.source + (printed(cell) if "outputs" in cell else "") for cell in notebook.cells]
        )
        assert not re.findall(r"(?:/home|/root|/Users|/tmp|/work|/opt|/mnt)/\w\S*|\b[A-Z]:\\\w\S*", text)


class TestForm:
    """Short cells with prose between them, under the headings that every notebook has."""

    def test_cells_are_short(self, notebook):
        sizes = sorted(map(lines, notebook.code))
        assert statistics.median(sizes) <= 8
        assert sizes[int(0.9 * (len(sizes) - 1))] <= 20
        assert sizes[-1] <= 30

    def test_cells_are_few(self, notebook):
        assert len(notebook.cells) <= TOO_LONG.get(notebook.path.stem, MOST_CELLS)

    def test_no_cell_is_empty(self, notebook):
        assert all(cell.source.strip() for cell in notebook.cells)

    def test_code_never_follows_code(self, notebook):
        kinds = [cell.cell_type for cell in notebook.cells]
        assert ("code", "code") not in zip(kinds[:-1], kinds[1:], strict=True)

    def test_tags_are_known(self, notebook):
        assert set.union(*map(tags, notebook.cells)) <= TAGS

    def test_imports_stand_in_the_first_code_cell(self, lesson):
        """Except from ganlib: what a lesson has just written out, it may import from there on."""
        for cell in lesson.code[1:]:
            assert re.findall(r"(?m)^\s*(?:import|from) (?!ganlib\b)\w+", cell.source) == []

    def test_title_carries_the_number(self, notebook):
        assert notebook.headings[0].startswith(f"{notebook.number} · ")

    def test_opening_says_what_is_needed_and_what_is_learned(self, lesson):
        """The first cell: the question, prerequisites, time, and three or four claims that a cell checks."""
        opening = lesson.cells[0].source
        assert "**" in opening and "?" in opening
        assert re.search(r"(?i)prerequisites|before you start", opening)
        assert "two cores" in opening
        _, claims = opening.split("What you will learn")
        assert 3 <= len(re.findall(r"(?m)^(?:[-*]|\d+\.) ", claims)) <= 4

    def test_closing_sections_stand_in_their_order(self, lesson):
        closing = ["Exercises", "Summary", "References", "Solutions"]
        assert lesson.headings[-4:] == closing


class TestFigures:
    def test_each_is_one_png_with_a_caption_below(self, notebook):
        numbers = []
        for cell, below in zip(notebook.cells, notebook.cells[1:] + [None], strict=True):
            if has_figure(cell):
                assert sum("image/png" in output.get("data", {}) for output in cell.outputs) == 1
                assert below is not None and below.source.startswith("*Figure "), cell.source
                numbers += re.match(r"\*Figure (\d+\.\d+)\.\*? ", below.source).groups()
        assert numbers == [f"{notebook.number}.{i}" for i in range(1, len(numbers) + 1)]

    def test_none_is_svg_or_html(self, notebook):
        data = [output.get("data", {}) for cell in notebook.code for output in cell.outputs]
        assert not any({"image/svg+xml", "text/html"} & set(kinds) for kinds in data)

    def test_a_widget_has_its_static_twin_above_it(self, lesson):
        """In the same section, before the widget, stands a figure."""
        assert lesson.tagged("widget")
        twin = False
        for cell in lesson.cells:
            if cell.cell_type == "markdown" and re.search(r"(?m)^## ", cell.source):
                twin = False
            twin = twin or has_figure(cell)
            assert twin or "widget" not in tags(cell), cell.source


class TestClaims:
    """What a notebook asserts is printed by `ganlib.checks.claim`, and compared by the tests."""

    def test_are_made_by_claim_alone(self, notebook):
        source = "\n".join(cell.source for cell in notebook.code)
        assert not re.findall(r"def (?:claim|report)\b|[\"'](?:PASS|FAIL)", source)

    def test_are_compared(self, notebook):
        for cell in notebook.code:
            if re.search(r"(?m)^(?:PASS|FAIL)  ", printed(cell)) or re.search(r"\bclaim\(", cell.source):
                assert "nbval-check-output" in tags(cell), cell.source

    def test_hold_and_have_each_its_own_words(self, lesson):
        lines = re.findall(r"(?m)^(PASS|FAIL)  (.+?)(?:  \[.*\])?$", "\n".join(map(printed, lesson.code)))
        words = [text for _, text in lines]
        assert len(set(words)) == len(words) > 0
        assert all(verdict == "PASS" for verdict, _ in lines)


class TestEquations:
    def test_numbers_run_through(self, lesson):
        expected = [f"{lesson.number}.{i}" for i in range(1, len(lesson.equations()) + 1)]
        assert lesson.equations() == expected

    def test_cited_numbers_exist(self, lesson):
        existing = {number for path in NOTEBOOKS for number in Notebook(path).equations()}
        prose = re.sub(r"`[^`]*`|\$\$.*?\$\$|\$[^$]*\$", "", lesson.prose, flags=re.DOTALL)
        code = "\n".join(cell.source for cell in lesson.code)
        cited = re.findall(r"\(([1-9]\d?\.\d+)\)", prose)
        cited += re.findall(r"(?:equation|eq\.|#) \(([1-9]\d?\.\d+)\)", code)
        assert cited
        assert set(cited) <= existing


class TestExercises:
    def test_stubs_are_not_attempted_and_have_hints(self, notebook):
        stubs = notebook.tagged("exercise")
        assert stubs
        for cell in stubs:
            assert "..." in cell.source and "not attempted yet" in printed(cell), cell.source
        assert len(re.findall(r"(?m)^> \*{0,2}Hint", notebook.prose)) >= len(stubs)

    def test_solutions_are_right(self, notebook):
        solutions = notebook.tagged("solution")
        assert len(solutions) >= len(notebook.tagged("exercise"))
        for cell in solutions:
            assert "wrong" not in printed(cell) and "not attempted yet" not in printed(cell), cell.source
        assert sum("right" in printed(cell) for cell in solutions) >= len(notebook.tagged("exercise"))

    def test_without_its_solutions_no_name_is_missing(self, notebook):
        """Handed out without the cells tagged `solution` a notebook still runs: they define nothing that others use."""
        known, used = set(dir(builtins)), set()
        for cell in notebook.code:
            if "solution" in tags(cell):
                continue
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Name):
                    (used if isinstance(node.ctx, ast.Load) else known).add(node.id)
                elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                    known.add(node.name)
                elif isinstance(node, ast.arg):
                    known.add(node.arg)
                elif isinstance(node, ast.ExceptHandler):
                    known.add(node.name)
                elif isinstance(node, (ast.Import, ast.ImportFrom)):
                    known |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        assert used <= known
