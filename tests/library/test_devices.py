"""Where tensors live, how many threads compute, and that the notebooks' own code keeps to it."""

import ast

import joblib
import nbformat
import pytest
import torch
from helpers import NOTEBOOKS

from ganlib.devices import best_device, threads


def machine(monkeypatch, cuda=0, mps=False, cores=8, tests=False):
    monkeypatch.delenv("GANLIB_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(joblib, "cpu_count", lambda only_physical_cores: cores)
    if not tests:
        monkeypatch.delenv("PYTEST_VERSION", raising=False)


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(0, False, "cpu"), (0, True, "mps"), (2, False, "cuda"), (1, True, "cuda")]
)
def test_the_best_device_there_is(monkeypatch, cuda, mps, best):
    machine(monkeypatch, cuda, mps)
    assert best_device() == torch.device(best)


def test_the_environment_decides(monkeypatch):
    machine(monkeypatch, cuda=2)
    for wanted in ("cpu", "cuda", "cuda:1"):
        monkeypatch.setenv("GANLIB_DEVICE", wanted)
        assert best_device() == torch.device(wanted)
    for wanted in ("mps", "cuda:2", "gpu"):
        monkeypatch.setenv("GANLIB_DEVICE", wanted)
        with pytest.raises(
            ValueError, match=f"GANLIB_DEVICE to be one of cpu, cuda:0, cuda:1, cuda, got '{wanted}'"
        ):
            best_device()


@pytest.mark.parametrize(
    ("kind", "live", "cores", "expected"),
    [
        ("plane", False, 8, 1), ("line", True, 8, 1), ("images", False, 8, 8), ("images", True, 8, 7),
        ("images", False, 2, 2), ("images", True, 2, 1), ("images", False, 1, 1), ("images", True, 1, 1),
    ],
)  # fmt: skip
def test_threads(monkeypatch, kind, live, cores, expected):
    machine(monkeypatch, cores=cores)
    assert threads(kind, live) == expected


def test_one_thread_under_the_tests(monkeypatch):
    machine(monkeypatch, tests=True)
    assert threads("images") == 1


# ---- the notebooks' own code -----------------------------------------------------------------------------------

RANDOM = {"rand", "randn", "randint", "randperm", "normal", "multinomial", "bernoulli", "poisson", "rand_like",
          "randn_like", "randint_like", "normal_", "uniform_", "random_", "bernoulli_", "exponential_"}  # fmt: skip


def draws_globally(source: str) -> list[str]:
    """The calls in a piece of code that draw from a global random state: PyTorch's, NumPy's or Python's."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        of, name = ast.unparse(node.func.value), node.func.attr
        explicit = any(keyword.arg == "generator" for keyword in node.keywords)
        torchs = of in ("torch", "F") or name.endswith("_") or name in ("multinomial", "bernoulli")
        initial = of in (
            "init",
            "nn.init",
            "torch.nn.init",
        )  # weights are drawn under fork_rng and manual_seed
        if torchs and name in RANDOM and not explicit and not initial:
            found.append(ast.unparse(node))
        if (
            of == "random"
            and name in ("random", "choice", "gauss", "shuffle", "uniform", "sample")
            or of == "np.random"
            and name != "default_rng"
        ):
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("torch.randn(3)", 1), ("torch.rand(3, generator=rng)", 0), ("x.normal_()", 1), ("np.random.rand(3)", 1),
        ("p.multinomial(4)", 1), ("random.random()", 1), ("np.random.default_rng(0).normal()", 0),
        ("nn.init.normal_(w)", 0), ("torch.zeros(3)", 0), ("random.item()", 0),
    ],
)  # fmt: skip
def test_what_draws_globally_is_seen(source, found):
    assert len(draws_globally(source)) == found


# 03 looks at a run with numbers from PyTorch's global state to show that even this does not change the run.
ON_PURPOSE = {"torch.randn(50, G.latent_dim)"}


def code(path, leave_out=("exercise",)):
    """The code cells of a notebook; an exercise may hold a bug to find."""
    cells = nbformat.read(path, as_version=4).cells
    return [
        c.source for c in cells if c.cell_type == "code" and not {*leave_out} & {*c.metadata.get("tags", [])}
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_draws_from_explicit_generators(path):
    assert {call for source in code(path) for call in draws_globally(source)} <= ON_PURPOSE


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_that_trains_on_images_does_so_on_the_best_device_with_all_cores(path):
    text = "\n".join(code(path))
    if "dcgan_players(" in text and "train(" in text:
        assert "= best_device()" in text
        assert 'torch.set_num_threads(threads("images"))' in text
