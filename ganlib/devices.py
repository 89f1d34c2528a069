"""Where tensors live and how many threads compute: one rule for the whole course, explained in notebook 00."""

import os

import joblib
import torch


def best_device() -> torch.device:
    """Where networks for images are best trained: "cuda", else "mps" (Apple), else "cpu"; or what the environment
    variable GANLIB_DEVICE says. ValueError if that is no device of this computer.

    Networks for points on the line or in the plane stay on the CPU: to start a GPU's kernel takes longer than a layer
    of 64 units.
    """
    here = ["cpu"] + ["mps"] * torch.backends.mps.is_available()
    here += [f"cuda:{i}" for i in range(torch.cuda.device_count())] + ["cuda"] * torch.cuda.is_available()
    wanted = os.environ.get("GANLIB_DEVICE") or here[-1]
    if wanted not in here:
        raise ValueError(
            f"expected the environment variable GANLIB_DEVICE to be one of {', '.join(here)}, got {wanted!r}"
        )
    return torch.device(wanted)


def threads(kind: str, live: bool = False) -> int:
    """How many threads to give to torch.set_num_threads, by the `kind` of the data.

    One for "line" and "plane", whose networks are too small to share out; for "images" one a core, or in a lab that
    trains while the page is used, one less, if more than one is there. One under the tests, which share the cores.
    """
    if kind != "images" or "PYTEST_VERSION" in os.environ:
        return 1
    cores = joblib.cpu_count(only_physical_cores=True)
    return max(1, cores - 1) if live else cores
