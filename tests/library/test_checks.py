"""`check` and `claim` print one line each, and the line is true."""

import json
import math
import re
import shlex
import subprocess
import sys
import tomllib

import nbformat
import numpy as np
import pytest
import torch
from helpers import ROOT

from ganlib.checks import check, claim


def square(x):
    return x**2


@pytest.fixture
def line(capsys):
    """What a call prints, as one line: `line(check, ...)`."""

    def run(function, *args, **settings):
        function(*args, **settings)
        out = capsys.readouterr().out
        assert out.endswith("\n") and out.count("\n") == 1
        return out[:-1]

    return run


# ---- check -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [..., None, (..., ...), (1.0, ...), [None]])
def test_what_is_missing_is_not_attempted(line, nothing):
    assert line(check, nothing, against=1.0) == "not attempted yet"
    assert (
        line(check, nothing, against=None) == "not attempted yet"
    )  # a truth made only when there is an answer
    assert line(check, nothing, against=square, on=[1.0]) == "not attempted yet"
    assert line(check, lambda x: nothing, against=square, on=[1.0]) == "not attempted yet"


@pytest.mark.parametrize(
    "mine, truth",
    [
        (2, 2.0), (2.0, torch.tensor(2.0)), (torch.tensor(2.0, requires_grad=True), 2), (math.inf, math.inf),
        ((math.inf, 2.0), (math.inf, 2.0)), ([1, 2], np.array([1.0, 2.0])), ("JSD", "JSD"), (True, True),
        (torch.tensor(True), True), (1 + 1e-7, 1.0), (torch.empty(0), torch.empty(0)),
    ],
)  # fmt: skip
def test_equal_values_are_right(line, mine, truth):
    assert line(check, mine, against=truth) == "right"


@pytest.mark.parametrize(
    "mine, truth, words",
    [
        ([1.0, 2.5], [1.0, 2.0], "the largest disagreement is 0.5"),
        (2.0, math.inf, "your answer is 2 where the truth is infinite"),
        ([1.0, -math.inf], [1.0, math.inf], "your answer is -inf where the truth is infinite"),
        ([math.inf, 1.0], [math.inf, 2.0], "the largest disagreement is 1"),
        (math.inf, 2.0, "your answer is inf where the truth is finite"),
        (math.nan, 2.0, "your answer is not a number (NaN)"),
        (False, True, "False is not the answer"),
        (1.0, "JSD", "1.0 is not the answer"),
        (np.array([1, 2]), "JSD", "array([1, 2]) is not the answer"),
        ("2.0", 2.0, "expected a number or an array, got str"),
        (["1", "2"], [1, 2], "expected a number or an array, got list"),
        (torch.ones(3, 1), torch.ones(3), "expected shape (3,), got (3, 1)"),
        (square, 1.0, "expected a value, got function"),
    ],
)
def test_a_wrong_value_is_told_how(line, mine, truth, words):
    assert line(check, mine, against=truth) == f"wrong: {words}"


def test_functions_are_compared_on_all_inputs(line):
    inputs = [1.0, torch.tensor([2.0, -3.0]), np.eye(2)]
    assert line(check, lambda x: x * x, against=square, on=inputs) == "right: agrees on all 3 inputs"
    assert line(check, lambda x: x * x, against=square, on=inputs[:1]) == "right"
    assert line(check, lambda x, y: y + x, against=lambda x, y: x + y, on=[(1, 2), (3, 4)]).startswith(
        "right"
    )
    wrong = line(check, lambda x: x, against=square, on=[1.0, 3.0, 2.0])
    assert wrong == "wrong: the largest disagreement is 6 at 3"
    assert line(check, 3.0, against=square, on=[1.0]) == "wrong: expected a function, got float"
    assert "expected shape (2,)" in line(check, lambda x: 4.0, against=square, on=[torch.tensor([2.0, 2.0])])


@pytest.mark.parametrize("where", [0, 1, 2])
def test_nan_is_wrong_wherever_it_stands(line, where):
    text = line(check, lambda x: math.nan if x == where else square(x), against=square, on=[0, 1, 2])
    assert text == f"wrong: your answer is not a number (NaN) at {where}"


def test_an_attempt_that_raises_or_changes_its_input_is_wrong(line):
    def raises(x):
        raise RuntimeError("sizes do not match")

    text = line(check, raises, against=square, on=[1.0])
    assert text == "wrong: your answer raises RuntimeError: sizes do not match"
    text = line(check, lambda x: x.mul_(0), against=square, on=[torch.tensor([2.0])])
    assert text.startswith("wrong: the largest disagreement is 4")


def test_tolerance_is_the_largest_disagreement_allowed(line):
    assert line(check, 1.05, against=1.0, tolerance=0.1) == "right"
    assert line(check, 1.15, against=1.0, tolerance=0.1).startswith("wrong")


def test_long_inputs_are_named_in_one_line(line):
    line(check, lambda x: x, against=square, on=[torch.arange(100.0)])
    text = line(check, lambda x: x, against=square, on=[2 * torch.ones(9, 9)])
    assert text.endswith("at an input of shape (9, 9)")


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(attempt=square, against=square), "at least one input"),
        (dict(attempt=1.0, against=math.nan), "truth that is a number"),
        (dict(attempt=[1.0, 2.0], against=[1.0, math.nan]), "truth that is a number"),
        (dict(attempt=square, against=lambda x: x * math.nan, on=[1.0]), "truth that is a number"),
        (dict(attempt=1.0, against=None), "expected the truth"),
        (dict(attempt=2.0, against=1.0, tolerance=math.nan), "tolerance"),
        (dict(attempt=1.0, against=1.0, tolerance=-1.0), "tolerance"),
    ],
)
def test_a_check_that_cannot_tell_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        check(**settings)


def test_an_error_in_the_truth_is_not_the_students():
    with pytest.raises(ZeroDivisionError):
        check(square, against=lambda x: 1 / 0, on=[1.0])


# ---- claim -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, bounds, expected",
    [
        (True, {}, "PASS  modes"),
        (np.bool_(False), {}, "FAIL  modes"),
        (torch.tensor([True]), {}, "PASS  modes"),
        (7.93, {"at_least": 7}, "PASS  modes  [7.93, at least 7]"),
        (7, {"at_least": 7, "at_most": 7}, "PASS  modes  [7, at least 7 and at most 7]"),
        (torch.tensor(0.25), {"at_most": 0.1}, "FAIL  modes  [0.25, at most 0.1]"),
        (np.float32(-0.5), {"at_least": 0, "at_most": 1}, "FAIL  modes  [-0.5, at least 0 and at most 1]"),
        (1.5, {"at_least": 0, "at_most": 1}, "FAIL  modes  [1.5, at least 0 and at most 1]"),
        (6.99999, {"at_least": 7}, "FAIL  modes  [6.99999, at least 7]"),  # not "[7, at least 7]"
        (3e-14, {"at_most": 1e-12}, "PASS  modes  [3e-14, at most 1e-12]"),
        (math.nan, {"at_least": 7}, "FAIL  modes  [nan, at least 7]"),
        (math.nan, {"at_most": 7}, "FAIL  modes  [nan, at most 7]"),
        (math.inf, {"at_least": 7}, "PASS  modes  [inf, at least 7]"),
    ],
)
def test_a_claim_is_one_line(line, value, bounds, expected):
    assert line(claim, "modes", value, **bounds) == expected


@pytest.mark.parametrize(
    "text, value, bounds, words",
    [
        ("modes", True, {"at_least": 0}, "a truth value, or"),
        ("modes", 3.0, {}, "a truth value, or"),
        ("modes", 1, {}, "a truth value, or"),
        ("modes", 3.0, {"at_least": math.nan}, "bounds"),
        ("modes", 3.0, {"at_least": 2, "at_most": 1}, "bounds"),
        ("modes", torch.ones(2), {"at_least": 0}, "got Tensor"),
        ("modes", np.array([True, False]), {}, "got ndarray"),
        ("modes", None, {}, "got NoneType"),
        ("modes", "yes", {}, "got str"),
        ("two\nlines", True, {}, "one line"),
        ("", True, {}, "one line"),
    ],
)
def test_a_claim_that_says_nothing_is_refused(text, value, bounds, words):
    with pytest.raises(ValueError, match=words):
        claim(text, value, **bounds)


def test_a_claim_is_also_written_where_the_environment_says(line, tmp_path, monkeypatch):
    monkeypatch.setenv("GANLIB_CLAIMS", str(tmp_path / "claims"))
    line(claim, "a", torch.tensor(0.5), at_least=0.25)
    line(claim, "b", False)
    assert [json.loads(entry) for entry in (tmp_path / "claims").read_text().splitlines()] == [
        {"text": "a", "value": 0.5, "at_least": 0.25, "at_most": None, "held": True},
        {"text": "b", "value": False, "at_least": None, "at_most": None, "held": False},
    ]


def test_nbval_compares_all_of_a_claim_but_the_measured_number(tmp_path):
    """Through nbval itself, with the file that pyproject.toml names. Each cell has another line saved."""
    cells = {
        "claim('modes', 7.93, at_least=7)": ("PASS  modes  [8, at least 7]", True),
        "claim('modes', 7.93, at_least=7, at_most=8)": ("PASS  modes  [7.1e-05, at least 7 and at most 8]", True),
        "claim('a [3, 4] b', 7.93, at_most=8)": ("PASS  a [3, 4] b  [nan, at most 8]", True),
        "claim('modes', 6.93, at_least=7)": ("PASS  modes  [8, at least 7]", False),
        "claim('nodes', 7.93, at_least=7)": ("PASS  modes  [7.93, at least 7]", False),
        "claim('modes', 7.93, at_least=6)": ("PASS  modes  [7.93, at least 7]", False),
        "claim('modes', 7.93, at_most=8)": ("PASS  modes  [7.93, at least 8]", False),
        "claim('modes', 7.93, at_least=7, at_most=8) #": ("PASS  modes  [7.93, at least 7 and at most 9]", False),
        "claim('modes', True)": ("PASS  modes", True),
        "claim('modes', False)": ("PASS  modes", False),
        "print('PASS: 7.93, at least 7')": ("PASS: 7.94, at least 7", False),
    }  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("from ganlib.checks import claim")])
    notebook.cells[0].execution_count = 1
    for count, (source, (saved, _)) in enumerate(cells.items(), 2):
        output = nbformat.v4.new_output("stream", name="stdout", text=saved + "\n")
        cell = nbformat.v4.new_code_cell(source, outputs=[output], execution_count=count)
        cell.metadata.tags = ["nbval-check-output"]
        notebook.cells.append(cell)
    nbformat.write(notebook, tmp_path / "tiny.ipynb")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"]
    nbval = [option for option in shlex.split(options) if option.startswith("--nbval")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "-p",
        "no:cacheprovider",
        "-c",
        tmp_path / "pytest.ini",
        *nbval,
    ]
    done = subprocess.run([*map(str, command), str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    results = re.findall(r"Cell (\d+) (PASSED|FAILED)", done.stdout)
    passes = [True] + [passed for _, passed in cells.values()]
    assert results == [(str(i), "PASSED" if passed else "FAILED") for i, passed in enumerate(passes)], (
        done.stdout
    )
