"""What a notebook imports from ganlib it has earned: an earlier cell or notebook wrote it out in full.

EARNED says where. For each of these names, one test shows that the notebook's own definition and the library's
agree, and the last tests here that no notebook imports the name before it is earned.
"""

import ast
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
from notebook_code import definitions

from ganlib import metrics, objectives, penalties
from ganlib.distributions import GaussianMixture
from ganlib.networks import mlp_players

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"

EARNED = {  # name in ganlib: the notebook that writes it out
    "cross_entropy": "01_adversarial_game",
    "jsd": "02_optimal_discriminator",
    "train": "03_vanilla_gan",
    "up": "05_dcgan",
    "down": "05_dcgan",
    "DCGenerator": "05_dcgan",
    "DCDiscriminator": "05_dcgan",
    "init_dcgan": "05_dcgan",
    "frechet_distance": "05_dcgan",
    "wasserstein": "07_distances",
    "gradient_penalty": "08_wgan",
    "clip_weights": "08_wgan",
    "unroll": "09_unrolled_gan",
}


def code_cells(notebook: str) -> list[str]:
    """The code of a notebook, cell by cell, without exercises, solutions and magics."""
    cells = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    taught = [
        c
        for c in cells
        if c.cell_type == "code" and not {"exercise", "solution"} & set(c.metadata.get("tags", []))
    ]
    return [re.sub(r"(?m)^[%!].*$", "", cell.source) for cell in taught]


def written_out(notebook: str, name: str, constants: tuple[str, ...] = ()):
    """The function `name` as the notebook defines it, with those `constants` of the notebook that it needs."""
    mine = definitions(notebook, constants, leave_out=("exercise", "solution"))[name]
    assert mine.__module__ is None, f"{name} is the library's own"
    return mine


def defined_by(node: ast.stmt) -> set[str]:
    """The names that a statement defines: of a function, a class, or what it assigns to."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- the notebook's definition and the library's agree -----------------------------------------------------


def test_cross_entropy():
    mine = written_out("01_adversarial_game", "cross_entropy")
    for seed in range(5):
        real, fake = 30 * torch.randn(2, 64, generator=rng(seed), dtype=torch.float64)
        assert torch.equal(mine(real, fake), objectives.cross_entropy(real, fake))


def test_jsd():
    mine = written_out("02_optimal_discriminator", "jsd", constants=("EDGES",))
    one, two = GaussianMixture([[0.0], [2.0]], [0.6, 0.9]), GaussianMixture([[1.0]], 0.5)

    def density(mixture):
        return lambda x: mixture.log_prob(torch.tensor([[x]], dtype=torch.float64)).exp().item()

    edges = [-math.inf, *range(-6, 9), math.inf]
    for p, q in ((one, one), (one, two), (two, one)):
        p, q = density(p), density(q)
        assert mine(p, q, edges) == pytest.approx(metrics.jsd(p, q, edges), abs=1e-10)


def test_gradient_penalty():
    mine = written_out("08_wgan", "gradient_penalty")
    for seed in range(5):
        D = mlp_players((2,), seed=seed)[1].double()
        real, fake = torch.randn(2, 32, 2, generator=rng(seed), dtype=torch.float64)
        ours, theirs = (
            mine(3.0)(D, real, fake, rng(seed)),
            penalties.gradient_penalty(3.0)(D, real, fake, rng(seed)),
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
        weights = list(D.parameters())[:-1]  # the last bias moves no slope
        for one, other in zip(*(torch.autograd.grad(p, weights) for p in (ours, theirs)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_clip_weights():
    mine = written_out("08_wgan", "clip_weights")
    for c in (0.01, 0.1, 1.0):
        one, other = (mlp_players((2,))[1] for _ in range(2))
        mine(c)(one), penalties.clip_weights(c)(other)
        assert all(map(torch.equal, one.parameters(), other.parameters()))
        assert max(w.abs().max().item() for w in one.parameters()) <= c * (1 + 1e-6)


# ---- and nothing is imported before that -------------------------------------------------------------------


@pytest.mark.parametrize("name", EARNED)
def test_is_not_imported_before_it_is_written_out(name):
    home = EARNED[name]
    for path in sorted(NOTEBOOKS.glob("0[1-9]_*.ipynb")):  # 00 teaches nothing: it tries whether all works
        for source in code_cells(path.stem):
            tree = ast.parse(source)
            if path.stem == home and any(name in defined_by(node) for node in tree.body):
                return
            imported = {
                alias.name
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ganlib")
                for alias in node.names
            }
            assert name not in imported, f"{path.name} imports {name} before {home} defines it"
    pytest.fail(f"{home} does not define {name}")
