"""Exercises that say when the answer is right."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def check(attempt: Any, against: Any, on: Sequence[Any] = (), tolerance: float = 1e-6) -> None:
    """Compare an attempt with the truth and print one line: not attempted yet, wrong (and by how much), or right.

    attempt, against: two functions, compared on every input in `on` (a tuple is spread over the arguments),
    or two values (numbers, arrays, tensors, strings, booleans). `...` or None means "not attempted yet".
    An attempt that raises is reported with its error, not with a traceback.
    Raises ValueError when two functions are to be compared and `on` is empty.
    """
    if _missing(attempt):
        return print("not attempted yet")
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
    truth = np.asarray(_detached(truth), float)
    try:
        mine = np.asarray(_detached(mine), float)
    except (TypeError, ValueError):
        return f"expected a number or an array, got {type(mine).__name__}"
    if mine.shape != truth.shape:
        return f"expected shape {truth.shape}, got {mine.shape}"
    if np.isnan(mine).any():
        return "your answer is not a number (NaN)"
    with np.errstate(invalid="ignore"):  # inf - inf
        gap = np.where(mine == truth, 0.0, np.abs(mine - truth))
    return float(gap.max(initial=0.0))


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
