"""For nbconvert: notebooks as slides, in a folder that needs no network.

    jupyter nbconvert --to slides --config tools/site/slides/nbconvert_config.py --output-dir build/slides NOTEBOOK...

What the slides load (MathJax and reveal.js, from their wheels) is written beside them, into `_static`.
"""

import sys
import tempfile
from pathlib import Path

from pygments.formatters import HtmlFormatter

SITE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SITE))
from build import describe_figures, static_files  # noqa: E402


def with_static_files(notebook, resources):
    """A preprocessor: figures get their text alternatives, and nbconvert the files to write beside the slides."""
    describe_figures(notebook)
    with tempfile.TemporaryDirectory() as folder:
        static_files(Path(folder))
        files = {f: f.read_bytes() for f in Path(folder).rglob("*") if f.is_file()}
    resources["outputs"] = {f"_static/{f.relative_to(folder)}": content for f, content in files.items()}
    colours = HtmlFormatter().get_style_defs(".highlight")
    resources["outputs"]["_static/pygments.css"] = colours.encode()
    resources["static"] = "_static"
    return notebook, resources


c = get_config()  # noqa: F821
c.SlidesExporter.template_name = "slides"
c.SlidesExporter.extra_template_basedirs = [str(SITE)]
c.SlidesExporter.preprocessors = [with_static_files]
