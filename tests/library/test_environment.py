"""One list of packages, told three times: pyproject.toml, environment.yml, and what is installed here.
And one way to install and to test: the README's commands, which CI runs."""

import ast
import importlib.metadata
import json
import re
import sys
import tomllib

import pytest
import yaml
from helpers import NOTEBOOKS, ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())

PIP_NAME = {"pytorch": "torch", "matplotlib-base": "matplotlib", "seaborn-base": "seaborn"}  # else the same
LAB = ".venv/bin/jupyter lab notebooks/00_start_here.ipynb"
INSTALL = f"python3 -m venv .venv && .venv/bin/pip install -e . && {LAB}"
TEST = 'python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/pytest'


def by_name(requirements) -> dict[str, SpecifierSet]:
    return {r.name.lower(): r.specifier for r in map(Requirement, requirements)}


RUNTIME = by_name(PROJECT["dependencies"])
TESTING = by_name(PROJECT["optional-dependencies"]["test"])


# ---- conda and pip agree -----------------------------------------------------------------------------------


def test_conda_lists_the_same_packages_and_ranges():
    conda = by_name(entry for entry in CONDA["dependencies"] if isinstance(entry, str))
    python = conda.pop("python")
    del conda["pip"]
    assert {PIP_NAME.get(name, name): spec for name, spec in conda.items()} == RUNTIME
    assert python == SpecifierSet(PROJECT["requires-python"])


def test_conda_takes_this_folder_and_its_test_tools_from_pip():
    assert CONDA["channels"] == ["conda-forge"]
    assert [entry for entry in CONDA["dependencies"] if not isinstance(entry, str)] == [
        {"pip": ["-e .[test]"]}
    ]


@pytest.mark.parametrize("name", RUNTIME)
def test_ranges_of_what_readers_install_are_closed(name):
    """A major version that nobody has tried is not let in."""
    assert {spec.operator for spec in RUNTIME[name]} == {">=", "<"}


# ---- what is installed, and what is imported -----------------------------------------------------------------


@pytest.mark.parametrize(("name", "specifier"), (RUNTIME | TESTING).items(), ids=RUNTIME | TESTING)
def test_installed_version_lies_in_the_range(name, specifier):
    version = importlib.metadata.version(name)
    assert specifier.contains(version, prereleases=True), f"{name} {version} is outside {specifier}"


def test_this_python_is_one_of_those_promised():
    assert SpecifierSet(PROJECT["requires-python"]).contains(".".join(map(str, sys.version_info[:3])))


def imports(source: str) -> set[str]:
    """The top-level packages that a piece of Python imports."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.split(".")[0] for name in names}


def notebook_source(path) -> str:
    """The code of a notebook, without lines that are magics or shell commands."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    return "\n".join(re.sub(r"(?m)^\s*[%!].*$", "", "".join(cell["source"])) for cell in cells)


def packages(names: set[str]) -> set[str]:
    """The distributions that provide these modules, without Python's own and ours."""
    known = importlib.metadata.packages_distributions()
    ours = {path.stem for folder in ("tests", "tools", "data") for path in (ROOT / folder).rglob("*.py")}
    local = ours | {"ganlib"} | sys.stdlib_module_names
    return {known.get(name, [name])[0].lower() for name in names - local}


def test_every_package_a_reader_needs_is_declared():
    sources = [path.read_text() for path in (ROOT / "ganlib").rglob("*.py")]
    sources += [notebook_source(path) for path in NOTEBOOKS]
    assert packages(set.union(*map(imports, sources))) <= set(RUNTIME)


def test_every_package_the_tests_need_is_declared():
    used = set.union(*(imports(path.read_text()) for path in (ROOT / "tests").rglob("*.py")))
    assert packages(used) <= set(RUNTIME) | set(TESTING)


# ---- the README's commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [INSTALL, TEST], ids=["install", "test"])
def test_the_readme_gives_the_command(command):
    assert command in (ROOT / "README.md").read_text().splitlines()


def test_ci_runs_the_readmes_test_command():
    assert TEST in (ROOT / ".ci" / "run").read_text().splitlines()
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert ".ci/run" in [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
