"""What authors run: repeating notebooks, and the page of claims."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import claims
import nbformat
import numpy as np
import pytest
import replicate
import torch
from helpers import NOTEBOOKS, ROOT

TOOLS = ROOT / "tools"

# ---- fresh seeds -------------------------------------------------------------------------------------------------

DRAWS = """
import json, numpy as np, torch
from numpy.random import default_rng
from torch import Generator
torch.manual_seed(SEED); draws = [torch.rand(1).item()]
draws += [torch.rand(1, generator=Generator().manual_seed(SEED)).item(), default_rng(SEED).random()]
draws += [np.random.RandomState(SEED).rand(), np.random.default_rng(np.int64(SEED)).random()]
draws += [default_rng(default_rng(SEED)).random()]
"""


def test_every_seed_is_shifted_once():
    environment = os.environ | {"PYTHONPATH": str(TOOLS / "fresh_seeds"), "SEED_SHIFT": "1000"}
    command = [sys.executable, "-c", f"SEED = 3{DRAWS}print(json.dumps(draws))"]
    shifted = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    with torch.random.fork_rng(devices=[]):
        exec(DRAWS, expected := {"SEED": 1003})
    assert json.loads(shifted) == expected["draws"]


# ---- replicate.py ------------------------------------------------------------------------------------------------

CELLS = [
    "import os\nimport numpy as np\nfrom ganlib.checks import claim\nopen('played', 'a').write('once ')\n",
    "draw = np.random.default_rng(0).random()",
    "claim('any draw', draw, at_least=-1)",
    "claim('a low draw', draw, at_most=0.5)",
    "claim('the same', 3, at_least=2)\nclaim('the same', True)",
    "claim('the short form, on one thread', 'PYTEST_VERSION' in os.environ and os.environ['OMP_NUM_THREADS'] == '1')",
    "claim('all instructions', 'ATEN_CPU_CAPABILITY' not in os.environ)",
    "if 0.5 < draw < 0.55:\n    raise RuntimeError('an unlucky draw')",
    "claim('the end', True)",
]
FRESH = [1000, 2000, 3000, 4000]


def write(path: Path, cells: list[str]) -> None:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)


def run(folder: Path, *options: str) -> dict:
    """The entry that replicate.py writes for `tiny.ipynb` in this folder."""
    command = [TOOLS / "replicate.py", folder / "tiny.ipynb", "--jobs", "2", *options]
    command += ["--out", folder / "claims.json", "--kept", folder / "kept"]
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, timeout=120)
    assert done.returncode == 1  # in each of these tests a claim falls or a cell raises
    return json.loads((folder / "claims.json").read_text())["tiny"]


def test_a_notebook_is_repeated_with_fresh_seeds_and_under_other_instruction_sets(tmp_path):
    write(tmp_path / "tiny.ipynb", CELLS)
    (tmp_path / "claims.json").write_text(json.dumps({"other": {"notebook": "", "claims": []}}))
    result = run(tmp_path, "--times", "4")
    values = [np.random.default_rng(seed).random() for seed in FRESH]
    unlucky = [value for value in values if 0.5 < value < 0.55]
    rows = {claim["text"]: claim for claim in result["claims"]}

    assert [row["text"] for row in result["claims"]][:4] == [
        "any draw",
        "a low draw",
        "the same",
        "the same (2)",
    ]
    assert rows["any draw"]["held"] == rows["any draw"]["times"] == 4
    assert rows["any draw"]["mean"] == pytest.approx(np.mean(values), rel=1e-3)
    assert rows["any draw"]["sd"] == pytest.approx(np.std(values, ddof=1), rel=1e-3)
    assert rows["any draw"]["distance"] == pytest.approx(
        (np.mean(values) + 1) / np.std(values, ddof=1), rel=1e-3
    )
    assert 0 < rows["a low draw"]["held"] == sum(value <= 0.5 for value in values) < 4
    assert rows["the same"]["sd"] == 0 and "no chance" in replicate.words(rows["the same"])
    assert (
        rows["the short form, on one thread"] | {"held": 4, "not_under": []}
        == rows["the short form, on one thread"]
    )
    assert rows["all instructions"]["held"] == 4 and rows["all instructions"]["not_under"] == ["AVX2", "SSE"]
    assert (
        0
        < len(unlucky)
        == sum("an unlucky draw" in line for line in result["raised"] if line[:5] == "seeds")
        < 4
    )
    assert rows["the end"]["times"] == 4  # what raises does not end a repetition

    assert "other" in json.loads((tmp_path / "claims.json").read_text())
    assert len((tmp_path / "played").read_text().split()) == 4 + len(replicate.INSTRUCTION_SETS)
    assert run(tmp_path, "--times", "5")["claims"][0]["times"] == 5  # only the fifth is new
    assert len((tmp_path / "played").read_text().split()) == 5 + len(replicate.INSTRUCTION_SETS)
    write(tmp_path / "tiny.ipynb", ["# a remark\n" + CELLS[0], *CELLS[1:]])
    run(tmp_path, "--times", "5")
    assert len((tmp_path / "played").read_text().split()) == 5 + len(replicate.INSTRUCTION_SETS)


def test_a_kernel_that_dies_is_reported_and_tried_again(tmp_path):
    write(tmp_path / "tiny.ipynb", ["import os\nif 'SEED_SHIFT' in os.environ:\n    os._exit(1)"])
    assert "DeadKernel" in run(tmp_path, "--times", "1")["raised"][0]
    assert not list((tmp_path / "kept").rglob("seeds-*.json"))


def test_the_distance_is_that_to_the_nearest_bound():
    row = replicate.spread([1.0, 2.0, 3.0], at_least=0, at_most=3)
    assert (row["mean"], row["sd"], row["distance"]) == (2, 1, 1)
    assert replicate.spread([1.0, 2.0, 3.0], at_least=4, at_most=None)["distance"] == -2
    assert replicate.spread([1.0, float("nan")], at_least=0, at_most=None)["mean"] is None
    assert replicate.spread([1.0, float("inf")], at_least=0, at_most=None)["distance"] is None


# ---- claims.py ---------------------------------------------------------------------------------------------------


def test_the_list_of_claims_is_current():
    page = (ROOT / "notebooks" / "claims.md").read_text(encoding="utf-8")
    assert page == claims.current(), "run tools/claims.py"
    assert int(re.search(r"In all: (\d+) claims", page)[1]) > 100


def test_a_claim_stands_with_its_section_equation_and_rate(tmp_path):
    code = nbformat.v4.new_code_cell("claim(...)", metadata={"tags": ["nbval-check-output"]})
    text = "PASS  |a| < 1\nPASS  modes  [7.93, at least 7]\nPASS  modes  [6, at most 7]\nFAIL  no\n"
    code.outputs = [nbformat.v4.new_output("stream", text=text)]
    unseen = nbformat.v4.new_code_cell(
        "", outputs=[nbformat.v4.new_output("stream", text="PASS  not compared\n")]
    )
    prose = nbformat.v4.new_markdown_cell("# 3 · A title\n## 1 · First\n$$a \\tag{3.1}$$\nand (9.9)")
    nbformat.write(nbformat.v4.new_notebook(cells=[prose, code, unseen]), tmp_path / "03_title.ipynb")
    rates = [{"text": "modes", "held": 19, "times": 20, "not_under": ["SSE"], "mean": 7.5, "sd": 0.25, "distance": 2},
             {"text": "modes (2)", "held": 20, "times": 20, "not_under": []}]  # fmt: skip
    page = claims.page([tmp_path / "03_title.ipynb"], {"03_title": {"notebook": "old", "claims": rates}})
    assert re.findall(r"(?m)^\| 1 · .*$", page) == [
        r"| 1 · First | \|a\| &lt; 1 | (3.1) |  |",
        r"| 1 · First | modes \[at least 7\] | (3.1) | 19 of 20; 7.5 ± 0.25, 2 sd from its bound; not under SSE |",
        r"| 1 · First | modes \[at most 7\] | (3.1) | 20 of 20 |",
    ]
    assert "Repeated before its code last changed" in page
    fresh = {
        "03_title": {"notebook": replicate.digest_of_notebook(tmp_path / "03_title.ipynb"), "claims": rates}
    }
    assert "Repeated before" not in claims.page([tmp_path / "03_title.ipynb"], fresh)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_claims_have_texts_of_their_own(path):
    """The text is a claim's name in the repetitions."""
    texts = [row["text"] for row in claims.claims(path, set())]
    assert len(texts) == len(set(texts))


# ---- site/build.py -----------------------------------------------------------------------------------------------


def module(path: Path):
    """What the script at `path` defines."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.fixture(scope="module")
def build():
    return module(TOOLS / "site" / "build.py")


@pytest.fixture
def course(tmp_path):
    """A folder as a repository has it."""
    for file in ("repo/.git/HEAD", "repo/notebooks/01.ipynb", "repo/photos/1.jpg", "pages/.git/HEAD"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("kept")
    return tmp_path


@pytest.mark.parametrize(
    "out",
    [
        "repo",
        "",
        "repo/notebooks",
        "repo/photos",
        "repo/photos/1.jpg",
        "repo/photos/../../repo",
        "pages",
        "link",
    ],
)
def test_a_site_is_not_built_over_anything_else(build, course, out):
    (course / "link").symlink_to(course / "repo")
    (course / "pages" / build.MARKER).touch()
    before = {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}
    (course / "repo" / build.MARKER).touch()  # not even then
    with pytest.raises(ValueError, match="expected a"):
        build.build(course / out, [course / "repo" / "notebooks" / "01.ipynb"])
    assert all(path.read_bytes() == content for path, content in before.items())


def test_the_command_refuses_the_repository(course):
    """Of a copy: what is asked to be deleted here is a folder of this test."""
    copy = course / "repo" / "tools" / "site" / "build.py"
    copy.parent.mkdir(parents=True)
    shutil.copy(TOOLS / "site" / "build.py", copy)
    command = [sys.executable, copy, "--out", course / "repo"]
    done = subprocess.run([*map(str, command)], cwd=course, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "expected a folder that holds no sources" in done.stderr
    assert (course / "repo" / ".git" / "HEAD").read_text() == "kept"


def test_a_new_an_empty_and_an_earlier_folder_are_taken(build, course):
    for out in ("new", "empty", "earlier"):
        (course / "empty").mkdir(exist_ok=True)
        (course / "earlier").mkdir(exist_ok=True)
        (course / "earlier" / build.MARKER).touch()
        (course / "earlier" / "index.html").touch()
        build.refuse_to_remove(course / out, [course / "repo"])


def test_a_title_of_slides_is_text(build):
    exporter = build.SlidesExporter(template_name="slides", extra_template_basedirs=[str(TOOLS / "site")])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# G")])
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": "G & <script>D"}})
    assert "<title>G &amp; &lt;script&gt;D (slides)</title>" in page


# ---- tests/benchmarks/run.py -------------------------------------------------------------------------------------


def test_benchmarks_keep_what_was_measured_when_a_part_fails(tmp_path, capsys):
    result = tmp_path / "RESULTS.md"

    def fails():
        assert "1.5 s" in result.read_text()  # what was measured before is safe already
        raise RuntimeError("out of memory")

    run = module(ROOT / "tests" / "benchmarks" / "run.py")
    assert (
        run.measure("# Head", {"## A": lambda: "1.5 s", "## B": fails, "## C": lambda: "2.5 s"}, result) == 1
    )
    parts = result.read_text().split("\n\n")
    assert parts == ["# Head", "## A", "1.5 s", "## B", "(It failed: RuntimeError.)", "## C", "2.5 s\n"]
    assert "out of memory" in capsys.readouterr().err


def test_a_notebook_that_fails_does_not_lose_the_times_of_others(monkeypatch):
    run = module(ROOT / "tests" / "benchmarks" / "run.py")

    def timed(command):
        if "01_" in command[-1]:
            raise subprocess.CalledProcessError(1, command)
        return 9.0

    monkeypatch.setattr(run, "timed", timed)
    rows = run.notebooks().splitlines()[2:]
    assert (
        len(rows) == len(NOTEBOOKS)
        and "| 01_adversarial_game | failed |" in rows
        and rows[-1].endswith("| 9 |")
    )
