"""Add SEED_SHIFT to every seed that reaches PyTorch or NumPy: the same program, other draws.

Python imports this module when it starts, if its folder is on PYTHONPATH; so do the worker processes of joblib.
`tools/replicate.py` puts it there. No notebook and nothing in ganlib knows of it.
"""

import functools
import importlib.abc
import importlib.util
import numbers
import os
import sys

SHIFT = int(os.environ.get("SEED_SHIFT", "0"))


def shifted(seed):
    """Seeds may also be None (the system's entropy), sequences or generators: those stay."""
    return (int(seed) + SHIFT) % 2**63 if isinstance(seed, numbers.Integral) else seed


def patch_torch(torch) -> None:
    class Generator(torch.Generator):
        def manual_seed(self, seed):
            return super().manual_seed(shifted(seed))

    Generator.__module__, Generator.__qualname__ = "torch", "Generator"
    torch.Generator = Generator
    manual_seed = torch.manual_seed
    torch.manual_seed = torch.random.manual_seed = functools.wraps(manual_seed)(
        lambda s: manual_seed(shifted(s))
    )


def patch_numpy(random) -> None:
    default_rng = random.default_rng
    random.default_rng = functools.wraps(default_rng)(lambda seed=None: default_rng(shifted(seed)))

    class RandomState(random.RandomState):
        def __init__(self, seed=None):
            super().__init__(seed if shifted(seed) is seed else shifted(seed) % 2**32)

        def seed(self, seed=None):
            super().seed(seed if shifted(seed) is seed else shifted(seed) % 2**32)

    RandomState.__module__, RandomState.__qualname__ = "numpy.random", "RandomState"
    random.RandomState = RandomState


class PatchOnImport(importlib.abc.MetaPathFinder):
    """Lets the usual finders find a module, and patches it right after it has been executed."""

    waiting = {"torch": patch_torch, "numpy.random": patch_numpy}

    def find_spec(self, name, path, target=None):
        patch = self.waiting.pop(name, None)
        spec = importlib.util.find_spec(name) if patch else None
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_patch(module):
                execute(module)
                patch(module)

            spec.loader.exec_module = execute_and_patch
        return spec


if SHIFT:
    sys.meta_path.insert(0, PatchOnImport())
