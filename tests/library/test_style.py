"""Ruff's lint and format, on the modules, the tests and the notebooks. The rules are in pyproject.toml."""

import subprocess
import sys

import pytest
from helpers import ROOT


@pytest.mark.parametrize("command", [["check"], ["format", "--check", "--diff"]], ids=["lint", "format"])
def test_style(command):
    ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "--quiet", "."]
    result = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-1000:]
