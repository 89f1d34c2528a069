"""Build the published course from the executed notebooks: pages with search, and the same notebooks as slides.

    python tools/site/build.py                  writes build/site; open build/site/index.html, or serve that folder
    python tools/site/build.py --out FOLDER     somewhere else: a new or empty folder, or an earlier build, which goes

Build only notebooks that you trust: cells that open the lab are run, and a page shows all that a notebook contains.
Needs `pip install -e ".[site]"` and no network, and the pages load nothing from elsewhere. The notebooks are read
and never changed. Derived from them: a figure's text alternative is its caption; a mentioned notebook, equation or
figure becomes a link; a cell that opens the lab is played here and shown as a recording. What is on which slide
stands in the metadata of the notebook's cells.
"""

import argparse
import ast
import base64
import hashlib
import importlib.util
import json
import re
import shutil
import sys
import tempfile
import time
import zlib
from pathlib import Path

import nbformat
import numpy as np
from nbconvert import SlidesExporter
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "build"
FRAMES, ROUNDS = 101, 15  # of a recorded run: pictures, and rounds of training between two of them
PAGE_LIMIT = 1_000_000  # bytes of recordings on one page
MARKER = ".built-by-tools-site"  # the file by which an earlier build is known
TITLE = "Generative adversarial networks, live"

SPHINX = {
    "project": TITLE,
    "html_title": TITLE,
    "copyright": "the authors; prose and figures CC BY 4.0, code BSD 3-Clause",
    "language": "en",
    "extensions": ["myst_nb"],
    "nb_execution_mode": "off",
    "myst_enable_extensions": ["dollarmath", "amsmath"],
    "myst_heading_anchors": 3,
    "html_theme": "furo",
    "html_static_path": ["_static"],
    "html_favicon": "_static/favicon.svg",
    "html_css_files": ["course.css"],
    "html_js_files": ["course.js"],
    "html_copy_source": False,
    "html_use_index": False,
    "mathjax_path": "mathjax/tex-chtml.js",
    "mathjax3_config": {"tex": {"tags": "ams"}, "options": {"enableMenu": False}},
}


# ---- what is derived from a notebook ---------------------------------------------------------------------------


def spoken(markdown: str) -> str:
    """A caption as plain text, for a text alternative: no markup, formulas in words that can be read out."""

    def formula(match) -> str:
        tex = match.group(1)
        tex = re.sub(r"\\[td]?frac\s*(\{[^{}]*\}|\w)\s*(\{[^{}]*\}|\w)", r" \1/\2 ", tex)
        tex = re.sub(
            r"\\(?:text|mathrm|texttt|mathbb|operatorname|hat|tilde|bar|big|Big|left|right)\b\*?", "", tex
        )
        tex = re.sub(r"\\,|\\;|\\!|\\quad|\\ |~", " ", tex)
        for command, word in {"\\mid": "|", "\\to": "to", "\\le": "≤", "\\ge": "≥", "\\ll": "≪", "\\gg": "≫",
                              "\\times": "×", "\\cdot": "·", "\\approx": "≈", "\\infty": "infinity",
                              "\\sqrt": "root "}.items():  # fmt: skip
            tex = re.sub(re.escape(command) + r"(?![A-Za-z])", word, tex)
        tex = re.sub(r"\\([A-Za-z]+)", r"\1", tex)
        return re.sub(r"\s+", " ", re.sub(r"[{}\\]", "", tex)).strip()

    text = re.sub(r"\$([^$]+)\$", formula, markdown)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\s+", " ", re.sub(r"\*\*?|`", "", text)).strip()


def describe_figures(notebook: NotebookNode) -> None:
    """Give every figure the caption below it as its text alternative; works in place."""
    for cell, below in zip(notebook.cells, notebook.cells[1:], strict=False):
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                alt = spoken(below.source.split("\n\n")[0])
                output.metadata["image/png"] = {"alt": alt}  # for nbconvert
                cell.metadata["mystnb"] = {"image": {"alt": alt}}  # for Sphinx


class Course:
    """All notebooks: where each number, equation and figure stands."""

    def __init__(self, paths: list[Path]):
        self.paths = paths
        self.numbers = {path.name.split("_")[0]: path.stem for path in paths}
        self.places: dict[str, str] = {}  # "(2.3)" or "Figure 2.3" -> page and anchor
        for path in paths:
            for cell in nbformat.read(path, as_version=4).cells:
                if cell.cell_type == "markdown":
                    for tag in re.findall(r"\\tag\{([\d.]+)\}", cell.source):
                        self.places[f"({tag})"] = f"{path.stem}.html#eq-{tag.replace('.', '-')}"
                    for tag in re.findall(r"^\*Figure ([\d.]+)\.\*", cell.source):
                        self.places[f"Figure {tag}"] = f"{path.stem}.html#fig-{tag.replace('.', '-')}"

    def linked(self, markdown: str, page: str, prefix: str = "") -> str:
        """Links to notebooks lead to their pages; mentions of notebooks, equations and figures become links.
        `page` is the page this stands on (which needs no link to itself), `prefix` leads to the pages."""

        def link(target: str, text: str) -> str:
            return f'<a href="{prefix}{target}">{text}</a>'

        def number(match) -> str:
            known = self.numbers.get(match[2])
            return match[1] + (match[2] if known in (None, page) else link(f"{known}.html", match[2]))

        def replace(match) -> str:
            whole = match.group()
            if match["file"]:
                return link(match["file"] + ".html" + (match["anchor"] or ""), match["label"])
            if match["mention"]:
                return re.sub(r"(^[Nn]otebooks? |,(?: and)? | and | or | to )(\d\d)\b", number, whole)
            return link(self.places[whole], whole) if whole in self.places else whole

        return re.sub(
            r"(?P<skip>^#.*?$|^\*Figure [\d.]+\*|```.*?```|\$\$.*?\$\$|`[^`]*`|\$[^$]+\$)"
            r"|\[(?P<label>[^\]]*)\]\((?:\./|notebooks/)?(?P<file>\w+)\.ipynb(?P<anchor>#[^)]*)?\)"
            r"|!?\[[^\]]*\]\([^)]*\)"
            r"|(?P<mention>\b[Nn]otebooks? \d\d\b(?:(?: \([^()]*\))?(?:,| and|, and| or| to) \d\d\b)*)"
            r"|\(\d+\.\d+\)|\bFigure \d+\.\d+",
            replace,
            markdown,
            flags=re.MULTILINE | re.DOTALL,
        )  # fmt: skip

    def prepared(self, path: Path, labs: dict[str, str], prefix: str = "") -> NotebookNode:
        """The notebook at `path` as it is published; `labs` maps the id of a cell to its recording's name."""
        notebook = nbformat.read(path, as_version=4)
        describe_figures(notebook)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = self.linked(cell.source, path.stem, prefix)
                continue
            if "widget" in cell.metadata.get("tags", []):
                words = SLIDERS
                if cell.id in labs:
                    first = cell.id == next(iter(labs))  # what all labs of a page share is loaded once
                    words = (SCRIPTS if first else "") + LAB
                words = words.format(name=labs.get(cell.id), static=prefix + "_static")
                cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": words})]
        return notebook


SCRIPTS = """<link rel="stylesheet" href="{static}/lab.css"><script src="{static}/lab.js"></script>
<script src="{static}/recorded.js"></script>
"""

LAB = """<div class="recorded" role="group" aria-label="A recorded run of the lab" data-recording="{name}">
<noscript>The recorded run needs JavaScript.</noscript></div>
<p class="needs-kernel">A recorded run: play it, or drag through it. To train live, to move one player, or to
change a setting, open the notebook in JupyterLab.</p>
<script src="{static}/recordings/{name}.js"></script>"""

SLIDERS = """<p class="needs-kernel">The sliders of this cell need Python: open the notebook in JupyterLab.
The figure above is the same picture with the sliders where they start.</p>"""


# ---- the lab, recorded -----------------------------------------------------------------------------------------


def needed(notebook: NotebookNode, cell: NotebookNode) -> list[ast.stmt]:
    """Of the cells before `cell`, the imports, assignments and definitions that it needs, directly or not."""

    def loaded(tree: ast.AST) -> set[str]:
        return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}

    def bound(statement: ast.stmt) -> set[str]:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            return {alias.asname or alias.name.split(".")[0] for alias in statement.names}
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            return {statement.name}
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            return {
                n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
        return set()

    before = notebook.cells[: notebook.cells.index(cell)]
    statements = [s for c in before if c.cell_type == "code" for s in ast.parse(c.source).body]
    names, chosen = loaded(ast.parse(cell.source)), []
    for statement in reversed(statements):
        if bound(statement) & names:
            chosen.insert(0, statement)
            names |= loaded(statement)
    return chosen


def recorded(notebook: NotebookNode, cell: NotebookNode, frames: int, rounds: int, limit: int) -> str:
    """A run of the lab that `cell` opens, as JSON: its scene, its status, and its frames, compressed. Of the
    notebook, only what the cell needs is run. At most `limit` characters: every second frame is left out until it
    fits. Raises ValueError if the cell does not end in a lab."""
    from ganlib.lab import Lab

    *body, last = ast.parse(cell.source).body
    value = ast.Expression(last.value)
    names: dict = {}
    exec(compile(ast.Module(needed(notebook, cell) + body, []), "<lab cell>", "exec"), names)
    lab = eval(compile(value, "<lab cell>", "eval"), names)
    if not isinstance(lab, Lab):
        raise ValueError(
            f"expected a lab as the last line of the cell, got {type(lab).__name__}:\n{cell.source}"
        )
    pictures = [_rounded(lab.frame)]
    for _ in range(frames - 1):
        lab.advance(rounds)
        pictures.append(_rounded(lab.frame))
    while True:
        buffers = [value for picture in pictures for value in picture.values() if isinstance(value, bytes)]
        recording = {
            "scene": _short(lab.scene),
            "status": lab.status,
            # a buffer is told by its length; the bytes follow one another in `data`
            "frames": [
                {name: [len(v)] if isinstance(v, bytes) else v for name, v in _short(picture).items()}
                for picture in pictures
            ],
            "data": base64.b64encode(zlib.compress(b"".join(buffers), 9)).decode(),
        }
        text = json.dumps(recording, separators=(",", ":"))
        if len(text) <= limit:
            return text
        pictures = pictures[::-1][::2][::-1]  # the last one stays


def _rounded(frame: dict) -> dict:
    """The same frame with the samples to three digits, which compresses better."""
    samples = np.frombuffer(frame["samples"], "u4") + 0x800 & 0xFFFFF000
    return frame | {"samples": samples.astype("u4").tobytes()}


def _short(value):
    """Numbers to six digits."""
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def record(path: Path, folder: Path, frames: int, rounds: int) -> dict[str, str]:
    """Record every lab of a notebook into `folder`; the id of each lab's cell, with the recording's name. A recording
    is made anew when its cell, what this needs, the package or this file has changed."""
    notebook = nbformat.read(path, as_version=4)
    cells = [
        c
        for c in notebook.cells
        if "widget" in c.metadata.get("tags", []) and re.search(r"\bLab\(", c.source)
    ]
    names = {}
    for number, cell in enumerate(cells, 1):
        sources = [
            Path(__file__),
            *sorted((ROOT / "ganlib").rglob("*.py")),
            *sorted((ROOT / "ganlib" / "lab").glob("*.js")),
        ]
        state = [
            *map(ast.unparse, needed(notebook, cell)),
            cell.source,
            frames,
            rounds,
            *(s.read_text() for s in sources),
        ]
        kept = WORK / "recordings" / f"{hashlib.sha1(repr(state).encode()).hexdigest()[:16]}.json"
        if not kept.exists():
            text = recorded(notebook, cell, frames, rounds, PAGE_LIMIT // len(cells) - 2000)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(text)
        name = f"{path.stem}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.js").write_text(f'recordedLab("{name}",{kept.read_text()})\n')
        names[cell.id] = name
    return names


# ---- the lab, live ---------------------------------------------------------------------------------------------

LIVE = """<div class="live" role="group" aria-label="The lab" data-live>
<noscript>The lab needs JavaScript. <img src="_static/lab.png" alt="The lab: generated points have found all eight
blobs of a ring, over the surface of what D believes; beside it the losses and the number of modes covered">
</noscript></div>
<link rel="stylesheet" href="_static/lab.css"><script src="_static/lab.js"></script>
<script src="_static/live.js"></script>
"""

LEAD = """Press **Play**. Two networks start to learn in this page: *G* makes the vermilion crosses out of noise, *D*
tells them from the blue circles, and the ground shows what *D* believes. Change anything while it runs.
"""

LIMITS = """*The lab trains in your browser, by [{lines} lines of JavaScript](engine.md) that the tests hold to PyTorch,
and nothing leaves this page. Gradient penalty, look-ahead, pictures and several seeds at once are not here: on the
pages of the notebooks they are recorded runs, and in JupyterLab they are live.*
"""

ENGINE = """# The engine of the live lab

The lab of the [first page](index.md) trains with this file, the course in one page of plain JavaScript: data, networks,
their gradients, Adam, five objectives, and the two moves. A test plays each move of it against PyTorch.

```{literalinclude} _static/engine.js
:language: javascript
```
"""


def live_settings() -> dict:
    """What the page's lab takes from the one in Python, for `worker.js`: settings, words and presets. Of the games,
    those that an objective, k and clipping make; of the rest it offers what `engine.js` can do."""
    from ganlib.games import DIALS, GAMES
    from ganlib.lab import run, widget

    games = {
        name: {"objective": game.objective.name, "k": game.n_critic, "clips": game.constrain is not None}
        for name, game in GAMES.items()
        if not game.penalty and not game.unroll_steps
    }
    # Many seeds, and the other games' dials, are not the engine's.
    others = {"runs", *(dial.name for dial in DIALS.values())} - {DIALS["WGAN"].name}
    plain = {name: value for name, value in widget.Lab._plain().items() if name not in others}
    presets = {
        name: chosen
        for name, chosen in widget.PRESETS.items()
        if chosen.keys() <= plain.keys() and chosen.get("objective", "minimax") in games
    }
    return {
        "menus": widget.MENUS, "games": games, "plain": plain, "presets": presets, "order": widget.ORDER,
        "numbers": {name: (label, kind is int, low, high) for name, (label, kind, low, high) in widget.NUMBERS.items()},
        "new_run": widget.NEW_RUN, "short": widget.SHORT, "switches": widget.SWITCHES, "history": run.HISTORY,
        "drawn": widget.DRAWN, "how_to_draw": widget.HOW_TO_DRAW, "smile": widget.SMILE,
    }  # fmt: skip


def live_script() -> str:
    """The page's part of the live lab, with the worker's as text."""
    engine, worker, page = (
        (HERE / "live" / f"{name}.js").read_text() for name in ("engine", "worker", "page")
    )
    course, script = json.dumps(live_settings()), json.dumps(engine + worker)
    return f"{{\nconst COURSE = {course};\nconst SCRIPT = {script};\n{page}}}\n"


# ---- pages and slides ------------------------------------------------------------------------------------------


def front_page(course: Course) -> str:
    """The live lab, and the README without its picture of it and without what its developers read, with links to the
    pages and to the slides."""
    text = (ROOT / "README.md").read_text().split("\n## Working on it")[0]
    text = re.sub(r"(?m)^!\[[^\]]*\]\(\.github/lab\.png\)\n\n\*.*\*\n\n", "", text)
    text = (
        course.linked(text, "index")
        .replace(".github/lab.png", "_static/lab.png")
        .replace("notebooks/claims", "claims")
    )
    slides = " · ".join(
        f'<a href="slides/{stem}.html">{number}</a>' for number, stem in course.numbers.items()
    )
    text += f"\n\nEach notebook as slides (arrow keys; Esc shows them all): {slides}.\n"
    names = "\n".join([*course.numbers.values(), "claims", "engine"])
    title, rest = text.split("\n", 1)
    lines = (HERE / "live" / "engine.js").read_text().count("\n")
    live = f"{title}\n\n{LEAD}\n{LIVE}\n{LIMITS.format(lines=lines)}\n"
    return f"---\nhide-toc: true\n---\n\n{live}{rest}\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"


def static_files(folder: Path) -> None:
    """Everything that pages and slides load, in one folder: our few files, MathJax and reveal.js from their wheels."""

    def package(name: str) -> Path:
        return Path(importlib.util.find_spec(name).submodule_search_locations[0])

    folder.mkdir(parents=True, exist_ok=True)
    for file in (
        "course.css",
        "course.js",
        "favicon.svg",
        "recorded.js",
        "live/engine.js",
        "slides/slides.css",
        "slides/slides.js",
    ):
        shutil.copy(HERE / file, folder)
    shutil.copy(ROOT / "ganlib" / "lab" / "lab.css", folder)
    shutil.copy(ROOT / ".github" / "lab.png", folder)
    module = "".join((ROOT / "ganlib" / "lab" / name).read_text() for name in ("draw.js", "lab.js"))
    assert module.count("export default") == 1
    script = module.replace("export default", "window.lab =")  # a module would not load from a file:// page
    (folder / "lab.js").write_text(f"{{\n{script}\n}}\n")
    (folder / "live.js").write_text(live_script())
    mathjax = package("sphinx-mathjax-offline") / "static" / "mathjax"
    for part in ("input", "output/chtml/fonts"):
        shutil.copytree(mathjax / part, folder / "mathjax" / part, dirs_exist_ok=True)
    shutil.copy(mathjax / "tex-chtml.js", folder / "mathjax")
    reveal = package("sphinx_revealjs") / "_static" / "revealjs"
    (folder / "reveal").mkdir(exist_ok=True)
    for file in ("dist/reveal.js", "dist/reveal.css", "dist/reset.css", "LICENSE"):
        shutil.copy(reveal / file, folder / "reveal")


def anchors(app, doctree, page: str) -> None:
    """Anchors for equations and figures; equations go to MathJax as they stand, with their own tags."""
    from docutils import nodes

    for node in doctree.findall(nodes.math_block):
        for tag in re.findall(r"\\tag\{([\d.]+)\}", node.astext()):
            node["ids"].append(f"eq-{tag.replace('.', '-')}")
        node["no-wrap"] = True
        node.children = [nodes.Text(rf"\[{node.astext()}\]")]
    for node in doctree.findall(nodes.paragraph):
        caption = re.match(r"Figure ([\d.]+)\.", node.astext())
        if caption and isinstance(node[0], nodes.emphasis):
            node["ids"].append(f"fig-{caption[1].replace('.', '-')}")
            node["classes"].append("caption-below")


def refuse_to_remove(out: Path, sources: list[Path]) -> None:
    """Raises ValueError unless `out` is new, empty or an earlier build, holds no source and is no repository."""
    out = out.resolve()
    if any(out in (source.resolve(), *source.resolve().parents) for source in sources):
        raise ValueError(f"expected a folder that holds no sources, got {out}")
    if out.exists() and not out.is_dir():
        raise ValueError(f"expected a folder, got the file {out}")
    if out.exists() and any(out.iterdir()) and (not (out / MARKER).is_file() or (out / ".git").exists()):
        raise ValueError(f"expected a new or empty folder or an earlier build, got {out}: remove it yourself")


def build(out: Path, paths: list[Path], frames: int = FRAMES, rounds: int = ROUNDS) -> None:
    """Write the course in `paths` to the folder `out`. Of an earlier build there, nothing stays; anything else there,
    or a folder that holds the sources, is a ValueError."""
    refuse_to_remove(out, [ROOT, *paths])
    course = Course(paths)
    WORK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK, prefix="site-") as work:
        source, html, doctrees = Path(work, "source"), Path(work, "html"), Path(work, "doctrees")
        static_files(source / "_static")
        labs = {path: record(path, source / "_static" / "recordings", frames, rounds) for path in paths}
        for path in paths:
            nbformat.write(course.prepared(path, labs[path]), source / path.name)
        (source / "index.md").write_text(front_page(course))
        (source / "engine.md").write_text(ENGINE)
        claims = (ROOT / "notebooks" / "claims.md").read_text()
        (source / "claims.md").write_text(course.linked(claims, "claims"))
        with patch_docutils(), docutils_namespace():
            app = Sphinx(source, None, html, doctrees, "html", SPHINX, warningiserror=True, status=None)
            app.connect("doctree-resolved", anchors)
            app.build()
        if app.statuscode:
            raise SystemExit(app.statuscode)
        (html / "slides").mkdir()
        exporter = SlidesExporter(template_name="slides", extra_template_basedirs=[str(HERE)])
        for path in paths:
            notebook = course.prepared(path, labs[path], prefix="../")
            title = re.search(r"(?m)^# (.+)$", notebook.cells[0].source)[1]
            resources = {"metadata": {"name": title}, "static": "../_static"}
            (html / "slides" / f"{path.stem}.html").write_text(
                exporter.from_notebook_node(notebook, resources)[0]
            )
        (html / MARKER).touch()
        if out.exists():
            shutil.rmtree(out)
        shutil.move(html, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of them")
    parser.add_argument("--out", type=Path, default=WORK / "site")
    parser.add_argument("--frames", type=int, default=FRAMES, help="pictures in a recorded run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of training between two (%(default)s)")
    given = parser.parse_args()
    start = time.perf_counter()
    notebooks = given.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb"))
    try:
        refuse_to_remove(given.out, [ROOT, *notebooks])
    except ValueError as error:
        parser.error(str(error))
    build(given.out.resolve(), notebooks, given.frames, given.rounds)
    print(f"{given.out / 'index.html'}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
