"""`check` prints one line, and the line is true."""

import math

import numpy as np
import pytest
import torch

from ganlib.checks import check


def square(x):
    return x**2


@pytest.fixture
def line(capsys):
    """What `check` prints, as one line."""

    def run(*args, **settings):
        check(*args, **settings)
        out = capsys.readouterr().out
        assert out.endswith("\n") and out.count("\n") == 1
        return out.strip()

    return run


# ---- not attempted -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [..., None, (..., ...), (1.0, ...), [None]])
def test_a_value_that_is_missing_is_not_attempted(line, nothing):
    assert line(nothing, against=1.0) == "not attempted yet"
    assert line(nothing, against=square, on=[1.0]) == "not attempted yet"


@pytest.mark.parametrize("nothing", [..., None, (1.0, ...)])
def test_a_function_that_returns_nothing_is_not_attempted(line, nothing):
    assert line(lambda x: nothing, against=square, on=[1.0]) == "not attempted yet"


# ---- right ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mine, truth",
    [
        (2, 2.0), (2.0, torch.tensor(2.0)), (torch.tensor(2.0, requires_grad=True), 2), (math.inf, math.inf),
        ((math.inf, 2.0), (math.inf, 2.0)), ([1, 2], np.array([1.0, 2.0])), ("JSD", "JSD"), (True, True),
        (torch.tensor(True), True), (1 + 1e-7, 1.0), (torch.empty(0), torch.empty(0)),
    ],
)  # fmt: skip
def test_equal_values_are_right(line, mine, truth):
    assert line(mine, against=truth) == "right"


def test_equal_functions_are_right_on_all_inputs(line):
    inputs = [1.0, torch.tensor([2.0, -3.0]), np.eye(2)]
    assert line(lambda x: x * x, against=square, on=inputs) == "right: agrees on all 3 inputs"
    assert line(lambda x: x * x, against=square, on=inputs[:1]) == "right"


def test_a_tuple_is_spread_over_the_arguments(line):
    assert line(lambda x, y: y + x, against=lambda x, y: x + y, on=[(1, 2), (3, 4)]).startswith("right")


def test_tolerance_is_the_largest_disagreement_allowed(line):
    assert line(1.05, against=1.0, tolerance=0.1) == "right"
    assert line(1.15, against=1.0, tolerance=0.1).startswith("wrong")


# ---- wrong ---------------------------------------------------------------------------------------------------


def test_wrong_names_the_largest_disagreement_and_its_place(line):
    text = line(lambda x: x, against=square, on=[1.0, 3.0, 2.0])
    assert text == "wrong: the largest disagreement is 6 at 3"


def test_wrong_value_names_the_disagreement(line):
    assert line([1.0, 2.5], against=[1.0, 2.0]) == "wrong: the largest disagreement is 0.5"
    assert line(2.0, against=math.inf) == "wrong: the largest disagreement is inf"
    assert line(-math.inf, against=math.inf) == "wrong: the largest disagreement is inf"


@pytest.mark.parametrize("mine", ["KL", 1.0, None.__class__, np.array([1, 2])])
def test_wrong_word(line, mine):
    assert line(mine, against="JSD").startswith("wrong: ")


def test_wrong_truth_value(line):
    assert line(False, against=True) == "wrong: False is not the answer"


def test_a_shape_that_differs_is_wrong_even_where_it_would_broadcast(line):
    assert line(torch.ones(3, 1), against=torch.ones(3)) == "wrong: expected shape (3,), got (3, 1)"
    assert line(lambda x: 4.0, against=square, on=[torch.tensor([2.0, 2.0])]).startswith(
        "wrong: expected shape (2,), got ()"
    )


@pytest.mark.parametrize("where", [0, 1, 2])
def test_nan_is_wrong_wherever_it_stands(line, where):
    def mine(x):
        return math.nan if x == where else square(x)

    assert line(mine, against=square, on=[0, 1, 2]) == f"wrong: your answer is not a number (NaN) at {where}"


def test_an_attempt_that_raises_is_wrong_and_no_traceback(line):
    def mine(x):
        raise RuntimeError("sizes do not match")

    text = line(mine, against=square, on=[1.0])
    assert text == "wrong: your answer raises RuntimeError: sizes do not match"


def test_a_value_where_a_function_is_asked_and_the_reverse(line):
    assert line(3.0, against=square, on=[1.0]) == "wrong: expected a function, got float"
    assert line(square, against=1.0) == "wrong: expected a value, got function"


def test_something_that_is_no_number(line):
    assert line("three", against=3.0) == "wrong: expected a number or an array, got str"


def test_an_attempt_that_changes_its_input_does_not_move_the_truth(line):
    def mine(x):
        x *= 0
        return x

    assert line(mine, against=square, on=[torch.tensor([2.0])]).startswith(
        "wrong: the largest disagreement is 4"
    )


def test_long_inputs_are_named_in_one_line(line):
    assert line(lambda x: x, against=square, on=[torch.arange(100.0)]).count("\n") == 0
    assert line(lambda x: x, against=square, on=[2 * torch.ones(9, 9)]).endswith(
        "at an input of shape (9, 9)"
    )


# ---- misuse ------------------------------------------------------------------------------------------------


def test_two_functions_need_inputs():
    with pytest.raises(ValueError, match="at least one input"):
        check(square, against=square)


def test_an_error_in_the_truth_is_not_the_students():
    with pytest.raises(ZeroDivisionError):
        check(square, against=lambda x: 1 / 0, on=[1.0])
