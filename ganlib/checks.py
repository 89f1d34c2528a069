"""`check` tells a reader whether an exercise's answer is right; `claim` is how a notebook asserts what it says."""

import json
import math
import numbers
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# ---- claims ------------------------------------------------------------------------------------------------


def claim(text: str, value: Any, *, at_least: float | None = None, at_most: float | None = None) -> None:
    """Print one line: PASS or FAIL, the claim in words, and where something is measured its value and bound, as in
    `PASS  eight modes on average  [7.93, at least 7]`. A claim that fails does not raise: the reader goes on.

    value: a truth value, or a number (a tensor or an array of one element is one) with a bound or two. The tests
    compare the words and the bounds with the saved output, and mask the number. NaN fails whatever the bound.
    Raises ValueError for a number without a bound, a truth value with one, bounds that no number meets, more than
    one line of text, and anything that is neither a number nor a truth value.
    """
    if text != " ".join(text.split()) or not text:
        raise ValueError(f"expected a claim on one line, with single spaces, got {text!r}")
    value, bounded = _scalar(value), at_least is not None or at_most is not None
    if isinstance(value, bool) == bounded:
        raise ValueError(
            f"expected a truth value, or a number with a bound, got {value} and {at_least=}, {at_most=}"
        )
    low = -math.inf if at_least is None else _scalar(at_least)
    high = math.inf if at_most is None else _scalar(at_most)
    if not low <= high:
        raise ValueError(f"expected bounds that a number can meet, got {at_least=}, {at_most=}")

    held, measured = value, ""
    if bounded:
        held = low <= value <= high  # not so for NaN
        shown = f"{value:.4g}"
        if (low <= float(shown) <= high) != held:  # rounded across the bound
            shown = f"{value}"
        words = [f"at least {low:g}"] * (at_least is not None) + [f"at most {high:g}"] * (at_most is not None)
        measured = f"  [{shown}, {' and '.join(words)}]"
    print(f"{'PASS' if held else 'FAIL'}  {text}{measured}")
    if path := os.environ.get("GANLIB_CLAIMS"):  # tools/replicate.py collects them
        record = {"text": text, "value": value, "at_least": at_least, "at_most": at_most, "held": held}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def _scalar(value: Any) -> bool | float:
    try:
        value = value.item() if hasattr(value, "item") else value
    except (ValueError, RuntimeError):  # more than one element
        pass
    if not isinstance(value, numbers.Real):
        raise ValueError(f"expected a truth value or a number, got {type(value).__name__}")
    return value if isinstance(value, bool) else float(value)


# ---- exercises -----------------------------------------------------------------------------------------------


def check(attempt: Any, against: Any, on: Sequence[Any] = (), tolerance: float = 1e-6) -> None:
    """Compare an attempt with the truth and print one line: not attempted yet, wrong (and by how much), or right.

    attempt, against: two functions, compared on every input in `on` (a tuple is spread over the arguments),
    or two values (numbers, arrays, tensors, strings, booleans). `...` or None means "not attempted yet".
    An attempt that raises is reported with its error, not with a traceback.
    Raises ValueError when two functions are to be compared and `on` is empty, when the truth is missing or NaN, and
    for a tolerance that is no number from 0 on.
    """
    if not tolerance >= 0:
        raise ValueError(f"expected a tolerance of 0 or more, got {tolerance}")
    if _missing(attempt):
        return print("not attempted yet")
    if _missing(against):
        raise ValueError("expected the truth in `against`, got nothing")
    if callable(attempt) != callable(against):
        expected = "a function" if callable(against) else "a value"
        return print(f"wrong: expected {expected}, got {type(attempt).__name__}")
    if not callable(against):
        attempt, against, on = _constant(attempt), _constant(against), [()]
    if not len(on):
        raise ValueError("`on` must hold at least one input on which to compare the two functions")

    worst, where = 0.0, ()
    for argument in on:
        arguments = argument if isinstance(argument, tuple) else (argument,)
        truth = against(*arguments)  # first, in case the attempt changes its arguments in place
        try:
            mine = attempt(*arguments)
        except Exception as error:  # whatever a student's code raises is their result
            return print(f"wrong: your answer raises {type(error).__name__}: {error}")
        if _missing(mine):
            return print("not attempted yet")
        gap = _disagreement(mine, truth)
        if isinstance(gap, str):
            return print(f"wrong: {gap}{_at(arguments)}")
        if gap > worst:
            worst, where = gap, arguments
    if worst > tolerance:
        return print(f"wrong: the largest disagreement is {worst:.3g}{_at(where)}")
    print("right" + (f": agrees on all {len(on)} inputs" if len(on) > 1 else ""))


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _missing(value: Any) -> bool:
    return value is None or value is ... or (isinstance(value, (tuple, list)) and any(map(_missing, value)))


def _disagreement(mine: Any, truth: Any) -> float | str:
    """The largest |mine - truth|, or words where there is no such number."""
    if isinstance(truth, (str, bool)):
        return 0.0 if np.shape(mine) == () and mine == truth else f"{mine!r} is not the answer"
    truth = _floats(truth)
    if np.isnan(truth).any():
        raise ValueError("expected a truth that is a number, got NaN")
    try:
        mine = _floats(mine)
    except (TypeError, ValueError):
        return f"expected a number or an array, got {type(mine).__name__}"
    if mine.shape != truth.shape:
        return f"expected shape {truth.shape}, got {mine.shape}"
    if np.isnan(mine).any():
        return "your answer is not a number (NaN)"
    endless = (np.isinf(mine) | np.isinf(truth)) & (mine != truth)
    if endless.any():
        first, other = mine[endless][0], truth[endless][0]
        return f"your answer is {first:.3g} where the truth is {'infinite' if np.isinf(other) else 'finite'}"
    with np.errstate(invalid="ignore"):  # inf - inf
        gap = np.where(mine == truth, 0.0, np.abs(mine - truth))
    return float(gap.max(initial=0.0))


def _floats(value: Any) -> np.ndarray:
    """As an array of floats; a string is no number, whatever it spells."""
    array = np.asarray(_detached(value))
    if array.dtype.kind in "US":
        raise TypeError("expected numbers, got strings")
    return array.astype(float)


def _detached(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_detached(item) for item in value]
    return value.detach().cpu() if hasattr(value, "detach") else value


def _at(arguments: tuple) -> str:
    return f" at {', '.join(map(_short, arguments))}" if arguments else ""


def _short(value: Any) -> str:
    """One line that a student can read, however long the input."""
    try:
        array = np.asarray(_detached(value), float)
    except (TypeError, ValueError):
        return str(value)
    if array.ndim == 0:
        return f"{array.item():.4g}"
    if array.ndim > 1:
        return f"an input of shape {array.shape}"
    return np.array2string(array, precision=4, threshold=6, edgeitems=2, separator=", ")
